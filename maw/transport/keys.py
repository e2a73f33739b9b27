"""Pinned host keys: what is known, what a host shows, and accepting a key on purpose."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maw import files
from maw.errors import CannotRead, HostUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maw.topology import Host


@dataclass(frozen=True)
class HostKey:
    """One public host key."""

    kind: str
    base64: str

    @property
    def fingerprint(self) -> str:
        """The fingerprint as ``ssh-keygen -l`` prints it, ``SHA256:…``."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def pinned(known_hosts: Path, name: str) -> tuple[HostKey, ...]:
    """Given the known_hosts file and a host's name, return the keys pinned for it. Raise CannotRead."""
    lines = [line.split() for line in _lines(known_hosts)]
    return tuple(HostKey(word[1], word[2]) for word in lines if len(word) >= 3 and name in word[0].split(","))


def _lines(known_hosts: Path) -> list[str]:
    try:
        return known_hosts.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise CannotRead(path=known_hosts, reason=str(error)) from error


def shown(host: Host, *, seconds: int = 5) -> tuple[HostKey, ...]:
    """Given a host, return the keys it shows now, unverified. Raise HostUnreachable.

    The first address that answers counts.
    """
    program = shutil.which("ssh-keyscan")
    reason = "the ssh-keyscan program is not installed here" if program is None else "it shows no host key"
    for address in host.addresses if program else ():
        argv = [str(program), "-T", str(seconds), "-p", str(host.port), "--", address]
        answer = subprocess.run(argv, capture_output=True, check=False)
        words = [line.split() for line in answer.stdout.decode("utf-8", "replace").splitlines()]
        keys = tuple(HostKey(word[1], word[2]) for word in words if len(word) == 3 and word[0] != "#")
        if keys:
            return keys
    raise HostUnreachable(host=host.name, addresses=", ".join(host.addresses), reason=reason)


def pin(known_hosts: Path, name: str, keys: Sequence[HostKey]) -> None:
    """Given a host's name and its whole set of accepted keys, replace what was pinned for it.

    Other hosts' lines stay as they are. Raise FileError.
    """
    kept = [line for line in _lines(known_hosts) if name not in (line.split() or [""])[0].split(",")]
    lines = [*kept, *(f"{name} {key.kind} {key.base64}" for key in keys)]
    files.write_atomically(known_hosts, "\n".join(lines) + "\n")
