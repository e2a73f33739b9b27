"""The relay in wsl.exe: raw bytes between its own standard streams and those of a Linux program."""

from __future__ import annotations

import _thread
import errno
import os
import select

from .state import write_all

BUFFER = 4096
# More reads than a full pipe needs: what a program left behind comes whole, a flood ends.
_READS = 32


def pump(streams: tuple[int, int, int], control: int) -> None:
    """Relay until the control channel has something to say; then what the program left in its pipes.

    `streams` are our ends of the program's standard input, output and error. A program in the
    background that keeps the pipes open holds up nothing.
    """
    stdin, stdout, stderr = streams
    _thread.start_new_thread(_input, (stdin,))
    targets = {stdout: 1, stderr: 2}
    poll = select.poll()
    for handle in (stdout, stderr):
        os.set_blocking(handle, False)
        poll.register(handle, select.POLLIN)
    poll.register(control, select.POLLIN)
    while True:
        ready = [handle for handle, _ in poll.poll()]
        for handle in ready:
            if handle != control and not _drain(handle, targets[handle]):
                poll.unregister(handle)
        if control in ready:
            break
    for handle, target in targets.items():
        _drain(handle, target)


def _input(stdin: int) -> None:
    try:
        while _move(stdin):
            pass
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.EIO):
            raise
    finally:
        os.close(stdin)


def _move(stdin: int) -> int:
    """Pass on at most a buffer; return its length, 0 at the end."""
    # The real relay is no Python: without a copy through it, the price is about the real one's.
    if hasattr(os, "splice"):
        return os.splice(0, stdin, BUFFER)
    data = os.read(0, BUFFER)
    write_all(stdin, data)
    return len(data)


def _drain(handle: int, target: int) -> bool:
    """Move what there is; return whether more may come."""
    for _ in range(_READS):
        try:
            data = os.read(handle, BUFFER)
        except BlockingIOError:
            return True
        if not data:
            return False
        write_all(target, data)
    return True
