"""A tar stream is read as it passes: what goes on, what it lists, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maw.errors import ArchiveIncomplete, MawError, UnsafeArchive
from maw.mirror import far, manifest
from maw.mirror.content import WINDOW, Content
from maw.mirror.load import Reading
from maw.mirror.sources import LocalArchive
from maw.mirror.tar_stream import TarStream
from tests.fakes.proxmox import hostile_damage
from tests.fakes.proxmox.archives import HOSTILE, make_archive
from tests.fakes.proxmox.node import FakeNode
from tests.mirror.conftest import shared_archives, skip

if TYPE_CHECKING:
    from pathlib import Path

# Hostile only by what tar or the disk makes of them: the stream itself is in order.
PASSES = {
    *("block device", "character device", "device outside of dev", "device bomb", "global pax path"),
    *("name that looks like options", "same file twice", "config with unknown keys", "negative time"),
    *("config with terminal controls", "owner above 65535", "contiguous file", "acl record as an xattr"),
    *("xattr that only the host may have", "capability that is too short", "ten thousand pax headers"),
    *("wrong suffix", "damaged stream", "sparse file of 8 EiB", "config that is no text"),
    # tar cannot make these two, and says so.
    *("folder, then file", "hard link to a folder"),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reason = FakeNode.available()
    if reason:
        skip(reason)
    return make_archive(tmp_path_factory.mktemp("archive") / "vzdump-lxc-101-2026_11_25-00_00_00.tar")


def passed(data: bytes, size: int) -> tuple[TarStream, bytes, list[bytes]]:
    lines: list[bytes] = []
    stream = TarStream("an archive", lines.append)
    out = b"".join(
        bytes(piece) for at in range(0, len(data), size) for piece in stream.feed(data[at : at + size])
    )
    stream.finish()
    return stream, out, lines


def test_pieces_of_any_size_give_the_same(archive: Path) -> None:
    data = archive.read_bytes()
    whole, out, lines = passed(data, len(data))
    for size in (1 << 16, 10_240, 511, 513, 77):
        other, again, listed = passed(data, size)
        assert again == out
        assert listed == lines
        assert other.total == whole.total == len(data)


def test_the_config_is_kept_out_and_all_else_goes_on(archive: Path, tmp_path: Path) -> None:
    stream, out, _ = passed(archive.read_bytes(), 1 << 16)
    assert stream.found.config is not None
    assert b"hostname: " in stream.found.config
    (tmp_path / "on.tar").write_bytes(out)
    listed = subprocess.run(
        ["tar", "-tf", str(tmp_path / "on.tar")], capture_output=True, check=True, text=True
    ).stdout.splitlines()
    before = subprocess.run(
        ["tar", "-tf", str(archive)], capture_output=True, check=True, text=True
    ).stdout.splitlines()
    assert listed == [name for name in before if name not in ("./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw")]


def listed_tree(root: Path, folder: Path) -> Path:
    facts = json.dumps({"root": str(root), "uids": [], "gids": []})
    argv = [sys.executable, "-I", "-c", far.program(), "list", facts]
    answer = subprocess.run(argv, capture_output=True, check=True).stdout
    head, *lines, last = answer.splitlines(keepends=True)
    assert json.loads(head) == {"status": 0}
    assert json.loads(last) == {"listed": True}
    (folder / "tree.lines").write_bytes(b"".join(lines))
    manifest.of_tree(folder / "tree.lines", folder / "tree")
    return folder / "tree"


def archive_manifest(path: Path, folder: Path) -> Path:
    reading = Reading(LocalArchive(path), folder)
    try:
        reading.config()
        reading.held.clear()
        while data := reading.source.read():
            reading.stream.feed(data)
        reading.finish()
    finally:
        reading.close()
    links = reading.stream.found.links
    manifest.of_archive(folder / "archive.lines", links, folder / "archive", "an archive")
    return folder / "archive"


def unpack(path: Path, root: Path) -> None:
    root.mkdir()
    argv = ["tar", "-xpf", str(path), "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=user.*"]
    argv += ["--xattrs-include=security.capability", "--delay-directory-restore"]
    argv += [f"--directory={root}", "--exclude=./etc/vzdump/pct.*"]
    subprocess.run(argv, check=True, capture_output=True)


def test_what_tar_makes_of_it_is_what_the_stream_said(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "root")
    source, tree = archive_manifest(archive, tmp_path), listed_tree(tmp_path / "root", tmp_path)
    result = manifest.compare(source, tree)
    assert (result.count, result.first) == (0, [])
    text = source.read_text("utf-8", "surrogateescape")
    assert result.paths == len({line.split("\t")[0] for line in text.splitlines()})
    for word in ("security.capability=", "user.", "a[", "d[", "🙂", "z:"):
        assert word in text, word


@pytest.mark.parametrize("path", shared_archives() or [None], ids=lambda path: path.name if path else "none")
def test_genuine_archives_are_listed_whole(path: Path | None, tmp_path: Path) -> None:
    if path is None:
        pytest.skip("the genuine archives are not beside this checkout")
    assert len(archive_manifest(path, tmp_path).read_bytes().splitlines()) > 90


CHANGES = {
    "mode": lambda root: (root / "opt").chmod(0o700),
    "mtime": lambda root: os.utime(root / "etc" / "inittab", ns=(0, 1)),
    "uid": lambda root: os.chown(root / "etc" / "inittab", 5, 0),
    "content": lambda root: change_byte(root / "etc" / "inittab"),
    "xattrs": lambda root: os.setxattr(root / "etc" / "inittab", "user.new", b"1"),
    "added": lambda root: (root / "etc" / "new").mkdir(),
    "missing": lambda root: (root / "etc" / "inittab").unlink(),
    "kind": lambda root: replaced(root / "etc" / "inittab"),
    "names": lambda root: (
        (root / "etc" / "inittab").hardlink_to(root / "etc" / "passwd")
        if (root / "etc" / "inittab").unlink() is None
        else None
    ),
}


def change_byte(path: Path) -> None:
    status = path.stat()
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path: Path) -> None:
    path.unlink()
    path.symlink_to("passwd")


@pytest.mark.parametrize("what", CHANGES)
def test_every_kind_of_difference_is_found(archive: Path, tmp_path: Path, what: str) -> None:
    unpack(archive, tmp_path / "root")
    source = archive_manifest(archive, tmp_path)
    CHANGES[what](tmp_path / "root")
    result = manifest.compare(source, listed_tree(tmp_path / "root", tmp_path))
    assert any(what in one.what for one in result.first), result.first


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in PASSES])
def test_a_hostile_or_damaged_archive_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.tar"
    HOSTILE[name](path)
    with pytest.raises(MawError) as caught:
        archive_manifest(path, tmp_path)
    assert caught.type.__name__ in {"UnsafeArchive", "ArchiveIncomplete", "NotAnArchive"}
    if name in hostile_damage.NOT_WHOLE:
        assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize("name", sorted(PASSES))
def test_what_passes_is_a_stream_in_order(name: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.tar"
    HOSTILE[name](path)
    if name == "folder, then file":
        with pytest.raises(UnsafeArchive):
            archive_manifest(path, tmp_path)
    else:
        assert archive_manifest(path, tmp_path).exists()


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst", ".tar.gz", ".tar.lzo"])
def test_an_archive_that_is_cut_anywhere_is_not_whole(archive: Path, tmp_path: Path, suffix: str) -> None:
    path = make_archive(tmp_path / f"a{suffix}")
    data = path.read_bytes()
    for part in (0.02, 0.3, 0.77, 0.995):
        (tmp_path / f"cut{suffix}").write_bytes(data[: int(len(data) * part)])
        with pytest.raises(ArchiveIncomplete):
            archive_manifest(tmp_path / f"cut{suffix}", tmp_path)


def test_the_log_beside_an_archive_is_believed_only_if_it_says_the_number(tmp_path: Path) -> None:
    path = make_archive(tmp_path / "a.tar")
    log = tmp_path / "a.log"
    text = path.with_name("a.tar.log").read_text("utf-8")
    log.write_text(text, "utf-8")
    archive_manifest(path, tmp_path)
    for changed in (text.replace("Total bytes written", "Total"), text.replace("written: ", "written: 1")):
        log.write_text(changed, "utf-8")
        with pytest.raises(ArchiveIncomplete):
            archive_manifest(path, tmp_path)


@given(
    st.lists(st.one_of(st.binary(max_size=300), st.integers(0, 5 * WINDOW)), max_size=12), st.integers(1, 3)
)
@settings(deadline=None, max_examples=60)
def test_zeros_hash_the_same_as_bytes_and_as_holes(parts: list[bytes | int], pieces: int) -> None:
    plain = b"".join(bytes(part) if isinstance(part, int) else part for part in parts)
    one, other = Content(), Content()
    for part in parts:
        if isinstance(part, int):
            one.hole(part)
        else:
            one.update(part)
    step = max(1, len(plain) // pieces)
    for at in range(0, len(plain), step):
        other.update(plain[at : at + step])
    said = other.hexdigest()
    assert one.hexdigest() == said
    if not said.startswith("z:"):
        assert said == hashlib.sha256(plain).hexdigest()


def test_different_runs_of_zeros_hash_differently() -> None:
    found = set()
    for before, windows, after in ((0, 1, 1), (1, 1, 0), (0, 2, 1), (1, 0, 1), (2, 1, 1), (0, 2, 0)):
        content = Content()
        content.update(b"x" * WINDOW * before)
        content.hole(WINDOW * windows)
        content.update(b"x" * WINDOW * after)
        found.add(content.hexdigest())
    assert len(found) == 6
