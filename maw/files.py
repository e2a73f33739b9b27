"""Writing files so that a kill or a full disk at any moment leaves the old file or the new one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from maw.errors import CannotWrite, DiskFull, FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def translate(error: OSError, path: Path | str) -> FileError:
    """Given what the operating system said of a write, return the error that maw raises for it."""
    if error.errno in NO_SPACE:
        return DiskFull(path=path, where="this machine")
    return CannotWrite(path=path, reason=error.strerror or str(error))


def write_atomically(path: Path, content: bytes | str, *, mode: int = 0o644) -> None:
    """Given a path and its whole new content (text becomes UTF-8), replace the file in one step.

    The data and the folder entry are synced before this returns. Raise DiskFull or CannotWrite,
    with the old file untouched and nothing half-written left beside it.
    """
    with _staged(path, content, mode) as temporary:
        temporary.replace(path)


def write_new(path: Path, content: bytes | str, *, mode: int = 0o644) -> bool:
    """Given a path and content, create the file whole, or return False if it exists already.

    Two processes may race: exactly one gets True. Raise DiskFull or CannotWrite.
    """
    if os.path.lexists(path):
        return False
    with _staged(path, content, mode) as temporary:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
    return True


@contextlib.contextmanager
def _staged(path: Path, content: bytes | str, mode: int) -> Iterator[Path]:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        yield temporary
        sync_folder(path.parent)
    except OSError as error:
        raise translate(error, path) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Given a folder, make its entries (names just created or replaced) durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(content: bytes | str) -> str:
    """Given bytes or text (as UTF-8), return its SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(
        content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    ).hexdigest()
