"""`cutter trust` and `cutter ssh-config`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maw.config import Workspace
from maw.transport import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.transport.loopback import LoopbackSatellite
    from tests.fakes.windows import WindowsNotebook

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

WRONG = "SHA256:" + "A" * 43
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
def unpinned(workspace: Workspace) -> Workspace:
    workspace.known_hosts.write_text("other ssh-ed25519 AAAA\n")
    return workspace


@pytest.fixture
def fingerprint(satellite: LoopbackSatellite) -> str:
    return satellite.host_keys[0].fingerprint


def test_the_right_fingerprint_pins_the_key_and_then_the_host_answers(
    cutter_command: Command, unpinned: Workspace, satellite: LoopbackSatellite, fingerprint: str
) -> None:
    assert cutter_command("offload", "--", "true").returncode == 242
    answer = cutter_command("trust", "loopback", "--fingerprint", fingerprint)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout.decode() == f"done: loopback is pinned to {fingerprint}\n"
    assert keys.pinned(unpinned.known_hosts, "loopback") == satellite.host_keys
    assert unpinned.known_hosts.read_text().startswith("other ssh-ed25519 AAAA\n")
    assert cutter_command("offload", "--", "echo", "x").stdout == b"x\n"


def test_json_says_what_was_pinned(cutter_command: Command, unpinned: Workspace, fingerprint: str) -> None:
    answer = cutter_command("trust", "loopback", "--fingerprint", fingerprint, "--json")
    assert json.loads(answer.stdout) == {"schema": "maw.trust/1", "host": "loopback", "pinned": fingerprint}


@pytest.mark.parametrize("wrong", [WRONG, "", "\x1b[31m"], ids=ascii)
def test_a_wrong_fingerprint_pins_nothing_and_shows_both(
    cutter_command: Command, unpinned: Workspace, fingerprint: str, wrong: str
) -> None:
    before = unpinned.known_hosts.read_bytes()
    answer = cutter_command("trust", "loopback", "--fingerprint", wrong)
    assert (answer.returncode, answer.stdout) == (243, b"")
    assert fingerprint in answer.stderr.decode()
    assert b"\x1b" not in answer.stderr
    assert unpinned.known_hosts.read_bytes() == before


def test_without_a_terminal_it_never_asks(
    cutter_command: Command, unpinned: Workspace, fingerprint: str
) -> None:
    before = unpinned.known_hosts.read_bytes()
    for stdin in (None, fingerprint.encode() + b"\n"):
        answer = cutter_command("trust", "loopback", stdin=stdin)
        assert (answer.returncode, answer.stdout) == (242, b"")
        assert b"`cutter trust loopback`" in answer.stderr
        assert b"--fingerprint" in answer.stderr
    assert unpinned.known_hosts.read_bytes() == before


@pytest.mark.parametrize("right", [True, False])
def test_on_a_terminal_the_person_pastes_what_stands_on_the_screen(
    cutter_argv: list[str], unpinned: Workspace, satellite: LoopbackSatellite, fingerprint: str, right: bool
) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, (fingerprint if right else WRONG).encode() + b"\n")
    answer = subprocess.run(
        [*cutter_argv, "trust", "loopback"], stdin=theirs, capture_output=True, check=False, timeout=30
    )
    os.close(theirs)
    os.close(ours)
    assert answer.returncode == (0 if right else 243)
    assert f"loopback shows: {fingerprint}" in answer.stderr.decode()
    assert keys.pinned(unpinned.known_hosts, "loopback") == (satellite.host_keys if right else ())


def test_auto_pins_the_key_for_the_satellite_that_it_means(
    cutter_command: Command, unpinned: Workspace, satellite: LoopbackSatellite, fingerprint: str
) -> None:
    answer = cutter_command("trust", "auto", "--fingerprint", fingerprint)
    assert answer.returncode == 0
    assert keys.pinned(unpinned.known_hosts, "loopback") == satellite.host_keys
    assert keys.pinned(unpinned.known_hosts, "auto") == ()


@pytest.mark.parametrize("name", ["local", "nobody", "-oProxyCommand=id"])
def test_what_is_no_host_cannot_be_pinned(cutter_command: Command, unpinned: Workspace, name: str) -> None:
    answer = cutter_command("trust", "--fingerprint", WRONG, "--", name)
    assert (answer.returncode, answer.stdout) == (2, b"")


def test_a_host_that_is_off_is_unreachable(cutter_command: Command, workspace: Workspace) -> None:
    (workspace.inventory / "hosts.yml").write_text(
        "satellites:\n  hosts:\n    down: {maw_addresses: [127.0.0.1], ansible_port: 1}\n"
    )
    answer = cutter_command("trust", "down", "--fingerprint", WRONG)
    assert (answer.returncode, answer.stdout) == (241, b"")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_from_that_machine_pins_what_it_shows(
    cutter_command: Command, unpinned: Workspace, satellite: LoopbackSatellite, encoding: str
) -> None:
    (key,) = satellite.host_keys
    Path("handed").write_bytes(f"# ลายนิ้วมือ\r\n{key.kind} {key.base64} root@notebook\r\n".encode(encoding))
    answer = cutter_command("trust", "loopback", "--from", "handed")
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert keys.pinned(unpinned.known_hosts, "loopback") == satellite.host_keys


@pytest.mark.parametrize(
    ("content", "code"), [(WRONG.encode(), 243), (b"", 2), (b"\0" * 9999, 2), (b"x" * 99_999, 12), (None, 12)]
)
def test_a_file_of_another_machine_or_of_nothing_pins_nothing(
    cutter_command: Command, unpinned: Workspace, content: bytes | None, code: int
) -> None:
    before = unpinned.known_hosts.read_bytes()
    if content is not None:
        Path("handed").write_bytes(content)
    answer = cutter_command("trust", "loopback", "--from", "handed")
    assert (answer.returncode, answer.stdout) == (code, b"")
    assert b"Traceback" not in answer.stderr
    assert unpinned.known_hosts.read_bytes() == before


@pytest.fixture
def known_hosts(notebook: WindowsNotebook) -> Path:
    """The pins of the notebook's workspace, without the one of its distro."""
    path = Workspace(Path(os.environ["MAW_WORKSPACE"])).known_hosts
    keys.pin(path, "notebook-wsl", ())
    return path


def test_windows_itself_is_pinned_by_its_own_name(
    cutter_command: Command, notebook: WindowsNotebook, known_hosts: Path
) -> None:
    keys.pin(known_hosts, "notebook", ())
    key = notebook.host_keys[0]
    assert cutter_command("trust", "notebook", "--fingerprint", key.fingerprint).returncode == 0
    assert keys.pinned(known_hosts, "notebook") == (key,)
    assert keys.pinned(known_hosts, "notebook-wsl") == ()


def test_a_distro_is_pinned_through_its_pinned_windows(
    cutter_command: Command, notebook: WindowsNotebook, known_hosts: Path
) -> None:
    assert cutter_command("offload", "--on", "notebook-wsl", "--", "true").returncode == 242
    answer = cutter_command("trust", "notebook-wsl", "--json")
    assert (answer.returncode, answer.stderr) == (0, b"")
    (pinned,) = keys.pinned(known_hosts, "notebook-wsl")
    assert pinned in notebook.distro().host_keys
    assert pinned.kind == "ssh-ed25519"
    assert json.loads(answer.stdout)["pinned"] == pinned.fingerprint
    assert cutter_command("offload", "--on", "notebook-wsl", "--", "echo", "in").stdout == b"in\n"


def test_a_distro_is_not_pinned_through_a_windows_that_is_not(
    cutter_command: Command, notebook: WindowsNotebook, known_hosts: Path
) -> None:
    for pins, code in (((), 242), ([keys.HostKey("ssh-ed25519", OTHER)], 243)):
        keys.pin(known_hosts, "notebook", pins)
        answer = cutter_command("trust", "notebook-wsl")
        assert (answer.returncode, answer.stdout) == (code, b"")
        assert b"notebook" in answer.stderr
        assert keys.pinned(known_hosts, "notebook-wsl") == ()


def test_a_fingerprint_that_is_given_for_a_distro_counts(
    cutter_command: Command, notebook: WindowsNotebook, known_hosts: Path
) -> None:
    answer = cutter_command("trust", "notebook-wsl", "--fingerprint", WRONG)
    assert (answer.returncode, answer.stdout) == (243, b"")
    assert keys.pinned(known_hosts, "notebook-wsl") == ()


def test_what_wsl_says_instead_of_a_key_is_explained(
    cutter_command: Command, notebook: WindowsNotebook, known_hosts: Path
) -> None:
    with notebook.configured(wsl="store-0x80070780"):
        answer = cutter_command("trust", "notebook-wsl")
        assert (answer.returncode, answer.stdout) == (248, b"")
        assert b"\0" not in answer.stderr
    with notebook.configured(distros={}):
        answer = cutter_command("trust", "notebook-wsl")
        assert answer.returncode == 248
        assert b"Ubuntu" in answer.stderr
    key = notebook.distro().etc_ssh / "ssh_host_ed25519_key.pub"
    content = key.read_bytes()
    try:
        key.unlink()
        answer = cutter_command("trust", "notebook-wsl")
        assert (answer.returncode, b"ssh-keygen -A" in answer.stderr) == (248, True)
        key.write_bytes(content * 2)
        answer = cutter_command("trust", "notebook-wsl")
        assert (answer.returncode, b"instead of one ed25519 host key" in answer.stderr) == (240, True)
    finally:
        key.write_bytes(content)
    assert keys.pinned(known_hosts, "notebook-wsl") == ()


def test_the_path_of_the_config_is_printed_and_works(cutter_command: Command, workspace: Workspace) -> None:
    answer = cutter_command("ssh-config")
    assert answer.stdout.decode() == f"{workspace.root}/.maw/ssh_config\n"
    config = answer.stdout.decode().strip()
    with Path("errors").open("w+b") as errors:
        said = subprocess.run(
            ["ssh", "-F", config, "loopback", "echo here"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            check=True,
        )
    assert said.stdout == b"here\n"
