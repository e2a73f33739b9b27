"""One request, step by step: read, summarise on the satellite, check, analyse, record."""

from __future__ import annotations

import hashlib
import json
import stat
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from maw import files
from maw.errors import CannotRead, DocumentTooLarge, EmptyDocument, FileError, LedgerError, MawError
from maw.models import engines
from maw.models.engines import Sentence
from maw.offload.client import Job, Outcome
from maw.offload.dispatch import Dispatcher
from maw.offload.jobs import job_key
from maw.pipeline import finish
from maw.pipeline.report import Document, Report, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.offload.client import WorkerClient
    from maw.offload.jobs import Ledger
    from maw.text.sources import Source

FALLBACK = "extractive"
# Seconds between looks at a job that another process is doing.
LOOK_AGAIN = 0.2


@dataclass(frozen=True)
class _Pending:
    """A source that is read and known by its hash, but not summarised yet."""

    index: int
    source: Source
    content: str
    sha256: str | None
    path: Path | None


class Pipeline:
    """One request, from sources to report."""

    def __init__(
        self,
        request: Request,
        *,
        ledger: Ledger,
        connect: Callable[[], WorkerClient],
        host: str,
        stdin: BinaryIO,
        on_document: Callable[[Document], None],
    ) -> None:
        self._request = request
        self._ledger = ledger
        self._dispatcher = Dispatcher(connect, host)
        self._stdin = stdin
        self._on_document = on_document
        self._documents: dict[int, Document] = {}
        self._first: dict[str, int] = {}
        self._keys: dict[str, tuple[str, _Pending, str | None]] = {}
        self._spooled: IO[bytes] | None = None
        # What this version's engines are known by in the ledger.
        self._models = engines.models()

    def run(self, soul: Path | None) -> Report:
        """Do the whole request; with `soul`, leave a record there. Raise LedgerError, SoulError or DiskFull.

        What goes wrong with single documents, or with the satellite, is in the report.
        """
        started, clock = datetime.now(UTC).astimezone(), time.monotonic()
        run = self._ledger.open_run(self._run_key())
        try:
            self._summarise(run)
        finally:
            self._dispatcher.close()
            if self._spooled is not None:
                self._spooled.close()
        documents = [self._documents[index] for index in range(len(self._request.sources))]
        report = Report(
            status=finish.status(documents),
            question=self._request.question,
            started=started.isoformat(timespec="seconds"),
            seconds=0.0,
            documents=documents,
            skipped=[{"source": one.name, "reason": one.reason} for one in self._request.skipped],
            failure=finish.verdict(documents, self._dispatcher.failure),
        )
        if self._request.save_text is not None:
            finish.save_texts(documents, self._ledger, self._request.save_text)
        if self._request.analyse and report.status != "failed":
            report.analysis = finish.analyse(documents, self._ledger, self._request)
        report.seconds = round(time.monotonic() - clock, 3)
        if soul is not None:
            report.record = str(finish.record(soul, report, started))
        if report.status == "done":
            self._ledger.close_run(run)
        return report

    def _run_key(self) -> str:
        request = self._request
        names = [source.name for source in request.sources]
        return files.sha256_of(json.dumps([names, request.engine, request.sentences, request.question]))

    def _summarise(self, run: str) -> None:
        waiting = deque(enumerate(self._request.sources))
        held: deque[_Pending] = deque()
        fruitless = 0
        while waiting or held or self._dispatcher.busy:
            while waiting and not self._dispatcher.full:
                index, source = waiting.popleft()
                pending = self._prepare(index, source, run)
                if pending is not None and not self._offer(pending):
                    held.append(pending)
            if self._dispatcher.busy:
                for outcome in self._dispatcher.collect(LOOK_AGAIN):
                    self._settle(outcome)
            if held and not waiting and not self._dispatcher.full:
                pending = held.popleft()
                if self._offer(pending):
                    fruitless = 0
                else:
                    held.append(pending)
                    fruitless += 1
            if held and fruitless >= len(held):
                # All that is left is in the hands of another process.
                fruitless = 0
                time.sleep(LOOK_AGAIN)

    def _prepare(self, index: int, source: Source, run: str) -> _Pending | None:
        """Read and hash one source; settle it at once if it fails or is a duplicate."""
        try:
            if source.kind == "url":
                return _Pending(index, source, f"url:{source.url}:{run}", None, None)
            path = self._path(source)
            sha256 = self._hash(path, source.name)
        except MawError as error:
            self._finish(index, Document(source.name, error=str(error), error_kind=type(error).__name__))
            return None
        first = self._first.setdefault(sha256, index)
        if first != index:
            name = self._request.sources[first].name
            self._finish(index, Document(source.name, sha256, "duplicate", duplicate_of=name))
            return None
        return _Pending(index, source, sha256, sha256, path)

    def _path(self, source: Source) -> Path:
        if source.problem:
            raise CannotRead(path=source.name, reason=source.problem)
        if source.kind == "file":
            assert source.path is not None
            return source.path
        spooled = tempfile.NamedTemporaryFile(prefix="maw-stdin-")  # noqa: SIM115 - closed by run
        self._spooled = spooled
        size = 0
        try:
            while data := self._stdin.read(1 << 20):
                size += len(data)
                if size > self._request.document_bytes:
                    raise self._too_large(source.name)
                spooled.write(data)
            spooled.flush()
        except OSError as error:
            raise files.translate(error, tempfile.gettempdir()) from error
        return Path(spooled.name)

    def _too_large(self, name: str) -> DocumentTooLarge:
        limit = f"{self._request.document_bytes // 1_000_000} MB"
        return DocumentTooLarge(name=name, limit=limit, setting="text.document_megabytes")

    def _hash(self, path: Path, name: str) -> str:
        digest = hashlib.sha256()
        size = 0
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise CannotRead(path=name, reason="it is not a regular file")
            with path.open("rb") as file:
                while data := file.read(1 << 20):
                    size += len(data)
                    if size > self._request.document_bytes:
                        raise self._too_large(name)
                    digest.update(data)
        except OSError as error:
            raise CannotRead(path=name, reason=error.strerror or str(error)) from error
        if size == 0:
            raise EmptyDocument(name=name)
        return digest.hexdigest()

    def _key(self, pending: _Pending, engine: str, model: str) -> str:
        parameters = {"sentences": self._request.sentences, "question": self._request.question}
        return job_key(content=pending.content, engine=engine, model=model, parameters=parameters)

    def _offer(self, pending: _Pending) -> bool:
        """Take the job from the ledger or hand it to the worker; False if another process is at it."""
        engine = self._request.engine
        if engine in self._models:
            finished = self._ledger.finished(self._key(pending, engine, self._models[engine]))
            if finished is not None and finished.result is not None:
                self._done(pending, finished.result, str(finished.host), None, reused=True)
                return True
        try:
            ready = self._dispatcher.client().engines
            effective = engine if engine in ready else FALLBACK
            key = self._key(pending, effective, ready.get(effective, ""))
            claim = self._ledger.claim(key, pending.source.name)
            fallback_for = engine if effective != engine else None
            if claim.state == "busy":
                return False
            if claim.result is not None:
                self._done(pending, claim.result, str(claim.host), fallback_for, reused=True)
                return True
            self._submit(key, pending, effective, fallback_for)
        except (LedgerError, FileError):
            # Nothing can be kept: no document can be done.
            raise
        except MawError as error:
            self._failed(pending, str(error), type(error).__name__)
        return True

    def _submit(self, key: str, pending: _Pending, engine: str, fallback_for: str | None) -> None:
        identifier = str(pending.index)
        self._keys[identifier] = (key, pending, fallback_for)
        job = Job(
            identifier,
            pending.source.name,
            engine,
            self._request.sentences,
            self._request.question,
            path=pending.path,
            url=pending.source.url,
        )
        try:
            self._dispatcher.submit(job)
        except OSError as error:
            failure = CannotRead(path=pending.source.name, reason=error.strerror or str(error))
            self._ledger.fail(key, str(failure), host="core")
            self._failed(pending, str(failure), "CannotRead")

    def _settle(self, outcome: Outcome) -> None:
        key, pending, fallback_for = self._keys.pop(outcome.identifier)
        host = self._dispatcher.host
        try:
            if outcome.result is None:
                self._ledger.fail(key, str(outcome.error), host=host)
                self._failed(pending, str(outcome.error), str(outcome.error_kind))
                return
            result = finish.checked(outcome.result, outcome.text, pending.source.name, pending.sha256)
        except MawError as error:
            self._ledger.fail(key, str(error), host=host)
            self._failed(pending, str(error), type(error).__name__)
            return
        self._ledger.complete(key, result, outcome.packed, host=host)
        self._done(pending, result, host, fallback_for, reused=False)

    def _done(
        self, pending: _Pending, result: dict[str, Any], host: str, fallback_for: str | None, *, reused: bool
    ) -> None:
        document = Document(
            pending.source.name,
            result["sha256"],
            "done",
            engine=result["engine"],
            fallback_for=fallback_for,
            host=host,
            seconds=result["seconds"],
            summary=[Sentence(**one) for one in result["summary"]],
            reused=reused,
            kind=result["kind"],
            characters=result["characters"],
            text_sha256=result["text_sha256"],
            notes=result["notes"],
        )
        self._finish(pending.index, document)

    def _failed(self, pending: _Pending, error: str, kind: str) -> None:
        name = pending.source.name
        document = Document(name, pending.sha256, host=self._dispatcher.host, error=error, error_kind=kind)
        self._finish(pending.index, document)

    def _finish(self, index: int, document: Document) -> None:
        self._documents[index] = document
        self._on_document(document)
