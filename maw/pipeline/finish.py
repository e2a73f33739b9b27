"""The post-conditions: what must hold before maw says done, and what is kept of a request."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from maw import files
from maw.errors import AnswerRejected, DocumentChanged, MawError, NothingSucceeded, PartialSuccess, printable
from maw.models import guard
from maw.models.engines import Sentence
from maw.soul import store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from maw.models.digest import Analysis
    from maw.offload.jobs import Ledger
    from maw.pipeline.report import Document, Report, Request

# Characters of a printed reason; the documents carry the whole one.
LONGEST_REASON = 300


def checked(result: dict[str, Any], text: str, name: str, sha256: str | None) -> dict[str, Any]:
    """Given a worker's result and text, return what is kept of it if all of it holds.

    The worker is not trusted: hashes, types, offsets and the summary itself are checked. Raise
    DocumentChanged or AnswerRejected with what does not hold.
    """
    engine = str(result["engine"])
    if sha256 is not None and result["sha256"] != sha256:
        raise DocumentChanged(name=name)
    if files.sha256_of(text) != result["text_sha256"] or len(text) != result["characters"]:
        raise AnswerRejected(engine=engine, name=name, reason="its text did not arrive whole")
    try:
        summary = [
            Sentence(str(one["text"]), int(one["start"]), int(one["end"])) for one in result["summary"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise AnswerRejected(
            engine=engine, name=name, reason="its summary is not a list of sentences"
        ) from error
    wrong = guard.problems(summary, text)
    if wrong:
        raise AnswerRejected(engine=engine, name=name, reason="; ".join(wrong[:3]))
    return {
        "sha256": str(result["sha256"]),
        "engine": engine,
        "model": str(result["model"]),
        "seconds": float(result["seconds"]),
        "kind": str(result["kind"]),
        "characters": len(text),
        "text_sha256": str(result["text_sha256"]),
        "notes": [printable(note)[:LONGEST_REASON] for note in result["notes"]],
        "summary": [vars(sentence) for sentence in summary],
    }


def status(documents: Sequence[Document]) -> str:
    """Given what became of all documents, return done, partial or failed."""
    counts = Counter(document.status for document in documents)
    if not counts["failed"]:
        return "done"
    return "partial" if counts["done"] else "failed"


def verdict(documents: Sequence[Document], failure: MawError | None) -> MawError | None:
    """Given the documents and why there was no worker (if so), return the error for the whole."""
    failed = [document for document in documents if document.status == "failed"]
    if not failed:
        return None
    kinds = Counter(document.error_kind for document in failed)
    reasons = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    done = len(documents) - len(failed)
    if any(document.status == "done" for document in documents):
        return PartialSuccess(done=done, total=len(documents), failed=len(failed), reasons=reasons)
    if failure is not None:
        return failure
    return NothingSucceeded(total=len(documents), reasons=reasons)


def analyse(documents: Sequence[Document], ledger: Ledger, request: Request) -> Analysis:
    """Given the documents, return the digest across those that are done.

    Raise AnswerRejected unless every citation resolves to the words that it quotes.
    """
    from maw.models.digest import ENGINE, digest, unresolved

    done = [document for document in documents if document.status == "done"]
    summaries = [(document.source, document.summary) for document in done]
    analysis = digest(summaries, question=request.question, count=request.citations)
    cited = {citation.source for citation in analysis.citations}
    texts = {
        document.source: ledger.text(document.text_sha256)
        for document in done
        if document.source in cited and document.text_sha256 is not None
    }
    wrong = unresolved(analysis, texts)
    if wrong or not analysis.citations:
        reason = "; ".join(wrong[:3]) or "it cites nothing"
        raise AnswerRejected(engine=ENGINE, name="the digest", reason=reason)
    return analysis


def save_texts(documents: Sequence[Document], ledger: Ledger, folder: Path) -> None:
    """Given the documents and a folder, write the extracted text of each done one into it.

    Names are those of the sources, without their folders; a second of the same name gets the
    start of its hash. Raise FileError.
    """
    taken: set[str] = set()
    for document in documents:
        if document.status != "done" or document.text_sha256 is None:
            continue
        name = file_name(document.source)
        if name in taken:
            name = f"{name.removesuffix('.txt')}.{document.text_sha256[:12]}.txt"
        taken.add(name)
        path = folder / name
        files.write_atomically(path, ledger.text(document.text_sha256))
        document.text_file = str(path)


def file_name(source: str) -> str:
    """Given a source's name, return a name for its text that is safe in any folder."""
    last = PurePath(source.rstrip("/")).name or source
    safe = "".join("_" if character in '/\\:*?"<>|' else character for character in printable(last)).strip(
        ". "
    )
    while len(safe.encode("utf-8")) > 200:
        safe = safe[:-1]
    return f"{safe or 'text'}.txt"


def record(soul: Path, report: Report, when: datetime) -> Path:
    """Given a report, leave its record in ψ and return the path. Raise SoulError or DiskFull."""
    kind = "pipeline"
    documents = [
        {
            "source": document.source,
            "status": document.status,
            "engine": document.engine,
            "fallback_for": document.fallback_for,
            "host": document.host,
            "seconds": document.seconds,
            "sha256": document.sha256,
            "text_sha256": document.text_sha256,
            "error": document.error,
        }
        for document in report.documents
    ]
    analysis = report.analysis
    facts = {
        "kind": kind,
        "tags": [kind],
        "status": report.status,
        "question": report.question,
        "engine": analysis.engine if analysis else None,
        "host": "core",
        "seconds": report.seconds,
        "output_sha256": files.sha256_of(analysis.text) if analysis else None,
        "documents": documents,
    }
    subject = report.question or ", ".join(document.source for document in report.documents[:3])
    return store.write_log(soul, facts=facts, title=f"{kind}: {subject[:120]}", body=_body(report), when=when)


def _body(report: Report) -> str:
    lines = ["# Digest", ""]
    if report.analysis is None:
        lines = ["No document could be summarised, so there is no digest."]
    else:
        lines += [report.analysis.text, "", "## Citations", ""]
        lines += [
            f"- [{one.n}] {one.source}, characters {one.start} to {one.end}"
            for one in report.analysis.citations
        ]
    failed = [document for document in report.documents if document.error]
    if failed:
        lines += ["", "## Failed", "", *(f"- {document.source}: {document.error}" for document in failed)]
    return "\n".join(lines)
