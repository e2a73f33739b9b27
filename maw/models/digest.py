"""The analysis without weights: the most telling statements across documents, each cited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maw.models.extractive import rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.models.engines import Sentence

ENGINE = "extractive"


@dataclass(frozen=True)
class Citation:
    """Where a statement stands: source, and characters of that source's extracted text."""

    n: int
    source: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True)
class Analysis:
    """An answer and what each part of it rests on. `[n]` in the text is citation n."""

    text: str
    engine: str
    citations: tuple[Citation, ...]


def digest(
    summaries: Sequence[tuple[str, Sequence[Sentence]]], *, question: str | None = None, count: int = 8
) -> Analysis:
    """Given (source, summary) pairs, return a digest of at most `count` cited statements.

    They are grouped by source. Without a question each source is heard before one is heard
    twice; with one, the statements most like it are taken, wherever they stand.
    """
    entries = [(number, sentence) for number, (_, summary) in enumerate(summaries) for sentence in summary]
    text, spans = "", []
    for _, sentence in entries:
        spans.append((len(text), len(text) + len(sentence.text)))
        text += sentence.text + "\n"
    # With several sources no single one may fill more than half of the digest.
    most = None if len(summaries) < 2 else max(1, (count + 1) // 2)
    groups = [number for number, _ in entries]
    chosen = rank(
        text,
        spans,
        count=count,
        question=question,
        groups=groups,
        most_per_group=most,
        every_group=not question,
    )
    order: dict[int, list[Sentence]] = {}
    for item in chosen:
        number, sentence = entries[item.index]
        order.setdefault(number, []).append(sentence)
    lines: list[str] = []
    citations: list[Citation] = []
    for number, sentences in order.items():
        source = summaries[number][0]
        lines.append(f"{source}:")
        for sentence in sorted(sentences, key=lambda one: one.start):
            n = len(citations) + 1
            citations.append(Citation(n, source, sentence.start, sentence.end, sentence.text))
            lines.append(f"  - {' '.join(sentence.text.split())} [{n}]")
    return Analysis("\n".join(lines), ENGINE, tuple(citations))


def unresolved(analysis: Analysis, texts: dict[str, str]) -> list[str]:
    """Given an analysis and the sources' texts, return what does not hold, in words."""
    found = []
    for citation in analysis.citations:
        text = texts.get(citation.source)
        if text is None:
            found.append(f"[{citation.n}] names a source that is not there: {citation.source}")
        elif text[citation.start : citation.end] != citation.quote:
            found.append(f"[{citation.n}] does not quote what {citation.source} says")
        if f"[{citation.n}]" not in analysis.text:
            found.append(f"[{citation.n}] is nowhere in the text")
    return found
