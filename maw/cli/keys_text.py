"""What `cutter keys` prints for people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from maw.cli.program import colour
from maw.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.transport.installing import Instruction
    from maw.transport.keys_check import Looked, OwnKey, Report
    from maw.transport.rotation import Planned

_AHEAD = {
    "make": "would be changed: a new key is made, installed and proven everywhere, then the old one removed",
    "spread": "was begun: the new key is not proven everywhere yet",
    "promote": "was begun: the new key is proven everywhere and becomes the key",
    "clean": "was begun: the old key is not removed everywhere yet",
}


def show_instruction(one: Instruction) -> None:
    """Given what to install at a place, print it: what begins with # is a remark for whoever pastes all."""
    click.echo(f"# {one.host}: {one.path}")
    for line in one.lines:
        click.echo(line)
    click.echo(f"# {one.where}, which adds them:")
    for command in one.commands:
        click.echo(command)
    click.echo()


def show_report(found: Report) -> None:
    """Given all that was found, print it place by place; what must be mended has a ✗ before it."""
    for problem in found.problems:
        _problem(problem)
    for key in found.keys:
        _own(key)
    for place in found.places:
        _place(place)
    if not found.all_problems:
        click.echo("done: nothing must be mended")


def _own(key: OwnKey) -> None:
    age = "age unknown" if key.days is None else f"made {key.made}, {key.days} days ago"
    remark = f" ({key.remark})" if key.remark else ""
    click.echo(printable(f"{key.purpose}{key.stage}: {key.fingerprint}, {age}{remark}"))
    for problem in key.problems:
        _problem(problem)


def _place(place: Looked) -> None:
    click.echo(printable(f"{place.host}: {place.path or 'could not be looked at'}"))
    if place.error:
        _problem(place.error)
    for problem in place.problems:
        _problem(problem)
    for line in place.keys:
        name = line.key or f"a key of somebody else, {line.fingerprint} {line.comment}".rstrip()
        click.echo(printable(f"  {name}: may {line.may}"))
        for problem in line.problems:
            _problem(problem)


def _problem(text: str) -> None:
    mark = click.style("✗", fg="red")
    click.echo(f"  {mark} {printable(text)}", color=colour(sys.stdout.isatty()))


def show_plan(purpose: str, move: str, places: Sequence[Planned]) -> None:
    """Given what a rotation would do, print it."""
    click.echo(f"{purpose}: {_AHEAD[move]}")
    for place in places:
        if place.error is not None:
            _problem(str(place.error))
            continue
        steps = [*(["add the new key"] if place.adds else []), "log in with it alone"]
        steps += ["remove the old key"] if place.removes else []
        click.echo(printable(f"  {place.host}, {place.path}: {', '.join(steps)}"))
