"""This machine, behind the same interface as a host far away."""

from __future__ import annotations

import errno
import math
import os
import threading
from typing import TYPE_CHECKING

from maw.errors import CommandNotFound, Misuse, TransportError
from maw.transport import guard
from maw.transport.base import Transport, check
from maw.transport.process import GuardProcess, ProcessChannel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.transport.base import Sink

LOCAL = "local"


class LocalTransport(Transport):
    """Runs commands on this machine; a kill of maw itself stops them as a lost link would.

    What is not over at the `deadline` (of `time.monotonic`) is stopped and let go of at once.
    """

    def __init__(self, *, deadline: float = math.inf) -> None:
        self.host = LOCAL
        self._deadline = deadline
        self._guard: GuardProcess | None = None
        self._lock = threading.Lock()

    def open(self, argv: Sequence[str], *, on_stderr: Sink, stdin: bool = True) -> ProcessChannel:
        """Given an argument list, start it here. Raise CommandNotFound or TransportError."""
        check(argv)
        with self._lock:
            if self._guard is None or not self._guard.alive:
                self.close()
                self._guard = GuardProcess(guard.ARGV, explain=_explain, deadline=self._deadline)
            guard_process = self._guard
        run = guard.new_run()
        try:
            return ProcessChannel(
                argv,
                host=self.host,
                guard_process=guard_process,
                run=run,
                on_stderr=on_stderr,
                stdin=stdin,
                far=False,
                options={"env": {**os.environ, "MAW_RUN": run}},
            )
        except FileNotFoundError as error:
            raise CommandNotFound(host=self.host, command=argv[0]) from error
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise Misuse(
                    reason="The arguments are too long for this system. Send the data on standard input."
                ) from error
            raise TransportError(host=self.host, reason=f"{argv[0]}: {error.strerror}") from error

    def close(self) -> None:
        """Stop what still runs on our behalf."""
        if self._guard is not None:
            self._guard.close()
            self._guard = None


def _explain(said: str, status: int) -> Exception:
    return TransportError(host=LOCAL, reason=f"its shell ended with status {status}: {said.strip()}")
