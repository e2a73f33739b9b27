"""Files that set up a guest's network, one function per way that Linux systems have for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from maw.mirror.edit_model import with_block, without_block
from maw.mirror.ifupdown import rewrite
from maw.mirror.network_plan import DHCP, DOWN, STATIC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maw.mirror.edit_model import Bench
    from maw.mirror.network_plan import Card

WHY = "an address on the bridge of the mirror's host"
# Connections of NetworkManager need a UUID that stays the same.
_NAMESPACE = uuid.UUID("6d1cf3c6-6b1e-5ae6-a1f7-0d9f7f1d2c11")


def write_ifupdown(bench: Bench, cards: Sequence[Card]) -> None:
    """Given a bench and cards, plan ``/etc/network/interfaces`` (Debian, Devuan, Alpine)."""
    path = "etc/network/interfaces"
    if not bench.may_write(path):
        return
    text, dropped = rewrite(bench.text(path) or "", cards)
    bench.write(path, text, WHY)
    if dropped:
        bench.note(path, f"dropped {len(dropped)} lines of the old network, first: {dropped[0][:80]!r}")


def write_networkd(bench: Bench, cards: Sequence[Card]) -> None:
    """Given a bench and cards, plan the files of systemd-networkd (Ubuntu, Arch, NixOS, Fedora)."""
    for path, card in _to_write(bench, "etc/systemd/network/{}.network", cards):
        lines = ["[Match]", f"Name = {card.name}", ""]
        if card.how == DOWN:
            lines += ["[Link]", "Unmanaged = yes"]
        else:
            lines += ["[Network]", f"Description = Interface {card.name} set up by maw"]
            lines.append(f"DHCP = {'ipv4' if card.how == DHCP else 'no'}")
        if card.how == STATIC:
            lines += [f"Address = {card.cidr}", f"Gateway = {card.gateway}", f"DNS = {card.nameserver}"]
        if card.how in (DHCP, STATIC) and card.domains:
            lines.append(f"Domains = {' '.join(card.domains)}")
        bench.write(path, _text(lines), WHY)


def write_network_scripts(bench: Bench, cards: Sequence[Card]) -> None:
    """Given a bench and cards, plan the ``ifcfg`` files of Red Hat's systems before version 10."""
    folder = "etc/sysconfig/network-scripts"
    for path, card in _to_write(bench, folder + "/ifcfg-{}", cards):
        lines = [f"DEVICE={card.name}", f"ONBOOT={'no' if card.how == DOWN else 'yes'}"]
        lines.append(f"BOOTPROTO={'dhcp' if card.how == DHCP else 'none'}")
        if card.how == STATIC and card.address is not None:
            lines += [
                f"IPADDR={card.address.ip}",
                f"NETMASK={card.address.netmask}",
                f"GATEWAY={card.gateway}",
            ]
        if card.wants_name_service:
            lines.append(f"DNS1={card.nameserver}")
            lines += [f'DOMAIN="{" ".join(card.domains)}"'] if card.domains else []
        bench.write(path, _text(lines), WHY)
        for kind in ("route", "route6"):
            _without_routes(bench, f"{folder}/{kind}-{card.name}")


def write_networkmanager(bench: Bench, cards: Sequence[Card]) -> None:
    """Given a bench and cards, plan the connections of NetworkManager (Red Hat's systems from version 10)."""
    for path, card in _to_write(bench, "etc/NetworkManager/system-connections/{}.nmconnection", cards):
        lines = ["[connection]", f"id={card.name}", f"uuid={uuid.uuid5(_NAMESPACE, card.name)}"]
        lines += ["type=ethernet", f"interface-name={card.name}"]
        lines += ["autoconnect=false"] if card.how == DOWN else []
        lines += ["[ipv4]", f"method={ {DHCP: 'auto', STATIC: 'manual'}.get(card.how, 'disabled') }"]
        if card.how == STATIC:
            lines += [f"addresses={card.cidr}", f"gateway={card.gateway}", f"dns={card.nameserver}"]
        if card.wants_name_service and card.domains:
            lines.append(f"dns-search={';'.join(card.domains)}")
        lines += ["[ipv6]", f"method={'auto' if card.how in (DHCP, STATIC) else 'disabled'}"]
        # NetworkManager takes no connection that others than root can read.
        bench.write(path, _text(lines), WHY, mode=0o600)


def write_wicked(bench: Bench, cards: Sequence[Card]) -> None:
    """Given a bench and cards, plan the ``ifcfg`` files of SUSE."""
    folder = "etc/sysconfig/network"
    for path, card in _to_write(bench, folder + "/ifcfg-{}", cards):
        started = card.how in (DHCP, STATIC)
        lines = [f"STARTMODE={'onboot' if started else 'manual'}"]
        lines.append(f"BOOTPROTO={'dhcp4' if card.how == DHCP else 'static'}")
        lines += [f"IPADDR={card.cidr}"] if card.how == STATIC else []
        bench.write(path, _text(lines), WHY)
        routes = f"{folder}/ifroute-{card.name}"
        if card.how == STATIC:
            route = f"default {card.gateway} 0.0.0.0 {card.name}\n"
            bench.write(routes, with_block(bench.text(routes), route), WHY)
        else:
            _without_routes(bench, routes)
    if bench.exists(*NETWORKD):
        write_networkd(bench, cards)


def write_netifrc(bench: Bench, cards: Sequence[Card]) -> None:
    """Given a bench and cards, plan ``/etc/conf.d/net`` of Gentoo."""
    lines = ['modules="$modules dhcpcd"'] if bench.exists("usr/sbin/dhcpcd", "sbin/dhcpcd") else []
    for card in cards:
        # A shell reads this file, in which a name such as veth-1 could be no variable.
        variable = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in card.name)
        content = {DHCP: "dhcp", STATIC: card.cidr}.get(card.how, "null")
        lines.append(f'config_{variable}="{content}"')
        if card.how == STATIC:
            lines.append(f'routes_{variable}="default gw {card.gateway}"')
    path = "etc/conf.d/net"
    if bench.may_write(path):
        bench.write(path, with_block(bench.text(path), _text(lines), alone=True), WHY)


def _to_write(bench: Bench, pattern: str, cards: Sequence[Card]) -> list[tuple[str, Card]]:
    """Return each card with its file; one that stays as it is gets no file that it had not."""
    paths = [(pattern.format(card.name), card) for card in cards]
    return [one for one in paths if one[1].how in (DHCP, STATIC) or bench.at(one[0]).kind != "missing"]


def _without_routes(bench: Bench, path: str) -> None:
    text = bench.text(path)
    if text is None or without_block(text) == text:
        return
    if without_block(text).strip():
        bench.write(path, without_block(text), "Proxmox's routes lead nowhere on the new bridge")
    else:
        bench.remove(path, "Proxmox's routes lead nowhere on the new bridge")


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


NETWORKD = ("usr/lib/systemd/systemd-networkd", "lib/systemd/systemd-networkd")
WRITERS: dict[str, Callable[[Bench, Sequence[Card]], None]] = {
    "ifupdown": write_ifupdown,
    "networkd": write_networkd,
    "network-scripts": write_network_scripts,
    "networkmanager": write_networkmanager,
    "wicked": write_wicked,
    "netifrc": write_netifrc,
}
# The files that each way has for one card, {} its name.
FILES = (
    "etc/systemd/network/{}.network",
    "etc/sysconfig/network-scripts/ifcfg-{}",
    "etc/sysconfig/network-scripts/route-{}",
    "etc/sysconfig/network-scripts/route6-{}",
    "etc/NetworkManager/system-connections/{}.nmconnection",
    "etc/sysconfig/network/ifcfg-{}",
    "etc/sysconfig/network/ifroute-{}",
)
