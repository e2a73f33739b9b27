"""What `maw weights` shows people, and how far a fetch is."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from maw.errors import printable
from maw.models.weights import gigabytes
from maw.models.weights_fetch import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from maw.models.weights_fetch import Outcome
    from maw.models.weights_store import Installed, Leftover


class Bar(Progress):
    """A bar over the bytes."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar = bar
        self._task = task

    def begin(self, total: int) -> None:
        """So many bytes are to come."""
        self._bar.update(self._task, total=total)

    def at(self, path: str, size: int) -> None:
        """So many more bytes of a file are here."""
        self._bar.update(self._task, advance=size, description=printable(path))

    def waits(self) -> None:
        """Say that another process works on the same model."""
        self._bar.update(self._task, description="another maw fetches it; waiting for that one")


class Quiet(Progress):
    """No terminal: only that it waits is said, for that may take long."""

    def waits(self) -> None:
        """Say that another process works on the same model."""
        click.echo("maw: another maw fetches the same model; waiting for that one", err=True)


@contextlib.contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Given a title, show how far it is on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield Quiet()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Shown

    columns = (
        TextColumn(printable(title), markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Shown(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Bar(bar, bar.add_task("", total=None))


def show_outcome(done: Outcome, *, pinned: bool, dry_run: bool) -> None:
    """Print what a fetch did, or would do."""
    missing = set(done.missing)
    for one in done.files:
        state = "here" if one.path not in missing else "to fetch" if dry_run else "fetched"
        click.echo(f"{state:8}  {gigabytes(one.size):>11}  {printable(one.path)}")
    for skipped in done.skipped:
        if skipped.reason != "not asked for":
            click.echo(f"left out: {printable(skipped.path)}: {printable(skipped.reason)}", err=True)
    name = f"{done.repo} at {done.revision}"
    licence = f", licence {printable(done.licence)}" if done.licence else ""
    if dry_run:
        wanted = gigabytes(sum(one.size for one in done.files if one.path in missing))
        click.echo(f"{name}: {wanted} of {gigabytes(done.size)} would be fetched{licence}; nothing was")
    elif done.changed:
        click.echo(f"done: {name} is in use and checked, {gigabytes(done.size)}{licence}: {done.folder}")
    else:
        click.echo(f"there already: {name}, {gigabytes(done.size)}{licence}: {done.folder}")
    if not pinned:
        click.echo(f"next: to have the same bytes each time, pin them: --revision {done.revision}", err=True)


def show_installed(root: Path, found: Sequence[Installed], left: Sequence[Leftover]) -> None:
    """Print the revisions that are here."""
    if not found and not left:
        click.echo(f"there are no weights in {printable(root)}; get some: maw weights fetch OWNER/NAME")
    for one in found:
        mark = "*" if one.current else " "
        size = gigabytes(one.manifest.size) if one.manifest else "?"
        licence = printable(one.manifest.licence or "no licence named") if one.manifest else ""
        click.echo(f"{mark} {one.repo}  {one.revision}  {size}  {licence}".rstrip())
        if one.problem:
            click.echo(f"    damaged: {printable(one.problem)}")
    for rest in left:
        click.echo(f"  {rest.repo}: unfinished, {gigabytes(rest.size)}: {printable(rest.folder)}")


def show_pruned(
    old: Sequence[Installed], left: Sequence[Leftover], busy: Sequence[str], *, dry_run: bool
) -> None:
    """Print what a prune removed, or would remove."""
    word = "would remove" if dry_run else "removed"
    for one in old:
        size = f", {gigabytes(one.manifest.size)}" if one.manifest else ""
        click.echo(f"{word}: {one.repo} {one.revision}{size}")
    for rest in left:
        click.echo(f"{word}: {printable(rest.folder)}, unfinished, {gigabytes(rest.size)}")
    for repo in busy:
        click.echo(f"left alone: {repo} is being fetched now", err=True)
    if not old and not left and not busy:
        click.echo("there is nothing to remove")
