from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import (
    BinaryDocument,
    CannotRead,
    DamagedDocument,
    DocumentChanged,
    DocumentTooLarge,
    EmptyDocument,
    EncryptedDocument,
    TextError,
)
from maw.text.clean import clean
from maw.text.document import Document, Limits, size_in_words
from maw.text.read import read

if TYPE_CHECKING:
    from pathlib import Path

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def test_bytes_a_stream_and_a_path_give_the_same_document(tmp_path: Path) -> None:
    raw = "\ufeffสวัสดี\r\nworld \r\n".encode()
    path = tmp_path / "หนึ่ง 😀.txt"
    path.write_bytes(raw)
    expected = Document("n", "text", "สวัสดี\nworld", hashlib.sha256(raw).hexdigest(), "utf-8", ())
    assert read(raw, "n") == read(io.BytesIO(raw), "n") == read(path, "n") == expected


@pytest.mark.parametrize(
    "raw", [b"", b" \n\t \r\n", "\ufeff".encode(), "\u200b\u00a0\n".encode(), b"\xff\xfe"]
)
@pytest.mark.parametrize("name", ["x.txt", "x.md", "x.html", "x.pdf", "x.docx"])
def test_a_document_of_white_space_is_empty(raw: bytes, name: str) -> None:
    with pytest.raises((EmptyDocument, DamagedDocument)) as caught:
        read(raw, name)
    if name not in ("x.pdf", "x.docx") or not raw.strip():
        assert isinstance(caught.value, EmptyDocument)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "JPEG"),
        (b"\x7fELF" + bytes(50), "ELF"),
        (b"\x1f\x8b\x08" + bytes(50), "gzip"),
        (b"MZ\x90\0" + bytes(50), "Windows program"),
        (b"SQLite format 3\0", "SQLite"),
        (b"{\\rtf1 hello}", "RTF"),
        (b"RIFF\0\0\0\0WEBP", "WebP"),
        (b"\0\0\0\x18ftypmp42", "video"),
        (OLE + "WordDocument".encode("utf-16-le"), r"\.doc file; save it as \.docx"),
        (OLE, r"\.doc"),
        (b"abc\0def", "NUL"),
        (random.Random(5).randbytes(4000), "NUL|control"),
        (bytes(byte for byte in random.Random(6).randbytes(4000) if byte), "control"),
    ],
)
def test_what_is_no_text_is_refused_by_its_name(raw: bytes, found: str) -> None:
    with pytest.raises(BinaryDocument, match=found):
        read(raw, "x.txt")


def test_a_protected_office_file_is_encrypted() -> None:
    with pytest.raises(EncryptedDocument):
        read(OLE + "EncryptedPackage".encode("utf-16-le"), "x.docx")


def test_text_that_begins_like_a_program_is_text() -> None:
    assert read(b"MZ is a car plate, BM another.", "x").kind == "text"


@pytest.mark.parametrize(
    ("raw", "name", "media_type", "kind"),
    [
        (b"# head", "x.md", None, "markdown"),
        (b"# head", "x.md", "text/plain; charset=utf-8", "markdown"),
        (b"# head", "https://example.org/README.md?raw=1#top", None, "markdown"),
        (b"# head", "x", "text/markdown", "markdown"),
        (b"# head", "x.txt", None, "text"),
        (b"words", "x.conf", None, "text"),
        (b"<p>fragment", "x.htm", None, "html"),
        (b"<p>fragment", "x", "text/html; charset=utf-8", "html"),
        (b"<p>fragment", "x.txt", None, "text"),
        (b"\n<!-- note --> <!DOCTYPE HTML><p>words", "x.txt", None, "html"),
        (b"<html><p>please log in", "paper.pdf", "text/html", "html"),
        (b"<html><p>please log in", "paper.pdf", "application/pdf", "html"),
        (b"<p align=center>readme</p>\n\nwords", "README.md", None, "markdown"),
        (b"About `<html>`: it is a tag.", "x", None, "text"),
        (b"words", "https://[bad", None, "text"),
    ],
)
def test_the_kind_is_known_by_content_then_media_type_then_name(
    raw: bytes, name: str, media_type: str | None, kind: str
) -> None:
    assert read(raw, name, media_type=media_type).kind == kind


def test_text_that_is_called_a_pdf_or_word_document_is_damaged() -> None:
    with pytest.raises(DamagedDocument, match="PDF"):
        read(b"just words", "x.pdf")
    with pytest.raises(DamagedDocument, match="Word"):
        read(b"just words", "x.docx")


def test_the_charset_of_the_media_type_is_used() -> None:
    raw = "Ő és ű".encode("cp1250")
    assert read(raw, "x", media_type='text/plain; charset="windows-1250"').text == "Ő és ű"


def test_notes_tell_what_was_replaced() -> None:
    assert read("naïve café über".encode() * 9 + b"\xe9 ", "x").notes == ("1 undecodable byte was replaced",)


def test_a_document_over_the_limit_is_never_read_whole() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert size > 0
            self.given += size
            return b"x" * size

    stream = Endless()
    with pytest.raises(DocumentTooLarge, match="64 KiB"):
        read(cast("BinaryIO", stream), "x", limits=Limits(document_bytes=1 << 16))
    assert stream.given == (1 << 16) + 1
    with pytest.raises(DocumentTooLarge):
        read(b"x" * 101, "x", limits=Limits(document_bytes=100))
    assert read(b"x" * 100, "x", limits=Limits(document_bytes=100)).text


def test_a_sparse_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse.txt"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DocumentTooLarge):
        read(path, "sparse.txt")


def test_what_is_no_regular_file_cannot_be_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, tmp_path / "missing", tmp_path / "a\0b"):
        with pytest.raises(CannotRead):
            read(path, "x")


def test_a_stream_that_breaks_cannot_be_read() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(CannotRead, match="Input/output error"):
        read(cast("BinaryIO", Broken()), "x")


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.txt"
    path.write_text("first")
    whole = sys.modules["maw.text.read"]
    original = whole._stream  # type: ignore[attr-defined]

    def growing(stream: BinaryIO, limits: Limits) -> bytes:
        raw: bytes = original(stream, limits)
        path.write_text("first and more")
        return raw

    monkeypatch.setattr(whole, "_stream", growing)
    with pytest.raises(DocumentChanged):
        read(path, "growing.txt")


@given(st.binary(max_size=500), st.sampled_from(["x", "x.md", "x.html", "x.pdf", "x.docx"]))
def test_any_bytes_are_read_or_refused_by_name(raw: bytes, name: str) -> None:
    try:
        document = read(raw, name)
    except TextError:
        return
    assert document.text
    assert clean(document.text) == document.text


@given(
    st.sampled_from([b"%PDF-1.7\n", b"PK\x03\x04", b"PK\x05\x06", OLE, b"\xff\xfe", b"<html>"]),
    st.binary(max_size=200),
)
def test_any_bytes_behind_a_magic_are_read_or_refused(magic: bytes, rest: bytes) -> None:
    try:
        read(magic + rest, "x")
    except TextError:
        return


def test_a_large_text_takes_seconds_and_little_memory() -> None:
    # Another process, so that its peak is its own. The emoji makes every copy four bytes a character.
    program = """
import re, time
from maw.text.read import read
raw = b"The quick brown fox jumps over the lazy dog, once more.  \\n" * 340_000 + "😀".encode()
started = time.perf_counter()
text = read(raw, "x.txt").text
# Not getrusage: its peak is handed down from the process that started this one.
peak = int(re.search(r"VmHWM:[^0-9]*([0-9]+)", open("/proc/self/status").read())[1]) * 1024
print(len(raw), len(text), time.perf_counter() - started, peak)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    size, characters, seconds, peak = map(float, done.stdout.split())
    assert characters > 0.9 * size
    assert seconds < 10
    # The bytes, the clean pieces and the result at four bytes a character, beside the interpreter; one
    # more whole copy would not fit.
    assert peak < 8 * size + 50_000_000


def test_the_room_is_cheap_to_enter() -> None:
    program = """
import sys
import maw.text.read, maw.text.fetch, maw.text.sources
heavy = {"trafilatura", "lxml", "pypdfium2", "docx", "markdown_it", "charset_normalizer", "urllib3"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stdout.strip() == b"[]"


@pytest.mark.parametrize(
    ("size", "words"),
    [(5, "5 bytes"), (2048, "2 KiB"), (256 << 20, "256 MiB"), (256_000_000, "256 MB"), (3 << 30, "3 GiB")],
)
def test_sizes_are_told_in_units_that_people_read(size: int, words: str) -> None:
    assert size_in_words(size) == words


def test_reading_plain_text_is_quick() -> None:
    started = time.perf_counter()
    read("คำไทยและ English words\n".encode() * 50_000, "x")
    assert time.perf_counter() - started < 3
