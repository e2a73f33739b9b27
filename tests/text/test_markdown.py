from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maw.text.markdown import markdown_text

SOURCE = """---
title: The title
tags: [a, b]
---
# Head *one*

First paragraph with a [link](https://example.org/page) and
`code`, **bold** and ~~old~~ words.

บรรทัดแรก
บรรทัดที่สอง

- a
- b
  - c

1. loose

2. list

| Name | Price |
|------|-------|
| x    | 1     |

```python
print("SECRET")
```

    indented SECRET

<p align="center">html <b>text</b></p>

> quoted
> words

![picture of a cat](cat.png) <https://example.org/SECRET> end<br>of it &amp; all
"""


def test_markdown_becomes_the_lines_that_a_reader_sees() -> None:
    text, notes = markdown_text(SOURCE)
    assert [line for line in text.split("\n") if line] == [
        "Head one",
        "First paragraph with a link and code, bold and old words.",
        "บรรทัดแรกบรรทัดที่สอง",
        "a", "b", "c", "loose", "list", "Name | Price", "x | 1",
        "html text",
        "quoted words",
        "picture of a cat  end",
        "of it & all",
    ]  # fmt: skip
    assert notes == ("front matter was left out", "2 code blocks were left out")


@pytest.mark.parametrize(
    "source", ["---\n\nwords\n\n---\n", "--- \nno colon here\n---\n", "---\ntitle: never closed\n"]
)
def test_a_rule_at_the_top_is_no_front_matter(source: str) -> None:
    text, notes = markdown_text(source)
    assert text
    assert notes == ()


def test_front_matter_with_windows_line_ends_is_left_out() -> None:
    assert markdown_text("---\r\na: b\r\n---\r\nwords\r\n")[0] == "words"


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "![](",
        "![[](",
        "*a ",
        "_a*b",
        "`",
        "``a`",
        "<",
        "<a ",
        "- ",
        ">",
        "&",
        "|",
        "a\n",
        "#",
        "\\",
        "<!--",
    ],
)
def test_a_hostile_repetition_ends_in_seconds(piece: str) -> None:
    started = time.perf_counter()
    markdown_text(piece * (120_000 // len(piece)))
    assert time.perf_counter() - started < 12


def test_too_many_brackets_are_read_as_plain_text_and_noted() -> None:
    text, notes = markdown_text("words [" + "[" * 5000)
    assert text.startswith("words [[")
    assert "read as plain text" in notes[0]


def test_a_long_list_of_links_is_still_markdown() -> None:
    text, notes = markdown_text("".join(f"- [link {n}](http://x.y/{n})\n" for n in range(3000)))
    assert text.split("\n")[2999] == "link 2999"
    assert notes == ()


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab \n-#>[]()!`*_|:\\<&;ก1."), max_size=120))
def test_any_markdown_is_rendered(source: str) -> None:
    assert isinstance(markdown_text(source)[0], str)
