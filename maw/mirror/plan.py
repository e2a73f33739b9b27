"""What is to be done with the instances that are there: pure functions over what LXD says.

A mirror NAME has up to three instances: NAME itself, `NAME-maw-new` while it is loaded, and
`NAME-maw-old` for the moment of the swap. Each says in its config whose it is. A kill may leave any of
them; `settle` says what to do then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maw.errors import MirrorRuns, NotOurs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEW, OLD = "-maw-new", "-maw-old"
MARK = "user.maw.mirror"
STATE = "user.maw.state"
LOADING, READY = "loading", "ready"
GENERATION = "user.maw.generation"
MANIFEST = "user.maw.manifest"
STARTED = "user.maw.started"
RENAME, DELETE = "rename", "delete"


@dataclass(frozen=True)
class Instance:
    """One instance of LXD, as far as mirrors go."""

    name: str
    running: bool
    config: Mapping[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """The mirror that it says it belongs to, "" if to none."""
        return self.config.get(MARK, "")

    @property
    def ready(self) -> bool:
        """Whether it was loaded and verified."""
        return self.config.get(STATE) == READY

    @property
    def generation(self) -> int:
        """Which point in time of its mirror it is, from 1."""
        text = self.config.get(GENERATION, "")
        return int(text) if text.isdecimal() else 0


@dataclass(frozen=True)
class Step:
    """One change: rename an instance, or delete it. `why` is for people."""

    kind: str
    name: str
    to: str = ""
    why: str = ""

    @property
    def words(self) -> list[Any]:
        """The step as the far side's program takes it."""
        return [self.kind, self.name, self.to] if self.kind == RENAME else [self.kind, self.name]


@dataclass(frozen=True)
class Trio:
    """The instances of one mirror that exist."""

    current: Instance | None
    new: Instance | None
    old: Instance | None

    @property
    def generation(self) -> int:
        """The newest generation that there is."""
        return max((one.generation for one in (self.current, self.old) if one is not None), default=0)


def instance(answer: Mapping[str, Any]) -> Instance:
    """Given LXD's answer for one instance, return it."""
    return Instance(answer["name"], answer.get("status") != "Stopped", answer.get("config") or {})


def trio(instances: Iterable[Instance], name: str, host: str) -> Trio:
    """Given all instances and a mirror's name, return the mirror's own. Raise NotOurs for a stranger."""
    found = {one.name: one for one in instances}
    for each in (name, name + NEW, name + OLD):
        one = found.get(each)
        if one is not None and one.owner != name:
            reason = f"it belongs to {one.owner}" if one.owner else "it has no mark of maw"
            raise NotOurs(name=each, host=host, reason=reason)
    return Trio(found.get(name), found.get(name + NEW), found.get(name + OLD))


def settle(name: str, there: Trio) -> tuple[Step, ...]:
    """Given what is there, return the steps to one current mirror and nothing else.

    The mirror that was current stays so unless a verified one was just being put into its place.
    """
    new, old = there.new, there.old
    steps: list[Step] = []
    if there.current is None and new is not None and new.ready:
        steps.append(Step(RENAME, new.name, name, "its swap was cut off when it was verified"))
        new = None
    elif there.current is None and old is not None:
        steps.append(Step(RENAME, old.name, name, "a swap was cut off"))
        old = None
    if old is not None:
        steps.append(Step(DELETE, old.name, why="it was replaced"))
    if new is not None:
        steps.append(Step(DELETE, new.name, why="its load was cut off"))
    return tuple(steps)


def swap(name: str, there: Trio) -> tuple[Step, ...]:
    """Given what is there, return the steps that put the verified new instance into its place."""
    steps = [Step(RENAME, name + NEW, name, "it is verified")]
    if there.current is not None:
        steps.insert(0, Step(RENAME, name, name + OLD, "it is replaced"))
        steps.append(Step(DELETE, name + OLD, why="it was replaced"))
    return tuple(steps)


def refuse_running(name: str, there: Trio, host: str) -> None:
    """Raise MirrorRuns if the current mirror runs: a swap would pull its disk from under it."""
    if there.current is not None and there.current.running:
        raise MirrorRuns(name=name, host=host)
