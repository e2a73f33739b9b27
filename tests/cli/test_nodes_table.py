"""How `cutter nodes` looks."""

from __future__ import annotations

import errno
import os
import pty
import re
import sys
from typing import TYPE_CHECKING

import pytest

from maw.cli import nodes_table
from maw.cli.nodes import Node, Wsl
from maw.transport.status import Battery, Container, Containers, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

NOTEBOOK = Node(
    "notebook-wsl",
    ("satellites",),
    ("192.168.1.146", "100.64.0.2"),
    expected=True,
    state="up",
    address="100.64.0.2",
    seconds=0.4,
    cores=8,
    load=0.42,
    memory_total_kb=8 << 20,
    memory_available_kb=5 << 20,
    disk_total_kb=1007 << 20,
    disk_free_kb=812 << 20,
    batteries=(Battery(87, "Discharging"),),
    system="Ubuntu 24.04.2 LTS",
    wsl=Wsl("Ubuntu", 2, "2.5.9.0", "notebook", "up", None),
    lxd=Containers((Container("web", "running"), Container("db", "stopped"))),
    worker=Worker("0.1.0", {"extractive": "extractive-1"}),
)
ABSENT = Node(
    "old",
    ("satellites",),
    ("192.168.1.147", "100.64.0.3"),
    expected=True,
    state="down",
    error="There is a reason.",
    wsl=Wsl("Ubuntu", None, "2.5.9.0", "old-windows", "up", None),
)


def _shown(nodes: list[Node], capfd: pytest.CaptureFixture[str]) -> list[str]:
    nodes_table.show(nodes)
    return capfd.readouterr().out.splitlines()


def test_all_that_is_known_stands_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    lines = _shown([NOTEBOOK], capfd)
    assert re.split(r"  +", lines[0]) == [
        *("node", "role", "address", "state", "load", "free memory", "free disk", "battery", "system"),
        *("containers", "worker"),
    ]
    assert re.split(r"  +", lines[1]) == [
        *("notebook-wsl", "satellites", "100.64.0.2", "up", "0.42/8", "5.0/8.0 GiB"),
        *("812/1007 GiB", "87% discharging", "Ubuntu 24.04.2 LTS, WSL 2.5.9.0", "LXD 1/2 running"),
        "0.1.0 (extractive-1)",
    ]
    assert lines[2:] == ["", "notebook-wsl: LXD running: web; stopped: db"]


def test_columns_that_nobody_fills_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    lines = _shown([ABSENT], capfd)
    assert lines[0].split() == ["node", "role", "address", "state"]
    assert lines[1].split()[2:] == ["192.168.1.147", "+1", "down"]
    assert lines[2:] == ["", "old: its Windows (old-windows) is up", "old: There is a reason."]


def _all_of(terminal: int) -> bytes:
    """Read a terminal whose other side is closed. One read may give only what the kernel has moved so far."""
    said = b""
    while True:
        try:
            said += (piece := os.read(terminal, 1 << 16))
        except OSError as error:
            # Linux says so of a terminal that nobody has open any more.
            if error.errno != errno.EIO:
                raise
            return said
        if not piece:
            return said


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], str]:
    """`on_a_terminal(columns, NO_COLOR)`: what a terminal that wide shows of the two machines."""

    def run(columns: int, no_color: str) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", no_color)
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            nodes_table.show([NOTEBOOK, ABSENT])
        said = _all_of(ours).decode()
        os.close(ours)
        return said.replace("\r\n", "\n")

    return run


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_what_does_not_fit_stands_below_and_nothing_is_cut(
    on_a_terminal: Callable[[int, str], str], columns: int
) -> None:
    text = on_a_terminal(columns, "1")
    table, _, below = text.partition("\n\n")
    assert len(table.splitlines()) == 3, "no row is folded"
    assert max(map(len, text.splitlines())) <= columns
    for word in ("100.64.0.2", "0.42/8", "5.0/8.0 GiB", "812/1007 GiB", "87% discharging", "WSL 2.5.9.0"):
        assert word in text, word
    assert "0.1.0 (extractive-1)" in text
    assert "LXD running: web; stopped: db" in below
    assert re.search(r"^old +its Windows \(old-windows\) is up\n +There is a reason\.$", below, re.MULTILINE)


def test_colours_are_for_terminals_that_want_them(on_a_terminal: Callable[[int, str], str]) -> None:
    assert "\x1b[32mup" in on_a_terminal(80, "")
    assert "\x1b" not in on_a_terminal(80, "1")
