"""What every way to a host offers: `run` for a whole command, `open` for a conversation."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from maw.errors import CommandTimedOut, LinkLost, Misuse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Sink = Callable[[bytes], None]

CHUNK = 1 << 16


@dataclass(frozen=True)
class Ending:
    """How a command ended: an exit status, or the name of a signal without SIG.

    Through the ssh program a signal arrives as the shell shows it, as exit status 128 + n.
    """

    exit_status: int | None
    signal: str | None = None

    @property
    def code(self) -> int:
        """The code as a shell shows it: the exit status, or 128 + the signal's number."""
        import signal as signals

        if self.exit_status is not None:
            return self.exit_status
        number = getattr(signals, f"SIG{self.signal}", None)
        return 128 + int(number) if number is not None else 255


@dataclass(frozen=True)
class Result:
    """One finished command; `stdout` and `stderr` are empty where a sink took them."""

    argv: tuple[str, ...]
    host: str
    ending: Ending
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the command exited with status 0."""
        return self.ending.exit_status == 0


class Readable(Protocol):
    """Something to read bytes from: a binary file, or our own standard input."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, b"" at the end."""


class Channel(Protocol):
    """A running command. One thread may send while another receives."""

    def send(self, data: bytes | memoryview) -> None:
        """Give the command's standard input these bytes. Raise LinkLost or BrokenPipeError."""

    def end_input(self) -> None:
        """Close the command's standard input."""

    def receive(self) -> bytes:
        """Return the next bytes of its standard output, b"" at the end."""

    def stop(self) -> None:
        """Stop the command's process group: TERM, then KILL two seconds later."""

    def finish(self) -> Ending:
        """Wait for the end and return it. Raise LinkLost if the link went before the command did."""


class Transport:
    """A way to one host. Use as a context manager, or call `close`."""

    host: str

    def open(self, argv: Sequence[str], *, on_stderr: Sink, stdin: bool = True) -> Channel:
        """Given an argument list, start it and return the conversation with it.

        `on_stderr` gets standard error as it comes, on another thread. Without `stdin` the
        command's standard input is empty. Raise TransportError if the host cannot be reached.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the host; whatever still runs there on our behalf is stopped."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | Readable | None = None,
        timeout: float | None = None,
        on_stdout: Sink | None = None,
        on_stderr: Sink | None = None,
    ) -> Result:
        """Given an argument list, run it to its end and return what it said and how it ended.

        The arguments reach the command byte for byte; no shell reads them. `stdin` is bytes or a
        binary file, copied as it is. `timeout` is in seconds. Sinks get the output as it comes.
        Raise CommandTimedOut (the process group there is stopped), LinkLost, other
        TransportErrors, or Misuse for an empty or impossible argument list.
        """
        check(argv)
        started = time.monotonic()
        stdout: list[bytes] = []
        stderr: list[bytes] = []
        channel = self.open(argv, on_stderr=on_stderr or stderr.append, stdin=stdin is not None)
        ending = Ending(None)
        ended = False
        clock = Clock(channel, timeout)
        feeder = Feeder(channel, stdin)
        try:
            feeder.start()
            take = on_stdout or stdout.append
            while data := channel.receive():
                take(data)
            ending = channel.finish()
            ended = True
        except LinkLost:
            if not clock.expired and feeder.failure is None:
                raise
        except BaseException:
            channel.stop()
            _settle(channel)
            raise
        finally:
            clock.cancel()
        if feeder.failure is not None:
            raise feeder.failure
        if clock.expired:
            outcome = "was stopped there" if ended else "may still run there, unseen: look for it by hand"
            raise CommandTimedOut(command=argv[0], seconds=timeout, host=self.host, outcome=outcome)
        return Result(
            tuple(argv), self.host, ending, b"".join(stdout), b"".join(stderr), time.monotonic() - started
        )


def check(argv: Sequence[str]) -> None:
    """Given an argument list, raise Misuse if no operating system could run it."""
    if isinstance(argv, str) or not argv or not argv[0]:
        raise Misuse(reason="A command is a list of arguments, the program first. Name the program to run.")
    if any("\0" in argument for argument in argv):
        raise Misuse(reason="No argument can hold a NUL character. Send such data on standard input.")
    try:
        "".join(argv).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise Misuse(
            reason="An argument holds half a character, which is no text. Send such data on standard input."
        ) from error


class Clock:
    """Stops a channel when the time is up, and remembers that it did."""

    def __init__(self, channel: Channel, seconds: float | None) -> None:
        self.expired = False
        self._channel = channel
        self._timer = None
        if seconds is not None:
            self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._stop)
            self._timer.daemon = True
            self._timer.start()

    def _stop(self) -> None:
        self.expired = True
        self._channel.stop()

    def cancel(self) -> None:
        """Stop counting."""
        if self._timer:
            self._timer.cancel()


class Feeder(threading.Thread):
    """Copies the input to a channel, on its own thread; keeps what went wrong with reading it."""

    def __init__(self, channel: Channel, source: bytes | Readable | None) -> None:
        super().__init__(daemon=True)
        self.failure: Exception | None = None
        self._channel = channel
        self._source = source

    def run(self) -> None:
        """Copy to the end. An input that cannot be read stops the command: it would wait for ever."""
        try:
            if isinstance(self._source, bytes):
                self._channel.send(self._source)
            elif self._source is not None:
                self._copy(self._source)
            if self._source is not None:
                self._channel.end_input()
        except (BrokenPipeError, LinkLost):
            # The command ended without reading all its input, or the link went: the receiving
            # side learns the same and reports it.
            return

    def _copy(self, source: Readable) -> None:
        while True:
            try:
                data = source.read(CHUNK)
            except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
                self.failure = error
                self._channel.stop()
                return
            if not data:
                return
            self._channel.send(data)


def _settle(channel: Channel) -> None:
    """Let go of a channel that was stopped; what it still says does not matter."""
    with contextlib.suppress(Exception):
        while channel.receive():
            pass
        channel.finish()
