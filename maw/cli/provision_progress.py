"""How far a playbook is, on a terminal: a row for each host, what it is at, and what came of it so far."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from maw.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from maw.provision.model import HostRun, Run

_PER_SECOND = 4
_COLOURS = {"ok": "green", "failed": "red", "unreachable": "red"}


class Shown:
    """A table that is drawn anew while a run goes on; nothing is drawn before its first event."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._begun = time.monotonic()
        self._run: Run | None = None
        # Since when each host is at its task.
        self._since: dict[str, tuple[str, float]] = {}
        self._live: Any = None

    def update(self, run: Run) -> None:
        """Something happened."""
        now = time.monotonic()
        for host in list(run.hosts.values()):
            at = f"{host.role}\0{host.task}"
            if self._since.get(host.name, ("", 0.0))[0] != at:
                self._since[host.name] = (at, now)
        self._run = run
        if self._live is None:
            # Only now: Ansible is started already, and no process may be forked beside a thread.
            self._live = _live(self)
            self._live.start()

    def close(self) -> None:
        """Take the table away."""
        if self._live is not None:
            self._live.stop()

    def __rich__(self) -> Table:
        """Return the table as it is now."""
        from rich.table import Table
        from rich.text import Text

        run, now = self._run, time.monotonic()
        table = Table(
            box=None,
            pad_edge=False,
            header_style="bold",
            title=Text(self._heading(now), style="bold"),
            title_justify="left",
            # Else the tasks' names push the numbers out.
            expand=True,
        )
        table.add_column("host", no_wrap=True)
        table.add_column("now", no_wrap=True, overflow="ellipsis", ratio=1)
        for name in ("ok", "changed", "failed", "time"):
            table.add_column(name, justify="right", no_wrap=True)
        for host in list(run.hosts.values()) if run else ():
            since = self._since.get(host.name, ("", now))[1]
            table.add_row(
                Text(printable(host.name), style=_COLOURS[host.state]),
                Text(_doing(host), style="" if host.busy or host.failures else "dim"),
                str(host.ok),
                Text(str(host.changed), style="yellow" if host.changed else ""),
                Text(str(len(host.failures)), style="red" if host.failures else ""),
                _clock(now - since) if host.busy else "",
            )
        return table

    def _heading(self, now: float) -> str:
        run = self._run
        play = f": {printable(run.play)}" if run and run.play else ""
        return f"{self._title}{play}, task {run.tasks if run else 0}, {_clock(now - self._begun)}"


def _doing(host: HostRun) -> str:
    task = printable(f"{host.role} : {host.task}" if host.role else host.task)
    if host.failures:
        return f"{host.state} at {task}"
    return task if host.busy else f"({task})"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def _live(shown: Shown) -> Any:
    from rich.console import Console
    from rich.live import Live

    return Live(
        shown,
        console=Console(stderr=True),
        refresh_per_second=_PER_SECOND,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )


@contextlib.contextmanager
def shown(title: str) -> Iterator[Shown | None]:
    """Given what runs, yield who is told of it; None where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    progress = Shown(title)
    try:
        yield progress
    finally:
        progress.close()
