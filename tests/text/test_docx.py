from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from maw.errors import BinaryDocument, DamagedDocument, DocumentTooLarge, EmptyDocument, EncryptedDocument
from maw.text.document import Limits
from maw.text.read import read

if TYPE_CHECKING:
    from collections.abc import Callable

SPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def _body(inner: str, doctype: str = "") -> bytes:
    more = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    return (
        f'<?xml version="1.0"?>{doctype}<w:document xmlns:w="{SPACE}" xmlns:mc="{more}">'
        f"<w:body>{inner}</w:body></w:document>"
    ).encode()


def test_paragraphs_headings_and_tables_come_in_order(word_bytes: Callable[[Any], bytes]) -> None:
    import docx

    made = docx.Document()
    made.add_heading("หัวข้อ", 1)
    paragraph = made.add_paragraph("Left")
    paragraph.add_run().add_tab()
    paragraph.add_run("right")
    paragraph.paragraph_format.tab_stops.add_tab_stop(100)
    table = made.add_table(2, 2)
    table.cell(0, 0).text, table.cell(0, 1).text, table.cell(1, 0).text = "Name", "Price", "two\nlines"
    inner = table.cell(1, 1).add_table(1, 2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "in", "side"
    made.add_paragraph("After 😀")
    document = read(word_bytes(made), "x.docx")
    assert document.kind == "docx"
    assert document.text.split("\n") == [
        "หัวข้อ",
        "Left\tright",
        "Name | Price",
        "two lines | in | side",
        "After 😀",
    ]


def test_hidden_text_is_left_out_and_noted(word_bytes: Callable[[Any], bytes]) -> None:
    import docx

    made = docx.Document()
    paragraph = made.add_paragraph("seen ")
    paragraph.add_run("SECRET").font.hidden = True
    paragraph.add_run("again").font.hidden = False
    document = read(word_bytes(made), "x.docx")
    assert document.text == "seen again"
    assert document.notes == ("hidden text was left out",)


def test_text_in_controls_boxes_and_insertions_is_read_and_deletions_are_not(
    make_zip: Callable[..., bytes],
) -> None:
    def run(text: str) -> str:
        return f"<w:r><w:t>{text}</w:t></w:r>"

    box = f"<w:txbxContent><w:p>{run('boxed')}</w:p></w:txbxContent>"
    inner = (
        f"<w:sdt><w:sdtContent><w:p>{run('control')}</w:p></w:sdtContent></w:sdt>"
        f"<w:p><w:ins>{run('inserted')}</w:ins><w:del><w:r><w:delText>GONE</w:delText></w:r></w:del></w:p>"
        f"<w:p>{run('outer')}<w:r><mc:AlternateContent><mc:Choice>{box}</mc:Choice>"
        f"<mc:Fallback>{box.replace('boxed', 'TWICE')}</mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )
    assert read(make_zip(word__document_xml=_body(inner)), "x.docx").text == "control\ninserted\nboxed\nouter"


def test_a_zip_bomb_is_refused_by_what_it_declares(make_zip: Callable[..., bytes]) -> None:
    raw = make_zip(word__document_xml=_body("<w:p/>" + " " * 30_000_000))
    assert len(raw) < 100_000
    with pytest.raises(DocumentTooLarge, match="10 MiB unpacked"):
        read(raw, "x.docx", limits=Limits(expanded_bytes=10 << 20))


def test_a_zip_bomb_is_refused_by_what_it_really_holds(make_zip: Callable[..., bytes]) -> None:
    raw = bytearray(make_zip(word__document_xml=_body("<w:p/>" + " " * 30_000_000)))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = raw.find(mark) + offset
        raw[place : place + 4] = (1000).to_bytes(4, "little")
    with pytest.raises((DocumentTooLarge, DamagedDocument)):
        read(bytes(raw), "x.docx", limits=Limits(expanded_bytes=10 << 20))


@pytest.mark.parametrize("use", ["<w:p><w:r><w:t>&j;</w:t></w:r></w:p>", '<w:p w:x="&j;"/>'])
def test_an_entity_bomb_is_refused(make_zip: Callable[..., bytes], use: str) -> None:
    names = "abcdefghij"
    entities = '<!ENTITY a "lolololololol">' + "".join(
        f'<!ENTITY {names[n]} "{f"&{names[n - 1]};" * 10}">' for n in range(1, 10)
    )
    with pytest.raises(DamagedDocument):
        read(make_zip(word__document_xml=_body(use, f"<!DOCTYPE x [{entities}]>")), "x.docx")


def test_an_entity_cannot_read_a_file(make_zip: Callable[..., bytes]) -> None:
    doctype = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    with pytest.raises(DamagedDocument, match="entities"):
        read(make_zip(word__document_xml=_body("<w:p><w:r><w:t>&e;</w:t></w:r></w:p>", doctype)), "x.docx")


def test_deeply_nested_xml_is_refused(make_zip: Callable[..., bytes]) -> None:
    with pytest.raises(DamagedDocument):
        read(make_zip(word__document_xml=_body("<w:p>" * 100_000)), "x.docx")


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"xl__workbook_xml": b"x"}, "Excel"),
        ({"ppt__presentation_xml": b"x"}, "PowerPoint"),
        ({"content_xml": b"x"}, "OpenDocument"),
        ({"anything": b"x"}, "a zip archive"),
    ],
)
def test_other_zip_files_are_named(
    make_zip: Callable[..., bytes], parts: dict[str, bytes], found: str
) -> None:
    with pytest.raises(BinaryDocument, match=found):
        read(make_zip(**parts), "x")


def test_a_word_document_is_known_by_what_it_holds(make_zip: Callable[..., bytes]) -> None:
    raw = make_zip(word__document_xml=_body("<w:p><w:r><w:t>words</w:t></w:r></w:p>"))
    assert read(raw, "no-suffix", media_type="application/octet-stream").kind == "docx"


def test_a_cut_word_document_is_damaged(word_bytes: Callable[[Any], bytes]) -> None:
    import docx

    made = docx.Document()
    made.add_paragraph("words")
    whole = word_bytes(made)
    for size in (4, 100, len(whole) // 2, len(whole) - 5):
        with pytest.raises(DamagedDocument):
            read(whole[:size], "x.docx")


def test_a_flipped_byte_is_found(make_zip: Callable[..., bytes]) -> None:
    raw = bytearray(make_zip(word__document_xml=_body("<w:p><w:r><w:t>words</w:t></w:r></w:p>" * 500)))
    raw[90] ^= 0xFF
    with pytest.raises(DamagedDocument):
        read(bytes(raw), "x.docx")


def test_a_word_document_without_words_is_empty(word_bytes: Callable[[Any], bytes]) -> None:
    import docx

    with pytest.raises(EmptyDocument):
        read(word_bytes(docx.Document()), "x.docx")


def test_a_protected_part_is_encrypted(make_zip: Callable[..., bytes]) -> None:
    raw = bytearray(make_zip(word__document_xml=_body("<w:p/>")))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.find(mark) + offset] |= 1
    assert zipfile.ZipFile(io.BytesIO(raw)).infolist()[0].flag_bits & 1
    with pytest.raises(EncryptedDocument):
        read(bytes(raw), "x.docx")
