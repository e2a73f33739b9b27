#!/usr/bin/python3 -I
"""What maw's mirror key may do on a Proxmox server: sshd runs this, whatever the key's holder asks for.

The words asked for are compared with a list. What is on it runs with words of this list's form, without a
shell; all else is refused with exit status 126, and told to syslog. Standard library only, Python 3.9.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import syslog
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VERSION = 1
REFUSED = 126
NOT_FOUND = 127
# Nothing that is allowed is longer; the guard's text is a third of it.
_LONGEST = 8192
_MOST_RUNS = 256
# Before each command maw sets a random word, by which its runs are found and stopped.
_RUN = re.compile(r"export MAW_RUN=([0-9a-f]{16}); exec (.*)", re.DOTALL)
# maw's guard is a shell program. It is never run here: who sends this very text gets `Guard` below.
_GUARD = "1c5dbd927788ace0f8138f7c2be7a64afa30402affd38e15f16224577c1c3333"
# It turns a signal into an exit status of 128 + n, which is done here too.
_KEEPING_STATUS = ["sh", "-c", 'trap : TERM; exec 4>&2 2>/dev/null; ("$@" 2>&4 4>&-); exit $?', "maw"]

_NODE = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_STORAGE = r"[A-Za-z][A-Za-z0-9._-]{0,99}"
_VMID = r"[1-9][0-9]{2,8}"
_PART = r"[A-Za-z0-9_-][A-Za-z0-9._:-]*"
_VOLUME = rf"{_STORAGE}:backup/{_PART}(?:/{_PART})*"
_TASK = (
    rf"UPID:{_NODE}:[0-9A-Fa-f]{{8}}:[0-9A-Fa-f]{{8,9}}:[0-9A-Fa-f]{{8}}"
    r":vzdump:[0-9]{0,9}:[A-Za-z0-9._-]+@[A-Za-z0-9._!-]+:"
)
_MODE = r"snapshot|suspend|stop"
_COUNT = r"[0-9]{1,9}"

# What may be read, and with which options.
_READ: list[tuple[str, dict[str, str]]] = [
    (r"/version", {}),
    (r"/nodes", {}),
    (r"/cluster/status", {}),
    (r"/cluster/resources", {"type": r"vm"}),
    (r"/access/permissions", {"path": rf"/vms(?:/{_VMID})?|/storage(?:/{_STORAGE})?"}),
    (rf"/nodes/{_NODE}/(?:lxc|qemu|storage)", {}),
    (rf"/nodes/{_NODE}/storage/{_STORAGE}/content", {"content": r"backup", "vmid": _VMID}),
    (rf"/nodes/{_NODE}/storage/{_STORAGE}/content/{_VOLUME}", {}),
    (rf"/nodes/{_NODE}/lxc/{_VMID}/config", {"current": r"1"}),
    (rf"/nodes/{_NODE}/lxc/{_VMID}/status/current", {}),
    (rf"/nodes/{_NODE}/lxc/{_VMID}/feature", {"feature": r"snapshot"}),
    (rf"/nodes/{_NODE}/tasks/{_TASK}/status", {}),
    (rf"/nodes/{_NODE}/tasks/{_TASK}/log", {"start": _COUNT, "limit": _COUNT}),
]
# What may be begun, with all of these options: never pruning, which --remove 1 would.
_BEGIN: list[tuple[str, dict[str, str]]] = [
    (
        rf"/nodes/{_NODE}/vzdump",
        {"vmid": _VMID, "storage": _STORAGE, "mode": _MODE, "compress": r"0|gzip|lzo|zstd", "remove": r"0"},
    ),
]
_STOP: list[tuple[str, dict[str, str]]] = [(rf"/nodes/{_NODE}/tasks/{_TASK}", {})]
_VERBS = {"get": _READ, "create": _BEGIN, "delete": _STOP}
_STREAM = [
    *("vzdump", _VMID, "--stdout", "1", "--dumpdir", "/var/tmp", "--mode", _MODE),  # noqa: S108 - vzdump's
    *("--compress", "0", "--lockwait", r"[1-9][0-9]{0,5}"),
]
_ARCHIVE = (
    r"(?:/[^/\x00-\x1f\x7f]+)+/dump/vzdump-lxc-[1-9][0-9]{2,8}-[0-9]{4}_[0-9]{2}_[0-9]{2}"
    r"-[0-9]{2}_[0-9]{2}_[0-9]{2}\.(?:log|tar(?:\.(?:zst|gz|lzo))?)"
)


class Refused(Exception):
    """What was asked for is not allowed; the text says why."""


@dataclass(frozen=True)
class Request:
    """What was asked for: a command of the list, the guard, or a sign of life.

    `reads` is the file that a command gets as its input.
    """

    argv: list[str] = field(default_factory=list)
    run: str = ""
    reads: str = ""
    guard: bool = False
    says: str = ""


def understand(asked: bytes | None) -> Request:
    """Given what sshd says was asked for, None for a shell, return what to do. Raise Refused."""
    if asked is None:
        raise Refused("this key opens no shell")
    if len(asked) > _LONGEST:
        raise Refused(f"a command of {len(asked)} bytes is longer than any that is allowed")
    text = asked.decode("utf-8", "surrogateescape")
    found = _RUN.fullmatch(text)
    run, words = (found[1], _words(found[2])) if found else ("", _words(text))
    if run and words[:2] == ["sh", "-c"] and len(words) == 3:
        if hashlib.sha256(words[2].encode("utf-8", "surrogateescape")).hexdigest() == _GUARD:
            return Request(guard=True)
        raise Refused(
            "it is not the guard that this gate knows; if maw was updated, run its role proxmox_access again"
        )
    if words[: len(_KEEPING_STATUS)] == _KEEPING_STATUS:
        words = words[len(_KEEPING_STATUS) :]
    return _allowed(words, run)


def _words(text: str) -> list[str]:
    """The words of a text that quotes them as maw does. All else is refused: no text means two things."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Refused(f"its quotes do not match ({error})") from error
    if not words or shlex.join(words) != text:
        raise Refused("it is not one command quoted as maw quotes it")
    return words


def _allowed(words: list[str], run: str) -> Request:
    if words[:1] == ["pvesh"]:
        _check_pvesh(words)
        return Request(words, run)
    if words[:1] == ["vzdump"]:
        if len(words) != len(_STREAM) or not all(map(_is, _STREAM, words)):
            raise Refused("of vzdump only the stream of one container is allowed, with maw's own options")
        return Request(words, run)
    if words[:2] == ["cat", "--"] and len(words) == 3:
        path = words[2]
        if not _is(_ARCHIVE, path) or {".", ".."} & set(path.split("/")):
            raise Refused("only vzdump's archives of containers and their logs may be read, in folders dump")
        return Request(["cat"], run, reads=path)
    if words[:1] == ["echo"] and len(words) == 2 and _is(r"maw-[0-9a-f]{16}", words[1]):
        return Request(says=words[1])
    raise Refused("it is none of the commands that mirroring needs (pvesh, vzdump, reading archives)")


def _is(pattern: str, word: str) -> bool:
    return re.fullmatch(pattern, word, re.ASCII) is not None


def _check_pvesh(words: list[str]) -> None:
    """Check the words against the paths of their verb. Raise Refused."""
    if len(words) < 5 or words[1] not in _VERBS or words[3:5] != ["--output-format", "json"]:
        raise Refused("of pvesh only get, create and delete are allowed, and in JSON")
    verb, path, rest = words[1], words[2], words[5:]
    options = next((options for pattern, options in _VERBS[verb] if _is(pattern, path)), None)
    if options is None:
        raise Refused(f"`pvesh {verb}` is not allowed on that path")
    given = {name[2:]: value for name, value in _pairs(rest) if name.startswith("--")}
    if 2 * len(given) != len(rest) or not set(given) <= set(options):
        raise Refused("an option of pvesh is not allowed there")
    if verb == "create" and set(given) != set(options):
        raise Refused("an option of pvesh is missing: " + ", ".join(sorted(set(options) - set(given))))
    if not all(_is(options[name], value) for name, value in given.items()):
        raise Refused("the value of an option of pvesh is not allowed there")


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return [(words[place - 1], words[place]) for place in range(1, len(words), 2)]


def serve(request: Request) -> int:
    """Given what to do, do it and return the exit status."""
    if request.guard:
        Guard().serve()
        return 0
    if request.says:
        _say(f"{request.says}\n".encode("ascii"))
        return 0
    program = shutil.which(request.argv[0], path=PATH)
    if program is None:
        return _fail(f"{request.argv[0]}: not found", NOT_FOUND)
    try:
        source = _open_archive(request.reads) if request.reads else os.open(os.devnull, os.O_RDONLY)
    except OSError as error:
        return _fail(f"cat: {request.reads}: {error.strerror}", 1)
    environment = {"PATH": PATH, "HOME": "/root", "USER": "root", "LOGNAME": "root", "LC_ALL": "C.UTF-8"}
    if request.run:
        environment["MAW_RUN"] = request.run
    # A handler, not SIG_IGN, which the command would inherit. It is for the command; we tell its end.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with subprocess.Popen(request.argv, executable=program, stdin=source, env=environment) as process:
        os.close(source)
        status = process.wait()
    return status if status >= 0 else 128 - status


def _open_archive(path: str) -> int:
    """Open a plain file, which the name does not promise: on shared storage others may put links there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(0, "Not a plain file")


def _fail(text: str, status: int) -> int:
    sys.stderr.buffer.write(f"{text}\n".encode("utf-8", "surrogateescape"))
    return status


def _say(data: bytes) -> None:
    # Nobody may listen any more; the end of the input then tells.
    with contextlib.suppress(OSError):
        os.write(1, data)


class Guard:
    """Stops the runs that were begun and not ended, when its input ends: the link is gone.

    It says and does what the shell program does that maw sends to other hosts (maw/transport/guard.py), but
    takes no run for a pattern, and stops none that was not begun through it.
    """

    def __init__(self) -> None:
        self._runs: set[bytes] = set()
        self._stopping: dict[bytes, threading.Thread] = {}

    def serve(self) -> None:
        """Read what is begun, ended and to be stopped, to the end of the input."""
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        _say(b"ready\n")
        while line := sys.stdin.buffer.readline(64):
            verb, _, run = line.rstrip(b"\n").partition(b" ")
            if re.fullmatch(rb"[0-9a-f]{16}", run):
                self._take(verb, run)
        for run in self._runs:
            self._stop(run)
        for thread in self._stopping.values():
            thread.join()

    def _take(self, verb: bytes, run: bytes) -> None:
        if verb == b"ping":
            _say(run + b"\n")
        elif verb == b"start" and len(self._runs) < _MOST_RUNS:
            self._runs.add(run)
        elif verb == b"end":
            self._runs.discard(run)
        elif verb == b"stop" and run in self._runs:
            self._stop(run)

    def _stop(self, run: bytes) -> None:
        self._stopping = {one: thread for one, thread in self._stopping.items() if thread.is_alive()}
        if run not in self._stopping and len(self._stopping) < _MOST_RUNS:
            self._stopping[run] = threading.Thread(target=stop, args=(run,))
            self._stopping[run].start()


def stop(run: bytes) -> None:
    """Given a run, stop its process groups: TERM, then KILL two seconds later."""
    # Looked for twice, because a command may be between fork and exec when the link goes.
    if send(signal.SIGTERM, run):
        time.sleep(0.1)
        if not send(0, run):
            return
        time.sleep(0.4)
    else:
        time.sleep(0.5)
    if not send(signal.SIGTERM, run):
        return
    time.sleep(1.5)
    send(signal.SIGKILL, run)
    time.sleep(0.5)
    send(signal.SIGKILL, run)


def send(number: int, run: bytes) -> bool:
    """Given a signal and a run, signal the process groups that have it; return whether there were any."""
    found = False
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"MAW_RUN=" + run not in (process / "environ").read_bytes().split(b"\0"):
                continue
            group = int((process / "stat").read_bytes().rpartition(b") ")[2].split()[2])
        except OSError:
            # It ended meanwhile.
            continue
        found = True
        if group not in (0, 1, os.getpgrp()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
    return found


def main() -> int:
    """Do what sshd says was asked for, or refuse it; return the exit status."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"maw-pve-gate {VERSION}\n")
        return 0
    asked = os.environb.get(b"SSH_ORIGINAL_COMMAND")
    try:
        request = understand(asked)
    except Refused as refusal:
        client = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
        syslog.openlog("maw-pve-gate", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
        # Escaped, so that what was asked for cannot write lines of its own into the log.
        shown = "" if asked is None else ascii(asked[:300].decode("utf-8", "replace"))
        syslog.syslog(syslog.LOG_WARNING, f"refused from {client!a}: {refusal}: {shown}")
        return _fail(f"maw-pve-gate: refused: {refusal}. The key admin may do more", REFUSED)
    return serve(request)


if __name__ == "__main__":
    sys.exit(main())
