"""What is in an authorized_keys file, as data: read without loss, changed line by line. Pure.

The rules of reading are sshd's own (auth2-pubkeyfile.c), so that what is found here is what it finds.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass

from maw.transport.keys import HostKey

_BLANKS = b" \t"
_KEY = re.compile(rb"([A-Za-z0-9][A-Za-z0-9@.-]*)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t]+(.*))?", re.DOTALL)
_OPTION = re.compile(r'((?:[^",\\]|\\.|\\$|"(?:\\"|[^"])*(?:"|$))+)', re.DOTALL)


@dataclass(frozen=True)
class Option:
    """One option before a key: its name in lower case, and its value without the quotes."""

    name: str
    value: str | None = None


@dataclass(frozen=True)
class Entry:
    """A line that lets a key in. `options_text` is what stands before the key, as it is written."""

    number: int
    options_text: bytes
    key: HostKey
    comment: str

    @property
    def options(self) -> tuple[Option, ...]:
        """The options one by one."""
        return options_of(self.options_text)

    def values(self, name: str) -> tuple[str, ...]:
        """Given the name of an option, return all its values."""
        return tuple(option.value or "" for option in self.options if option.name == name)

    def has(self, name: str) -> bool:
        """Given the name of an option, return whether it is there."""
        return any(option.name == name for option in self.options)


def lines_of(content: bytes) -> list[bytes]:
    """Given a file's content, return its lines with their ends; joined they are the content."""
    # Only a line feed ends a line for sshd; `splitlines` knows more.
    return re.findall(rb"[^\n]*\n|[^\n]+", content)


def entries(content: bytes) -> tuple[Entry, ...]:
    """Given a file's content, return its lines that let a key in; to sshd, others mean nothing."""
    found = (_entry(number, raw) for number, raw in enumerate(lines_of(content), 1))
    return tuple(entry for entry in found if entry is not None)


def _entry(number: int, raw: bytes) -> Entry | None:
    # The mark of UTF-8: Windows' sshd skips it, Linux' does not; a key behind it is a key all the same.
    text = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
    text = text.rstrip(b"\r\n").lstrip(_BLANKS)
    if not text or text.startswith(b"#"):
        return None
    found, options = _key(text), b""
    if found is None:
        end = _end_of_options(text)
        options, rest = text[:end], text[end:].lstrip(_BLANKS)
        found = _key(rest)
    if found is None:
        return None
    key, comment = found
    return Entry(number, options, key, comment)


def _key(text: bytes) -> tuple[HostKey, str] | None:
    match = _KEY.fullmatch(text.rstrip(_BLANKS))
    if match is None:
        return None
    kind, blob, comment = match.groups()
    try:
        decoded = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return None
    # The kind is repeated within the key; sshd refuses a line where they differ.
    if decoded[: 4 + len(kind)] != struct.pack(">I", len(kind)) + kind:
        return None
    shown = (comment or b"").decode("utf-8", "surrogateescape")
    return HostKey(kind.decode("ascii"), base64.b64encode(decoded).decode("ascii")), shown


def _end_of_options(text: bytes) -> int:
    quoted, place = False, 0
    while place < len(text) and (quoted or text[place] not in _BLANKS):
        if text[place : place + 2] == b'\\"':
            place += 1
        elif text[place : place + 1] == b'"':
            quoted = not quoted
        place += 1
    return place


def options_of(text: bytes) -> tuple[Option, ...]:
    """Given what stands before a key, return its options."""
    found = []
    for part in _OPTION.findall(text.decode("utf-8", "surrogateescape")):
        name, equals, value = part.partition("=")
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1].replace('\\"', '"')
        found.append(Option(name.lower(), value if equals else None))
    return tuple(found)


def line(options: str, key: HostKey, comment: str) -> str:
    """Given the options ("" is none), a key and a comment, return the line without its end."""
    return " ".join(part for part in (options, key.kind, key.base64, comment) if part)


def of_key(content: bytes, key: HostKey) -> tuple[Entry, ...]:
    """Given a file's content and a key, return the lines that let this very key in."""
    return tuple(entry for entry in entries(content) if entry.key == key)


def add_beside(content: bytes, old: HostKey, new: HostKey) -> bytes:
    """Given a content, return it with a line for `new` under each of `old`, with the same options.

    All other bytes stay. What is there already is not added twice; without `old` nothing is added.
    """
    lines = lines_of(content)
    have = {entry.options_text for entry in of_key(content, new)}
    at_end = b"\r\n" if content.count(b"\r\n") * 2 > content.count(b"\n") else b"\n"
    # From the end, so that the numbers of the lines before stay right.
    for entry in reversed(of_key(content, old)):
        if entry.options_text in have:
            continue
        have.add(entry.options_text)
        raw = lines[entry.number - 1]
        if not raw.endswith(b"\n"):
            lines[entry.number - 1] = raw + at_end
        options = entry.options_text + b" " if entry.options_text else b""
        shown = " ".join((new.kind, new.base64, entry.comment)).strip().encode("utf-8", "surrogateescape")
        lines.insert(entry.number, options + shown + at_end)
    return b"".join(lines)


def remove(content: bytes, key: HostKey) -> bytes:
    """Given a content and a key, return it without the lines that let this key in; all others stay."""
    gone = {entry.number for entry in of_key(content, key)}
    kept = [raw for number, raw in enumerate(lines_of(content), 1) if number not in gone]
    # A mark of UTF-8 belongs to the file, not to its first line.
    mark = b"\xef\xbb\xbf"
    return (mark if 1 in gone and content.startswith(mark) else b"") + b"".join(kept)
