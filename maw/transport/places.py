"""The files that let the cluster's keys in: which there are, and reading and replacing each."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as altered
from enum import StrEnum
from typing import TYPE_CHECKING

from maw.errors import TransportError
from maw.transport import gate, posix_files, windows_files
from maw.transport.ssh_config import ADMIN, BRIDGE, MIRROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.config import SshSettings
    from maw.topology import Host
    from maw.transport.far import Line


class Kind(StrEnum):
    """What a place is on."""

    WINDOWS = "windows"
    DISTRO = "distro"
    LINUX = "linux"


@dataclass(frozen=True)
class Place:
    """An account's file of keys, and the keys of ours that belong there.

    `distros` are the WSL hosts that the bridge's key opens there, on a Windows only.
    """

    host: Host
    kind: Kind
    purposes: tuple[str, ...]
    distros: tuple[Host, ...] = ()


@dataclass(frozen=True)
class Held:
    """What a place holds: None if the file is missing. `rights` is why sshd refuses it, "" if it does not."""

    path: str
    content: bytes | None
    rights: str = ""
    account: windows_files.Account | None = None


@dataclass(frozen=True)
class Target:
    """What must be changed together before a new key can be proven: places, and the hosts to log in to."""

    name: str
    purpose: str
    places: tuple[Place, ...]
    proofs: tuple[Host, ...]


def places(hosts: Sequence[Host], settings: SshSettings, *, mirror: bool = False) -> tuple[Place, ...]:
    """Given the inventory's hosts, return the places where keys of ours belong.

    A host with a key of its own in the inventory, and all if maw.toml names one, are the user's affair.
    Not so the mirror's key, if there is one (`mirror`): it is let in beside any other.
    """
    found = []
    ours = [host for host in hosts if not host.example and not (host.identity_file or settings.identity_file)]
    for host in hosts:
        if host.is_windows:
            distros = tuple(other for other in ours if other.windows == host.name)
            purposes = ((ADMIN,) if host in ours else ()) + ((BRIDGE,) if distros else ())
            found += [Place(host, Kind.WINDOWS, purposes, distros)] if purposes else []
            found += [Place(distro, Kind.DISTRO, (BRIDGE,)) for distro in distros]
        elif host.windows is None:
            purposes = (ADMIN,) if host in ours else ()
            purposes += (MIRROR,) if mirror and gate.guards(host) and not host.example else ()
            found += [Place(host, Kind.LINUX, purposes)] if purposes else []
    return tuple(found)


def of(listed: Sequence[Place], purpose: str) -> tuple[Place, ...]:
    """Given the places and a purpose, return those where that key belongs, as if it were the only one."""
    return tuple(altered(place, purposes=(purpose,)) for place in listed if purpose in place.purposes)


def targets(listed: Sequence[Place], purpose: str) -> tuple[Target, ...]:
    """Given the places and a purpose, return what must be changed together, machine by machine."""
    found = []
    for place in listed:
        if purpose not in place.purposes or place.kind is Kind.DISTRO:
            continue
        if purpose == ADMIN:
            found.append(Target(place.host.name, purpose, (place,), (place.host,)))
            continue
        if purpose == MIRROR:
            proof = altered(place.host, name=gate.alias(place.host.name))
            found.append(Target(place.host.name, purpose, (place,), (proof,)))
            continue
        inside = tuple(other for other in listed if other.host in place.distros)
        found.append(Target(place.host.name, purpose, (place, *inside), place.distros))
    return tuple(found)


def hold(line: Line, place: Place) -> Held:
    """Given a place, return what it holds. Raise TransportError."""
    if place.kind is not Kind.WINDOWS:
        found = posix_files.read(line, place.host)
        return Held(posix_files.PATH, found.content if found else None, found.rights if found else "")
    account = windows_files.account(line, place.host)
    return Held(account.path, windows_files.read(line, place.host, account.path), "", account)


def replace(line: Line, place: Place, held: Held, content: bytes) -> None:
    """Given what a place holds and what it shall hold, replace its file in one step.

    Raise TransportError or DiskFull, with the old file in place.
    """
    if held.content is None:
        raise TransportError(host=place.host.name, reason=f"there is no {held.path}")
    if held.account is None:
        posix_files.replace(line, place.host, held.content, content)
    else:
        windows_files.replace(line, place.host, held.account, held.content, content)
