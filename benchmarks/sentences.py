"""Sentence borders: F1 and speed of maw beside pythainlp's `sent_tokenize` on the tests' labelled text.

A peer that is not installed is skipped. In an environment of its own:
`pip install pythainlp python-crfsuite`, then `PYTHONPATH=. python benchmarks/sentences.py`.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from maw.text.sentences import sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Splitter = Callable[[str], list[str]]

DATA = Path(__file__).parents[1] / "tests/text/sentence_borders.txt"
HALVES = ("tuning", "held-out")
LANGUAGES = ("thai", "english and mixed")
# Bytes that a run measures; the slower peers get less of the same.
AMOUNT = {"maw": 4_000_000, "crfcut": 200_000, "thaisum": 200_000}
RUNS = 3


def labelled() -> dict[tuple[str, str], list[list[str]]]:
    """Return the data set: (half, language) to paragraphs of sentences."""
    sections: dict[tuple[str, str], list[list[str]]] = {}
    half = language = ""
    paragraph: list[str] = []
    for line in [*DATA.read_text("utf-8").splitlines(), ""]:
        if line.startswith("#"):
            name = line[1:].strip()
            half = name if name in HALVES else half
            language = name if name in LANGUAGES else language
        elif line:
            paragraph.append(line)
        elif paragraph:
            sections.setdefault((half, language), []).append(paragraph)
            paragraph = []
    return sections


def borders(text: str, parts: list[str]) -> set[int]:
    """Return where the parts end in the text, ignoring white space, since some peers change it."""
    kept = [place + 1 for place, character in enumerate(text) if not character.isspace()]
    ends = itertools.accumulate(len("".join(part.split())) for part in parts)
    return {kept[end - 1] for end in ends if 0 < end <= len(kept)} - {len(text)}


def f1(split: Splitter, paragraphs: list[list[str]]) -> float:
    right = found = wanted = 0
    for paragraph in paragraphs:
        text = " ".join(paragraph)
        gold, mine = borders(text, paragraph), borders(text, split(text))
        right, found, wanted = right + len(gold & mine), found + len(mine), wanted + len(gold)
    return 2 * right / (found + wanted)


def megabytes_per_second(split: Splitter, paragraphs: list[list[str]], amount: int) -> float:
    """Return the median speed, in bytes of UTF-8, over the paragraphs again and again."""
    texts = [" ".join(paragraph) for paragraph in paragraphs]
    size = sum(len(text.encode()) for text in texts)
    texts *= max(1, amount // size)
    speeds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        for text in texts:
            split(text)
        speeds.append(size * (len(texts) // len(paragraphs)) / 1e6 / (time.perf_counter() - started))
    return statistics.median(speeds)


def maw(text: str) -> list[str]:
    """Split as for the F1: nothing merged, nothing cut."""
    return [text[span.start : span.end] for span in sentences(text, shortest=1, longest=10_000)]


def splitters() -> Iterator[tuple[str, Splitter]]:
    yield "maw", maw
    for engine, needed in (("crfcut", "pycrfsuite"), ("thaisum", "pythainlp")):
        try:
            importlib.import_module(needed)
            from pythainlp.tokenize import sent_tokenize
        except ImportError as error:
            print(f"{engine}: skipped, {error.name} is not installed")
            continue
        yield engine, lambda text, engine=engine: sent_tokenize(text, engine=engine)


def main() -> None:
    data = labelled()
    for name, split in splitters():
        for (half, language), paragraphs in data.items():
            print(f"{name + ' F1, ' + language + ', ' + half:58} {f1(split, paragraphs):12.3f}", flush=True)
        for language in LANGUAGES:
            paragraphs = [paragraph for half in HALVES for paragraph in data[half, language]]
            with contextlib.redirect_stdout(sys.stderr):
                speed = megabytes_per_second(split, paragraphs, AMOUNT[name])
            print(f"{name + ' speed, ' + language:58} {speed:12.3f} MB/s", flush=True)


if __name__ == "__main__":
    main()
