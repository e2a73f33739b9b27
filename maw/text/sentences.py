"""Sentence borders in Thai, English and mixed text, by rules, in linear time.

Lines become units (hard-wrapped lines are joined, headings and list items stay alone), units are split at
full stops, Thai units also at some of their spaces, pieces that are too long are cut and pieces that are
too short are merged. Thai has no full stops: a space may end a phrase, a clause or a sentence, so each is
scored by the words around it and by how much text the running sentence already has.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from maw.text.thai_borders import SHORTENED, SPACES, thai_borders

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text."""

    start: int
    end: int


class _Unit(NamedTuple):
    start: int
    end: int
    alone: bool  # a heading or list item, which is never merged with what stands around it


_BREAKS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_BREAK = re.compile(rf"\r\n|[{_BREAKS}]")
_LINE = re.compile(rf"\S[^{_BREAKS}]*")
_SEPARATOR = re.compile(r"[-*_=~#+•‣◦▪·–—─━═|:.>`\s\u200b\ufeff]*[-*_=~#+•‣◦▪·–—─━═|>`\u200b\ufeff]\s*")
_MARKER = re.compile(
    r"#{1,6}\s+|[-*+•‣◦▪·–—]\s+|\(?(?:[0-9๐-๙]{1,3}|[a-z]|[ivx]{1,5}|[ก-ฮ](?=\)))[.)]\s+|\(?[A-Z]\)\s+|\|"
)
_CLOSERS = r"\"'”’»›)\]}」』）】》"
_FINISHED = re.compile(rf"[.?!…。！？:;,।؟۔][{_CLOSERS}]*$|(?:ครับ|ค่ะ|คะ)$")
_THAI = re.compile("[ก-๎]")
_MARKS = re.compile("[ัิ-ฺ็-๎]")

_WIDE = "。！？｡।॥؟۔።။៕։"  # their scripts put no space after them, or need none
_STOP = re.compile(
    rf"(?<![.?!…])[.?!…]++[{_CLOSERS}]*+(?=\s)"
    # Japanese quotes a whole sentence and goes on with と.
    rf"|(?<![{_WIDE}])[{_WIDE}]++[?!]*+(?:[{_CLOSERS}]++(?!と|って|[、，])|(?![{_CLOSERS}]))"
)
_NEXT = re.compile(r"\s*[\"'“‘«‹„(\[{¿¡*_—–-]*")
_CAMEL = re.compile(r"[a-z]{1,2}[A-Z]")  # iPhone, eBay
_STARTER = re.compile(
    r"(?:The|An?|This|That|These|Those|It|He|She|We|They|You|I|His|Her|Its|Our|Their|My|Your|There|Here|In|On"
    r"|At|By|For|From|With|To|But|And|Or|So|Yet|Then|When|While|If|As|After|Before|Since|Until|Although|However"
    r"|Once|What|Why|How|Who|Where|Which|Is|Are|Was|Were|Do|Does|Did|Can|Could|Will|Would|No|Not|Nobody|Some"
    r"|All|Most|Many|Both|Each|Every|One|Another|Also|Please|Now|Today|Later|Meanwhile)\b"
)


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


# Abbreviations: before a name, before anything, before a number, and those that also end a sentence.
_TITLES = _words(
    "Mr Mrs Ms Mx Dr Prof Rev Hon St Sgt Capt Cpt Lt Col Gen Maj Cmdr Adm Gov Sen Rep Pres Mme Fr Sr"
)
_LATIN = _words("e.g i.e cf vs viz approx ca eg ie resp")
_NUMBERED = _words(
    "no nos fig figs vol vols p pp ch chap sec sect art eq eqs tab nr"
    " jan feb mar apr jun jul aug sep sept oct nov dec"
)
_NAMES = _words("inc corp ltd co llc plc bros jr esq al ph.d m.d b.a m.a ave blvd rd mt dept univ est")
_ACRONYM = re.compile(r"[A-Za-z](?:\.[A-Za-z])*")

_CLAUSE = re.compile(r"[,;:—–…](?=\s)|[、，；：،]")
_THAI_SPACE = re.compile(r"(?<=[ก-ฮะ-ฺเ-ๅ็-๎])\s+(?=[ก-ฮเ-ไ])")
_THAI_SYLLABLE = re.compile(r"(?<=[ก-๎])(?<![เ-ไ])(?=[เ-ไ])")


def sentences(text: str, *, shortest: int = 25, longest: int = 300) -> list[Span]:
    """Given a text, return its sentences in order, without the white space around them.

    Pieces under `shortest` characters are merged with a neighbour of their paragraph, pieces over `longest`
    are cut at the best border inside them.
    """
    if longest < 1:
        raise ValueError("longest must be at least 1")
    spans: list[Span] = []
    for paragraph in _paragraphs(text):
        pieces = [
            (start, end, number, unit.alone)
            for number, unit in enumerate(paragraph)
            for whole in _split(text, unit)
            for start, end in _cut(text, *whole, shortest, longest)
        ]
        spans += _merge(pieces, shortest, longest)
    return spans


def _paragraphs(text: str) -> Iterator[list[_Unit]]:
    """Given a text, yield the units of each paragraph; separator lines are left out and end one too."""
    width = _wrap_width(text)
    units: list[_Unit] = []
    last = 0  # where the line before ends
    line = (0, 0)
    for match in _LINE.finditer(text):
        before, line = line, (match.start(), match.start() + len(match.group().rstrip()))
        separator = _SEPARATOR.fullmatch(text, *line) is not None
        if units and (separator or _blank_between(text, last, line[0])):
            yield units
            units = []
        last = match.end()
        if separator:
            continue
        marked = _MARKER.match(text, *line) is not None
        if not units:
            units.append(_Unit(*line, marked))
        elif not marked and _continues(text, before, line, width):
            units[-1] = units[-1]._replace(end=line[1])
        else:
            if len(units) == 1 and not marked and _is_title(text, before, line):
                units[0] = units[0]._replace(alone=True)
            units.append(_Unit(*line, marked))
    if units:
        yield units


def _blank_between(text: str, start: int, end: int) -> bool:
    return end - start > 1 and len(_BREAK.findall(text, start, end)) > 1


def _continues(text: str, before: tuple[int, int], line: tuple[int, int], width: int) -> bool:
    """Given two lines, return whether the break between them is a hard wrap."""
    if text.startswith("#", before[0]) or text.startswith("|", before[0]):
        return False
    if width and _visible(text, *before) >= 0.8 * width:
        return True
    long = before[1] - before[0] >= 60
    return long and "a" <= text[line[0]] <= "z" and not _FINISHED.search(text[before[1] - 8 : before[1]])


def _is_title(text: str, before: tuple[int, int], line: tuple[int, int]) -> bool:
    length = before[1] - before[0]
    tail = text[max(before[0], before[1] - 8) : before[1]]
    return length < 60 and line[1] - line[0] >= 2 * length and not _FINISHED.search(tail)


def _visible(text: str, start: int, end: int) -> int:
    return end - start - len(_MARKS.findall(text, start, end))


def _wrap_width(text: str) -> int:
    """Given a text, return the width that its lines are wrapped at, or 0 if they are not.

    In wrapped text most lines that another line follows are nearly as long as the longest, and many go on
    in the middle of a sentence (the lines of a log do not).
    """
    lengths: list[int] = []
    flowing = 0
    before = (0, 0)
    for match in _LINE.finditer(text, 0, 1 << 18):
        start, end = match.start(), match.start() + len(match.group().rstrip())
        if before[1] and not _blank_between(text, before[1], start) and not _MARKER.match(text, start):
            lengths.append(_visible(text, *before))
            flowing += text[start].isalpha() and not text[start].isupper()
        before = (start, end)
    if len(lengths) < 4 or flowing < 0.4 * len(lengths):
        return 0
    width = sorted(lengths)[len(lengths) * 95 // 100]
    full = sum(length >= 0.8 * width for length in lengths)
    return width if 32 <= width <= 120 and full >= 0.7 * len(lengths) else 0


def _split(text: str, unit: _Unit) -> Iterator[tuple[int, int]]:
    """Given a unit, yield its sentences without the white space around them."""
    start, end, _ = unit
    marker = _MARKER.match(text, start, end)
    body = marker.end() if marker else start
    borders = [match.end() for match in _STOP.finditer(text, body, end) if _ends(text, match, body, end)]
    if _THAI.search(text, body, end):
        borders = thai_borders(text, body, end, borders)
    for left, right in pairwise((start, *borders, end)):
        piece = text[left:right].lstrip()
        if piece:
            begin = right - len(piece)
            yield begin, begin + len(piece.rstrip())


def _ends(text: str, stop: re.Match[str], start: int, end: int) -> bool:
    """Given a stop, return whether it ends a sentence."""
    following = _NEXT.match(text, stop.end(), end)
    position = following.end() if following else end
    if position >= end:
        return False
    first = text[position]
    if text[stop.start()] in _WIDE:
        return True
    if first.islower():
        return _CAMEL.match(text, position, end) is not None
    if first in ",;:)]}":
        return False
    return stop.group() != "." or not _is_abbreviated(text, start, stop.start(), position)


def _is_abbreviated(text: str, start: int, stop: int, position: int) -> bool:
    """Given a full stop, return whether it is rather that of an abbreviation than that of a sentence."""
    tail = text[max(start, stop - 24) : stop]
    word = tail[max(map(tail.rfind, ' \n\t(["“—')) + 1 :]
    if not word.isascii():
        return SHORTENED.search(text, max(start, stop - 24), stop + 1) is not None
    if word.isdecimal() and len(word) <= 2:  # "1. Cut it. 2. Fry it."
        before = tail[: -len(word)].split()
        return not before or (before[-1][-1] in ".:;?!" and before[-1][:-1].lower() not in _NUMBERED)
    key = word.lower()
    if word in _TITLES or key in _LATIN:
        return True
    if key in _NUMBERED:
        return text[position].isdecimal()
    if key in _NAMES or (_ACRONYM.fullmatch(word) and (len(word) > 1 or word.isupper())):
        return _STARTER.match(text, position) is None
    return False


def _cut(text: str, start: int, end: int, shortest: int, longest: int) -> Iterator[tuple[int, int]]:
    """Given a sentence, yield it in pieces of at most `longest` characters."""
    while end - start > longest:
        border = _inner_border(text, start, end, shortest, longest)
        piece = text[start:border].rstrip()
        yield start, start + len(piece)
        start = border
        while text[start].isspace():
            start += 1
    yield start, end


def _inner_border(text: str, start: int, end: int, shortest: int, longest: int) -> int:
    """Given a sentence over `longest`, return where to cut it: the last of the best borders that fit."""
    high = start + longest
    if end - shortest > start + longest // 2:
        high = min(high, end - shortest)
    low = min(start + max(longest // 3, 1), high)
    for pattern in (_CLAUSE, _THAI_SPACE, SPACES, _THAI_SYLLABLE):
        last = None
        for match in pattern.finditer(text, low, high):
            last = match
        if last:
            return last.end() if pattern is _CLAUSE else last.start()
    for border in range(high, start, -1):
        if _may_cut(text, border, start):
            return border
    # A single cluster longer than any sentence is no writing; only surrogate pairs stay whole.
    return high + 1 if "\udc00" <= text[high] <= "\udfff" and high + 1 < end else high


def _may_cut(text: str, place: int, start: int) -> bool:
    """Given a place, return whether it is between two grapheme clusters."""
    before, after = text[place - 1], text[place]
    if unicodedata.combining(before) == 9:  # a virama ties two consonants together
        joined = True
    elif "ก" <= after <= "\u0eff":
        joined = after in "ะาำๅๆฯະາຳ" or before in "เแโใไເແໂໃໄ"
    elif after >= "\U0001f1e6":
        flags = place
        while flags > start and "\U0001f1e6" <= text[flags - 1] <= "\U0001f1ff":
            flags -= 1
        flag = after <= "\U0001f1ff" and (place - flags) % 2 == 1
        joined = flag or "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f"
    else:
        pair = "\udc00" <= after <= "\udfff" and "\ud800" <= before <= "\udbff"
        joined = pair or "\u1160" <= after <= "\u11ff"  # or a Korean syllable in parts
    return not (joined or before == "\u200d" or after == "\u200d" or unicodedata.category(after)[0] == "M")


def _merge(pieces: list[tuple[int, int, int, bool]], shortest: int, longest: int) -> list[Span]:
    """Given a paragraph's pieces, return them with the short ones merged into a neighbour."""
    merged: list[tuple[int, int, int, bool]] = []
    for piece in pieces:
        start, end, unit, alone = piece
        if merged:
            first, last, other, lonely = merged[-1]
            short = last - first < shortest or end - start < shortest
            if short and end - first <= longest and (other == unit or not (alone or lonely)):
                merged[-1] = (first, end, unit, alone)
                continue
        merged.append(piece)
    return [Span(start, end) for start, end, _, _ in merged]
