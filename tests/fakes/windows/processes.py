"""The processes of a stand-in: found, stopped, continued, ended; whoever their parents are by now."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _all() -> dict[int, int]:
    """Return each process's parent."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_bytes().rpartition(b") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != b"Z":
            parents[int(path.parent.name)] = int(fields[1])
    return parents


def descendants(roots: set[int], parents: dict[int, int] | None = None) -> set[int]:
    """Return the processes given and all that come from them."""
    parents = _all() if parents is None else parents
    found = {pid for pid in roots if pid in parents}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return found


def members(roots: set[int], namespaces: set[int], folder: str) -> set[int]:
    """Return the processes below `roots`, in one of the process namespaces, or started for `folder`."""
    parents = _all()
    found = descendants(roots, parents)
    for pid in parents.keys() - found:
        try:
            inside = namespaces and Path(f"/proc/{pid}/ns/pid").stat().st_ino in namespaces
            if inside or _names(pid, folder):
                found.add(pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return descendants(found, parents)


def connections(listener: int, folder: str) -> set[int]:
    """Return the processes that serve connections of an sshd, and the commands they run on Windows."""
    parents = _all()
    found = descendants({listener}, parents)
    for pid in parents.keys() - found:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"instance" not in words and _names(pid, folder):
                found.add(pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found - {listener}


def _names(pid: int, folder: str) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    if any(word.endswith(b"/programs/start.py") for word in words):
        return os.fsencode(folder) in words
    # Wine's programs have Windows' names and no parent.
    if not words[0].lower().endswith((b".exe", b"/wine64", b"wine64-preloader")):
        return False
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return b"MAW_FOLDER=" + os.fsencode(folder) in variables


def signal_all(pids: set[int], number: int) -> None:
    """Send a signal to each that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def freeze(find: Callable[[], set[int]]) -> set[int]:
    """Stop what `find` returns, until it finds nothing new: what ran may have forked meanwhile."""
    stopped: set[int] = set()
    while new := find() - stopped:
        signal_all(new, signal.SIGSTOP)
        stopped |= new
    return stopped


def kill(pids: set[int]) -> None:
    """End processes and wait until they are gone. Raise TimeoutError."""
    signal_all(pids, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while pids & _all().keys():
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes did not end: {sorted(pids & _all().keys())}")
        time.sleep(0.005)
