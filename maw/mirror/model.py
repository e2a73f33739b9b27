"""What a sync is asked for, and what it answers: the public shapes, as docs/schema/ describes them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maw.mirror.manifest import Difference

SYNC_SCHEMA = "maw.sync/1"
MIRRORS_SCHEMA = "maw.mirrors/1"
VERIFY_SCHEMA = "maw.verify/1"
START_SCHEMA = "maw.start/1"
# The modes of vzdump, and the sources of a sync; for those of FRESH the server makes a new backup.
MODES = ("snapshot", "suspend", "stop")
STREAM, LATEST, NEW = "stream", "latest", "new"
FRESH = (STREAM, NEW)


class Progress(Protocol):
    """Who is told how far a sync is."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def moved(self, done: int, total: int | None, size: int, files: int) -> None:
        """So much was read of so much (None: not known), which is `size` bytes of tar and `files` members."""


class Silent:
    """Tells nobody."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def moved(self, done: int, total: int | None, size: int, files: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Lost:
    """Something of the source that its mirror does not have."""

    key: str
    value: str
    why: str


@dataclass
class Report:
    """One sync that was done and verified."""

    name: str
    host: str
    source: str
    generation: int
    vmid: int | None
    bytes: int
    files: int
    differences: int
    manifest: str
    taken: str
    mode: str | None = None
    losses: list[Lost] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    replaced: bool = False
    seconds: float = 0.0
    transfer_seconds: float = 0.0
    verify_seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"schema": SYNC_SCHEMA, **asdict(self)}


@dataclass
class Checked:
    """A mirror that was compared with its source's manifest again."""

    name: str
    host: str
    paths: int
    count: int
    differences: list[Difference]
    started: str | None
    verified: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"schema": VERIFY_SCHEMA, **asdict(self)}


@dataclass(frozen=True)
class Mirror:
    """A mirror as `cutter mirrors` lists it."""

    name: str
    host: str
    source: str
    vmid: int | None
    generation: int
    taken: str
    age_seconds: int | None
    verified: str
    bytes: int
    files: int
    running: bool
    started: str | None
    unfinished: bool
    losses: list[Mapping[str, str]]
