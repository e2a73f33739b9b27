"""shutdown.exe, and what a restart does: connections and instances end, then sshd and boot tasks start."""

from __future__ import annotations

import os
import signal
import time

from .state import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SCHEDULED = "A system shutdown has already been scheduled.(1190)\r\n"
_NONE = "Unable to abort the system shutdown because no shutdown was in progress.(1116)\r\n"


def shutdown(machine: Machine, arguments: list[str]) -> int:
    """Do what `shutdown.exe /r [/t SECONDS] [/c TEXT] [/f]` and `/a` do; return the exit code."""
    words = [word.lower().replace("-", "/", 1) for word in arguments]
    if not machine.state["administrator"]:
        machine.err("Access is denied.(5)\r\n")
        return 5
    if words == ["/a"]:
        return abort(machine)
    if "/r" not in words:
        machine.err(f"The stand-in's shutdown.exe does not play: shutdown {' '.join(arguments)}\r\n")
        return 1
    seconds = int(words[words.index("/t") + 1]) if "/t" in words else 30
    return restart(machine, seconds)


def abort(machine: Machine) -> int:
    """Call a restart off; return the exit code."""

    def change(state: dict[str, Any]) -> bool:
        found = state["shutdown"] is not None
        state["shutdown"] = None
        return found

    if machine.change(change):
        return 0
    machine.err(_NONE)
    return 1116


def restart(machine: Machine, seconds: float) -> int:
    """Restart the machine after some seconds; return the exit code."""
    mark = f"{time.time():.6f}"

    def schedule(state: dict[str, Any]) -> bool:
        if state["shutdown"] is not None:
            return False
        state["shutdown"] = mark
        return True

    if not machine.change(schedule):
        machine.err(_SCHEDULED)
        return 1190
    listener = _listener()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            nothing = os.open("/dev/null", os.O_RDWR)
            for place in range(3):
                os.dup2(nothing, place)
            os.closerange(3, 256)
            _restart(machine.folder, mark, seconds, listener)
        os._exit(0)
    os.waitpid(pid, 0)
    return 0


def _parents() -> dict[int, int]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    found[int(name)] = int(file.read().rpartition(b") ")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def _listener() -> int | None:
    """Return the sshd that takes the connections of this machine, from within one of them."""
    parents, pid = _parents(), os.getpid()
    while pid > 1:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"[listener]" in file.read():
                    return pid
        except (FileNotFoundError, ProcessLookupError):
            return None
        pid = parents.get(pid, 0)
    return None


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _restart(folder: str, mark: str, seconds: float, listener: int | None) -> None:
    time.sleep(seconds)
    machine = Machine(folder)
    if machine.state["shutdown"] != mark:
        return
    if listener is not None:
        _signal(listener, signal.SIGSTOP)
        found, parents = {listener}, _parents()
        while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
            found |= more
        for pid in found - {listener, os.getpid()}:
            _signal(pid, signal.SIGKILL)
    from . import wsl_management

    for name in machine.state["distros"]:
        wsl_management.end(machine, name)
    machine.change(_boot)
    time.sleep(machine.state["reboot_seconds"])
    if listener is not None and machine.state["services"]["sshd"]["state"] == "running":
        _signal(listener, signal.SIGCONT)
    from . import scheduled

    scheduled.run_at_boot(machine)


def _boot(state: dict[str, Any]) -> None:
    """What is true after a restart."""
    state.update(shutdown=None, boot_time=time.time(), reboot_pending=False)
    for name, value in state["features"].items():
        state["features"][name] = {"EnablePending": "Enabled", "DisablePending": "Disabled"}.get(value, value)
    for service in state["services"].values():
        service["state"] = "running" if service["start_mode"] in ("auto", "delayed") else "stopped"
