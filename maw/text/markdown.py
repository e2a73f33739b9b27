"""Markdown to text: what a reader of the rendered page sees, without code blocks and addresses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maw.text.clean import clean
from maw.text.html import visible_text
from maw.text.thai import join_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

# The parser takes about a second and 100 MB a megabyte.
_MOST_CHARACTERS = 4_000_000
# The parser leaves out what lies deeper, without a word.
_DEEPEST = 100
_MOST_BRACKETS = 2_000
_BLOCK_START = re.compile(r"\n(?=[ \t]*(?:\n|[-*+#|>]|[0-9]+[.)]))")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?=[^\n]*\S)((?:[^\n]*\n){1,400}?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)")


def markdown_text(source: str) -> tuple[str, tuple[str, ...]]:
    """Given markdown, return its text and notes for the reader.

    Headings, paragraphs, list items and table rows are lines; the text of links stays and their addresses
    go; code blocks and YAML front matter are left out.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    notes = []
    front = _FRONT_MATTER.match(source)
    if front and re.search(r"^[\w\"'-][^\n:]*:(?:\s|$)", front[1], re.MULTILINE):
        source = source[front.end() :]
        notes.append("front matter was left out")
    if len(source) > _MOST_CHARACTERS or _has_bracket_bomb(source):
        notes.append("too large or too tangled to render as markdown: read as plain text")
        return clean(source), tuple(notes)
    text, blocks = _render(source)
    if blocks:
        notes.append(f"{blocks} code block{'s were' if blocks != 1 else ' was'} left out")
    return clean(text), tuple(notes)


def _has_bracket_bomb(source: str) -> bool:
    # The parser takes quadratic time on the brackets of one paragraph.
    if source.count("[") <= _MOST_BRACKETS:
        return False
    return any(block.count("[") > _MOST_BRACKETS for block in _BLOCK_START.split(source))


def _render(source: str) -> tuple[str, int]:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
    lines: list[str] = []
    code_blocks = 0
    row: list[str] | None = None
    for token in parser.parse(source):
        if token.type == "inline":
            (lines if row is None else row).append(_inline(token.children or []))
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            lines.append(" | ".join(row or []))
            row = None
        elif token.type in ("fence", "code_block"):
            code_blocks += 1
        elif token.type == "html_block":
            lines.append(visible_text(token.content))
        elif token.type in _BLANK_AFTER and lines and lines[-1] and not token.hidden and token.level == 0:
            lines.append("")
    return "\n".join(lines), code_blocks


_BLANK_AFTER = frozenset(
    {"paragraph_close", "heading_close", "bullet_list_close", "ordered_list_close", "table_close"}
    | {"blockquote_close"}
)


def _inline(tokens: Sequence[Token]) -> str:
    lines = [""]
    address = False
    parts: list[str] = []
    for token in tokens:
        if token.type in ("text", "code_inline", "text_special"):
            parts.append("" if address else token.content)
        elif token.type == "image":
            parts.append(_inline(token.children or []))
        elif token.type in ("link_open", "link_close"):
            # `<https://...>`: the text of this link is its address.
            address = token.type == "link_open" and token.markup == "autolink"
        elif token.type == "softbreak":
            lines.append("".join(parts))
            parts.clear()
        elif token.type == "hardbreak" or (
            token.type == "html_inline" and token.content[:3].lower() == "<br"
        ):
            parts.append("\n")
    lines.append("".join(parts))
    return join_all(lines)
