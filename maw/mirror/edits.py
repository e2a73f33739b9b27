"""What Proxmox writes into a container at each start and LXD does not, made right for the mirror's new place.

Hostname, hosts, name servers, network, time zone, consoles; with `beside` also the machine-id.
Pure: from what is seen of the rootfs, to edits. What the guest manages itself is left alone and named.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from maw.mirror.edit_model import Bench, Edit, Seen, ignore_file, with_block, without_block
from maw.mirror.mapping_model import Note
from maw.mirror.network_files import FILES, NETWORKD, WRITERS
from maw.mirror.network_plan import DHCP, STATIC, Card, plan_cards
from maw.mirror.pct_keys import KEYS
from maw.mirror.property_string import split_list, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maw.mirror.mapping_model import Mapped, Target
    from maw.mirror.pct import Config

__all__ = ["PROBE", "READ", "Edit", "Note", "Seen", "paths", "plan_edits"]

_SYSTEM = "etc/systemd/system"
_RELEASES = ("etc/os-release", "usr/lib/os-release", "etc/redhat-release", "etc/alpine-release")
_WRITTEN = (
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/network/interfaces",
    "etc/conf.d/net",
    "etc/conf.d/hostname",
    "etc/timezone",
    "etc/localtime",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    *(f"{_SYSTEM}/container-getty@{number}.service" for number in range(1, 7)),
)
_CARDS = tuple(pattern.format(f"eth{number}") for number in range(8) for pattern in FILES)
READ: tuple[str, ...] = (
    *_RELEASES,
    *_WRITTEN,
    *_CARDS,
    *(ignore_file(path) for path in (*_WRITTEN, *_CARDS)),
)
_CLIENTS = tuple(
    f"{folder}/{name}"
    for folder in ("usr/sbin", "sbin", "usr/bin", "bin")
    for name in ("dhclient", "udhcpc", "dhcpcd")
)
_BUSYBOX = ("bin/busybox", "usr/bin/busybox")
_NETWORKMANAGER = ("usr/sbin/NetworkManager", "usr/bin/NetworkManager")
_WICKED = ("usr/sbin/wickedd", "sbin/wickedd")
_GETTY = ("usr/lib/systemd/system/container-getty@.service", "lib/systemd/system/container-getty@.service")
PROBE: tuple[str, ...] = (*_CLIENTS, *_BUSYBOX, *_NETWORKMANAGER, *_WICKED, *NETWORKD, *_GETTY)

_IDS = {
    "almalinux": "centos",
    "alpine": "alpine",
    "arch": "archlinux",
    "centos": "centos",
    "debian": "debian",
    "devuan": "devuan",
    "fedora": "fedora",
    "gentoo": "gentoo",
    "nixos": "nixos",
    "opensuse-leap": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "rhel": "centos",
    "rocky": "centos",
    "ubuntu": "ubuntu",
}
_SYSTEMS = {
    "alpine": "ifupdown",
    "archlinux": "networkd",
    "debian": "ifupdown",
    "devuan": "ifupdown",
    "fedora": "networkd",
    "gentoo": "netifrc",
    "nixos": "networkd",
    "opensuse": "wicked",
}
# What can ask for an address, by system; the built-in ones are named by the program that does it.
_ASKERS = {
    "ifupdown": _CLIENTS,
    "netifrc": (*_CLIENTS, *_BUSYBOX),
    "network-scripts": (*_CLIENTS, *_NETWORKMANAGER),
    "networkd": NETWORKD,
    "networkmanager": _NETWORKMANAGER,
    "wicked": (*_WICKED, *NETWORKD),
}


def paths(config: Config) -> tuple[str, ...]:
    """Given a container's config, return every path that `plan_edits` wants to see."""
    own = [pattern.format(net.name) for net in config.networks() for pattern in FILES]
    own += [ignore_file(path) for path in own]
    zone = _zone(config)
    return tuple(dict.fromkeys([*READ, *PROBE, *own, *([zone] if zone else [])]))


def plan_edits(
    config: Config,
    mapped: Mapped,
    target: Target,
    seen: Mapping[str, Seen],
    *,
    beside: bool = False,
) -> tuple[tuple[Edit, ...], tuple[Note, ...], dict[str, str]]:
    """Given a container, its mirror, the target and what is seen of the rootfs, plan the edits.

    Return them, what is worth saying, and the address of each card that gets one: "" for one
    by DHCP. A card without an address is not named. With `beside` the mirror may run beside
    its original: its machine-id is cleared (SSH host keys are not).
    """
    bench = Bench(seen)
    addresses: dict[str, str] = {}
    ostype = _ostype(config, bench)
    if ostype == "unmanaged":
        bench.note(
            "network", "Proxmox leaves this guest's files alone, and so do its mirrors: see to its network"
        )
    else:
        cards = _network(config, mapped, target, bench, ostype)
        addresses = {card.name: card.cidr.partition("/")[0] for card in cards if card.how in (DHCP, STATIC)}
        _hostname(config, bench, ostype)
        _hosts(config, bench, cards)
        _name_service(config, bench, cards)
        _timezone(config, bench)
        _consoles(config, bench)
    if beside:
        _machine_id(bench)
    return tuple(bench.edits), tuple(bench.notes), addresses


def _ostype(config: Config, bench: Bench) -> str:
    written = config.get("ostype")
    if written in KEYS["ostype"].choices:
        return written
    # Proxmox looks into the container too when the config does not say.
    return _IDS.get(_release(bench).get("ID", ""), "unmanaged")


def _release(bench: Bench) -> dict[str, str]:
    text = bench.text("etc/os-release") or bench.text("usr/lib/os-release") or ""
    pairs = (line.partition("=") for line in text.split("\n"))
    return {name.strip(): value.strip().strip("\"'") for name, equals, value in pairs if equals}


def _version(text: str) -> tuple[int, int]:
    match = re.search(r"(\d{1,4})(?:\.(\d{1,4}))?", text, re.ASCII)
    return (int(match[1]), int(match[2] or 0)) if match else (9999, 0)


def _system(bench: Bench, ostype: str) -> str:
    if ostype == "ubuntu":
        return "networkd" if _version(_release(bench).get("VERSION_ID", "")) >= (17, 10) else "ifupdown"
    if ostype == "centos":
        version = _version(bench.text("etc/redhat-release") or _release(bench).get("VERSION_ID", ""))
        return "networkmanager" if version >= (10, 0) else "network-scripts"
    return _SYSTEMS[ostype]


def _network(config: Config, mapped: Mapped, target: Target, bench: Bench, ostype: str) -> tuple[Card, ...]:
    system = _system(bench, ostype)
    cards, notes = plan_cards(
        mapped.name,
        mapped.interfaces,
        target.bridge,
        _domains(config),
        client=bench.exists(*_ASKERS[system]),
    )
    bench.notes += notes
    if cards:
        WRITERS[system](bench, cards)
    return cards


def _domains(config: Config) -> tuple[str, ...]:
    written = config.get("searchdomain") or ""
    return () if wrong(KEYS["searchdomain"], written) else tuple(split_list(written))


def _name_of(config: Config) -> str:
    """Return the host name, "" if there is none or it is no name."""
    written = config.hostname or ""
    return "" if not written or wrong(KEYS["hostname"], written) else written


def _hostname(config: Config, bench: Bench, ostype: str) -> None:
    label = _name_of(config).partition(".")[0]
    if not label:
        return
    if ostype == "gentoo":
        bench.write("etc/conf.d/hostname", f'hostname="{label}"\n', "the container's host name")
    else:
        bench.write("etc/hostname", f"{label}\n", "the container's host name")


def _hosts(config: Config, bench: Bench, cards: tuple[Card, ...]) -> None:
    name = _name_of(config)
    if not name or not bench.may_write("etc/hosts"):
        return
    label = name.partition(".")[0]
    names = [name, label] if "." in name else [*(f"{name}.{one}" for one in _domains(config)), name]
    text = bench.text("etc/hosts")
    own = without_block(text or "")
    body = ""
    if not re.search(r"^[ \t]*127\.0\.0\.1[ \t]", own, re.MULTILINE):
        body += "127.0.0.1 localhost.localnet localhost\n"
    if not re.search(r"^[ \t]*::1[ \t]", own, re.MULTILINE):
        body += "::1 localhost.localnet localhost\n"
    address = next((card.cidr.partition("/")[0] for card in cards if card.how == STATIC), "127.0.1.1")
    body += f"{address} {' '.join(names)}\n"
    bench.write("etc/hosts", with_block(text, body), "the host name at its new address")


def _name_service(config: Config, bench: Bench, cards: tuple[Card, ...]) -> None:
    path = "etc/resolv.conf"
    server = next((card.nameserver for card in cards if card.wants_name_service), "")
    if not server:
        if without_block(bench.text(path) or "") != (bench.text(path) or ""):
            bench.note(path, "still names the servers of the original's network")
        return
    if not bench.may_write(path):
        return
    domains = _domains(config)
    body = f"search {' '.join(domains)}\n" if domains else ""
    body += f"nameserver {server}\n"
    bench.write(
        path, with_block(bench.text(path), body, alone=True), "the bridge of the mirror's host answers names"
    )


def _zone(config: Config) -> str:
    """Return the path of the time zone that the config names, "" if it names none."""
    written = config.get("timezone") or ""
    if not written or written == "host" or wrong(KEYS["timezone"], written):
        return ""
    return f"usr/share/zoneinfo/{written}"


def _timezone(config: Config, bench: Bench) -> None:
    zone = _zone(config)
    if not zone:
        return
    if not bench.exists(zone):
        bench.note(
            "etc/localtime",
            f"left as it is: the guest has no {zone}, so that Proxmox could not set it either",
        )
        return
    here = bench.at("etc/localtime")
    pointed = posixpath.normpath(posixpath.join("/etc", here.target or "")) if here.kind == "symlink" else ""
    if pointed != f"/{zone}":
        bench.link("etc/localtime", f"/{zone}", "the container's time zone")
    if bench.at("etc/timezone").kind != "missing":
        bench.write("etc/timezone", f"{config.get('timezone')}\n", "the container's time zone")


def _consoles(config: Config, bench: Bench) -> None:
    """Mask the consoles that Proxmox gives and LXD does not, or systemd would start them again and again."""
    if not bench.exists(*_GETTY):
        return
    count = config.integer("tty")
    for number in range(1, min(2 if count is None else count, 6) + 1):
        path = f"{_SYSTEM}/container-getty@{number}.service"
        here = bench.at(path)
        if here.kind == "file":
            bench.note(path, "left as it is: a unit of the guest's own")
        elif here.kind != "symlink":
            bench.link(path, "/dev/null", "LXD has no such console")


def _machine_id(bench: Bench) -> None:
    why = "beside its original the mirror is another machine"
    if bench.at("etc/machine-id").kind != "missing":
        bench.write("etc/machine-id", "", why)
    if bench.at("var/lib/dbus/machine-id").kind == "file":
        bench.remove("var/lib/dbus/machine-id", why)
