"""The token's secret is read only where nobody else could; the commands that make it ask for little."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maw.errors import CannotWrite, InvalidSetting, TokenUnusable
from maw.proxmox import token
from maw.vault import encrypt
from tests.proxmox.replay import SECRET

TOKEN = "maw@pve!mirror"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "proxmox-token"


def put(file: Path, content: bytes, mode: int = 0o600) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"\n  {SECRET}\r\n"], ids=ascii)
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_with_one_line_is_read(file: Path, content: str, mode: int) -> None:
    assert token.read_secret(put(file, content.encode(), mode)) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601, 0o777], ids=oct)
def test_a_file_that_others_may_touch_is_refused(file: Path, mode: int) -> None:
    with pytest.raises(TokenUnusable, match=f"others may read it .*{mode:04o}.*chmod 600") as caught:
        token.read_secret(put(file, SECRET.encode(), mode))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (f"{SECRET}\n{SECRET}".encode(), "something else"),
        (f"value {SECRET}".encode(), "something else"),
        (f"{SECRET}\0".encode(), "something else"),
        (b"\xff\xfe" + SECRET.encode(), "something else"),
        ("ความลับของฉัน".encode(), "something else"),
        (b"short", "something else"),
        (b"x" * 300, "something else"),
        (b"x" * 100_000, "too large"),
    ],
    ids=ascii,
)
def test_a_file_without_a_secret_is_refused_and_not_shown(file: Path, content: bytes, word: str) -> None:
    with pytest.raises(TokenUnusable, match=word) as caught:
        token.read_secret(put(file, content))
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_a_missing_file_and_a_folder_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenUnusable, match=r"is missing.*maw proxmox-token --apply"):
        token.read_secret(file)
    with pytest.raises(TokenUnusable, match="it is a folder"):
        token.read_secret(tmp_path)


def test_a_file_of_somebody_else_is_refused(unprivileged: Path) -> None:
    path = unprivileged / "token"
    path.write_text(SECRET)
    path.chmod(0)
    with pytest.raises(TokenUnusable, match="Check its owner and mode"):
        token.read_secret(path)


def test_a_stored_secret_is_private_and_read_back(file: Path) -> None:
    token.prepare(file)
    token.store_secret(file, SECRET)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token.read_secret(file) == SECRET
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_place_where_nothing_can_be_put_is_found_before(file: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(CannotWrite):
        token.prepare(file)
    with pytest.raises(TokenUnusable, match="it is a folder"):
        token.prepare(tmp_path)


@pytest.fixture
def vault(file: Path, password: Path) -> Path:
    """A vault that Ansible itself made. Its content is safe with any mode."""
    put(file, encrypt(file, SECRET.encode(), TokenUnusable), 0o644)
    assert file.read_bytes().startswith(b"$ANSIBLE_VAULT;")
    assert SECRET.encode() not in file.read_bytes()
    return file


def test_a_vault_is_read_with_its_password_file_and_written_as_a_vault_again(
    vault: Path, password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert token.read_secret(vault) == SECRET
    other = SECRET[::-1]
    token.prepare(vault)
    token.store_secret(vault, other)
    assert other.encode() not in vault.read_bytes()
    assert token.read_secret(vault) == other
    password.write_text("wrong\n")
    with pytest.raises(TokenUnusable, match="ansible-vault refused it") as caught:
        token.read_secret(vault)
    assert other not in str(caught.value)
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE")
    with pytest.raises(TokenUnusable, match="no password file is named"):
        token.read_secret(vault)


def test_a_damaged_vault_is_refused(vault: Path) -> None:
    vault.write_bytes(vault.read_bytes()[:-40])
    with pytest.raises(TokenUnusable, match="ansible-vault refused it"):
        token.read_secret(vault)


def test_the_commands_make_a_role_a_user_a_token_and_rights_for_both() -> None:
    commands = token.pveum_commands(TOKEN)
    assert commands == (
        ("pveum", "role", "add", "MawMirror", "--privs",
         "Datastore.AllocateSpace Datastore.Audit VM.Audit VM.Backup"),
        ("pveum", "user", "add", "maw@pve", "--comment", "maw mirrors containers"),
        ("pveum", "user", "token", "add", "maw@pve", "mirror", "--privsep", "1", "--output-format", "json"),
        ("pveum", "acl", "modify", "/vms", "--users", "maw@pve", "--roles", "MawMirror"),
        ("pveum", "acl", "modify", "/vms", "--tokens", TOKEN, "--roles", "MawMirror"),
        ("pveum", "acl", "modify", "/storage", "--users", "maw@pve", "--roles", "MawMirror"),
        ("pveum", "acl", "modify", "/storage", "--tokens", TOKEN, "--roles", "MawMirror"),
    )  # fmt: skip
    assert [token.shows_secret(command) for command in commands] == [False, False, True, *[False] * 4]


def words(existing: token.Existing, *, renew: bool = False) -> list[str]:
    commands = token.pveum_commands(TOKEN, existing, renew=renew)
    return [" ".join(one for one in command[1:4] if one.isalpha()) for command in commands[:-4]]


def test_what_is_there_is_kept_mended_or_replaced() -> None:
    whole = token.Existing(role=True, user=True, token=True)
    assert words(whole) == ["role modify MawMirror"]
    assert words(whole, renew=True) == ["role modify MawMirror", "user token remove", "user token add"]
    mended = token.Existing(role=True, user=True, token=True, separate=False)
    assert words(mended) == ["role modify MawMirror", "user token modify"]
    assert words(token.Existing(role=True, user=True)) == ["role modify MawMirror", "user token add"]
    assert words(token.Existing(), renew=True) == ["role add MawMirror", "user add", "user token add"]


@pytest.mark.parametrize("text", ["maw@pve!mirror", "root@pam!x1", "a.b-c_d@my-realm!T.o-k_e"])
def test_an_id_of_a_token_is_taken_apart(text: str) -> None:
    user, name = token.split_token_id(text)
    assert f"{user}!{name}" == text


@pytest.mark.parametrize("text", ["-x", "a b@pve!c", "a@pve!c;d", "a@pve!$(id)", "--help@pve", "a/b@pve!c"])
def test_what_is_no_id_reaches_no_command(text: str) -> None:
    with pytest.raises(InvalidSetting):
        token.pveum_commands(text)


WHOLE = token.Existing(
    role=True,
    user=True,
    token=True,
    privileges=frozenset({"Datastore.AllocateSpace", "Datastore.Audit", "VM.Audit", "VM.Backup"}),
    comment=token.COMMENT,
    entries=tuple(
        token.Entry(path, kind, who, token.ROLE)
        for path in ("/vms", "/storage")
        for kind, who in (("user", "maw@pve"), ("token", TOKEN))
    ),
)


def test_where_all_is_right_no_command_is_left() -> None:
    assert token.pveum_commands(TOKEN, WHOLE) == ()
    renewed = [command[1:4] for command in token.pveum_commands(TOKEN, WHOLE, renew=True)]
    assert renewed == [
        ("user", "token", "remove"),
        ("user", "token", "add"),
        ("acl", "modify", "/vms"),
        ("acl", "modify", "/storage"),
    ]


def test_a_privilege_too_many_and_a_right_that_is_not_passed_on_are_mended() -> None:
    more = replace(WHOLE, privileges=WHOLE.privileges | {"Sys.Audit"})
    assert [command[1:3] for command in token.pveum_commands(TOKEN, more)] == [("role", "modify")]
    kept = (replace(WHOLE.entries[0], propagate=False), *WHOLE.entries[1:])
    assert token.pveum_commands(TOKEN, replace(WHOLE, entries=kept)) == (
        ("pveum", "acl", "modify", "/vms", "--users", "maw@pve", "--roles", "MawMirror"),
    )


def removed(existing: token.Existing) -> list[str]:
    return [" ".join(command[1:]) for command in token.removal_commands(TOKEN, existing)]


def test_what_was_made_is_taken_away_in_the_order_that_works() -> None:
    assert removed(WHOLE) == [
        "acl delete /vms --users maw@pve --roles MawMirror",
        f"acl delete /vms --tokens {TOKEN} --roles MawMirror",
        "acl delete /storage --users maw@pve --roles MawMirror",
        f"acl delete /storage --tokens {TOKEN} --roles MawMirror",
        "user token remove maw@pve mirror",
        "user delete maw@pve",
        "role delete MawMirror",
    ]
    assert removed(token.Existing()) == []


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"comment": "my own"}, "user delete maw@pve"),
        ({"others": ("backup",)}, "user delete maw@pve"),
        ({"entries": (token.Entry("/", "user", "maw@pve", "PVEAuditor"),)}, "user delete maw@pve"),
        ({"entries": (token.Entry("/vms", "group", "family", "MawMirror"),)}, "role delete MawMirror"),
    ],
)
def test_what_others_made_or_use_stays(change: dict[str, Any], kept: str) -> None:
    found = removed(replace(WHOLE, **change))
    assert kept not in found
    assert "user token remove maw@pve mirror" in found
