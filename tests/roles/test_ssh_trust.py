"""What the role ssh_trust writes into a file of keys, and what its script does to Windows' one."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.loading import load

ROLE = Path(__file__).resolve().parents[2] / "roles" / "ssh_trust"
BRIDGE_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAILQXvX1XRGYp+jYeMI4nbr5UF+wstNwyhSPaJhXmoOhI"
ADMIN_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAILwIrhj5HTyWw9NvwkIl1pVCeVqoKznzkXOXW3canSNn"
HERS = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFBsYW50ZWQgYnkgbW9sZWN1bGUsIG9mIG5vYm9keS4u hers"
COMMAND = 'restrict,command="wsl.exe -d Ubuntu -u root --exec /usr/sbin/sshd -i"'
BRIDGE = f'{COMMAND},from="192.168.1.129" ssh-ed25519 {BRIDGE_KEY} maw-bridge'
ADMIN = f"ssh-ed25519 {ADMIN_KEY} maw-admin"


trust = load(ROLE / "filter_plugins" / "ssh_trust.py")

GOLDEN = {
    "empty": ("", f"{BRIDGE}\n{ADMIN}\n"),
    "there already": (f"{ADMIN}\n{BRIDGE}\n", f"{ADMIN}\n{BRIDGE}\n"),
    "no final newline": (HERS, f"{HERS}\n{BRIDGE}\n{ADMIN}\n"),
    "windows line ends": (f"{HERS}\r\n", f"{HERS}\r\n{BRIDGE}\r\n{ADMIN}\r\n"),
    "twice": (f"{ADMIN}\n{HERS}\n{ADMIN} again\n{BRIDGE}\n", f"{ADMIN}\n{HERS}\n{BRIDGE}\n"),
    "another comment": (f"{ADMIN} at home\n{BRIDGE}\n", f"{ADMIN} at home\n{BRIDGE}\n"),
    "no command": (
        f"ssh-ed25519 {BRIDGE_KEY} maw-bridge\n{ADMIN}\n",
        f"{BRIDGE}\n{ADMIN}\n",
    ),
    "another distro": (f"{BRIDGE.replace('Ubuntu', 'Debian')}\n{ADMIN}\n", f"{BRIDGE}\n{ADMIN}\n"),
    "more addresses": (
        f"{BRIDGE.replace('192.168.1.129', '192.168.1.0/24,10.8.0.1')}\n{ADMIN}\n",
        f"{BRIDGE.replace('192.168.1.129', '192.168.1.0/24,10.8.0.1')}\n{ADMIN}\n",
    ),
    "other addresses": (f"{BRIDGE.replace('192.168.1.129', '10.8.0.1')}\n{ADMIN}\n", f"{BRIDGE}\n{ADMIN}\n"),
    "no addresses": (f"{COMMAND} ssh-ed25519 {BRIDGE_KEY}\n{ADMIN}\n", f"{BRIDGE}\n{ADMIN}\n"),
    "options in another order": (
        f'from="192.168.1.129",{COMMAND} ssh-ed25519 {BRIDGE_KEY}\n{ADMIN}\n',
        f'from="192.168.1.129",{COMMAND} ssh-ed25519 {BRIDGE_KEY}\n{ADMIN}\n',
    ),
    "a remark with the key": (f"# {ADMIN}\n", f"# {ADMIN}\n{BRIDGE}\n{ADMIN}\n"),
    "a mark of utf-8": (f"\ufeff{HERS}\n", f"\ufeff{HERS}\n{BRIDGE}\n{ADMIN}\n"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_each_key_is_there_once_and_others_stay(name: str) -> None:
    before, after = GOLDEN[name]
    assert trust.merged(before.encode(), [BRIDGE, ADMIN]).decode() == after
    assert trust.merged(after.encode(), [BRIDGE, ADMIN]).decode() == after


_LINES = st.sampled_from(
    [
        HERS,
        ADMIN,
        BRIDGE,
        f"{COMMAND} ssh-ed25519 {BRIDGE_KEY}",
        "# note",
        "",
        "nonsense \xe9",
        f'from="x" {HERS}',
    ]
)


@given(st.lists(_LINES), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_foreign_bytes_are_never_lost_and_removing_leaves_just_them(
    lines: list[str], end: str, ended: bool
) -> None:
    content = (end.join(lines) + (end if ended and lines else "")).encode("latin-1")
    after = trust.merged(content, [BRIDGE, ADMIN])
    foreign = [line for line in lines if ADMIN_KEY not in line and BRIDGE_KEY not in line]
    left = trust.without(after, [BRIDGE, ADMIN]).decode("latin-1")
    assert [line for line in left.replace("\r", "").split("\n") if line] == [line for line in foreign if line]
    assert after.count(ADMIN_KEY.encode()) == after.count(BRIDGE_KEY.encode()) == 1
    assert trust.merged(after, [BRIDGE, ADMIN]) == after


def test_a_change_is_told_with_the_sum_of_what_was_there() -> None:
    found = trust.change(base64.b64encode(HERS.encode()).decode(), [ADMIN])
    assert found["changed"] is True
    assert found["sum"] == hashlib.sha256(HERS.encode()).hexdigest()
    assert base64.b64decode(found["content"]).decode() == found["text"] == f"{HERS}\n{ADMIN}\n"
    again = trust.change(found["content"], [ADMIN])
    assert again["changed"] is False
    gone = trust.change(base64.b64encode(f"{ADMIN}\n".encode()).decode(), [ADMIN], True)
    assert (gone["changed"], gone["empty"]) == (True, True)


def test_a_file_that_windows_would_not_read_is_told() -> None:
    good = {
        "exists": True,
        "content": base64.b64encode(ADMIN.encode()).decode(),
        "sid": "S-1-5-21-1-2-3-1001",
        "sddl": "O:BAD:PAI(A;;FA;;;SY)(A;;FA;;;BA)",
    }
    assert trust.refused(good) == []
    assert trust.refused({**good, "exists": False, "content": "", "sddl": ""}) == []
    assert trust.refused({**good, "sddl": "O:BAD:AI(A;;FA;;;SY)(A;;0x1301bf;;;AU)"}) == ["AU may write to it"]
    wide = base64.b64encode(ADMIN.encode("utf-16")).decode()
    assert "UTF-16" in trust.refused({**good, "content": wide})[0]


def test_the_lines_are_those_of_the_very_host() -> None:
    places = [
        {"host": "notebook", "kind": "windows", "path": "C:\\keys", "lines": [BRIDGE, ADMIN]},
        {"host": "notebook-wsl", "kind": "distro", "path": "~/.ssh/authorized_keys", "lines": ["x"]},
    ]
    shown = json.dumps({"schema": "maw.keys-show/1", "places": places})
    assert trust.lines(shown, "notebook") == [BRIDGE, ADMIN]
    assert trust.path(shown, "notebook") == "C:\\keys"
    assert trust.lines("", "notebook") == []


def test_only_a_whole_name_is_pinned() -> None:
    assert trust.is_pinned(f"notebook-wsl {ADMIN}\n", "notebook-wsl")
    assert not trust.is_pinned(f"notebook-wsl {ADMIN}\n", "notebook")


def test_what_must_be_mended_is_told_with_its_place() -> None:
    report = {
        "keys": [{"path": "keys/admin", "problems": ["others may read it"]}],
        "places": [
            {
                "host": "notebook",
                "path": None,
                "error": "no route",
                "problems": [],
                "keys": [{"line": 3, "key": "admin", "problems": ["is there twice"]}],
            }
        ],
        "problems": ["the rotation of admin is not finished"],
    }
    assert trust.problems(json.dumps(report)) == [
        "the rotation of admin is not finished",
        "keys/admin: others may read it",
        "notebook, its file of keys: no route",
        "notebook, its file of keys, line 3: is there twice",
    ]


def test_the_words_by_which_a_host_with_a_key_of_its_own_is_known_are_maws(
    cutter_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inventory").mkdir()
    own = {"maw_addresses": ["192.168.1.146"], "ansible_ssh_private_key_file": "~/k"}
    (tmp_path / "inventory" / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"own": own}}}))
    monkeypatch.setenv("MAW_WORKSPACE", str(tmp_path))
    done = cutter_command("keys", "show", "own", "--json")
    assert done.returncode == 2
    assert b"reached with a key of your own" in done.stderr
    for path in ("ssh_trust/tasks/preflight.yml", "wsl_distro/tasks/bootstrap_one.yml"):
        assert "reached with a key of your own" in (ROLE.parent / path).read_text("utf-8")


def test_the_script_for_windows_parses_and_names_itself() -> None:
    parser = pytest.importorskip(
        "tree_sitter_powershell", reason="the grammar of PowerShell is not installed"
    )
    from tree_sitter import Language, Parser

    text = (ROLE / "files" / "authorized_keys.ps1").read_bytes()
    assert text.startswith(b"# maw-script: authorized-keys\n")
    assert text.isascii()
    tree = Parser(Language(parser.language())).parse(text)
    assert not tree.root_node.has_error


def test_the_scripts_rights_are_those_that_maw_gives() -> None:
    from maw.transport import windows_files

    text = (ROLE / "files" / "authorized_keys.ps1").read_text("ascii")
    for sid in (windows_files.ADMINISTRATORS, windows_files.SYSTEM):
        assert f"'{sid}'" in text


def test_the_stand_in_plays_the_script(tmp_path: Path) -> None:
    from tests.fakes.windows.programs import acl, drive, machine, maw_scripts
    from tests.fakes.windows.programs.state import Machine

    machine.install(tmp_path, {"account": "you"}, address="127.0.0.1", port=0)
    windows = Machine(str(tmp_path))
    path = "C:\\ProgramData\\ssh\\administrators_authorized_keys"
    play = maw_scripts.SCRIPTS["authorized-keys"]
    old = play(windows, {"Path": path, "Action": "look"}, False)["result"]
    plan = trust.change(old["content"], [ADMIN])
    words = {"Path": path, "Action": "write", "Content": plan["content"]}
    assert "changed meanwhile" in play(windows, {**words, "Expected": "0" * 64}, False)["error"]
    known = plan["sum"] if old["exists"] else "missing"
    assert play(windows, {**words, "Expected": known}, True)["result"] == old, "check mode changes nothing"
    new = play(windows, {**words, "Expected": known}, False)["result"]
    assert base64.b64decode(new["content"]).decode() == plan["text"]
    assert trust.refused(new) == []
    assert Path(str(drive.resolve(windows, path))).read_bytes() == base64.b64decode(new["content"])
    assert acl.trusted(acl.Store(windows).get(path), windows.state["sid"])
