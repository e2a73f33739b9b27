"""What `maw-worker` is on a satellite: the way to the worker's service, where there is one.

The launcher hands its standard input, output and error to the service over a unix socket, so the
worker there reads and writes them itself, byte for byte as if it had been started here. What stays on the
socket is how it ended, and the launcher ends in the same way. When the launcher is killed the
socket closes, and the service ends the worker. Standard library only: this file runs by its path.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

SOCKET = "/run/maw/worker.sock"
# Another path of the socket, for the tests and for a second worker on one machine.
SOCKET_VARIABLE = "MAW_WORKER_SOCKET"
# The longest line of options, and of the answer.
LONGEST_LINE = 64 << 10
# Options that need no service: they say something and end.
SAYING = ("--help", "-h", "--version")
SERVE = "--serve"
# Exit statuses: the service is busy (EX_TEMPFAIL), or ended without a word (EX_SOFTWARE).
BUSY = 75
SILENT = 70

RELEASE = Path(__file__).resolve().parents[2]


def main() -> NoReturn:
    """Run the worker: through its service if that is there, else here."""
    options = sys.argv[1:]
    if options[:1] == [SERVE]:
        sys.path.insert(0, str(RELEASE))
        from maw.offload import serve

        serve.main(options[1:])
    if not any(option in SAYING for option in options):
        connection = connect(os.environ.get(SOCKET_VARIABLE, SOCKET))
        if connection is not None:
            through(connection, options)
    here(options)


def connect(path: str) -> socket.socket | None:
    """Given the path of the service's socket, return a connection, None if there is no service."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        if not isinstance(error, FileNotFoundError):
            say(f"{path}: {error.strerror}; so the worker runs here, without the limits of its service")
        return None
    return connection


def through(connection: socket.socket, options: Sequence[str]) -> NoReturn:
    """Given a connection and the worker's options, have the service run it, and end as it ends."""
    line = json.dumps({"type": "options", "options": list(options)}).encode("utf-8", "surrogateescape")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        socket.send_fds(connection, [line + b"\n"], [0, 1, 2])
        # From here on they are the worker's alone: what it closes is closed.
        _let_go()
        answer = connection.makefile("rb").readline(LONGEST_LINE)
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    if not answer:
        say("the service took no connection: it is busy, or it was stopped. See: journalctl -u 'maw-worker*'")
        sys.exit(BUSY)
    end(answer)


def _let_go() -> None:
    """Let go of standard input and output: their other ends must learn it when the worker has ended."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)


def end(answer: bytes) -> NoReturn:
    """Given the line in which the service says how the worker ended, end in the same way."""
    try:
        said = json.loads(answer)
        kind, value = said["type"], said["value"]
    except (ValueError, TypeError, KeyError):
        kind, value = "nothing", None
    if kind == "refused":
        say(f"the service refused: {value}")
        sys.exit(2)
    if kind == "signal" and isinstance(value, int) and value in signal.valid_signals():
        # The worker's own core dump is enough.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if value not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(value, signal.SIG_DFL)
        os.kill(os.getpid(), value)
    if kind == "status" and isinstance(value, int):
        sys.exit(value)
    say("the service ended without saying how the worker ended. See: journalctl -u 'maw-worker*'")
    sys.exit(SILENT)


def command() -> tuple[list[str], dict[str, str]]:
    """Return the start of the worker's command in this release, and its environment.

    Both name the release itself, not the link to the current one: a release that is switched
    meanwhile does not mix with this one.
    """
    python = os.path.realpath(RELEASE / "venv") + "/bin/python"
    if not os.access(python, os.X_OK):
        python = sys.executable
    path = [str(RELEASE), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Else the folder that it happens to be started in could hold a module of any name.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
    return [python, "-m", "maw.offload.worker"], environment


def here(options: Sequence[str]) -> NoReturn:
    """Given the worker's options, become the worker."""
    argv, environment = command()
    os.execve(argv[0], [*argv, *options], environment)  # noqa: S606 - no shell is meant


def say(message: str) -> None:
    """Given a message, write it as one line to standard error."""
    print(f"maw-worker: {message}", file=sys.stderr, flush=True)  # noqa: T201 - its log


if __name__ == "__main__":
    main()
