"""Chooses the addresses of the mirrors' network, so that they clash with no other. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_SIZE = 24
# Around an address of the inventory: how wide home networks are.
_HOME = 24


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"lxd_taken": taken, "lxd_address": address}


def taken(
    machine: Mapping[str, Any],
    lxd: Mapping[str, Any],
    network: str,
    inventory: Iterable[str],
    more: Iterable[str],
) -> list[dict[str, str]]:
    """Given the machine, its LXD, our network's name, the inventory's addresses and more, list what to avoid.

    Our own network is left out. Of the inventory only single addresses are known; their home networks are
    avoided whole, for a WSL behind NAT has no route to the network that it must reach.
    """
    found = [
        {"network": one["network"], "what": f"interface {one['interface'] or 'of a tunnel'}"}
        for one in machine.get("networks") or ()
        if one["interface"] != network
    ]
    for one in lxd.get("networks") or ():
        config = one.get("config") or {}
        listed = [config.get("ipv4.address", ""), *str(config.get("ipv4.routes", "")).split(",")]
        if one["name"] != network:
            found += [{"network": word.strip(), "what": f"LXD network {one['name']}"} for word in listed]
    found += [{"network": word, "what": "a name server"} for word in machine.get("nameservers") or ()]
    found += [{"network": f"{word}/{_HOME}", "what": f"{word} of the inventory"} for word in inventory]
    found += [{"network": word, "what": "lxd_network_avoid"} for word in more]
    return [one for one in found if _network(one["network"]) is not None]


def address(
    used: Sequence[Mapping[str, str]], wanted: str, ranges: Sequence[str], existing: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Given what is used, the wanted address if any, ranges to choose from, and our network if it is there.

    Return the bridge's address with why, or a problem with the next step. What was chosen once stays.

    >>> address([], "", ["10.119.0.0/16"], None)["address"]
    '10.119.0.1/24'
    """
    now = str(((existing or {}).get("config") or {}).get("ipv4.address", ""))
    if not wanted and now not in ("", "none", "auto"):
        return {"address": now, "why": "it was chosen before", "problem": ""}
    if wanted:
        problem = _against(wanted, used)
        if not problem and now and now != wanted and _instances(existing or {}):
            users = ", ".join(_instances(existing or {}))
            problem = (
                f"the network has the address {now}, and instances use it: {users}. "
                "Leave lxd_network_address as it is, or take the instances away first."
            )
        return {
            "address": "" if problem else wanted,
            "why": "lxd_network_address says so",
            "problem": problem,
        }
    return _free(used, ranges)


def _free(used: Sequence[Mapping[str, str]], ranges: Sequence[str]) -> dict[str, Any]:
    nets = [net for one in used if (net := _network(one["network"])) is not None]
    met: list[str] = []
    for word in ranges:
        whole = _network(word)
        if whole is None or whole.prefixlen > _SIZE:
            problem = (
                f"{word} in lxd_network_ranges is no IPv4 network of /{_SIZE} or wider: 10.119.0.0/16, say."
            )
            return {"address": "", "why": "", "problem": problem}
        place = _first_free(whole, nets)
        if place is not None:
            return {
                "address": f"{place + 1}/{_SIZE}",
                "why": f"it is the first of {word} that is free",
                "problem": "",
            }
        met += sorted({one["what"] for one in used if _meet(one["network"], whole)})
    problem = (
        f"no network of {', '.join(ranges)} is free; they meet: {', '.join(dict.fromkeys(met))}. "
        "Give lxd_network_address yourself, such as 192.168.233.1/24, or other lxd_network_ranges."
    )
    return {"address": "", "why": "", "problem": problem}


def _first_free(
    whole: ipaddress.IPv4Network, nets: Sequence[ipaddress.IPv4Network]
) -> ipaddress.IPv4Address | None:
    """The first block of a range that meets no network. It steps over what is taken, as wide as that is."""
    step = 1 << (32 - _SIZE)
    start, end = int(whole.network_address), int(whole.broadcast_address)
    while start + step - 1 <= end:
        block = ipaddress.IPv4Network((start, _SIZE))
        meeting = [net for net in nets if net.overlaps(block)]
        if not meeting:
            return block.network_address
        after = max(int(net.broadcast_address) for net in meeting) + 1
        start = max(start + step, -(-after // step) * step)
    return None


def _against(wanted: str, used: Sequence[Mapping[str, str]]) -> str:
    """Why an address cannot be the bridge's, with the next step."""
    try:
        place = ipaddress.IPv4Interface(wanted)
    except ValueError:
        return f"lxd_network_address {wanted} is no IPv4 address with its width, such as 10.119.0.1/24."
    net = place.network
    if "/" not in wanted or net.prefixlen > 29 or place.ip in (net.network_address, net.broadcast_address):
        return f"lxd_network_address {wanted} leaves no room for containers. Give one such as 10.119.0.1/24."
    if not place.is_private or place.is_loopback or place.is_link_local:
        return f"lxd_network_address {wanted} is not of a private network (10, 172.16 to 172.31, 192.168)."
    clash = [one for one in used if _meet(one["network"], net)]
    if clash:
        shown = "; ".join(f"{one['network']} ({one['what']})" for one in clash)
        return (
            f"lxd_network_address {wanted} meets {shown}. Take another, or leave it empty to have one chosen."
        )
    return ""


def _instances(network: Mapping[str, Any]) -> list[str]:
    paths = [path for path in network.get("used_by") or () if path.startswith("/1.0/instances/")]
    return [path.rpartition("/")[2].partition("?")[0] for path in paths]


def _network(word: str) -> ipaddress.IPv4Network | None:
    """An address or network as a network; None for a name, an IPv6 one, or what stands for everywhere."""
    try:
        found = ipaddress.IPv4Interface(word).network
    except ValueError:
        return None
    return found if found.prefixlen else None


def _meet(word: str, net: ipaddress.IPv4Network) -> bool:
    other = _network(word)
    return other is not None and other.overlaps(net)
