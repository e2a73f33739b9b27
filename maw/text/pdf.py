"""PDF to text: the lines of each page, put together into paragraphs."""

from __future__ import annotations

import itertools
import re
import threading
from typing import TYPE_CHECKING, Any

from maw.errors import DamagedDocument, DocumentTooLarge, EncryptedDocument, NoTextInPdf
from maw.text.clean import clean
from maw.text.document import size_in_words
from maw.text.thai import is_thai, join_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maw.text.document import Limits

# PDFium keeps state of its own and must not run in two threads.
_PDFIUM = threading.Lock()
_ERR_PASSWORD = 4
_ERR_SECURITY = 5
# PDFium's mark (U+FFFE or U+0002, by the function asked) for a hyphen at the end of a line, after which it
# goes on without a line break.
_HYPHEN = "\ufffe"
_BROKEN_WORD = re.compile(r"([^\W\d_]+)\ufffe([^\W_]+)")
_HYPHENATED = re.compile(r"[^\W\d_]+-[^\W\d_]+")
_ITEM = re.compile(
    r"(?:[-*\u2022\u25aa\u25cf\u2013\u00b7\uf0b7]|\(?[0-9]{1,3}[.)]|\(?[a-z][.)]|[\u0e50-\u0e59]+[.)])\s"
)
_ENDS = tuple(".!?:;\u2026\u201d\"'\u0e2f\u0e5a\u0e5b")
# Many fonts write SARA AM as two characters, with the tone mark before, between or after.
_SARA_AM = re.compile("([\u0e48-\u0e4b]?)\u0e4d([\u0e48-\u0e4b]?)\u0e32")


def pdf_text(raw: bytes, name: str, limits: Limits) -> tuple[str, tuple[str, ...]]:
    """Given a PDF's bytes, return its text, a paragraph a line, and notes for the reader.

    Raise EncryptedDocument, DamagedDocument, NoTextInPdf, or DocumentTooLarge if it has more pages or more
    text than the limits allow.
    """
    with _PDFIUM:
        pages, unreadable = _pages(raw, name, limits)
    if unreadable == len(pages):
        raise DamagedDocument(name=name, kind="PDF", reason="none of its pages can be read")
    empty = sum(not "".join(page).strip() for page in pages) - unreadable
    if empty + unreadable == len(pages):
        raise NoTextInPdf(name=name, pages=len(pages))
    notes = []
    if unreadable:
        notes.append(f"{unreadable} of {len(pages)} pages could not be read")
    if empty:
        notes.append(f"{empty} of {len(pages)} pages hold no text (pictures or scans)")
    text = "\n\n".join(filter(None, ("\n".join(paragraphs(page)) for page in pages)))
    return clean(_SARA_AM.sub("\\1\\2\u0e33", _mend_words(text))), tuple(notes)


def _pages(raw: bytes, name: str, limits: Limits) -> tuple[list[list[str]], int]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(raw)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (_ERR_PASSWORD, _ERR_SECURITY):
            raise EncryptedDocument(name=name) from error
        raise DamagedDocument(name=name, kind="PDF", reason="its structure is broken or cut off") from error
    try:
        count = len(document)
        if count > limits.pages:
            raise DocumentTooLarge(name=name, limit=f"{limits.pages} pages", setting="text.pages")
        pages: list[list[str]] = []
        unreadable = size = 0
        for number in range(count):
            try:
                pages.append(_page_lines(document, number))
            except pypdfium2.PdfiumError:
                # One broken page does not cost the others; the notes count it.
                pages.append([])
                unreadable += 1
            size += sum(map(len, pages[-1]))
            if size > limits.expanded_bytes:
                limit = f"{size_in_words(limits.expanded_bytes)} of text"
                raise DocumentTooLarge(name=name, limit=limit, setting="text.expanded_megabytes")
        return pages, unreadable
    finally:
        document.close()


def _page_lines(document: Any, number: int) -> list[str]:
    page = document[number]
    try:
        text_page = page.get_textpage()
        try:
            text: str = text_page.get_text_bounded().replace("\x02", _HYPHEN)
            tops = _line_tops(text_page, text)
        finally:
            text_page.close()
    finally:
        page.close()
    lines = text.replace("\r\n", "\n").split("\n")
    return _with_gaps(lines, tops) if len(tops) == len(lines) else lines


def _line_tops(text_page: Any, text: str) -> list[tuple[float, float] | None]:
    # How high each line stands at its first and at its last character: over a hyphen, PDFium goes on with
    # the line below. Positions count PDFium's own characters, of use only where those are the text's.
    if text_page.get_text_range().replace("\x02", _HYPHEN) != text:
        return []
    tops: list[tuple[float, float] | None] = []
    start = 0
    for line in text.split("\r\n"):
        end = start + len(line) - 1
        ends = [text_page.get_charbox(index, loose=True)[3] for index in (start, end)] if line.strip() else []
        tops.append((ends[0], ends[1]) if ends else None)
        start = end + 3
    return tops


def _with_gaps(lines: list[str], tops: list[tuple[float, float] | None]) -> list[str]:
    # A blank line where the distance to the line above is clearly larger than usual on this page.
    falls = [above[1] - below[0] if above and below else 0.0 for above, below in itertools.pairwise(tops)]
    down = sorted(fall for fall in falls if fall > 0)
    if len(down) < 3:
        return lines
    usual = down[len(down) // 2]
    spaced = lines[:1]
    for line, fall in zip(lines[1:], falls, strict=True):
        if fall > 1.4 * usual:
            spaced.append("")
        spaced.append(line)
    return spaced


def paragraphs(lines: Iterable[str]) -> list[str]:
    """Given the lines of one page, return its paragraphs.

    A line goes on in the next one if it is about as long as the page is wide, or if it does not end as a
    sentence does and the next one begins with a small letter.
    """
    lines = list(lines)
    stripped = [line.strip() for line in lines]
    lengths = sorted(len(part) for line in stripped for part in line.split(_HYPHEN) if part)
    width = lengths[len(lengths) * 9 // 10] if lengths else 0
    found: list[list[str]] = []
    above = ""
    for line, before in zip(stripped, ["", *lines], strict=False):
        if above and line and _goes_on(above, line, width):
            # Thai is joined without a space, but for one that the page has at the line's end.
            found[-1][-1] += " " if before.endswith(" ") else ""
            found[-1].append(line)
        elif line or above:
            found.append([line])
        above = line
    return [join_all(part) for part in found]


def _goes_on(line: str, following: str, width: int) -> bool:
    if _ITEM.match(following):
        return False
    last = line.rsplit(_HYPHEN, 1)[-1]
    if line.endswith(_ENDS):
        return len(last) >= 0.8 * width and width >= 30
    if following[0].islower():
        return True
    thai = is_thai(line[-1]) and is_thai(following[0])
    return width >= 30 and len(last) >= (0.7 if thai else 0.8) * width


def _mend_words(text: str) -> str:
    # A hyphen at a line's end belongs to the word if the document has that word with it elsewhere.
    if _HYPHEN not in text:
        return text
    hyphenated = {word.lower() for word in _HYPHENATED.findall(text)}

    def mended(match: re.Match[str]) -> str:
        first, second = match.groups()
        keep = f"{first}-{second}".lower() in hyphenated or not second[0].islower()
        return f"{first}-{second}" if keep else first + second

    return _BROKEN_WORD.sub(mended, text).replace(_HYPHEN, "-")
