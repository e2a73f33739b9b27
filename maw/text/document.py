"""What reading yields, and how much of everything is read at most."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """How much is read at most: sizes in bytes, times in seconds, counts of redirects and pages.

    `expanded_bytes` bounds what a compressed document may unpack to.
    """

    document_bytes: int = 256 * MEBIBYTE
    fetch_seconds: float = 60
    fetch_stall_seconds: float = 15
    redirects: int = 8
    expanded_bytes: int = 512 * MEBIBYTE
    pages: int = 20_000


@dataclass(frozen=True)
class Document:
    """The clean text of one document. Every offset that maw speaks of counts characters of `text`.

    `kind` is text, markdown, html, pdf or docx; `sha256` is of the raw bytes, in hexadecimal; `encoding`
    is None for kinds that have no single one; `notes` are truths that the reader should know and that
    did not stop the reading.
    """

    name: str
    kind: str
    text: str
    sha256: str
    encoding: str | None
    notes: tuple[str, ...]


def size_in_words(size: int) -> str:
    """Given a size in bytes, return it with a unit that people read: `256 MiB`, `900 bytes`."""
    # Settings are in megabytes: what was set as 256 is not told as 244.1.
    if size and size % 1_000_000 == 0:
        return f"{size // 1_000_000} MB"
    for unit, name in ((1024 * MEBIBYTE, "GiB"), (MEBIBYTE, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"
