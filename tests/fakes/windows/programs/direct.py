"""A distro that is this very system, as in the lab's container: no instance, no namespace of its own.

Windows' sshd runs with a /run of its own (see machine.py), so that the distro's /run/sshd may be
missing; a program of the distro therefore starts in the mounts of the sshd's keeper.
"""

from __future__ import annotations

import os
import signal

from . import distro
from .state import Machine, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def start(machine: Machine, request: dict[str, Any], streams: tuple[int, int, int]) -> None:
    """In a forked process: become the program of a request. Never returns."""
    with open(_started(machine, request["distro"]), "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    outer = machine.folder + "/keeper"
    if not os.path.exists(outer):
        distro.start(request, streams)
    for place, handle in enumerate(streams):
        os.dup2(handle, place)
    with open(outer, encoding="ascii") as file:
        mounts = f"--mount=/proc/{file.read().strip()}/ns/mnt"
    state = machine.state
    python = [state["python"], "-I", "-S", state["programs"] + "/start.py"]
    words = ["nsenter", mounts, *python, "become", machine.folder, encode(request).encode("utf-8").hex()]
    os.execvp("nsenter", words)


def become(text: str) -> None:
    """Become the program of a request that came as a command-line argument."""
    request = decode(bytes.fromhex(text).decode("utf-8"))
    streams = tuple(os.dup(place) for place in range(3))
    distro.start(request, (streams[0], streams[1], streams[2]))


def _started(machine: Machine, name: str) -> str:
    return f"{machine.folder}/started-{name.encode('utf-8').hex()[:64]}"


def terminate(machine: Machine, name: str) -> None:
    """End what wsl.exe started and what that started, as far as it stayed in its session."""
    path = _started(machine, name)
    try:
        with open(path, encoding="ascii") as file:
            sessions = {line.strip() for line in file}
        os.unlink(path)
    except FileNotFoundError:
        return
    for pid in [word for word in os.listdir("/proc") if word.isdigit()]:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                session = file.read().rpartition(b") ")[2].split()[3].decode("ascii")
            if session in sessions:
                os.kill(int(pid), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
