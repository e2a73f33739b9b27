"""Summarising without weights: maw's ranking beside twelve lines of scikit-learn; and a huge text."""

from __future__ import annotations

import random
import resource

from _shared import figure, seconds

from maw.models.extractive import rank

WORDS = (
    "power cut battery server disk mirror backup restore night storm cable router fan dust clock heat",
    " ",
)
THAI = ("ไฟดับ แบตเตอรี่ เซิร์ฟเวอร์ ดิสก์ สำรองข้อมูล กู้คืน พายุ สายไฟ เราเตอร์ พัดลม ฝุ่น นาฬิกา ความร้อน", "")


def prose(sentences: int) -> tuple[str, list[tuple[int, int]]]:
    """Return a text of that many made-up sentences, Thai and English, and their borders."""
    chance = random.Random(7)
    pieces, spans, place = [], [], 0
    for number in range(sentences):
        words, space = THAI if number % 2 else WORDS
        chosen = chance.choices(words.split(), k=chance.randint(8, 30))
        piece = space.join([*chosen, str(number)])
        spans.append((place, place + len(piece)))
        pieces.append(piece)
        place += len(piece) + 1
    return "\n".join(pieces), spans


def peer(text: str, spans: list[tuple[int, int]], count: int) -> list[int]:
    """The same method with scikit-learn: TF-IDF centroid and MMR."""
    import numpy
    from sklearn.feature_extraction.text import TfidfVectorizer

    matrix = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4)).fit_transform(
        text[a:b] for a, b in spans
    )
    centre = numpy.asarray(matrix.mean(axis=0))
    scores = (matrix @ centre.T).ravel()
    chosen: list[int] = []
    while len(chosen) < count:
        likeness = (matrix @ matrix[chosen].T).toarray().max(axis=1) if chosen else numpy.zeros(len(spans))
        value = 0.65 * scores / scores.max() - 0.35 * likeness
        value[chosen] = -9
        chosen.append(int(value.argmax()))
    return chosen


def main() -> None:
    for sentences in (2_000, 20_000):
        text, spans = prose(sentences)
        size = len(text.encode()) / 1e6
        own = seconds(lambda text=text, spans=spans: rank(text, spans, count=5), 5)
        figure(f"maw, {sentences} sentences, {size:.2f} MB", own, "s")
        try:
            other = seconds(lambda text=text, spans=spans: peer(text, spans, 5), 5)
        except ModuleNotFoundError as error:
            print(f"skipped the peer: {error}")
        else:
            figure(
                f"scikit-learn, {sentences} sentences, {size:.2f} MB",
                other,
                "s",
                f"maw is {other / own:.2f} x",
            )
    text, spans = prose(650_000)
    size = len(text.encode()) / 1e6
    figure(f"maw, {size:.0f} MB", seconds(lambda: rank(text, spans, count=5), 1), "s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figure("peak memory of this process", peak, "MiB")


if __name__ == "__main__":
    main()
