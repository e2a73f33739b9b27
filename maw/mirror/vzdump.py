"""A container's archive straight from `vzdump --stdout` on its server, over a transport."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

from maw.errors import ArchiveIncomplete, ModeRefused
from maw.mirror import vzdump_log
from maw.mirror.sources import stop_channel

if TYPE_CHECKING:
    from maw.transport.base import Channel, Ending, Transport

# Kept of the log: a container with a thousand mount points says less.
_MOST_LOG = 1 << 20
_WAITING = "trying to get global lock - waiting"
_GOT = "got global lock"


def make_argv(vmid: int, mode: str, lock_seconds: float) -> list[str]:
    """Given a container and a mode, return the command: the archive on standard output, uncompressed.

    The server and the core are one machine, so that compressing there would only cost time. `--dumpdir`
    keeps a `storage:` line of /etc/vzdump.conf from forbidding `--stdout`. Never `--quiet`: it hides why.
    """
    minutes = max(1, math.ceil(lock_seconds / 60))
    return [
        *("vzdump", str(vmid), "--stdout", "1", "--dumpdir", "/var/tmp", "--mode", mode),  # noqa: S108
        *("--compress", "0", "--lockwait", str(minutes)),
    ]


class VzdumpStream:
    """A running backup. `advice` is said with the refusal of a mode."""

    def __init__(
        self, transport: Transport, vmid: int, mode: str, *, lock_seconds: float, running: bool
    ) -> None:
        self.name = f"container {vmid}"
        self.size: int | None = None
        self.taken: float | None = None
        self.notes: list[str] = []
        self._vmid, self._mode, self._running = vmid, mode, running
        self._log = b""
        self._lock = threading.Lock()
        self._channel: Channel
        self._refused: str | None = None
        self._position = 0
        self._ending: Ending | None = None
        self._opened = threading.Event()
        self._channel = transport.open(make_argv(vmid, mode, lock_seconds), on_stderr=self._said, stdin=False)
        self._opened.set()

    @property
    def log(self) -> str:
        """What vzdump said so far."""
        with self._lock:
            return self._log.decode("utf-8", "replace")

    def _said(self, data: bytes) -> None:
        with self._lock:
            self._log = (self._log + data)[-_MOST_LOG:]
        reason = vzdump_log.fallback(self.log)
        if reason is not None and self._refused is None:
            # It is about to take another mode by itself.
            self._refused = reason
            self._opened.wait()
            self._channel.stop()

    def read(self) -> bytes:
        """Return the next bytes, b"" at the end. Raise ModeRefused as soon as vzdump gives the mode up."""
        data = self._channel.receive()
        if self._refused is not None:
            raise self._refusal()
        self._position += len(data)
        if not data and self._position == 0:
            self._end()
            if self._refused is not None:
                raise self._refusal()
        return data

    def _refusal(self) -> ModeRefused:
        return ModeRefused(
            name=self._vmid,
            mode=self._mode,
            reason=f"vzdump says: {self._refused}",
            step="Choose --mode suspend (a short pause) or --mode stop, or move its volumes to storage that "
            "has snapshots",
        )

    def position(self) -> int | None:
        """How much came."""
        return self._position

    def waiting(self) -> bool:
        """Whether another backup of the server has its lock: that may last for hours."""
        text = self.log
        return _WAITING in text and "Starting Backup" not in text

    def _end(self) -> Ending:
        if self._ending is None:
            self._ending = self._channel.finish()
        return self._ending

    def finish(self, tar_bytes: int) -> None:
        """Check the exit status, the count in the log, and the mode that was taken."""
        ending = self._end()
        text = self.log
        if self._refused is not None:
            raise self._refusal()
        if ending.code != 0:
            last = [line for line in text.strip().splitlines() if line]
            reason = vzdump_log.failure(text) or (last[-1] if last else f"it ended with {ending.code}")
            step = "Mend that on the server and run this again"
            raise ArchiveIncomplete(name=self.name, reason=f"vzdump failed: {reason}", step=step)
        vzdump_log.check(text, tar_bytes, self.name)
        taken = vzdump_log.mode(text)
        if taken not in (None, self._mode):
            if self._running:
                self._refused = f"it took mode {taken}"
                raise self._refusal()
            self.notes.append(f"the container does not run, so that vzdump took mode {taken}")

    def interrupt(self) -> None:
        """Make `read` end."""
        self._channel.stop()

    def stop(self) -> None:
        """Stop the backup; vzdump lets the container go on and removes its snapshot."""
        if self._ending is None:
            stop_channel(self._channel)
