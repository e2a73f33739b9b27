"""Names and addresses: everything that follows from the prefix, without asking anybody."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# The network's interface is PREFIX-lab, and Linux gives an interface's name 15 bytes.
_PREFIX = re.compile(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?")
_MOST_SATELLITES = 50
# The last bytes of the addresses; the core and the first notebook as in maw's examples.
_GATEWAY, _PVE, _CORE, _NOTEBOOK = 1, 2, 129, 146
# 10.200.0.0 to 10.231.255.0: rarely used by routers and VPNs.
_FIRST, _COUNT = 200 * 256, 32 * 256

CORE, PVE, NOTEBOOK = "core", "pve", "notebook"


@dataclass(frozen=True)
class Machine:
    """One container: its name in the inventory, its name in LXD, what it plays, its address's end."""

    name: str
    instance: str
    role: str
    number: int
    # A notebook as it comes from the shop: no key of ours, nothing of maw, no WSL.
    bare: bool = False

    @property
    def host(self) -> str:
        """Its name in the inventory. Ansible dislikes a host named as a group, and core is one."""
        return "server" if self.role == CORE else self.name

    @property
    def wsl(self) -> str:
        """The inventory's name of a notebook's WSL."""
        return f"{self.name}-wsl"

    def address(self, subnet: str) -> str:
        """Given the lab's network, return this machine's address in it."""
        return str(ipaddress.IPv4Network(subnet)[self.number])


@dataclass(frozen=True)
class Lab:
    """A lab as it is wanted. `folder` is where its workspace and state lie."""

    prefix: str
    folder: Path
    satellites: int = 1
    only: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise LabError(
                f"{self.prefix!r} cannot be a prefix. Take one to ten of a-z, 0-9 and -, a letter first."
            )
        if not 0 <= self.satellites <= _MOST_SATELLITES:
            raise LabError(f"{self.satellites} satellites are not possible. Take 0 to {_MOST_SATELLITES}.")
        unknown = sorted({*self.only, *self.bare} - {machine.name for machine in self._all()})
        if unknown:
            known = ", ".join(machine.name for machine in self._all())
            raise LabError(f"no machine of this lab is called {', '.join(unknown)}. There are {known}.")
        if wrong := sorted({CORE, PVE} & set(self.bare)):
            raise LabError(f"{', '.join(wrong)} cannot be bare: that is for notebooks.")

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The machines wanted."""
        return tuple(machine for machine in self._all() if not self.only or machine.name in self.only)

    def _all(self) -> list[Machine]:
        found = [self._machine(CORE, CORE, _CORE), self._machine(PVE, PVE, _PVE)]
        for number in range(self.satellites):
            name = NOTEBOOK if number == 0 else f"{NOTEBOOK}{number + 1}"
            found.append(self._machine(name, NOTEBOOK, _NOTEBOOK + number))
        return found

    def _machine(self, name: str, role: str, number: int) -> Machine:
        return Machine(name, f"{self.prefix}-{name}", role, number, name in self.bare)

    @property
    def shared(self) -> str:
        """The name of this lab's network, storage pool and image."""
        return f"{self.prefix}-lab"


def gateway(subnet: str) -> str:
    """Given a lab's network, return this machine's address in it."""
    return str(ipaddress.IPv4Network(subnet)[_GATEWAY])


def subnet_of(address: str) -> str:
    """Given an address with its length, 10.200.1.1/24, return the network."""
    return str(ipaddress.IPv4Interface(address).network)


def choose_subnet(prefix: str, taken: Iterable[str]) -> str:
    """Given a prefix and the networks that this machine reaches already, return a free one.

    The same prefix gets the same network, unless that is taken.
    """
    used = [ipaddress.IPv4Network(network, strict=False) for network in taken]
    used = [network for network in used if network.prefixlen > 0]
    start = int.from_bytes(hashlib.sha256(prefix.encode()).digest()[:4], "big")
    for step in range(_COUNT):
        number = _FIRST + (start + step) % _COUNT
        subnet = ipaddress.IPv4Network((10 << 24 | number << 8, 24))
        if not any(subnet.overlaps(network) for network in used):
            return str(subnet)
    raise LabError("no network between 10.200.0.0 and 10.231.255.0 is free. Look at: ip route")
