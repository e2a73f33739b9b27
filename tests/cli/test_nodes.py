"""`cutter nodes`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from maw.cli.nodes import Node, _take

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from maw.config import Workspace
    from maw.transport.loopback import LoopbackSatellite

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

DOWN = {"maw_addresses": ["127.0.0.1"], "ansible_port": 1}
EXAMPLE = {"maw_addresses": ["192.0.2.1"], "maw_example": True}


def _add(workspace: Workspace, **hosts: dict) -> None:
    path = workspace.inventory / "hosts.yml"
    listing = json.loads(path.read_text("utf-8"))
    listing["satellites"]["hosts"].update(hosts)
    path.write_text(json.dumps(listing), "utf-8")


def _nodes(answer: subprocess.CompletedProcess[bytes]) -> dict[str, dict]:
    found = json.loads(answer.stdout)
    assert found["schema"] == "maw.nodes/1"
    return {node["name"]: node for node in found["nodes"]}


def test_every_machine_that_answers_says_what_it_has(cutter_command: Command, workspace: Workspace) -> None:
    answer = cutter_command("nodes", "--json")
    assert (answer.returncode, answer.stderr) == (0, b"")
    nodes = _nodes(answer)
    assert list(nodes) == ["local", "loopback"]
    for node in nodes.values():
        assert (node["state"], node["error"]) == ("up", None)
        for number in ("cores", "memory_total_kb", "memory_available_kb", "disk_free_kb", "uptime_seconds"):
            assert type(node[number]) is int, number
            assert node[number] > 0, number
        assert isinstance(node["load"], float)
        assert node["worker"], "both have the worker"
    assert nodes["loopback"]["roles"] == ["satellites"]
    assert nodes["loopback"]["addresses"] == ["127.0.0.1"]


def test_for_people_it_is_a_table(cutter_command: Command, workspace: Workspace) -> None:
    _add(workspace, paper=EXAMPLE)
    answer = cutter_command("nodes")
    assert (answer.returncode, answer.stderr) == (0, b"")
    lines = answer.stdout.decode().splitlines()
    assert lines[0].split()[:4] == ["node", "roles", "address", "state"]
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert rows["local"][1] == "up"
    assert rows["loopback"][1:4] == ["satellites", "127.0.0.1", "up"]
    assert rows["paper"][1:4] == ["satellites", "192.0.2.1", "example"]
    assert "\x1b" not in answer.stdout.decode()


def test_a_machine_that_is_down_is_named_and_the_others_are_still_shown(
    cutter_command: Command, workspace: Workspace
) -> None:
    _add(workspace, off=DOWN)
    answer = cutter_command("nodes", "--json")
    assert answer.returncode == 3
    assert answer.stderr.decode().startswith("cutter: 2 of 3 machines answered; these did not: off.")
    nodes = _nodes(answer)
    assert (nodes["loopback"]["state"], nodes["off"]["state"]) == ("up", "down")
    assert "off cannot be reached at 127.0.0.1" in nodes["off"]["error"]
    plain = cutter_command("nodes")
    assert plain.returncode == 3
    assert "off cannot be reached at 127.0.0.1" in plain.stdout.decode()


@pytest.mark.parametrize(
    "pinned",
    ["", "loopback ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"],
)
def test_a_machine_with_another_key_is_down_with_the_reason(
    cutter_command: Command, workspace: Workspace, pinned: str
) -> None:
    workspace.known_hosts.write_text(pinned)
    answer = cutter_command("nodes", "--json")
    assert answer.returncode == 3
    error = _nodes(answer)["loopback"]["error"]
    assert ("HOST KEY" in error) if pinned else ("not pinned yet" in error)
    assert "cutter trust loopback --fingerprint" in error


def test_an_example_is_shown_and_not_contacted(cutter_command: Command, workspace: Workspace) -> None:
    (workspace.inventory / "hosts.yml").write_text(json.dumps({"satellites": {"hosts": {"paper": EXAMPLE}}}))
    answer = cutter_command("nodes", "--json")
    assert answer.returncode == 0
    node = _nodes(answer)["paper"]
    assert (node["state"], node["cores"], node["error"]) == ("example", None, None)


def test_a_satellite_without_a_worker_is_up_without_one(
    cutter_command: Command, workspace: Workspace, satellite: LoopbackSatellite
) -> None:
    (workspace.inventory / "hosts.yml").write_text(satellite.inventory(["maw-no-such-worker"]))
    answer = cutter_command("nodes", "--json")
    assert answer.returncode == 0
    assert (_nodes(answer)["loopback"]["state"], _nodes(answer)["loopback"]["worker"]) == ("up", None)


@pytest.mark.parametrize("value", ["", ".", "-1", "1e9", "²", "½", "nan", "inf", "0x1", "1" * 39 + ".", "x"])
@pytest.mark.parametrize(
    "key", ["load", "cores", "memory_total_kb", "disk_free_kb", "uptime_seconds", "name"]
)
def test_a_number_that_is_none_is_left_out(key: str, value: str) -> None:
    node = Node("a", (), (), "up")
    _take(node, key, value)
    assert node.name == "a"
    if key != "name" and not value.startswith("11"):
        assert getattr(node, key) is None


@pytest.mark.parametrize("says", ["worker [/red]", "x \x1b[31m\u202ered"], ids=ascii)
def test_what_a_hostile_satellite_says_of_itself_does_no_harm(
    cutter_command: Command, workspace: Workspace, satellite: LoopbackSatellite, says: str
) -> None:
    (workspace.inventory / "hosts.yml").write_text(satellite.inventory(["printf", "%s\n", says]))
    for options in ((), ("--json",)):
        answer = cutter_command("nodes", *options)
        assert (answer.returncode, answer.stderr) == (0, b"")
        assert b"\x1b" not in answer.stdout
        assert "\u202e" not in answer.stdout.decode()
    assert _nodes(answer)["loopback"]["state"] == "up"
