"""Changing a key of the cluster everywhere, so that at every moment one that works is listed.

What is next is decided from the files that are there (`next_move`, `with_new`, `without_old`: pure), so
that there is no journal which could be wrong: after a kill the same command goes on.

1. KEY.next is made, its line put beside the old one's on every host, and a log-in with it alone proven.
2. When that holds for all hosts: KEY becomes KEY.previous, KEY.next becomes KEY.
3. The old line is removed on every host, a log-in with the new key alone proven again, and at last
   KEY.previous deleted.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from maw.errors import (
    HostKeyChanged,
    HostKeyUnknown,
    KeysError,
    MawError,
    RotationUnfinished,
    TransportError,
)
from maw.transport import authorized, keypairs, keys, places, wsl
from maw.transport.keypairs import NEXT, PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from maw.topology import Host
    from maw.transport.far import Line
    from maw.transport.keypairs import Stages
    from maw.transport.keys import HostKey
    from maw.transport.places import Held, Place, Target

# Hosts that are worked on at once.
_TOGETHER = 16


class Move(StrEnum):
    """What is next for one key."""

    MAKE = "make"
    SPREAD = "spread"
    PROMOTE = "promote"
    CLEAN = "clean"
    DONE = "done"
    LOST = "lost"


def next_move(current: bool, coming: bool, previous: bool, *, begin: bool) -> Move:
    """Given which of KEY, KEY.next and KEY.previous are there, return what is next.

    `begin` says whether a rotation shall begin where none is under way.
    """
    if not current:
        # Between the two renames of step 2, and at no other moment.
        return Move.PROMOTE if coming and previous else Move.LOST
    if previous:
        return Move.CLEAN
    if coming:
        return Move.SPREAD
    return Move.MAKE if begin else Move.DONE


def with_new(held: Held, old: HostKey, new: HostKey) -> bytes | None:
    """Given what a place holds, return it with the new key beside the old one, None if neither is there."""
    content = authorized.add_beside(held.content or b"", old, new)
    return content if authorized.of_key(content, new) else None


def without_old(held: Held, old: HostKey, new: HostKey) -> bytes | None:
    """Given what a place holds, return it without the old key, None if then none of ours were left."""
    content = authorized.remove(held.content or b"", old)
    return content if authorized.of_key(content, new) else None


@dataclass(frozen=True)
class Planned:
    """What a rotation would do to one place, or why that cannot be told."""

    host: str
    path: str
    adds: bool = False
    removes: bool = False
    error: MawError | None = None


@dataclass
class Rotation:
    """One key of the cluster, and all that has to do with changing it."""

    folder: Path
    purpose: str
    line: Line
    hosts: Sequence[Host]
    targets: Sequence[Target]
    tell: Callable[[str], None] = lambda _: None
    _proven: set[tuple[str, HostKey]] = field(default_factory=set)

    def run(self) -> tuple[HostKey, HostKey | None]:
        """Finish what was begun, else change the key; return the key that is used now, and the old one.

        Raise RotationUnfinished, HostKeyUnknown, HostKeyChanged, KeysError, FileError.
        """
        self.line.sweep()
        self._check_pins()
        has = keypairs.stages(self.folder, self.purpose)
        begin = self._next(has, begin=True) is Move.MAKE
        old: HostKey | None = None
        while True:
            has = keypairs.stages(self.folder, self.purpose)
            move = self._next(has, begin=begin)
            if move is Move.DONE:
                assert has.current is not None
                keypairs.mend(has.current, self.purpose)
                return has.current.key, old
            begin = False
            old = self._do(move, has) or old

    def _next(self, has: Stages, *, begin: bool) -> Move:
        move = next_move(has.current is not None, has.next is not None, has.previous is not None, begin=begin)
        if move is Move.LOST:
            path = keypairs.path_of(self.folder, self.purpose)
            left = has.next or has.previous
            if left is None:
                raise keypairs.missing(path)
            step = f"Rename {left.path.name} to {path.name}, which may be the key that the hosts know"
            raise KeysError(path=path, reason=f"is missing, though {left.path.name} is there", step=step)
        return move

    def _do(self, move: Move, has: Stages) -> HostKey | None:
        if move is Move.MAKE:
            self.tell(f"making {self.purpose}{NEXT}")
            keypairs.make(self.folder, self.purpose, NEXT)
            return None
        if move is Move.SPREAD:
            assert has.current is not None
            assert has.next is not None
            self._everywhere(self._spread, has.current.key, has.next.key, NEXT)
        if move is Move.CLEAN:
            assert has.current is not None
            assert has.previous is not None
            self._everywhere(self._clean, has.previous.key, has.current.key, "")
            self.tell(f"deleting {self.purpose}{PREVIOUS}")
            keypairs.forget(self.folder, self.purpose)
            return has.previous.key
        self.tell(f"renaming {self.purpose}{NEXT}")
        keypairs.promote(self.folder, self.purpose)
        # What comes is logged in anew, with the new key.
        names = [host.name for target in self.targets for host in target.proofs]
        doors = [wsl.alias(host.windows) for target in self.targets for host in target.proofs if host.windows]
        self.line.close_shared([*names, *dict.fromkeys(doors)])
        return None

    def _check_pins(self) -> None:
        """Raise HostKeyUnknown for a host that must not be talked to, before anything is changed."""
        for target in self.targets:
            for place in target.places:
                if not keys.pinned(self.line.where.known_hosts, place.host.name):
                    raise HostKeyUnknown(host=place.host.name)

    def _everywhere(
        self, step: Callable[[Target, HostKey, HostKey, Line], None], old: HostKey, new: HostKey, stage: str
    ) -> None:
        """Do a step for all targets at once. Raise what stops everything, or RotationUnfinished."""
        path = keypairs.path_of(self.folder, self.purpose, stage)
        only = self.line.only(self.purpose, path, self.hosts)
        failed: dict[str, MawError] = {}

        def one(target: Target) -> None:
            try:
                step(target, old, new, only)
            except MawError as error:
                failed[target.name] = error

        try:
            with ThreadPoolExecutor(_TOGETHER) as pool:
                list(pool.map(one, self.targets))
        finally:
            only.where.config.unlink(missing_ok=True)
        for error in failed.values():
            if isinstance(error, HostKeyChanged | HostKeyUnknown):
                raise error
        if failed:
            self._unfinished(failed, stage)

    def _unfinished(self, failed: dict[str, MawError], stage: str) -> None:
        reasons = "; ".join(f"{name}: {str(error).rstrip('.')}" for name, error in sorted(failed.items()))
        kept = "The old key is still in use, and nothing of it was removed anywhere"
        if stage != NEXT:
            kept = f"The new key is in use; {self.purpose}{PREVIOUS} is kept until the old one is gone there"
        raise RotationUnfinished(key=self.purpose, reasons=reasons, kept=kept)

    def _spread(self, target: Target, old: HostKey, new: HostKey, only: Line) -> None:
        for place in target.places:
            held = self._hold(place)
            content = with_new(held, old, new)
            if content is None:
                raise TransportError(
                    host=place.host.name,
                    reason=f"the key {self.purpose} is not in {held.path} there "
                    f"(`cutter keys show {place.host.name}` prints its line)",
                )
            self._change(place, held, content)
        self._prove(target, new, only)

    def _clean(self, target: Target, old: HostKey, new: HostKey, only: Line) -> None:
        if (target.name, new) not in self._proven:
            self._prove(target, new, only)
        changed: list[tuple[Place, Held, bytes]] = []
        for place in target.places:
            held = self._hold(place)
            content = without_old(held, old, new)
            if content is None:
                raise TransportError(
                    host=place.host.name,
                    reason=f"the new key is not in {held.path} there, so that the old one was left",
                )
            if self._change(place, held, content):
                changed.append((place, held, content))
        try:
            self._prove(target, new, only)
        except TransportError as error:
            self._put_back(changed, error)
            raise

    def _put_back(self, changed: list[tuple[Place, Held, bytes]], why: TransportError) -> None:
        """Put the old key back over the connection that is still there: the new one did let us in before."""
        for place, held, content in changed:
            assert held.content is not None
            now = places.Held(held.path, content, account=held.account)
            try:
                places.replace(self.line, place, now, held.content)
            except MawError as error:
                reason = f"{why}; and the old key could not be put back: {error}"
                raise TransportError(host=place.host.name, reason=reason) from why

    def _hold(self, place: Place) -> Held:
        self.tell(f"{place.host.name}: reading its file of keys")
        held = places.hold(self.line, place)
        if held.rights:
            self.tell(f"{place.host.name}: {held.rights} (done with the next change)")
        return held

    def _change(self, place: Place, held: Held, content: bytes) -> bool:
        if content == held.content:
            return False
        self.tell(f"{place.host.name}: writing {held.path}")
        places.replace(self.line, place, held, content)
        return True

    def _prove(self, target: Target, key: HostKey, only: Line) -> None:
        """Log in with this key alone, on new connections. Raise TransportError."""
        for host in target.proofs:
            self.tell(f"{host.name}: logging in with the new key alone")
            word = f"maw-{secrets.token_hex(8)}"
            said = only.run(host, f"echo {word}")
            if word.encode("ascii") not in said.stdout:
                raise TransportError(
                    host=host.name, reason=f"a log-in with the new key alone does not work: {said.text}"
                )
        self._proven.add((target.name, key))

    def plan(self) -> tuple[Move, list[Planned]]:
        """Look, change nothing, and return what `run` would do first, and what to each place."""
        self._check_pins()
        has = keypairs.stages(self.folder, self.purpose)
        move = self._next(has, begin=True)
        held = [place for target in self.targets for place in target.places]
        with ThreadPoolExecutor(_TOGETHER) as pool:
            return move, list(pool.map(lambda place: self._planned(place, has), held))

    def _planned(self, place: Place, has: Stages) -> Planned:
        try:
            held = self._hold(place)
        except MawError as error:
            return Planned(place.host.name, "", error=error)
        old = has.previous or has.current
        new = has.current if has.previous and has.current else has.next
        assert old is not None
        content = held.content or b""
        removes = bool(authorized.of_key(content, old.key))
        there = new is not None and bool(authorized.of_key(content, new.key))
        missing = None
        if not removes and not there:
            reason = f"the key {self.purpose} is not in {held.path} there"
            missing = TransportError(host=place.host.name, reason=reason)
        return Planned(place.host.name, held.path, adds=not there, removes=removes, error=missing)
