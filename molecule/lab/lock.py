"""One at a time, on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.programs import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_WAIT = 1200


def _folder() -> Path:
    shared = Path("/run/lock")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


@contextlib.contextmanager
def locked(name: str, waiting: str) -> Iterator[None]:
    """Given a name, let nobody else hold it meanwhile. `waiting` says what it is waited for.

    The file is gone afterwards: whoever gets a lock looks whether the file is still the one of
    that name, and else begins anew.
    """
    path = _folder() / f"maw-lab-{name}.lock"
    deadline = time.monotonic() + _LONGEST_WAIT
    told = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(path, descriptor):
                break
        except BlockingIOError:
            if not told:
                progress(f"wait: {waiting}")
            told = True
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise LabError(
                    f"{waiting} for more than 20 minutes. See who holds {path}: fuser {path}"
                ) from None
            time.sleep(0.1)
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
