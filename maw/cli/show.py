"""What a person sees: results on standard output, progress on standard error when it is a terminal."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from maw.cli.program import colour
from maw.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maw.models.digest import Analysis
    from maw.pipeline.report import Document


class Progress:
    """A bar over the documents; silent where standard error is no terminal."""

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar = bar
        self._task = task

    def advance(self, name: str) -> None:
        """One more document has come to its end."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=shortened(name))


@contextlib.contextmanager
def progress(total: int, host: str) -> Iterator[Progress]:
    """Given how many documents there are and where they go, show how far they are."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn(f"{printable(host)}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        yield Progress(bar, bar.add_task("", total=total))


def shortened(text: str, width: int = 40) -> str:
    """Given a text, return one line of at most `width` characters."""
    line = printable(text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def say(text: str = "") -> None:
    """Print one line of the result.

    Not by click.echo: that writes beneath the standard output that the progress bar has replaced,
    and would run into the bar.
    """
    sys.stdout.write(f"{text}\n")


def style(text: str, **attributes: Any) -> str:
    """Given a text, return it coloured if standard output is a terminal that may be coloured."""
    return click.style(text, **attributes) if colour(sys.stdout.isatty()) else text


def plain(text: str) -> str:
    """Given a text of a document, return it as one line that is safe on a terminal."""
    return printable(" ".join(text.split()))


def document(one: Document) -> None:
    """Print what became of one document."""
    name = printable(one.source)
    if one.status == "failed":
        say(f"{style('✗', fg='red')} {style(name, bold=True)}")
        say(f"    {one.error}")
        return
    if one.status == "duplicate":
        say(f"{style('=', fg='yellow')} {style(name, bold=True)}")
        say(f"    the same as {printable(one.duplicate_of)}")
        return
    how = f"{one.engine} on {printable(one.host)}, {one.seconds:.2f} s"
    if one.fallback_for:
        how += f", instead of {one.fallback_for}"
    if one.reused:
        how += ", done before"
    say(f"{style('✓', fg='green')} {style(name, bold=True)}  {style(f'({how})', dim=True)}")
    for note in one.notes:
        say(f"    note: {printable(note)}")
    for sentence in one.summary:
        say(f"    {plain(sentence.text)}  {style(f'{sentence.start}-{sentence.end}', dim=True)}")


def analysis(one: Analysis, question: str | None) -> None:
    """Print the digest and where each citation stands."""
    say()
    title = f"Digest ({one.engine}): {plain(question)}" if question else f"Digest ({one.engine})"
    say(style(title, bold=True))
    for line in one.text.splitlines():
        say(printable(line))
    say()
    say(style("Citations", bold=True))
    for citation in one.citations:
        say(f"  [{citation.n}] {printable(citation.source)}, characters {citation.start} to {citation.end}")
