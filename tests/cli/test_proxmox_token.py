"""`maw proxmox-token`: printed, or made on a server over real SSH, against the stand-in's pveum and API."""

from __future__ import annotations

import getpass
import json
import secrets
import shlex
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw.cli.workspace import create
from maw.config import Workspace
from maw.transport import keys
from maw.transport.loopback import LoopbackSatellite, find_sshd
from tests.fakes.proxmox import FakeNode
from tests.fakes.proxmox.api import ApiServer
from tests.fakes.proxmox.programs.pve import access

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

TOKEN = "maw@pve!mirror"


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    found = Workspace(tmp_path / "space")
    create(found.root)
    monkeypatch.setenv("MAW_WORKSPACE", str(found.root))
    return found


def test_without_apply_the_commands_are_printed_for_a_shell_and_nothing_is_asked(
    maw_command: Command, space: Workspace
) -> None:
    answer = maw_command("proxmox-token")
    assert answer.returncode == 0, answer.stderr.decode()
    lines = answer.stdout.decode().splitlines()
    assert all(shlex.split(line)[0] == "pveum" for line in lines)
    assert f"--tokens '{TOKEN}'" in lines[4]
    assert b"mode 0600" in answer.stderr
    assert not (space.keys / "proxmox-token").exists()
    shown = json.loads(maw_command("proxmox-token", "--json").stdout)
    assert shown["schema"] == "maw.proxmox-token/1"
    assert shown["applied"] is False
    assert [shlex.join(one) for one in shown["commands"]] == lines


@pytest.mark.parametrize(
    ("arguments", "env", "code", "word"),
    [
        (["--renew"], {}, 2, "Add --apply"),
        (["--dry-run"], {}, 2, "Add --apply or --remove"),
        (["--apply", "--remove"], {}, 2, "Give one of them"),
        (["--apply"], {}, 2, "in group proxmox"),
        (["--apply"], {"MAW_PROXMOX_HOST": "server"}, 2, "example's address"),
        (["--apply"], {"MAW_PROXMOX_HOST": "nobody"}, 2, "no host called nobody"),
        ([], {"MAW_PROXMOX_TOKEN_ID": "root; reboot"}, 10, "proxmox.token_id"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_next_step(
    maw_command: Command, space: Workspace, arguments: list[str], env: dict[str, str], code: int, word: str
) -> None:
    answer = maw_command("proxmox-token", *arguments, env=env)
    assert (answer.returncode, answer.stdout) == (code, b"")
    assert word in answer.stderr.decode()


class Server(LoopbackSatellite):
    """The played node behind a real sshd; its programs come first on the path."""

    def __init__(self, folder: Path, programs: Path) -> None:
        super().__init__(folder, name="pve")
        self.programs = programs

    def _config(self) -> str:
        path = f"{self.programs}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return super()._config().replace("SetEnv ", f'SetEnv PATH="{path}" ')


@dataclass
class Place:
    """A server that is reached over SSH and, while its API runs, over HTTPS."""

    node: FakeNode
    api: ApiServer
    space: Workspace
    maw: Command

    @property
    def file(self) -> Path:
        return self.space.keys / "proxmox-token"

    @property
    def known(self) -> dict[str, Any]:
        return access.load(self.node.state)

    @property
    def secret(self) -> str:
        return str(self.known["tokens"][TOKEN]["value"])

    def settings(self, *, pinned: bool = True, port: int | None = None) -> None:
        lines = ["[proxmox]", f"api_port = {port or self.api.port}"]
        lines += [f'fingerprint = "{self.api.files.fingerprint}"'] if pinned else []
        self.space.config_file.write_text("\n".join(lines) + "\n")

    def stand_before(self, condition: str, action: str) -> None:
        """Let pveum do something else where a shell's condition holds."""
        real = self.node.folder / "real"
        self.node.install(real)
        text = f'#!/bin/sh\nif [ {condition} ]; then {action}; fi\nexec {real}/pveum "$@"\n'
        (self.node.programs / "pveum").write_text(text)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run the verb and expect its code; whatever happens, no secret is shown."""
        answer = self.maw("proxmox-token", "--apply", *arguments)
        said = (answer.stdout + answer.stderr).decode()
        assert answer.returncode == code, said
        for one in self.known["tokens"].values():
            assert one["value"] not in said
        return said


@pytest.fixture
def place(runtime_root: Path, space: Workspace, maw_command: Command) -> Iterator[Place]:
    reason = FakeNode.available() or (None if find_sshd() else "no sshd program is installed here")
    if reason is not None:
        pytest.skip(reason)
    folder = runtime_root / f"pve-{secrets.token_hex(3)}"
    node = FakeNode(folder / "node")
    with Server(folder / "sshd", node.programs) as server, ApiServer(node) as api:
        host = {
            "maw_addresses": [server.address],
            "ansible_port": server.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(server.identity),
        }
        (space.inventory / "hosts.yml").write_text(json.dumps({"proxmox": {"hosts": {"pve": host}}}), "utf-8")
        keys.pin(space.known_hosts, "pve", server.host_keys)
        found = Place(node, api, space, maw_command)
        found.settings()
        yield found
    shutil.rmtree(folder, ignore_errors=True)


def test_the_token_is_made_stored_and_looked_at_and_again_it_is_kept(place: Place) -> None:
    said = place.run()
    assert "done: the token maw@pve!mirror on pve made: " in said
    assert "checked: over the API" in said
    assert place.file.read_text() == f"{place.secret}\n"
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o600
    assert sorted(place.known["roles"]["MawMirror"]) == [
        "Datastore.AllocateSpace",
        "Datastore.Audit",
        "VM.Audit",
        "VM.Backup",
    ]
    assert {(one["path"], one["ugid"]) for one in place.known["acl"]} == {
        (path, who) for path in ("/vms", "/storage") for who in ("maw@pve", TOKEN)
    }
    assert place.known["tokens"][TOKEN]["privsep"] == 1
    before = place.secret
    shown = json.loads(place.run("--json"))
    assert (shown["made"], shown["checked"], shown["doubt"]) == (False, "https", None)
    assert place.secret == before


def test_a_role_that_lost_a_privilege_is_mended(place: Place) -> None:
    place.run()
    with access.change(place.node.state) as known:
        known["roles"]["MawMirror"] = ["VM.Audit"]
        known["acl"] = []
    assert "checked: over the API" in place.run()
    assert len(place.known["roles"]["MawMirror"]) == 4


def test_renew_replaces_the_secret_there_and_here(place: Place) -> None:
    place.run()
    before = place.secret
    place.run("--renew")
    assert place.secret != before
    assert place.file.read_text().strip() == place.secret
    assert before not in place.file.read_text()


def test_a_secret_that_is_lost_or_wrong_is_said_with_the_way_out(place: Place) -> None:
    place.run()
    text = place.file.read_text()
    place.file.unlink()
    assert "a secret is shown only once" in place.run(code=98)
    place.file.write_text(text[::-1].strip())
    place.file.chmod(0o600)
    said = place.run(code=98)
    assert "does not accept the secret" in said
    assert "--renew" in said
    place.file.chmod(0o644)
    assert "others may read it" in place.run(code=98)
    place.run("--renew")
    assert place.file.read_text().strip() == place.secret


def test_rights_that_are_not_there_after_all_are_no_success(place: Place) -> None:
    place.run()
    place.stand_before('"$1 $3" = "acl /storage"', "exit 0")
    with access.change(place.node.state) as known:
        known["acl"] = []
    said = place.run(code=94)
    assert "it lacks the privilege Datastore.AllocateSpace on /storage" in said
    assert "done" not in said


def test_an_api_that_cannot_be_reached_is_said_and_the_rights_are_looked_at_over_ssh(
    place: Place, free_port: int
) -> None:
    place.settings(port=free_port)
    said = place.run()
    assert "checked: over SSH" in said
    assert "Connection refused" in said


def test_a_certificate_that_nobody_trusts_yet_comes_with_its_fingerprint_read_over_ssh(place: Place) -> None:
    place.settings(pinned=False)
    said = place.run()
    assert f'fingerprint = "{place.api.files.fingerprint}"' in said
    assert not [one for one in place.api.requests if one.who == TOKEN]
    shown = json.loads(place.run("--json"))
    assert (shown["checked"], shown["fingerprint"]) == ("ssh", place.api.files.fingerprint)


def test_a_place_where_the_secret_cannot_be_kept_is_found_before_anything_is_made(place: Place) -> None:
    place.file.mkdir(parents=True)
    assert "it is a folder" in place.run(code=98)
    assert place.known["tokens"] == {}
    assert place.known["roles"] == {}


def test_a_command_that_fails_there_is_said_with_its_words(place: Place) -> None:
    (place.node.programs / "pveum").write_text('#!/bin/sh\necho "no quorum!" >&2\nexit 255\n')
    said = place.run(code=90)
    assert "`pveum role list` failed" in said
    assert "no quorum!" in said


def test_a_host_without_proxmox_is_said_to_be_none(place: Place) -> None:
    (place.node.programs / "pveum").unlink()
    assert "none of the programs of Proxmox VE" in place.run(code=90)


def test_a_new_token_whose_answer_cannot_be_read_is_not_shown(place: Place) -> None:
    place.stand_before('"$2 $3" = "token add"', "echo value: abc-very-secret; exit 0")
    said = place.run(code=90)
    assert "very-secret" not in said
    assert "not shown" in said


def changes(place: Place, *arguments: str) -> dict[str, Any]:
    answer = place.maw("proxmox-token", *arguments, "--json")
    assert answer.returncode == 0, answer.stderr.decode()
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_a_second_run_runs_nothing_and_says_so(place: Place) -> None:
    assert changes(place, "--apply")["changed"] is True
    before = (place.node.folder / "access.json").read_bytes()
    again = changes(place, "--apply")
    assert (again["changed"], again["commands"], again["checked"]) == (False, [], "https")
    assert again["fingerprint"] == place.api.files.fingerprint
    assert (place.node.folder / "access.json").read_bytes() == before


def test_a_dry_run_shows_what_would_be_run_and_changes_nothing(place: Place) -> None:
    said = place.run("--dry-run")
    assert "pveum role add MawMirror" in said
    assert "nothing was changed on pve" in said
    assert (place.known["roles"], place.file.exists()) == ({}, False)
    place.run()
    assert "there is nothing to do" in place.run("--dry-run")
    assert changes(place, "--apply", "--dry-run")["changed"] is False
    assert changes(place, "--remove", "--dry-run")["changed"] is True
    assert place.file.exists()
    place.file.unlink()
    assert "a secret is shown only once" in place.run("--dry-run", code=98)


def test_remove_leaves_the_server_as_it_was_and_what_others_made_alone(place: Place) -> None:
    with access.change(place.node.state) as known:
        known["users"]["you@pve"] = {"enable": 1}
        known["acl"].append({"path": "/", "ugid": "you@pve", "roleid": "PVEAuditor", "propagate": 1})
    before = place.known
    place.run()
    removed = changes(place, "--remove")
    assert (removed["changed"], len(removed["commands"])) == (True, 7)
    assert place.known == before
    assert not place.file.exists()
    assert changes(place, "--remove")["changed"] is False


def test_a_token_whose_answer_was_cut_off_is_replaced_by_the_next_run(place: Place) -> None:
    real = place.node.folder / "real" / "pveum"
    place.stand_before('"$2 $3" = "token add"', f'{real} "$@" > /dev/null; kill -KILL $PPID; exit 0')
    assert place.maw("proxmox-token", "--apply").returncode != 0
    assert (TOKEN in place.known["tokens"], place.file.exists()) == (True, False)
    before = place.secret
    place.node.install(place.node.programs)
    assert "checked: over the API" in place.run()
    assert place.secret != before
    assert place.file.read_text().strip() == place.secret
    assert changes(place, "--apply")["changed"] is False
    assert not list(place.file.parent.glob(".proxmox-token*"))
