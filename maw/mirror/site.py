"""The host that holds mirrors: its LXD, the place of LXD's storage, and what a mapping needs to know."""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from maw.errors import LxdError, NoLxd, NoPool
from maw.files import sha256_of
from maw.lxd.client import Lxd
from maw.mirror import plan
from maw.mirror.mapping_model import Bridge, Target
from maw.transport.local import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from maw.mirror.far import Far
    from maw.mirror.plan import Instance, Step, Trio

# Of LXD's storage drivers, those whose trees can be written to from beside LXD.
_DRIVERS = ("btrfs", "dir")
_PYTHON = (3, 9)


@dataclass(frozen=True)
class Site:
    """One host with LXD. `socket` is the socket's path there."""

    far: Far
    lxd: Lxd
    socket: str
    pool: str
    target: Target
    storage: str
    # Whether zstd is installed there.
    unpacks: bool

    @property
    def host(self) -> str:
        """The host's name."""
        return self.far.host

    def volume(self, name: str) -> str:
        """Given an instance, return the folder of its volume there.

        Seen through LXD's own process, whose mounts the snap keeps to itself.
        """
        return f"{self.storage}/{name}"

    def root(self, name: str) -> str:
        """Given an instance, return the folder of its tree there."""
        return f"{self.volume(name)}/rootfs"

    def lock(self, mirror: str) -> str:
        """Given a mirror's name, return that of its lock: one for each mirror of each LXD there."""
        return sha256_of(f"{self.socket}\0{mirror}")[:32]

    def instances(self) -> list[Instance]:
        """Return all instances there."""
        return [plan.instance(answer) for answer in self.lxd.instances()]

    def trio(self, name: str) -> Trio:
        """Given a mirror's name, return its instances. Raise NotOurs."""
        return plan.trio(self.instances(), name, self.host)

    def target_of(self, mirror: str) -> Target:
        """Given a mirror's name, return the target with the addresses that others have on its bridge."""
        bridge = self.target.bridge
        if bridge is None:
            return self.target
        return replace(self.target, bridge=replace(bridge, taken=_taken(self.lxd, bridge.name, mirror)))

    def do(self, steps: Sequence[Step]) -> None:
        """Do steps, to their end even if the link is cut."""
        self.far.steps(self.socket, [step.words for step in steps])

    def clear(self, steps: Sequence[Step]) -> None:
        """Do steps that remove what was left, and wait until its space is free again."""
        self.do(steps)
        if self.target.pool_driver == "btrfs" and any(step.kind == plan.DELETE for step in steps):
            self.far.call("reclaim", {"path": self.storage})

    def ids(self, name: str) -> dict[str, list[list[int]]]:
        """Given an instance, return how its owners are shifted on disk, for the far side."""
        import json

        config = self.lxd.get(f"instances/{name}")["config"]
        ranges = json.loads(config.get("volatile.last_state.idmap") or "[]")
        words = {"uids": "Isuid", "gids": "Isgid"}
        return {
            which: [[one["Nsid"], one["Hostid"], one["Maprange"]] for one in ranges if one[flag]]
            for which, flag in words.items()
        }


@contextlib.contextmanager
def site(
    far: Far,
    reach: Callable[[str], AbstractContextManager[Path]],
    *,
    lxd_dir: str | None = None,
    pool: str = "",
    network: str = "",
) -> Iterator[Site]:
    """Given the far side and what makes its LXD's socket reachable here, yield the site.

    Raise NoLxd, NoPool, LxdError or TransportError.
    """
    facts = far.call("look", {"lxd_dir": lxd_dir})
    _check(facts, far.host)
    folder, server = facts["lxd_dir"], facts["server"]["environment"]["server_pid"]
    socket = f"{folder}/unix.socket"
    with reach(socket) as here, Lxd(here, far.host) as lxd:
        profile = _default_profile(lxd)
        name, driver = _pool(lxd, pool, profile)
        target = Target(
            host=far.host,
            architecture=str(lxd.environment.get("kernel_architecture", "")),
            cores=int(facts["cores"]),
            memory_bytes=int(facts["memory"]),
            extensions=lxd.extensions,
            pool=name,
            pool_driver=driver,
            bridge=_bridge(lxd, network, profile),
        )
        storage = f"/proc/{server}/root{folder}/storage-pools/{name}/containers"
        yield Site(far, lxd, socket, name, target, storage, bool(facts["programs"]["zstd"]))


def _check(facts: dict[str, Any], host: str) -> None:
    if not facts["root"]:
        step = "Run this as root" if host == LOCAL else "Set ansible_user: root for that host"
        raise LxdError(host=host, reason="we are not root there", step=step)
    if facts["lxd_dir"] is None:
        looked = ", ".join(facts["looked"])
        step = "Install it (`apt install lxd`, or `snap install lxd`) and run `lxd init`"
        raise NoLxd(host=host, reason=f"no unix.socket in {looked}", step=step)
    if "server" not in facts:
        step = "Look there with `lxc list`; start it with `systemctl start lxd` or `snap start lxd`"
        raise NoLxd(host=host, reason=str(facts.get("lxd_error")), step=step)
    if "GNU tar" not in facts["tar"]:
        raise LxdError(host=host, reason="GNU tar is not installed", step="Install it with `apt install tar`")
    version = tuple(int(part) for part in facts["python"].split(".")[:2])
    if version < _PYTHON:
        wanted = ".".join(map(str, _PYTHON))
        step = f"Install Python {wanted} or newer there"
        raise LxdError(host=host, reason=f"its python3 is {facts['python']}", step=step)


def _default_profile(lxd: Lxd) -> dict[str, dict[str, str]]:
    profiles = lxd.get("profiles")
    found: dict[str, dict[str, str]] = next(
        (one["devices"] for one in profiles if one["name"] == "default"), {}
    )
    return found


def _pool(lxd: Lxd, wanted: str, profile: dict[str, dict[str, str]]) -> tuple[str, str]:
    """Return name and driver of the pool: the one asked for, the default profile's, or the only one."""
    pools = {one["name"]: one["driver"] for one in lxd.get("storage-pools")}
    if not pools:
        raise NoPool(host=lxd.host, reason="it has none at all")
    usable = {name: driver for name, driver in pools.items() if driver in _DRIVERS}
    root = next((one.get("pool", "") for one in profile.values() if one.get("path") == "/"), "")
    chosen = wanted or (root if root in usable else "")
    if not chosen and len(usable) == 1:
        chosen = next(iter(usable))
    if chosen in usable:
        return chosen, usable[chosen]
    shown = ", ".join(f"{name} ({driver})" for name, driver in sorted(pools.items()))
    if wanted:
        reason = f"{wanted} is none that mirrors can use; there are {shown}; drivers dir and btrfs can"
    elif usable:
        reason = f"several could be taken: {shown}; name one in mirror.pool of maw.toml"
    else:
        reason = f"there are {shown}, and only the drivers dir and btrfs can be written to"
    raise NoPool(host=lxd.host, reason=reason)


def _bridge(lxd: Lxd, wanted: str, profile: dict[str, dict[str, str]]) -> Bridge | None:
    """Return the network of mirrors: the one asked for, the default profile's, or the only bridge of LXD."""
    networks = {one["name"]: one for one in lxd.get("networks") if one["type"] == "bridge"}
    nics = [one.get("network") or one.get("parent", "") for one in profile.values() if one["type"] == "nic"]
    managed = [name for name, one in networks.items() if one["managed"]]
    chosen = wanted or next((name for name in nics if name in networks), "")
    if not chosen and len(managed) == 1:
        chosen = managed[0]
    if wanted and wanted not in networks:
        known = ", ".join(sorted(networks)) or "none"
        step = "Name one of these in mirror.network of maw.toml"
        raise LxdError(host=lxd.host, reason=f"it has no bridge {wanted}; there are: {known}", step=step)
    if not chosen:
        return None
    config = networks[chosen].get("config") or {}
    address = config.get("ipv4.address", "none")
    has = bool(networks[chosen]["managed"]) and address not in ("none", "")
    return Bridge(
        name=chosen,
        managed=bool(networks[chosen]["managed"]),
        address=str(ipaddress.ip_interface(address)) if has else None,
        dhcp=has and config.get("ipv4.dhcp", "true") != "false",
    )


def _taken(lxd: Lxd, network: str, mirror: str) -> frozenset[str]:
    """Return the addresses that machines of that bridge have or will have, but for the mirror's own."""
    own = {mirror, mirror + plan.NEW, mirror + plan.OLD}
    taken = set()
    for one in lxd.instances():
        if one["name"] in own:
            continue
        devices = one.get("expanded_devices") or one.get("devices") or {}
        taken |= {device["ipv4.address"] for device in devices.values() if "ipv4.address" in device}
        mine = (one.get("config") or {}).get("user.maw.addresses", "")
        taken |= {word.partition("=")[2].partition("/")[0] for word in mine.split() if "=" in word}
    try:
        leases = lxd.get(f"networks/{network}/leases")
        taken |= {lease["address"] for lease in leases if lease["hostname"] not in own}
    except LxdError:
        # A bridge that LXD does not manage has none.
        return frozenset(taken)
    return frozenset(taken)
