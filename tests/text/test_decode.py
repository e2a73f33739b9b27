from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import BinaryDocument, TextError
from maw.text.decode import decode
from maw.text.thai import join_all, thai_encoding

THAI = "ระบบคลัสเตอร์ที่บ้านประกอบด้วยเซิร์ฟเวอร์หนึ่งเครื่อง ราคา 12,500 บาท และโน้ตบุ๊กอีก ๒ เครื่อง ฯลฯ"
FRENCH = (
    "L'été dernier, à Paris, les élèves français ont étudié très tôt. Ça coûte 10 € — « un hôtel » fermé."
)
GERMAN = "Die Straße führt über große Brücken; schöne Grüße aus Köln. Äpfel, Öl und Übermut."
POLISH = "Zażółć gęślą jaźń. W Szczebrzeszynie chrząszcz brzmi w trzcinie. Łódź jest dużym miastem."
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему."
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."
CHINESE = "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。"
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
HEBREW = "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון."
ARABIC = "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميراً."


@given(
    st.binary(max_size=400), st.none() | st.sampled_from(["utf-8", "tis-620", "zlib", "utf-16", "no such"])
)
def test_any_bytes_decode_or_are_refused_as_no_text(raw: bytes, declared: str | None) -> None:
    try:
        decoded = decode(raw, "x", declared=declared)
    except TextError:
        return
    assert isinstance(decoded.text, str)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300))
def test_utf_8_comes_back_as_it_was(text: str) -> None:
    decoded = decode(text.encode(), "x")
    if not text.startswith("\ufeff"):
        assert (decoded.text, decoded.encoding, decoded.notes) == (text, "utf-8", ())


@pytest.mark.parametrize("text", [THAI, "สวัสดีครับ", "ฎีกา 1. เรื่อง", f"{'English text. ' * 30}{THAI}"])
def test_thai_in_a_single_byte_encoding_is_read_as_thai(text: str) -> None:
    decoded = decode(text.encode("cp874"), "x")
    assert (decoded.text, decoded.encoding, decoded.notes) == (text, "tis-620", ("read as TIS-620",))


def test_thai_with_the_quotes_of_windows_is_read_as_windows_874() -> None:
    text = f"“{THAI}” – 5 €…"
    decoded = decode(text.encode("cp874"), "x", declared="iso-8859-1")
    assert (decoded.text, decoded.encoding) == (text, "windows-874")


@pytest.mark.parametrize(
    ("text", "encoding", "read_as"),
    [
        (FRENCH, "cp1252", "windows-1252"),
        (FRENCH.upper(), "cp1252", "windows-1252"),
        ("un café noir", "latin-1", "windows-1252"),
        (GERMAN, "latin-1", "windows-1252"),
        ("He said “hello” — it’s fine.", "cp1252", "windows-1252"),
        (POLISH, "cp1250", "windows-1250"),
        (RUSSIAN, "cp1251", "windows-1251"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (HEBREW, "cp1255", "windows-1255"),
        (ARABIC, "cp1256", "windows-1256"),
        (KOREAN, "euc_kr", "windows-949"),
        (CHINESE, "gb18030", "gb18030"),
        (JAPANESE, "shift_jis", "cp932"),
        (JAPANESE, "euc_jp", "euc-jp"),
    ],
)
def test_other_encodings_are_not_seen_as_thai(text: str, encoding: str, read_as: str) -> None:
    raw = text.encode(encoding)
    assert thai_encoding(raw) is None
    decoded = decode(raw, "x")
    assert (decoded.text, decoded.encoding) == (text, read_as)
    assert decoded.notes


@pytest.mark.parametrize(
    "raw", ["ÄÖÜ äöü ß".encode("latin-1"), "ÉTÉ À L'ÉCOLE".encode("latin-1"), b"\xe9", b""]
)
def test_a_few_western_letters_are_not_seen_as_thai(raw: bytes) -> None:
    assert thai_encoding(raw) is None


def test_random_double_byte_text_is_not_seen_as_thai() -> None:
    dice = random.Random(1)
    for encoding, first, last in (
        ("euc_kr", 0xAC00, 0xD7A3),
        ("gb2312", 0x4E00, 0x9FA5),
        ("big5", 0x4E00, 0x9FA5),
    ):
        letters = [chr(code) for code in range(first, last) if len(chr(code).encode(encoding, "ignore")) == 2]
        for _ in range(50):
            words = ("".join(dice.choices(letters, k=4)) for _ in range(30))
            assert thai_encoding(" ".join(words).encode(encoding)) is None


def test_a_few_bad_bytes_in_utf_8_are_replaced_and_counted() -> None:
    raw = "naïve café in Zürich, ".encode() * 5 + b"\xe9\xff" + "สวัสดี".encode()
    decoded = decode(raw, "x")
    assert decoded.encoding == "utf-8"
    assert decoded.text.count("\ufffd") == 2
    assert decoded.notes == ("2 undecodable bytes were replaced",)


def test_a_stray_byte_in_ascii_is_damage_not_another_encoding() -> None:
    decoded = decode(b"plain words all along " * 5 + b"\xff and more", "x")
    assert decoded.encoding == "utf-8"
    assert decoded.notes == ("1 undecodable byte was replaced",)


def test_a_replacement_character_that_was_there_before_is_not_counted() -> None:
    assert decode("was \ufffd before".encode(), "x").notes == ()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"])
def test_a_byte_order_mark_decides_and_is_dropped(encoding: str) -> None:
    decoded = decode(("\ufeff" + THAI + " é😀").encode(encoding), "x", declared="latin-1")
    assert (decoded.text, decoded.encoding, decoded.notes) == (THAI + " é😀", encoding, ())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["Plain English.\r\nTwo lines.", THAI, "สวัสดีครับ", RUSSIAN])
def test_utf_16_without_a_mark_is_seen_where_it_is_clear(encoding: str, text: str) -> None:
    decoded = decode(text.encode(encoding), "x")
    assert (decoded.text, decoded.encoding) == (text, encoding)
    assert decoded.notes == (f"read as {encoding.upper()}",)


def test_a_cut_utf_16_text_is_read_and_noted() -> None:
    raw = "\ufeffsome words that go on for a while".encode("utf-16-le")[:-1]
    assert decode(raw, "x").notes == ("1 undecodable byte was replaced",)


@pytest.mark.parametrize(
    "raw",
    [
        b"some text\0 with a NUL",
        bytes(range(1, 256)) * 20,
        random.Random(2).randbytes(5000),
        b"\xff\xfe" + random.Random(3).randbytes(2000),
        b"\x01\x02\x03 ok",
    ],
)
def test_bytes_that_are_no_text_are_refused(raw: bytes) -> None:
    with pytest.raises(BinaryDocument):
        decode(raw, "x")


def test_the_bytes_are_believed_over_a_wrong_declaration() -> None:
    decoded = decode(THAI.encode(), "x", declared="windows-1252")
    assert (decoded.text, decoded.notes) == (THAI, ("declared as windows-1252, read as UTF-8",))
    assert decode(THAI.encode("cp874"), "x", declared="utf-8").text == THAI


def test_a_declaration_is_believed_where_the_bytes_leave_room() -> None:
    text = "ő és ű"
    assert decode(text.encode("cp1250"), "x", declared="windows-1250").text == text


@pytest.mark.parametrize("declared", ["zlib", "rot13", "utf-7", "unicode_escape", "idna", "no-such", "a\0b"])
def test_a_declared_codec_that_is_no_encoding_of_documents_is_ignored(declared: str) -> None:
    assert decode(b"+ADw-script \\u0041", "x", declared=declared).text == "+ADw-script \\u0041"


def test_a_character_across_two_pieces_is_whole() -> None:
    text = "x" * ((1 << 20) - 1) + "ก" * 5
    assert decode(text.encode(), "x").text == text


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        (["ประเทศ", "ไทย"], "ประเทศไทย"),
        (["ราคา 5", "บาท"], "ราคา 5 บาท"),
        (["one", "", "two"], "one two"),
        (["ไทย", "and"], "ไทย and"),
        ([], ""),
    ],
)
def test_lines_are_joined_without_a_space_inside_thai(lines: list[str], joined: str) -> None:
    assert join_all(lines) == joined
