"""The cluster's own private keys, and their dates."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import CannotRead, DiskFull, KeysError
from maw.transport import key_dates, keypairs

DAY = 86_400.0
NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    keypairs.prepare(made)
    return made


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_key_is_made_for_this_user_alone_and_kept_out_of_git(folder: Path) -> None:
    assert keypairs.make(folder, "bridge")
    found = keypairs.load(folder / "bridge")
    assert found is not None
    assert (mode(folder), mode(folder / "bridge")) == (0o700, 0o600)
    assert (folder / ".gitignore").read_text() == "*\n"
    assert found.key.kind == "ssh-ed25519"
    assert not found.encrypted
    public = (folder / "bridge.pub").read_text()
    assert public == f"ssh-ed25519 {found.key.base64} maw-bridge\n"
    argv = ["ssh-keygen", "-y", "-P", "", "-f", str(folder / "bridge")]
    answer = subprocess.run(argv, capture_output=True, check=True)
    assert answer.stdout.decode().split()[:2] == public.split()[:2]
    assert sorted(path.name for path in folder.iterdir()) == [
        ".gitignore",
        "bridge",
        "bridge.pub",
        "made.json",
    ]


def test_nothing_is_overwritten(folder: Path) -> None:
    assert keypairs.make(folder, "admin")
    before = (folder / "admin").read_bytes()
    assert not keypairs.make(folder, "admin")
    assert (folder / "admin").read_bytes() == before


def test_a_folder_that_is_too_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    keypairs.prepare(tmp_path / "keys")
    assert mode(tmp_path / "keys") == 0o700


def test_a_public_half_that_is_missing_is_made_anew(folder: Path) -> None:
    keypairs.make(folder, "admin")
    public = (folder / "admin.pub").read_text()
    (folder / "admin.pub").unlink()
    assert not keypairs.make(folder, "admin")
    assert (folder / "admin.pub").read_text() == public


def test_half_a_pair_is_noticed(folder: Path) -> None:
    keypairs.make(folder, "admin")
    keypairs.make(folder, "bridge")
    (folder / "admin.pub").write_bytes((folder / "bridge.pub").read_bytes())
    with pytest.raises(KeysError, match=r"admin\.pub is not the public half"):
        keypairs.make(folder, "admin")
    (folder / "admin").unlink()
    with pytest.raises(KeysError, match=r"admin\.pub is there without its private key"):
        keypairs.make(folder, "admin")


def test_no_key_is_made_in_the_middle_of_a_rotation(folder: Path) -> None:
    keypairs.make(folder, "bridge", ".next")
    with pytest.raises(KeysError, match=r"bridge\.next is there\. Run `cutter keys rotate"):
        keypairs.make(folder, "bridge")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 5000,
        b"x" * 200_000,
        "กุญแจ".encode(),
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n\xff\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ],
    ids=lambda content: ascii(content[:12]),
)
def test_what_is_no_private_key_is_refused(folder: Path, content: bytes) -> None:
    (folder / "admin").write_bytes(content)
    with pytest.raises(KeysError, match="is no private key"):
        keypairs.load(folder / "admin")


@given(st.binary(max_size=200))
def test_rubbish_is_a_value_error_and_nothing_else(content: bytes) -> None:
    import base64

    begin, end = b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"\n-----END OPENSSH PRIVATE KEY-----\n"
    for text in (content, begin + base64.b64encode(b"openssh-key-v1\0" + content) + end):
        try:
            keypairs.public_of(text)
        except ValueError:
            continue


def test_a_passphrase_is_seen(folder: Path) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret words", "-f", str(folder / "admin")]
    subprocess.run(argv, check=True)
    found = keypairs.load(folder / "admin")
    assert found is not None
    assert found.encrypted
    assert found.beside == found.key


def test_a_key_that_cannot_be_read_is_said_so(folder: Path) -> None:
    (folder / "admin").mkdir()
    with pytest.raises(CannotRead):
        keypairs.load(folder / "admin")


def test_a_full_disk_leaves_no_half_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        keypairs.make(folder, "admin")
    monkeypatch.undo()
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore"]


def test_what_a_killed_one_left_is_swept_under_the_lock(folder: Path) -> None:
    (folder / ".making-abc").mkdir()
    (folder / ".making-abc" / "key").write_text("half")
    with keypairs.locked(folder):
        assert not list(folder.glob(".making-*"))


def test_a_key_is_forgotten_wholly(folder: Path) -> None:
    keypairs.make(folder, "admin", ".previous")
    keypairs.forget(folder, "admin")
    keypairs.forget(folder, "admin")
    assert not list(folder.glob("admin*"))


def test_the_date_of_making_is_kept(folder: Path) -> None:
    before = time.time()
    keypairs.make(folder, "admin")
    found = keypairs.load(folder / "admin")
    assert found is not None
    assert before <= key_dates.dates(folder)[found.key.fingerprint] <= time.time()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": "b", "c": 1}', b"\xff", b"[" * 100_000])
def test_damaged_dates_are_no_dates(folder: Path, content: bytes) -> None:
    (folder / key_dates.FILE_NAME).write_bytes(content)
    assert set(key_dates.dates(folder)) <= {"c"}
    key_dates.note(folder, "SHA256:x", NOW)
    assert key_dates.dates(folder)["SHA256:x"] == NOW


def test_an_age_is_told_in_days() -> None:
    assert key_dates.age(NOW - 3.5 * DAY, NOW - 3.5 * DAY, NOW) == key_dates.Age(3)


@pytest.mark.parametrize(
    ("made", "modified", "now"),
    [
        (None, NOW, NOW),
        (NOW, NOW, NOW - 3650 * DAY),
        (NOW, NOW, 0.0),
        (0.0, 0.0, NOW),
        (NOW - 3650 * DAY, NOW, NOW + 20 * 3650 * DAY),
        (NOW, NOW - 3650 * DAY, NOW + DAY),
        (float("nan"), NOW, NOW),
        (float("inf"), NOW, NOW),
        (-1e300, NOW, NOW),
    ],
)
def test_no_age_is_claimed_that_a_wrong_clock_made(made: float | None, modified: float, now: float) -> None:
    found = key_dates.age(made, modified, now)
    assert found.days is None
    assert found.remark


@given(st.floats(), st.floats(), st.floats())
def test_no_clock_makes_it_fail(made: float, modified: float, now: float) -> None:
    found = key_dates.age(made, modified, now)
    assert found.days is None or 0 <= found.days <= 7300
