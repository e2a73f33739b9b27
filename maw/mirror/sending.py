"""The way of a checked stream to the far side: plain, or through zstd."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import TYPE_CHECKING

from maw.errors import MawError, MirrorError

if TYPE_CHECKING:
    from maw.transport.base import Channel


class Send:
    """Sends pieces to the far side, plain or through zstd."""

    def __init__(self, channel: Channel, *, compress: bool) -> None:
        self._channel = channel
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: Exception | None = None
        if compress:
            argv = ["zstd", "-1", "--quiet", "--threads=0", "--stdout"]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, start_new_session=True)
            self._relay = threading.Thread(target=self._carry, daemon=True)
            self._relay.start()

    def __call__(self, piece: memoryview | bytes) -> None:
        """Send the next piece. Raise BrokenPipeError or LinkLost if the far side has ended."""
        if self._process is None:
            self._channel.send(piece)
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(piece)
        except BrokenPipeError:
            self._ended()

    def _carry(self) -> None:
        """Carry what zstd makes to the far side; runs on a thread of its own."""
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        try:
            while data := os.read(descriptor, 1 << 18):
                self._channel.send(data)
        except (MawError, OSError) as error:
            self._failure = error
            self._process.kill()

    def _ended(self) -> None:
        """Raise why zstd ended, unless it ended as it should."""
        assert self._process is not None
        self._relay.join()
        status = self._process.wait()
        if self._failure is not None:
            raise self._failure
        if status != 0:
            raise MirrorError(
                name="zstd on this machine", reason=f"it ended with status {status}", step="Run this again"
            )

    def close(self) -> None:
        """After the last piece: send what zstd still holds."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._ended()
        self.kill()

    def kill(self) -> None:
        """Let go of zstd, wherever it stands."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._channel_free()

    def _channel_free(self) -> None:
        assert self._process is not None
        # It may wait in a send to a far side that takes nothing; that ends with the channel.
        self._relay.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
