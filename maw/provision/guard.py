"""Runs one program, and stops it with all that it started when whoever asked for it says so or is gone.

A program of its own, with nothing but the standard library: `guard.py CONTROL ENVIRONMENT LOCK SCRATCH
PROGRAM ARGUMENT…`. CONTROL is a pipe of which the asker holds the other end: its end, or a byte on it,
means stop, and every further byte means sooner. ENVIRONMENT is JSON. LOCK is held as long as anything may
run. SCRATCH is a folder that is removed here if the asker cannot do that any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# Becomes the parent of all that its descendants leave behind, whatever sessions they make.
_SET_CHILD_SUBREAPER = 36
# What is sent, and the seconds before the next: first Ansible alone, which tells its own workers.
_STAGES = ((signal.SIGINT, 6.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))
_TICK = 0.1
_CHUNK = 1 << 16
STOPPED = 130


class Guard:
    """One program under guard."""

    def __init__(self, control: int, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._control: int | None = control
        self._output: int | None = process.stdout.fileno()
        self._pid = process.pid
        self._status: int | None = None
        self._stage = -1
        self._next = 0.0
        self.orphaned = False
        os.set_blocking(self._output, False)
        os.set_blocking(control, False)

    def run(self) -> int:
        """Pass on what the program says until it ends; return the exit status to leave with."""
        while self._status is None or (self._stage >= 0 and self._left()):
            watched = [one for one in (self._control, self._output) if one is not None]
            readable, _, _ = select.select(watched, [], [], _TICK)
            if self._output in readable:
                self._pass_on()
            if self._control in readable:
                self._hear()
            self._reap()
            if self._stage >= 0 and time.monotonic() >= self._next and not self._harder():
                break
        self._pass_on()
        if self._stage >= 0:
            return STOPPED
        assert self._status is not None
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def _pass_on(self) -> None:
        while self._output is not None:
            try:
                data = os.read(self._output, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._output = None
                return
            with contextlib.suppress(OSError):  # nobody may be there to read it
                os.write(1, data)

    def _hear(self) -> None:
        assert self._control is not None
        if not os.read(self._control, _CHUNK):
            self._control, self.orphaned = None, True
        self.stop()

    def stop(self) -> None:
        """Begin to stop, or go on to the next means."""
        self._harder()

    def _harder(self) -> bool:
        if self._stage + 1 >= len(_STAGES):
            return False
        self._stage += 1
        number, seconds = _STAGES[self._stage]
        self._next = time.monotonic() + seconds
        targets = [self._pid] if number is signal.SIGINT and self._status is None else self._left()
        for pid in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return True

    def _reap(self) -> None:
        """Note the program's end; adopted processes leave without a word."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pid:
                    self._status = status

    def _left(self) -> list[int]:
        """All descendants that run. Shared connections of ssh end by themselves, and are others' too."""
        parents: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = path.read_text("utf-8", "replace").rpartition(") ")[2].split()
                if fields[0] != "Z":
                    parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
        found, asked = [], [os.getpid()]
        while asked:
            below = [pid for pid in parents.get(asked.pop(), []) if not _is_shared_connection(pid)]
            found += below
            asked += below
        return found


def _is_shared_connection(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return words.startswith(b"ssh: ") and b"[mux]" in words


def _environment(path: str) -> dict[str, str]:
    given: dict[str, str] = json.loads(Path(path).read_bytes())
    # What this program was given besides is meant for the other one: ansible-runner's own.
    return {**given, **os.environ}


def main(arguments: list[str]) -> int:
    """Given the arguments of the command line, run the program and return its exit status."""
    control_path, environment_path, lock_path, scratch, *command = arguments
    libc: Any = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        control = os.open(control_path, os.O_RDONLY | os.O_CLOEXEC)
        environment = _environment(environment_path)
    except OSError:
        # Who asked is gone already, so there is nobody to tell.
        shutil.rmtree(scratch, ignore_errors=True)
        return STOPPED
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        # Without a terminal, nothing that it starts can ask anybody anything.
        start_new_session=True,
    )
    guard = Guard(control, process)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: guard.stop())
    status = guard.run()
    if guard.orphaned:
        # Nobody is left to tell.
        shutil.rmtree(scratch, ignore_errors=True)
    return status


if __name__ == "__main__":
    # Not sys.exit: that would wait for the program's pipes.
    os._exit(main(sys.argv[1:]))
