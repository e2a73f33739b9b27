"""Ansible Vault's files, by the real ansible-vault."""

from __future__ import annotations

from pathlib import Path

import pytest

from maw import vault
from maw.errors import HubTokenUnusable, TokenUnusable


@pytest.mark.parametrize("content", [b"secret\n", "ความลับ 🙂 $(id)\n".encode(), b"x" * 100_000 + b"\n"])
def test_what_was_encrypted_is_read_again(tmp_path: Path, password: Path, content: bytes) -> None:
    path = tmp_path / "ไฟล์ $(id)"
    path.write_bytes(vault.encrypt(path, content, TokenUnusable))
    assert path.read_bytes().startswith(vault.MARK)
    assert vault.view(path, TokenUnusable) == content


@pytest.mark.parametrize("refusal", [TokenUnusable, HubTokenUnusable])
def test_another_password_is_refused_by_the_error_that_was_asked_for(
    tmp_path: Path, password: Path, refusal: type[TokenUnusable]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(vault.encrypt(path, b"secret", refusal))
    password.write_text("wrong\n")
    with pytest.raises(refusal, match="Check the password"):
        vault.view(path, refusal)


def test_without_a_password_file_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)
    with pytest.raises(TokenUnusable, match="Set ANSIBLE_VAULT_PASSWORD_FILE"):
        vault.encrypt(tmp_path / "file", b"secret", TokenUnusable)
