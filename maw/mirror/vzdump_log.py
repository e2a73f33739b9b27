"""What vzdump says while it works, and how to tell from it that an archive is whole.

Observed with genuine Proxmox VE 9.2 code: for an unprivileged container a killed tar still ends as
"Backup job finished successfully" with exit status 0, over an archive that is cut off. The only sign in
the log is that the line "Total bytes written" is missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maw.errors import ArchiveIncomplete

if TYPE_CHECKING:
    from pathlib import Path

_TOTAL = re.compile(r"Total bytes written: (\d+)")
_FAILED = re.compile(r"ERROR: (?:Backup of VM \d+ failed - )?(.*)")
_SUFFIX = re.compile(r"\.tar(\.(zst|gz|lzo))?$")
_MODE = re.compile(r"backup mode: (\w+)")
_FALLBACK = re.compile(r"mode failure - (.*)")
_STEP = "Make a new backup, and look on the server why its tar was killed (memory, disk)"
_MOST = 1 << 20


def place(archive: str) -> str:
    """Given the path of an archive, return that of the log that vzdump leaves beside it."""
    return _SUFFIX.sub("", archive) + ".log"


def beside(archive: Path) -> str | None:
    """Given an archive on this machine, return the text of its log, None if there is none."""
    path = archive.with_name(place(archive.name))
    if path == archive or not path.is_file() or path.stat().st_size > _MOST:
        return None
    text = path.read_text("utf-8", "replace")
    return text if "Starting Backup" in text or "starting new backup" in text else None


def total(text: str) -> int | None:
    """Given a log, return the bytes of plain tar that vzdump's tar says it wrote."""
    found = _TOTAL.findall(text)
    return int(found[-1]) if found else None


def fallback(text: str) -> str | None:
    """Given a log, return why another mode was taken than the one asked for, None if none was."""
    found = _FALLBACK.search(text)
    return found[1] if found else None


def mode(text: str) -> str | None:
    """Given a log, return the mode that was taken in the end."""
    found = _MODE.findall(text)
    return found[-1] if found else None


def failure(text: str) -> str | None:
    """Given a log, return the reason that it gives for failing."""
    found = [reason for reason in _FAILED.findall(text) if reason and reason != "job errors"]
    return found[0] if found else None


def check(text: str, tar_bytes: int, name: str) -> None:
    """Given the log of an archive and how long its tar is, raise ArchiveIncomplete if they disagree."""
    written = total(text)
    if written is None:
        reason = failure(text) or "vzdump's log does not say how many bytes were written"
        raise ArchiveIncomplete(name=name, reason=reason, step=_STEP)
    if written != tar_bytes:
        reason = f"vzdump wrote {written} bytes, {tar_bytes} came"
        raise ArchiveIncomplete(name=name, reason=reason, step=_STEP)
