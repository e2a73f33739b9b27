"""The hub's token: where it is read, and what it is never read from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from maw.errors import HubTokenUnusable
from maw.models.weights_token import read_token

TOKEN = "hf_abcdefghijklmnop"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "keys" / "hub-token"
    found.parent.mkdir(mode=0o700)
    return found


def put(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def test_there_may_be_no_token(path: Path) -> None:
    assert read_token(path, {}) is None
    assert read_token(path, {"HF_TOKEN": " "}) is None


def test_the_environment_comes_before_the_file(path: Path) -> None:
    put(path, f"{TOKEN}\n")
    assert read_token(path, {}) == TOKEN
    assert read_token(path, {"HF_TOKEN": "hf_another_one"}) == "hf_another_one"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_may_read_is_refused(path: Path, mode: int) -> None:
    with pytest.raises(HubTokenUnusable, match=rf"others may read it \(mode 0{mode:o}\)\. `chmod 600"):
        read_token(put(path, TOKEN, mode), {})


@pytest.mark.parametrize(
    "text", ["", "\n", "two words\n", f"{TOKEN}\n{TOKEN}", "ไทยไทยไทย", "short", "x" * 600]
)
def test_what_is_no_token_is_refused_and_not_shown(path: Path, text: str) -> None:
    with pytest.raises(HubTokenUnusable) as caught:
        read_token(put(path, text), {})
    assert TOKEN not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_variable_that_is_no_token_is_refused(path: Path) -> None:
    with pytest.raises(HubTokenUnusable, match="the variable HF_TOKEN"):
        read_token(path, {"HF_TOKEN": "two words of text"})


def test_a_folder_or_a_large_file_is_no_token(path: Path) -> None:
    path.mkdir()
    with pytest.raises(HubTokenUnusable, match="Check its owner and mode"):
        read_token(path, {})
    path.rmdir()
    with pytest.raises(HubTokenUnusable, match="too large"):
        read_token(put(path, "x" * 70_000), {})


def test_a_vault_is_opened_with_its_password_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = put(path.parent / "password", "sesame\n")
    put(path, f"{TOKEN}\n")
    program = Path(sys.executable).parent / "ansible-vault"
    argv = [str(program), "encrypt", "--vault-password-file", str(password), str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    path.chmod(0o644)
    with pytest.raises(HubTokenUnusable, match="Set ANSIBLE_VAULT_PASSWORD_FILE"):
        read_token(path, {})
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    assert read_token(path, {}) == TOKEN
    put(password, "wrong\n")
    with pytest.raises(HubTokenUnusable, match="ansible-vault refused it"):
        read_token(path, {})
