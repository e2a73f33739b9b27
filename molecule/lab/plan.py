"""Decides what is to be done; does nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lab.names import Lab

# What can be done, in the order in which it is done.
BUILD, IMPORT, POOL, NETWORK = "build image", "import image", "create pool", "create network"
DELETE, CREATE, START, CONFIGURE = "delete", "create", "start", "configure"
DELETE_NETWORK, DELETE_POOL, DELETE_IMAGE = "delete network", "delete pool", "delete image"

# Notes that the lab leaves on what it makes in LXD.
OWNER, IMAGE, CONTENT = "user.maw-lab.folder", "user.maw-lab.image", "user.maw-lab.content"
_OTHER = "Take another prefix: make lab PREFIX=other"


@dataclass(frozen=True)
class Step:
    """One thing to do, to what, and why."""

    kind: str
    subject: str
    reason: str


@dataclass(frozen=True)
class Instance:
    """A container as LXD has it."""

    status: str
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What LXD has now under this lab's names. An owner is the folder of the lab that made it."""

    archive: bool = False
    images: tuple[str, ...] = ()
    pool: str | None = None
    network: str | None = None
    subnet: str | None = None
    instances: Mapping[str, Instance] = field(default_factory=dict)


def up(lab: Lab, image: str, contents: Mapping[str, str], found: Found) -> list[Step]:
    """Given the lab, its image's alias, each machine's content hash and what is there, return the steps."""
    _refuse_foreign(lab, found)
    steps = []
    if image not in found.images:
        if not found.archive:
            steps.append(Step(BUILD, image, "no image of this content is cached"))
        steps.append(Step(IMPORT, image, "LXD does not have it"))
    if found.pool is None:
        steps.append(Step(POOL, lab.shared, "it does not exist"))
    if found.network is None:
        steps.append(Step(NETWORK, lab.shared, "it does not exist"))
    wanted = {machine.instance for machine in lab.machines}
    steps += [Step(DELETE, name, "it is not wanted") for name in sorted(set(found.instances) - wanted)]
    for machine in lab.machines:
        steps += _machine(machine.instance, image, contents[machine.name], found.instances)
    old = [name for name in found.images if name != image]
    return steps + [Step(DELETE_IMAGE, name, "no machine is made from it any more") for name in old]


def _machine(name: str, image: str, content: str, instances: Mapping[str, Instance]) -> list[Step]:
    """The steps of one machine."""
    there = instances.get(name)
    steps = []
    if there is not None and there.config.get(IMAGE) != image:
        steps.append(Step(DELETE, name, "it was made from another image"))
        there = None
    if there is None:
        steps.append(Step(CREATE, name, "it does not exist"))
    if there is None or there.status != "Running":
        steps.append(Step(START, name, "it is new" if there is None else f"it is {there.status.lower()}"))
    if there is None or there.config.get(CONTENT) != content:
        steps.append(Step(CONFIGURE, name, "it is new" if there is None else "its files have changed"))
    return steps


def down(lab: Lab, found: Found) -> list[Step]:
    """Given the lab and what is there, return the steps that remove all of it from LXD."""
    _refuse_foreign(lab, found)
    reason = "the lab goes down"
    steps = [Step(DELETE, name, reason) for name in sorted(found.instances)]
    if found.network is not None:
        steps.append(Step(DELETE_NETWORK, lab.shared, reason))
    steps += [Step(DELETE_IMAGE, name, reason) for name in found.images]
    if found.pool is not None:
        steps.append(Step(DELETE_POOL, lab.shared, reason))
    return steps


def _refuse_foreign(lab: Lab, found: Found) -> None:
    """Nothing that somebody else made is changed or removed."""
    owners = {
        "pool " + lab.shared: found.pool,
        "network " + lab.shared: found.network,
        **{f"container {name}": one.config.get(OWNER, "") for name, one in found.instances.items()},
    }
    for what, owner in owners.items():
        if owner is not None and owner != str(lab.folder):
            raise LabError(foreign(what, owner, lab.prefix))


def foreign(what: str, owner: str, prefix: str) -> str:
    """Given a thing in LXD, the folder of the lab that made it and the prefix, return the message."""
    if not owner:
        return f"LXD's {what} was not made by a lab. {_OTHER}"
    command = f"python molecule/lab down --prefix {prefix} --root {PurePath(owner).parent}"
    return f"LXD's {what} belongs to the lab in {owner}. {_OTHER}, or remove that lab: {command}"


@dataclass(frozen=True)
class Choice:
    """Which LXD daemon is used: our own, or the one with that folder; and why."""

    own: bool
    folder: Path | None
    reason: str


@dataclass(frozen=True)
class Daemons:
    """What is known of LXD on this machine. `answering` maps folders to whether nesting works there."""

    answering: Mapping[Path, bool]
    own_exists: bool
    root: bool
    program: str | None


def choose_daemon(known: Daemons, *, nested: bool) -> Choice:
    """Given what is known and whether LXD must run inside containers, return the daemon to use."""
    if known.own_exists:
        return Choice(True, None, "this lab has its own daemon already")
    for folder, nests in known.answering.items():
        if nests or not nested:
            return Choice(False, folder, "it answers")
    if known.root and known.program:
        why = "that one cannot run LXD inside a container" if known.answering else "none answers"
        return Choice(True, None, why)
    if known.answering:
        raise LabError(
            "the LXD daemon that answers runs with cgroup version 1, where LXD inside a container does not "
            "start. Run as root, so that the lab starts a daemon of its own, or take make lab SATELLITES=0."
        )
    if known.program:
        raise LabError(
            "no LXD daemon answers. Start it (systemctl start lxd, snap start lxd), or run as root."
        )
    raise LabError("LXD is not installed.")
