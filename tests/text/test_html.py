from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maw.errors import TextError
from maw.text.html import declared_encoding, html_text, visible_text
from maw.text.read import read

PARAGRAPHS = "".join(
    f"<p>Paragraph {n} tells at some length what happened on day {n}.</p>\n" for n in range(9)
)
PAGE = f"""<!DOCTYPE html><html><head><title>A day at home</title></head><body>
<nav><a href="/">Home</a> <a href="/all">All articles</a></nav>
<article><h1>The article</h1>{PARAGRAPHS}
<table><tr><th>Name</th><th>Price</th></tr><tr><td>Server</td><td>12,500</td></tr></table>
<p hidden>SECRET one</p><p style="Display : none">SECRET two</p><p style="visibility:HIDDEN">SECRET three</p>
<template><p>SECRET four</p></template></article><!-- SECRET five --><script>SECRET()</script>
<footer>Copyright nobody</footer></body></html>"""


def test_the_main_content_is_taken_with_the_title_first() -> None:
    text, notes = html_text(PAGE)
    assert text.startswith("A day at home\n\nThe article\nParagraph 0 tells")
    assert "Server | 12,500" in text
    assert "---" not in text
    assert "All articles" not in text
    assert notes == ()


def test_what_a_reader_does_not_see_is_left_out() -> None:
    assert "SECRET" not in html_text(PAGE)[0]
    assert "SECRET" not in visible_text(PAGE)


def test_a_title_that_the_text_has_is_not_repeated() -> None:
    text, _ = html_text(PAGE.replace("A day at home", "The article"))
    assert text.count("The article") == 1


def test_a_page_without_main_content_gives_all_visible_text() -> None:
    page = (
        "<html><body><div>"
        + "".join(f"<a href='/{n}'>Link {n}</a><br>" for n in range(60))
        + "</div></body></html>"
    )
    text, notes = html_text(page)
    assert "Link 0" in text
    assert "Link 59" in text
    assert all("no main content" in note for note in notes)


def test_a_fragment_gives_its_text_and_says_so() -> None:
    text, notes = html_text("<p>Hello</p><pre>a\n  b</pre>x<br>y &amp; z<svg><title>no</title></svg>")
    assert text == "Hello\na\n  b\nx\ny & z"
    assert notes == ("no main content was found in the page: all visible text was taken",)


@pytest.mark.parametrize("opened", ["<div>", "<b><i>", "<table>", "<ul><li>", "<blockquote>"])
def test_deep_nesting_costs_neither_the_text_nor_the_program(opened: str) -> None:
    started = time.perf_counter()
    text, notes = html_text("<html><body><p>before</p>" + opened * 20_000 + "the bottom")
    assert "before" in text
    assert "the bottom" in text
    assert "too deeply nested" in notes[0]
    assert time.perf_counter() - started < 10


def test_many_elements_take_no_time_without_end() -> None:
    started = time.perf_counter()
    text, notes = html_text("<html><body>" + "<p>a word\n" * 100_000)
    assert text.count("a word") == 100_000
    assert "too large" in notes[0]
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    "page", ["", "<html></html>", "<!--" * 9999, "<a href='" * 9999, "<script>x", "\0<\0"]
)
def test_a_page_without_text_gives_none(page: str) -> None:
    assert html_text(page)[0] in ("", "<")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "<p>",
                "</p>",
                "<table>",
                "<td>",
                "x",
                "&#0;",
                "&#xD800;",
                "<?xml",
                "<![CDATA[",
                "ก",
                "<html>",
                "]]>",
                "<!DOCTYPE",
                ">",
                "<title>",
                "<pre>",
                "\n",
            ]
        ),
        max_size=25,
    )
)
def test_any_tag_soup_is_read_or_refused_by_name(parts: list[str]) -> None:
    try:
        document = read("".join(parts).encode(), "x.html")
    except TextError:
        return
    assert document.kind == "html"


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b'<meta charset="tis-620">', "tis-620"),
        (b"<META http-equiv=Content-Type content='text/html; charset=windows-874'>", "windows-874"),
        (b'<?xml version="1.0" encoding="iso-8859-11"?><html>', "iso-8859-11"),
        (b"<html><head></head>", None),
    ],
)
def test_the_declared_encoding_is_found(head: bytes, encoding: str | None) -> None:
    assert declared_encoding(head) == encoding


@pytest.mark.parametrize(
    "declared", ["tis-620", "windows-874", "utf-8", "iso-8859-1", "windows-1252", "none-such", ""]
)
def test_a_thai_page_is_read_whatever_it_declares(declared: str) -> None:
    words = "ระบบคลัสเตอร์ที่บ้านประกอบด้วยเซิร์ฟเวอร์หนึ่งเครื่อง"
    meta = f'<meta charset="{declared}">' if declared else ""
    page = f"<html><head>{meta}<title>หน้าแรก</title></head><body><p>{words}</p></body></html>"
    document = read(page.encode("cp874"), "page.html")
    assert words in document.text
    assert document.text.startswith("หน้าแรก")
    assert document.encoding == "tis-620"


def test_a_utf_8_page_that_declares_latin_1_is_read_as_utf_8() -> None:
    document = read(
        PAGE.replace("<head>", "<head><meta charset=iso-8859-1>").replace("nobody", "é").encode(), "x"
    )
    assert document.kind == "html"
    assert document.encoding == "utf-8"
    assert document.notes == ("declared as iso-8859-1, read as UTF-8",)


def test_an_xhtml_page_with_an_encoding_declaration_is_read() -> None:
    page = '<?xml version="1.0" encoding="utf-8"?>\n' + PAGE
    assert "Paragraph 3" in read(page.encode(), "x.xhtml").text


def test_a_page_in_utf_16_is_read() -> None:
    assert "Paragraph 3" in read(PAGE.encode("utf-16"), "x").text
