"""`maw-worker --serve`: one connection of the worker's service.

systemd accepts the connection and starts this with the socket as standard input. The first line
holds the worker's options, and with it come the three descriptors that become the worker's
standard input, output and error. Then the worker runs as a process of its own, and this one
waits for whichever ends first: the worker (how it ended is told), or the connection (the worker
is stopped). Standard library only, so that waiting costs little.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from maw.offload import launcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Seconds for the first line, and from the polite signal to the other one.
PATIENCE = 10.0
GRACE = 2.0
MOST_OPTIONS = 64
LONGEST_OPTION = 1000
DESCRIPTORS = 3
# The largest address space of an inner process that a connection may ask for, in megabytes.
LIMIT_VARIABLE = "MAW_WORKER_MEMORY_MEGABYTES"
_PR_SET_PDEATHSIG = 1

_WHOLE = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_ENGINE = re.compile(r"[a-z0-9_-]{1,40}=[A-Za-z_][A-Za-z0-9_.]{0,200}:[A-Za-z_][A-Za-z0-9_]{0,100}")
# The options that a connection may give, and what their values look like.
OPTIONS: dict[str, re.Pattern[str]] = {
    "--processes": _WHOLE,
    "--lease": _NUMBER,
    "--memory-megabytes": _WHOLE,
    "--document-megabytes": _WHOLE,
    "--fetch-seconds": _NUMBER,
    "--fetch-stall-seconds": _NUMBER,
    "--redirects": _WHOLE,
    "--expanded-megabytes": _WHOLE,
    "--pages": _WHOLE,
    "--job-timeout": _NUMBER,
    "--engine": _ENGINE,
}


class RefusedError(Exception):
    """What came is not a line of options with its descriptors."""


class StoppedError(Exception):
    """The service was told to stop before there was a worker."""


def main(arguments: Sequence[str] = ()) -> NoReturn:
    """Serve the connection that is standard input, and exit."""
    if arguments:
        launcher.say(
            f"--serve takes no other option, so not {arguments[0]!r}: they come with each connection"
        )
        sys.exit(2)
    try:
        connection = socket.socket(fileno=os.dup(0))
    except OSError:
        launcher.say("--serve needs a unix socket as standard input: systemd gives it (maw-worker.socket)")
        sys.exit(2)
    sys.exit(serve(connection))


def serve(connection: socket.socket) -> int:
    """Given a connection, run its worker to the end, and return the exit status for the service."""
    told = _when_told_to_stop()
    try:
        options, descriptors = receive(connection, told)
    except RefusedError as error:
        launcher.say(f"refused a connection: {error}")
        tell(connection, "refused", str(error))
        return 2
    except StoppedError:
        return 0
    # Only the worker holds them, so that their other ends learn when it has ended.
    process = start(options, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    ended = watch(process, connection, told)
    tell(connection, "signal" if ended < 0 else "status", abs(ended))
    return 0


def _when_told_to_stop() -> int:
    """Return a descriptor that can be read once a signal asks for the end."""
    # Not an exception: it could come between the start of the worker and the care for it.
    told, tell_it = os.pipe()
    os.set_blocking(tell_it, False)
    signal.set_wakeup_fd(tell_it)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return told


def receive(connection: socket.socket, told: int) -> tuple[list[str], list[int]]:
    """Given a connection, return the options of its first line, checked, and its descriptors.

    Raise RefusedError if it is not a line of options, or does not come in time; StoppedError when `told`.
    """
    descriptors: list[int] = []
    try:
        line = _first_line(connection, told, descriptors)
        options = list(checked(line, len(descriptors)))
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return options, descriptors


def _first_line(connection: socket.socket, told: int, descriptors: list[int]) -> bytes:
    deadline = time.monotonic() + PATIENCE
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select(
            [connection.fileno(), told], [], [], max(0.0, deadline - time.monotonic())
        )
        if told in ready:
            raise StoppedError
        if not ready:
            raise RefusedError(f"no line of options came within {PATIENCE:g} s")
        try:
            data, ancillary, flags, _ = connection.recvmsg(
                4096, socket.CMSG_SPACE(4 * DESCRIPTORS), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError as error:
            raise RefusedError("the connection was closed before the options came") from error
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                whole = array.array("i")
                whole.frombytes(content[: len(content) - len(content) % whole.itemsize])
                descriptors += whole
        if flags & socket.MSG_CTRUNC:
            raise RefusedError(f"more than {DESCRIPTORS} descriptors came with the options")
        if not data:
            raise RefusedError("the connection was closed before the options came")
        line += data
        if b"\n" in line[:-1]:
            raise RefusedError("more than one line came")
        if len(line) > launcher.LONGEST_LINE:
            raise RefusedError(f"the line of options is longer than {launcher.LONGEST_LINE} bytes")
    return line


def checked(line: bytes, descriptors: int) -> Iterator[str]:
    """Given the line of options and how many descriptors came with it, yield the options as `--name=value`.

    Raise RefusedError for any other text or number.
    """
    if descriptors != DESCRIPTORS:
        raise RefusedError(f"{descriptors} descriptors came with the options, not {DESCRIPTORS}")
    try:
        message: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RefusedError("the line of options is not JSON") from error
    if not isinstance(message, dict) or set(message) != {"type", "options"} or message["type"] != "options":
        raise RefusedError("the first line must be of type options, with the field options and no other")
    given = message["options"]
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise RefusedError("options is not a list of texts")
    if len(given) > MOST_OPTIONS or any(len(one) > LONGEST_OPTION for one in given):
        raise RefusedError(
            f"more than {MOST_OPTIONS} options, or one of more than {LONGEST_OPTION} characters"
        )
    rest = iter(given)
    for option in rest:
        name, equals, value = option.partition("=")
        if name not in OPTIONS:
            raise RefusedError(f"there is no option {name[:40]!r} (known are {', '.join(OPTIONS)})")
        if not equals:
            value = next(rest, "")
        if not OPTIONS[name].fullmatch(value):
            raise RefusedError(f"{value[:60]!r} is no value of {name}")
        yield f"{name}={_within_limit(name, value)}"


def _within_limit(name: str, value: str) -> str:
    """Given an option and its value, return the value that this service allows."""
    limit = os.environ.get(LIMIT_VARIABLE)
    if name == "--memory-megabytes" and limit is not None and float(value) > float(limit):
        return limit
    return value


def start(options: Sequence[str], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    """Given the options and the three descriptors, start the worker on them."""
    argv, environment = launcher.command()
    limit = os.environ.get(LIMIT_VARIABLE)
    limits = [] if limit is None else [f"--memory-megabytes={limit}"]
    given, answers, log = descriptors
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def end_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    # The limit stands first: an option of the connection that is below it comes after, and counts.
    return subprocess.Popen(
        [*argv, *limits, *options],
        env=environment,
        stdin=given,
        stdout=answers,
        stderr=log,
        preexec_fn=end_with_parent,
    )


def watch(process: subprocess.Popen[bytes], connection: socket.socket, told: int) -> int:
    """Given the worker and its connection, wait for the end of one, and return how the worker ended."""
    descriptor = os.pidfd_open(process.pid)
    ready, _, _ = select.select([descriptor, connection.fileno(), told], [], [])
    if descriptor in ready:
        return process.wait()
    process.terminate()
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def tell(connection: socket.socket, kind: str, value: int | str) -> None:
    """Given a connection, tell how it went; nobody may be there to hear it."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps({"type": kind, "value": value}).encode() + b"\n")
    connection.close()
