"""What a line of an authorized_keys file lets its key do, and what is wrong with a line of ours. Pure."""

from __future__ import annotations

import fnmatch
import ipaddress
from typing import TYPE_CHECKING

from maw.transport import gate, wsl
from maw.transport.places import Kind
from maw.transport.ssh_config import ADMIN, BRIDGE, MIRROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.transport.authorized import Entry
    from maw.transport.places import Place

# What `restrict` forbids, and the word that allows it again.
_AGAIN = ("pty", "port-forwarding", "agent-forwarding", "x11-forwarding", "user-rc")


def options_for(place: Place, purpose: str, addresses: Sequence[str], distro: str | None = None) -> str:
    """Given a place, a key's purpose and the core's addresses, return the options that its line has there.

    `distro` is the one that the bridge's key opens. Within a distro the peer has no address, and `from=`
    would lock everybody out.
    """
    if purpose == ADMIN:
        return ""
    limit = f',from="{",".join(addresses)}"' if addresses else ""
    if purpose == MIRROR:
        return f'restrict,command="{gate.PROGRAM}"{limit}'
    if place.kind is Kind.DISTRO:
        return "restrict,pty,port-forwarding"
    assert distro is not None
    return f'restrict,command="{wsl.sshd_command(distro)}"{limit}'


def may(entry: Entry, distros: Sequence[str] = ()) -> str:
    """Given a line, return in words what it allows. `distros` are those that a bridge may open there."""
    commands = entry.values("command")
    opened = [distro for distro in distros if commands and commands[0] == wsl.sshd_command(distro)]
    if opened:
        words = f"start the sshd of the distro {opened[0]} as root"
    elif gate.PROGRAM in commands[:1]:
        words = "read and back up containers through maw's gate"
    elif commands:
        words = f"run one command: {commands[0]}"
    elif entry.has("restrict"):
        words = "run commands"
    else:
        words = "do everything that the account may"
    if entry.has("cert-authority"):
        words = f"sign certificates whose holders may {words}"
    extra = [word for word in _AGAIN if _allowed(entry, word)]
    if entry.has("restrict") or commands:
        words += f", with {', '.join(extra)}" if extra else ", nothing else"
    limits = [f"from {value}" for value in entry.values("from")]
    limits += [f"until {value}" for value in entry.values("expiry-time")]
    return words + (f", only {' and '.join(limits)}" if limits else "")


def _allowed(entry: Entry, word: str) -> bool:
    """Whether a right is left; as in sshd, the last word on it counts."""
    allowed = True
    for option in entry.options:
        if option.name in ("restrict", f"no-{word}"):
            allowed = False
        elif option.name == word:
            allowed = True
    return allowed


def problems(entry: Entry, place: Place, purpose: str) -> tuple[str, ...]:
    """Given a line of ours, return what is wrong with it there."""
    found = []
    commands = entry.values("command")
    if place.kind is Kind.DISTRO and entry.has("from"):
        found.append("from= locks everybody out: over the bridge the peer has no address. Take it out")
    if purpose == MIRROR:
        found += _of_mirror(entry)
    elif place.kind is Kind.WINDOWS and purpose == BRIDGE:
        known = [wsl.sshd_command(host.wsl_distro) for host in place.distros if host.wsl_distro]
        if not commands:
            found.append("has no command=, so that it may run anything. `cutter keys show` prints the line")
        elif commands[0] not in known:
            found.append(f"its command is not the bridge's ({' or '.join(known)})")
        if not entry.has("restrict"):
            found.append("has no restrict, so that it may forward ports. Put it first")
    elif commands:
        found.append("has a command=, so that nothing else can be run. Take it out")
    elif place.kind is Kind.DISTRO and not _allowed(entry, "port-forwarding"):
        found.append("may not forward ports, which mirrors need: restrict,pty,port-forwarding")
    return tuple(found)


def _of_mirror(entry: Entry) -> list[str]:
    commands = entry.values("command")
    found = []
    if not commands:
        found.append("has no command=, so that it may run anything. `cutter keys show` prints the line")
    elif commands[0] != gate.PROGRAM:
        found.append(f"its command is not the gate ({gate.PROGRAM})")
    if not entry.has("restrict"):
        found.append("has no restrict, so that it may forward ports. Put it first")
    return found


def from_matches(limit: str, addresses: Sequence[str]) -> bool:
    """Given the value of a `from=` and addresses, return whether sshd lets one of them in."""
    return any(_matches(limit.split(","), address) for address in addresses)


def _matches(patterns: Sequence[str], address: str) -> bool:
    good = False
    for pattern in patterns:
        negated, plain = pattern.startswith("!"), pattern.strip().lstrip("!")
        if _one(plain, address):
            if negated:
                return False
            good = True
    return good


def _one(pattern: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return fnmatch.fnmatchcase(address, pattern.lower())


def twice(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Given a file's lines, return those whose key stands in an earlier line already."""
    seen = set()
    found = []
    for entry in entries:
        if entry.key in seen:
            found.append(entry)
        seen.add(entry.key)
    return tuple(found)
