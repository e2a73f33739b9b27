"""`cutter satellite-init`: against the Windows stand-in on loopback, with a small playbook of its own."""

from __future__ import annotations

import getpass
import json
import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from maw.cli.workspace import create
from maw.config import Workspace
from maw.transport import keys
from tests.conftest import WORKER, bridge_lines
from tests.fakes.windows import WindowsNotebook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maw.transport.loopback import LoopbackSatellite

SOURCE = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((SOURCE / "docs/schema/satellite-init.json").read_text("utf-8"))
PROGRAM = """
import sys
from pathlib import Path
from maw.provision import content
content.PACKAGED = Path(sys.argv.pop(1))
from maw.cli import cutter
cutter()
"""
# What the roles do, as far as these tests need it: the distro's key is pinned through its Windows.
PLAYBOOK = """
- name: Windows
  hosts: windows
  gather_facts: false
  tasks:
    - name: Answer
      ansible.builtin.raw: echo ready
      changed_when: false
    - name: Open the way into its WSL
      delegate_to: localhost
      vars: {{ansible_connection: local, ansible_python_interpreter: {python}}}
      ansible.builtin.command:
        argv: [{python}, -c, "from maw.cli import cutter; cutter()", trust, notebook-wsl]
      when: not ansible_check_mode
- name: WSL
  hosts: satellites
  gather_facts: false
  tasks:
    - name: Make it one
      ansible.builtin.copy:
        content: yes
        dest: {mark}
        mode: "0600"
      tags: mark
    - name: Show
      ansible.builtin.set_fact:
        maw_try_facts: {{version: "1.0", core: "{{{{ lookup('ansible.builtin.env', 'MAW_WORKSPACE') }}}}"}}
"""


@dataclass
class Lab:
    """A workspace, a notebook that knows nothing of it, and playbooks of the tests' own."""

    space: Workspace
    notebook: WindowsNotebook
    content: Path

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", PROGRAM, str(self.content), *arguments]

    def run(self, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        """Run the verb without a terminal; return all that it said."""
        answer = subprocess.run(
            self.argv("satellite-init", *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(SOURCE), **(env or {})},
            timeout=200,
        )
        said = answer.stdout.decode() + answer.stderr.decode()
        assert answer.returncode == code, said
        assert "Traceback" not in said
        return said

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run the verb with --json; return what it printed, checked by the schema."""
        answer = subprocess.run(
            self.argv("satellite-init", *arguments, "--json"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            timeout=200,
        )
        assert answer.returncode == code, answer.stderr.decode()
        found: dict[str, Any] = json.loads(answer.stdout)
        jsonschema.validate(found, SCHEMA)
        return found

    def let_in(self) -> None:
        """What the pasted line does on the notebook, and a bootstrap in its distro."""
        forced, admin, inner = bridge_lines(self.space.keys)
        self.notebook.authorize(forced)
        self.notebook.authorize(admin)
        self.notebook.distro().authorize(inner)

    @property
    def fingerprint(self) -> str:
        return next(key for key in self.notebook.host_keys if "ed25519" in key.kind).fingerprint

    def tree(self) -> dict[str, bytes]:
        """The workspace's files, but for what every look at it makes anew, and the record of runs."""
        made_anew = {"topology.json", "ssh_config"}
        return {
            str(path.relative_to(self.space.root)): path.read_bytes()
            for path in self.space.root.rglob("*")
            if path.is_file()
            and path.name not in made_anew
            and not path.is_relative_to(self.space.state / "provision")
        }


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose notebook is off."""
    content = tmp_path / "content"
    (content / "playbooks").mkdir(parents=True)
    (content / "roles").mkdir()
    (content / "requirements.yml").write_text("collections: []\n", "utf-8")
    text = PLAYBOOK.format(python=sys.executable, mark=tmp_path / "mark")
    (content / "playbooks" / "satellite.yml").write_text(text, "utf-8")
    space = Workspace(tmp_path / "space")
    create(space.root)
    monkeypatch.setenv("MAW_WORKSPACE", str(space.root))
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    made = Lab(space, WindowsNotebook(tmp_path / "notebook"), content)
    inventory(made)
    return made


@pytest.fixture
def lab(bare: Lab) -> Iterator[Lab]:
    reason = WindowsNotebook.available()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with bare.notebook:
        yield bare


def inventory(lab: Lab, **more: Any) -> None:
    """Write the inventory; `more` are further variables of the notebook."""
    listing = {
        "core": {"hosts": {"server": {"maw_addresses": ["127.0.0.1"]}}},
        "windows": {
            "hosts": {
                "notebook": {
                    "maw_addresses": [lab.notebook.address],
                    "ansible_port": lab.notebook.port,
                    "ansible_user": getpass.getuser(),
                    "ansible_shell_type": "cmd",
                    **more,
                }
            }
        },
        "satellites": {
            "hosts": {
                "notebook-wsl": {
                    "maw_windows": "notebook",
                    "maw_wsl_distro": "Ubuntu",
                    "maw_worker_command": WORKER,
                    "ansible_python_interpreter": sys.executable,
                }
            }
        },
    }
    (lab.space.inventory / "hosts.yml").write_text(json.dumps(listing), "utf-8")


def test_from_a_bare_notebook_to_a_worker_that_greets(lab: Lab) -> None:
    said = lab.run("notebook", code=107)
    assert "made in" in said
    (line,) = [line for line in said.splitlines() if line.startswith("powershell.exe ")]
    script = (lab.space.state / "first-contact" / "notebook.ps1").read_text("ascii")
    from maw.provision import first_contact

    assert first_contact.unpacked(line) == script
    assert all(part in script for part in bridge_lines(lab.space.keys)[:2])
    assert "go on here with: cutter satellite-init notebook --fingerprint" in said
    assert keys.pinned(lab.space.known_hosts, "notebook") == ()
    assert "done:" not in said
    # The second time nothing is made anew, and it is still not done.
    before = (lab.space.keys / "admin").read_bytes()
    assert "there already" in lab.run("notebook-wsl", code=107)
    assert (lab.space.keys / "admin").read_bytes() == before
    lab.let_in()
    said = lab.run("notebook", "--fingerprint", lab.fingerprint)
    assert "done: notebook-wsl is a satellite" in said
    assert "worker: greets" in said
    (key,) = keys.pinned(lab.space.known_hosts, "notebook")
    assert key.fingerprint == lab.fingerprint
    kept = json.loads((lab.space.state / "provisioned" / "notebook-wsl.json").read_bytes())
    assert kept["complete"] is True
    assert kept["roles"] == {"try": {"version": "1.0", "core": str(lab.space.root)}}
    found = lab.json("notebook-wsl")
    assert found["finished"] is True
    assert [step["state"] for step in found["steps"]] == ["done"] * len(found["steps"])


def test_a_wrong_fingerprint_is_refused_and_nothing_is_pinned(lab: Lab, tmp_path: Path) -> None:
    other = "SHA256:" + "A" * 43
    said = lab.run("notebook", "--fingerprint", other, code=243)
    assert lab.fingerprint in said
    assert not lab.space.known_hosts.exists()
    paper = tmp_path / "paper.txt"
    paper.write_text(f"256 {other} no comment (ED25519)\r\n", "utf-16")
    lab.run("notebook", "--from", str(paper), code=243)
    paper.write_text(f"256 {lab.fingerprint} no comment (ED25519)\r\n", "utf-16")
    said = lab.run("notebook", "--from", str(paper), code=107)
    assert "pinned" in said
    assert "powershell.exe " in said, "it is pinned, and does not let us in yet"
    # Pinned to one, and told another: somebody is wrong, so that it stops.
    lab.run("notebook", "--fingerprint", other, code=243)


@pytest.mark.parametrize("text", ["", "SHA256:short", "MD5:aa:bb", "$(reboot)", "SHA256:" + "ก" * 43])
def test_what_is_no_fingerprint_is_refused_before_anything(bare: Lab, text: str) -> None:
    before = bare.tree()
    assert "is no fingerprint" in bare.run("notebook", "--fingerprint", text, code=2)
    assert bare.tree() == before


def test_placeholders_are_refused_before_anything_is_made(bare: Lab) -> None:
    for more, word in (
        ({"maw_example": True}, "example"),
        ({"wsl_distro_user": "CHANGEME"}, "wsl_distro_user"),
        ({"windows_host_share": {"path": "<your path>"}}, "windows_host_share.path"),
    ):
        inventory(bare, **more)
        before = bare.tree()
        said = bare.run("notebook", code=105)
        assert word in said
        assert "Nothing was touched" in said
        assert bare.tree() == before


def test_check_changes_nothing_and_says_what_it_cannot_know(lab: Lab, tmp_path: Path) -> None:
    before = lab.tree()
    said = lab.run("notebook", "--check")
    assert "would make" in said
    assert "would print a line to paste" in said
    assert "inside the WSL" in said
    assert "restart" in said
    assert lab.tree() == before
    assert not lab.space.keys.exists()
    lab.run("notebook", code=107)
    lab.let_in()
    keys.pin(lab.space.known_hosts, "notebook", lab.notebook.host_keys)
    before = lab.tree()
    found = lab.json("notebook", "--check")
    assert found["finished"] is False
    assert [host["host"] for host in found["provision"]["hosts"]] == ["notebook"]
    assert any("WSL" in one for one in found["unknown"])
    keys.pin(lab.space.known_hosts, "notebook-wsl", lab.notebook.distro().host_keys)
    before = lab.tree()
    found = lab.json("notebook", "--check")
    assert [host["host"] for host in found["provision"]["hosts"]] == ["notebook", "notebook-wsl"]
    assert found["provision"]["hosts"][1]["changes"] == [{"role": "", "task": "Make it one"}]
    assert not any("WSL" in one for one in found["unknown"])
    after = lab.tree()
    assert {name: after[name] for name in before} == before
    assert not (tmp_path / "mark").exists()
    assert not (lab.space.state / "provisioned").exists()


def test_it_goes_on_where_a_failed_playbook_stopped(lab: Lab, tmp_path: Path) -> None:
    lab.run("notebook", code=107)
    lab.let_in()
    path = lab.content / "playbooks" / "satellite.yml"
    good = path.read_text("utf-8")
    path.write_text(
        good + "    - name: Break\n      ansible.builtin.fail:\n        msg: Free 10 GB first.\n", "utf-8"
    )
    said = lab.run("notebook", "--fingerprint", lab.fingerprint, code=101)
    assert "✗ notebook-wsl failed at: Break" in said
    assert "Free 10 GB first." in said
    assert "is a satellite" not in said
    kept = json.loads((lab.space.state / "provisioned" / "notebook-wsl.json").read_bytes())
    assert kept["complete"] is False
    path.write_text(good, "utf-8")
    found = lab.json("notebook")
    assert found["finished"] is True
    changed = {host["host"]: host["changes"] for host in found["provision"]["hosts"]}
    assert changed["notebook-wsl"] == []


def test_a_playbook_that_goes_through_is_not_enough_when_the_worker_does_not_greet(lab: Lab) -> None:
    lab.run("notebook", code=107)
    lab.let_in()
    listing = json.loads((lab.space.inventory / "hosts.yml").read_bytes())
    listing["satellites"]["hosts"]["notebook-wsl"]["maw_worker_command"] = ["no-such-worker"]
    (lab.space.inventory / "hosts.yml").write_text(json.dumps(listing), "utf-8")
    said = lab.run("notebook", "--fingerprint", lab.fingerprint, code=107)
    assert "✗ worker" in said
    assert "its worker does not greet" in said
    assert "is a satellite\n" not in said


def test_parts_of_it_are_no_whole(lab: Lab, tmp_path: Path) -> None:
    lab.run("notebook", code=107)
    lab.let_in()
    keys.pin(lab.space.known_hosts, "notebook", lab.notebook.host_keys)
    keys.pin(lab.space.known_hosts, "notebook-wsl", lab.notebook.distro().host_keys)
    said = lab.run("notebook", "--tags", "mark")
    assert (tmp_path / "mark").exists()
    assert "was not looked at" in said
    assert "is a satellite" not in said


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-x",
        "../../etc",
        "a;reboot",
        "$(id)",
        "no\nbook",
        "\x1b[31m",
        "ไทย",
        "local",
        "auto",
        "all",
        "server",
    ],
)
def test_no_other_name_is_taken_for_a_satellite(bare: Lab, name: str) -> None:
    before = bare.tree()
    said = bare.run("--", name, code=2)
    assert "\x1b" not in said
    assert bare.tree() == before


def test_two_at_once_are_refused(bare: Lab) -> None:
    from maw.provision import lock

    with lock.held(bare.space.state / "provision", "satellite-init notebook"):
        said = bare.run("notebook", code=102)
    assert "satellite-init notebook, process" in said


def test_a_windows_without_a_wsl_gets_the_next_step(bare: Lab) -> None:
    listing = json.loads((bare.space.inventory / "hosts.yml").read_bytes())
    listing["satellites"] = {"hosts": {}}
    (bare.space.inventory / "hosts.yml").write_text(json.dumps(listing), "utf-8")
    assert "maw_wsl_distro" in bare.run("notebook", code=2)


def test_a_notebook_that_is_off_gets_its_line_all_the_same(bare: Lab) -> None:
    keys.pin(bare.space.known_hosts, "notebook", [keys.HostKey("ssh-ed25519", "AAAA")])
    found = bare.json("notebook", code=107)
    assert found["line"].startswith("powershell.exe ")
    assert found["steps"][-1]["state"] == "waiting"
    assert found["next"] == ["cutter satellite-init notebook --fingerprint SHA256:…"]


def test_a_plain_linux_gets_a_line_of_its_own_and_no_powershell(
    bare: Lab, satellite: LoopbackSatellite, tmp_path: Path
) -> None:
    variables = json.loads(satellite.inventory(WORKER))["satellites"]["hosts"]["loopback"]
    own = variables.pop("ansible_ssh_private_key_file")
    variables["ansible_python_interpreter"] = sys.executable

    def write() -> None:
        listing = {"satellites": {"hosts": {"loopback": variables}}}
        (bare.space.inventory / "hosts.yml").write_text(json.dumps(listing), "utf-8")

    write()
    found = bare.json("loopback", code=107)
    assert found["windows"] is None
    assert found["line"].startswith("ssh-copy-id -f -i ")
    assert found["script"] is None
    variables["ansible_ssh_private_key_file"] = own
    write()
    (key,) = satellite.host_keys
    found = bare.json("loopback", "--fingerprint", key.fingerprint)
    assert found["finished"] is True
    assert (tmp_path / "mark").exists()


class Terminal:
    """The verb on a terminal of its own."""

    def __init__(self, argv: list[str]) -> None:
        self.said = ""
        pid, self._master = pty.fork()
        if pid == 0:
            os.execve(argv[0], argv, {**os.environ, "TERM": "xterm", "COLUMNS": "100"})
        self._pid = pid

    def until(self, word: str, seconds: float = 60) -> None:
        """Read until a word was said."""
        deadline = time.monotonic() + seconds
        while word not in self.said:
            assert time.monotonic() < deadline, self.said
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    self.said += os.read(self._master, 1 << 16).decode("utf-8", "replace")
                except OSError:
                    assert word in self.said, self.said

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._master, f"{text}\n".encode())

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while True:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                break
            if not data:
                break
            self.said += data.decode("utf-8", "replace")
        os.close(self._master)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def test_on_a_terminal_it_waits_for_the_fingerprint_and_goes_on_to_the_end(lab: Lab) -> None:
    terminal = Terminal(lab.argv("satellite-init", "notebook"))
    terminal.until("paste the fingerprint")
    lab.let_in()
    terminal.type("256 SHA256:nonsense")
    terminal.until("holds no fingerprint")
    terminal.until("not yet")
    terminal.type(f"256 {lab.fingerprint} no comment (ED25519)")
    code = terminal.end()
    assert code == 0, terminal.said
    assert "is a satellite" in terminal.said
    assert "task" in terminal.said, "the progress is drawn"


def test_on_a_terminal_a_wrong_fingerprint_ends_it(lab: Lab) -> None:
    terminal = Terminal(lab.argv("satellite-init", "notebook"))
    terminal.until("paste the fingerprint")
    terminal.type("SHA256:" + "B" * 43)
    assert terminal.end() == 243
    assert not lab.space.known_hosts.exists()
