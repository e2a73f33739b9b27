"""Decides what is done with a machine and its LXD, and says why. Pure.

What the role made in LXD carries the mark `user.maw.lxd`; all else is somebody's, and stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MARK = "user.maw.lxd"
_GB = 1_000_000_000
# Of a loop file's disk, what stays free for all else, and the most that is taken without being asked.
_RESERVE_GB = 2
_MOST_GB = 100
_OLDEST = (5, 0)
_NAMES = {
    "pool": r"[a-z][a-z0-9-]{0,30}",
    "network": r"[a-z][a-z0-9-]{1,14}",
    "profile": r"[a-z][a-z0-9-]{0,30}",
}


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {
            "lxd_machine_problems": machine_problems,
            "lxd_problems": lxd_problems,
            "lxd_source_of": source,
            "lxd_pool_of": pool,
            "lxd_plan": plan,
            "lxd_proof": proof,
        }


def machine_problems(machine: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Given the machine and what is wanted, return why LXD cannot be there, each with its next step."""
    found = []
    if not machine["root"]:
        found.append("we are not root there. Set ansible_user: root for that host, or become: true.")
    if machine["wsl"] == 1:
        found.append("it is a WSL 1, which has no kernel. On Windows: `wsl --set-version DISTRO 2`.")
    elif not machine["systemd"]:
        step = "write systemd=true below [boot] in /etc/wsl.conf, then on Windows `wsl --terminate DISTRO`"
        found.append(
            f"systemd does not run there, and LXD needs it. {'In the WSL: ' + step if machine['wsl'] else ''}"
        )
    if machine["user_namespaces"] == 0:
        step = "Remove the line with user.max_user_namespaces from /etc/sysctl.d, then `sysctl --system`"
        found.append(f"its kernel allows no user namespaces (user.max_user_namespaces is 0). {step}.")
    elif machine["user_namespaces"] < 0 and machine["wsl"] != 1:
        found.append("its kernel has no user namespaces. Take another kernel; of WSL: `wsl --update`.")
    found += _cgroup_problems(machine)
    least = int(wanted["memory_minimum_mb"])
    if machine["memory"] < least * 1_000_000:
        step = "Give it more (memory= below [wsl2] in .wslconfig), or set lxd_memory_minimum_mb"
        found.append(f"it has {machine['memory'] // 1_000_000} MB of memory, and {least} are wanted. {step}.")
    for kind, pattern in _NAMES.items():
        if not re.fullmatch(pattern, str(wanted[kind])):
            found.append(f"lxd_{kind} is {wanted[kind]!r}, which is no name for it. Take one such as maw.")
    if wanted["profile"] == "default":
        found.append("lxd_profile is default, which is yours and stays as it is. Take another name.")
    return [f"{problem.strip()}" for problem in found]


def _cgroup_problems(machine: Mapping[str, Any]) -> list[str]:
    if machine["cgroup"] == "unified":
        return []
    if machine["wsl"]:
        step = "Write kernelCommandLine = cgroup_no_v1=all below [wsl2] in .wslconfig, then `wsl --shutdown`"
    else:
        step = "Boot it with systemd.unified_cgroup_hierarchy=1"
    if machine["cgroup"] == "hybrid":
        found = "its control groups of version 1 are mixed with version 2, where containers do not start"
        return [f"{found}. {step}."]
    # LXD 5 still works with version 1 alone.
    return [] if machine["cgroup"] == "v1" else [f"no control groups are mounted at /sys/fs/cgroup. {step}."]


def source(machine: Mapping[str, Any], lxd: Mapping[str, Any], wanted: str) -> str:
    """Given the machine, its LXD and lxd_source, return where LXD comes from: found, snap or distribution."""
    if lxd["dir"] or machine["snap_lxd"] or "lxd" in _daemons(machine):
        return "found"
    if wanted != "auto":
        return wanted
    return "snap" if machine["os"]["id"] == "ubuntu" else "distribution"


def _daemons(machine: Mapping[str, Any]) -> list[str]:
    """Packages with the daemon itself: Ubuntu's lxd of today is empty, and only installs the snap."""
    version = str(machine["packages"].get("lxd", ""))
    return ["lxd"] if version and "snap" not in version and "lxd.socket" in machine["units"] else []


def lxd_problems(lxd: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Given LXD as it is and what is wanted, return what is in the way, each with its next step."""
    if not lxd["dir"] or lxd["down"]:
        return []
    if lxd["error"]:
        step = "See `journalctl -u lxd -u snap.lxd.daemon` there; `systemctl start lxd` or `snap start lxd`"
        return [f"its LXD does not answer: {lxd['error']}. {step}."]
    if lxd["server"] != "lxd" or not lxd["trusted"]:
        who = lxd["server"] if lxd["server"] != "lxd" else "LXD, which does not trust us,"
        return [
            f"{who} answers at {lxd['dir']}/unix.socket, and maw needs LXD as root. Take another machine."
        ]
    found = []
    version = tuple(int(part) for part in re.findall(r"\d+", lxd["version"])[:2])
    if version < _OLDEST:
        step = "Refresh it (`snap refresh lxd --channel=5.21/stable`) or upgrade the distribution"
        found.append(f"its LXD is {lxd['version']}, and maw needs 5.0 or newer. {step}.")
    if lxd["clustered"]:
        found.append(
            "its LXD is part of a cluster, where maw's pool would be on other machines too. Take another."
        )
    listening = {key: value for key, value in lxd["config"].items() if key.endswith("_address") and value}
    if listening and not wanted["allow_listener"]:
        shown = ", ".join(f"{key} {value}" for key, value in sorted(listening.items()))
        steps = "; ".join(f"`lxc config unset {key}`" for key in sorted(listening))
        found.append(
            f"its LXD listens on the network: {shown}. maw does not need that, and who gets in there is "
            "root. "
            f"Switch it off: {steps}. Or set lxd_allow_listener to true."
        )
    for kind, listed in (("pool", lxd["pools"]), ("network", lxd["networks"]), ("profile", lxd["profiles"])):
        there = _named(listed, wanted[kind])
        if there is not None and not ours(there):
            found.append(
                f"its LXD has a {kind} {wanted[kind]} that is not maw's, and stays as it is. "
                f"Give maw's another name with lxd_{kind}."
            )
    return found


def ours(one: Mapping[str, Any] | None) -> bool:
    """Whether the role made this pool, network or profile."""
    return bool(one) and str(((one or {}).get("config") or {}).get(MARK, "")) == "1"


def _named(listed: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((one for one in listed if one["name"] == name), None)


def pool(machine: Mapping[str, Any], lxd: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Given the machine, LXD and what is wanted, return the pool's driver, source, size, why or problem.

    A pool that is there stays as it is.
    """
    there = _named(lxd.get("pools") or (), wanted["pool"])
    if there is not None:
        place = str((there.get("config") or {}).get("source", ""))
        return _pool(there["driver"], place, 0, "it is there")
    free = min(size for size in (machine["disk"]["free"], machine["windows_free"]) if size is not None) // _GB
    least = int(wanted["pool_minimum_gb"])
    if free < least:
        where = machine["disk"]["path"]
        where += " (Windows' drive C:, where the WSL's disk grows, counts too)" if machine["wsl"] else ""
        problem = (
            f"{free} GB are free at {where}, and {least} are wanted. Make room, or set lxd_pool_minimum_gb."
        )
        return _pool("", "", 0, "", problem)
    why_not = _no_btrfs(machine, lxd, wanted)
    if wanted["pool_driver"] == "btrfs" and why_not:
        problem = f"lxd_pool_driver is btrfs, and {why_not}. Set it to auto or dir."
        return _pool("", "", 0, "", problem)
    if wanted["pool_driver"] == "dir" or why_not:
        return _folder(machine, wanted, why_not or "lxd_pool_driver says so")
    if machine["disk"]["filesystem"] == "btrfs":
        place = wanted["pool_path"] or f"{lxd['dir']}/storage-pools/{wanted['pool']}"
        return _pool("btrfs", place, 0, "the disk is btrfs already")
    return _loop(free, least, int(wanted["pool_size_gb"]))


def _pool(driver: str, place: str, size_gb: int, why: str, problem: str = "") -> dict[str, Any]:
    return {"driver": driver, "source": place, "size_gb": size_gb, "why": why, "problem": problem}


def _no_btrfs(machine: Mapping[str, Any], lxd: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Why the pool cannot be of driver btrfs; nothing if it can."""
    disk = machine["disk"]
    if [one[:2] for one in machine["uid_map"]] != [[0, 0]]:
        return "this machine is itself a container, which may neither mount nor remove what btrfs needs"
    if not machine["btrfs"]:
        return "its kernel has no btrfs"
    if "btrfs" not in lxd["drivers"]:
        return "its LXD has no btrfs (the distribution's needs btrfs-progs)"
    if disk["filesystem"] == "btrfs":
        # LXD makes a subvolume of it, which must be new.
        return f"{disk['path']} is there already" if wanted["pool_path"] and disk["exists"] else ""
    if wanted["pool_path"]:
        return (
            f"lxd_pool_path is on {disk['filesystem']}, and LXD puts a btrfs in a file only into its own "
            "folder"
        )
    return "" if machine["loop"] else "there are no loop devices"


def _folder(machine: Mapping[str, Any], wanted: Mapping[str, Any], why: str) -> dict[str, Any]:
    disk = machine["disk"]
    if wanted["pool_path"] and disk["exists"] and not disk["empty"]:
        problem = (
            f"lxd_pool_path {wanted['pool_path']} is there and not empty. Name an empty or a new folder."
        )
        return _pool("", "", 0, "", problem)
    return _pool("dir", wanted["pool_path"], 0, why)


def _loop(free: int, least: int, size: int) -> dict[str, Any]:
    room = free - _RESERVE_GB
    if size > room:
        problem = (
            f"lxd_pool_size_gb is {size}, and {max(room, 0)} GB can be had: the pool is a file that "
            "grows, and one that "
            "outgrows its disk is damaged. Make room, or set less."
        )
        return _pool("", "", 0, "", problem)
    chosen = size or min(max(min(free // 2, _MOST_GB), least), room)
    if chosen < 1:
        return _pool(
            "",
            "",
            0,
            "",
            f"{free} GB are free, too little for a pool. Make room, or set lxd_pool_driver: dir.",
        )
    return _pool(
        "btrfs", "", chosen, "lxd_pool_size_gb says so" if size else f"half of what is free, {free} GB"
    )


def plan(
    lxd: Mapping[str, Any], wanted: Mapping[str, Any], chosen: Mapping[str, Any], address: str
) -> list[dict[str, Any]]:
    """Given LXD as it is, what is wanted, the chosen pool and address, return the requests with reasons."""
    steps = []
    if _named(lxd["pools"], wanted["pool"]) is None:
        config = {MARK: "1", **({"source": chosen["source"]} if chosen["source"] else {})}
        config |= {"size": f"{chosen['size_gb']}GB"} if chosen["size_gb"] else {}
        body = {
            "name": wanted["pool"],
            "driver": chosen["driver"],
            "config": config,
            "description": "Mirrors of maw",
        }
        steps.append(
            _step("POST", "/1.0/storage-pools", body, f"make pool {wanted['pool']} ({chosen['driver']})")
        )
    steps += _network_steps(lxd, wanted, address)
    steps += _profile_steps(lxd, wanted)
    return steps


def _step(method: str, path: str, body: object, reason: str) -> dict[str, Any]:
    return {"method": method, "path": path, "body": body, "reason": reason}


def _network_steps(lxd: Mapping[str, Any], wanted: Mapping[str, Any], address: str) -> list[dict[str, Any]]:
    name = wanted["network"]
    config = {
        MARK: "1",
        "ipv4.address": address,
        "ipv4.nat": str(bool(wanted["nat"])).lower(),
        "ipv4.firewall": str(bool(wanted["firewall"])).lower(),
        "ipv6.address": "none",
        "dns.mode": wanted["dns"],
        "dns.domain": wanted["domain"],
    }
    there = _named(lxd["networks"], name)
    if there is None:
        body = {"name": name, "type": "bridge", "config": config, "description": "Mirrors of maw"}
        return [_step("POST", "/1.0/networks", body, f"make network {name} ({address})")]
    now = there.get("config") or {}
    differ = sorted(key for key, value in config.items() if str(now.get(key, "")) != value)
    if not differ:
        return []
    body = {"config": {**now, **config}, "description": there.get("description", "")}
    return [_step("PUT", f"/1.0/networks/{name}", body, f"change {', '.join(differ)} of network {name}")]


def _profile_steps(lxd: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    name = wanted["profile"]
    config = {MARK: "1", "boot.autostart": "false"}
    devices = {
        "root": {"type": "disk", "path": "/", "pool": wanted["pool"]},
        "eth0": {"type": "nic", "name": "eth0", "network": wanted["network"]},
    }
    there = _named(lxd["profiles"], name)
    if there is None:
        body = {"name": name, "config": config, "devices": devices, "description": "Containers of maw"}
        return [_step("POST", "/1.0/profiles", body, f"make profile {name}")]
    now, cards = there.get("config") or {}, there.get("devices") or {}
    # What a person added to it, limits say, stays.
    kept = [str(now.get(key)) == value for key, value in config.items()]
    kept += [
        cards.get(key, {}).get(word) == value for key, one in devices.items() for word, value in one.items()
    ]
    if all(kept):
        return []
    merged = {key: {**cards.get(key, {}), **value} for key, value in devices.items()}
    body = {
        "config": {**now, **config},
        "devices": {**cards, **merged},
        "description": there.get("description", ""),
    }
    return [_step("PUT", f"/1.0/profiles/{name}", body, f"put profile {name} right")]


def proof(lxd: Mapping[str, Any], machine: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Given LXD, the machine and what is wanted, return a word: while it is equal, a probe's result holds."""
    pool_there = _named(lxd["pools"], wanted["pool"]) or {}
    network = _named(lxd["networks"], wanted["network"]) or {}
    profile = _named(lxd["profiles"], wanted["profile"]) or {}
    facts = [machine["kernel"], machine["wsl_version"], lxd["version"], lxd["firewall"]]
    facts += [machine["subuid"], machine["subgid"], pool_there.get("driver"), pool_there.get("config")]
    facts += [network.get("config"), profile.get("config"), profile.get("devices")]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
