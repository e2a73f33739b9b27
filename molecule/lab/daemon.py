"""Finds an LXD daemon, or starts and stops one of our own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.lxc import Lxc
from lab.plan import Choice, Daemons, foreign
from lab.programs import progress, run

ROOT = Path("/var/lib/maw-lab")
_SCRIPT = Path(__file__).with_name("daemon.sh")
# Where the distribution's LXD and the snap's have their socket.
_FOLDERS = (Path("/var/lib/lxd"), Path("/var/snap/lxd/common/lxd"))
# Ubuntu puts a script named lxd there, which only says that the snap is to be installed.
_PROGRAM_PLACES = "/usr/bin:/usr/lib/lxd:/usr/local/bin"


@dataclass(frozen=True)
class Own:
    """A daemon of one lab's own: all that it has lies in one folder."""

    folder: Path

    def claim(self, owner: Path) -> None:
        """Given the folder of the lab that it is for, note that. Raise LabError if it is another's."""
        note = self.folder / "owner"
        if not note.exists():
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            note.write_text(f"{owner}\n", "utf-8")
        other = note.read_text("utf-8").strip()
        if other != str(owner):
            raise LabError(foreign(f"daemon in {self.folder}", other, self.folder.name))

    @property
    def lxd(self) -> Path:
        """The daemon's LXD_DIR."""
        return self.folder / "lxd"

    @property
    def lxc(self) -> Lxc:
        """The way to talk to it."""
        return Lxc(self.lxd, self.folder / "client")

    @property
    def pid(self) -> int | None:
        """The process id of the running daemon, None if it does not run."""
        try:
            pid = int((self.folder / "daemon.pid").read_text("ascii"))
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        # A number may be another process's by now.
        return pid if b"LXD_DIR=" + os.fsencode(self.lxd) in variables else None

    def start(self) -> None:
        """Start the daemon, if it does not run, and wait until it answers. Raise LabError."""
        if answers(self.lxc):
            return
        progress("start an LXD daemon")
        for folder in (self.lxd, self.folder / "client"):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        log, note = self.folder / "daemon.log", self.folder / "daemon.pid"
        if self.pid is None:
            note.unlink(missing_ok=True)
            self._detach(log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (self.pid is not None or not note.exists()):
            if answers(self.lxc):
                return
            time.sleep(0.1)
        said = log.read_text("utf-8", "replace").strip().splitlines()
        raise LabError(f"LXD did not start. Its log, {log}, ends with: {' '.join(said[-3:])}")

    def _detach(self, log: Path) -> None:
        setsid, unshare = shutil.which("setsid"), shutil.which("unshare")
        if setsid is None or unshare is None:
            raise LabError("setsid and unshare are not installed. Install them with: apt install util-linux")
        with log.open("ab") as stream, open(os.devnull, "rb") as nothing:  # noqa: PTH123
            actions = [
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, stream.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, stream.fileno(), 2),
            ]
            # setsid forks and ends at once, so that the daemon is nobody's child when we end.
            argv = [setsid, "--fork", unshare, "--mount", "--propagation", "slave"]
            argv += ["sh", str(_SCRIPT), str(self.folder / "daemon.pid")]
            path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
            environment = {**os.environ, "LXD_DIR": str(self.lxd), "PATH": path}
            child = os.posix_spawn(setsid, argv, environment, file_actions=actions)
        _, status = os.waitpid(child, 0)
        if status != 0:
            raise LabError(f"the LXD daemon could not be started. See {log}")

    def stop(self) -> None:
        """Stop the daemon and wait until it is gone."""
        pid = self.pid
        if pid is None:
            return
        progress("stop the LXD daemon")
        # SIGPWR would stop the containers first, SIGTERM leaves them; there are none by now.
        os.kill(pid, signal.SIGTERM)
        if not _gone(pid, 20):
            os.kill(pid, signal.SIGKILL)
            _gone(pid, 5)


def _gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(") ")[2][:1]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def answers(lxc: Lxc) -> bool:
    """Return whether this user may use the daemon there."""
    if not (lxc.folder / "unix.socket").exists():
        return False
    try:
        return bool(lxc.query("/1.0", seconds=10)["auth"] == "trusted")
    except (LabError, KeyError, ValueError):
        # No permission, nobody listens any more, or it is no LXD: each means "does not answer".
        return False


def look(own: Own, notes: Path) -> Daemons:
    """Given a lab's own daemon, which may not exist, and a folder for lxc's notes, look what there is."""
    answering = {}
    for folder in _folders():
        lxc = Lxc(folder, notes)
        if answers(lxc):
            answering[folder] = _nests(lxc)
    return Daemons(answering, own.lxd.exists(), os.geteuid() == 0, distribution_program())


def distribution_program() -> str | None:
    """Return the path of the distribution's LXD, None if there is none."""
    return shutil.which("lxd", path=_PROGRAM_PLACES)


def any_answers() -> bool:
    """Return whether a daemon that is not a lab's own answers."""
    with tempfile.TemporaryDirectory() as notes:
        return any(answers(Lxc(folder, Path(notes))) for folder in _folders())


def _folders() -> list[Path]:
    named = os.environ.get("LXD_DIR")
    return list(dict.fromkeys([*([Path(named)] if named else []), *_FOLDERS]))


def _nests(lxc: Lxc) -> bool:
    """Whether LXD runs in containers of that daemon: if it sees a pure tree of cgroup version 2."""
    pid = lxc.query("/1.0")["environment"]["server_pid"]
    try:
        mounts = Path(f"/proc/{pid}/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        # Not ours to look at; then the machine's own view is the best guess.
        return Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return any(line.split()[1:3] == ["/sys/fs/cgroup", "cgroup2"] for line in mounts)


def use(choice: Choice, own: Own, owner: Path, notes: Path) -> Lxc:
    """Given the decision and the lab's folder, return the way to that daemon; our own is started."""
    if choice.own:
        own.claim(owner)
        own.start()
        return own.lxc
    assert choice.folder is not None
    return Lxc(choice.folder, notes)


def loop_devices(folder: Path) -> list[str]:
    """Given a folder, return the loop devices whose files lie in it."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            name = backing.read_text("utf-8", "replace").strip()
        except OSError:
            continue
        if name.startswith(f"{folder}/"):
            found.append(f"/dev/{backing.parts[3]}")
    return found


def detach_loops(folder: Path) -> None:
    """Given a folder, give back the loop devices whose files lie in it."""
    for device in loop_devices(folder):
        run(["losetup", "--detach", device], seconds=20)
