"""A document's bytes, of any kind that maw reads, to its one clean text."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from maw.errors import (
    BinaryDocument,
    CannotRead,
    DamagedDocument,
    DocumentChanged,
    DocumentTooLarge,
    EmptyDocument,
    EncryptedDocument,
)
from maw.text import kinds
from maw.text.clean import clean_pieces
from maw.text.decode import decode
from maw.text.document import Document, Limits, size_in_words

if TYPE_CHECKING:
    from maw.text.kinds import Kind

_CHUNK = 1 << 20
_DEFAULTS = Limits()


def read(
    content: BinaryIO | bytes | Path, name: str, *, media_type: str | None = None, limits: Limits = _DEFAULTS
) -> Document:
    """Given a document and the name that people know it by, return its clean text.

    What it holds decides its kind, then the media type (a Content-Type header's value), then the name's
    suffix. Raise EmptyDocument, BinaryDocument, DocumentTooLarge, DocumentChanged, NoTextInPdf,
    DamagedDocument, EncryptedDocument, or CannotRead if a path is no readable regular file.
    """
    raw = _bytes(content, name, limits)
    sha256 = hashlib.sha256(raw).hexdigest()
    kind, encoding, text, notes = _extract(raw, name, media_type, limits)
    if not text.strip():
        raise EmptyDocument(name=name)
    return Document(name, kind, text, sha256, encoding, notes)


def _extract(
    raw: bytes, name: str, media_type: str | None, limits: Limits
) -> tuple[Kind, str | None, str, tuple[str, ...]]:
    if not raw.strip():
        raise EmptyDocument(name=name)
    stated = kinds.stated_kind(name, media_type)
    if kinds.starts_as_pdf(raw, stated):
        from maw.text.pdf import pdf_text

        return ("pdf", None, *pdf_text(raw, name, limits))
    if raw.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        from maw.text.docx import docx_text

        return ("docx", None, *docx_text(raw, name, limits, stated=stated == "docx"))
    if kinds.is_ole(raw) and kinds.ole_is_encrypted(raw):
        raise EncryptedDocument(name=name)
    found = kinds.binary_kind(raw)
    if found is not None:
        raise BinaryDocument(name=name, found=found)
    return _extract_text(raw, name, media_type, stated)


def _extract_text(
    raw: bytes, name: str, media_type: str | None, stated: Kind | None
) -> tuple[Kind, str | None, str, tuple[str, ...]]:
    is_html = kinds.starts_as_html(raw)
    if not is_html and stated in ("pdf", "docx"):
        words, sign = ("PDF", "%PDF-") if stated == "pdf" else ("Word document", "a zip archive's mark")
        raise DamagedDocument(name=name, kind=words, reason=f"it does not begin with {sign}")
    declared = kinds.stated_encoding(media_type)
    if is_html or stated == "html":
        from maw.text.html import declared_encoding, html_text

        decoded = decode(raw, name, declared=declared or declared_encoding(raw))
        text, notes = html_text(decoded.text)
        return "html", decoded.encoding, text, (*decoded.notes, *notes)
    decoded = decode(raw, name, declared=declared)
    if stated == "markdown":
        from maw.text.markdown import markdown_text

        text, notes = markdown_text(decoded.text)
        return "markdown", decoded.encoding, text, (*decoded.notes, *notes)
    return "text", decoded.encoding, clean_pieces(decoded.pieces()), decoded.notes


def _bytes(content: BinaryIO | bytes | Path, name: str, limits: Limits) -> bytes:
    if isinstance(content, Path):
        return _file(content, name, limits)
    if not isinstance(content, bytes):
        try:
            content = _stream(content, limits)
        except OSError as error:
            raise CannotRead(path=name, reason=error.strerror or str(error)) from error
    if len(content) > limits.document_bytes:
        raise _too_large(name, limits)
    return content


def _file(path: Path, name: str, limits: Limits) -> bytes:
    try:
        # Not to wait for a writer, if the path became a FIFO since it was planned.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb", buffering=0) as file:
            before = os.fstat(number)
            if not stat.S_ISREG(before.st_mode):
                raise CannotRead(path=name, reason="it is not a regular file")
            if before.st_size > limits.document_bytes:
                raise _too_large(name, limits)
            raw = _stream(file, limits)
            after = os.fstat(number)
    except (OSError, ValueError) as error:
        raise CannotRead(path=name, reason=getattr(error, "strerror", None) or str(error)) from error
    if len(raw) > limits.document_bytes:
        raise _too_large(name, limits)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or (
        before.st_size and len(raw) != after.st_size
    ):
        raise DocumentChanged(name=name)
    return raw


def _stream(stream: BinaryIO, limits: Limits) -> bytes:
    # One byte more than the limit is read, never the rest.
    chunks: list[bytes] = []
    left = limits.document_bytes + 1
    while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _too_large(name: str, limits: Limits) -> DocumentTooLarge:
    limit = size_in_words(limits.document_bytes)
    return DocumentTooLarge(name=name, limit=limit, setting="text.document_megabytes")
