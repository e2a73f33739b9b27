"""Whom the API may be: its certificate pinned, or signed by the cluster's CA, or by one of the system's."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

from maw.errors import CannotRead, InvalidSetting, ProxmoxCertificate, ProxmoxUnreachable

if TYPE_CHECKING:
    from pathlib import Path

    from requests.adapters import HTTPAdapter

    from maw.errors import ProxmoxError

_PIN = re.compile(r"[0-9A-Fa-f]{2}(?::?[0-9A-Fa-f]{2}){31}")
_SHOWN = re.compile(r'got "([0-9a-f]{64})"')
_LOOK = (
    "Read its SHA-256 fingerprint on the server's own console (`pvenode cert info`) and put it into "
    "proxmox.fingerprint in maw.toml"
)


def pin_of(text: str) -> str | None:
    """Given the setting proxmox.fingerprint, return it as 64 lower-case digits, None if it is empty.

    Raise InvalidSetting if it is not a SHA-256.
    """
    if not text:
        return None
    digits = text.strip().removeprefix("SHA256:")
    if not _PIN.fullmatch(digits):
        raise InvalidSetting(
            path="maw.toml",
            name="proxmox.fingerprint",
            wanted="the SHA-256 of a certificate (64 hexadecimal digits, with or without colons)",
            found=repr(text),
        )
    return digits.replace(":", "").lower()


def with_colons(pin: str) -> str:
    """Given a fingerprint's digits, return it as Proxmox shows it."""
    return ":".join(pin[place : place + 2] for place in range(0, len(pin), 2)).upper()


def context_for(pin: str | None, ca_file: Path | None, host: str) -> ssl.SSLContext:
    """Given a pin or a CA's file (or neither: the system's trust), return what decides whom to trust.

    Raise CannotRead if the file cannot be read, ProxmoxCertificate if it holds no certificate.
    """
    if pin is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        # The chain says nothing more than the pin, which the adapter compares before it sends a byte.
        context.verify_mode = ssl.CERT_NONE
        return context
    if ca_file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except ssl.SSLError as error:
        raise ProxmoxCertificate(
            host=host,
            reason=f"{ca_file} holds no certificate of a CA",
            step="Copy /etc/pve/pve-root-ca.pem of the server there",
        ) from error
    except OSError as error:
        raise CannotRead(path=ca_file, reason=error.strerror or str(error)) from error


def adapter(pin: str | None, context: ssl.SSLContext) -> HTTPAdapter:
    """Given the pin and the context, return what makes connections that trust these and nothing else."""
    from requests.adapters import HTTPAdapter as Base

    class Adapter(Base):
        """Connections whose certificate is checked by our context and pin, whatever `verify` says."""

        def init_poolmanager(
            self, connections: int, maxsize: int, block: bool = False, **options: Any
        ) -> None:
            options |= {"ssl_context": context, "assert_fingerprint": pin}
            super().init_poolmanager(connections, maxsize, block, **options)

        def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
            place, _ = super().build_connection_pool_key_attributes(request, verify, cert)
            return place, {}

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            """Add nothing to the context: requests would add its own list of CAs."""

    return Adapter()


def explain(text: str, host: str, pin: str | None) -> ProxmoxError:
    """Given what the library says of a handshake that failed, return the error that says why."""
    if "ingerprints did not match" in text:
        match = _SHOWN.search(text)
        found = with_colons(match[1]) if match else "another one"
        return ProxmoxCertificate(
            host=host,
            reason=f"it shows {found}, pinned is {with_colons(pin or '')}",
            step="If the server got a new certificate, compare with `pvenode cert info` on its own console "
            "and put that into proxmox.fingerprint; if not, stop here",
        )
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text:
        return ProxmoxUnreachable(host=host, reason="what answers on that port does not speak TLS")
    if "CERTIFICATE_VERIFY_FAILED" not in text:
        return ProxmoxUnreachable(host=host, reason=f"the TLS handshake failed ({_last_words(text)})")
    if "has expired" in text:
        reason, step = "it has expired", "Renew it on the server with `pvecm updatecerts --force`. " + _LOOK
    elif "not yet valid" in text:
        reason, step = "it is not valid yet", "Check the clocks of this machine and of the server"
    elif "mismatch" in text or "not valid for" in text:
        reason, step = f"it is another machine's ({_last_words(text)})", _LOOK
    else:
        reason = f"nobody whom this machine trusts has signed it ({_last_words(text)})"
        step = f"{_LOOK}, or copy /etc/pve/pve-root-ca.pem here and name it in proxmox.ca_file"
    return ProxmoxCertificate(host=host, reason=reason, step=step)


def _last_words(text: str) -> str:
    """The part of OpenSSL's message that is for people."""
    match = re.search(r"verify failed: (.*?)(?: \(_ssl\.c:\d+\))?['\")]*$", text)
    short = match[1] if match else text
    return re.sub(r" \(_ssl\.c:\d+\)", "", short).strip("'\")., ")[-160:]
