"""Bytes to text: which encoding they are in, and what could not be decoded."""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from maw.errors import BinaryDocument
from maw.text.thai import thai_encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 20
_SAMPLE = 1 << 16
_REPLACEMENT = "\ufffd"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Python's name of each codec that a document may be in. Others (zlib, utf-7, unicode_escape) are no
# encodings of documents, and some of them are ways to hide text.
_CODECS = {
    "tis-620": "cp874",
    "windows-874": "cp874",
    **{f"windows-{number}": f"cp{number}" for number in range(1250, 1259)},
    "windows-949": "cp949",
}
_ALLOWED = frozenset(
    {"utf-8", "utf-16-le", "utf-16-be", "utf-16", "koi8-r", "koi8-u", "gb18030", "gbk", "gb2312", "big5"}
    | {"big5hkscs", "euc_jp", "shift_jis", "cp932", "iso2022_jp", "euc_kr", "cp949", "tis-620", "cp874"}
    | {"mac-roman", "mac-cyrillic", "cp437", "cp850", "cp852", "cp866", "ascii", "iso8859-1"}
    | {f"cp{number}" for number in range(1250, 1259)}
    | {f"iso8859-{number}" for number in (*range(2, 12), 13, 14, 15, 16)}
)
# Declared by habit, whatever the bytes are: they prove nothing.
_UNTRUSTED = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"})
_GUESSED = ["cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r"]
_GUESSED_WIDE = ["cp932", "euc_jp", "gb18030", "big5", "cp949"]

_HIGH = bytes(range(0x80, 0x100))
# Controls that no text holds; \b, \t, \n, \v, \f, \r, escape and the Ctrl-Z of DOS do occur.
_CONTROLS = bytes(code for code in range(32) if code not in b"\b\t\n\v\f\r\x1a\x1b") + b"\x7f"
# High bytes that are no letter in Western text: alone in ASCII, they are damage to UTF-8.
_DAMAGE = b"\x81\x8d\x8f\x90\x9d\xfe\xff"
_EASTERN = re.compile(
    rb"[A-Za-z][\xa3\xa5\xb3\xb9\xbc\xbe\xbf\x9c\x9f][a-z]|[a-z][\x9a\x9e\xf8\xec]|[\x8d\x8f\x9d]"
)
_HEBREW_ONLY = re.compile(rb"[\xe0-\xfa]{2,}")
_RUN = re.compile(rb"[\x80-\xff]{2,}")


@dataclass(frozen=True)
class Decoded:
    """A document's bytes, the encoding that they are in, and notes for the reader."""

    encoding: str
    notes: tuple[str, ...]
    raw: bytes = field(repr=False)
    mark: int = 0

    def pieces(self) -> Iterator[str]:
        """Yield the text, not yet cleaned, in pieces: of a large one, no second copy need fit in memory."""
        return _pieces(self.raw, _CODECS.get(self.encoding, self.encoding), self.mark)

    @property
    def text(self) -> str:
        """The whole text, not yet cleaned."""
        return "".join(self.pieces())


def decode(raw: bytes, name: str, *, declared: str | None = None) -> Decoded:
    """Given a document's bytes, return its text; `declared` is the encoding it claims to be in.

    The bytes decide: a declaration is believed only where they leave room. Raise BinaryDocument if they
    are no text.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return _marked(raw, name, encoding, len(mark))
    wide = _unmarked_utf_16(raw)
    if wide is not None:
        return _decoded(raw, wide, note=f"read as {_spoken(wide)}")
    _refuse_controls(raw, name)
    as_utf_8 = _as_utf_8(raw)
    claimed = _allowed(declared)
    if as_utf_8 is not None:
        if claimed not in (None, "utf-8", "ascii") and not raw.isascii():
            note = f"declared as {declared}, read as UTF-8"
            return replace(as_utf_8, notes=(note, *as_utf_8.notes))
        return as_utf_8
    encoding = _single_or_double_byte(raw, name, claimed)
    note = f"read as {_spoken(encoding)}"
    if claimed is not None and claimed != _CODECS.get(encoding, encoding) and claimed not in _UNTRUSTED:
        note = f"declared as {declared}, {note}"
    return _decoded(raw, encoding, note=note)


def _marked(raw: bytes, name: str, encoding: str, mark: int) -> Decoded:
    if encoding == "utf-8":
        _refuse_controls(raw, name)
        return _decoded(raw, encoding, mark=mark)
    decoded = _decoded(raw, encoding, mark=mark)
    sample = next(decoded.pieces(), "")[:_SAMPLE]
    if sum(_is_no_text(character) for character in sample) * 20 > len(sample):
        raise BinaryDocument(name=name, found=f"{_spoken(encoding)} by its mark, but no text")
    return decoded


def _is_no_text(character: str) -> bool:
    if character in "\t\n\r\f":
        return False
    return character == _REPLACEMENT or unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs")


def _spoken(encoding: str) -> str:
    return encoding if encoding.startswith("windows") else encoding.upper()


def _single_or_double_byte(raw: bytes, name: str, claimed: str | None) -> str:
    thai = thai_encoding(raw)
    if thai is not None:
        return thai
    if claimed is not None and claimed not in _UNTRUSTED and _fits(raw, claimed):
        return _label(claimed)
    guess = _guess(raw)
    if guess is not None:
        return _label(guess)
    if claimed in ("iso8859-1", "cp1252") or _mostly_ascii(raw):
        return "windows-1252"
    raise BinaryDocument(name=name, found="bytes in no known encoding")


def _allowed(declared: str | None) -> str | None:
    if declared is None:
        return None
    # Python has no name for two that the web uses.
    spelled = {"windows-874": "cp874", "x-sjis": "shift_jis"}.get(declared.strip().lower(), declared.strip())
    try:
        found = codecs.lookup(spelled).name
    except (LookupError, ValueError):
        return None
    return found if found in _ALLOWED else None


def _label(codec: str) -> str:
    if codec in ("cp874", "tis-620", "iso8859-11"):
        return "windows-874"
    return next((label for label, python in _CODECS.items() if python == codec), codec.replace("_", "-"))


def _fits(raw: bytes, codec: str) -> bool:
    return _replaced(raw, codec) * 100 <= len(raw)


def _replaced(raw: bytes, codec: str, mark: int = 0) -> int:
    # How many U+FFFD decoding would add to those that the document holds itself.
    found = sum(piece.count(_REPLACEMENT) for piece in _pieces(raw, codec, mark))
    genuine = raw.count(_REPLACEMENT.encode(codec)) if found and codec.startswith("utf") else 0
    return max(0, found - genuine)


def _refuse_controls(raw: bytes, name: str) -> None:
    if b"\0" in raw:
        raise BinaryDocument(name=name, found="it holds NUL bytes")
    controls = 0
    for start in range(0, len(raw), _PIECE):
        part = raw[start : start + _PIECE]
        controls += len(part) - len(part.translate(None, _CONTROLS))
    if controls >= 3 and controls * 50 > len(raw):
        raise BinaryDocument(name=name, found=f"{controls} control bytes in {len(raw)}")


def _as_utf_8(raw: bytes) -> Decoded | None:
    replaced = 0 if raw.isascii() else _replaced(raw, "utf-8")
    if replaced:
        high = len(raw) - len(raw.translate(None, _HIGH))
        bad = _undecodable(raw, replaced)
        # A character outside ASCII has two to four bytes, all high. Legacy encodings make a few by chance.
        good = (high - bad) // 3
        damage = len(raw) - len(raw.translate(None, _DAMAGE))
        damaged_ascii = bad == high == damage and bad * 20 <= len(raw)
        if good < 3 * replaced and not damaged_ascii:
            return None
    return _result(raw, "utf-8", replaced)


def _undecodable(raw: bytes, replaced: int, mark: int = 0) -> int:
    # In bytes of UTF-8. One U+FFFD may stand for up to three of them, and has three itself.
    size = sum(len(piece.encode("utf-8")) for piece in _pieces(raw, "utf-8", mark))
    return len(raw) - mark - (size - replaced * len(_REPLACEMENT.encode()))


def _unmarked_utf_16(raw: bytes) -> str | None:
    sample = raw[:_SAMPLE]
    if len(sample) < 4 or len(raw) % 2 or not (b"\0" in sample or sample.count(b"\x0e") * 4 > len(sample)):
        return None
    for encoding, high, low in (
        ("utf-16-le", sample[1::2], sample[::2]),
        ("utf-16-be", sample[::2], sample[1::2]),
    ):
        good = sum(map(_plausible, high, low))
        if good * 100 >= 95 * len(high):
            return encoding
    return None


def _plausible(high: int, low: int) -> bool:
    # ASCII and Latin-1, Greek, Cyrillic, Hebrew, Arabic, Thai, and general punctuation.
    if high == 0:
        return 0x20 <= low < 0x7F or low >= 0xA0 or low in b"\t\n\r"
    if high == 0x0E:
        return 0 < low <= 0x5B
    return high in (0x01, 0x03, 0x04, 0x05, 0x06) or (high == 0x20 and 0x09 < low < 0xB0)


def _guess(raw: bytes) -> str | None:
    from charset_normalizer import from_bytes

    sample = raw[:_SAMPLE]
    if len(raw) > _SAMPLE:
        # The sample may not end inside a character of several bytes.
        sample = sample[: max(sample.rfind(b"\n"), sample.rfind(b" ")) + 1] or sample
    runs = _RUN.findall(sample)
    in_runs = sum(map(len, runs))
    high = len(sample) - len(sample.translate(None, _HIGH))
    if in_runs * 2 > high and all(_HEBREW_ONLY.fullmatch(run) for run in runs) and high >= 10:
        return "cp1255"
    narrow = in_runs * 2 < high
    best = from_bytes(sample, cp_isolation=_GUESSED if narrow else _GUESSED + _GUESSED_WIDE).best()
    if best is None:
        return None
    # The guesser takes short Japanese for Korean, whose single letters begin with 0xA4 as hiragana do.
    if best.encoding == "cp949" and sample.count(b"\xa4") * 5 > high:
        return "euc_jp"
    # Nor can it tell Western from Central European: they share most letters.
    eastern = len(_EASTERN.findall(sample))
    if best.encoding in ("cp1250", "cp1257", "cp1254") and narrow and eastern * 12 < high:
        return "cp1254" if best.encoding == "cp1254" and _turkish(sample, high) else "cp1252"
    return best.encoding


def _turkish(sample: bytes, high: int) -> bool:
    return (len(sample) - len(sample.translate(None, b"\xdd\xde\xf0\xfd\xfe"))) * 5 > high


def _mostly_ascii(raw: bytes) -> bool:
    sample = raw[:_SAMPLE]
    letters = sum(byte in b" \n" or 0x61 <= byte | 0x20 <= 0x7A for byte in sample)
    return letters * 2 > len(sample)


def _decoded(raw: bytes, encoding: str, *, mark: int = 0, note: str | None = None) -> Decoded:
    replaced = _replaced(raw, _CODECS.get(encoding, encoding), mark)
    return _result(raw, encoding, replaced, mark, note)


def _result(raw: bytes, encoding: str, replaced: int, mark: int = 0, note: str | None = None) -> Decoded:
    notes = [note] if note else []
    if replaced and encoding == "utf-8":
        replaced = _undecodable(raw, replaced, mark)
    if replaced:
        notes.append(f"{replaced} undecodable byte{'s were' if replaced != 1 else ' was'} replaced")
    return Decoded(encoding, tuple(notes), raw, mark)


def _pieces(raw: bytes, codec: str, mark: int = 0) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(codec)("replace")
    for start in range(mark, len(raw), _PIECE):
        piece = decoder.decode(raw[start : start + _PIECE], final=start + _PIECE >= len(raw))
        if piece:
            yield piece
