"""The program vzdump."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING

from . import options, tasks
from .archive import InterruptedBySignalError
from .job import Job, LockedError
from .state import Node, PveError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .access import Who


def main(node: Node, _program: str, arguments: list[str]) -> int:
    """Run vzdump; return its exit code. The log goes to standard error if the archive goes to output."""
    quiet = False
    try:
        params = options.parse(arguments)
        quiet = options.is_set(params, "quiet")
        options.check_targets(params)
        code, why = _run(node, params)
    except PveError as error:
        code, why = error.code, error.text
    if why and not quiet:
        with contextlib.suppress(BrokenPipeError):
            print(why, file=sys.stderr)
    return code


def _run(node: Node, params: dict) -> tuple[int, str]:
    stream = sys.stderr if options.is_set(params, "stdout") else sys.stdout
    quiet = options.is_set(params, "quiet")

    def say(line: str) -> None:
        # The reader of the log may be gone: the backup goes on without it.
        with contextlib.suppress(BrokenPipeError):
            if not quiet:
                print(line, file=stream, flush=True)

    job = Job(node, params, say)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        job.run()
    except LockedError:
        return 255, "got unexpected control message:  "
    return 0, ""


def as_task(node: Node, upid: str, params: dict, who: Who, show: Callable[[str], None] | None = None) -> int:
    """Run a backup as a task: the log is the task's, and how it ended is noted there."""

    def say(line: str) -> None:
        tasks.write(node, upid, line)
        if show is not None:
            show(line)

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        Job(node, params, say, lambda vmid: who.may(f"/vms/{vmid}", "VM.Backup")).run()
    except LockedError:
        # The real one's parent loses its worker here: no last line, an "unexpected status".
        return 255
    except PveError as error:
        tasks.finish(node, upid, error.text.replace("\n", " ").strip())
        return 255
    tasks.finish(node, upid, "OK")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise InterruptedBySignalError
