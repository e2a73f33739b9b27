"""One run at a time in a workspace. The kernel frees a lock when its holder is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from maw import files
from maw.errors import ProvisionBusy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OURS = "lock"
# Held by the guard, which outlives a killed maw for as long as it takes to stop Ansible.
RUNNING = "running"
_PATIENCE = 15.0


@contextlib.contextmanager
def held(folder: Path, what: str) -> Iterator[Path]:
    """Given the folder of runs and what this one is, keep others out; yield the path of the guard's lock.

    Raise ProvisionBusy, or FileError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / _OURS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise files.translate(error, folder) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            said = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            raise ProvisionBusy(reason=said or "it has just begun") from error
        _wait(folder / RUNNING)
        _note(descriptor, folder, f"{what}, process {os.getpid()}")
        yield folder / RUNNING
    finally:
        os.close(descriptor)


def _wait(path: Path) -> None:
    """Wait until the guard of a run that was killed has stopped all of it."""
    deadline = time.monotonic() + _PATIENCE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise files.translate(error, path) from error
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise ProvisionBusy(reason="one that was killed is still being stopped") from error
                time.sleep(0.05)
            else:
                return
    finally:
        os.close(descriptor)


def _note(descriptor: int, folder: Path, text: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode("utf-8", "replace"), 0)
    except OSError as error:
        raise files.translate(error, folder / _OURS) from error
