"""Short programs on a far machine's side, by ``ssh`` and ``sftp`` with the generated config.

A `Transport` needs a POSIX shell and guards what it runs; here Windows is spoken to as well, and what
is run either happens wholly or not at all, whoever is killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from maw.errors import HostUnreachable, TransportError
from maw.transport import failure, ssh_config, symptoms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from maw.config import SshSettings
    from maw.topology import Host
    from maw.transport.ssh_config import Paths

# Seconds beyond those for connecting.
_SECONDS = 20.0
_STOP_SECONDS = 5.0
# Of standard output; a file of keys is not longer.
MOST = 1 << 20
# Begin the names of folders for a moment; whoever holds the lock removes those of the second kind.
_SCRATCH, _LOCKED_SCRATCH = "keys-", "locked-keys-"
# Holds what it inherited, the lock that is, until its only command has ended: the ssh program itself
# closes all that it inherits.
_HOLDER = ("sh", "-c", '"$@"; exit $?', "sh")


@dataclass(frozen=True)
class Said:
    """What a program said and how it ended."""

    stdout: bytes
    stderr: bytes
    status: int

    @property
    def text(self) -> str:
        """All that it said, as one short line."""
        both = f"{symptoms.text_of(self.stdout)}\n{symptoms.text_of(self.stderr)}"
        return symptoms.quoted(both) or f"status {self.status}"


@dataclass(frozen=True)
class Line:
    """A way to all hosts of a config. `lock` is a file number that every program started inherits."""

    where: Paths
    settings: SshSettings
    lock: int | None = None

    def run(self, host: Host, command: str, *, stdin: bytes = b"") -> Said:
        """Given a host and a text that its log-in shell reads, run it and return what it said.

        Raise TransportError if the host cannot be reached, or does not let us in.
        """
        argv = ["ssh", *self._options(), "-T", "--", host.name, command]
        said = self._program(host, argv, stdin)
        # The ssh program's own failure: it writes nothing to our output, and the cause to the other.
        if said.status == 255 and not said.stdout:
            raise failure.explain(host, self.where, said.stderr.decode("utf-8", "replace"), 255)
        return said

    def sftp(self, host: Host, *commands: str) -> Said:
        """Given a host and commands of sftp, run them to the end or the first that fails.

        Raise TransportError if the host cannot be reached, or does not let us in.
        """
        argv = ["sftp", "-q", *self._options(), "-b", "-", host.name]
        said = self._program(host, argv, "\n".join([*commands, ""]).encode("utf-8", "surrogateescape"))
        text = said.stderr.decode("utf-8", "replace")
        if said.status == 255 and not said.stdout:
            raise failure.explain(host, self.where, text, 255)
        return said

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for the files that sftp moves, gone at the end."""
        kind = _SCRATCH if self.lock is None else _LOCKED_SCRATCH
        with tempfile.TemporaryDirectory(prefix=kind, dir=self.where.config.parent) as folder:
            yield Path(folder)

    def sweep(self) -> None:
        """Remove what a killed holder of the lock left of such folders."""
        for left in self.where.config.parent.glob(f"{_LOCKED_SCRATCH}*") if self.lock is not None else ():
            shutil.rmtree(left)

    def close_shared(self, names: Sequence[str]) -> None:
        """Given aliases, let no further command ride on their shared connections; what rides goes on."""
        for name in names:
            argv = ["ssh", *self._options(), "-O", "stop", "--", name]
            # Mostly there is none, which ssh calls a failure; and one that hangs is of no use to anybody.
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    argv, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=_STOP_SECONDS
                )

    def only(self, purpose: str, key: Path, hosts: Sequence[Host]) -> Line:
        """Given a private key, return a line on which each log-in is new, and with that key alone."""
        config = self.where.config.with_name(f"{self.where.config.name}-only-{key.name}")
        where = replace(self.where, config=config, shared=False, identities={purpose: (key,)})
        ssh_config.write(hosts, self.settings, where)
        return replace(self, where=where)

    def _options(self) -> list[str]:
        return ["-F", str(self.where.config), "-o", "BatchMode=yes"]

    def _program(self, host: Host, argv: Sequence[str], stdin: bytes) -> Said:
        own = self.settings.wsl_seconds if host.windows else self.settings.connect_seconds
        seconds = own + len(host.addresses) * self.settings.probe_seconds + _SECONDS
        # Files, not pipes: ssh's background master keeps standard error open for minutes.
        with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            process = subprocess.Popen(
                [*_HOLDER, *argv],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                pass_fds=() if self.lock is None else (self.lock,),
                bufsize=0,
            )
            with process:
                try:
                    stdout, status = _answer(process, seconds)
                except BaseException as error:
                    # And what it started. It is not reaped yet, so that the number is its own.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    if isinstance(error, subprocess.TimeoutExpired):
                        reason = f"it did not answer within {seconds:.0f} s"
                        shown = ", ".join(host.addresses)
                        raise HostUnreachable(host=host.name, addresses=shown, reason=reason) from error
                    if isinstance(error, ValueError):
                        raise TransportError(host=host.name, reason=str(error)) from error
                    raise
            errors.seek(0)
            said = Said(stdout, errors.read(MOST), status)
        if status == 127 and f"{argv[0]}: not found".encode() in said.stderr:
            reason = f"the {argv[0]} program is not installed here (apt install openssh-client)"
            raise TransportError(host=host.name, reason=reason)
        return said


def _answer(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, int]:
    """Return the output and the status. Raise TimeoutExpired, or ValueError for endless output."""
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    descriptor, said = process.stdout.fileno(), b""
    while True:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise subprocess.TimeoutExpired(process.args, seconds)
        data = os.read(descriptor, 1 << 16)
        if not data:
            return said, process.wait(timeout=max(0.1, deadline - time.monotonic()))
        said += data
        if len(said) > MOST:
            raise ValueError(f"it says more than {MOST} bytes")
