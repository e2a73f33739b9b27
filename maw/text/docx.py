"""Word documents to text: paragraphs and tables in the order of the document.

The one part that holds the text is streamed through lxml: python-docx would load every picture, and it
leaves out text in content controls, text boxes and tracked insertions.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

from maw.errors import BinaryDocument, DamagedDocument, DocumentTooLarge, EncryptedDocument
from maw.text.clean import clean
from maw.text.document import size_in_words

if TYPE_CHECKING:
    from maw.text.document import Limits

_MAIN_PART = re.compile(r"word/document\d*\.xml")
_WORD = (
    "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}",
    "{http://purl.oclc.org/ooxml/wordprocessingml/main}",
)
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_OTHER_ZIPS = (
    (re.compile(r"xl/workbook\.(?:xml|bin)"), "an Excel workbook"),
    (re.compile(r"ppt/presentation\.xml"), "a PowerPoint presentation"),
    (re.compile(r"META-INF/container\.xml"), "an EPUB book"),
    (re.compile(r"content\.xml"), "an OpenDocument file"),
    (re.compile(r"META-INF/MANIFEST\.MF"), "a Java archive"),
)
_BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


def docx_text(raw: bytes, name: str, limits: Limits, *, stated: bool) -> tuple[str, tuple[str, ...]]:
    """Given a zip file's bytes, return the text of the Word document in it and notes for the reader.

    A paragraph is a line, a table row is a line with ` | ` between its cells. `stated` says whether its
    name or media type calls it a Word document. Raise BinaryDocument if it is another kind of zip file,
    EncryptedDocument, DamagedDocument, or DocumentTooLarge if it unpacks to more than the limit.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            part = _main_part(archive, name, stated=stated)
            if part.flag_bits & 1:
                raise EncryptedDocument(name=name)
            if part.file_size > limits.expanded_bytes:
                raise _too_large(name, limits)
            with archive.open(part) as stream:
                body = _body(_Counted(stream, name, limits), name)
    except _BROKEN_ZIP as error:
        if not stated and not raw.startswith(b"PK\x03\x04[Content_Types]"):
            raise BinaryDocument(name=name, found="a damaged zip archive") from error
        raise DamagedDocument(name=name, kind="Word document", reason="its zip archive is broken") from error
    notes = ("hidden text was left out",) if body.left_out else ()
    return clean("\n".join(body.lines)), notes


def _main_part(archive: zipfile.ZipFile, name: str, *, stated: bool) -> zipfile.ZipInfo:
    parts = archive.infolist()
    for part in parts:
        if _MAIN_PART.fullmatch(part.filename):
            return part
    for pattern, words in _OTHER_ZIPS:
        if any(pattern.fullmatch(part.filename) for part in parts):
            raise BinaryDocument(name=name, found=words)
    if stated:
        raise DamagedDocument(name=name, kind="Word document", reason="word/document.xml is missing in it")
    raise BinaryDocument(name=name, found="a zip archive")


def _too_large(name: str, limits: Limits) -> DocumentTooLarge:
    limit = f"{size_in_words(limits.expanded_bytes)} unpacked"
    return DocumentTooLarge(name=name, limit=limit, setting="text.expanded_megabytes")


class _Counted:
    """A stream that ends with DocumentTooLarge: what a zip declares need not be what it unpacks to."""

    def __init__(self, stream: IO[bytes], name: str, limits: Limits) -> None:
        self._stream = stream
        self._name = name
        self._limits = limits
        self._left = limits.expanded_bytes

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, 1 << 20) if size > 0 else 1 << 20)
        self._left -= len(data)
        if self._left < 0:
            raise _too_large(self._name, self._limits)
        return data


def _body(stream: _Counted, name: str) -> _Body:
    from lxml import etree

    body = _Body()
    try:
        # Entities stay unresolved, nothing is loaded, depth and text sizes keep libxml2's own bounds.
        events = etree.iterparse(
            stream, events=("start", "end"), resolve_entities=False, load_dtd=False, no_network=True
        )
        first = True
        for event, element in events:
            if first and element.getroottree().docinfo.internalDTD is not None:
                reason = "it declares XML entities, which no Word document does"
                raise DamagedDocument(name=name, kind="Word document", reason=reason)
            first = False
            if isinstance(element.tag, str):
                body.start(element) if event == "start" else body.end(element)
    except etree.LxmlError as error:
        raise DamagedDocument(name=name, kind="Word document", reason="its XML is broken") from error
    return body


class _Body:
    """The text seen so far. Paragraphs and tables nest: a text box or a cell holds others."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.left_out = False
        self._paragraphs: list[list[str]] = []
        self._rows: list[list[str]] = []
        self._cells: list[list[str]] = []
        self._skipping = 0
        self._hidden_run = False

    def start(self, element: Any) -> None:
        kind = _kind(element)
        if kind in _LEFT_OUT:
            self._skipping += 1
        elif kind == "p":
            self._paragraphs.append([])
        elif kind == "tr":
            self._rows.append([])
        elif kind == "tc":
            self._cells.append([])
        elif kind == "r":
            self._hidden_run = False

    def end(self, element: Any) -> None:
        kind = _kind(element)
        if kind in _LEFT_OUT:
            self._skipping -= 1
        elif kind == "vanish":
            # Of a run, not of a paragraph's mark: `w:p/w:pPr/w:rPr/w:vanish` hides only the line's end.
            off = any(value in ("0", "false", "off") for value in element.attrib.values())
            run = element.getparent().getparent() if element.getparent() is not None else None
            self._hidden_run = not off and run is not None and _kind(run) == "r"
        elif kind in _TEXTS:
            self._add(_TEXTS[kind] if kind not in ("t", "math") else element.text or "")
        elif kind == "p":
            self._emit("".join(self._paragraphs.pop()))
            element.clear(keep_tail=False)
        elif kind == "tc":
            self._rows[-1].append(" ".join(" ".join(self._cells.pop()).split()))
        elif kind == "tr":
            row = self._rows.pop()
            self._emit(" | ".join(row) if any(row) else "")
            element.clear(keep_tail=False)
        elif kind == "r":
            self._hidden_run = False

    def _add(self, text: str) -> None:
        if self._hidden_run:
            self.left_out = self.left_out or bool(text.strip())
        elif not self._skipping and self._paragraphs:
            self._paragraphs[-1].append(text)

    def _emit(self, line: str) -> None:
        if self._skipping:
            return
        (self._cells[-1] if self._cells else self.lines).append(line)


# Deletions, text moved elsewhere, and the second copy of a text box for old programs.
_LEFT_OUT = frozenset({"del", "moveFrom", "fallback"})
_TEXTS = {"t": "", "math": "", "tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def _kind(element: Any) -> str:
    tag: str = element.tag if isinstance(element.tag, str) else ""
    for namespace in _WORD:
        if tag.startswith(namespace):
            local = tag[len(namespace) :]
            # A tab stop in a paragraph's properties has the name of a tab in its text.
            if local == "tab" and _kind(element.getparent()) != "r":
                return ""
            return local
    if tag == _MATH_TEXT:
        return "math"
    return "fallback" if tag == _FALLBACK else ""
