"""What is not a summary is not called one."""

from __future__ import annotations

import hashlib

import pytest

from maw.models.engines import Sentence
from maw.models.guard import problems, repeats

TEXT = "The UPS holds ten minutes. The server needs four to stop. Then the battery rests."
GOOD = [Sentence(TEXT[0:26], 0, 26), Sentence(TEXT[27:57], 27, 57)]
# What a pretrained-only checkpoint once answered for a page of English, and what was stored as a summary.
HASHTAGS = "#photography #portrait #wedding #weddingphotography " * 24


def test_a_good_summary_has_no_problems():
    assert problems(GOOD, TEXT) == []


@pytest.mark.parametrize("empty", [[], [Sentence(" ", 26, 27)]])
def test_an_empty_summary_is_none(empty):
    assert problems(empty, TEXT) == ["it is empty"]


@pytest.mark.parametrize(
    ("sentence", "problem"),
    [
        (Sentence("The UPS holds ten hours..", 0, 26), "not what the text says"),
        (Sentence("x", 500, 501), "outside the text"),
        (Sentence("x", -2, 3), "outside the text"),
        (Sentence("x", 5, 5), "outside the text"),
    ],
)
def test_a_sentence_that_does_not_stand_in_the_text_is_found(sentence, problem):
    assert any(problem in one for one in problems([sentence], TEXT))


def test_sentences_that_overlap_are_found():
    assert any("overlaps" in one for one in problems([GOOD[0], Sentence(TEXT[10:26], 10, 26)], TEXT))


def test_the_recorded_runaway_answer_is_caught():
    assert repeats(HASHTAGS)
    text = "A short page about a photographer. " + HASHTAGS
    assert not problems([Sentence(text[0:34], 0, 34)], text)
    varied = " ".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(400))
    text = varied + HASHTAGS
    start = len(varied)
    assert "it repeats itself" in problems([Sentence(text[start:], start, len(text))], text)


def test_prose_of_either_language_does_not_count_as_repeating():
    assert not repeats(
        TEXT * 2 + " More words follow here, each of them once, so that the text is long enough to tell."
    )
    thai = "เครื่องสำรองไฟจ่ายไฟให้เซิร์ฟเวอร์ได้สิบนาทีเมื่อไฟดับ ระหว่างนั้นระบบจะส่งสัญญาณเตือนให้ผู้ดูแลทราบ"
    assert not repeats(thai)
