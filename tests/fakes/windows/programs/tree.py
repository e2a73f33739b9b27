"""Files and folders of the drive as programs make and remove them: new ones inherit their folder's list."""

from __future__ import annotations

import os

from . import drive
from .acl import Store
from .state import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def real(machine: Machine, path: str) -> str | None:
    """Return the real path of what is there, or None."""
    found = drive.resolve(machine, path)
    return found if found is not None and os.path.lexists(found) else None


def place(machine: Machine, path: str) -> str:
    """Return the real path of something that may not be there yet. Raise OSError for another drive."""
    found = drive.resolve(machine, path)
    if found is None:
        letter = drive.full(machine, path)[:1]
        raise OSError(f"Cannot find drive. A drive with the name '{letter}' does not exist.")
    return found


def make(machine: Machine, path: str) -> str:
    """Make a folder and those above it; return its whole Windows path. Raise OSError."""
    whole = drive.full(machine, path)
    parts = whole.split("\\")
    for end in range(2, len(parts) + 1):
        above = "\\".join(parts[:end])
        target = place(machine, above)
        if not os.path.lexists(target):
            Store(machine).remove(above)
            os.mkdir(target, 0o755)
    return whole


def write(machine: Machine, path: str, data: bytes) -> None:
    """Write a file whole; one that was there keeps its list. Raise OSError."""
    target = place(machine, path)
    if not os.path.lexists(target):
        Store(machine).remove(path)
    beside = f"{target}.{os.getpid()}"
    with open(beside, "wb") as file:
        file.write(data)
    os.replace(beside, target)


def read(machine: Machine, path: str) -> bytes:
    """Return a file's content. Raise OSError."""
    with open(place(machine, path), "rb") as file:
        return file.read()


def below(machine: Machine, path: str) -> Iterator[str]:
    """Yield the Windows paths of all that is in a folder, folders before what is in them."""
    target = place(machine, path)
    for name in sorted(os.listdir(target)):
        yield f"{path}\\{name}"
        if os.path.isdir(f"{target}/{name}") and not os.path.islink(f"{target}/{name}"):
            yield from below(machine, f"{path}\\{name}")


def remove(machine: Machine, path: str) -> None:
    """Remove a file, or a folder with all that is in it. Raise OSError."""
    whole = drive.full(machine, path)
    target = place(machine, whole)
    store = Store(machine)
    inside = list(below(machine, whole)) if os.path.isdir(target) else []
    for each in [*reversed(inside), whole]:
        found = place(machine, each)
        if os.path.isdir(found) and not os.path.islink(found):
            os.rmdir(found)
        else:
            os.unlink(found)
        store.remove(each)
