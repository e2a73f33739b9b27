"""HTML to text: the main content of a page, or all of it that is visible."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maw.text.clean import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

# Never seen as text. `noscript` is what readers with scripts do not see.
_UNSEEN = frozenset({"script", "style", "template", "noscript", "head", "iframe", "object", "svg", "math"})
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "nav",
        "ol",
        "option",
        "p",
        "pre",
        "search",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_HIDDEN_STYLE = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_PLAIN_STYLE = "translate(@style, 'DISPLAYVBTHONE \t\n', 'displayvbthone')"
_HIDDEN_PATHS = [
    "//*[@hidden] | //template",
    f"//*[contains({_PLAIN_STYLE}, 'display:none') or contains({_PLAIN_STYLE}, 'visibility:hidden')]",
]
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>", re.IGNORECASE)
_META_CHARSET = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]{2,40})")
_TABLE_RULE = re.compile(r"^\|(?:-+\|)+\s*$\n?", re.MULTILINE)
_TABLE_ROW = re.compile(r"^\| (.*?) ?\|[ \t]*$", re.MULTILINE)
# The finder of main content takes seconds a million elements and walks them by recursion.
_MOST_ELEMENTS = 50_000
_MOST_CHARACTERS = 5_000_000
_DEEPEST = 200
_PIECE = 1 << 20


def declared_encoding(raw: bytes) -> str | None:
    """Given a page's bytes, return the encoding that its head declares, or None."""
    head = raw[:4096]
    found = _XML_ENCODING.search(head) or _META_CHARSET.search(head)
    return found[1].decode("ascii") if found else None


def html_text(page: str) -> tuple[str, tuple[str, ...]]:
    """Given a page, return its text and notes for the reader.

    The title comes first unless the text has it; then the main content with its tables, or, where no main
    content is found, all visible text.
    """
    # lxml refuses a str that declares an encoding; the page is decoded already.
    page = _DECLARATION.sub("", page, count=1).replace("\0", "")
    visible = _Visible.of(page)
    everything = clean(visible.text)
    content, notes = "", []
    if visible.deepest > _DEEPEST or visible.elements > _MOST_ELEMENTS or len(page) > _MOST_CHARACTERS:
        notes.append(
            "the page is too large or too deeply nested to tell its main content: all text was taken"
        )
    else:
        content = clean(_main_content(page))
        if everything and not _is_enough(content, everything):
            content = ""
            notes.append("no main content was found in the page: all visible text was taken")
    text = content or everything
    title = clean(" ".join(visible.title.split()))
    if title and title not in text:
        text = f"{title}\n\n{text}" if text else title
    return text, tuple(notes)


def _is_enough(content: str, everything: str) -> bool:
    # The finder drops text that stands in no element of its own: a short page is mostly content, and of a
    # longer one a crumb is not the content.
    if len(everything) < 500:
        return len(content) >= 0.8 * len(everything)
    return len(content) >= 500 or len(content) >= 0.5 * len(everything)


def visible_text(page: str) -> str:
    """Given HTML or a part of it, return all text that a reader would see, a block a line."""
    return clean(_Visible.of(page.replace("\0", "")).text)


def _main_content(page: str) -> str:
    import trafilatura
    from lxml import etree

    try:
        found = trafilatura.extract(
            page, include_comments=False, include_tables=True, with_metadata=False, prune_xpath=_HIDDEN_PATHS
        )
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        AssertionError,
        RuntimeError,
        etree.LxmlError,
    ):
        # A page that trips the finder still has its visible text, and the note says which was taken.
        return ""
    return _TABLE_ROW.sub(r"\1", _TABLE_RULE.sub("", found or ""))


class _Visible:
    """What the parser tells of a page; no tree is built, so that depth and size cost nothing."""

    def __init__(self) -> None:
        self.title = ""
        self.elements = 0
        self.deepest = 0
        self._depth = 0
        self._unseen_from: int | None = None
        self._unseen_tag = ""
        self._in_title = False
        self._preformatted = 0
        self._at_line_start = True
        self._parts: list[str] = []

    @classmethod
    def of(cls, page: str) -> _Visible:
        from lxml import etree

        seen = cls()
        if not page.strip():
            return seen
        # Bytes in a named encoding: the page's own declaration would else be believed a second time.
        parser = etree.HTMLParser(target=seen, huge_tree=True, encoding="utf-8")
        try:
            for start in range(0, len(page), _PIECE):
                parser.feed(page[start : start + _PIECE].encode("utf-8", "replace"))
            parser.close()
        except etree.LxmlError:
            # What was seen until the parser gave up is what there is; the caller falls back to it.
            return seen
        return seen

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.elements += 1
        self._depth += 1
        self.deepest = max(self.deepest, self._depth)
        # A picture (svg) has titles too.
        if tag == "title" and not self.title and self._unseen_tag == "head":
            self._in_title = True
        if tag == "pre":
            self._preformatted += 1
        if self._unseen_from is None:
            style = attributes.get("style", "")
            if tag in _UNSEEN or "hidden" in attributes or (style and _HIDDEN_STYLE.search(style)):
                self._unseen_from, self._unseen_tag = self._depth, tag
            else:
                self._edge(tag)

    def end(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if tag == "pre":
            self._preformatted -= 1
        if self._unseen_from is None:
            self._edge(tag)
        elif self._depth == self._unseen_from:
            self._unseen_from, self._unseen_tag = None, ""
        self._depth -= 1

    def _edge(self, tag: str) -> None:
        if tag in _BLOCKS:
            if not self._at_line_start:
                self._parts.append("\n")
                self._at_line_start = True
        elif tag in ("td", "th") and not self._at_line_start:
            self._parts.append(" ")

    def data(self, text: str) -> None:
        if self._in_title:
            self.title += text
        elif self._unseen_from is None:
            if not self._preformatted:
                text = _BLANKS.sub(" ", text)
                text = text.lstrip(" ") if self._at_line_start else text
            if text:
                self._parts.append(text)
                self._at_line_start = text.endswith("\n")

    def close(self) -> None:
        """Nothing is left to do: the parser's target must have this."""
