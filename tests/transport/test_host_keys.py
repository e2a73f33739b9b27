"""Host keys that were handed over, or read through a pinned hop."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import CannotRead, Misuse
from maw.transport import host_keys
from maw.transport.host_keys import decoded, fingerprints, handed_over, one_key
from tests.transport.cluster import NEW, OLD

LINE = f"{OLD.kind} {OLD.base64} root@notebook"
LISTED = f"256 {OLD.fingerprint} root@notebook (ED25519)"
TEXTS = [
    LINE,
    f"notebook,192.168.1.146 {LINE}",
    LISTED,
    f"# ลายนิ้วมือของโน้ตบุ๊ก\r\n{LINE}\r\n",
    f"The fingerprint is:\n\n    {OLD.fingerprint}.\n",
    f'{{"host_key": "{OLD.fingerprint}"}}',
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_hand_over_file_is_read_however_it_was_written(tmp_path: Path, text: str, encoding: str) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "file").write_bytes(mark + text.encode(encoding))
    assert handed_over(tmp_path / "file") == {OLD.fingerprint}


def test_an_old_code_page_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("กุญแจ\r\n".encode("cp874") + LINE.encode())
    assert handed_over(tmp_path / "file") == {OLD.fingerprint}


def test_several_keys_are_all_accepted() -> None:
    assert fingerprints(f"{LINE}\n{NEW.kind} {NEW.base64}\n") == {OLD.fingerprint, NEW.fingerprint}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 1000,
        bytes(range(256)) * 20,
        b"$(reboot); ../../etc/passwd",
        b"SHA256:tooshort",
        b"SHA256:" + b"A" * 60,
        b"MD5:aa:bb",
        f"ssh-rsa {OLD.base64}".encode(),
        f"ssh-ed25519 {OLD.base64[:-8]}!!".encode(),
        "🔑".encode() * 100,
    ],
    ids=lambda content: ascii(content[:10]),
)
def test_a_file_without_a_host_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Misuse, match="holds no host key"):
        handed_over(tmp_path / "file")


def test_a_private_key_is_named_as_such_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n")
    with pytest.raises(Misuse, match="it is a private key") as raised:
        handed_over(tmp_path / "file")
    assert "c2VjcmV0" not in str(raised.value)


def test_what_is_no_file_or_far_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(LINE.encode() + b"\n" * 100_000)
    for path in (tmp_path / "none", tmp_path, Path("/dev/zero"), tmp_path / "huge"):
        with pytest.raises(CannotRead):
            handed_over(path)


@given(st.binary(max_size=300))
def test_rubbish_holds_nothing_and_breaks_nothing(data: bytes) -> None:
    assert fingerprints(decoded(data)) == frozenset()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LINE + "\n", True),
        (f"Welcome to PowerShell\r\n{LINE}\r\n", True),
        ("", False),
        (f"{LINE}\n{LINE}\n", False),
        (f"{LINE}\nssh-rsa AAAA\n", False),
        (f'command="x" {LINE}', False),
        (f"ssh-ed25519 {OLD.base64[:40]}", False),
        ("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=", False),
        ("There is no distribution with the supplied name.", False),
    ],
)
def test_exactly_one_key_is_taken_from_a_distro(text: str, found: bool) -> None:
    assert (one_key(text) == OLD) is found
    assert (one_key(text) is None) is not found
    assert host_keys.KEY_FILE.endswith("ed25519_key.pub")
