"""`cutter keys`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw.cli.workspace import create
from maw.config import Workspace
from maw.transport import authorized, keypairs, keys
from tests.conftest import make_notebook_workspace
from tests.fakes.windows import WindowsNotebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

FILE = Path("ProgramData/ssh/administrators_authorized_keys")


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace without keys, whose only host was never there."""
    space = Workspace(tmp_path / "workspace")
    create(space.root)
    hosts = {"server": {"maw_addresses": ["127.0.0.1"], "ansible_port": 1}}
    (space.inventory / "hosts.yml").write_text(json.dumps({"core": {"hosts": hosts}}))
    monkeypatch.setenv("MAW_WORKSPACE", str(space.root))
    return space


@pytest.fixture(scope="module")
def _own_notebook(tmp_path_factory: pytest.TempPathFactory, runtime_root: Path) -> Iterator[WindowsNotebook]:
    reason = WindowsNotebook.available()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("keys")
    keypairs.prepare(folder / "keys")
    for purpose in ("admin", "bridge"):
        keypairs.make(folder / "keys", purpose)
    with WindowsNotebook(folder / "notebook") as notebook:
        make_notebook_workspace(folder / "workspace", notebook, folder / "keys")
        yield notebook


@pytest.fixture
def laptop(_own_notebook: WindowsNotebook, monkeypatch: pytest.MonkeyPatch) -> Iterator[WindowsNotebook]:
    """A notebook of this file's own, with its workspace; put back as it was after each test."""
    root = _own_notebook.folder.parent / "workspace"
    monkeypatch.setenv("MAW_WORKSPACE", str(root))
    places = [_own_notebook.drive / FILE, _own_notebook.distro().authorized_keys]
    before = [place.read_bytes() for place in places]
    acl = _own_notebook.acl(_own_notebook.drive / FILE)
    shutil.copytree(root, root.with_name("kept"))
    yield _own_notebook
    for place, content in zip(places, before, strict=True):
        place.write_bytes(content)
    _own_notebook.acl(_own_notebook.drive / FILE, acl)
    _own_notebook.reset()
    shutil.rmtree(root)
    root.with_name("kept").rename(root)


def folder_of() -> Path:
    return Workspace(Path(os.environ["MAW_WORKSPACE"])).keys


def found(answer: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(answer.stdout)
    return value


def test_keys_are_made_once_and_named(cutter_command: Command, space: Workspace) -> None:
    answer = cutter_command("keys", "make")
    assert (answer.returncode, answer.stderr) == (0, b"")
    lines = answer.stdout.decode().splitlines()
    assert [line.split(":")[0] for line in lines] == ["made", "made", "next"]
    again = found(cutter_command("keys", "make", "--json"))
    assert again["schema"] == "maw.keys-make/1"
    for one in again["keys"]:
        argv = ["ssh-keygen", "-lf", str(space.keys / one["key"])]
        said = subprocess.run(argv, capture_output=True, check=True).stdout.decode()
        assert (one["made"], one["fingerprint"]) == (False, said.split()[1])
        assert said.split()[2] == f"maw-{one['key']}"


def test_two_at_once_make_one_pair(cutter_argv: list[str], space: Workspace) -> None:
    started = [
        subprocess.Popen([*cutter_argv, "keys", "make", "--json"], stdout=subprocess.PIPE) for _ in range(4)
    ]
    answers = [json.loads(process.communicate()[0]) for process in started]
    prints = {tuple(one["fingerprint"] for one in answer["keys"]) for answer in answers}
    assert len(prints) == 1
    assert sum(answer["keys"][0]["made"] for answer in answers) == 1


@pytest.mark.parametrize("verb", [["show"], ["check"], ["rotate"], ["rotate", "--dry-run"]])
def test_without_keys_the_next_step_is_to_make_them(
    cutter_command: Command, space: Workspace, verb: list[str]
) -> None:
    answer = cutter_command("keys", *verb)
    assert answer.returncode == 60
    assert b"cutter keys make" in answer.stderr
    assert not list(space.keys.glob("admin*"))


def test_what_is_shown_for_a_plain_host_is_what_it_needs(cutter_command: Command, space: Workspace) -> None:
    cutter_command("keys", "make")
    shown = found(cutter_command("keys", "show", "--json"))
    (place,) = shown["places"]
    public = (space.keys / "admin.pub").read_text().strip()
    assert (place["kind"], place["lines"]) == ("linux", [public])
    home = space.root / "home"
    home.mkdir()
    (home / ".ssh").mkdir()
    (home / ".ssh/authorized_keys").write_text("# without an end")
    for command in place["commands"]:
        subprocess.run(["sh", "-c", command], env={"HOME": str(home), "PATH": os.environ["PATH"]}, check=True)
    assert (home / ".ssh/authorized_keys").read_text().splitlines()[-1] == public
    assert (home / ".ssh/authorized_keys").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("given", ['1.2.3.4"', "core.example", "1.2.3.4 5.6.7.8", "$(id)", "ที่นี่"])
def test_what_is_no_address_gets_into_no_line(
    cutter_command: Command, laptop: WindowsNotebook, given: str
) -> None:
    answer = cutter_command("keys", "show", "--core-address", given)
    assert (answer.returncode, answer.stdout) == (2, b"")
    assert b"is no address" in answer.stderr


def test_the_lines_for_a_notebook_are_those_that_work_there(
    cutter_command: Command, laptop: WindowsNotebook
) -> None:
    shown = found(cutter_command("keys", "show", "notebook-wsl", "--json"))
    windows, distro = shown["places"]
    assert windows["lines"] == (laptop.drive / FILE).read_text().splitlines()
    assert distro["lines"] == laptop.distro().authorized_keys.read_text().splitlines()
    assert windows["commands"][-1].endswith("/setowner *S-1-5-32-544")
    text = cutter_command("keys", "show", "--core-address", "192.168.1.129,100.64.0.0/10").stdout.decode()
    assert 'from="192.168.1.129,100.64.0.0/10" ssh-ed25519' in text
    assert "from=" not in text.partition("# notebook-wsl")[2]


def test_what_is_right_is_said_to_be_right(cutter_command: Command, laptop: WindowsNotebook) -> None:
    laptop.authorize(f"{keys_of_others()} mum@kitchen")
    answer = cutter_command("keys", "check")
    assert (answer.returncode, answer.stderr) == (0, b"")
    text = answer.stdout.decode()
    assert (
        "bridge: may start the sshd of the distro Ubuntu as root, nothing else, only from 127.0.0.1" in text
    )
    assert "mum@kitchen: may do everything" in text
    assert text.endswith("done: nothing must be mended\n")


def keys_of_others() -> str:
    return "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def test_everything_that_is_wrong_is_named_at_once(cutter_command: Command, laptop: WindowsNotebook) -> None:
    cutter_command("keys", "check")
    public = (folder_of() / "bridge.pub").read_text().strip()
    laptop.acl(laptop.drive / FILE, "O:BAD:PAI(A;;FA;;;BA)(A;;FA;;;SY)(A;;FA;;;AU)")
    with (laptop.drive / FILE).open("a") as file:
        file.write(f"{public}\n")
    laptop.distro().authorized_keys.write_text(f'restrict,pty,port-forwarding,from="127.0.0.1" {public}\n')
    (folder_of() / "admin.pub").unlink()
    folder_of().chmod(0o755)
    answer = cutter_command("keys", "check", "--json")
    assert answer.returncode == 61, answer.stderr
    value = found(answer)
    assert (value["schema"], value["ok"]) == ("maw.keys-check/1", False)
    assert "chmod 700" in value["problems"][0]
    assert ".pub" in value["keys"][0]["problems"][0]
    windows, distro = value["places"]
    assert "AU" in windows["problems"][0]
    assert [bool(key["problems"]) for key in windows["keys"]] == [False, False, True]
    assert "locks everybody out" in distro["keys"][0]["problems"][0]


def test_a_private_key_that_others_may_read_is_a_problem(cutter_command: Command, space: Workspace) -> None:
    cutter_command("keys", "make")
    (space.keys / "admin").chmod(0o644)
    answer = cutter_command("keys", "check")
    assert answer.returncode == 61
    assert b"chmod 600" in answer.stdout


def test_a_host_that_is_down_is_a_problem_of_the_check(cutter_command: Command, space: Workspace) -> None:
    cutter_command("keys", "make")
    answer = cutter_command("keys", "check", "--json")
    assert answer.returncode == 61
    assert "server" in found(answer)["places"][0]["error"]


def test_a_clock_ten_years_off_claims_nothing(cutter_command: Command, space: Workspace) -> None:
    cutter_command("keys", "make")
    made = json.loads((space.keys / "made.json").read_text())
    for off in (3650 * 86400, -99_999 * 86400, 1e300):
        dates = {name: when + off for name, when in made.items()}
        (space.keys / "made.json").write_text(json.dumps(dates))
        answer = cutter_command("keys", "check")
        assert b"age unknown" in answer.stdout
        assert b"Traceback" not in answer.stderr


def test_a_dry_run_says_all_and_changes_nothing(cutter_command: Command, laptop: WindowsNotebook) -> None:
    before = sorted(folder_of().iterdir()), (laptop.drive / FILE).read_bytes()
    answer = cutter_command("keys", "rotate", "--dry-run")
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout.decode().count("add the new key, log in with it alone, remove the old key") == 3
    value = found(cutter_command("keys", "rotate", "--dry-run", "--key", "bridge", "--json"))
    assert (value["dry_run"], value["keys"][0]["next"]) == (True, "make")
    assert [one["host"] for one in value["keys"][0]["places"]] == ["notebook", "notebook-wsl"]
    left = sorted(path for path in folder_of().iterdir() if path.name != ".lock")
    assert (left, (laptop.drive / FILE).read_bytes()) == before


def test_both_keys_are_changed_and_everything_still_works(
    cutter_command: Command, laptop: WindowsNotebook
) -> None:
    old = {purpose: (folder_of() / f"{purpose}.pub").read_text() for purpose in ("admin", "bridge")}
    answer = cutter_command("keys", "rotate")
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert [line.split()[1] for line in answer.stdout.decode().splitlines()] == ["bridge", "admin"]
    entries = authorized.entries((laptop.drive / FILE).read_bytes())
    assert len(entries) == 2
    for purpose, was in old.items():
        public = (folder_of() / f"{purpose}.pub").read_text()
        assert public != was
        assert public.split()[1] in {entry.key.base64 for entry in entries}
    assert cutter_command("offload", "--on", "notebook-wsl", "--", "echo", "in").stdout == b"in\n"
    assert cutter_command("keys", "check").returncode == 0


def test_a_notebook_that_is_down_is_named_and_keeps_its_key(
    cutter_command: Command, laptop: WindowsNotebook
) -> None:
    space = Workspace(folder_of().parent)
    inventory = json.loads((space.inventory / "hosts.yml").read_text())
    inventory["core"] = {"hosts": {"attic": {"maw_addresses": ["127.0.0.1"], "ansible_port": 1}}}
    (space.inventory / "hosts.yml").write_text(json.dumps(inventory))
    keys.pin(space.known_hosts, "attic", laptop.host_keys)
    answer = cutter_command("keys", "rotate", "--key", "admin")
    assert answer.returncode == 62
    assert b"attic" in answer.stderr
    assert b"nothing of it was removed anywhere" in answer.stderr
    assert (folder_of() / "admin.next").exists()
    check = cutter_command("keys", "check", "notebook")
    assert b"the rotation of admin is not finished" in check.stdout
    # The host is given up: out of the inventory with it.
    del inventory["core"]
    (space.inventory / "hosts.yml").write_text(json.dumps(inventory))
    assert cutter_command("keys", "rotate", "--key", "admin").returncode == 0
    assert not (folder_of() / "admin.next").exists()


@pytest.mark.parametrize("verb", [["check", "nobody"], ["show", "nobody"]])
def test_an_unknown_host_is_refused(cutter_command: Command, space: Workspace, verb: list[str]) -> None:
    answer = cutter_command("keys", *verb)
    assert answer.returncode == 2
    assert b"no host called nobody" in answer.stderr


def test_hosts_with_keys_of_their_own_are_left_alone(cutter_command: Command, space: Workspace) -> None:
    cutter_command("keys", "make")
    environment = {"MAW_SSH_IDENTITY_FILE": "~/.ssh/id_ed25519"}
    answer = cutter_command("keys", "rotate", env=environment)
    assert answer.returncode == 2
    assert b"key of" in answer.stderr
