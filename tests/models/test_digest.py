"""The digest: each statement cited, each citation resolvable, no source drowned out."""

from __future__ import annotations

import dataclasses

from maw.models.digest import digest, unresolved
from maw.models.engines import Sentence

TEXTS = {
    "a.txt": "Charge the UPS before the storm. The cat sleeps. Test the restore of the backup every month.",
    "b.md": "The storm cut the power for two hours. A charged UPS kept the router alive through the storm.",
    "ค.txt": "ก่อนพายุมาให้ชาร์จเครื่องสำรองไฟให้เต็ม\nทดสอบการกู้คืนข้อมูลทุกเดือน",
}


def summaries() -> list:
    result = []
    for source, text in TEXTS.items():
        sentences, start = [], 0
        for piece in text.replace(". ", ".\n").split("\n"):
            start = text.index(piece, start)
            sentences.append(Sentence(piece, start, start + len(piece)))
        result.append((source, sentences))
    return result


def test_every_citation_resolves_and_stands_in_the_text():
    analysis = digest(summaries(), count=5)
    assert len(analysis.citations) == 5
    assert unresolved(analysis, TEXTS) == []
    assert [citation.n for citation in analysis.citations] == [1, 2, 3, 4, 5]
    assert all(f"[{citation.n}]" in analysis.text for citation in analysis.citations)


def test_every_source_is_heard():
    assert {citation.source for citation in digest(summaries(), count=5).citations} == set(TEXTS)


def test_a_question_brings_its_statements():
    analysis = digest(summaries(), question="what about the cat", count=1)
    assert analysis.citations[0].quote == "The cat sleeps."


def test_a_false_quote_a_missing_source_and_a_missing_mark_are_found():
    analysis = digest(summaries(), count=2)
    first, second = analysis.citations
    forged = dataclasses.replace(first, quote="Sell the server.")
    stray = dataclasses.replace(second, source="nowhere.txt")
    lost = dataclasses.replace(first, n=99)
    found = unresolved(dataclasses.replace(analysis, citations=(forged, stray, lost)), TEXTS)
    assert any("does not quote" in one for one in found)
    assert any("not there: nowhere.txt" in one for one in found)
    assert any("[99] is nowhere" in one for one in found)
