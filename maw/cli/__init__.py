"""The doors: `maw`, `cutter` and `maw-auto`. The one place that prints errors and picks exit codes."""

from __future__ import annotations


def maw() -> None:
    """Run the program `maw`."""
    from maw.cli.program import run

    run("maw")


def cutter() -> None:
    """Run the program `cutter`."""
    from maw.cli.program import run

    run("cutter")


def maw_auto() -> None:
    """Run the program `maw-auto`."""
    from maw.cli.program import run

    run("maw-auto")
