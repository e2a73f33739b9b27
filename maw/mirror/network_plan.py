"""Which address each network card of a mirror gets on its new bridge."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maw.mirror.mapping_model import Note

if TYPE_CHECKING:
    from maw.mirror.mapping_model import Bridge, Interface

DHCP, STATIC, MANUAL, DOWN = "dhcp", "static", "manual", "down"


@dataclass(frozen=True)
class Card:
    """How one card is set up: dhcp, static, manual (the guest's affair) or down."""

    name: str
    how: str
    address: ipaddress.IPv4Interface | None = None
    gateway: str = ""
    nameserver: str = ""
    domains: tuple[str, ...] = ()

    @property
    def cidr(self) -> str:
        """The address with its prefix, "" without one."""
        return str(self.address) if self.address is not None else ""

    @property
    def wants_name_service(self) -> bool:
        """Whether name servers belong to it."""
        return self.how in (DHCP, STATIC) and bool(self.nameserver)


def bridge_address(bridge: Bridge | None) -> ipaddress.IPv4Interface | None:
    """Given a bridge, return its IPv4 address with its network, or None if it has none."""
    if bridge is None or not bridge.address:
        return None
    try:
        found = ipaddress.ip_interface(bridge.address)
    except ValueError:
        return None
    return found if isinstance(found, ipaddress.IPv4Interface) else None


def choose_address(name: str, bridge: Bridge | None) -> ipaddress.IPv4Interface | None:
    """Given an instance's name and a bridge, return a free address there, always the same if it is free.

    None if the bridge has no IPv4 network or no free address.
    """
    own = bridge_address(bridge)
    if own is None or bridge is None or own.network.num_addresses < 4:
        return None
    taken = {address.partition("/")[0] for address in bridge.taken} | {str(own.ip)}
    hosts = own.network.num_addresses - 2
    start = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") % hosts
    # One more try than there are taken ones always finds a free one.
    for step in range(min(hosts, len(taken) + 1)):
        address = own.network.network_address + 1 + (start + step) % hosts
        if str(address) not in taken:
            return ipaddress.IPv4Interface(f"{address}/{own.network.prefixlen}")
    return None


def plan_cards(
    name: str,
    interfaces: tuple[Interface, ...],
    bridge: Bridge | None,
    domains: tuple[str, ...],
    *,
    client: bool,
) -> tuple[tuple[Card, ...], tuple[Note, ...]]:
    """Given a mirror's cards and its bridge, return how each is set up, with what is worth saying.

    `client` says whether the guest can ask for an address. Without that, the first card that
    had an address gets a fixed one; the others stay down.
    """
    own = bridge_address(bridge)
    server = str(own.ip) if own is not None else ""
    cards: list[Card] = []
    notes: list[Note] = []
    for one in interfaces:
        if not one.device:
            cards.append(Card(one.name, DOWN))
        elif one.host_managed or one.address in (None, MANUAL):
            cards.append(Card(one.name, MANUAL))
        elif bridge is not None and bridge.dhcp and client:
            cards.append(Card(one.name, DHCP, None, server, server, domains))
        elif any(card.how == STATIC for card in cards):
            cards.append(Card(one.name, DOWN))
            notes.append(
                Note(one.name, "left down: only the first card of a guest without DHCP gets an address")
            )
        elif (address := choose_address(name, bridge)) is not None:
            cards.append(Card(one.name, STATIC, address, server, server, domains))
            why = (
                "the guest has no DHCP client"
                if bridge is not None and bridge.dhcp
                else "the bridge has no DHCP"
            )
            notes.append(Note(one.name, f"gets the fixed address {address}: {why}"))
        else:
            cards.append(Card(one.name, MANUAL))
            where = (
                f"the bridge {bridge.name} has no free address" if own and bridge else "its bridge has none"
            )
            notes.append(Note(one.name, f"gets no address: {where}"))
    return tuple(cards), tuple(notes)
