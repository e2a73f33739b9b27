"""The folder of weights: `<owner>--<name>/<commit>/` with a manifest, and `current`, the one in use.

A revision's folder appears by one rename, when every byte of it was checked. What is under way lies beside
it in a folder whose name begins with a dot.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from maw import files
from maw.errors import CannotRead, WeightsDamaged
from maw.models.weights import MANIFEST, KeptFile, Manifest, folder_name, is_commit, manifest_of, repo_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

CURRENT = "current"
_INCOMING = ".incoming-"
_REMOVED = ".removed-"
_LOCK = ".lock"
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Installed:
    """One revision that is here. `problem` says why it cannot be used, None if nothing is known."""

    repo: str
    revision: str
    folder: Path
    current: bool
    manifest: Manifest | None
    problem: str | None


@dataclass(frozen=True)
class Leftover:
    """A folder of a fetch that was stopped, or of a removal."""

    repo: str
    folder: Path
    size: int


@dataclass(frozen=True)
class Store:
    """The folder of weights."""

    root: Path

    def model(self, repo: str) -> Path:
        """Return the folder of a repository."""
        return self.root / folder_name(repo)

    def revision(self, repo: str, commit: str) -> Path:
        """Return the folder of a whole revision."""
        return self.model(repo) / commit

    def incoming(self, repo: str, commit: str) -> Path:
        """Return the folder of a revision that is being fetched."""
        return self.model(repo) / f"{_INCOMING}{commit}"

    def in_use(self, repo: str) -> str | None:
        """Return the commit that `current` names, None if there is none."""
        try:
            name = str((self.model(repo) / CURRENT).readlink())
        except OSError:
            # Missing, or no link: whoever sets it learns why.
            return None
        return name if is_commit(name) else None

    def use(self, repo: str, commit: str) -> bool:
        """Make `current` name a revision, in one step; return whether it named another. Raise CannotWrite."""
        if self.in_use(repo) == commit:
            return False
        link = self.model(repo) / CURRENT
        temporary = link.with_name(f".{CURRENT}.tmp")
        try:
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(commit)
            temporary.replace(link)
            files.sync_folder(link.parent)
        except OSError as error:
            raise files.translate(error, link) from error
        return True

    @contextlib.contextmanager
    def locked(self, repo: str, tell: Callable[[], None]) -> Iterator[None]:
        """Let one process at a time change a repository's folder; `tell` is called if this one waits."""
        path = self.model(repo) / _LOCK
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise files.translate(error, path) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def installed(self, repo: str | None = None) -> list[Installed]:
        """Return all that is here, of one repository or of every one, by name and then newest first."""
        found = []
        for name in [folder_name(repo)] if repo else _names(self.root):
            known = repo_of(name)
            if known is None:
                continue
            in_use = self.in_use(known)
            of_this = [
                self._look(known, commit, current=commit == in_use)
                for commit in _names(self.root / name)
                if is_commit(commit)
            ]
            found += sorted(of_this, key=_age, reverse=True)
        return found

    def _look(self, repo: str, commit: str, *, current: bool) -> Installed:
        folder = self.revision(repo, commit)
        manifest: Manifest | None = None
        try:
            manifest = self.manifest(repo, commit)
            problem = None if manifest is not None else f"{MANIFEST} is missing"
        except WeightsDamaged as error:
            problem = str(error.facts["reason"])
        if manifest is not None:
            problem = next((why for one in manifest.files if (why := wrong_size(folder, one))), None)
        return Installed(repo, commit, folder, current, manifest, problem)

    def manifest(self, repo: str, commit: str) -> Manifest | None:
        """Return what a revision's folder holds, None if there is no manifest. Raise WeightsDamaged."""
        path = self.revision(repo, commit) / MANIFEST
        try:
            found = manifest_of(json.loads(path.read_bytes()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CannotRead(path=path, reason=error.strerror or str(error)) from error
        except (ValueError, RecursionError) as error:
            reason = f"it cannot be read as a manifest ({error})"
            raise WeightsDamaged(path=path, reason=reason, repo=repo, revision=commit) from error
        if (found.repo, found.revision) != (repo, commit):
            reason = f"it is that of {found.repo} at {found.revision}"
            raise WeightsDamaged(path=path, reason=reason, repo=repo, revision=commit)
        return found

    def leftovers(self) -> list[Leftover]:
        """Return what stopped fetches and removals left, of every repository."""
        found = []
        for name in _names(self.root):
            repo = repo_of(name)
            for entry in _names(self.root / name) if repo else []:
                if repo and entry.startswith((_INCOMING, _REMOVED)):
                    folder = self.root / name / entry
                    found.append(Leftover(repo, folder, _size(folder)))
        return found

    def problems(self, one: Installed, tell: Callable[[str, int], None]) -> list[str]:
        """Given a revision, return what is wrong with it, having read every byte; `tell` hears how many."""
        if one.manifest is None:
            return [one.problem or f"{MANIFEST} is missing"]
        found = []
        for kept in one.manifest.files:
            problem = wrong_hash(one.folder, kept, partial(tell, kept.path))
            found += [problem] if problem else []
        return found

    def prune(self, keep: int) -> tuple[list[Installed], list[Leftover], list[str]]:
        """Remove old revisions and leftovers; return them, and the repositories that are being fetched."""
        old: list[Installed] = []
        left: list[Leftover] = []
        busy = []
        for repo in sorted({repo for name in _names(self.root) if (repo := repo_of(name))}):
            try:
                with self.locked(repo, _give_up):
                    mine = to_prune(self.installed(repo), keep)
                    rest = [one for one in self.leftovers() if one.repo == repo]
                    for folder in [*(one.folder for one in mine), *(one.folder for one in rest)]:
                        self.remove(folder)
            except _BusyError:
                busy.append(repo)
                continue
            old, left = old + mine, left + rest
        return old, left, busy

    def remove(self, folder: Path) -> None:
        """Remove a revision's folder, or a leftover. Stopped at any moment, no half of it has its name."""
        try:
            away = folder
            if not folder.name.startswith("."):
                away = folder.with_name(f"{_REMOVED}{folder.name}")
                if away.exists():
                    shutil.rmtree(away)
                folder.replace(away)
            shutil.rmtree(away)
        except FileNotFoundError:
            # Another process removed it meanwhile.
            return
        except OSError as error:
            raise files.translate(error, folder) from error


class _BusyError(Exception):
    """Another process changes this repository's folder."""


def _give_up() -> None:
    raise _BusyError


def to_prune(found: Sequence[Installed], keep: int) -> list[Installed]:
    """Given what is here and how many are kept beside the one in use, return the old ones.

    A repository that has none in use keeps one more. What is damaged counts as oldest.
    """
    old: list[Installed] = []
    for repo in sorted({one.repo for one in found}):
        mine = [one for one in found if one.repo == repo]
        others = sorted((one for one in mine if not one.current), key=_age, reverse=True)
        old += others[keep if len(others) < len(mine) else keep + 1 :]
    return old


def _age(one: Installed) -> tuple[bool, str, str]:
    return (one.problem is None, one.manifest.fetched_at if one.manifest else "", one.revision)


def wrong_size(folder: Path, kept: KeptFile) -> str | None:
    """Given a folder and a file of its manifest, return what is wrong at first sight, None if nothing."""
    try:
        found = (folder / kept.path).lstat()
    except OSError as error:
        return f"{kept.path}: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return f"{kept.path} is no plain file"
    return None if found.st_size == kept.size else f"{kept.path} has {found.st_size} bytes, not {kept.size}"


def wrong_hash(folder: Path, kept: KeptFile, tell: Callable[[int], None]) -> str | None:
    """As `wrong_size`, having read every byte; `tell` hears how many were read."""
    problem = wrong_size(folder, kept)
    if problem is not None:
        return problem
    hashed = hashlib.sha256()
    try:
        with (folder / kept.path).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                hashed.update(chunk)
                tell(len(chunk))
    except OSError as error:
        return f"{kept.path}: {error.strerror}"
    found = hashed.hexdigest()
    return None if found == kept.sha256 else f"the SHA-256 of {kept.path} is {found}, not {kept.sha256}"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CannotRead(path=folder, reason=error.strerror or str(error)) from error


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
