"""The same verbs as Invoke tasks, generated from the doors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from maw.cli.program import CUTTER, MAW
from maw.tasks import collection

ROOT = Path(__file__).resolve().parents[1]
INV = str(Path(sys.executable).parent / "inv")
PROSE = "The house lost power at nine. The UPS held for ten minutes. Nobody had tested the restore."


def inv(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [INV, "--search-root", str(ROOT), *arguments],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_every_verb_is_a_task():
    names = set(collection().task_names)
    keys = {f"cutter.keys.{verb}" for verb in ("check", "make", "rotate", "show")}
    weights = {f"weights.{verb}" for verb in ("fetch", "list", "prune", "verify")}
    ours = {verb for verb in MAW if verb != "weights"} | weights
    assert names == ours | {f"cutter.{verb}" for verb in CUTTER if verb != "keys"} | keys


def test_the_list_shows_verbs_and_chores_with_their_help():
    text = inv("--list").stdout.decode()
    for word in ("pipeline", "summarize", "cutter.offload", "cutter.nodes", "test", "lint", "bench"):
        assert word in text
    assert "Summarise SRC" in inv("--help", "pipeline").stdout.decode()


def test_a_task_does_what_the_door_does(workspace, maw_command, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(PROSE, "utf-8")
    result = inv(
        "pipeline", "--src", str(path), "--on", "local", "--json", "--question", "what did the UPS do?"
    )
    assert result.returncode == 0, result.stderr.decode()
    by_task = json.loads(result.stdout)
    by_door = json.loads(
        maw_command(
            "pipeline", str(path), "--on", "local", "--json", "--question", "what did the UPS do?"
        ).stdout
    )
    assert by_task["analysis"] == by_door["analysis"]
    assert by_door["documents"][0]["reused"]


def test_several_sources_and_a_hostile_name_pass_through(workspace, tmp_path):
    paths = [tmp_path / "-rf $(id).txt", tmp_path / "ไทย.txt"]
    for number, path in enumerate(paths):
        path.write_text(f"{PROSE} {number}", "utf-8")
    sources = [word for path in paths for word in ("--src", str(path))]
    result = inv("summarize", *sources, "--on", "local", "--json")
    assert [one["source"] for one in json.loads(result.stdout)["documents"]] == [str(path) for path in paths]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["pipeline", "--src", "/nowhere.txt", "--on", "local"], 4),
        (["pipeline", "--src", "x", "--engine", "extractiv"], 2),
        (["auto", "--task", "do it"], 2),
        (
            [
                "cutter.offload",
                "--on",
                "local",
                "--command-line",
                "sh",
                "--command-line=-c",
                "--command-line",
                "exit 5",
            ],
            5,
        ),
    ],
)
def test_exit_codes_and_messages_are_those_of_the_door(workspace, arguments, code):
    result = inv(*arguments)
    assert result.returncode == code, result.stderr.decode()
    assert b"Traceback" not in result.stderr
