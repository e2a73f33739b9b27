"""What is asked of the pipeline, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maw.models import engines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maw.errors import MawError
    from maw.models.digest import Analysis
    from maw.models.engines import Sentence
    from maw.text.sources import Skipped, Source

SCHEMA = "maw.pipeline/1"


@dataclass(frozen=True)
class Request:
    """What is asked: the sources, and how they are summarised and analysed."""

    sources: Sequence[Source]
    skipped: Sequence[Skipped] = ()
    question: str | None = None
    engine: str = engines.DEFAULT
    sentences: int = 5
    citations: int = 8
    analyse: bool = True
    save_text: Path | None = None
    document_bytes: int = 256_000_000


@dataclass
class Document:
    """What became of one source. `status` is done, duplicate or failed."""

    source: str
    sha256: str | None = None
    status: str = "failed"
    engine: str | None = None
    fallback_for: str | None = None
    host: str | None = None
    seconds: float | None = None
    error: str | None = None
    summary: list[Sentence] = field(default_factory=list)
    error_kind: str | None = None
    duplicate_of: str | None = None
    reused: bool = False
    kind: str | None = None
    characters: int | None = None
    text_sha256: str | None = None
    text_file: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What became of a request. `status` is done, partial or failed."""

    status: str
    question: str | None
    started: str
    seconds: float
    documents: list[Document]
    skipped: list[dict[str, str]]
    analysis: Analysis | None = None
    record: str | None = None
    failure: MawError | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data, as docs/schema/pipeline.json describes it."""
        plain: dict[str, Any] = {
            "schema": SCHEMA,
            "status": self.status,
            "question": self.question,
            "started": self.started,
            "seconds": self.seconds,
            "documents": [
                {**vars(document), "summary": [vars(one) for one in document.summary]}
                for document in self.documents
            ],
            "skipped": self.skipped,
            "analysis": None,
            "record": self.record,
            "error": str(self.failure) if self.failure else None,
        }
        if self.analysis is not None:
            plain["analysis"] = {
                "text": self.analysis.text,
                "engine": self.analysis.engine,
                "citations": [vars(citation) for citation in self.analysis.citations],
            }
        return plain
