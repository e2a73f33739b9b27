"""The core's side of a worker: start it over a transport, send jobs, get outcomes as they finish."""

from __future__ import annotations

import contextlib
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maw.errors import LinkLost, MawError, ProtocolError, WorkerDied, WorkerMissing, printable
from maw.offload import protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maw.config import OffloadSettings, TextSettings
    from maw.transport.base import Channel, Transport

# The end of what a dying worker said that is kept for its epitaph.
_LAST_WORDS = 4000


@dataclass(frozen=True)
class Job:
    """One document to summarise: the bytes of `path`, or what is at `url`."""

    identifier: str
    name: str
    engine: str
    sentences: int
    question: str | None = None
    path: Path | None = None
    url: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the worker's result, the extracted text (also packed), or an error."""

    identifier: str
    result: dict[str, Any] | None = None
    text: str = ""
    packed: bytes = b""
    error: str | None = None
    error_kind: str | None = None


def worker_arguments(offload: OffloadSettings, text: TextSettings) -> list[str]:
    """Given the settings, return the worker's command-line options."""
    options = {
        "processes": offload.processes,
        "lease": offload.lease,
        "memory-megabytes": offload.memory_megabytes,
        "job-timeout": offload.job_timeout,
        "document-megabytes": text.document_megabytes,
        "fetch-seconds": text.fetch_seconds,
        "fetch-stall-seconds": text.fetch_stall_seconds,
        "redirects": text.redirects,
        "expanded-megabytes": text.expanded_megabytes,
        "pages": text.pages,
    }
    return [f"--{name}={value:g}" for name, value in options.items()]


class WorkerClient:
    """A running worker. Raise WorkerMissing, ProtocolError or TransportError if it cannot be had."""

    def __init__(self, transport: Transport, argv: Sequence[str], *, lease: float) -> None:
        self.host = transport.host
        self._said = bytearray()
        self._argv = list(argv)
        self._channel: Channel = transport.open(argv, on_stderr=self._listen)
        self._buffer = bytearray()
        self._outcomes: queue.Queue[Outcome | MawError] = queue.Queue()
        self._gathered: dict[str, list[str]] = {}
        self._sending = threading.Lock()
        try:
            self.hello = self._greet()
        except BaseException:
            self._end()
            raise
        self.engines: dict[str, str] = self.hello["engines"]
        self.window = 2 * int(self.hello["processes"]) + 1
        self.in_flight: set[str] = set()
        self._closed = threading.Event()
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()
        threading.Thread(target=self._keep_alive, args=(lease / 3,), daemon=True).start()

    def _listen(self, data: bytes) -> None:
        self._said = (self._said + data)[-_LAST_WORDS:]

    def _greet(self) -> dict[str, Any]:
        line = self._line()
        if line is None:
            raise self._epitaph(0)
        hello = protocol.decode(line, protocol.WORKER_LINES, host=self.host)
        if hello["type"] != "hello" or hello["protocol"] != protocol.VERSION:
            raise ProtocolError(
                host=self.host,
                reason=f"its worker speaks protocol {hello.get('protocol')}, this core {protocol.VERSION}",
            )
        return hello

    def _epitaph(self, unfinished: int) -> MawError:
        try:
            ending = self._channel.finish()
        except LinkLost as error:
            return error
        said = self._said.decode("utf-8", "replace").strip().splitlines()
        if ending.exit_status in (126, 127):
            return WorkerMissing(host=self.host, command=" ".join(self._argv[:1]))
        how = f"signal {ending.signal}" if ending.signal else f"status {ending.exit_status}"
        last = f": {printable(said[-1])}" if said else ""
        return WorkerDied(host=self.host, reason=f"{how}{last}", unfinished=unfinished)

    def _line(self) -> bytes | None:
        """Return the next whole line, or None at the end. Raise ProtocolError for an endless one."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > 2 * protocol.LONGEST_LINE:
                raise ProtocolError(
                    host=self.host, reason=f"a line is longer than {2 * protocol.LONGEST_LINE} bytes"
                )
            data = self._channel.receive()
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    def _receive(self) -> None:
        try:
            while (line := self._line()) is not None:
                self._take(protocol.decode(line, protocol.WORKER_LINES, host=self.host))
            self._outcomes.put(self._epitaph(len(self.in_flight)))
        except MawError as error:
            self._end()
            self._outcomes.put(error)

    def _end(self) -> None:
        """Stop the worker and let go of the channel; how it ends is of no interest any more."""
        self._channel.stop()
        with contextlib.suppress(LinkLost):
            self._channel.finish()

    def _take(self, message: dict[str, Any]) -> None:
        kind, identifier = message["type"], message.get("id")
        if kind in ("pong", "hello"):
            return
        if identifier not in self.in_flight:
            what = message.get("message", f"a {kind} for a job that was not sent")
            raise ProtocolError(host=self.host, reason=printable(what)[:500])
        pieces = self._gathered.setdefault(identifier, [])
        if kind == "text":
            pieces.append(message["data"])
            if sum(map(len, pieces)) > 2 * protocol.MOST_TEXT:
                raise ProtocolError(host=self.host, reason="it sends text without end")
            return
        del self._gathered[identifier]
        if kind == "error":
            shown = printable(message["message"])
            self._outcomes.put(Outcome(identifier, error=shown, error_kind=printable(message["kind"])[:60]))
            return
        try:
            text, packed = protocol.unpack_text(pieces)
        except ValueError as error:
            raise ProtocolError(host=self.host, reason=f"a text does not unpack: {error}") from error
        self._outcomes.put(Outcome(identifier, message, text, packed))

    def _keep_alive(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            try:
                self._send({"type": "ping"})
            except (BrokenPipeError, LinkLost, ValueError):
                # The receiving thread reports how the link or the worker ended.
                return

    def _send(self, message: dict[str, Any]) -> None:
        self._send_line(protocol.encode(message))

    def _send_line(self, line: bytes) -> None:
        with self._sending:
            self._channel.send(line)

    @property
    def full(self) -> bool:
        """Whether as many jobs are under way as the worker is given at a time."""
        return len(self.in_flight) >= self.window

    def submit(self, job: Job) -> None:
        """Given a job, send it and its bytes. Raise CannotRead-like OSError for its file, never for the link.

        A link that breaks meanwhile shows at `next_outcome`.
        """
        message: dict[str, Any] = {
            "type": "job",
            "id": job.identifier,
            "name": job.name,
            "engine": job.engine,
            "sentences": job.sentences,
            "question": job.question,
            "return_text": True,
        }
        self.in_flight.add(job.identifier)
        with contextlib.suppress(BrokenPipeError, LinkLost, ValueError):
            if job.url is not None:
                self._send({**message, "url": job.url})
            elif job.path is not None:
                self._send_file(message, job.path)

    def _send_file(self, message: dict[str, Any], path: Path) -> None:
        """Send a small file in the job's line, a large one ahead of it in parts."""
        parts = 0
        with path.open("rb") as file:
            data = file.read(protocol.SMALL)
            if len(data) < protocol.SMALL:
                self._send_line(protocol.data_line(message, data))
                return
            while data:
                self._send_line(protocol.data_line({"type": "part", "id": message["id"]}, data))
                parts += 1
                data = file.read(protocol.PART)
        self._send({**message, "parts": parts})

    def next_outcome(self, timeout: float | None = None) -> Outcome | None:
        """Wait for the next outcome; None after `timeout` seconds.

        Raise WorkerDied, LinkLost or ProtocolError when no more will come.
        """
        try:
            outcome = self._outcomes.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(outcome, MawError):
            self._outcomes.put(outcome)
            raise outcome
        self.in_flight.discard(outcome.identifier)
        return outcome

    def close(self) -> None:
        """End the worker: at once if jobs are under way, else by the end of its input."""
        self._closed.set()
        if self.in_flight:
            self._channel.stop()
        else:
            self._channel.end_input()
        # It ends when the worker does, and has let go of the channel then.
        self._receiver.join(timeout=30)
