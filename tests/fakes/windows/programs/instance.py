"""A WSL instance: the first process of a distro's own process, mount and host-name namespaces.

As in WSL, each wsl.exe asks it to start a program and hands over three pipes; Linux programs do
not keep it alive, only those clients do. When it ends, the kernel ends all that runs in it.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time

from . import distro, state
from .state import load_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNTS = (("etc_ssh", "/etc/ssh"), ("root", "/root"), ("run", "/run"))


def address(machine: state.Machine, name: str) -> str:
    """Return the abstract socket of an instance: no path, which could be too long."""
    return f"\0maw-windows-{machine.state['id']}-{name}"


def main(folder: str, name: str, ready: int) -> None:
    """Set the distro up, say so through the file handle `ready`, and serve until idle."""
    machine = state.Machine(folder)
    own = machine.state["distros"][name]["root"]
    record = f"{own}/instance.json"
    outside = int(os.readlink("/proc/self"))  # still the /proc of the outer namespace
    for inner, place in MOUNTS:
        os.makedirs(f"{own}/{inner}", exist_ok=True)
        if place == "/root":
            for path in machine.state["visible"]:
                _bind(path, f"{own}/{inner}{path[len('/root') :]}")
        _bind(f"{own}/{inner}", place, recursive=True)
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    socket.sethostname(machine.state["name"])
    os.chdir("/")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address(machine, name))
    namespace = os.stat("/proc/self/ns/pid").st_ino
    # Written before anybody may connect: whoever reached it finds it in the record.
    state.save_file(record, {"pid": outside, "namespace": namespace, "session": _session(machine)})
    listener.listen(128)
    os.write(ready, b"ready")
    os.close(ready)
    try:
        _Server(folder, name, listener).serve()
    finally:
        os.unlink(record)


def _session(machine: state.Machine) -> int:
    return 1 if os.environ.get("MAW_SESSION") == "1" or machine.state["terminate_on_sign_out"] else 0


def _bind(source: str, target: str, recursive: bool = False) -> None:
    os.makedirs(target, exist_ok=True)
    kind = "--rbind" if recursive else "--bind"
    subprocess.run(["mount", kind, source, target], check=True)


class _Server:
    """Starts programs for clients, tells them the end, counts who is still there."""

    def __init__(self, folder: str, name: str, listener: socket.socket) -> None:
        self.state_file = f"{folder}/state.json"
        self.name = name
        self.listener = listener
        self.clients: dict[int, socket.socket] = {}
        self.started: dict[int, int] = {}
        self.poll = select.poll()
        self.wakeup, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        self.wakeup.setblocking(False)
        self._kept = wakeup
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def serve(self) -> None:
        for handle in (self.listener, self.wakeup):
            self.poll.register(handle, select.POLLIN)
        last = time.monotonic()
        while True:
            ready = [number for number, _ in self.poll.poll(250)]
            for number in ready:
                if number == self.listener.fileno():
                    self._accept()
                elif number in self.clients:
                    self._leave(number)
                elif number == self.wakeup.fileno():
                    self.wakeup.recv(4096)
            self._reap()
            if self.clients:
                last = time.monotonic()
            elif self._idle(time.monotonic() - last):
                return

    def _idle(self, seconds: float) -> bool:
        limit: float = load_file(self.state_file)["idle_seconds"]
        return 0 <= limit <= seconds

    def _accept(self) -> None:
        client, _ = self.listener.accept()
        client.settimeout(5)
        try:
            request, handles = _received(client)
        except OSError:
            client.close()
            return
        client.settimeout(None)
        client.send(b"+")  # from here on the client need not ask again
        pid = os.fork()
        if pid == 0:
            distro.start(request, (handles[0], handles[1], handles[2]))
        for handle in handles:
            os.close(handle)
        self.clients[client.fileno()] = client
        self.started[pid] = client.fileno()
        self.poll.register(client, select.POLLIN)

    def _leave(self, handle: int) -> None:
        # A client that goes does not end its program, which sees the end of its input.
        self.poll.unregister(handle)
        self.clients.pop(handle).close()
        for pid in [pid for pid, client in self.started.items() if client == handle]:
            del self.started[pid]

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            handle = self.started.pop(pid, None)
            if handle is not None:
                try:
                    self.clients[handle].send(str(distro.exit_code(status)).encode())
                except OSError:
                    continue


def _received(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, extra, _, _ = client.recvmsg(1 << 20, socket.CMSG_SPACE(12))
    handles = array.array("i")
    for _, _, piece in extra:
        handles.frombytes(piece)
    while not data.endswith(b"\n"):
        more = client.recv(1 << 20)
        if not more:
            raise OSError("the request was cut off")
        data += more
    return state.decode(data.decode("utf-8")), list(handles)


def start(machine: state.Machine, name: str) -> None:
    """Start the instance if it does not run. Two at once: one starts it, the other waits."""
    own = machine.state["distros"][name]["root"]
    with open(f"{own}/lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _answers(machine, name):
            return
        time.sleep(machine.state["cold_start_seconds"])
        ours, theirs = os.pipe()
        if os.fork() == 0:
            _detach(machine, name, theirs)
        os.close(theirs)
        said = os.read(ours, 10)
        os.close(ours)
        if said != b"ready":
            raise OSError(f"the instance did not start, see {own}/instance.log")


def _detach(machine: state.Machine, name: str, ready: int) -> None:
    """In a forked process: become the instance, which belongs to nobody's log-in."""
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    log = f"{machine.state['distros'][name]['root']}/instance.log"
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 1)
    os.dup2(1, 2)
    os.dup2(ready, 3, inheritable=True)
    os.closerange(4, 256)
    unshare = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")
    python = [sys.executable, "-I", "-S", script, "instance", machine.folder, name, "3"]
    os.execvp("unshare", [*unshare, *python])


def running(machine: state.Machine, name: str) -> bool:
    """Return whether the instance runs, without being its client."""
    return record(machine, name) is not None


def _answers(machine: state.Machine, name: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address(machine, name))
        except OSError:
            return False
    return True


def record(machine: state.Machine, name: str) -> dict[str, Any] | None:
    """Return what a running instance wrote about itself: pid, namespace, and the session that made it."""
    own = machine.state["distros"][name]["root"]
    try:
        found = load_file(f"{own}/instance.json")
        alive = os.stat(f"/proc/{found['pid']}/ns/pid").st_ino == found["namespace"]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return found if alive else None


def terminate(machine: state.Machine, name: str) -> bool:
    """End an instance and all that runs in it; return whether it ran."""
    found = record(machine, name)
    if found is None:
        return False
    own = machine.state["distros"][name]["root"]
    try:
        os.kill(found["pid"], signal.SIGKILL)
    except ProcessLookupError:
        pass
    while running(machine, name) or _answers(machine, name):
        time.sleep(0.005)
    try:
        os.unlink(f"{own}/instance.json")
    except FileNotFoundError:
        pass
    return True
