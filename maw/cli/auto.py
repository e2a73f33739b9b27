"""`maw auto` and `maw-auto`: not there yet, and they say so."""

from __future__ import annotations

import click

from maw.errors import NotThereYet


@click.command(
    "maw-auto",
    short_help="Route a task to a musketeer (not there yet).",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("task", nargs=-1)
def command(task: tuple[str, ...]) -> None:  # noqa: ARG001 - taken so that the answer is the truth, not a usage error
    """Classify a task and pick a musketeer (not there yet)."""
    raise NotThereYet(what="maw-auto", instead="`maw pipeline` reads, summarises and digests documents")
