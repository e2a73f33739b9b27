"""Checks that an answer is one before it is called one."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.models.engines import Sentence

# A text whose compressed size is below this share of its size repeats itself: prose of either
# language stays above 0.3, the recorded runaway answers ("#photography #wedding…") below 0.1.
LEAST_VARIETY = 0.15
# Compression of a short text says nothing.
SHORT = 200


def problems(summary: Sequence[Sentence], text: str) -> list[str]:
    """Given a summary and the text it is of, return what is wrong with it, in words.

    Checked: it is not empty, every sentence stands in the text where it says, in order and
    without overlap, and the whole does not repeat itself.
    """
    if not summary or not any(sentence.text.strip() for sentence in summary):
        return ["it is empty"]
    found = []
    end = 0
    for number, sentence in enumerate(summary, 1):
        if not 0 <= sentence.start < sentence.end <= len(text):
            found.append(f"sentence {number} lies outside the text")
        elif text[sentence.start : sentence.end] != sentence.text:
            found.append(f"sentence {number} is not what the text says there")
        elif sentence.start < end:
            found.append(f"sentence {number} overlaps the one before")
        end = max(end, sentence.end)
    if repeats(" ".join(sentence.text for sentence in summary)) and not repeats(text):
        found.append("it repeats itself")
    return found


def repeats(text: str) -> bool:
    """Given a text, return whether it says the same thing over and over."""
    data = text.encode("utf-8", "surrogatepass")
    return len(data) > SHORT and len(zlib.compress(data)) < LEAST_VARIETY * len(data)
