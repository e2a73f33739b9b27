"""`cutter nodes`."""

from __future__ import annotations

import getpass
import json
import os
import pwd
import shlex
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import psutil
import pytest

from maw.cli.nodes import Node, Provisioned, Wsl
from maw.transport import keys
from maw.transport.loopback import LoopbackSatellite
from maw.transport.status import Battery, Container, Containers, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maw.config import Workspace

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/schema/nodes.json").read_text("utf-8"))
WORKER = [sys.executable, "-m", "maw.offload.worker"]
DOWN = {"maw_addresses": ["127.0.0.1"], "ansible_port": 1}
EXAMPLE = {"maw_addresses": ["192.0.2.1"], "maw_example": True}


def _add(workspace: Workspace, **hosts: dict[str, Any]) -> None:
    path = workspace.inventory / "hosts.yml"
    listing = json.loads(path.read_text("utf-8"))
    listing["satellites"]["hosts"].update(hosts)
    path.write_text(json.dumps(listing), "utf-8")


def _like(satellite: LoopbackSatellite, **changes: Any) -> dict[str, Any]:
    listing = json.loads(satellite.inventory(WORKER))
    return {**listing["satellites"]["hosts"][satellite.name], **changes}


def _nodes(answer: subprocess.CompletedProcess[bytes]) -> dict[str, dict[str, Any]]:
    found = json.loads(answer.stdout)
    jsonschema.validate(found, SCHEMA)
    return {node["name"]: node for node in found["nodes"]}


def _timed(command: Command, *arguments: str, **options: Any) -> tuple[float, dict[str, dict[str, Any]], int]:
    """Run `cutter nodes --json`; the inventory was read before, for Ansible takes a second."""
    command("nodes", "--limit", "0.1", **options)
    begun = time.monotonic()
    answer = command("nodes", "--json", *arguments, **options)
    return time.monotonic() - begun, _nodes(answer), answer.returncode


def test_the_schema_names_every_field() -> None:
    for kind, place in (
        (Node, SCHEMA["$defs"]["node"]),
        (Wsl, SCHEMA["$defs"]["wsl"]),
        (Provisioned, SCHEMA["$defs"]["provisioned"]),
        (Containers, SCHEMA["$defs"]["containers"]),
        (Container, SCHEMA["$defs"]["containers"]["properties"]["instances"]["items"]),
        (Battery, SCHEMA["$defs"]["node"]["properties"]["batteries"]["items"]),
        (Worker, SCHEMA["$defs"]["node"]["properties"]["worker"]["oneOf"][1]),
    ):
        names = [field.name for field in fields(kind)]
        assert list(place["properties"]) == names
        assert sorted(place["required"]) == sorted(names)


def test_every_machine_that_answers_says_what_it_has(cutter_command: Command, workspace: Workspace) -> None:
    answer = cutter_command("nodes", "--json")
    assert (answer.returncode, answer.stderr) == (0, b"")
    nodes = _nodes(answer)
    assert list(nodes) == ["local", "loopback"]
    for node in nodes.values():
        assert (node["state"], node["error"], node["expected"]) == ("up", None, True)
        for number in ("cores", "memory_total_kb", "memory_available_kb", "disk_free_kb", "uptime_seconds"):
            assert type(node[number]) is int, number
            assert node[number] > 0, number
        assert isinstance(node["load"], float)
        assert node["worker"]["engines"]["extractive"], "both have the worker, and its model"
        assert node["seconds"] < 2
    assert nodes["loopback"]["roles"] == ["satellites"]
    assert nodes["loopback"]["addresses"] == ["127.0.0.1"]
    assert nodes["loopback"]["address"] == "127.0.0.1"
    assert nodes["local"]["address"] is None


def test_for_people_it_is_a_table(cutter_command: Command, workspace: Workspace) -> None:
    _add(workspace, paper=EXAMPLE)
    answer = cutter_command("nodes")
    assert (answer.returncode, answer.stderr) == (0, b"")
    lines = answer.stdout.decode().splitlines()
    assert lines[0].split()[:4] == ["node", "role", "address", "state"]
    rows = {line.split()[0]: line.split() for line in lines[1:4]}
    assert rows["local"][1] == "up"
    assert rows["loopback"][1:4] == ["satellites", "127.0.0.1", "up"]
    assert rows["paper"][1:4] == ["satellites", "192.0.2.1", "example"]
    assert "\x1b" not in answer.stdout.decode()
    assert "battery" in lines[0] or not list(Path("/sys/class/power_supply").glob("BAT*"))


def test_a_machine_that_is_down_is_named_and_the_others_are_still_shown(
    cutter_command: Command, workspace: Workspace
) -> None:
    _add(workspace, off=DOWN)
    answer = cutter_command("nodes", "--json")
    assert answer.returncode == 1
    assert answer.stderr.decode().startswith("cutter: 2 of 3 machines answered; these are expected")
    assert "did not: off." in answer.stderr.decode()
    nodes = _nodes(answer)
    assert (nodes["loopback"]["state"], nodes["off"]["state"]) == ("up", "down")
    assert "off cannot be reached at 127.0.0.1" in nodes["off"]["error"]
    assert (nodes["off"]["error_kind"], nodes["off"]["address"]) == ("HostUnreachable", None)
    plain = cutter_command("nodes")
    assert plain.returncode == 1
    assert "off cannot be reached at 127.0.0.1" in plain.stdout.decode()


def test_a_machine_that_is_often_away_is_no_error(cutter_command: Command, workspace: Workspace) -> None:
    _add(workspace, off={**DOWN, "maw_expected": False})
    answer = cutter_command("nodes", "--json")
    assert (answer.returncode, answer.stderr) == (0, b"")
    node = _nodes(answer)["off"]
    assert (node["state"], node["expected"]) == ("away", False)
    assert "cannot be reached" in node["error"]


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize(
    "pinned",
    ["", "loopback ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"],
)
def test_a_machine_with_another_key_is_down_with_the_reason(
    cutter_command: Command,
    workspace: Workspace,
    satellite: LoopbackSatellite,
    pinned: str,
    expected: bool,
) -> None:
    workspace.known_hosts.write_text(pinned)
    _add(workspace, loopback=_like(satellite, maw_expected=expected))
    answer = cutter_command("nodes", "--json")
    assert answer.returncode == int(expected)
    node = _nodes(answer)["loopback"]
    assert node["state"] == "down", "it is there: that is more than being away"
    assert ("HOST KEY" in node["error"]) if pinned else ("not pinned yet" in node["error"])
    assert "cutter trust loopback --fingerprint" in node["error"]


def test_an_example_is_shown_and_not_contacted(cutter_command: Command, workspace: Workspace) -> None:
    (workspace.inventory / "hosts.yml").write_text(json.dumps({"satellites": {"hosts": {"paper": EXAMPLE}}}))
    answer = cutter_command("nodes", "--json")
    assert answer.returncode == 0
    node = _nodes(answer)["paper"]
    assert (node["state"], node["cores"], node["error"]) == ("example", None, None)


def test_a_satellite_without_a_worker_is_up_and_says_so(
    cutter_command: Command, workspace: Workspace, satellite: LoopbackSatellite
) -> None:
    (workspace.inventory / "hosts.yml").write_text(satellite.inventory(["maw-no-such-worker"]))
    answer = cutter_command("nodes", "--json")
    assert answer.returncode == 0
    node = _nodes(answer)["loopback"]
    assert (node["state"], node["worker"]) == ("up", None)
    assert node["notes"] == ["it has no worker: there is no maw-no-such-worker"]


def test_of_the_core_no_worker_is_wanted(
    cutter_command: Command, workspace: Workspace, satellite: LoopbackSatellite
) -> None:
    core = _like(satellite, maw_worker_command=["maw-no-such-worker"])
    (workspace.inventory / "hosts.yml").write_text(json.dumps({"core": {"hosts": {"loopback": core}}}))
    node = _nodes(cutter_command("nodes", "--json"))["loopback"]
    assert (node["roles"], node["state"], node["notes"]) == (["core"], "up", [])


@pytest.mark.parametrize("says", ["worker [/red]", "x \x1b[31m\u202ered"], ids=ascii)
def test_what_a_hostile_satellite_says_of_itself_does_no_harm(
    cutter_command: Command, workspace: Workspace, satellite: LoopbackSatellite, says: str
) -> None:
    hello = json.dumps({"type": "hello", "version": says, "engines": {says: says}})
    (workspace.inventory / "hosts.yml").write_text(satellite.inventory(["printf", "%s\n", hello]))
    for options in ((), ("--json",)):
        answer = cutter_command("nodes", *options)
        assert (answer.returncode, answer.stderr) == (0, b"")
        assert b"\x1b" not in answer.stdout
        assert "\u202e" not in answer.stdout.decode()
    assert _nodes(answer)["loopback"]["state"] == "up"
    assert "red" in _nodes(answer)["loopback"]["worker"]["version"]


def test_two_names_of_one_machine_are_told(
    cutter_command: Command, workspace: Workspace, satellite: LoopbackSatellite
) -> None:
    _add(workspace, again=_like(satellite, maw_addresses=["127.0.0.1", "127.0.0.2"]))
    keys.pin(workspace.known_hosts, "again", satellite.host_keys)
    nodes = _nodes(cutter_command("nodes", "--json"))
    assert [node["same_as"] for node in nodes.values()] == [None, "local", "local"]
    assert "again: the same machine as local" in cutter_command("nodes").stdout.decode()


def test_the_address_that_answers_is_shown_and_remembered(
    cutter_command: Command, workspace: Workspace, satellite: LoopbackSatellite
) -> None:
    # Nothing listens at the first; both are tried at once.
    listed = ["127.0.0.77", "127.0.0.1"]
    (workspace.inventory / "hosts.yml").write_text(
        json.dumps({"satellites": {"hosts": {"loopback": _like(satellite, maw_addresses=listed)}}})
    )
    seconds, nodes, code = _timed(cutter_command)
    assert (code, nodes["loopback"]["state"], nodes["loopback"]["address"]) == (0, "up", "127.0.0.1")
    assert seconds < 3
    (memory,) = (Path(os.environ["XDG_RUNTIME_DIR"]) / "maw").glob("at-*")
    assert memory.read_text().split()[1] == "127.0.0.1"
    row = cutter_command("nodes").stdout.decode().splitlines()[2]
    assert "127.0.0.1" in row
    assert "127.0.0.77" not in row


def test_a_limit_that_is_none_is_refused(cutter_command: Command, workspace: Workspace) -> None:
    for limit in ("0", "-1", "x", "nan", "1e9"):
        assert cutter_command("nodes", "--limit", limit).returncode == 2, limit


# Machines that take time: the whole ends within the limit and a second, and the others are there.


@contextmanager
def _mute(drop: bool) -> Iterator[int]:
    """A port that takes connections and never says a word; or that drops them, its queue being full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0 if drop else 50)
        clients = [socket.socket() for _ in range(3 if drop else 0)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for client in clients:
            client.close()


def _ssh_left(workspace: Workspace) -> list[list[str]]:
    mark = str(workspace.state / "ssh_config")
    found = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in found if mark in line and line[0] == "ssh"]


@pytest.mark.parametrize("drop", [True, False], ids=["drops", "never greets"])
def test_a_machine_that_says_nothing_costs_the_limit(
    cutter_command: Command, workspace: Workspace, drop: bool
) -> None:
    with _mute(drop) as port:
        _add(workspace, mute={"maw_addresses": ["127.0.0.1"], "ansible_port": port})
        seconds, nodes, code = _timed(cutter_command)
    assert seconds < 3
    assert (code, nodes["mute"]["state"], nodes["mute"]["error_kind"]) == (1, "down", "HostSilent")
    assert nodes["mute"]["error"].startswith("mute did not answer within 2 s: ")
    assert ("nothing takes connections" if drop else "takes connections at port") in nodes["mute"]["error"]
    assert "cutter nodes --limit 30" in nodes["mute"]["error"]
    assert nodes["loopback"]["worker"] is not None
    assert _ssh_left(workspace) == []


def test_several_addresses_that_drop_cost_the_limit_once(
    cutter_command: Command, workspace: Workspace
) -> None:
    with _mute(drop=True) as port:
        listed = ["127.0.0.1", "192.0.2.1", "192.0.2.2"]
        _add(workspace, mute={"maw_addresses": listed, "ansible_port": port})
        seconds, nodes, code = _timed(cutter_command)
    assert seconds < 3
    assert (code, nodes["mute"]["state"]) == (1, "down")
    assert "127.0.0.1: " in nodes["mute"]["error"]
    assert nodes["loopback"]["state"] == "up"


def test_a_machine_asleep_costs_the_limit(cutter_command: Command, workspace: Workspace) -> None:
    with LoopbackSatellite(workspace.root / "second", name="second") as second:
        _add(workspace, second=_like(second))
        keys.pin(workspace.known_hosts, "second", second.host_keys)
        assert _nodes(cutter_command("nodes", "--json"))["second"]["state"] == "up"
        assert second._process is not None
        listener = psutil.Process(second._process.pid)
        asleep = [listener, *listener.children(recursive=True)]
        for process in asleep:
            process.suspend()
        try:
            seconds, nodes, code = _timed(cutter_command)
        finally:
            for process in asleep:
                process.resume()
        assert seconds < 3
        assert (code, nodes["second"]["state"], nodes["loopback"]["state"]) == (1, "down", "up")
        assert _ssh_left(workspace) == []
        config = str(workspace.state / "ssh_config")
        subprocess.run(["ssh", "-F", config, "-O", "exit", "second"], capture_output=True, check=False)


@contextmanager
def _start_up(satellite: LoopbackSatellite, text: str) -> Iterator[None]:
    if not pwd.getpwnam(getpass.getuser()).pw_shell.endswith("bash"):
        pytest.skip("the login shell of this user is not bash")
    file = satellite.folder / "home" / ".bashrc"
    file.write_text(text)
    try:
        yield
    finally:
        file.unlink()


def test_a_login_shell_that_hangs_costs_the_limit(
    cutter_command: Command, workspace: Workspace, satellite: LoopbackSatellite, lasting: str
) -> None:
    with _start_up(satellite, f"sleep {lasting}\n"):
        try:
            seconds, nodes, code = _timed(cutter_command)
        finally:
            # maw cannot reach what hangs there before its guard began.
            for process in psutil.process_iter(["cmdline"]):
                if process.info["cmdline"] == ["sleep", lasting]:
                    process.kill()
    assert seconds < 3
    assert (code, nodes["loopback"]["state"]) == (1, "down")
    assert "shell's start-up files hang" in nodes["loopback"]["error"]
    assert nodes["local"]["state"] == "up"
    assert _ssh_left(workspace) == []


def test_an_lxd_that_hangs_does_not_make_the_machine_down(
    cutter_command: Command,
    workspace: Workspace,
    satellite: LoopbackSatellite,
    tmp_path: Path,
    lasting: str,
    running: Callable[[str], list[int]],
    within: Callable[..., bool],
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "unix.socket"))
    (tmp_path / "lxc").write_text(f"#!/bin/sh\ntrap '' TERM\nsleep {lasting}\nsleep {lasting}\n")
    (tmp_path / "lxc").chmod(0o755)
    place = shlex.quote(str(tmp_path))
    with _start_up(satellite, f"export PATH={place}:$PATH LXD_DIR={place}\n"):
        seconds, nodes, code = _timed(cutter_command)
    assert seconds < 3
    assert (code, nodes["loopback"]["state"]) == (0, "up")
    assert nodes["loopback"]["lxd"]["error"] == "it did not answer in time"
    assert nodes["loopback"]["notes"] == ["its LXD does not tell: it did not answer in time"]
    assert nodes["loopback"]["worker"] is not None
    assert within(5, lambda: not running(lasting)), "nothing is left there"
