"""Host keys that were handed over, or read through a hop that is pinned already. No trust on first use."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from maw.errors import BridgeFailed, CannotRead, HostKeyUnknown, Misuse, TransportError
from maw.transport import authorized, keys, symptoms

if TYPE_CHECKING:
    from pathlib import Path

    from maw.topology import Host
    from maw.transport.far import Line
    from maw.transport.keys import HostKey

KEY_FILE = "/etc/ssh/ssh_host_ed25519_key.pub"
# A hand-over file has a few lines.
_MOST = 1 << 16
_FINGERPRINT = re.compile(r"(?<![A-Za-z0-9+/])SHA256:[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])")
_KIND = re.compile(r"(?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+")


def handed_over(path: Path) -> frozenset[str]:
    """Given a file of public host keys, or of what ``ssh-keygen -l`` printed, return the fingerprints in it.

    PowerShell's `>` writes UTF-16. Raise CannotRead, or Misuse if there is none.
    """
    try:
        if path.exists() and not path.is_file():
            raise CannotRead(path=path, reason="it is no regular file")
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise CannotRead(path=path, reason=error.strerror or str(error)) from error
    if len(data) > _MOST:
        raise CannotRead(path=path, reason=f"it is longer than {_MOST} bytes, which no file of host keys is")
    found = fingerprints(decoded(data))
    if not found:
        private = " (it is a private key: keep it where it is)" if b"PRIVATE KEY-----" in data else ""
        raise Misuse(
            reason=f"{path} holds no host key{private}. That machine shows the fingerprint on its screen by: "
            "ssh-keygen -lf KEYFILE.pub"
        )
    return found


def decoded(data: bytes) -> str:
    """Given a file's bytes in UTF-8, UTF-16 or an old code page, return its text."""
    for mark, name in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return data[2:].decode(name, "replace")
    return symptoms.text_of(data.removeprefix(b"\xef\xbb\xbf"))


def fingerprints(text: str) -> frozenset[str]:
    """Given a text, return the fingerprints in it, and those of the public keys in it."""
    found = set(_FINGERPRINT.findall(text))
    for line in text.splitlines():
        words = line.split()
        # Perhaps behind names, as in a known_hosts file.
        for place, word in enumerate(words[:-1]):
            if _KIND.fullmatch(word):
                rest = f"{word} {words[place + 1]}".encode("utf-8", "replace")
                found |= {entry.key.fingerprint for entry in authorized.entries(rest)}
    return frozenset(found)


def of_distro(line: Line, host: Host, windows: Host) -> HostKey:
    """Given a WSL host and its Windows, read the distro's host key through that pinned Windows.

    Raise HostKeyUnknown if Windows is not pinned, BridgeFailed, or another TransportError.
    """
    if not keys.pinned(line.where.known_hosts, windows.name):
        raise HostKeyUnknown(host=windows.name)
    command = f"wsl.exe -d {host.wsl_distro} -u root --exec {shlex.join(['/bin/cat', KEY_FILE])}"
    said = line.run(windows, command)
    found = one_key(symptoms.text_of(said.stdout)) if said.status == 0 else None
    if found is not None:
        return found
    if f"{KEY_FILE}: No such file" in symptoms.text_of(said.stdout + said.stderr):
        cause = symptoms.named(
            "no-host-keys", host=host.name, windows=windows.name, distro=host.wsl_distro, said=""
        )
    else:
        named = symptoms.of_bridge(
            said.stdout,
            said.stderr,
            said.status,
            host=host.name,
            windows=windows.name,
            distro=host.wsl_distro,
            account=windows.user or "",
            shell=windows.windows_shell or "",
        )
        if named is None or named.name == "no-greeting":
            reason = f"instead of one ed25519 host key, {command} says: {said.text}"
            raise TransportError(host=host.name, reason=reason)
        cause = named
    raise BridgeFailed(host=host.name, windows=windows.name, cause=cause.cause, step=cause.step)


def one_key(text: str) -> HostKey | None:
    """Given what `cat` of a public key printed, return the ed25519 key; None if it is not exactly one key.

    What a PowerShell profile prints before it does not matter.
    """
    lines = [line.strip() for line in text.splitlines() if _KIND.match(line.strip())]
    entries = [entry for line in lines for entry in authorized.entries(line.encode("utf-8", "replace"))]
    if (
        len(lines) != 1
        or len(entries) != 1
        or entries[0].key.kind != "ssh-ed25519"
        or entries[0].options_text
    ):
        return None
    # The name of the kind, and 32 bytes, each behind its length.
    return entries[0].key if len(entries[0].key.base64) == 68 else None
