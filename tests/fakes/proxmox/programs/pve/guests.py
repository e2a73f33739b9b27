"""What the API and pct say of guests, and how they are started and stopped."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from . import config
from .state import Node, PveError

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_PRESSURES = [f"pressure{what}{how}" for what in ("cpu", "io", "memory") for how in ("full", "some")]


def start(node: Node, vmid: int | str) -> None:
    """Start a container. Raise PveError if it runs or is locked."""
    check_start(node, vmid)
    node.check_lock(vmid)
    node.set_running(vmid, True)


def check_start(node: Node, vmid: int | str) -> None:
    """Raise PveError if a container runs already."""
    if node.pid(vmid):
        raise PveError(f"CT {vmid} already running")


def stop(node: Node, vmid: int | str) -> None:
    """Stop a container. Raise PveError if it does not run or is locked."""
    node.text(vmid)
    check_stop(node, vmid)
    node.check_lock(vmid)
    node.set_running(vmid, False)


def check_stop(node: Node, vmid: int | str) -> None:
    """Raise PveError if a container does not run."""
    if not node.pid(vmid):
        raise PveError(f"CT {vmid} not running")


def status(node: Node, vmid: int) -> dict[str, Any]:
    """Return what `status/current` and the list show of a container."""
    current = node.current(vmid)
    pid = node.pid(vmid)
    used, size = _disk(node, vmid, current, running=pid is not None)
    found: dict[str, Any] = {
        "cpu": 0,
        "cpus": int(current.get("cores") or os.cpu_count() or 1),
        "disk": used,
        "diskread": 0,
        "diskwrite": 0,
        "ha": {"managed": 0},
        "maxdisk": size,
        "maxmem": int(current.get("memory") or 512) * 1024**2,
        "maxswap": int(current.get("swap") or 0) * 1024**2,
        "mem": 0,
        "name": current.get("hostname") or f"CT{vmid}",
        "netin": 0,
        "netout": 0,
        "status": "running" if pid else "stopped",
        "swap": 0,
        "type": "lxc",
        "uptime": 0,
        "vmid": vmid,
    }
    for key in ("tags", "lock"):
        if current.get(key):
            found[key] = current.get(key)
    if current.get("template") == "1":
        found["template"] = 1
    if pid:
        began = (node.folder / "running" / str(vmid)).stat().st_mtime
        found |= {"pid": pid, "uptime": max(1, int(time.time() - began))}
        found |= dict.fromkeys(_PRESSURES, "0.00")
    return found


def _disk(node: Node, vmid: int, current: config.Section, *, running: bool) -> tuple[int, int]:
    match = re.search(r"\bsize=(\d+)([KMGT]?)\b", current.get("rootfs") or "")
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if not running:
        return 0, size or 4 * 1024**3
    if not size:
        usage = os.statvfs(node.folder)
        return (usage.f_blocks - usage.f_bfree) * usage.f_frsize, usage.f_blocks * usage.f_frsize
    return 2140160, size


def machine(node: Node, vmid: int) -> dict[str, Any]:
    """Return what the list shows of a virtual machine."""
    current = node.current(vmid, "qemu")
    values = dict.fromkeys(["cpu", "disk", "diskread", "diskwrite", "mem", "netin", "netout", "uptime"], 0)
    return {
        **values,
        "cpus": int(current.get("cores") or 1),
        "maxdisk": 4 * 1024**3,
        "maxmem": int(current.get("memory") or 512) * 1024**2,
        "name": current.get("name") or f"VM{vmid}",
        "status": "stopped",
        "vmid": vmid,
    }
