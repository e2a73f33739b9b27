from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from maw.errors import Misuse, NoDocuments
from maw.text.sources import Skipped, Source, plan_sources


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = Path("docs")
    for name in (
        "b.md",
        "a.TXT",
        "sub/ก 😀.pdf",
        "sub/z.docx",
        "c.png",
        ".hidden.txt",
        ".git/x.txt",
        "node_modules/x.md",
    ):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    return made


def _names(arguments: list[str]) -> list[str]:
    return [source.name for source in plan_sources(arguments)[0]]


def test_a_folder_is_walked_in_order_and_the_rest_is_skipped_by_name(folder: Path) -> None:
    sources, skipped = plan_sources(["docs"])
    assert [source.name for source in sources] == [
        "docs/a.TXT",
        "docs/b.md",
        "docs/sub/z.docx",
        "docs/sub/ก 😀.pdf",
    ]
    assert all(source.kind == "file" and source.path == Path(source.name) for source in sources)
    assert all(source.problem is None for source in sources)
    assert skipped == [Skipped("docs/c.png", "not txt, md, html, pdf or docx by its name")]


def test_names_are_as_the_user_gave_them(folder: Path) -> None:
    assert _names(["docs/"])[0] == "docs/a.TXT"
    assert _names(["./docs/b.md"]) == ["./docs/b.md"]
    assert _names([str(folder.absolute())])[0] == str(folder.absolute() / "a.TXT")


def test_a_named_file_is_taken_whatever_its_name(folder: Path) -> None:
    assert _names(["docs/c.png", "docs/.hidden.txt"]) == ["docs/c.png", "docs/.hidden.txt"]


def test_urls_and_standard_input_are_sources(folder: Path) -> None:
    sources, _ = plan_sources(["-", "https://example.org/ก", "HTTP://x.y", "https://example.org/ก"])
    assert sources == [
        Source("-", "stdin", None),
        Source("https://example.org/ก", "url", None, url="https://example.org/ก"),
        Source("HTTP://x.y", "url", None, url="HTTP://x.y"),
    ]


def test_standard_input_twice_is_misuse() -> None:
    with pytest.raises(Misuse, match="once"):
        plan_sources(["-", "-"])


def test_the_same_file_is_taken_once(folder: Path) -> None:
    Path("link.txt").symlink_to("docs/b.md")
    assert _names(["docs/b.md", "./docs/../docs/b.md", "link.txt"]) == ["docs/b.md"]
    assert _names(["docs/b.md", "docs"]).count("docs/b.md") == 1


def test_a_missing_path_is_a_source_with_a_problem(folder: Path) -> None:
    sources, skipped = plan_sources(["missing.txt", "docs/b.md", "missing.txt", "ftp://x/y", "docs/b.md/x"])
    assert [(source.name, source.problem) for source in sources] == [
        ("missing.txt", "there is no such file"),
        ("docs/b.md", None),
        ("ftp://x/y", "there is no such file"),
        ("docs/b.md/x", "Not a directory"),
    ]
    assert skipped == []


@pytest.mark.parametrize(("argument", "words"), [("", "empty"), ("a\0b", "NUL"), ("x" * 5000, "too long")])
def test_a_name_that_is_none_is_a_source_with_a_problem(argument: str, words: str) -> None:
    sources, _ = plan_sources([argument])
    assert words in str(sources[0].problem)


def test_a_fifo_a_socket_and_a_device_are_never_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("docs/socket.txt")
        (folder / "null.txt").symlink_to("/dev/null")
        sources, skipped = plan_sources(["docs", "docs/pipe.txt", "/dev/null"])
    reasons = {one.name: one.reason for one in skipped}
    assert reasons["docs/pipe.txt"] == "it is a FIFO, not a regular file"
    assert reasons["docs/socket.txt"] == "it is a socket, not a regular file"
    assert reasons["docs/null.txt"] == "it is a device, not a regular file"
    assert [source.problem for source in sources[-2:]] == [
        "it is a FIFO, not a regular file",
        "it is a device, not a regular file",
    ]


def test_links_are_followed_to_files_and_never_to_folders(folder: Path) -> None:
    (folder / "up").symlink_to("..")
    (folder / "loop.txt").symlink_to("loop.txt")
    (folder / "gone.txt").symlink_to("nowhere")
    Path("outside.txt").write_text("x")
    (folder / "link.txt").symlink_to("../outside.txt")
    sources, skipped = plan_sources(["docs"])
    assert "docs/link.txt" in [source.name for source in sources]
    assert len(sources) == 5
    reasons = {one.name: one.reason for one in skipped}
    assert reasons["docs/up"] == "a link to a folder, which is not followed"
    assert reasons["docs/loop.txt"] == "its links go in a circle"
    assert reasons["docs/gone.txt"] == "there is no such file"


def test_a_named_link_to_a_folder_is_walked(folder: Path) -> None:
    Path("link").symlink_to("docs")
    assert _names(["link"])[0] == "link/a.TXT"


def test_an_unreadable_folder_is_skipped_with_the_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    # Tests may run as root, for whom every folder is readable.
    monkeypatch.setattr(os, "scandir", refusing)
    sources, skipped = plan_sources(["docs"])
    assert Skipped("docs/sub", "Permission denied") in skipped
    assert len(sources) == 2
    assert plan_sources(["docs/sub"])[0][0].problem == "Permission denied"


def test_a_file_that_vanishes_in_between_is_skipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from maw.text import sources as module

    real = module._entries

    def vanishing(path: str) -> list[tuple[str, os.DirEntry[str]]]:
        found = real(path)
        (folder / "b.md").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(module, "_entries", vanishing)
    assert Skipped("docs/b.md", "there is no such file") in plan_sources(["docs"])[1]


def test_nothing_to_read_is_said(folder: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(NoDocuments, match="empty"):
        plan_sources(["empty"])
    with pytest.raises(NoDocuments):
        plan_sources([])
    sources, skipped = plan_sources(["empty", "docs"])
    assert len(sources) == 4
    assert Skipped("empty", "it holds nothing new to read") in skipped


def test_names_that_cannot_be_shown_are_escaped_and_stay_unique(folder: Path) -> None:
    raw = os.fsdecode(b"docs/bad\xff.txt")
    for name in (raw, "docs/line\nbreak.txt", "docs/line\\nbreak.txt", "docs/\u202etxt.txt"):
        Path(name).write_text(name.encode("utf-8", "surrogateescape").hex())
    sources, _ = plan_sources(["docs"])
    names = [source.name for source in sources]
    assert len(set(names)) == len(names) == 8
    assert "docs/bad\\udcff.txt" in names
    assert "docs/line\\nbreak.txt" in names
    assert "docs/line\\nbreak.txt (2)" in names
    assert all(name.encode() for name in names)
    assert all(source.path is not None and source.path.is_file() for source in sources)


def test_user_and_password_of_a_url_are_never_shown() -> None:
    ((source,), _) = plan_sources(["https://me:secret@example.org/page?x=@"])
    assert source.name == "https://example.org/page?x=@"
    assert source.url == "https://me:secret@example.org/page?x=@"
