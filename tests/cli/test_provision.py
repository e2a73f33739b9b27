"""`cutter provision`, with real Ansible and small playbooks of the tests' own on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from maw.cli.workspace import create
from maw.config import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((SOURCE / "docs/schema/provision.json").read_text("utf-8"))
HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
PROGRAM = """
import sys
from pathlib import Path
from maw.provision import content
content.PACKAGED = Path(sys.argv.pop(1))
from maw.cli import cutter
cutter()
"""


class Place:
    """A workspace whose hosts are this machine, and playbooks of the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.space = Workspace(folder / "space")
        self.content = folder / "content"
        (self.content / "playbooks").mkdir(parents=True)
        (self.content / "roles").mkdir()
        (self.content / "requirements.yml").write_text("collections: []\n", "utf-8")
        create(self.space.root)
        self.hosts(core={"server": HERE}, satellites={"one": HERE, "two": HERE})

    def hosts(self, **groups: dict[str, Any]) -> None:
        listing = {name: {"hosts": hosts} for name, hosts in groups.items()}
        (self.space.inventory / "hosts.yml").write_text(json.dumps(listing), "utf-8")

    def playbook(self, name: str, tasks: str, hosts: str = "all") -> None:
        text = f"- name: Try\n  hosts: {hosts}\n  gather_facts: false\n  tasks:\n"
        indented = "".join(f"    {line}\n" for line in tasks.strip().splitlines())
        (self.content / "playbooks" / f"{name}.yml").write_text(text + indented, "utf-8")

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", PROGRAM, str(self.content), "provision", *arguments]

    def run(self, *arguments: str, code: int = 0, stdin: bytes | None = None) -> tuple[str, str]:
        given = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        answer = subprocess.run(self.argv(*arguments), capture_output=True, check=False, timeout=200, **given)
        said = answer.stdout.decode(), answer.stderr.decode()
        assert answer.returncode == code, said
        assert "Traceback" not in said[1]
        return said

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json", code=code)[0])
        jsonschema.validate(found, SCHEMA)
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.setenv("MAW_WORKSPACE", str(made.space.root))
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    return made


def test_it_says_done_what_changed_and_where(place: Place) -> None:
    place.playbook("site", "- name: Paint\n  ansible.builtin.command: echo red")
    out, err = place.run("site", "--limit", "satellites")
    lines = out.splitlines()
    assert lines[:2] == ["one: changed Paint", "two: changed Paint"]
    assert lines[2].startswith("done: site on one, two: 2 tasks in ")
    assert lines[2].endswith(" 2 changed")
    assert err == ""
    found = place.json("site")
    assert [host["host"] for host in found["hosts"]] == ["server", "one", "two"]
    assert found["done"] is True
    assert json.loads((Path(found["artifacts"]) / "report.json").read_bytes()) == found


def test_a_failure_is_one_block_on_standard_error_and_an_exit_code(place: Place) -> None:
    place.playbook(
        "site",
        "- name: Check\n  ansible.builtin.assert:\n    that: inventory_hostname != 'one'\n"
        "    fail_msg: 10 GB are free. Free 30 GB.",
    )
    out, err = place.run("site", code=101)
    assert "done" not in out
    lines = err.splitlines()
    assert lines[:2] == ["✗ one failed at: Check", "    10 GB are free. Free 30 GB."]
    assert lines[2].startswith("recorded in ")
    assert lines[3].startswith("cutter: 1 of 3 hosts did not get through site; first one, at Check")
    found = place.json("site", code=101)
    assert found["error_kind"] == "PlaybookFailed"
    assert found["hosts"][1]["failures"][0]["message"] == "10 GB are free. Free 30 GB."


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["sites"], 2, "is not one of"),
        (["reach"], 2, "is not one of"),
        (["../site"], 2, "is not one of"),
        (["site", "--limit", "nobody"], 2, "no host called nobody"),
        (["site", "--limit", "@/etc/passwd"], 2, "no host called @/etc/passwd"),
        (["site", "--limit", "all:!one"], 2, "no host called all:!one"),
        (["site", "--limit", ","], 2, "No host of"),
        (["core", "--limit", "one"], 2, "core is for the groups core, proxmox"),
        (["site", "--tags", "a b"], 2, "cannot be a tag"),
        (["site", "--extra-vars", "a"], 2, "NAME=VALUE"),
        (["site", "--extra-vars", "a-b=1"], 2, "NAME=VALUE"),
        (["site", "--extra-vars", "a={"], 2, "begins as JSON"),
        (["site", "--vault-password-file", "/nowhere"], 12, "/nowhere"),
        (["site", "--vault-password-file", "-"], 2, "Without a terminal"),
        (["keys"], 106, "keys.yml"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_next_step(
    place: Place, arguments: list[str], code: int, word: str
) -> None:
    place.playbook("site", "- ansible.builtin.fail:")
    place.playbook("core", "- ansible.builtin.fail:")
    out, err = place.run(*arguments, code=code)
    assert word in err
    assert out == ""
    assert not list((place.space.state / "provision").glob("2*"))


def test_placeholders_of_the_hosts_that_are_meant_are_refused(place: Place) -> None:
    place.hosts(satellites={"one": HERE, "two": {**HERE, "model_weights_token": "CHANGEME"}})
    place.playbook("site", "- ansible.builtin.ping:")
    out, err = place.run("site", code=105)
    assert (out, "two still has a placeholder: model_weights_token is CHANGEME" in err) == ("", True)
    place.run("site", "--limit", "one")


def test_missing_collections_are_said_before_anything(place: Place) -> None:
    place.playbook("site", "- ansible.builtin.ping:")
    path = place.content / "requirements.yml"
    path.write_text("collections: [{name: no.where, version: 1.0.0}]", "utf-8")
    _, err = place.run("site", code=103)
    assert "no.where 1.0.0" in err
    assert f"ansible-galaxy collection install -r {path}" in err


def test_an_encrypted_inventory_needs_its_password(place: Place, tmp_path: Path) -> None:
    password, wrong = tmp_path / "password", tmp_path / "wrong"
    password.write_text("the password", "ascii")
    wrong.write_text("another", "ascii")
    folder = place.space.inventory / "group_vars"
    folder.mkdir()
    (folder / "all.yml").write_text("opened: yes\n", "ascii")
    program = Path(sys.executable).parent / "ansible-vault"
    argv = [str(program), "encrypt", "--vault-password-file", str(password), str(folder / "all.yml")]
    subprocess.run(argv, check=True, capture_output=True)
    place.playbook("site", "- ansible.builtin.assert:\n    that: opened")
    _, err = place.run("site", code=104)
    assert "no password was given" in err
    _, err = place.run("site", "--vault-password-file", str(wrong), code=104)
    assert "does not open" in err
    place.run("site", "--vault-password-file", str(password))


def test_to_remove_needs_a_word(place: Place) -> None:
    place.playbook("remove", "- name: Remove\n  ansible.builtin.command: 'true'")
    _, err = place.run("remove", "--limit", "one", code=2)
    assert "takes everything of maw's away from one" in err
    place.run("remove", "--limit", "one", stdin=b"one\n", code=2)
    assert "done: remove on one" in place.run("remove", "--limit", "one", "--yes")[0]
    assert "nothing was" in place.run("remove", "--limit", "one", "--check")[0]


def test_ctrl_c_ends_it_in_order(
    place: Place, lasting: str, running: Callable[[str], list[int]], within: Callable[..., Any]
) -> None:
    place.playbook("site", f"- name: Sleep\n  ansible.builtin.command: sleep {lasting}")
    process = subprocess.Popen(
        place.argv("site"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert within(60, lambda: running(lasting))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"done:" not in out
    assert b"cutter: Interrupted after 0 tasks of site" in err
    assert within(10, lambda: not running(lasting))
    assert json.loads(next((place.space.state / "provision").glob("2*/report.json")).read_bytes())["stopped"]
    assert os.environ["MAW_WORKSPACE"]


def test_what_roles_show_and_whether_all_went_well_is_kept_for_nodes(place: Place) -> None:
    place.playbook("core", "- ansible.builtin.set_fact:\n    maw_core_facts: {version: '1'}", hosts="core")
    place.run("core")
    kept = json.loads((place.space.state / "provisioned" / "server.json").read_bytes())
    assert (kept["playbook"], kept["complete"], kept["roles"]) == ("core", True, {"core": {"version": "1"}})
