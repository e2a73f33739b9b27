"""What `cutter nodes` shows of provisioning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from maw.config import Workspace

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/schema/nodes.json").read_text("utf-8"))


def _nodes(answer: subprocess.CompletedProcess[bytes]) -> dict[str, dict[str, Any]]:
    found = json.loads(answer.stdout)
    jsonschema.validate(found, SCHEMA)
    return {node["name"]: node for node in found["nodes"]}


def test_what_provisioning_left_is_shown_and_said_when_it_is_not_complete(
    cutter_command: Command, workspace: Workspace
) -> None:
    folder = workspace.state / "provisioned"
    folder.mkdir()
    record = {
        "schema": "maw.provisioned/1",
        "host": "loopback",
        "when": "2026-01-31T12:00:00Z",
        "playbook": "satellite",
        "complete": False,
        "version": "0.0.1",
        "content": "0" * 16,
        "roles": {"lxd": {"version": "5.21", "pool": "btrfs"}},
    }
    (folder / "loopback.json").write_text(json.dumps(record), "utf-8")
    node = _nodes(cutter_command("nodes", "--json"))["loopback"]
    assert node["provisioned"] == {
        key: record[key] for key in ("when", "playbook", "complete", "version", "roles")
    }
    (note,) = [note for note in node["notes"] if "provisioning" in note]
    assert note == "provisioning (satellite, 2026-01-31) did not come to its end; run it again"
    assert note in cutter_command("nodes").stdout.decode()
    (folder / "loopback.json").write_text(json.dumps({**record, "complete": True}), "utf-8")
    assert "provisioned by maw 0.0.1" in cutter_command("nodes").stdout.decode()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "maw.provisioned/1"}', '{"schema": "other/1"}'])
def test_a_damaged_record_of_provisioning_is_as_good_as_none(
    cutter_command: Command, workspace: Workspace, text: str
) -> None:
    (workspace.state / "provisioned").mkdir()
    (workspace.state / "provisioned" / "loopback.json").write_text(text, "utf-8")
    assert _nodes(cutter_command("nodes", "--json"))["loopback"]["provisioned"] is None
