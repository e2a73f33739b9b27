"""Says of a machine what LXD needs to know: kernel, ids, disk, memory, networks. It changes nothing.

Standard library only, Python 3.9. Sent on standard input; `main` gets a JSON object and prints a JSON line.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

_LXD_FOLDERS = ("/var/lib/lxd", "/var/snap/lxd/common/lxd")
# Kinds of routes that stand for an address of this machine itself.
_OWN = ("local", "broadcast", "multicast", "anycast")
# What Debian's package has; a name that this machine does not know is left out.
_UNITS = ("lxcfs.service", "lxd.socket", "lxd.service", "lxd-containers.service")


def main(text: str, root: str = "/") -> int:
    """Given the facts as JSON and where the file system begins, print what is there."""
    facts = json.loads(text)
    print(json.dumps(look(str(facts.get("path") or ""), root)))
    return 0


def look(path: str, root: str = "/") -> dict[str, Any]:
    """Given the folder that the pool shall have, or none, return what is there."""
    release = os.uname().release
    return {
        "schema": "maw.lxd_machine/1",
        "root": os.geteuid() == 0,
        "systemd": Path(f"{root}run/systemd/system").is_dir(),
        "kernel": release,
        "wsl": wsl(release, _read(f"{root}proc/version")),
        "wsl_version": _said(["wslinfo", "--wsl-version"]),
        "os": os_release(_read(f"{root}etc/os-release")),
        "cgroup": cgroup(_read(f"{root}proc/self/mountinfo")),
        "own_cgroup": own_cgroup(_read(f"{root}proc/self/cgroup")),
        "user_namespaces": _number(_read(f"{root}proc/sys/user/max_user_namespaces")),
        "apparmor": _read(f"{root}sys/module/apparmor/parameters/enabled").strip() == "Y",
        "uid_map": id_map(_read(f"{root}proc/self/uid_map")),
        "gid_map": id_map(_read(f"{root}proc/self/gid_map")),
        "subuid": _read(f"{root}etc/subuid"),
        "subgid": _read(f"{root}etc/subgid"),
        "memory": _memory(_read(f"{root}proc/meminfo")),
        "disk": disk(path or _lxd_folder(), _read(f"{root}proc/self/mountinfo")),
        "windows_free": windows_free(_read(f"{root}proc/self/mountinfo")),
        "loop": Path("/dev/loop-control").exists(),
        "btrfs": _kernel_has_btrfs(root),
        "busybox": shutil.which("busybox") is not None,
        "networks": networks(_ip("address"), _ip("route", "show", "table", "all")),
        "nameservers": re.findall(r"(?m)^\s*nameserver\s+(\S+)", _read(f"{root}etc/resolv.conf")),
        "packages": packages(),
        "snap": shutil.which("snap") is not None,
        "snap_lxd": _snap_lxd(),
        "units": units(),
        "mounts": _below(_read(f"{root}proc/self/mountinfo")),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        # A kernel or a machine without it: nothing is said of it.
        return ""


def _said(words: list[str]) -> str:
    """What a program prints, nothing if it is not there or fails."""
    if shutil.which(words[0]) is None:
        return ""
    try:
        done = subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=30)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def _ip(*words: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(_said(["ip", "-j", *words]) or "[]")
    except ValueError:
        # An `ip` of busybox, which knows no JSON.
        found = []
    return [one for one in found if isinstance(one, dict)]


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else -1


def wsl(release: str, version: str) -> int:
    """Given the kernel's release and /proc/version, return 1 or 2 for WSL, 0 for another machine."""
    if "microsoft" not in (release + version).lower():
        return 0
    return 1 if re.match(r"[34]\.", release) and "WSL2" not in release and "-Microsoft" in release else 2


def os_release(text: str) -> dict[str, str]:
    """Given /etc/os-release, return id and version."""
    pairs = dict(re.findall(r'(?m)^(\w+)="?([^"\n]*)"?$', text))
    return {"id": pairs.get("ID", ""), "version": pairs.get("VERSION_ID", "")}


def cgroup(mountinfo: str) -> str:
    """Given the mounts, return unified, hybrid, v1 or none."""
    mounts = [line.split(" - ") for line in mountinfo.splitlines() if " - " in line]
    kinds = {
        (before.split()[4], after.split()[0])
        for before, after in mounts
        if before.split()[4].startswith("/sys/fs/cgroup")
    }
    old = any(kind == "cgroup" for _, kind in kinds)
    if ("/sys/fs/cgroup", "cgroup2") in kinds and not old:
        return "unified"
    if any(kind == "cgroup2" for _, kind in kinds):
        return "hybrid"
    return "v1" if old else "none"


def own_cgroup(text: str) -> str:
    """Given /proc/self/cgroup, return where this process is in the tree of version 2."""
    match = re.search(r"(?m)^0::(.*)$", text)
    return match.group(1) if match else ""


def id_map(text: str) -> list[list[int]]:
    """Given /proc/self/uid_map, return the ranges: first id in here, first id outside, how many."""
    return [[int(word) for word in line.split()] for line in text.splitlines() if len(line.split()) == 3]


def _memory(text: str) -> int:
    match = re.search(r"(?m)^MemTotal:\s+(\d+) kB", text)
    return int(match.group(1)) * 1024 if match else 0


def _lxd_folder() -> str:
    return next((folder for folder in _LXD_FOLDERS if Path(folder).is_dir()), _LXD_FOLDERS[0])


def disk(path: str, mountinfo: str) -> dict[str, Any]:
    """Given a folder that need not be there yet, return what disk it will lie on."""
    there = Path(path)
    while not there.is_dir():
        there = there.parent
    free = os.statvfs(there)
    return {
        "path": path,
        "exists": os.path.lexists(path),
        "empty": Path(path).is_dir() and not any(Path(path).iterdir()),
        "free": free.f_bavail * free.f_frsize,
        "filesystem": filesystem(str(there.resolve()), mountinfo),
    }


def filesystem(path: str, mountinfo: str) -> str:
    """Given a real path and the mounts, return the type of its file system."""
    best, found = "", ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        words = before.split()
        if len(words) < 5 or not after:
            continue
        place = words[4].replace("\\040", " ")
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        # Of two mounts on one place, the later hides the earlier.
        if inside and len(place) >= len(best):
            best, found = place, after.split()[0]
    return found


def windows_free(mountinfo: str) -> int | None:
    """Given the mounts, return what is free on the Windows drive C:, where a WSL grows; None without one."""
    if not re.search(r"(?m)^(\S+ ){4}/mnt/c .* - (9p|drvfs|virtiofs) ", mountinfo):
        return None
    free = os.statvfs("/mnt/c")
    return free.f_bavail * free.f_frsize


def _kernel_has_btrfs(root: str) -> bool:
    if re.search(r"(?m)\bbtrfs$", _read(f"{root}proc/filesystems")):
        return True
    release = os.uname().release
    names = f"{root}lib/modules/{release}/modules.dep", f"{root}lib/modules/{release}/modules.builtin"
    return any("/btrfs.ko" in _read(name) for name in names)


def networks(addresses: list[dict[str, Any]], routes: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Given what `ip` says, return the IPv4 networks that are known here, each with its interface."""
    found = {(one["network"], one["interface"]): one for one in _of_addresses(addresses) + _of_routes(routes)}
    return [found[key] for key in sorted(found)]


def _of_addresses(addresses: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {"network": f"{info['local']}/{info['prefixlen']}", "interface": str(link.get("ifname", ""))}
        for link in addresses
        for info in link.get("addr_info") or ()
        if info.get("family") == "inet" and "local" in info
    ]


def _of_routes(routes: list[dict[str, Any]]) -> list[dict[str, str]]:
    found = []
    for route in routes:
        target = str(route.get("dst", ""))
        if re.fullmatch(r"\d+(\.\d+){3}(/\d+)?", target) and route.get("type", "unicast") not in _OWN:
            found.append({"network": target, "interface": str(route.get("dev", ""))})
    return found


def packages() -> dict[str, str]:
    """Return the versions of Debian's or Ubuntu's packages of LXD that are installed."""
    said = _said(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Version}\n"])
    lines = [line.split("\t") for line in said.splitlines()]
    return {line[1]: line[2] for line in lines if line[0].startswith("ii") and re.match("lxd|incus", line[1])}


def _snap_lxd() -> dict[str, str]:
    """Return version and channel of the snap, nothing where it is not installed."""
    lines = _said(["snap", "list", "lxd"]).splitlines()
    words = lines[-1].split() if len(lines) > 1 else []
    return {"version": words[1], "channel": words[3]} if len(words) > 3 else {}


def units() -> dict[str, str]:
    """Return whether each unit of the distribution's LXD is enabled, as systemd says it."""
    if shutil.which("systemctl") is None:
        return {}
    found = {}
    for unit in _UNITS:
        # Its exit status tells the same as its word; a unit that is not there has no word.
        done = subprocess.run(
            ["systemctl", "is-enabled", unit], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        word = done.stdout.decode().strip()
        if word and word != "not-found":
            found[unit] = word
    return found


def _below(mountinfo: str) -> list[str]:
    places = [line.split()[4] for line in mountinfo.splitlines() if len(line.split()) > 4]
    return sorted((place for place in places if place.startswith("/var/lib/lxd/")), reverse=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
