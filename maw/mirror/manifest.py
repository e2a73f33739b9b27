"""Manifests: sorted, kept and compared without ever being held in memory.

Sorting is left to the `sort` program, which spills to disk; the lines are those of `entries`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from maw.errors import MirrorError, UnsafeArchive
from maw.mirror import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

_FIELDS = ("path", "kind", "mode", "uid", "gid", "size", "mtime", "content", "xattrs", "acls", "names")
# What the differences of a report name; the rest is counted.
MOST_NAMED = 50
_MEMORY = "32M"


@dataclass(frozen=True)
class Difference:
    """One place where a mirror is not as its source: `what` is missing, added, or the fields that differ."""

    path: str
    what: str
    source: str = ""
    mirror: str = ""


@dataclass
class Comparison:
    """What came of comparing two manifests."""

    paths: int = 0
    count: int = 0
    first: list[Difference] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        """Count a difference, and name it if not many were named."""
        self.count += 1
        if len(self.first) < MOST_NAMED:
            self.first.append(difference)


def sort(lines: Iterable[bytes], target: Path) -> None:
    """Given lines, write them sorted by path to `target`; of several of one path the last stays last.

    Raise MirrorError if the sort program fails.
    """
    argv = ["sort", "--stable", "--field-separator=\t", "--key=1,1", f"--buffer-size={_MEMORY}"]
    argv += [f"--temporary-directory={target.parent}", f"--output={target}"]
    environment = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True
    ) as program:
        assert program.stdin is not None
        assert program.stderr is not None
        try:
            for line in lines:
                program.stdin.write(line)
            program.stdin.close()
        except BrokenPipeError:
            # It says why on standard error.
            pass
        said = program.stderr.read().decode("utf-8", "replace").strip()
    if program.returncode != 0:
        raise MirrorError(
            name=str(target), reason=f"the manifest could not be sorted: {said}", step="Free some space there"
        )


def of_archive(unsorted: Path, links: Mapping[bytes, list[bytes]], target: Path, name: str) -> None:
    """Given the lines of an archive and its hard links, write its whole manifest, sorted, to `target`.

    Raise UnsafeArchive for a hard link to nothing, or for a path that is two kinds of things.
    """
    groups = _groups(links)
    unfinished = set(groups)

    def lines() -> Iterator[bytes]:
        with unsorted.open("rb") as stream:
            for line in stream:
                path = _path(line)
                names = groups.get(path) if groups else None
                if names is None:
                    yield line
                    continue
                unfinished.discard(path)
                yield from _shared(line, names)

    sort(lines(), target)
    if unfinished:
        shown = min(unfinished)[:80].decode("utf-8", "replace")
        raise UnsafeArchive(name=name, reason=f"a hard link to {shown}, which is not in it")
    _refuse_changes(target, name)


def _groups(links: Mapping[bytes, list[bytes]]) -> dict[bytes, list[bytes]]:
    """Given hard links by target, return all names by the target that is a file itself."""
    above = {name: target for target, names in links.items() for name in names if name != target}
    found: dict[bytes, set[bytes]] = {}
    for target, names in links.items():
        root, steps = target, 0
        while root in above and steps <= len(above):
            root, steps = above[root], steps + 1
        found.setdefault(root, {root}).update(names)
    return {root: sorted(names) for root, names in found.items()}


def _path(line: bytes) -> bytes:
    return entries.unescaped(line[: line.index(b"\t")])


def _shared(line: bytes, names: list[bytes]) -> Iterator[bytes]:
    """Given the line of a file and all its names, return a line for each."""
    if len(names) == 1:
        yield line
        return
    facts = line[line.index(b"\t") : line.rindex(b"\t") + 1]
    group = entries.escaped(names[0]) + b"\n"
    for name in names:
        yield entries.escaped(name) + facts + group


def _refuse_changes(target: Path, name: str) -> None:
    """One path may stand there twice, as a mount point's folder does, but as the same kind of thing."""
    before: list[bytes] = [b"", b""]
    with target.open("rb") as stream:
        for line in stream:
            now = line.split(b"\t", 2)[:2]
            if now[0] == before[0] and now[1] != before[1]:
                shown = now[0][:80].decode("utf-8", "replace")
                raise UnsafeArchive(name=name, reason=f"{shown} as two kinds of things")
            before = now


def of_tree(unsorted: Path, target: Path) -> None:
    """Given the lines of a tree as `far_walk` lists it, write its manifest, sorted, to `target`."""
    groups: dict[bytes, list[bytes]] = {}
    with unsorted.open("rb") as stream:
        for line in stream:
            group = line[line.rindex(b"\t") + 1 : -1]
            if group != b"-":
                groups.setdefault(group, []).append(_path(line))

    def lines() -> Iterator[bytes]:
        with unsorted.open("rb") as stream:
            for line in stream:
                start = line.rindex(b"\t") + 1
                group = line[start:-1]
                if group == b"-":
                    yield line
                    continue
                names = groups[group]
                shared = entries.escaped(min(names)) if len(names) > 1 else b"-"
                yield line[:start] + shared + b"\n"

    sort(lines(), target)


def last_of_each(stream: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Given a sorted manifest, return path and line of each; of several of one path the last."""
    held: tuple[bytes, bytes] | None = None
    for line in stream:
        path = line[: line.index(b"\t")]
        if held is not None and held[0] != path:
            yield held
        held = (path, line)
    if held is not None:
        yield held


def compare(
    source: Path, mirror: Path, expected: Callable[[str, bytes | None], bytes | None] | None = None
) -> Comparison:
    """Given two sorted manifests, return where they differ.

    `expected` may replace the source's line of a path (None: there is none), for what was edited.
    """
    result = Comparison()
    with source.open("rb") as one, mirror.open("rb") as other:
        left, right = last_of_each(one), last_of_each(other)
        a, b = next(left, None), next(right, None)
        while a is not None or b is not None:
            path = min(entry[0] for entry in (a, b) if entry is not None)
            wanted = a[1] if a is not None and a[0] == path else None
            found = b[1] if b is not None and b[0] == path else None
            result.paths += wanted is not None
            if expected is not None:
                wanted = expected(path.decode("utf-8", "surrogateescape"), wanted)
            if wanted != found:
                result.add(_difference(path, wanted, found))
            if a is not None and a[0] == path:
                a = next(left, None)
            if b is not None and b[0] == path:
                b = next(right, None)
    return result


def _difference(path: bytes, wanted: bytes | None, found: bytes | None) -> Difference:
    shown = path.decode("utf-8", "replace")
    if found is None:
        return Difference(shown, "missing")
    if wanted is None:
        return Difference(shown, "added")
    pairs = zip(_FIELDS, _fields(wanted), _fields(found), strict=True)
    differ = [(name, one, other) for name, one, other in pairs if one != other]
    names, ones, others = (", ".join(column) for column in zip(*differ, strict=True))
    return Difference(shown, names, ones[:200], others[:200])


def _fields(line: bytes) -> list[str]:
    return line.rstrip(b"\n").decode("utf-8", "replace").split("\t")


def hash_of(path: Path) -> str:
    """Given a file, return its SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
