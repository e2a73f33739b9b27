"""`cutter doctor`: each hop of the way to a host, and the cause of what does not work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from maw.cli.program import colour
from maw.errors import DoctorFoundProblems, Misuse
from maw.transport.local import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maw.cli.workspace import Context
    from maw.topology import Host
    from maw.transport.chain import Step

SCHEMA = "maw.doctor/1"
_MARKS = {"ok": "✓", "failed": "✗", "warning": "!", "skipped": "–"}
_COLOURS = {"ok": "green", "failed": "red", "warning": "yellow", "skipped": None}


@click.command("doctor", short_help="Look at each hop of the way to a host.")
@click.argument("host")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(host: str, as_json: bool) -> None:
    """Look at each hop of the way to HOST, and name the cause of what does not work.

    It changes nothing on HOST, and takes less than half a minute, whatever hangs. The exit code is 0 if
    nothing failed (there may be warnings), and 5 if something did.
    """
    from maw.cli.workspace import current
    from maw.transport import doctor, ssh_config

    context = current()
    details = _named(context, host)
    where = ssh_config.paths(context.workspace)
    steps = doctor.examine(
        details, context.topology.hosts, context.settings.ssh, where, progress=_progress(sys.stderr.isatty())
    )
    if as_json:
        import json
        from dataclasses import asdict

        shown = {"schema": SCHEMA, "host": details.name, "steps": [asdict(step) for step in steps]}
        click.echo(json.dumps(shown))
    else:
        show(steps)
    failed = [step for step in steps if step.state == "failed"]
    if failed:
        raise DoctorFoundProblems(
            host=details.name, failed=len(failed), total=len(steps), first=failed[0].title
        )


def _named(context: Context, name: str) -> Host:
    if name == LOCAL:
        raise Misuse(reason="This machine needs no way to it. Name a host of the inventory.")
    if name == "auto":
        chosen = context.pick(name)
        if chosen is None:
            raise Misuse(reason="No satellite of the inventory has an address of its own. Name a host.")
        return chosen
    # A host with the example's address too: that is the first thing to say of it.
    return context.topology.host(name)


def _progress(terminal: bool) -> Callable[[str], None]:
    def say(what: str) -> None:
        if terminal:
            click.echo(f"looking at: {what}", err=True)

    return say


def show(steps: Sequence[Step]) -> None:
    """Given the steps, print each on a line, and under what is not well its cause and the next step."""
    coloured = colour(sys.stdout.isatty())
    for step in steps:
        mark = click.style(_MARKS[step.state], fg=_COLOURS[step.state])
        seen = f"skipped: {step.seen}" if step.state == "skipped" else step.seen
        click.echo(f"{mark} {step.title}: {seen}", color=coloured)
        if step.cause:
            click.echo(f"    cause: {step.cause}.")
            click.echo(f"    next:  {step.step}.")
