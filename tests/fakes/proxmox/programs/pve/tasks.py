"""Tasks: their names, their logs, how they end. A backup is a process of its own."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .state import Node, PveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .access import Who

_UPID = re.compile(
    r"UPID:([a-zA-Z0-9-]+):([0-9A-F]{8}):([0-9A-F]{8,9}):([0-9A-F]{8}):([^:\s]+):([^:\s]*):([^:\s]+):"
)
_RUNNER = Path(__file__).with_name("runner.py")


def parse(upid: str) -> dict[str, Any]:
    """Return the parts of a task's name, or raise."""
    match = _UPID.fullmatch(upid)
    if match is None:
        raise PveError("unable to parse worker upid", 400)
    node, pid, pstart, start, kind, identity, user = match.groups()
    name, mark, token = user.partition("!")
    found = {
        "upid": upid,
        "node": node,
        "pid": int(pid, 16),
        "pstart": int(pstart, 16),
        "starttime": int(start, 16),
        "type": kind,
        "id": identity,
        "user": name,
    }
    return {**found, "tokenid": token} if mark else found


def new_name(node: Node, kind: str, identity: str, user: str, pid: int) -> str:
    """Return the name of a task that begins now; its log begins too."""
    ticks = int(time.monotonic() * 100) & 0xFFFFFFFF
    upid = f"UPID:{node.name}:{pid:08X}:{ticks:08X}:{int(time.time()):08X}:{kind}:{identity}:{user}:"
    _path(node, upid, "log").touch()
    return upid


def _path(node: Node, upid: str, suffix: str) -> Path:
    return node.folder / "tasks" / f"{upid.replace('/', '_')}.{suffix}"


def write(node: Node, upid: str, line: str) -> None:
    """Add a line to a task's log."""
    with _path(node, upid, "log").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def finish(node: Node, upid: str, exitstatus: str) -> None:
    """Note how a task ended, in its log and for its status."""
    last = "TASK OK" if exitstatus == "OK" else f"TASK ERROR: {exitstatus}"
    write(node, upid, last)
    beside = _path(node, upid, "new")
    beside.write_text(json.dumps({"exitstatus": exitstatus, "endtime": int(time.time())}), "utf-8")
    beside.replace(_path(node, upid, "end"))


def at_once(node: Node, kind: str, identity: str, who: Who, action: Callable[[], object]) -> str:
    """Run a short task to its end; return its name."""
    upid = new_name(node, kind, identity, who.name, random.randrange(2000, 32768))
    try:
        action()
    except PveError as error:
        finish(node, upid, error.text.replace("\n", " ").strip())
    else:
        finish(node, upid, "OK")
    return upid


def backup(node: Node, params: dict, who: Who) -> str:
    """Start a backup as a process of its own; return the task's name."""
    argv = [sys.executable, "-I", str(_RUNNER), str(node.folder)]
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    vmids = params["vmid"]
    upid = new_name(node, "vzdump", vmids[0] if len(vmids) == 1 else "", who.name, process.pid)
    order = {"upid": upid, "params": params, "user": who.user, "token": who.token}
    process.stdin.write(json.dumps(order).encode("utf-8"))
    process.stdin.close()
    threading.Thread(target=process.wait, daemon=True).start()
    return upid


def exists(node: Node, upid: str) -> bool:
    """Whether the node knows a task."""
    return _path(node, upid, "log").exists()


def status(node: Node, upid: str) -> dict[str, Any]:
    """Return the state of a task. Raise for one that the node does not know."""
    found = parse(upid)
    if not exists(node, upid):
        raise PveError("no such task", 400)
    end = _ended(node, upid, found["pid"])
    if end is None:
        return {**found, "status": "running"}
    return {**found, "status": "stopped", "exitstatus": end["exitstatus"]}


def _ended(node: Node, upid: str, pid: int) -> dict[str, Any] | None:
    path = _path(node, upid, "end")
    if not path.exists() and alive(pid):
        return None
    if path.exists():
        return json.loads(path.read_text("utf-8"))
    return {"exitstatus": "unexpected status", "endtime": int(time.time())}


def alive(pid: int) -> bool:
    """Whether a task's process runs; one that only waits to be collected does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z" and os.fsencode(_RUNNER) in line


def log(node: Node, upid: str) -> list[str]:
    """Return the lines of a task's log."""
    parse(upid)
    if not exists(node, upid):
        return ["unable to open file - No such file or directory"]
    return _path(node, upid, "log").read_text("utf-8").splitlines()


def stop(node: Node, upid: str) -> None:
    """Tell a task's process to end; wait a moment for it, as Proxmox VE does."""
    pid = parse(upid)["pid"]
    if status(node, upid)["status"] == "running":
        os.kill(pid, signal.SIGTERM)
        for _ in range(200):
            if not alive(pid):
                return
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)


def listed(node: Node) -> list[dict[str, Any]]:
    """Return all tasks as the node's list shows them, newest first."""
    found = []
    for path in (node.folder / "tasks").glob("*.log"):
        entry = parse(path.stem)
        end = _ended(node, path.stem, entry["pid"])
        if end is None:
            entry |= {"status": "RUNNING"}
        else:
            entry |= {"status": end["exitstatus"], "endtime": end["endtime"]}
        found.append(entry)
    return sorted(found, key=lambda entry: entry["starttime"], reverse=True)
