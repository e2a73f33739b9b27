"""How far a sync is, on a terminal: stage, bytes, rate, files, and a time only where the size is known."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from maw.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Shown:
    """Progress on a bar of rich."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def stage(self, text: str) -> None:
        """A new stage begins."""
        self._bar.update(self._task, description=printable(text))

    def moved(self, done: int, total: int | None, size: int, files: int) -> None:
        """So much was read of so much."""
        # Of a file the place in it is known; of a stream only how much came.
        shown = done if total is not None else size
        self._bar.update(self._task, completed=shown, total=total, files=f"{files} files")


@contextlib.contextmanager
def shown() -> Iterator[Shown]:
    """Yield progress that is drawn on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(),
        Speed(),
        TextColumn("{task.fields[files]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        yield Shown(bar, bar.add_task("looking", total=None, files=""))
