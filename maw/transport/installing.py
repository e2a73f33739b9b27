"""What to install by hand, place by place: the lines that let the keys in, and commands to paste. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maw.transport import authorized, gate, keypairs, posix_files, rights, windows_files
from maw.transport.places import Kind
from maw.transport.ssh_config import BRIDGE, MIRROR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maw.topology import Host
    from maw.transport.keys import HostKey
    from maw.transport.places import Place


@dataclass(frozen=True)
class Instruction:
    """What a place should hold, and how to get it there."""

    host: str
    kind: str
    path: str
    where: str
    lines: tuple[str, ...]
    commands: tuple[str, ...]


def instruction(place: Place, public: Mapping[str, HostKey], addresses: Sequence[str]) -> Instruction:
    """Given a place, the public keys by purpose, and the core's addresses, return what belongs there.

    On Windows the file is the administrators' one: who logs in there for maw is an administrator.
    """
    lines = tuple(
        authorized.line(options, public[purpose], keypairs.comment(purpose))
        for purpose, options in _wanted(place, addresses)
    )
    if place.kind is Kind.WINDOWS:
        path = windows_files.ADMINISTRATORS_FILE
        where = "In a PowerShell as administrator"
        # The empty line first: the file's last line may lack its end. No line of ours has a '.
        values = ", ".join(["''", *(f"'{line}'" for line in lines)])
        commands = (
            f"Add-Content -Encoding Ascii -Path {path} -Value {values}",
            *windows_files.grant_commands(path),
        )
    else:
        path = posix_files.PATH
        account = place.host.user or "the account that logs in"
        where = f"In the distro {place.host.wsl_distro}, as root" if place.host.windows else f"As {account}"
        if MIRROR in place.purposes:
            where += f", with the gate in {gate.PROGRAM} (the role proxmox_access does both)"
        quoted = " ".join(f"'{line}'" for line in lines)
        commands = (
            "mkdir -p -m 700 ~/.ssh",
            rf"printf '%s\n' '' {quoted} >> ~/.ssh/authorized_keys",
            "chmod 600 ~/.ssh/authorized_keys",
        )
    return Instruction(place.host.name, place.kind, path, where, lines, commands)


def _wanted(place: Place, addresses: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    # The bridge's line, or the mirror's, first: it is the one that people look for.
    for purpose in sorted(place.purposes, reverse=True):
        distros: tuple[Host | None, ...] = (None,)
        if purpose == BRIDGE and place.kind is Kind.WINDOWS:
            # One line, for one key has one command.
            distros = place.distros[:1]
        for distro in distros:
            name = distro.wsl_distro if distro else None
            found.append((purpose, rights.options_for(place, purpose, addresses, name)))
    return found
