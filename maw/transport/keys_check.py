"""What `cutter keys check` looks at, and what it makes of it: our own files, and every place of a key."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maw.errors import MawError
from maw.transport import authorized, key_dates, keypairs, places, rights, windows_files
from maw.transport.places import Kind
from maw.transport.ssh_config import ADMIN, BRIDGE, MIRROR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from maw.transport.authorized import Entry
    from maw.transport.far import Line
    from maw.transport.keypairs import Private, Stages
    from maw.transport.keys import HostKey
    from maw.transport.places import Held, Place

_TOGETHER = 16
# Days after which a key is called old; that is no fault.
_OLD_DAYS = 365


@dataclass(frozen=True)
class OwnKey:
    """A private key here. `days` is its age, None if that cannot be told."""

    purpose: str
    stage: str
    path: str
    fingerprint: str
    mode: str
    made: str | None
    days: int | None
    remark: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Installed:
    """A line of a place. `key` is the name of ours, None for somebody else's."""

    line: int
    key: str | None
    fingerprint: str
    comment: str
    may: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Looked:
    """A place, as it was found. `error` says why it could not be looked at, or not wholly."""

    host: str
    kind: str
    path: str | None
    error: str | None
    keys: tuple[Installed, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """All that was found."""

    keys: tuple[OwnKey, ...]
    places: tuple[Looked, ...]
    # Of no key and no place.
    problems: tuple[str, ...] = ()

    @property
    def all_problems(self) -> tuple[str, ...]:
        """Every problem, with what it is about."""
        found = [*self.problems]
        found += [f"{key.path}: {problem}" for key in self.keys for problem in key.problems]
        for place in self.places:
            name = f"{place.host}, {place.path or 'its file of keys'}"
            found += [f"{name}: {place.error}"] if place.error else []
            found += [f"{name}: {problem}" for problem in place.problems]
            found += [
                f"{name}, line {key.line} ({key.key}): {problem}"
                for key in place.keys
                for problem in key.problems
            ]
        return tuple(found)


@dataclass(frozen=True)
class Seen:
    """What is known of a place: what it holds, its rights on Windows, or why not."""

    held: Held | None
    sddl: str = ""
    error: str = ""
    # This machine's addresses as that host should see them.
    addresses: tuple[str, ...] = field(default_factory=tuple)


def look(
    line: Line,
    listed: Sequence[Place],
    *,
    addresses: Callable[[Place], tuple[str, ...]],
    tell: Callable[[str], None] = lambda _: None,
) -> dict[Place, Seen]:
    """Given the places, look at all of them at once. Nothing is changed."""

    def one(place: Place) -> Seen:
        tell(f"{place.host.name}: reading its file of keys")
        try:
            held = places.hold(line, place)
            sddl = ""
            if held.account is not None and held.content is not None:
                sddl = windows_files.acl(line, place.host, held.path)
            return Seen(held, sddl, addresses=addresses(place))
        except MawError as error:
            return Seen(None, error=str(error))

    with ThreadPoolExecutor(_TOGETHER) as pool:
        return dict(zip(listed, pool.map(one, listed), strict=True))


def own_keys(
    folder: Path, needed: frozenset[str], now: float
) -> tuple[tuple[OwnKey, ...], dict[str, Stages], tuple[str, ...]]:
    """Given the folder of keys and what for some are needed, return what is there, and what is wrong.

    Raise KeysError if there is none at all, or CannotRead.
    """
    made = key_dates.dates(folder)
    found: list[OwnKey] = []
    by_purpose = {}
    wrong = []
    for purpose in (ADMIN, BRIDGE, MIRROR):
        by_purpose[purpose] = has = keypairs.stages(folder, purpose)
        stages = zip(keypairs.STAGES, (has.current, has.next, has.previous), strict=True)
        found += [_own(purpose, stage, one, made, now) for stage, one in stages if one is not None]
        if has.next or has.previous:
            wrong.append(
                f"the rotation of {purpose} is not finished: run `cutter keys rotate --key {purpose}`"
            )
        elif has.current is None and purpose in needed:
            wrong.append(f"there is no key {purpose}: `cutter keys make` makes it")
    if not found:
        raise keypairs.missing(folder / min(needed, default=ADMIN))
    if folder.stat().st_mode & 0o077:
        wrong.append(f"others may look into {folder}: chmod 700 it")
    return tuple(found), by_purpose, tuple(wrong)


def _own(purpose: str, stage: str, one: Private, made: Mapping[str, float], now: float) -> OwnKey:
    status = one.path.stat()
    mode = status.st_mode & 0o7777
    problems = []
    if mode & 0o077:
        problems.append(f"others may read it (mode {mode:o}), so that ssh refuses it: chmod 600 it")
    if status.st_uid != os.getuid():
        problems.append("belongs to another user of this machine: chown it")
    if one.encrypted:
        problems.append("has a passphrase, which nobody is there to type: take it off with ssh-keygen -p")
    if one.beside is None:
        problems.append("has no .pub file beside it: `cutter keys make` writes it anew")
    elif one.beside != one.key:
        problems.append("is not what the .pub file beside it says: move that away, then `cutter keys make`")
    when = made.get(one.key.fingerprint)
    age = key_dates.age(when, status.st_mtime, now)
    remark = age.remark
    if age.days is not None and age.days > _OLD_DAYS:
        remark = "`cutter keys rotate` makes a new one"
    shown = key_dates.shown(when) if when is not None else None
    return OwnKey(
        purpose,
        stage,
        str(one.path),
        one.key.fingerprint,
        f"{mode:04o}",
        shown,
        age.days,
        remark,
        tuple(problems),
    )


def judge(place: Place, seen: Seen, ours: Mapping[str, Stages], reached: bool) -> Looked:
    """Given a place and what was seen of it, return what to say of it.

    `reached` tells that its bridge works, so that what from= says there is proven to be right.
    """
    held = seen.held
    if held is None:
        return Looked(place.host.name, place.kind, None, seen.error, (), ())
    if held.content is None:
        what = "there is no such file; `cutter keys show` prints what belongs there"
        return Looked(place.host.name, place.kind, held.path, None, (), (what,))
    named = {
        one.key: (purpose, f"{purpose}{stage}")
        for purpose, has in ours.items()
        for stage, one in zip(keypairs.STAGES, (has.current, has.next, has.previous), strict=True)
        if one is not None
    }
    entries = authorized.entries(held.content)
    again = rights.twice(entries)
    lines = tuple(_installed(place, entry, named, again, seen.addresses, reached) for entry in entries)
    problems = _of_file(held, seen.sddl)
    for purpose in place.purposes:
        current = ours[purpose].current
        if current is not None and current.key not in {entry.key for entry in entries}:
            problems.append(
                f"the key {purpose} is not there; `cutter keys show {place.host.name}` prints its line"
            )
    if place.kind is Kind.WINDOWS and len(place.distros) > 1:
        names = ", ".join(host.name for host in place.distros)
        problems.append(
            f"one key cannot open several distros ({names}), for its line has one command: give all but one "
            "a key of its own (ansible_ssh_private_key_file)"
        )
    return Looked(place.host.name, place.kind, held.path, None, lines, tuple(problems))


def _of_file(held: Held, sddl: str) -> list[str]:
    found = [held.rights] if held.rights else []
    unreadable = windows_files.encoding_problem(held.content or b"") if held.account else None
    found += [unreadable] if unreadable else []
    writers = windows_files.others_that_write(sddl, held.account.sid) if held.account else ()
    if writers and held.account:
        commands = "; ".join(windows_files.grant_commands(held.path))
        shown = ", ".join(writers)
        found.append(f"Windows ignores it, for these may write to it: {shown}. As administrator: {commands}")
    return found


def _installed(
    place: Place,
    entry: Entry,
    named: Mapping[HostKey, tuple[str, str]],
    again: Sequence[Entry],
    addresses: Sequence[str],
    reached: bool,
) -> Installed:
    purpose, name = named.get(entry.key, (None, None))
    found: list[str] = []
    if purpose is not None:
        found += rights.problems(entry, place, purpose)
        limits = entry.values("from") if place.kind is not Kind.DISTRO and not reached else ()
        found += [
            f"from={limit} does not let this machine in, which comes from {', '.join(addresses)}"
            for limit in limits
            if addresses and not rights.from_matches(limit, addresses)
        ]
        if entry in again:
            found.append("is there twice, and only the first counts: remove this line")
    distros = [host.wsl_distro for host in place.distros if host.wsl_distro]
    return Installed(
        entry.number, name, entry.key.fingerprint, entry.comment, rights.may(entry, distros), tuple(found)
    )


def report(
    line: Line,
    folder: Path,
    listed: Sequence[Place],
    *,
    now: float,
    addresses: Callable[[Place], tuple[str, ...]],
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Given the folder of keys and the places, look at all and return what was found."""
    needed = frozenset(purpose for place in listed for purpose in place.purposes)
    own, ours, wrong = own_keys(folder, needed, now)
    seen = look(line, listed, addresses=addresses, tell=tell)
    working = {place.host.windows for place, one in seen.items() if place.kind is Kind.DISTRO and one.held}
    looked = [judge(place, one, ours, place.host.name in working) for place, one in seen.items()]
    return Report(own, tuple(looked), wrong)
