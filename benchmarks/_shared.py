"""What the benchmarks share: a loopback satellite, medians, and one line per figure."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from maw.cli.demo import satellite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maw.cli.workspace import Context
    from maw.topology import Host

# Speed is measured as users have it: with compiled bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def figure(name: str, value: float, unit: str, note: str = "") -> None:
    """Print one figure."""
    print(f"{name:58} {value:12.3f} {unit:8} {note}".rstrip(), flush=True)


def seconds(action: Callable[[], object], runs: int = 9) -> float:
    """Return the median seconds of `runs` calls, after one that does not count."""
    action()
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


@contextlib.contextmanager
def lab() -> Iterator[tuple[Context, Host]]:
    """Make a workspace with a loopback satellite; end quietly where that cannot be."""
    with (
        tempfile.TemporaryDirectory(prefix="maw-bench-") as folder,
        satellite(Path(folder)) as (context, host),
    ):
        if host is None:
            print("skipped: no sshd program is installed here")
            sys.exit(0)
        yield context, host
