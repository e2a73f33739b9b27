"""`cutter doctor` as a person runs it."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from maw.cli.doctor import SCHEMA

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from maw.config import Workspace
    from maw.transport.loopback import LoopbackSatellite
    from tests.fakes.windows import WindowsNotebook

ROOT = Path(__file__).resolve().parents[2]
SHAPE = json.loads((ROOT / "docs/schema/doctor.json").read_text("utf-8"))


def _steps(answer: subprocess.CompletedProcess[bytes]) -> list[dict[str, str | None]]:
    shown = json.loads(answer.stdout)
    jsonschema.validate(shown, SHAPE)
    assert shown["schema"] == SCHEMA
    steps: list[dict[str, str | None]] = shown["steps"]
    return steps


@pytest.mark.usefixtures("workspace")
def test_a_healthy_host_leaves_with_0(cutter_command) -> None:
    answer = cutter_command("doctor", "loopback")
    said = answer.stdout.decode()
    assert answer.returncode == 0, said + answer.stderr.decode()
    assert "✗" not in said
    for line in (
        "✓ inventory: ",
        "✓ private keys: ",
        "✓ address ",
        "✓ host key at ",
        "✓ log-in to loopback: ",
    ):
        assert line in said
    assert answer.stderr == b"", "progress is for terminals"


@pytest.mark.usefixtures("workspace")
def test_the_json_is_one_object_with_every_step(cutter_command) -> None:
    answer = cutter_command("doctor", "loopback", "--json")
    names = [step["name"] for step in _steps(answer)]
    expected = ["inventory", "programs", "ssh-config", "keys", "address", "host-key", "login", "clock"]
    assert names == expected


@pytest.mark.usefixtures("notebook")
def test_of_a_notebook_both_sides_are_looked_at_and_warnings_leave_with_0(cutter_command) -> None:
    answer = cutter_command("doctor", "notebook-wsl", "--json")
    steps = {step["name"]: step for step in _steps(answer)}
    assert answer.returncode == 0
    assert steps["idle-stop"]["state"] == "warning"
    assert set(SHAPE["$defs"]["step"]["properties"]["name"]["enum"]) == set(steps)


def test_a_distro_that_is_not_there_is_named_by_the_doctor_and_by_every_other_verb(
    cutter_command, notebook: WindowsNotebook
) -> None:
    with notebook.configured(distros={}):
        answer = cutter_command("doctor", "notebook-wsl")
        other = cutter_command("offload", "--on", "notebook-wsl", "--", "true")
    assert answer.returncode == 5
    assert "✗ the bridge: There is no distribution with the supplied name." in answer.stdout.decode()
    assert "    next:  On notebook, as that account, run `wsl.exe -l -v`" in answer.stdout.decode()
    assert other.returncode == 248
    assert b"There is no distro Ubuntu" in other.stderr


def test_a_host_that_is_off_leaves_with_5_a_cause_and_a_next_step(
    cutter_command, workspace: Workspace, satellite: LoopbackSatellite, free_port: int
) -> None:
    hosts = workspace.inventory / "hosts.yml"
    hosts.write_text(hosts.read_text().replace(str(satellite.port), str(free_port)))
    answer = cutter_command("doctor", "loopback")
    said = answer.stdout.decode()
    assert answer.returncode == 5
    assert "✗ address 127.0.0.1: Connection refused\n    cause: 127.0.0.1 is there, but no SSH server" in said
    assert "    next:  On Windows: `Start-Service sshd`" in said
    assert "– log-in to loopback: skipped: because of address 127.0.0.1" in said
    assert b"the first is: address 127.0.0.1." in answer.stderr


def test_the_examples_address_is_the_first_thing_to_say(cutter_command, workspace: Workspace) -> None:
    (workspace.inventory / "hosts.yml").write_text(
        "satellites:\n  hosts:\n    notebook:\n      ansible_host: 192.168.1.146\n      maw_example: true\n"
    )
    answer = cutter_command("doctor", "notebook")
    assert answer.returncode == 5
    assert "✗ inventory: 192.168.1.146, port 22" in answer.stdout.decode()
    assert b"maw_example" in answer.stdout


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    ("name", "part"), [("local", b"needs no way"), ("loopbck", b"loopback"), ("../..", b"host")]
)
def test_a_name_that_is_no_host_is_misuse(cutter_command, name: str, part: bytes) -> None:
    answer = cutter_command("doctor", name)
    assert answer.returncode == 2
    assert part in answer.stderr


def test_what_a_far_machine_says_does_not_trick_the_terminal(
    cutter_command, workspace: Workspace, satellite: LoopbackSatellite, hostile_port: int
) -> None:
    hosts = workspace.inventory / "hosts.yml"
    hosts.write_text(hosts.read_text().replace(str(satellite.port), str(hostile_port)))
    answer = cutter_command("doctor", "loopback", env={"NO_COLOR": ""})
    assert answer.returncode == 5
    assert b"\x1b" not in answer.stdout + answer.stderr
    assert "สวัสดี" in answer.stdout.decode()
    assert "\\u202e" in answer.stdout.decode()


@pytest.fixture
def hostile_port() -> Iterator[int]:
    """A port where something greets with control characters instead of SSH-."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                while True:
                    with server.accept()[0] as link:
                        link.sendall("\x1b[31mสวัสดี \u202e$(id) \r\n".encode())
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
