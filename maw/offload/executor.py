"""The worker's inner process: reads one document at a time and summarises it.

It is a process of its own so that a document that crashes a library, eats the memory or never
ends takes this process with it, and not the worker.
"""

from __future__ import annotations

import binascii
import ctypes
import gc
import os
import resource
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from maw.errors import DocumentTooLarge, MawError, printable
from maw.files import sha256_of
from maw.models import engines
from maw.offload import protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maw.text.document import Document, Limits

_PR_SET_PDEATHSIG = 1
# Bytes of an answer from which memory is tidied up at once.
LARGE = 4 << 20


def main(settings: Mapping[str, Any]) -> None:
    """Given the worker's settings, serve job lines from standard input until it ends."""
    # If the worker is killed, the kernel ends this process with it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != settings["parent"]:
        # It was killed before the kernel knew.
        return
    # Ctrl-C in a terminal reaches the whole group: the worker decides, not this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit = int(settings["memory_megabytes"]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    results = _private_output()
    jobs = sys.stdin.buffer
    while line := jobs.readline():
        # Lines come from the worker, which has checked them.
        job = protocol.decode(
            line, {"job": {**protocol.JOB_LINES["job"], "path": ((str,), False)}}, host="worker"
        )
        size = sum(results.write(answer) for answer in _answers(job, settings))
        results.flush()
        if size > LARGE:
            # What a large document leaves in cycles is given back before the next one comes.
            gc.collect()


def _private_output() -> BinaryIO:
    """Return a stream on the real standard output, and send what libraries print to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "wb")


def _answers(job: dict[str, Any], settings: Mapping[str, Any]) -> list[bytes]:
    name = printable(job.get("name") or job.get("url") or job["id"])
    try:
        return _do(job, settings)
    except MawError as error:
        kind, message = type(error).__name__, str(error)
    except binascii.Error as error:
        kind, message = "ProtocolError", f"The data of {name} is not base64: {error}. Send it anew."
    except MemoryError:
        limit = f"what fits in {settings['memory_megabytes']} MB of memory"
        kind = DocumentTooLarge.__name__
        message = str(DocumentTooLarge(name=name, limit=limit, setting="offload.memory_megabytes"))
    except Exception as error:  # noqa: BLE001 - a bad job never kills the worker; the type is reported
        kind = type(error).__name__
        message = f"{name} broke the reader: {kind}: {printable(error)}. Report it with the document."
    return [error_line(job["id"], kind, message)]


def error_line(identifier: str | None, kind: str, message: str) -> bytes:
    """Given a job's id, the name of an error and its message, return the line that says so."""
    return protocol.encode({"type": "error", "id": identifier, "kind": kind, "message": message[:4000]})


def _do(job: dict[str, Any], settings: Mapping[str, Any]) -> list[bytes]:
    started, cpu = time.perf_counter(), time.process_time()
    engine_name = job.get("engine", engines.DEFAULT)
    engine = _engine(engine_name, settings["engines"])
    document = _read(job, settings["limits"])
    summary = engine.summarize(
        document.text,
        borders=_borders,
        sentences=job.get("sentences", 5),
        question=job.get("question") or None,
    )
    result = {
        "type": "result",
        "id": job["id"],
        "engine": engine_name,
        "model": engine.model,
        "seconds": round(time.perf_counter() - started, 6),
        "cpu_seconds": round(time.process_time() - cpu, 6),
        "sha256": document.sha256,
        "kind": document.kind,
        "characters": len(document.text),
        "text_sha256": sha256_of(document.text),
        "notes": list(document.notes),
        "summary": [{"text": one.text, "start": one.start, "end": one.end} for one in summary],
    }
    texts = list(protocol.text_lines(job["id"], document.text)) if job.get("return_text") else []
    return [*texts, protocol.encode(result)]


_ENGINES: dict[str, engines.Engine] = {}


def _engine(name: str, factories: Mapping[str, str]) -> engines.Engine:
    # A warm engine is kept: its model is loaded once.
    if name not in _ENGINES:
        _ENGINES[name] = engines.make(name, factories)
    return _ENGINES[name]


def _borders(text: str) -> list[tuple[int, int]]:
    from maw.text.sentences import sentences

    return [(span.start, span.end) for span in sentences(text)]


def _read(job: dict[str, Any], limits: Mapping[str, Any]) -> Document:
    from pathlib import Path

    from maw.text.document import Limits
    from maw.text.read import read

    allowed = Limits(**limits)
    name = job.get("name") or job.get("url") or job["id"]
    media_type = job.get("media_type")
    if "url" in job:
        return _fetch(job["url"], name, allowed)
    if "path" in job:
        return read(Path(job["path"]), name, media_type=media_type, limits=allowed)
    content = protocol.data_of(job) if "data" in job else job["text"].encode("utf-8", "surrogatepass")
    return read(content, name, media_type=media_type, limits=allowed)


def _fetch(url: str, name: str, limits: Limits) -> Document:
    from pathlib import Path

    from maw.text.fetch import fetch
    from maw.text.read import read

    with tempfile.NamedTemporaryFile(prefix="maw-fetch-") as file:
        fetched = fetch(url, file, limits=limits)  # type: ignore[arg-type]
        file.flush()
        return read(Path(file.name), name, media_type=fetched.media_type, limits=limits)


if __name__ == "__main__":
    import json

    main(json.loads(sys.argv[1]))
