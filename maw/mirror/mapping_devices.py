"""Disks, network cards and devices of a container as LXD devices."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maw.mirror.mapping_model import Interface, safe

if TYPE_CHECKING:
    from maw.mirror.mapping_model import Bridge, Draft
    from maw.mirror.pct import Config, Mount, Net

# A dir pool could only limit by project quotas, which few file systems have on.
_SIZED_POOLS = frozenset({"btrfs", "zfs", "lvm", "ceph"})
_CARD_NAME = re.compile(r"[-_.A-Za-z0-9]{2,15}")
_ETHERNET = 1500
_IN_VOLUME = {
    "acl": "the pool's file system decides it",
    "idmap": "the mirror gets the ids of its own LXD",
    "keepattrs": "the archive holds owner and mode",
    "mountoptions": "the mirror has no mount of that kind",
    "quota": "LXD has no user quotas",
    "replicate": "of Proxmox's replication",
    "shared": "of Proxmox's clusters",
    "volume": "the archive holds what is in it",
}


def map_root(draft: Draft, config: Config) -> None:
    """Given a draft and a config, map the root file system to the root disk."""
    root = {"type": "disk", "path": "/", "pool": draft.target.pool}
    draft.devices["root"] = root
    mounts = config.mounts()
    mount = next((one for one in mounts if one.key == "rootfs"), None)
    if mount is None:
        draft.note("rootfs", "the config names no root file system")
        return
    draft.config["user.pve.rootfs"] = safe(config.main.values["rootfs"])
    for option, value in sorted(mount.options.items()):
        if option == "size":
            _size(draft, root, value, mounts)
        elif option == "volume":
            draft.carry("rootfs.volume", value, f"root disk in pool {draft.target.pool}")
        else:
            _option(draft, mount, option, value)


def _size(draft: Draft, root: dict[str, str], value: str, mounts: tuple[Mount, ...]) -> None:
    """Set the root disk's size to that of all the volumes whose content it takes."""
    sizes = [one.size for one in mounts if one.included]
    total = sum(size or 0 for size in sizes)
    if not all(sizes):
        draft.carry("rootfs.size", value, "no limit", "it has none on the server either")
    elif draft.target.pool_driver not in _SIZED_POOLS:
        draft.lose(
            "rootfs.size", value, f"a {draft.target.pool_driver} pool has no sizes; the mirror may fill it"
        )
    else:
        root["size"] = f"{total}B"
        why = "" if len(sizes) == 1 else f"of all {len(sizes)} volumes that it takes together"
        draft.carry("rootfs.size", value, f"root disk size={total}B", why)


def map_mounts(draft: Draft, config: Config) -> None:
    """Given a draft and a config, say of each mount point where its content is in the mirror."""
    for mount in config.mounts():
        if mount.key == "rootfs":
            continue
        draft.config[f"user.pve.{mount.key}"] = safe(config.main.values[mount.key])
        _place(draft, mount)
        for option, value in sorted(mount.options.items()):
            if option == "size":
                why = "part of the root disk's size" if mount.included else "of a volume that is not mirrored"
                draft.carry(f"{mount.key}.size", value, f"user.pve.{mount.key}", why)
            elif option not in ("mp", "backup", "volume"):
                _option(draft, mount, option, value)


def _place(draft: Draft, mount: Mount) -> None:
    backup = mount.options.get("backup")
    if mount.included:
        draft.carry(f"{mount.key}.volume", mount.volume, "inside the root disk", "as the archive holds it")
        draft.carry(f"{mount.key}.mp", mount.path, f"folder {safe(mount.path)}")
        draft.carry(f"{mount.key}.backup", backup or "1", "its content is mirrored")
        return
    if mount.kind == "bind":
        why = f"{safe(mount.volume)} lies on the Proxmox server, not in the container: no archive holds it"
    elif mount.kind == "device":
        why = f"{safe(mount.volume)} is a disk of the Proxmox server: no archive holds it"
    else:
        why = "backup=1 is not set on it, so that no archive holds it; set that on the server to mirror it"
    draft.lose(f"{mount.key}.volume", mount.volume, why)
    draft.lose(f"{mount.key}.mp", mount.path, "an empty folder in the mirror")
    if backup is not None:
        draft.carry(f"{mount.key}.backup", backup, f"user.pve.{mount.key}")


def _option(draft: Draft, mount: Mount, option: str, value: str) -> None:
    key = f"{mount.key}.{option}"
    if option == "ro" and value == "1":
        draft.lose(key, value, "it can be written to in the mirror")
    elif option in _IN_VOLUME or option == "ro":
        draft.carry(key, value, f"user.pve.{mount.key}", _IN_VOLUME.get(option, "as in the mirror"))
    # An unknown sub-key is put down with the other unknown things.


def map_networks(draft: Draft, config: Config) -> None:
    """Given a draft and a config, map each network card to one on the target's own bridge."""
    for net in config.networks():
        draft.config[f"user.pve.{net.key}"] = safe(config.main.values[net.key])
        bridge = draft.target.bridge
        usable = bool(_CARD_NAME.fullmatch(net.name)) and net.name not in (".", "..")
        attached = bridge if usable and not net.flag("link_down") else None
        device = ""
        if attached is not None:
            device = net.key if net.name in draft.devices else net.name
            draft.devices[device] = _card(attached, net.name, draft)
        _say_name(draft, net, attached, usable)
        for option, value in sorted(net.options.items()):
            if option != "name":
                _card_option(draft, net, option, value, device)
        draft.interfaces.append(
            Interface(
                key=net.key,
                name=net.name,
                device=device,
                hwaddr=net.get("hwaddr"),
                address=net.get("ip"),
                address6=net.get("ip6"),
                host_managed=net.flag("host-managed"),
            )
        )


def _card(bridge: Bridge, name: str, draft: Draft) -> dict[str, str]:
    if bridge.managed and draft.has("instance_nic_network"):
        return {"type": "nic", "name": name, "network": bridge.name}
    return {"type": "nic", "name": name, "nictype": "bridged", "parent": bridge.name}


def _say_name(draft: Draft, net: Net, attached: Bridge | None, usable: bool) -> None:
    key = f"{net.key}.name"
    if attached is not None:
        draft.carry(key, net.name, f"nic {net.name} on {attached.name}")
    elif not usable:
        draft.lose(key, net.name, "LXD wants 2 to 15 letters, digits, dots, hyphens and underscores")
    elif draft.target.bridge is None:
        draft.lose(key, net.name, f"{draft.target.host} has no bridge for mirrors")
    else:
        draft.lose(key, net.name, "its cable is unplugged on the server, and the mirror has no such card")


def _card_option(draft: Draft, net: Net, option: str, value: str, device: str) -> None:
    key, kept = f"{net.key}.{option}", f"user.pve.{net.key}"
    card = draft.devices.get(device, {}) if device else {}
    if not card and option in ("mtu", "rate", "tag", "trunks"):
        draft.carry(key, value, kept, "of a card that the mirror does not have")
    elif option in _CARD_OPTIONS:
        _CARD_OPTIONS[option](draft, key, value, card)
    elif option == "hwaddr":
        draft.carry(key, value, kept, "the mirror gets a new one, so that both can be on one network")
    elif option == "bridge":
        bridge = draft.target.bridge
        draft.carry(key, value, kept, f"replaced by {bridge.name}" if bridge else "the target has none")
    elif option in ("ip", "gw"):
        draft.carry(key, value, kept, "replaced by an address of the target's bridge")
    elif option in ("ip6", "gw6") and value not in ("auto", "manual"):
        draft.lose(key, value, "of the server's network; the mirror takes what its bridge announces")
    elif option in ("ip6", "gw6", "type", "link_down"):
        draft.carry(key, value, kept)
    # An unknown sub-key is put down with the other unknown things.


def _mtu(draft: Draft, key: str, value: str, card: dict[str, str]) -> None:
    if "parent" in card and int(value) <= _ETHERNET:
        card["mtu"] = str(int(value))
        draft.carry(key, value, f"mtu={int(value)}")
    elif "network" in card:
        draft.lose(key, value, "a card on a network of LXD has that network's")
    else:
        draft.lose(key, value, "it may be more than the target's bridge passes on")


def _rate(draft: Draft, key: str, value: str, card: dict[str, str]) -> None:
    # Proxmox counts megabytes a second, LXD bits.
    kilobits = round(float(value) * 8000)
    if not 0 < kilobits < 2**40:
        draft.lose(key, value, "no rate that LXD could set")
        return
    card["limits.ingress"] = card["limits.egress"] = f"{kilobits}kbit"
    draft.carry(key, value, f"limits.ingress and limits.egress {kilobits}kbit")


def _vlan(draft: Draft, key: str, value: str, _card: dict[str, str]) -> None:
    draft.lose(key, value, "the server's VLANs do not reach the target's bridge")


def _firewall(draft: Draft, key: str, value: str, _card: dict[str, str]) -> None:
    if value == "1":
        draft.lose(
            key, value, "Proxmox's firewall stays on the server; LXD's network ACLs are the like of it"
        )
    else:
        draft.carry(key, value, "no firewall")


def _host_managed(draft: Draft, key: str, value: str, _card: dict[str, str]) -> None:
    if value == "1":
        draft.lose(key, value, "LXD gives no addresses from outside; this guest has no address in the mirror")
    else:
        draft.carry(key, value, "the guest's own affair")


_CARD_OPTIONS = {
    "firewall": _firewall,
    "host-managed": _host_managed,
    "mtu": _mtu,
    "rate": _rate,
    "tag": _vlan,
    "trunks": _vlan,
}


def map_passed_devices(draft: Draft, config: Config) -> None:
    """Given a draft and a config, put down the devices of the server, which the mirror does not get."""
    for device in config.devices():
        draft.config[f"user.pve.{device.key}"] = safe(config.main.values[device.key])
        add = ["lxc", "config", "device", "add", draft.name, device.key, "unix-char"]
        plain = re.fullmatch(r"[\w./:-]{1,200}", device.path, re.ASCII)
        by_hand = f"; by hand: `{' '.join(add)} path={device.path} required=false`" if plain else ""
        draft.lose(
            f"{device.key}.path",
            device.path,
            f"{safe(device.path)} of {draft.target.host} may be another device than the server's{by_hand}",
        )
        for option, value in sorted(device.options.items()):
            if option != "path":
                draft.carry(f"{device.key}.{option}", value, f"user.pve.{device.key}")
