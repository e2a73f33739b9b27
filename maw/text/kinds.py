"""What kind of document some bytes are: by what they hold, then by what is said of them."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["text", "markdown", "html", "pdf", "docx"]

_SUFFIXES: dict[str, Kind] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
}
# `text/plain` and `application/octet-stream` are what servers say when they do not know.
_MEDIA_TYPES: dict[str, Kind] = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
}
_HTML_START = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body|title|meta)[\s>/]",
    re.IGNORECASE | re.DOTALL,
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"\x7fELF", "an ELF program"),
    (b"\xca\xfe\xba\xbe", "a Java or macOS program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\0asm", "a WebAssembly program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS-Adobe", "a PostScript document"),
    (b"OggS\0", "an Ogg sound"),
    (b"fLaC\0", "a FLAC sound"),
    (b"ID3\x02", "an MP3 sound"),
    (b"ID3\x03", "an MP3 sound"),
    (b"ID3\x04", "an MP3 sound"),
    (b"wOFF", "a font"),
    (b"wOF2", "a font"),
    (b"PAR1\x15", "a Parquet table"),
    (b"GGUF\x02", "model weights (GGUF)"),
    (b"GGUF\x03", "model weights (GGUF)"),
)


def stated_kind(name: str, media_type: str | None) -> Kind | None:
    """Given a document's name or URL and media type, return the kind that they state, or None."""
    if media_type is not None:
        stated = _MEDIA_TYPES.get(media_type.partition(";")[0].strip().lower())
        if stated is not None:
            return stated
    return _SUFFIXES.get(_suffix(name))


def stated_encoding(media_type: str | None) -> str | None:
    """Given a Content-Type header's value, return its charset, or None."""
    found = re.search(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{2,40})", media_type or "", re.IGNORECASE)
    return found[1] if found else None


def _suffix(name: str) -> str:
    if name.lower().startswith(("http://", "https://")):
        try:
            name = urlsplit(name).path
        except ValueError:
            return ""
    last = name.rpartition("/")[2]
    return "." + last.rpartition(".")[2].lower() if "." in last else ""


def starts_as_pdf(raw: bytes, stated: Kind | None) -> bool:
    """Given bytes, return whether a PDF begins there; a stated PDF may begin with some garbage."""
    return raw.startswith(b"%PDF-") or (stated == "pdf" and b"%PDF-" in raw[:1024])


def starts_as_html(raw: bytes) -> bool:
    """Given bytes in any encoding, return whether they begin as an HTML page does."""
    # Without NULs, the beginning of a UTF-16 page reads as ASCII.
    head = raw[:8192].removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    return _HTML_START.match(head.replace(b"\0", b"")) is not None


def is_ole(raw: bytes) -> bool:
    """Given bytes, return whether they are an OLE container (old Office, or a protected new one)."""
    return raw.startswith(_OLE)


def ole_is_encrypted(raw: bytes) -> bool:
    """Given an OLE container, return whether it wraps a password-protected Office document."""
    return "EncryptedPackage".encode("utf-16-le") in raw


def binary_kind(raw: bytes) -> str | None:
    """Given bytes, return what they are in words if they are a known kind that is no text, or None."""
    for magic, words in _MAGICS:
        if raw.startswith(magic):
            return words
    if is_ole(raw):
        return _ole_kind(raw)
    if raw[:4] == b"RIFF" and raw[8:12] in (b"WEBP", b"WAVE", b"AVI "):
        return {b"WEBP": "a WebP picture", b"WAVE": "a WAV sound"}.get(raw[8:12], "a video")
    if raw[4:8] == b"ftyp" and raw[:2] == b"\0\0":
        return "a video or a HEIC picture"
    if raw[:3] == b"BZh" and raw[4:10] == b"1AY&SY":
        return "a bzip2 archive"
    if raw[257:262] == b"ustar":
        return "a tar archive"
    # Two letters may begin a text as well: only with NULs near them.
    if raw[:2] in (b"MZ", b"BM") and b"\0" in raw[:64]:
        return "a Windows program" if raw[:2] == b"MZ" else "a BMP picture"
    return None


def _ole_kind(raw: bytes) -> str:
    for stream, words in (
        ("WordDocument", "an old Word .doc file; save it as .docx"),
        ("Workbook", "an old Excel .xls file"),
        ("PowerPoint Document", "an old PowerPoint .ppt file"),
        ("__substg1.0_", "an Outlook .msg file"),
    ):
        if stream.encode("utf-16-le") in raw:
            return words
    return "an old Office file (OLE), such as .doc"
