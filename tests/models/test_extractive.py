"""Summaries without weights: verbatim, traceable, diverse, the same every time."""

from __future__ import annotations

import re

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maw.models import extractive
from maw.models.extractive import Extractive, rank

ENGLISH = (
    "The backup server keeps thirty days of snapshots on mirrored disks. "
    "Every night the backup server copies the snapshots to the notebook. "
    "My neighbour has a cat called Somchai. "
    "A restore test of the backup was done in March and it took two hours. "
    "Bananas are cheap this week. "
    "Without a restore test a backup is only a hope, said the old technician."
)
THAI = (
    "เครื่องสำรองไฟจ่ายไฟให้เซิร์ฟเวอร์ได้สิบนาทีเมื่อไฟดับ\n"
    "ระหว่างไฟดับเครื่องสำรองไฟจะส่งสัญญาณให้เซิร์ฟเวอร์ปิดตัวเอง\n"
    "วันนี้แมวของเพื่อนบ้านนอนอยู่บนกำแพง\n"
    "ถ้าเซิร์ฟเวอร์ปิดตัวเองไม่ทันก่อนเครื่องสำรองไฟหมด ข้อมูลอาจเสียหาย\n"
)


def summarize(text: str, *, sentences: int, question: str | None) -> list:
    def borders(whole: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"[^\s.][^.\n]*[.]?", whole)]

    return Extractive().summarize(text, borders=borders, sentences=sentences, question=question)


def spans_of(*sentences: str) -> tuple[str, list[tuple[int, int]]]:
    text, spans = "", []
    for sentence in sentences:
        spans.append((len(text), len(text) + len(sentence)))
        text += sentence + "\n"
    return text, spans


@pytest.mark.parametrize("text", [ENGLISH, THAI, ENGLISH + "\n\n" + THAI])
def test_every_sentence_stands_in_the_text_where_it_says_and_in_order(text):
    summary = summarize(text, sentences=3, question=None)
    assert 1 <= len(summary) <= 3
    assert all(text[one.start : one.end] == one.text for one in summary)
    assert [one.start for one in summary] == sorted(one.start for one in summary)


def test_what_the_text_is_about_is_chosen_before_asides():
    chosen = " ".join(one.text for one in summarize(ENGLISH, sentences=3, question=None))
    assert "backup" in chosen
    assert "cat" not in chosen
    assert "Bananas" not in chosen
    thai = " ".join(one.text for one in summarize(THAI, sentences=2, question=None))
    assert "เครื่องสำรองไฟ" in thai
    assert "แมว" not in thai


@pytest.mark.parametrize(
    ("text", "question", "word"),
    [
        (ENGLISH, "are bananas cheap", "Bananas"),
        (ENGLISH, "the neighbour's cat", "cat"),
        (THAI, "แมวอยู่ที่ไหน", "แมว"),
    ],
)
def test_a_question_decides_what_comes_first(text, question, word):
    (first,) = summarize(text, sentences=1, question=question)
    assert word in first.text


def test_a_question_in_another_script_leaves_the_choice_to_the_text():
    plain = summarize(THAI, sentences=2, question=None)
    assert summarize(THAI, sentences=2, question="zzz qqq") == plain


def test_the_same_sentence_is_not_chosen_twice():
    text, spans = spans_of(
        *["The disk failed and the mirror took over at once."] * 5, "The fan was replaced in May."
    )
    chosen = [text[slice(*spans[item.index])] for item in rank(text, spans, count=3)]
    assert sorted(chosen) == [
        "The disk failed and the mirror took over at once.",
        "The fan was replaced in May.",
    ]


def test_a_text_that_says_the_same_a_thousand_times_still_gives_all_that_it_says():
    said = [
        "The disk failed and the mirror took over at once.",
        "The fan was replaced in May by the owner.",
        "Nobody has tested the restore of the archive yet.",
        "A battery ages even when it is never used at all.",
    ]
    text, spans = spans_of(*(said * 500))
    assert {text[slice(*spans[item.index])] for item in rank(text, spans, count=4)} == set(said)


def test_no_group_fills_the_list_while_others_have_something_to_say():
    text, spans = spans_of(
        *[f"The power cut of day {n} ended the server and its disks {n} times." for n in range(6)],
        "A battery ages even when nobody uses it at all.",
        "The notebook sleeps when its lid is closed by hand.",
    )
    groups = [0] * 6 + [1, 2]
    chosen = rank(text, spans, count=4, groups=groups, most_per_group=2)
    taken = [groups[item.index] for item in chosen]
    assert taken.count(0) <= 2
    assert {1, 2} <= set(taken)


def test_a_text_of_one_sentence_is_its_own_summary():
    (only,) = summarize("Short.", sentences=5, question=None)
    assert only.text == "Short."


def test_nothing_to_choose_from_is_an_empty_choice():
    assert rank("", [], count=5) == []
    assert rank("abc", [(0, 3)], count=0) == []


def test_blocks_do_not_change_the_answer(monkeypatch):
    text, spans = spans_of(
        *[f"Sentence number {n} speaks of disk {n % 7} and battery {n % 5}." for n in range(400)]
    )
    whole = rank(text, spans, count=6)
    monkeypatch.setattr(extractive, "BLOCK", 500)
    in_blocks = rank(text, spans, count=6)
    assert [item.index for item in in_blocks] == [item.index for item in whole]
    assert numpy.allclose([item.score for item in in_blocks], [item.score for item in whole])


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_any_text_gives_sentences_of_it_or_none(text):
    summary = summarize(text, sentences=3, question=text[:20])
    assert all(text[one.start : one.end] == one.text for one in summary)
    assert bool(summary) == bool(summary and text.strip())
