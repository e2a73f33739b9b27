"""A channel over a child process on this machine, and the guard's side that we hold."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from maw.errors import LinkLost
from maw.transport import guard
from maw.transport.base import CHUNK, Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maw.transport.base import Sink

# What the ssh program exits with when its link goes; a command may also mean it.
LOST = 255
# How long a stopped command may take to go: the guard's KILL comes after two seconds.
STOP_SECONDS = 4.0
POLL_MILLISECONDS = 500


class GuardProcess:
    """The guard of one host, as a child process of ours (a shell here, or ssh to there)."""

    def __init__(
        self, argv: Sequence[str], *, explain: Callable[[str, int], Exception], deadline: float = math.inf
    ) -> None:
        """Start `argv` and wait until the guard says that it is ready.

        If it ends instead, raise what `explain(standard error, exit status)` returns. At the
        `deadline` (of `time.monotonic`) everything is let go of, this and its channels; what runs
        there is stopped by the guard's own side.
        """
        self.deadline = deadline
        # A file, not a pipe: ssh's background master keeps standard error open for minutes.
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                bufsize=0,
            )
            assert self._process.stdout is not None
            try:
                said = self._first_line()
            except BaseException:
                self._kill_all()
                raise
            if said != b"ready\n":
                self._kill_all()
                status = self._process.wait()
                errors.seek(0)
                self._close_pipes()
                text = errors.read(CHUNK).decode("utf-8", "replace")
                raise explain(text or said.decode("utf-8", "replace"), status)
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._said = b""

    def _first_line(self) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        said = b""
        while not said.endswith(b"\n") and len(said) < CHUNK:
            # Byte by byte: what follows the line is for others.
            data = os.read(descriptor, 1) if _readable(descriptor, self.deadline) else b""
            if not data:
                break
            said += data
        return said

    def _kill_all(self) -> None:
        """Kill the ssh program, and what it began on the way: a proxy would wait for its own limit."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def alive(self) -> bool:
        """Whether the guard, and so the link to it, is still there."""
        return self._process.poll() is None

    def tell(self, verb: str, run: str) -> None:
        """Given a verb and a run, tell the guard. Raise BrokenPipeError if it is gone."""
        assert self._process.stdin is not None
        with self._lock:
            try:
                self._process.stdin.write(guard.line(verb, run))
            except ValueError as error:
                raise BrokenPipeError(str(error)) from error

    def answers(self, seconds: float = 5.0) -> bool:
        """Whether the far end of the guard still answers within `seconds`."""
        assert self._process.stdout is not None
        word = guard.new_run()
        deadline = min(time.monotonic() + seconds, self.deadline)
        # One at a time: an answer to another thread's question would be read as a wrong one.
        with self._asking:
            try:
                self.tell("ping", word)
                descriptor = self._process.stdout.fileno()
            except (BrokenPipeError, ValueError):
                return False
            while f"{word}\n".encode("ascii") not in self._said:
                readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
                data = os.read(descriptor, CHUNK) if readable else b""
                if not data:
                    return False
                self._said = (self._said + data)[-CHUNK:]
            return True

    def close(self) -> None:
        """End the guard; it stops the runs that were not reported finished."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=max(0.0, min(5.0, self.deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _readable(descriptor: int, deadline: float) -> bool:
    """Wait until there is something to read, or the end; return whether that was before `deadline`."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(min(left, 60.0) * 1000):
            return True
    return False


class ProcessChannel:
    """A command that runs as (or through) a child process of ours."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        host: str,
        guard_process: GuardProcess,
        run: str,
        on_stderr: Sink,
        stdin: bool,
        far: bool,
        first_input: bytes = b"",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.host = host
        self._guard = guard_process
        self._run = run
        self._far = far
        self._stopped: float | None = None
        self._failure: Exception | None = None
        self._input = threading.Lock()
        try:
            guard_process.tell("start", run)
        except BrokenPipeError as error:
            raise LinkLost(host=host, reason="the connection ended before the command began") from error
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE if stdin or first_input else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
                **(options or {}),
            )
        except BaseException:
            self._report_end()
            raise
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
        self._stderr = threading.Thread(target=self._drain, args=(on_stderr,), daemon=True)
        self._stderr.start()
        if first_input:
            self._first(first_input, last=not stdin)

    def _first(self, data: bytes, *, last: bool) -> None:
        try:
            self.send(data)
            if last:
                self.end_input()
        except BrokenPipeError:
            # The command is gone already; `finish` says how.
            return

    def _drain(self, sink: Sink) -> None:
        pipe = self._process.stderr
        assert pipe is not None
        with pipe:
            while data := os.read(pipe.fileno(), CHUNK):
                if self._failure is not None:
                    continue
                try:
                    sink(data)
                except Exception as error:  # noqa: BLE001 - it belongs to the thread that calls `finish`
                    self._failure = error
                    self.stop()

    def send(self, data: bytes | memoryview) -> None:
        """Give the command's standard input these bytes. Raise BrokenPipeError when it is closed."""
        pipe = self._process.stdin
        assert pipe is not None
        view = memoryview(data)
        poll = select.poll()
        with self._input:
            if not pipe.closed:
                poll.register(pipe, select.POLLOUT)
        while view:
            poll.poll(POLL_MILLISECONDS)
            # Not held while waiting, so that `finish` can close the pipe beneath a sender whose
            # command is gone; held while writing, as the number of a closed pipe is soon another's.
            with self._input:
                if pipe.closed:
                    raise BrokenPipeError("the command's input is closed")
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(pipe.fileno(), view) :]

    def end_input(self) -> None:
        """Close the command's standard input."""
        with self._input:
            if self._process.stdin is not None:
                self._process.stdin.close()

    def receive(self) -> bytes:
        """Return the next bytes of its standard output, b"" at the end."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not poll.poll(self._pause() * 1000):
            if self._overdue():
                return b""
        # One that never stops talking is late all the same.
        late = time.monotonic() >= self._guard.deadline and self._overdue()
        return b"" if late else os.read(descriptor, CHUNK)

    def stop(self) -> None:
        """Stop the command's process group: TERM, then KILL two seconds later."""
        self._stopped = self._stopped or time.monotonic()
        try:
            self._guard.tell("stop", self._run)
        except BrokenPipeError:
            # Without the guard there is no link: what ran there is stopped by its own side.
            self._kill()

    def _pause(self) -> float:
        """Seconds until the next look at the clock."""
        return max(0.0, min(POLL_MILLISECONDS / 1000, self._guard.deadline - time.monotonic()))

    def _overdue(self) -> bool:
        """Whether it was told to stop and did not (something hides there, or has no ears), or is late."""
        if time.monotonic() >= self._guard.deadline:
            if self._stopped is None:
                self.stop()
            return True
        return self._stopped is not None and time.monotonic() > self._stopped + STOP_SECONDS

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _wait(self) -> int:
        while True:
            try:
                return self._process.wait(timeout=self._pause())
            except subprocess.TimeoutExpired:
                if self._overdue():
                    self._kill()

    def _report_end(self) -> bool:
        try:
            self._guard.tell("end", self._run)
        except BrokenPipeError:
            return False
        return True

    def finish(self) -> Ending:
        """Wait for the end and return it. Raise LinkLost if the link went before the command did."""
        status = self._wait()
        # Also when our ssh program was killed: that says nothing of the command.
        lost = self._far and (status < 0 or (status == LOST and not self._guard.answers()))
        if lost:
            self.stop()
        self._stderr.join(timeout=0.2 if self._overdue() else 5)
        self.end_input()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if lost:
            raise LinkLost(host=self.host, reason="the connection ended before the command did")
        self._report_end()
        if self._failure is not None:
            raise self._failure
        if status < 0:
            return Ending(None, signal.Signals(-status).name.removeprefix("SIG"))
        return Ending(status)
