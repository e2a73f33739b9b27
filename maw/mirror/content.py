"""The hash of a file's content, for which holes and long runs of zeros cost nothing.

Standard library only: it also runs on the satellite. A file without a run of zeros that fills an aligned
window of 64 KiB has its plain SHA-256. Of one that has, the rest of the bytes is hashed, and where which
runs of windows are; the hash of both is marked "z:". So a sparse file of any size is hashed in the time of
its data, and whether zeros were written or are a hole makes no difference.
"""

from __future__ import annotations

import hashlib
from typing import Any

WINDOW = 1 << 16
_ZERO = bytes(WINDOW)


class Content:
    """Takes a file's bytes, in pieces of any size and holes; then says its hash."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._partial = bytearray()
        # Where the runs of zeros are, in windows; None if there was none.
        self._runs: Any = None
        self._run = 0
        self._at = 0

    def update(self, data: memoryview | bytes) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        if self._partial:
            part = view[: WINDOW - len(self._partial)]
            self._partial += part
            view = view[len(part) :]
            if len(self._partial) < WINDOW:
                return
            self._windows(memoryview(bytes(self._partial)))
            self._partial.clear()
        whole = len(view) - len(view) % WINDOW
        if whole:
            self._windows(view[:whole])
        if whole < len(view):
            self._partial += view[whole:]

    def hole(self, count: int) -> None:
        """Take so many zeros."""
        if self._partial and count:
            part = min(count, WINDOW - len(self._partial))
            self.update(bytes(part))
            count -= part
        windows, rest = divmod(count, WINDOW)
        self._run += windows
        if rest:
            self._partial += bytes(rest)

    def _windows(self, view: memoryview) -> None:
        start = 0
        for at in range(0, len(view), WINDOW):
            if view[at] == 0 and view[at : at + WINDOW] == _ZERO:
                if at > start:
                    self._flush()
                    self._data(view[start:at])
                self._run += 1
                start = at + WINDOW
            elif self._run:
                self._flush()
        if start < len(view):
            self._flush()
            self._data(view[start:])

    def _data(self, view: memoryview) -> None:
        self._digest.update(view)
        self._at += len(view) // WINDOW

    def _flush(self) -> None:
        if self._run:
            self._runs = self._runs or hashlib.sha256()
            self._runs.update(b"%d:%d," % (self._at, self._run))
            self._at += self._run
            self._run = 0

    def hexdigest(self) -> str:
        """Return the hash; nothing can be taken after that."""
        self._flush()
        self._digest.update(self._partial)
        if self._runs is None:
            return self._digest.hexdigest()
        return f"z:{hashlib.sha256(self._digest.digest() + self._runs.digest()).hexdigest()}"
