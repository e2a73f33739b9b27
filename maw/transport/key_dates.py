"""When a key was made, and how old it is, without trust in any clock."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from maw import files

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "made.json"
_DAY = 86_400.0
# A key of ours is not older than maw, and nobody keeps one for twenty years.
_EARLIEST = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
_LONGEST_DAYS = 20 * 365
# Days by which the file's own time may differ: a copy or a touch is no contradiction below that.
_APART_DAYS = 2


@dataclass(frozen=True)
class Age:
    """How old a key is: in days, or None with the reason why that cannot be told."""

    days: int | None
    remark: str = ""


def note(folder: Path, fingerprint: str, when: float) -> None:
    """Given the folder of keys, a fingerprint and a time of this clock, keep it. Raise FileError."""
    known = {**dates(folder), fingerprint: when}
    files.write_atomically(folder / FILE_NAME, json.dumps(known, indent=1, sort_keys=True) + "\n", mode=0o600)


def dates(folder: Path) -> dict[str, float]:
    """Given the folder of keys, return when each was made by this machine's clock of then."""
    try:
        kept = json.loads((folder / FILE_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        # Missing or damaged: an age is then not known, which is said where it is shown.
        return {}
    if not isinstance(kept, dict):
        return {}
    return {name: float(when) for name, when in kept.items() if type(when) in (int, float)}


def age(made: float | None, modified: float, now: float) -> Age:
    """Given when a key was made, when its file was changed, and the clock, return its age.

    A clock may be ten years off, now or then. What cannot be is not claimed.
    """
    if made is None:
        return Age(None, "when it was made was not noted")
    days = (now - made) / _DAY
    if not days >= 0:
        return Age(None, f"it was made after now ({shown(made)}): this machine's clock is wrong, or was")
    if now < _EARLIEST or made < _EARLIEST or days > _LONGEST_DAYS:
        return Age(None, f"this machine's clock says {shown(now)}, and said {shown(made)} when it was made")
    if (made - modified) / _DAY > _APART_DAYS:
        return Age(None, f"noted is {shown(made)}, but its file is of {shown(modified)}")
    return Age(int(days))


def shown(when: float) -> str:
    """Given a time, return it as a date, whatever number it is."""
    try:
        return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return "no date"
