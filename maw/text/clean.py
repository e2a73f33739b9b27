"""Normalisation: the one form of text that every offset of maw counts in."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Terminal colours and cursor moves, as in saved logs.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# C0 and C1 controls; soft hyphen; zero-width space, word joiner, invisible operators; bidirectional
# controls; byte order mark; noncharacters; tag characters and the supplementary variation selectors,
# which smuggle text that nobody sees. U+200C and U+200D stay: emoji and scripts need them.
_DROPPED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e01ef]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_ASCII_DROPPED = bytes(code for code in (*range(9), *range(0x0E, 0x20), 0x7F))
_ASCII_NEWLINES = bytes.maketrans(b"\r\x0b\x0c", b"\n\n\n")
_MANY_NEWLINES = re.compile("\n{4,}")
# Large enough that Python's own loop costs nothing, small enough that a copy in four bytes a character
# (one emoji is enough for that) is small against the document.
_PIECE = 1 << 20


def clean(text: str) -> str:
    r"""Given any text, return it normalised; what is normalised already comes back as it is.

    Newlines are `\n`; there is no control character but `\n` and `\t`, no zero-width space, no
    bidirectional control, no surrogate; Unicode is NFC; no line ends in blanks; at most two lines in a
    row are blank, none at either end.
    """
    return clean_pieces(text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def clean_pieces(pieces: Iterable[str]) -> str:
    """Given a text in pieces, cut anywhere, return the whole of it as `clean` would."""
    done: list[str] = []
    # White space at a piece's end waits for what follows: it may be the end of a line or a blank line.
    held: list[str] = []
    for part in _whole_lines(pieces):
        body = _characters(part)
        if not body or body.isspace():
            held.append(body)
            if "\n" in body:
                held = [_shortest("".join(held))]
            continue
        body = "".join((*held, body))
        kept = body.rstrip()
        held = [_shortest(body[len(kept) :])]
        done.append(_lines(kept))
    if not done:
        return ""
    done[0] = done[0].lstrip("\n")
    return "".join(done)


def _whole_lines(pieces: Iterable[str]) -> Iterator[str]:
    # Nothing composes with a newline or a space, so that NFC of the parts is NFC of the whole.
    held = ""
    for piece in pieces:
        held += piece
        cut = max(held.rfind("\n"), held.rfind(" ")) + 1
        if cut:
            yield held[:cut]
            held = held[cut:]
    if held:
        yield held


def _characters(text: str) -> str:
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if text.isascii():
        raw = text.encode("ascii").replace(b"\r\n", b"\n")
        return raw.translate(_ASCII_NEWLINES, _ASCII_DROPPED).decode("ascii")
    text = _NEWLINES.sub("\n", text)
    text = _SURROGATES.sub("\ufffd", text)
    text = _DROPPED.sub("", text)
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def _lines(text: str) -> str:
    # Not one regular expression: `[ \t]+$` takes quadratic time on a line of blanks.
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return _MANY_NEWLINES.sub("\n\n\n", text)


def _shortest(blank: str) -> str:
    breaks = blank.count("\n")
    if not breaks:
        return blank
    return "\n" * min(breaks, 3) + blank[blank.rfind("\n") + 1 :]
