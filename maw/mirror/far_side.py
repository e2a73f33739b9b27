"""The program on the host that has LXD: it loads, lists and changes what lies in LXD's storage.

It is sent along with each call (`far.py`) and needs Python 3.9 and GNU tar there, nothing of maw.
`main` gets a verb and one JSON object; it answers with a JSON line, then perhaps with more lines.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from typing import IO, Any

from maw.mirror import far_edit, far_lxd, far_walk
from maw.mirror.entries import Ids

_SOCKETS = ("/var/lib/lxd", "/var/snap/lxd/common/lxd")
# Only root may write to /run: nobody else can hold a lock there.
_LOCKS = "/run/maw-mirror"
_RUN = "MAW_RUN"
# Kept of what tar says.
_MOST_SAID = 1 << 14


def main(verb: str, text: str) -> int:
    """Given a verb and its facts, do it; return the exit status. A failure is a line with "error"."""
    facts = json.loads(text)
    verbs = {
        "look": look,
        "hold": hold,
        "load": load,
        "list": list_tree,
        "read": read,
        "edit": edit,
        "allocated": allocated,
        "store": store,
        "fetch": fetch,
        "steps": steps,
        "reclaim": reclaim,
        "steps-detached": steps_detached,
    }
    try:
        verbs[verb](facts)
    except OSError as error:
        _say({"error": error.strerror or str(error), "errno": error.errno, "path": _shown(error.filename)})
        return 1
    return 0


def _shown(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, (bytes, str)) else ""


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def look(facts: dict[str, Any]) -> None:
    """Say where LXD is, and what else is there."""
    folders = [facts["lxd_dir"]] if facts.get("lxd_dir") else [os.environ.get("LXD_DIR"), *_SOCKETS]
    found = [folder for folder in folders if folder and os.path.exists(f"{folder}/unix.socket")]
    answer: dict[str, Any] = {
        "lxd_dir": found[0] if found else None,
        "looked": [folder for folder in folders if folder],
        "root": os.geteuid() == 0,
        "python": sys.version.split()[0],
        "programs": {name: shutil.which(name) is not None for name in ("tar", "zstd", "lxd")},
        "tar": _version(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
    if found:
        try:
            answer["server"] = far_lxd.ask(f"{found[0]}/unix.socket", "GET", "/1.0", seconds=20)
        except OSError as error:
            answer["lxd_error"] = str(error)
    _say(answer)


def _version() -> str:
    tar = shutil.which("tar")
    if tar is None:
        return ""
    said = subprocess.run([tar, "--version"], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return said.stdout.decode("utf-8", "replace").partition("\n")[0]


def hold(facts: dict[str, Any]) -> None:
    """Hold the lock of one mirror until standard input ends; a loader that was left over is waited for."""
    os.makedirs(_LOCKS, mode=0o700, exist_ok=True)
    deadline = time.monotonic() + float(facts["seconds"])
    mine = _locked(f"{_LOCKS}/{facts['lock']}", deadline)
    # What a killed sync left running (tar, for a moment) has the second one.
    theirs = _locked(f"{_LOCKS}/{facts['lock']}.load", deadline) if mine is not None else None
    if theirs is None:
        _say({"held": False})
        return
    os.close(theirs)
    _say({"held": True})
    while os.read(0, 1 << 16):
        pass


def _locked(path: str, deadline: float) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.1)
        else:
            return descriptor


def load(facts: dict[str, Any]) -> None:
    """Unpack standard input, a tar or one behind zstd, into a new tree; then list the tree."""
    lock = os.open(f"{_LOCKS}/{facts['lock']}.load", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    root = facts["root"]
    os.mkdir(root, 0o755)
    argv = ["tar", "--extract", "--file=-", f"--directory={root}", "--preserve-permissions", "--same-owner"]
    argv += ["--numeric-owner", "--acls", "--xattrs", "--delay-directory-restore"]
    # As vzdump's own tar; what else is in an archive is not for a container to say.
    argv += ["--xattrs-include=user.*", "--xattrs-include=security.capability", "--warning=no-timestamp"]
    argv += ["--use-compress-program=zstd"] if facts["compressed"] else []
    environment = {**os.environ, "LC_ALL": "C"}
    environment.pop("TAR_OPTIONS", None)
    started = time.monotonic()
    # It keeps the lock as long as it lives, whatever becomes of us.
    with subprocess.Popen(argv, stderr=subprocess.PIPE, env=environment, pass_fds=(lock,)) as tar:
        assert tar.stderr is not None
        said = _tail(tar.stderr)
    _say({"status": tar.returncode, "said": said, "seconds": time.monotonic() - started})
    if tar.returncode == 0:
        _list(root, Ids([]), Ids([]))
        _sync(root)
        _say({"listed": True})


def _tail(pipe: IO[bytes]) -> str:
    first, last = b"", b""
    while data := os.read(pipe.fileno(), 1 << 14):
        if len(first) < _MOST_SAID:
            first += data
        else:
            last = (last + data)[-_MOST_SAID:]
    return (first[:_MOST_SAID] + last).decode("utf-8", "replace")


def _sync(root: str) -> None:
    """Wait until the file system has all of it on the disk."""
    subprocess.run(["sync", "--file-system", root], check=True, stdin=subprocess.DEVNULL)


def _ids(facts: dict[str, Any]) -> tuple[Ids, Ids]:
    return Ids([tuple(one) for one in facts["uids"]]), Ids([tuple(one) for one in facts["gids"]])


def _list(root: str, uids: Ids, gids: Ids) -> None:
    far_walk.walk(root, uids, gids, sys.stdout.buffer)


def list_tree(facts: dict[str, Any]) -> None:
    """List a tree: a line that it begins, the lines, a line that it is whole."""
    _say({"status": 0})
    _list(facts["root"], *_ids(facts))
    _say({"listed": True})


def read(facts: dict[str, Any]) -> None:
    """Say what is at some paths of a tree."""
    _say(far_edit.read(facts["root"], facts["paths"]))


def edit(facts: dict[str, Any]) -> None:
    """Change files of a tree; say which, each with its line of the manifest, null if it is gone."""
    root, (uids, gids) = facts["root"], _ids(facts)
    changed = far_edit.edit(root, json.load(sys.stdin.buffer), uids, gids)
    _sync(root)
    lines = far_walk.lines(root, changed, uids, gids)
    _say({"lines": {path: None if one is None else one.hex() for path, one in lines.items()}})


def allocated(facts: dict[str, Any]) -> None:
    """Say how many bytes of disk some files take, those of a tree."""
    top = os.fsencode(facts["root"])
    _say({path: os.lstat(top + b"/" + bytes.fromhex(path)).st_blocks * 512 for path in facts["paths"]})


def store(facts: dict[str, Any]) -> None:
    """Keep standard input as a file beside a tree."""
    place = f"{facts['volume']}/{facts['name']}"
    with open(os.open(f"{place}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as part:
        shutil.copyfileobj(sys.stdin.buffer, part, 1 << 20)
        part.flush()
        os.fsync(part.fileno())
    os.replace(f"{place}.part", place)
    _say({"stored": os.path.getsize(place)})


def fetch(facts: dict[str, Any]) -> None:
    """Give back what `store` kept."""
    try:
        with open(f"{facts['volume']}/{facts['name']}", "rb") as kept:
            _say({"status": 0})
            shutil.copyfileobj(kept, sys.stdout.buffer, 1 << 20)
    except FileNotFoundError:
        raise OSError(errno.ENOENT, "the manifest is not there") from None


def reclaim(facts: dict[str, Any]) -> None:
    """Wait until btrfs has given back the space of what was deleted, which it does in the background."""
    program = shutil.which("btrfs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is not None:
        argv = [program, "subvolume", "sync", facts["path"]]
        # Whatever it says, the next sync finds out by itself whether there is space.
        subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    _say({"waited": program is not None})


def steps(facts: dict[str, Any]) -> None:
    """Do steps in a process of its own, which goes on when the link is cut; say what came of it."""
    environment = {name: value for name, value in os.environ.items() if name != _RUN}
    argv = [sys.executable, "-I", "-c", facts["program"], "steps-detached", json.dumps(facts["request"])]
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        said = child.stdout.read()
    sys.stdout.buffer.write(said or json.dumps({"error": "the process for LXD's steps was killed"}).encode())


def steps_detached(facts: dict[str, Any]) -> None:
    """Do steps; nobody may be left to read the answer."""
    answer: dict[str, Any]
    try:
        answer = {"done": far_lxd.do(facts["socket"], facts["steps"])}
    except OSError as error:
        answer = {"error": str(error)}
    with contextlib.suppress(BrokenPipeError):
        _say(answer)
