"""`maw init`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maw.config import Settings, load
from maw.topology import load as load_topology

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., subprocess.CompletedProcess[bytes]]


def _tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def test_a_new_workspace_works_with_its_defaults(maw_command: Command, tmp_path: Path) -> None:
    answer = maw_command("init", "ที่ ทำงาน")
    root = tmp_path / "ที่ ทำงาน"
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout.decode().splitlines()[-1].startswith(f"done: {root} is a workspace. Next: ")
    assert {"ansible.cfg", "inventory/hosts.yml", "maw.toml", "ψ/memory/logs", "ψ/inbox"} <= set(_tree(root))
    assert load(root / "maw.toml", {}) == Settings()
    assert [host.name for host in load_topology(root / "inventory").hosts] == [
        "server",
        "notebook-wsl",
        "notebook",
    ]


def test_the_second_time_nothing_changes_and_edits_survive(maw_command: Command, tmp_path: Path) -> None:
    assert maw_command("init", ".").returncode == 0
    (tmp_path / "maw.toml").write_text("[pipeline]\nsentences = 3\n")
    (tmp_path / "inventory" / "hosts.yml").write_text("mine: {}\n")
    before = _tree(tmp_path)
    answer = maw_command("init")
    assert (answer.returncode, answer.stdout) == (
        0,
        f"done: {tmp_path} is a workspace already; nothing was changed.\n".encode(),
    )
    assert _tree(tmp_path) == before


def test_what_is_missing_is_made_again_and_named(maw_command: Command, tmp_path: Path) -> None:
    maw_command("init")
    (tmp_path / "maw.toml").unlink()
    (tmp_path / "ψ" / "inbox").rmdir()
    first = json.loads(maw_command("init", "--json").stdout)
    assert first == {"schema": "maw.init/1", "workspace": str(tmp_path), "made": ["maw.toml", "ψ/inbox"]}
    assert json.loads(maw_command("init", "--json").stdout)["made"] == []


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/maw"])
def test_a_place_that_cannot_be_a_workspace_is_an_error(
    maw_command: Command, tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_text("mine")
    answer = maw_command("init", where)
    assert (answer.returncode, answer.stdout) == (12, b"")
    assert answer.stderr.startswith(b"maw: Cannot write ")
    assert answer.stderr.count(b"\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_folder_without_permission_is_an_error(tmp_path: Path) -> None:
    code = (
        "import os, sys; from maw.cli import program, init; import maw.cli.workspace, maw.soul.store\n"
        "os.chdir('/'); os.setgroups([]); os.setgid(65534); os.setuid(65534); "
        "sys.argv = ['maw', 'init', '/opt/maw-test']\n"
        "program.run('maw')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert answer.returncode == 12
    assert b"Permission denied" in answer.stderr
    assert not Path("/opt/maw-test").exists()
