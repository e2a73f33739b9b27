"""A Windows notebook on loopback: Windows' sshd, and a distro behind its wsl.exe."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from maw.transport.keys import HostKey
from tests.fakes.windows import processes
from tests.fakes.windows.programs import acl, defaults, instance, machine
from tests.fakes.windows.programs.state import Machine, save_file

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMINISTRATORS_FILE = Path("ProgramData/ssh/administrators_authorized_keys")
_PROGRAMS = Path(machine.__file__).parent


@dataclass(frozen=True)
class Call:
    """One program that was started on Windows: what the shell was given, and what the program got of it."""

    raw: str
    program: str
    line: str
    argv: tuple[str, ...]
    forced: bool
    shell: str


class Distro:
    """A distro's own files; they are there whether its instance runs or not."""

    def __init__(self, notebook: WindowsNotebook, name: str, root: Path) -> None:
        self.notebook = notebook
        self.name = name
        self.root = root

    @property
    def etc_ssh(self) -> Path:
        """The distro's /etc/ssh."""
        return self.root / "etc_ssh"

    @property
    def authorized_keys(self) -> Path:
        """The distro's /root/.ssh/authorized_keys."""
        return self.root / "root" / ".ssh" / "authorized_keys"

    @property
    def run_sshd(self) -> Path:
        """The distro's /run/sshd."""
        return self.root / "run" / "sshd"

    @property
    def host_keys(self) -> tuple[HostKey, ...]:
        """What the distro's sshd shows."""
        return _host_keys(self.etc_ssh)

    @property
    def running(self) -> bool:
        """Whether the instance runs."""
        return instance.running(Machine(str(self.notebook.folder)), self.name)

    def authorize(self, line: str) -> None:
        """Let a key log in to the distro as root."""
        with self.authorized_keys.open("a", encoding="utf-8") as file:
            file.write(line.rstrip("\n") + "\n")


class WindowsNotebook:
    """A running notebook; a context manager. Its folder keeps all that it is."""

    def __init__(
        self,
        folder: Path,
        *,
        shell: str = "cmd",
        name: str = "notebook",
        address: str = "127.0.0.1",
        port: int = 0,
        parser: str = "linux",
        account: str = "you",
        idle_seconds: float = 15,
        bare: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        self.name = name
        self.address = address
        self.port = port or _free_port(address)
        self.account = account
        self.parser = parser
        self.bare = bare
        self._given: dict[str, Any] = {"shell": shell, "idle_seconds": idle_seconds}
        self._first: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def available(cls, parser: str = "linux") -> str | None:
        """Return why the stand-in cannot run here, or None."""
        if os.geteuid() != 0:
            return "the Windows stand-in needs root: its distro has mounts of its own"
        try:
            for program in ("sshd", "unshare", "mount"):
                machine.find(program)
        except FileNotFoundError as error:
            return str(error)
        argv = ["unshare", "--mount", "--pid", "--uts", "--fork", "mount", "-t", "proc", "proc", "/proc"]
        answer = subprocess.run(argv, capture_output=True, check=False)
        if answer.returncode != 0:
            said = answer.stderr.decode("utf-8", "replace").strip()
            return f"no mount and process namespace can be made here: {said}"
        if parser == "wine":
            from tests.fakes.windows import wine

            return wine.missing()
        return None

    @property
    def drive(self) -> Path:
        """What C: is."""
        return self.folder / "drive"

    @property
    def host_keys(self) -> tuple[HostKey, ...]:
        """What Windows' sshd shows."""
        return _host_keys(self.drive / "ProgramData" / "ssh")

    @property
    def state(self) -> dict[str, Any]:
        """The machine's settings as they are now."""
        found: dict[str, Any] = json.loads((self.folder / "state.json").read_text("utf-8"))
        return found

    def start(self) -> None:
        """Start Windows' sshd and wait until it greets. Raise OSError."""
        reason = self.available(self.parser)
        if reason is not None:
            raise OSError(reason)
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        root = self.folder / "distros" / "Ubuntu"
        if not self.bare:
            machine.make_distro(root)
        changes = {
            **self._given,
            "name": self.name,
            "account": self.account,
            "parser": self.parser,
            "distros": {"Ubuntu": {"root": str(root), "version": 2}},
            "visible": self._visible(),
            **(defaults.BARE if self.bare else {}),
        }
        if self.parser == "wine":
            from tests.fakes.windows import wine

            changes["wine_prefix"] = str(wine.prefix())
        machine.install(self.folder, changes, address=self.address, port=self.port)
        self._first = self.state
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                machine.run_argv(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait()

    def _visible(self) -> list[str]:
        # The distro has a /root of its own, but Python and what the tests made may lie there.
        source = Path(__file__).resolve().parents[3]
        places = {Path(sys.prefix), Path(sys.base_prefix), source, self.folder}
        return sorted(str(place) for place in places if place.is_relative_to("/root"))

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection((self.address, self.port), timeout=1) as probe:
                    if probe.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.01)
        self.stop()
        said = (self.folder / "sshd.log").read_text("utf-8", "replace").splitlines()
        raise OSError(f"Windows' sshd did not start: {' '.join(said[-2:])}")

    def stop(self) -> None:
        """End Windows' sshd, its connections, and the instances with all that runs in them."""
        if self._process is None:
            return
        found = processes.freeze(self._members)
        processes.kill(found)
        self._process.wait(timeout=10)
        self._process = None
        # An instance that was being started when we looked.
        processes.kill(processes.freeze(self._members))

    def _members(self) -> set[int]:
        """All processes of this notebook now."""
        roots = set() if self._process is None else {self._process.pid}
        return processes.members(roots, self._namespaces(), str(self.folder))

    def _namespaces(self) -> set[int]:
        own = Machine(str(self.folder))
        own.state["distros"] = {path.name: {"root": str(path)} for path in self.folder.glob("distros/*")}
        records = [instance.record(own, name) for name in own.state["distros"]]
        return {int(found["namespace"]) for found in records if found is not None}

    def authorize(self, line: str) -> None:
        """Let a key log in to Windows; the file's ACL stays as it is, which is right from the start."""
        with (self.drive / ADMINISTRATORS_FILE).open("a", encoding="utf-8") as file:
            file.write(line.rstrip("\n") + "\n")

    def distro(self, name: str = "Ubuntu") -> Distro:
        """Return the files of a distro."""
        return Distro(self, name, Path(self.state["distros"][name]["root"]))

    def add_distro(self, name: str) -> Distro:
        """Register one more distro."""
        root = self.folder / "distros" / f"{len(self.state['distros'])}-{name.encode().hex()[:32]}"
        machine.make_distro(root)
        self.configure(distros={**self.state["distros"], name: {"root": str(root), "version": 2}})
        return self.distro(name)

    def configure(self, **changes: Any) -> None:
        """Change settings of the machine; they hold from the next command on. Raise KeyError."""
        unknown = set(changes) - set(self.state)
        if unknown:
            raise KeyError(f"the machine has no setting {', '.join(sorted(unknown))}")
        if "shell" in changes:
            changes.setdefault("shell_changes", [])
        Machine(str(self.folder)).change(lambda state: state.update(changes))

    def reset(self) -> None:
        """Undo all `configure`."""
        save_file(str(self.folder / "state.json"), self._first)

    def acl(self, path: str | Path, sddl: str | None = None) -> str:
        """Return a file's owner and ACL as SDDL; with `sddl`, set them first.

        A path is one of Windows (`C:\\…`) or one below `drive`.
        """
        if isinstance(path, Path):
            path = "C:\\" + str(path.relative_to(self.drive)).replace("/", "\\")
        store = acl.Store(Machine(str(self.folder)))
        if sddl is not None:
            store.set(path, acl.parse(sddl, store.get(path).owner))
        return store.get(path).sddl

    def calls(self) -> list[Call]:
        """Return the programs that were started on Windows, oldest first."""
        try:
            lines = (self.folder / "calls.jsonl").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines]
        names = ("raw", "program", "line", "forced", "shell")
        return [Call(argv=tuple(item["argv"]), **{name: item[name] for name in names}) for item in found]

    def sleep(self) -> None:
        """Fall asleep: everything of this notebook stands still."""
        processes.freeze(self._members)

    def wake(self) -> None:
        """Go on after `sleep`."""
        processes.signal_all(self._members(), signal.SIGCONT)

    def cut(self) -> None:
        """Cut all connections, as when the network changes; the sshd goes on listening."""
        assert self._process is not None
        processes.kill(processes.connections(self._process.pid, str(self.folder)))

    def sign_in(self, distro: str = "Ubuntu") -> None:
        """A person signs in and opens WSL: if no instance runs, it becomes that session's."""
        start = [self.state["python"], "-I", "-S", str(_PROGRAMS / "start.py")]
        environment = {**os.environ, "MAW_SESSION": "1"}
        argv = [*start, "boot", str(self.folder), distro]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, env=environment)

    def sign_out(self) -> None:
        """The person signs out: instances that the person's session made end, others stay."""
        own = Machine(str(self.folder))
        for name in own.state["distros"]:
            found = instance.record(own, name)
            if found is not None and (found["session"] == 1 or own.state["terminate_on_sign_out"]):
                instance.terminate(own, name)

    @contextlib.contextmanager
    def configured(self, **changes: Any) -> Iterator[None]:
        """Change settings for a while."""
        before = self.state
        self.configure(**changes)
        try:
            yield
        finally:
            save_file(str(self.folder / "state.json"), before)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _host_keys(folder: Path) -> tuple[HostKey, ...]:
    words = [(folder / f"ssh_host_{kind}_key.pub").read_text("ascii").split() for kind in machine.KINDS]
    return tuple(HostKey(word[0], word[1]) for word in words)


def _free_port(address: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
