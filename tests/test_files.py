"""Files are old or new, whatever happens while they are written."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maw.errors import CannotWrite, DiskFull
from maw.files import sha256_of, sync_folder, translate, write_atomically, write_new

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.getuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root may mount a small file system")


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_text_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "ไฟล์ ψ"
    write_atomically(path, bytes(range(256)))
    assert path.read_bytes() == bytes(range(256))
    write_atomically(path, "ไทย 👩🏽‍💻\r\n\udce9")
    assert path.read_bytes() == "ไทย 👩🏽‍💻\r\n\udce9".encode("utf-8", "surrogatepass")
    write_atomically(path, b"")
    assert path.read_bytes() == b""
    assert _names(path.parent) == [path.name]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o755])
@pytest.mark.parametrize("write", [write_atomically, write_new])
def test_the_mode_is_the_one_asked_whatever_the_umask(tmp_path: Path, mode: int, write: object) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path / "file", b"x", mode=mode)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o7777 == mode


def test_a_new_file_is_never_written_over(tmp_path: Path) -> None:
    assert write_new(tmp_path / "file", "first") is True
    assert write_new(tmp_path / "file", "second") is False
    assert (tmp_path / "file").read_text() == "first"
    assert _names(tmp_path) == ["file"]
    (tmp_path / "link").symlink_to("nowhere")
    assert write_new(tmp_path / "link", "x") is False
    (tmp_path / "folder").mkdir()
    assert write_new(tmp_path / "folder", "x") is False


KILLED = """
import sys
from pathlib import Path
from maw.files import write_atomically
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for letter in "ab":
        write_atomically(path, letter * 700_000)
"""


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "a" * 700_000)
    seed = random.Random(4)
    seen = set()
    for _ in range(15):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(seed.uniform(0, 0.05))
            writer.kill()
        content = path.read_text()
        assert len(content) == 700_000
        assert content in ("a" * 700_000, "b" * 700_000)
        seen.add(content[0])
    assert seen == {"a", "b"}, "the writers got to write at all"
    for leftover in tmp_path.glob(".*.tmp"):
        leftover.unlink()
    write_atomically(path, "c")
    assert _names(tmp_path) == ["file"], "a clean run leaves nothing"


def test_a_write_that_fails_in_the_middle_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file", 5)  # type: ignore[arg-type]
    assert (tmp_path / "file").read_text() == "old"
    assert _names(tmp_path) == ["file"]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    answer = subprocess.run(argv, capture_output=True, check=False)
    if answer.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {answer.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@needs_root
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tiny: Path) -> None:
    write_atomically(tiny / "file", b"old" * 5_000)
    with pytest.raises(DiskFull) as caught:
        write_atomically(tiny / "file", bytes(100_000))
    assert str(tiny / "file") in str(caught.value)
    assert (tiny / "file").read_bytes() == b"old" * 5_000
    assert _names(tiny) == ["file"]
    with pytest.raises(DiskFull):
        write_new(tiny / "other", bytes(100_000))
    assert _names(tiny) == ["file"]
    write_atomically(tiny / "file", b"new")
    assert (tiny / "file").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_to_have_no_space_is_a_full_disk(number: int) -> None:
    assert type(translate(OSError(number, os.strerror(number)), "/file")) is DiskFull
    assert type(translate(OSError(errno.EIO, "Input/output error"), "/file")) is CannotWrite


RACER = """
import sys
from pathlib import Path
from maw.files import write_new
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    print(int(write_new(Path(sys.argv[1]) / str(number), sys.argv[2] * 1000)))
"""


def test_of_two_processes_that_make_the_same_file_exactly_one_does(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    first, second = (racer.communicate()[0].split() for racer in racers)
    assert len(first) == 40
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        assert {one, other} == {"0", "1"}
        assert (tmp_path / str(number)).read_text() == ("a" if one == "1" else "b") * 1000
    assert len(_names(tmp_path)) == 40


def test_where_writing_is_not_allowed_it_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below", Path("/proc/maw"), tmp_path / "folder", tmp_path / ("n" * 300)):
        with pytest.raises(CannotWrite) as caught:
            write_atomically(path, b"x")
        assert str(path) in str(caught.value)
    assert (tmp_path / "file").read_text() == "old"
    assert _names(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
def test_a_folder_without_permission_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o555)
    code = (
        "import os, sys; from pathlib import Path; from maw.files import write_new, write_atomically\n"
        "from maw.errors import CannotWrite\n"
        "os.chdir(sys.argv[1]); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for write in (write_new, write_atomically):\n"
        "    try: write(Path('file'), b'x')\n"
        "    except CannotWrite as error: print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "folder")], capture_output=True, check=True
    )
    assert [line.partition(". ")[0] for line in answer.stdout.decode().splitlines()] == [
        "Cannot write file: Permission denied"
    ] * 2
    assert _names(tmp_path / "folder") == []


def test_a_folder_can_be_synced_and_hashes_are_of_bytes(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    assert sha256_of("ไทย") == sha256_of("ไทย".encode()) == hashlib.sha256("ไทย".encode()).hexdigest()
    assert len(sha256_of("\udce9")) == 64
