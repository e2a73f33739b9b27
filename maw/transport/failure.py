"""What the ssh program says when it fails, translated into maw's errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maw.errors import (
    AuthenticationRefused,
    BridgeFailed,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    LinkLost,
    TransportError,
)
from maw.transport import keys, ssh_config, symptoms, wsl

if TYPE_CHECKING:
    from maw.topology import Host
    from maw.transport.ssh_config import Paths

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/=]+")
_UNREACHABLE = re.compile(
    r"Connection refused|timed out|No route to host|Network is unreachable|Could not resolve hostname"
    r"|Name or service not known|Host is down|Connection reset|Connection closed by|banner exchange",
    re.IGNORECASE,
)


def from_ssh(
    said: str, status: int, *, host: str, addresses: tuple[str, ...], user: str, pinned: str
) -> TransportError:
    """Given what ssh wrote to standard error and its exit status, return the error to raise.

    `pinned` is the fingerprint known for the host ("none" if there is none).
    """
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), f"status {status}")
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
        found = _FINGERPRINT.search(said)
        return HostKeyChanged(host=host, found=found.group() if found else "another key", pinned=pinned)
    if "Host key verification failed" in said or "host key is known for" in said:
        if pinned == "none":
            return HostKeyUnknown(host=host)
        return HostKeyChanged(host=host, found="a key of another type", pinned=pinned)
    if "Permission denied" in said or "Too many authentication failures" in said:
        return AuthenticationRefused(host=host, user=user, reason=last)
    if _UNREACHABLE.search(said):
        return HostUnreachable(host=host, addresses=", ".join(addresses), reason=last)
    if re.search("closed by remote host|Broken pipe|not responding", said):
        return LinkLost(host=host, reason=last)
    return TransportError(host=host, reason=f"ssh ended with status {status}: {last}")


def explain(host: Host, where: Paths, said: str, status: int, *, seconds: float = 15.0) -> TransportError:
    """Given a host and what ssh said of the failure to log in there, return the error to raise.

    `seconds` is how long a look at the bridge may take.
    """
    if host.windows is not None:
        found = of_bridge(host, where, seconds=seconds)
        if found is not None:
            return found
    return _from_ssh(host, host.name, where, said, status)


def _from_ssh(host: Host, name: str, where: Paths, said: str, status: int) -> TransportError:
    known = ", ".join(key.fingerprint for key in keys.pinned(where.known_hosts, name)) or "none"
    return from_ssh(
        said,
        status,
        host=name,
        addresses=host.addresses,
        user=host.user or "this user" if name == host.name else "the bridge's key",
        pinned=known,
    )


def of_bridge(host: Host, where: Paths, *, seconds: float = 15.0) -> TransportError | None:
    """Given a WSL host that could not be reached, look at the bridge itself and return what is wrong.

    None means that the distro's sshd greets, so that the fault is not in the bridge.
    """
    assert host.windows is not None
    answer = wsl.probe(wsl.proxy_argv(where.config, host, quiet=False), seconds)
    account = ssh_config.effective(where.config, wsl.alias(host.windows))["user"][0]
    cause = symptoms.of_bridge(
        answer.stdout,
        answer.stderr,
        answer.status,
        host=host.name,
        windows=host.windows,
        distro=host.wsl_distro,
        account=account,
        shell="",
    )
    if cause is not None:
        return BridgeFailed(host=host.name, windows=host.windows, cause=cause.cause, step=cause.step)
    if wsl.GREETING in answer.stdout:
        return None
    said = answer.stderr.decode("utf-8", "replace")
    return _from_ssh(host, host.windows, where, said, answer.status if answer.status is not None else 255)
