"""Summaries without weights: the text's own most central sentences, word for word.

TF-IDF over hashed character n-grams (so Thai needs no word segmenter), sentences ranked by
their likeness to the whole (the centroid method: Radev et al., "Centroid-based summarization
of multiple documents", 2004) and to the question if there is one, and picked by maximal
marginal relevance (Carbonell and Goldstein, "The use of MMR", 1998) so that none repeats
another. Time is linear in the text; memory is a few times the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maw.models.engines import Sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy
    from numpy.typing import NDArray

    from maw.models.engines import Borders

    Buckets = NDArray[numpy.int64]
    Weights = NDArray[numpy.float32]

# Lengths of the character n-grams. Three and four tell Thai and English words apart well
# enough; longer ones cost time and change little.
SIZES = (3, 4)
BUCKETS = 1 << 18
# Characters that are counted at once: bounds the memory of a large text.
BLOCK = 1 << 20
# Sentences that compete in the last, quadratic step.
CANDIDATES = 80
# Share of novelty against relevance in the choice of the next sentence.
NOVELTY = 0.35
# Share of the question against the centre of the text.
QUESTION = 0.75
# Weight of a sentence that does not end as one, where the script has full stops.
UNFINISHED = 0.6
# Share of a heading's likeness to the question that the sentence after it inherits.
ANNOUNCED = 0.5
# Cosine from which two sentences say the same.
SAME = 0.95
# Sentences of this length (in characters) are neither fragments nor whole paragraphs.
COMFORTABLE = (40, 280)


@dataclass(frozen=True)
class Ranked:
    """A chosen sentence: its index among those given, and its score (0 to about 1)."""

    index: int
    score: float


class Extractive:
    """The engine `extractive`."""

    model = "extractive-1"

    def summarize(
        self, text: str, *, borders: Borders, sentences: int, question: str | None
    ) -> list[Sentence]:
        """Given a text and what finds its sentences, return the most telling ones, in the text's order."""
        spans = borders(text)
        chosen = rank(text, spans, count=sentences, question=question)
        return [
            Sentence(text[start:end], start, end)
            for start, end in (spans[index] for index in sorted(item.index for item in chosen))
        ]


def rank(
    text: str,
    spans: Sequence[tuple[int, int]],
    *,
    count: int,
    question: str | None = None,
    groups: Sequence[int] | None = None,
    most_per_group: int | None = None,
    every_group: bool = False,
) -> list[Ranked]:
    """Given a text and its sentences' borders, return the `count` best, best first.

    With `groups` (one number a sentence, for example its document) at most `most_per_group`
    come from one group while others have something to say; with `every_group` no group gets a
    second place before each has one. The same input gives the same answer on every machine.
    """
    import numpy

    if not spans or count < 1:
        return []
    index = _Index(text, spans)
    frequency, totals = index.count()
    idf = (numpy.log((1 + len(spans)) / (1 + frequency)) + 1).astype(numpy.float32)
    centre = (numpy.log1p(totals) * idf * idf).astype(numpy.float32)
    # N-grams of a single sentence say nothing about the whole, unless there is only one.
    if len(spans) > 2:
        centre[frequency < 2] = 0
    wanted = numpy.zeros(index.width, dtype=numpy.float32)
    if question:
        buckets, weights = index.vector(question, idf)
        wanted[buckets] = weights
    scores = index.scores(idf, centre, wanted)

    def sentence(number: int) -> str:
        return text[slice(*spans[number])]

    order = numpy.argsort(-scores, kind="stable")
    candidates = _candidates(order, max(CANDIDATES, 4 * count), sentence, groups)
    vectors = [index.vector(sentence(number), idf) for number in candidates]
    return _diverse(
        candidates, vectors, scores, count, _Rules(groups, most_per_group, every_group), index.width
    )


def _candidates(
    order: NDArray[Any], most: int, sentence: Callable[[int], str], groups: Sequence[int] | None
) -> list[int]:
    """Return the sentences that compete: the best of all, each once, and the best two of each group."""
    chosen: list[int] = []
    seen: set[str] = set()
    taken: dict[int, int] = {}
    for number in map(int, order):
        group = groups[number] if groups is not None else 0
        enough = len(chosen) >= most
        if enough and groups is None:
            break
        if (enough and taken.get(group, 0) >= 2) or sentence(number) in seen:
            continue
        seen.add(sentence(number))
        taken[group] = taken.get(group, 0) + 1
        chosen.append(number)
    return chosen


@dataclass
class _Rules:
    """Which sentences may be taken next, as far as their groups go."""

    groups: Sequence[int] | None
    most: int | None
    every: bool

    def __post_init__(self) -> None:
        self.taken: dict[int, int] = {}

    def allowed(self, indices: Sequence[int]) -> Sequence[int]:
        """Given sentences, return those that may be taken; all if no rule leaves any."""
        if self.groups is None:
            return indices
        counts = [self.taken.get(self.groups[index], 0) for index in indices]
        if self.every and 0 in counts:
            return [index for index, count in zip(indices, counts, strict=True) if count == 0]
        if self.most is not None and min(counts) < self.most:
            return [index for index, count in zip(indices, counts, strict=True) if count < self.most]
        return indices

    def take(self, index: int) -> None:
        """Count a sentence for its group."""
        if self.groups is not None:
            self.taken[self.groups[index]] = self.taken.get(self.groups[index], 0) + 1


def _blocks(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield ranges of sentences that together hold about BLOCK characters."""
    first, size = 0, 0
    for index, (start, end) in enumerate(spans):
        size += end - start
        if size >= BLOCK:
            yield first, index + 1
            first, size = index + 1, 0
    if first < len(spans):
        yield first, len(spans)


def _grams(texts: Iterable[str]) -> tuple[Buckets, Buckets]:
    """Given sentences, return (sentence number, bucket) of every n-gram in them.

    N-grams stay within a run of characters without white space, and may have its border at
    either end, so that whole short words count; case counts for nothing.
    """
    import numpy

    # Capitals are folded by str.lower, which may change the length: only hashes are kept.
    lowered = [sentence.lower() for sentence in texts]
    joined = "\n" + "\n".join(lowered) + "\n"
    points = numpy.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=numpy.uint32).astype(
        numpy.uint64
    )
    lengths = numpy.fromiter(
        (len(sentence) + 1 for sentence in lowered), dtype=numpy.int64, count=len(lowered)
    )
    owner = numpy.repeat(numpy.arange(len(lowered), dtype=numpy.int64), lengths)
    blank = (points <= 32) | (points == 0xA0) | (points == 0x3000)
    points[blank] = 32
    blanks = numpy.concatenate(([0], numpy.cumsum(blank)))
    owners, buckets = [], []
    for size in SIZES:
        places = len(points) - size + 1
        if places < 1:
            continue
        code = numpy.full(places, size, dtype=numpy.uint64)
        for step in range(size):
            code = (code ^ points[step : step + places]) * numpy.uint64(0x100000001B3)
        code ^= code >> numpy.uint64(29)
        inside = blanks[size - 1 : size - 1 + places] == blanks[1 : 1 + places]
        buckets.append((code[inside] % numpy.uint64(BUCKETS)).astype(numpy.int64))
        # The second character is never a border: it tells which sentence an n-gram is of.
        owners.append(owner[:places][inside])
    if not buckets:
        return numpy.zeros(0, numpy.int64), numpy.zeros(0, numpy.int64)
    return numpy.concatenate(owners), numpy.concatenate(buckets)


def _terms(texts: Iterable[str]) -> tuple[Buckets, Buckets, Weights]:
    """Given sentences, return (sentence number, bucket, count) once for each pair, sorted."""
    import numpy

    owners, buckets = _grams(texts)
    keys, counts = numpy.unique(owners * BUCKETS + buckets, return_counts=True)
    return keys // BUCKETS, keys % BUCKETS, counts.astype(numpy.float32)


class _Index:
    """The n-grams of a text's sentences, counted.

    A text of one block keeps its terms, numbered through, so that a small document costs what
    it holds; a larger one is read block by block, each time anew, in BUCKETS numbers.
    """

    def __init__(self, text: str, spans: Sequence[tuple[int, int]]) -> None:
        import numpy

        self._text = text
        self._spans = spans
        self._blocks = list(_blocks(spans))
        self._vocabulary: Buckets | None = None
        self._kept: tuple[Buckets, Buckets, Weights] | None = None
        self.width = BUCKETS
        if len(self._blocks) == 1:
            owners, buckets, counts = self._read(0, len(spans))
            self._vocabulary, numbers = numpy.unique(buckets, return_inverse=True)
            self._kept = owners, numbers.reshape(-1), counts
            self.width = len(self._vocabulary)

    def _read(self, first: int, last: int) -> tuple[Buckets, Buckets, Weights]:
        return _terms(self._text[start:end] for start, end in self._spans[first:last])

    def _terms(self) -> Iterator[tuple[int, Buckets, Buckets, Weights]]:
        """Yield, block by block, how many sentences it has and their terms."""
        if self._kept is not None:
            yield len(self._spans), *self._kept
            return
        for first, last in self._blocks:
            yield last - first, *self._read(first, last)

    def count(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return, for each term, in how many sentences it occurs and how often in all."""
        import numpy

        frequency = numpy.zeros(self.width, dtype=numpy.int64)
        totals = numpy.zeros(self.width, dtype=numpy.float64)
        for _, _, buckets, counts in self._terms():
            frequency += numpy.bincount(buckets, minlength=self.width)
            totals += numpy.bincount(buckets, weights=counts, minlength=self.width)
        return frequency, totals

    def vector(self, sentence: str, idf: Weights) -> tuple[Buckets, Weights]:
        """Given a sentence, return its terms and their weights, of length 1 together."""
        import numpy

        _, buckets, counts = _terms([sentence])
        if self._vocabulary is not None:
            known = numpy.isin(buckets, self._vocabulary)
            buckets, counts = numpy.searchsorted(self._vocabulary, buckets[known]), counts[known]
        weights = ((1 + numpy.log(counts)) * idf[buckets]).astype(numpy.float32)
        return buckets, weights / (float(numpy.sqrt((weights**2).sum())) + 1e-9)

    def scores(self, idf: Weights, centre: Weights, wanted: Weights) -> NDArray[Any]:
        """Return each sentence's score: likeness to the centre and to what is wanted."""
        import numpy

        central, asked = [], []
        for number, owners, buckets, counts in self._terms():
            weights = (1 + numpy.log(counts)) * idf[buckets]
            norms = numpy.sqrt(numpy.bincount(owners, weights=weights**2, minlength=number)) + 1e-9
            central.append(
                numpy.bincount(owners, weights=weights * centre[buckets], minlength=number) / norms
            )
            asked.append(numpy.bincount(owners, weights=weights * wanted[buckets], minlength=number) / norms)
        return _blend(numpy.concatenate(central), numpy.concatenate(asked), *self._shape())

    def _shape(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the sentences' lengths, and how whole each is as a sentence."""
        import numpy

        spans, text = self._spans, self._text
        lengths = numpy.fromiter((end - start for start, end in spans), dtype=numpy.float64, count=len(spans))
        # Headings, table rows and cut sentences end in a letter or digit where a script has full
        # stops; a colon only announces what follows.
        last = numpy.fromiter((ord(text[end - 1]) for _, end in spans), dtype=numpy.int64, count=len(spans))
        unfinished = (
            ((last >= 48) & (last <= 58)) | ((last >= 65) & (last <= 90)) | ((last >= 97) & (last <= 122))
        )
        return lengths, numpy.where(unfinished, UNFINISHED, 1.0)


def _blend(
    central: NDArray[Any], asked: NDArray[Any], lengths: NDArray[Any], whole: NDArray[Any]
) -> NDArray[Any]:
    """Weigh both likenesses by length, wholeness and place, and return the scores."""
    import numpy

    shortest, longest = COMFORTABLE
    comfort = whole * numpy.clip(longest / numpy.maximum(lengths, 1), 0.5, 1)
    # What opens a text tells more of it, a little.
    opening = 1 + 0.15 / (1 + numpy.arange(len(lengths)) / 3)
    scores = _scaled(central * comfort * numpy.clip(lengths / shortest, 0.25, 1) * opening)
    if not asked.any():
        return scores
    # What only repeats the question does not answer it, but what a heading announces may.
    announced = numpy.concatenate(([0.0], numpy.where(whole < 1, asked, 0.0)[:-1]))
    asked = numpy.maximum(asked * (1 - numpy.clip(asked, 0, 1) ** 2), ANNOUNCED * announced)
    # A short sentence may be the very answer; a heading of one word is none.
    likeness = _scaled(asked * comfort * numpy.clip(lengths / shortest, 0.6, 1))
    return (1 - QUESTION) * scores + QUESTION * likeness


def _scaled(values: NDArray[Any]) -> NDArray[Any]:
    """The values with the largest brought to 1: centre and question weigh by what tells them apart."""
    return values / (float(values.max()) + 1e-9)


def _diverse(
    candidates: Sequence[int],
    vectors: Sequence[tuple[Buckets, Weights]],
    scores: NDArray[Any],
    count: int,
    rules: _Rules,
    width: int,
) -> list[Ranked]:
    """Take one sentence after the other: relevant, and unlike those that are taken."""
    import numpy

    place = {index: number for number, index in enumerate(candidates)}
    likeness = numpy.zeros(len(candidates))
    relevance = _scaled(numpy.array([scores[index] for index in candidates]))
    left = list(candidates)
    chosen: list[Ranked] = []

    def worth(index: int) -> tuple[float, int]:
        number = place[index]
        return (1 - NOVELTY) * relevance[number] - NOVELTY * likeness[number], -number

    while len(chosen) < count:
        # The same sentence twice is never worth a place.
        left = [index for index in left if likeness[place[index]] < SAME]
        if not left:
            break
        best = max(rules.allowed(left), key=worth)
        left.remove(best)
        rules.take(best)
        chosen.append(Ranked(best, float(scores[best])))
        dense = numpy.zeros(width, dtype=numpy.float32)
        dense[vectors[place[best]][0]] = vectors[place[best]][1]
        for index in left:
            buckets, weights = vectors[place[index]]
            likeness[place[index]] = max(likeness[place[index]], float(dense[buckets] @ weights))
    return chosen
