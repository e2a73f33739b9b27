"""Looks at a satellite's copy of a model's weights, checks every byte of it, and puts it into place.

It runs on the satellite with the standard library alone: `python3 -c PROGRAM look|install …`, with the core's
MANIFEST.json on standard input. It prints one JSON object. A revision's folder appears whole, by one rename;
`current` names the one in use.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path

MANIFEST = "MANIFEST.json"
STAMP = ".verified.json"
INCOMING = ".incoming-"
REMOVED = ".removed-"
COMMIT = re.compile(r"[0-9a-f]{40}")
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,199}")


class Trouble(Exception):
    """What is said, with the next step, before the program ends with 1."""


def wanted(text: str) -> dict[str, tuple[int, str]]:
    """Given a manifest's text, return its files: path -> (size, hash). Raise Trouble if it is none."""
    again = "fetch the model anew there"
    try:
        found = {one["path"]: (one["size"], one["sha256"]) for one in json.loads(text)["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise Trouble(f"the core's manifest cannot be read ({error}); {again}") from error
    for path, (size, sha256) in found.items():
        plain = all(PART.fullmatch(part) for part in path.split("/")) and path != MANIFEST
        if not plain or not isinstance(size, int) or not re.fullmatch(r"[0-9a-f]{64}", str(sha256)):
            raise Trouble(f"the core's manifest lists what cannot be: {path!r}; {again}")
    if not found:
        raise Trouble(f"the core's manifest lists no file; {again}")
    return found


def mark(path: Path) -> list[int] | None:
    """Given a path, return [size, mtime in ns] of a plain file, None if there is none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [found.st_size, found.st_mtime_ns] if stat.S_ISREG(found.st_mode) else None


def hash_of(path: Path) -> str:
    """Given a file, return its SHA-256."""
    hashed = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 22), b""):
            hashed.update(chunk)
    return hashed.hexdigest()


def read_json(path: Path) -> dict[str, object]:
    """Given a file of ours, return its content, {} if it is missing or damaged: it is then made anew."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, text: str) -> None:
    """Replace a file in one step."""
    beside = path.with_name(f".{path.name}.tmp")
    with beside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def sync(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stamp(folder: Path, files: dict[str, tuple[int, str]]) -> None:
    """Remember that these files were read and right, so that they need not be read each time."""
    seen = {path: [*(mark(folder / path) or ()), sha256] for path, (_, sha256) in files.items()}
    if read_json(folder / STAMP) != seen:
        write(folder / STAMP, json.dumps(seen))


def is_right(folder: Path, path: str, file: tuple[int, str], seen: dict[str, object]) -> bool:
    """Given a file and what was seen of it, return whether it is the wanted one; unseen, it is read."""
    size, sha256 = file
    found = mark(folder / path)
    if found is None or found[0] != size:
        return False
    return seen.get(path) == [*found, sha256] or hash_of(folder / path) == sha256


def missing_of(folder: Path, files: dict[str, tuple[int, str]], *, rehash: bool) -> list[str]:
    """Given a revision's folder, return the wanted files that are not in it, or not right."""
    seen = {} if rehash else read_json(folder / STAMP)
    return sorted(path for path, file in files.items() if not is_right(folder, path, file, seen))


def filters(paths: list[str]) -> list[str]:
    """Given paths, return rsync's options that let these through and nothing else."""
    folders = {str(parent) for path in paths for parent in Path(path).parents} - {"."}
    let = [f"--include=/{folder}/" for folder in sorted(folders)]
    return [*let, *(f"--include=/{path}" for path in sorted(paths)), "--exclude=*"]


class Copy:
    """One model's folder on this machine, and one revision of it."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.model = Path(given.folder) / given.model
        self.revision: str = given.revision
        self.folder = self.model / self.revision
        self.incoming = self.model / f"{INCOMING}{self.revision}"
        self.link = self.model / "current"

    @property
    def current(self) -> str | None:
        """The commit in use, None if there is none."""
        try:
            return str(self.link.readlink())
        except OSError:
            # Missing, or no link: setting it tells why.
            return None

    @property
    def names(self) -> list[str]:
        """The names in the model's folder."""
        return sorted(path.name for path in self.model.iterdir()) if self.model.is_dir() else []


def free_at(folder: Path) -> int:
    """Return the bytes that are free where a folder is, or would be."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(there).free


def look(copy: Copy, files: dict[str, tuple[int, str]], given: argparse.Namespace) -> dict[str, object]:
    """Return what is here of a revision, and what must come."""
    missing = missing_of(copy.folder, files, rehash=given.rehash)
    if not missing and not given.dry_run:
        stamp(copy.folder, files)
    there = 0
    for path in missing:
        found = mark(copy.incoming / path)
        there += min(found[0], files[path][0]) if found else 0
    return {
        "whole": not missing,
        "current": copy.current == copy.revision,
        "missing": missing,
        "filters": filters(missing),
        "needed": sum(files[path][0] for path in missing) - there,
        "free": free_at(copy.model),
        "old": old_of(copy, given.keep, whole=not missing),
        "bytes": sum(size for size, _ in files.values()),
    }


def install(
    copy: Copy, files: dict[str, tuple[int, str]], given: argparse.Namespace, text: str
) -> dict[str, object]:
    """Check what has come in, put it into place and into use, remove what is old; return what was done."""
    copy.model.mkdir(parents=True, exist_ok=True)
    with (copy.model / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Trouble("another run works on the same model; run this again when it is done") from error
        missing = missing_of(copy.folder, files, rehash=given.rehash)
        check_incoming(copy, files, missing)
        if missing:
            put_in_place(copy, files, missing, text)
        stamp(copy.folder, files)
        switched = copy.current != copy.revision
        if switched:
            use(copy)
        old = old_of(copy, given.keep, whole=True)
        for name in old:
            remove(copy, name)
    return {"changed": bool(missing or switched or old), "fetched": missing, "removed": old}


def check_incoming(copy: Copy, files: dict[str, tuple[int, str]], missing: list[str]) -> None:
    """Read what has come in; what is wrong is removed, so that it comes again."""
    wrong = [path for path in missing if not is_right(copy.incoming, path, files[path], {})]
    for path in wrong:
        if mark(copy.incoming / path):
            (copy.incoming / path).unlink()
    if wrong:
        raise Trouble(
            f"{wrong[0]} did not arrive as it is on the core (its size or SHA-256 is another). What was in "
            "use stays in use; run this again. If it happens again, check the core's copy: maw weights verify"
        )


def put_in_place(copy: Copy, files: dict[str, tuple[int, str]], missing: list[str], text: str) -> None:
    """Move what came into the revision's folder: whole if that is new, else file by file."""
    for path in missing:
        sync(copy.incoming / path)
    if not copy.folder.is_dir():
        clear(copy.incoming, set(files))
        write(copy.incoming / MANIFEST, text)
        stamp(copy.incoming, files)
        for folder in (copy.incoming, *(path for path in copy.incoming.rglob("*") if path.is_dir())):
            sync(folder)
        copy.incoming.rename(copy.folder)
        sync(copy.model)
        return
    for path in missing:
        place = copy.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        (copy.incoming / path).replace(place)
        sync(place.parent)
    write(copy.folder / MANIFEST, text)
    sync(copy.folder)
    shutil.rmtree(copy.incoming)


def clear(folder: Path, kept: set[str]) -> None:
    """Remove what an earlier run of other files left in a folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif str(path.relative_to(folder)) not in kept:
            path.unlink()


def use(copy: Copy) -> None:
    """Make `current` name the revision, in one step."""
    beside = copy.model / ".current.tmp"
    beside.unlink(missing_ok=True)
    beside.symlink_to(copy.revision)
    beside.replace(copy.link)
    sync(copy.model)


def old_of(copy: Copy, keep: int, *, whole: bool) -> list[str]:
    """Return the names in the model's folder that go: old revisions, and what stopped runs left.

    What was in use until now is the first that is kept. What has come in of a revision that is not `whole`
    is gone on with.
    """
    others = [name for name in copy.names if COMMIT.fullmatch(name) and name != copy.revision]

    def age(name: str) -> tuple[bool, str, str]:
        fetched = str(read_json(copy.model / name / MANIFEST).get("fetched_at", ""))
        return name == copy.current, fetched, name

    going_on = "" if whole else f"{INCOMING}{copy.revision}"
    left = [name for name in copy.names if name.startswith((INCOMING, REMOVED)) and name != going_on]
    return [*sorted(others, key=age, reverse=True)[keep:], *left]


def remove(copy: Copy, name: str) -> None:
    """Remove a folder; stopped at any moment, no half of it has its name."""
    away = copy.model / (name if name.startswith(".") else f"{REMOVED}{name}")
    if not name.startswith("."):
        if away.is_dir():
            shutil.rmtree(away)
        (copy.model / name).rename(away)
    shutil.rmtree(away)


def main(arguments: list[str]) -> int:
    """Do what is asked; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["look", "install"])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--keep", type=int, default=1)
    parser.add_argument("--rehash", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    os.umask(0o022)
    try:
        text = sys.stdin.read()
        files, copy = wanted(text), Copy(given)
        answer = look(copy, files, given) if given.what == "look" else install(copy, files, given, text)
    except Trouble as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error}. Mend that on this machine and run this again.\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
