"""The bridge: a notebook's WSL as a plain SSH host, through its Windows.

``ssh NOTEBOOK wsl.exe -d DISTRO -u root --exec /usr/sbin/sshd -i`` is a whole SSH server on
standard input and output. Nothing listens inside WSL, no port is forwarded, and the only text
that Windows' shell ever reads is that constant.

paramiko's own ProxyCommand does not notice the end of the proxy and then takes all of a core
(paramiko/paramiko#1180, #2174), so Fabric gets a socket pair with the ssh program at the other end.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maw.errors import TransportError
from maw.topology import BRIDGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maw.topology import Host

GREETING = b"SSH-"
# More than any greeting and any message of wsl.exe.
_MOST = 1 << 16
_NO_SSH = "the ssh program is not installed here (apt install openssh-client)"


def alias(windows: str) -> str:
    """Given the name of a Windows host, return the name under which the bridge goes through it."""
    return windows + BRIDGE


def sshd_command(distro: str) -> str:
    """Given a distro, return the one text that Windows' shell reads."""
    return f"wsl.exe -d {distro} -u root --exec /usr/sbin/sshd -i"


def proxy_argv(config: Path, host: Host, *, quiet: bool = True) -> list[str]:
    """Given the generated config and a WSL host, return the command whose ends are its sshd's.

    Without `quiet`, the ssh program says on standard error why it could not reach Windows.
    """
    assert host.windows is not None
    assert host.wsl_distro is not None
    options = ["-q"] if quiet else []
    return [
        *("ssh", "-F", str(config), *options, "-T", "-o", "BatchMode=yes", alias(host.windows)),
        *sshd_command(host.wsl_distro).split(),
    ]


class ProxySocket(socket.socket):
    """Our end of a socket pair; the other is standard input and output of a program.

    Closing it ends the program, and no process is left unreaped.
    """

    process: subprocess.Popen[bytes]

    def close(self) -> None:
        """Close our end and end the program."""
        super().close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def open_socket(argv: Sequence[str], *, host: str) -> ProxySocket:
    """Given a proxy command, start it and return a socket to it. Raise TransportError."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            reason = _NO_SSH if isinstance(error, FileNotFoundError) else str(error)
            raise TransportError(host=host, reason=reason) from error
    link = ProxySocket(fileno=ours.detach())
    link.process = process
    return link


@dataclass(frozen=True)
class Answer:
    """What came out of a proxy command: `status` is None if it still ran."""

    stdout: bytes
    stderr: bytes
    status: int | None


def probe(argv: Sequence[str], seconds: float) -> Answer:
    """Given a proxy command, return what it says until it greets, ends, or the time is up.

    Raise TransportError if it cannot be started.
    """
    deadline = time.monotonic() + seconds
    # A file, not a pipe: ssh's background master keeps standard error open for minutes.
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                bufsize=0,
            )
        except FileNotFoundError as error:
            raise TransportError(host=argv[-1], reason=_NO_SSH) from error
        status = None
        try:
            said = _first_words(process, deadline)
            with contextlib.suppress(subprocess.TimeoutExpired):
                # It closed its output, or greeted: an end comes at once or not at all.
                status = process.wait(timeout=0.5 if GREETING not in said else 0)
        finally:
            with process:
                process.kill()
        errors.seek(0)
        return Answer(said, errors.read(_MOST), status)


def _first_words(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    assert process.stdout is not None
    descriptor, said = process.stdout.fileno(), b""
    while GREETING not in said and len(said) < _MOST:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(descriptor, _MOST) if readable else b""
        if not data:
            break
        said += data
    return said
