"""A far host's LXD socket, on this machine, through the shared ssh connection.

LXD never listens on the network.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from typing import TYPE_CHECKING

from maw.errors import NoLxd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maw.transport.ssh_config import Paths

_SECONDS = 30
_PREFIX = "lxd-"


@contextlib.contextmanager
def forwarded(host: str, remote: str, where: Paths) -> Iterator[Path]:
    """Given a host with a shared connection and the path of a socket there, yield its path here.

    Raise NoLxd if it cannot be forwarded.
    """
    _sweep(where.sockets)
    local = where.sockets / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(2)}"
    try:
        _control("forward", host, local, remote, where)
        yield local
    finally:
        # The connection may be gone by now, and the socket with it.
        with contextlib.suppress(NoLxd):
            _control("cancel", host, local, remote, where)
        local.unlink(missing_ok=True)


def _control(verb: str, host: str, local: Path, remote: str, where: Paths) -> None:
    argv = ["ssh", "-F", str(where.config), "-o", "BatchMode=yes", "-O", verb]
    argv += ["-L", f"{local}:{remote}", "--", host]
    try:
        answer = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=_SECONDS
        )
        said, failed = answer.stderr.decode("utf-8", "replace").strip(), answer.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = f"no answer within {_SECONDS} s", True
    if failed:
        step = "Check that its sshd allows forwarding (AllowStreamLocalForwarding), then `cutter doctor`"
        raise NoLxd(host=host, reason=f"its socket cannot be forwarded ({said})", step=step)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left."""
    for left in folder.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).split("-")[0]
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, ValueError):
            left.unlink(missing_ok=True)
        except PermissionError:
            # Another user's, which lives.
            continue
