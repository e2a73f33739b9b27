"""`cutter trust` and `cutter ssh-config`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maw.transport import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.config import Workspace
    from maw.transport.loopback import LoopbackSatellite

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

WRONG = "SHA256:" + "A" * 43


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
        assert b"cutter trust loopback --fingerprint" in answer.stderr
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
