"""What reading must know about Thai: its single-byte encodings, and that its words are not spaced."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# TIS-620 (ISO 8859-11, Windows-874) in bytes.
_CONSONANT = rb"\xa1-\xce"
_LEADING_VOWEL = rb"\xe0-\xe4"
_MARK = rb"\xd1\xd4-\xda\xe7-\xee"
_RUN = re.compile(rb"[\x80-\xff]+")
_CONSONANTS = re.compile(b"[" + _CONSONANT + b"]")
# No Thai byte, and neither a quote, dash, ellipsis or euro sign of Windows-874.
_ILLEGAL = re.compile(rb"[\x81-\x84\x86-\x90\x98-\x9f\xdb-\xde\xfc-\xff]")
# What Thai spelling does not do: a leading vowel without its consonant, a mark (vowel above or below, tone)
# or a following vowel that sits on nothing, two vowels on one consonant, a digit inside a word.
_VIOLATION = re.compile(
    b"[" + _LEADING_VOWEL + b"](?![" + _CONSONANT + b"])"
    b"|(?<![" + _CONSONANT + _MARK + b"])[" + _MARK + b"\xd3]"
    b"|(?<![" + _CONSONANT + _MARK + rb"\xd2])[\xd0\xd2]"
    rb"|[\xd1\xd4-\xda](?=[\xd0\xd1\xd4-\xda])"
    rb"|(?<=[\xa1-\xda\xe0-\xee])[\xf0-\xf9](?=[\xa1-\xda\xe0-\xee])"
)
# Obsolete letters and signs, which the double-byte encodings use as often as any other byte.
_RARE = re.compile(rb"[\xa3\xa5\xc4\xc6\xcf\xda\xdf\xe5\xee\xef\xfa\xfb]")
_WINDOWS_874 = re.compile(rb"[\x80\x85\x91-\x97]")
_SAMPLE = 1 << 18


def thai_encoding(raw: bytes) -> str | None:
    """Given bytes that are not UTF-8, return `tis-620` or `windows-874` if they are Thai, else None.

    Thai comes in runs of high bytes, half of them consonants, where a vowel or tone mark nearly always
    stands on a consonant. Western text has its high bytes alone between ASCII letters; Cyrillic, Greek
    and the East Asian encodings use bytes that Thai does not have; Hebrew and Arabic break the order.
    """
    sample = raw if len(raw) <= 3 * _SAMPLE else _three_samples(raw)
    runs = _RUN.findall(sample)
    high = sum(map(len, runs))
    if high < 3:
        return None
    in_words = sum(len(run) for run in runs if len(run) >= 3)
    illegal = len(_ILLEGAL.findall(sample))
    violations = len(_VIOLATION.findall(sample))
    consonants = len(_CONSONANTS.findall(sample))
    rare = len(_RARE.findall(sample))
    if in_words < 0.7 * high or consonants < 0.4 * high:
        return None
    # In the double-byte encodings the first byte says the script: every second byte is the same.
    commonest = max(map(sample.count, map(bytes, zip(range(0xA1, 0xFC)))))
    if high >= 12 and commonest > 0.4 * high:
        return None
    if illegal > 0.005 * high or violations > 0.03 * high or rare > 0.1 * high:
        return None
    return "windows-874" if _WINDOWS_874.search(raw) else "tis-620"


def _three_samples(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return b"\n".join((raw[:_SAMPLE], raw[middle : middle + _SAMPLE], raw[-_SAMPLE:]))


def is_thai(character: str) -> bool:
    """Given one character, return whether it is a Thai letter, vowel or tone mark (not a digit or sign)."""
    return "\u0e01" <= character <= "\u0e4e" and character != "\u0e3f"


def join_all(lines: Iterable[str]) -> str:
    """Given the lines of one paragraph, return them as one: with spaces between, but none inside Thai."""
    parts: list[str] = []
    for line in lines:
        if parts and line and parts[-1][-1] != " " and not (is_thai(parts[-1][-1]) and is_thai(line[0])):
            parts.append(" ")
        if line:
            parts.append(line)
    return "".join(parts)
