"""Removes what a daemon of our own leaves behind, also one that was killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.daemon import ROOT, Own, detach_loops, loop_devices
from lab.errors import LabError
from lab.programs import run

if TYPE_CHECKING:
    from lab.names import Lab

_LOCKS = Path("/run/lxc/lock")
_TREES = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
# liblxc's own group for those who enter a container. If another LXC uses it, it stays.
_PIVOT = "lxc.pivot"


def clean(own: Own, lab: Lab) -> bool:
    """Given a lab's own daemon, which is stopped, remove its rest; return whether there was one."""
    if not own.folder.exists():
        return False
    _end(_processes(own))
    _unmount(own.folder)
    if loop_devices(own.folder):
        detach_loops(own.folder)
    if Path("/sys/class/net", lab.shared).exists():
        run(["ip", "link", "delete", lab.shared], seconds=20)
    _remove_groups(f"lxc.*.{lab.prefix}-*")
    # Last of this lab: as long as it is there, a lab that goes down again finds the rest.
    shutil.rmtree(own.folder)
    _remove_locks(own.lxd)
    _remove_empty(ROOT)
    if not any(ROOT.parent.glob(f"{ROOT.name}/*")):
        for tree in _TREES:
            _remove_group(tree / _PIVOT)
    return True


def _processes(own: Own) -> list[int]:
    """What still runs of this daemon: itself, its helpers, monitors of containers and all in those."""
    marks = [f"LXD_DIR={own.lxd}".encode(), f"{own.lxd}/".encode()]
    monitors, found = set(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes() + b"\0" + (folder / "environ").read_bytes()
            parent = int((folder / "stat").read_text("utf-8", "replace").rpartition(") ")[2].split()[1])
        except OSError:
            continue
        pid = int(folder.name)
        found.append((pid, parent))
        if any(mark in words for mark in marks) and pid != os.getpid():
            monitors.add(pid)
    grown = True
    while grown:
        below = {pid for pid, parent in found if parent in monitors} - monitors
        monitors |= below
        grown = bool(below)
    return sorted(monitors)


def _end(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)


def _unmount(folder: Path) -> None:
    lines = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    places = [line.split()[1] for line in lines]
    for place in sorted((place for place in places if place.startswith(f"{folder}/")), reverse=True):
        run(["umount", "--lazy", place], seconds=20)


def _remove_locks(lxd: Path) -> None:
    shutil.rmtree(_LOCKS / str(lxd).lstrip("/"), ignore_errors=True)
    for folder in (_LOCKS / str(lxd).lstrip("/")).parents:
        if folder == _LOCKS.parent.parent:
            return
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _remove_groups(pattern: str) -> None:
    """Remove control groups of that name, and those below. Raise LabError if something runs in them."""
    deadline = time.monotonic() + 10
    for tree in _TREES:
        for group in tree.glob(pattern):
            # What was killed takes a moment to leave.
            while not _remove_group(group):
                if time.monotonic() > deadline:
                    raise LabError(f"the control group {group} is still in use. See: systemd-cgls {group}")
                time.sleep(0.05)


def _remove_group(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
