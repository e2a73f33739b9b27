from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maw.errors import DamagedDocument, DocumentTooLarge, EncryptedDocument, NoTextInPdf
from maw.text.document import Limits
from maw.text.pdf import paragraphs
from maw.text.read import read

if TYPE_CHECKING:
    from collections.abc import Callable

ENGLISH = [
    "The quick brown fox jumps over the lazy dog and then goes con-",
    "tinuously further until the line is as long as all the others",
    "are, and the last one is short.",
    "A second paragraph starts here, and it is long enough for the",
    "program that made this well-known document to break its lines.",
    "Short end.",
]
FIRST = (
    "The quick brown fox jumps over the lazy dog and then goes continuously further until the line is as "
    "long as all the others are, and the last one is short."
)
SECOND = (
    "A second paragraph starts here, and it is long enough for the program that made this well-known "
    "document to break its lines. Short end."
)


def test_lines_become_paragraphs_and_broken_words_are_mended(make_pdf: Callable[..., bytes]) -> None:
    document = read(
        make_pdf([ENGLISH, ["Page two knows a well-", "known word, and a self-", "made one."]]), "x.pdf"
    )
    assert document.kind == "pdf"
    assert document.encoding is None
    assert document.text.split("\n") == [
        FIRST,
        SECOND,
        "",
        "Page two knows a well-known word, and a selfmade one.",
    ]


def test_a_gap_between_lines_is_a_paragraph(make_pdf: Callable[..., bytes]) -> None:
    line = "This line is as wide as each of the others on this very page."
    lines = [line] * 4 + [""] + [line] * 4
    assert read(make_pdf([lines]), "x").text == " ".join([line] * 4) + "\n\n" + " ".join([line] * 4)


def test_thai_lines_are_joined_without_a_space(make_pdf: Callable[..., bytes]) -> None:
    lines = [
        "ระบบคลัสเตอร์ที่บ้านประกอบด้วยเซิร์ฟเวอร์หนึ่งเครื่อง",
        "และโน้ตบุ๊กหลายเครื่องที่เชื่อมต่อกันผ่านเครือข่ายภาย",
        "ในบ้าน มีนํ้าหนัก",
    ]
    assert read(make_pdf([lines], thai=True), "x").text == "".join(lines).replace("นํ้า", "น้ำ")


def test_a_pdf_without_text_says_so_and_names_ocr(make_pdf: Callable[..., bytes]) -> None:
    with pytest.raises(NoTextInPdf) as caught:
        read(make_pdf([[], [], []]), "scan.pdf")
    assert "3 pages" in str(caught.value)
    assert "ocrmypdf" in str(caught.value)


def test_pages_without_text_are_noted(make_pdf: Callable[..., bytes]) -> None:
    document = read(make_pdf([["words"], []]), "x.pdf")
    assert document.notes == ("1 of 2 pages hold no text (pictures or scans)",)


@pytest.mark.parametrize("raw", [b"%PDF-1.7\n", b"%PDF-", b"%PDF-1.4\n" + b"garbage \x00\xff" * 100])
def test_a_damaged_pdf_is_named_as_one(raw: bytes) -> None:
    with pytest.raises(DamagedDocument, match="PDF"):
        read(raw, "x.pdf")


def test_a_pdf_cut_anywhere_is_read_or_refused_by_name(make_pdf: Callable[..., bytes]) -> None:
    whole = make_pdf([ENGLISH])
    for end in range(20, len(whole), 97):
        try:
            assert "quick brown" in read(whole[:end], "x.pdf").text
        except (DamagedDocument, NoTextInPdf):
            continue


def test_a_pdf_with_a_password_is_refused_as_such(make_pdf: Callable[..., bytes]) -> None:
    with pytest.raises(EncryptedDocument):
        read(make_pdf([["words"]], encrypted=True), "x.pdf")


def test_a_pdf_with_too_many_pages_is_too_large(make_pdf: Callable[..., bytes]) -> None:
    with pytest.raises(DocumentTooLarge, match="2 pages"):
        read(make_pdf([["a"], ["b"], ["c"]]), "x.pdf", limits=Limits(pages=2))


def test_a_pdf_with_too_much_text_is_too_large(make_pdf: Callable[..., bytes]) -> None:
    with pytest.raises(DocumentTooLarge):
        read(make_pdf([ENGLISH]), "x.pdf", limits=Limits(expanded_bytes=100))


def test_items_of_a_list_stay_lines() -> None:
    lines = [
        "• the first item is long enough to fill up its line, it is",
        "• the second",
        "1. third",
        "2. fourth",
    ]
    assert paragraphs(lines) == lines


def test_a_space_at_the_end_of_a_thai_line_is_kept_and_none_is_made_up() -> None:
    lines = ["เหตุร้ายเช่นน้ำท่วมหรือขโมยขึ้นบ้าน ", "ดิสก์ที่ดีที่สุดคือดิสก์ที่มีสำเนาอยู่", "ที่อื่นอีกหนึ่งชุดเสมอไม่ว่าจะเกิดอะไร"]
    assert paragraphs(lines) == [lines[0] + lines[1] + lines[2]]
