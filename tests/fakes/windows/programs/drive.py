"""The drive C: as a folder. Names have no case, as on NTFS."""

from __future__ import annotations

import os

from .state import Machine


def full(machine: Machine, path: str) -> str:
    """Given a path as Windows takes it, return it whole: `C:\\…`, no dots, backslashes."""
    path = path.replace("/", "\\")
    path = path.removeprefix("\\\\?\\")
    if path[1:2] != ":":
        path = f"C:{path}" if path.startswith("\\") else f"{machine.cwd}\\{path}"
    elif path[2:3] != "\\":
        path = f"{machine.cwd}\\{path[2:]}" if len(path) > 2 else path + "\\"
    drive, *words = path.split("\\")
    kept: list[str] = []
    for word in words:
        if word == "..":
            kept = kept[:-1]
        elif word not in ("", "."):
            kept.append(word)
    return "\\".join([drive.upper(), *kept]) if kept else drive.upper() + "\\"


def resolve(machine: Machine, path: str) -> str | None:
    """Given a Windows path, return the real one, or None when there is no such drive.

    The last part need not exist.
    """
    whole = full(machine, path)
    if not whole.startswith("C:\\"):
        return None
    real = machine.folder + "/drive"
    for word in whole[3:].split("\\"):
        if not word:
            continue
        exact = f"{real}/{word}"
        if not os.path.lexists(exact):
            try:
                names = os.listdir(real)
            except OSError:
                names = []
            exact = next((f"{real}/{name}" for name in names if name.lower() == word.lower()), exact)
        real = exact
    return real


def key(machine: Machine, path: str) -> str:
    """Return what stands for a path whatever way it is written."""
    return full(machine, path).rstrip("\\").lower()
