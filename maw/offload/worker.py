"""The worker: the program on the satellite that does the jobs.

JSON lines in, JSON lines out (`cat jobs | maw-worker` works), logs on standard error only. It
greets, spools what arrives, hands jobs to inner processes (executor.py) and passes their
answers on as they come. A bad job is one error line, never the end of the worker.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import maw
from maw import files
from maw.errors import DiskFull, DocumentTooLarge, JobTimedOut, MawError, ProtocolError, WorkerDied, printable
from maw.models import engines
from maw.offload import launcher, protocol, serve
from maw.offload.executor import error_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_PROCESSES = 4
HERE = "this worker"
# Seconds between looks at the clock, for jobs and for the lease.
TICK = 0.2


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Given the command line, return the worker's settings."""
    parser = argparse.ArgumentParser(
        prog="maw-worker", description="Summarise documents: JSON lines in, JSON lines out (docs/worker.md)."
    )
    parser.add_argument("--version", action="version", version=f"maw-worker {maw.__version__}")
    parser.add_argument(
        "--processes", type=int, default=0, help="inner processes; 0 is one per core, at most four"
    )
    parser.add_argument(
        "--lease", type=float, default=0, help="end after this many seconds without a line; 0 is never"
    )
    parser.add_argument(
        "--memory-megabytes", type=int, default=4096, help="address space of an inner process"
    )
    parser.add_argument("--document-megabytes", type=int, default=256, help="largest document")
    parser.add_argument("--fetch-seconds", type=float, default=60, help="longest time for one URL")
    parser.add_argument("--fetch-stall-seconds", type=float, default=15, help="longest silence of a server")
    parser.add_argument("--redirects", type=int, default=8, help="most redirects of a URL")
    parser.add_argument("--expanded-megabytes", type=int, default=512, help="largest content of a docx")
    parser.add_argument("--pages", type=int, default=20_000, help="most pages of a PDF")
    parser.add_argument("--job-timeout", type=float, default=600, help="seconds for a job that does not say")
    parser.add_argument(
        "--engine", action="append", default=[], metavar="NAME=MODULE:CLASS", help="register another engine"
    )
    parser.add_argument(
        "--serve", action="store_true", help="be one connection of the service; its options come with it"
    )
    chosen = parser.parse_args(argv)
    if chosen.processes <= 0:
        chosen.processes = min(MOST_PROCESSES, os.cpu_count() or 1)
    return chosen


def main() -> None:
    """Run the worker on standard input and output until the input ends."""
    chosen = arguments()
    if chosen.serve:
        serve.main([option for option in sys.argv[1:] if option != launcher.SERVE])
    own = dict(item.partition("=")[::2] for item in chosen.engine)
    worker = Worker(chosen, {**engines.FACTORIES, **own})
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: worker.abort(143))
    try:
        worker.serve(sys.stdin.buffer)
    except KeyboardInterrupt:
        worker.abort(130)
    except BrokenPipeError:
        # Nobody reads the answers any more.
        worker.abort(141)


def log(message: str) -> None:
    """Given a message, write it as one line to standard error."""
    print(f"maw-worker: {printable(message)}", file=sys.stderr, flush=True)  # noqa: T201


class Worker:
    """Spools jobs, keeps the inner processes and writes the answers."""

    def __init__(self, chosen: argparse.Namespace, factories: Mapping[str, str]) -> None:
        self._chosen = chosen
        self._settings = {
            "parent": os.getpid(),
            "engines": dict(factories),
            "memory_megabytes": chosen.memory_megabytes,
            "limits": {
                "document_bytes": chosen.document_megabytes * 1_000_000,
                "fetch_seconds": chosen.fetch_seconds,
                "fetch_stall_seconds": chosen.fetch_stall_seconds,
                "redirects": chosen.redirects,
                "expanded_bytes": chosen.expanded_megabytes * 1_000_000,
                "pages": chosen.pages,
            },
        }
        self._factories = factories
        self._output = sys.stdout.buffer
        self._lock = threading.Lock()
        # Reentrant: a signal may come to the thread that is ending already.
        self._ending = threading.RLock()
        self._spool = Path(tempfile.mkdtemp(prefix="maw-worker-"))
        # A short queue: what does not fit waits in the pipe, so that memory stays flat.
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(maxsize=chosen.processes)
        self._slots = [_Slot(self, number) for number in range(chosen.processes)]
        self._parts: dict[str, tuple[Path, int, str | None]] = {}
        self._heard = time.monotonic()

    @property
    def settings(self) -> str:
        """What an inner process needs to know, as JSON."""
        return json.dumps(self._settings)

    @property
    def job_timeout(self) -> float:
        """Seconds for a job that does not say."""
        return float(self._chosen.job_timeout)

    def write(self, line: bytes) -> None:
        """Given a line, write it whole."""
        with self._lock:
            self._output.write(line)
            self._output.flush()

    def next_job(self) -> dict[str, Any] | None:
        """Wait for the next job; None when there will be no more."""
        return self._queue.get()

    def serve(self, stream: BinaryIO) -> None:
        """Given the input, do its jobs to the end, then clean up."""
        self.write(protocol.encode({"type": "hello", **self._greeting()}))
        for slot in self._slots:
            slot.thread.start()
        threading.Thread(target=self._watch, daemon=True).start()
        for line in protocol.lines(stream, host=HERE):
            self._heard = time.monotonic()
            self._accept(line)
        for _ in self._slots:
            self._queue.put(None)
        for slot in self._slots:
            slot.thread.join()
        self._clean()

    def _greeting(self) -> dict[str, Any]:
        return {
            "protocol": protocol.VERSION,
            "version": maw.__version__,
            "host": socket.gethostname(),
            "engines": engines.models(self._factories),
            "processes": self._chosen.processes,
        }

    def _accept(self, line: bytes | ProtocolError) -> None:
        identifier = None
        try:
            if isinstance(line, ProtocolError):
                raise line
            message = protocol.decode(line, protocol.JOB_LINES, host=HERE)
            identifier = message.get("id")
            if message["type"] == "ping":
                self.write(protocol.encode({"type": "pong"}))
            elif message["type"] == "part":
                self._keep_part(message)
            else:
                self._enqueue(message)
        except MawError as error:
            self.write(error_line(identifier, type(error).__name__, str(error)))

    def _keep_part(self, message: dict[str, Any]) -> None:
        identifier = message["id"]
        path, size, problem = self._parts.get(identifier, (None, 0, None))
        if path is None:
            path = self._spool / f"part-{len(self._parts)}-{time.monotonic_ns()}"
        if problem is None:
            try:
                content = protocol.data_of(message)
                size += len(content)
                if size <= self._chosen.document_megabytes * 1_000_000:
                    with path.open("ab") as file:
                        file.write(content)
            except ValueError:
                problem = "not base64"
            except OSError as error:
                problem = error.strerror if error.errno not in files.NO_SPACE else "full"
        self._parts[identifier] = (path, size, problem)

    def _enqueue(self, job: dict[str, Any]) -> None:
        name = job.get("name") or job.get("url") or job["id"]
        path, size, problem = self._parts.pop(job["id"], (None, 0, None))
        if path is not None and not {"text", "data", "url"} & set(job):
            job["path"] = str(path)
        try:
            if problem == "full":
                raise DiskFull(path=name, where=f"{socket.gethostname()} ({self._spool.parent})")
            if problem is not None:
                raise ProtocolError(host=HERE, reason=f"the parts of {name}: {problem}")
            limit = self._chosen.document_megabytes
            if size > limit * 1_000_000:
                raise DocumentTooLarge(name=name, limit=f"{limit} MB", setting="text.document_megabytes")
            if job.get("parts") and path is None:
                raise ProtocolError(host=HERE, reason=f"the parts of {name} did not arrive")
            if job.get("parts") == 0:
                path = self._spool / f"empty-{time.monotonic_ns()}"
                path.touch()
                job["path"] = str(path)
            if sum(key in job for key in ("text", "data", "url", "path")) != 1:
                raise ProtocolError(host=HERE, reason=f"{name} needs one of text, data, url and parts")
        except MawError:
            if path is not None:
                path.unlink(missing_ok=True)
            raise
        except OSError as error:
            raise files.translate(error, self._spool) from error
        job.pop("parts", None)
        self._queue.put(job)

    def _watch(self) -> None:
        while True:
            time.sleep(TICK)
            now = time.monotonic()
            for slot in self._slots:
                slot.stop_if_late(now)
            if 0 < self._chosen.lease < now - self._heard:
                log(f"nothing was heard for {self._chosen.lease:g} s: giving up")
                self.abort(1)

    def abort(self, status: int) -> None:
        """Stop everything at once and end this process with `status`.

        Several threads may find the reader gone at the same moment: the first one ends the
        process, the others wait here for that.
        """
        with self._ending:
            try:
                for slot in self._slots:
                    slot.kill()
                self._clean()
            finally:
                # Also when a second Ctrl-C comes meanwhile.
                os._exit(status)

    def wait_if_ending(self) -> None:
        """Return at once, or never if this process is ending: what its end breaks is no news."""
        with self._ending:
            pass

    def _clean(self) -> None:
        # A worker that ended is not turned into an error by what stays in its own private folder.
        shutil.rmtree(self._spool, ignore_errors=True)


class _Slot:
    """One inner process, and the thread that feeds it one job at a time."""

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker = worker
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = math.inf
        self._late = False
        self.thread = threading.Thread(target=self._run, name=f"slot-{number}", daemon=True)

    def _run(self) -> None:
        while (job := self._worker.next_job()) is not None:
            try:
                self._do(job)
            except BrokenPipeError:
                # The reader of our answers is gone; the main thread learns it from its input.
                self._worker.abort(141)
            finally:
                if "path" in job:
                    Path(job["path"]).unlink(missing_ok=True)
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            argv = [sys.executable, "-m", "maw.offload.executor", self._worker.settings]
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    def _do(self, job: dict[str, Any]) -> None:
        timeout = float(job.pop("timeout", self._worker.job_timeout))
        self._late = False
        self._deadline = time.monotonic() + timeout
        try:
            answered = self._converse(job)
        finally:
            self._deadline = math.inf
        if not answered:
            self._worker.wait_if_ending()
            self._worker.write(error_line(job["id"], *self._verdict(job, self._late, timeout)))

    def _converse(self, job: dict[str, Any]) -> bool:
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(protocol.encode({**job, "type": "job"}))
            process.stdin.flush()
        except BrokenPipeError:
            return False
        while line := process.stdout.readline():
            if not line.endswith(b"\n"):
                return False
            self._worker.write(line)
            if not line.startswith(b'{"type":"text"'):
                return True
        return False

    def stop_if_late(self, now: float) -> None:
        """Given the time, kill the inner process if its job should have ended by now."""
        if now > self._deadline:
            self._deadline = math.inf
            self._late = True
            self.kill()

    def kill(self) -> None:
        """Kill the inner process; the next job starts another."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _verdict(self, job: dict[str, Any], late: bool, timeout: float) -> tuple[str, str]:
        name = job.get("name") or job.get("url") or job["id"]
        status = self._process.wait() if self._process is not None else 0
        self._process = None
        if late:
            error: MawError = JobTimedOut(name=name, seconds=f"{timeout:g}", host=socket.gethostname())
        else:
            reason = f"signal {-status}" if status < 0 else f"status {status}"
            error = WorkerDied(
                host=socket.gethostname(), reason=f"{reason} while reading {name}", unfinished=1
            )
        log(str(error))
        return type(error).__name__, str(error)


if __name__ == "__main__":
    main()
