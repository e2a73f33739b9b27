"""Getting a model's weights: fetched beside, checked byte for byte, and put into place whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from maw import files
from maw.errors import CannotRead, Misuse, WeightsDamaged, WeightsTooLarge
from maw.models.weights import (
    MANIFEST,
    Chosen,
    KeptFile,
    Listing,
    Manifest,
    RemoteFile,
    Skipped,
    check_repo,
    check_size,
    choose,
    gigabytes,
    is_commit,
)
from maw.models.weights_store import wrong_hash, wrong_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from maw.models.weights_hub import Hub
    from maw.models.weights_store import Store

_PART = ".part"
_CHUNK = 1 << 22


class Progress:
    """What is told while a fetch goes on; this one keeps silent."""

    def begin(self, total: int) -> None:
        """So many bytes are to come."""

    def at(self, path: str, size: int) -> None:
        """So many more bytes of a file are here (fewer, if it begins anew)."""

    def waits(self) -> None:
        """Another process fetches the same model; this one waits for it."""


@dataclass(frozen=True)
class Request:
    """What to fetch. `named` are single files; without, all that a model needs."""

    repo: str
    revision: str | None = None
    named: tuple[str, ...] = ()
    verify: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a request. `missing` are the files that were fetched, or would be."""

    repo: str
    revision: str
    licence: str | None
    folder: Path
    changed: bool
    files: tuple[KeptFile | RemoteFile, ...]
    missing: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    free: int | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files)


def fetch(
    open_hub: Callable[[], Hub], store: Store, request: Request, progress: Progress, *, largest: int
) -> Outcome:
    """Given a request, have the model here, whole and in use; return what was done.

    The hub is opened only when it is needed: a commit that is here already needs none. `largest` is the
    most bytes of a model. Raise Misuse, WeightsError or FileError; what has arrived is then kept for the
    next run.
    """
    check_repo(request.repo)
    done = _already(store, request)
    if done is not None:
        return done
    hub = open_hub()
    listing = hub.look(request.repo, request.revision)
    chosen = choose(listing, request.named)
    good = _good(store, listing, chosen, verify=request.verify)
    missing = _missing(chosen, good)
    space = _existing(store.root)
    free = shutil.disk_usage(space).free
    there = _bytes_there(store.incoming(listing.repo, listing.commit), missing)
    wanted = sum(one.size for one in missing) - there
    if missing:
        hub.check_access(listing, max(missing, key=lambda one: one.size).path)
    check_size(listing.repo, chosen, missing=wanted, free=free, largest=largest, folder=store.root)
    folder = store.revision(listing.repo, listing.commit)
    outcome = Outcome(
        listing.repo,
        listing.commit,
        listing.licence,
        folder,
        changed=bool(missing) or store.in_use(listing.repo) != listing.commit,
        files=chosen.files,
        missing=tuple(one.path for one in missing),
        skipped=chosen.skipped,
        free=free,
    )
    if request.dry_run:
        return outcome
    return _install(hub, store, request, listing, chosen, progress, outcome)


def _already(store: Store, request: Request) -> Outcome | None:
    """Return the outcome if a commit was asked for that is here already, None if the hub must be asked."""
    commit = request.revision or ""
    if not is_commit(commit) or request.verify:
        return None
    found = next((one for one in store.installed(request.repo) if one.revision == commit), None)
    if found is None or found.manifest is None or found.problem or not found.manifest.covers(request.named):
        return None
    other = store.in_use(request.repo) != commit
    if other and not request.dry_run:
        with store.locked(request.repo, lambda: None):
            store.use(request.repo, commit)
    kept = found.manifest
    return Outcome(kept.repo, commit, kept.licence, found.folder, changed=other, files=kept.files)


def _install(
    hub: Hub,
    store: Store,
    request: Request,
    listing: Listing,
    chosen: Chosen,
    progress: Progress,
    outcome: Outcome,
) -> Outcome:
    with store.locked(listing.repo, progress.waits):
        # Another process may have fetched it while this one waited.
        good = _good(store, listing, chosen, verify=request.verify)
        missing = _missing(chosen, good)
        incoming = store.incoming(listing.repo, listing.commit)
        progress.begin(sum(one.size for one in missing))
        got = dict(good)
        for one in missing:
            got[one.path] = _obtain(hub, listing, one, incoming, progress)
        old = _old_manifest(store, listing)
        manifest = _manifest(listing, chosen, got, old, whole=not request.named)
        changed = bool(missing) or old is None or old.files != manifest.files or old.whole != manifest.whole
        if changed:
            _put_in_place(store, listing, manifest, [one.path for one in missing])
        changed = store.use(listing.repo, listing.commit) or changed
    paths = tuple(one.path for one in missing)
    return replace(outcome, changed=changed, files=manifest.files, missing=paths)


def _good(store: Store, listing: Listing, chosen: Chosen, *, verify: bool) -> dict[str, KeptFile]:
    """Return the chosen files that are in the revision's folder already and right."""
    old = _old_manifest(store, listing)
    known = {one.path: one for one in old.files} if old is not None else {}
    folder = store.revision(listing.repo, listing.commit)
    good = {}
    for one in chosen.files:
        kept = known.get(one.path)
        if kept is None or kept.size != one.size or one.sha256 not in (None, kept.sha256):
            continue
        problem = wrong_hash(folder, kept, lambda _: None) if verify else wrong_size(folder, kept)
        if problem is None:
            good[one.path] = kept
    return good


def _old_manifest(store: Store, listing: Listing) -> Manifest | None:
    try:
        return store.manifest(listing.repo, listing.commit)
    except WeightsDamaged:
        # What it names is not to be trusted: all is fetched anew, and it is replaced.
        return None


def _missing(chosen: Chosen, good: dict[str, KeptFile]) -> tuple[RemoteFile, ...]:
    return tuple(one for one in chosen.files if one.path not in good)


def _manifest(
    listing: Listing, chosen: Chosen, got: dict[str, KeptFile], old: Manifest | None, *, whole: bool
) -> Manifest:
    """What was here of the same commit and was not asked for now stays."""
    more = [one for one in old.files if one.path not in got] if old is not None else []
    kept = sorted([*(got[one.path] for one in chosen.files), *more], key=lambda one: one.path)
    whole = whole or (old is not None and old.whole)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Manifest(listing.repo, listing.commit, listing.licence, now, whole, tuple(kept))


def _put_in_place(store: Store, listing: Listing, manifest: Manifest, fetched: Sequence[str]) -> None:
    """Move what was fetched into the revision's folder: whole if it is new, else file by file."""
    incoming = store.incoming(listing.repo, listing.commit)
    folder = store.revision(listing.repo, listing.commit)
    text = json.dumps(manifest.as_json(), indent=1, ensure_ascii=False) + "\n"
    try:
        if not folder.exists():
            _clear(incoming, {one.path for one in manifest.files})
            files.write_atomically(incoming / MANIFEST, text)
            for path in (incoming, *(one for one in incoming.rglob("*") if one.is_dir())):
                files.sync_folder(path)
            incoming.replace(folder)
            files.sync_folder(folder.parent)
            return
        for name in fetched:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (incoming / name).replace(folder / name)
            files.sync_folder((folder / name).parent)
        files.write_atomically(folder / MANIFEST, text)
        if incoming.exists():
            store.remove(incoming)
    except OSError as error:
        raise files.translate(error, folder) from error


def _clear(incoming: Path, wanted: set[str]) -> None:
    """Remove what a stopped fetch of other files left."""
    for path in sorted(incoming.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif not path.is_dir() and str(path.relative_to(incoming)) not in wanted:
            path.unlink()


class _Hash:
    """What the hub knows a file by: SHA-256, or git's SHA-1 of what is not in LFS."""

    def __init__(self, file: RemoteFile) -> None:
        self._sha256 = hashlib.sha256()
        self._blob = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        self._file = file
        self.size = 0

    def update(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._sha256.update(chunk)
        if self._file.sha256 is None:
            self._blob.update(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def problem(self) -> str | None:
        """Why this is not the file of the listing, None if it is."""
        file = self._file
        if self.size != file.size:
            return f"it has {self.size} bytes, and the hub lists {file.size}"
        if file.sha256 not in (None, self.sha256):
            return f"its SHA-256 is {self.sha256}, and the hub lists {file.sha256}"
        if file.sha256 is None and file.blob not in (None, self._blob.hexdigest()):
            return f"its hash in git is {self._blob.hexdigest()}, and the hub lists {file.blob}"
        return None


def _obtain(hub: Hub, listing: Listing, file: RemoteFile, incoming: Path, progress: Progress) -> KeptFile:
    """Have one file in the folder of what comes in; what an earlier run left of it is gone on with."""
    place = incoming / file.path
    part = place.with_name(place.name + _PART)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_file():
            # Of a run that was stopped; it is read again like a part.
            place.replace(part)
        resumed = part.exists() and part.stat().st_size > 0
        found = _load(hub, listing, file, part, progress)
        if found.problem and resumed:
            # The damage may be in what the earlier run left.
            progress.at(file.path, -found.size)
            part.unlink()
            found = _load(hub, listing, file, part, progress)
        if found.problem:
            part.unlink()
            raise WeightsDamaged(
                path=f"{listing.repo}/{file.path}",
                reason=f"{found.problem}; it was not kept",
                repo=listing.repo,
                revision=listing.commit,
            )
        part.replace(place)
        files.sync_folder(place.parent)
    except OSError as error:
        if error.errno in files.NO_SPACE:
            raise WeightsTooLarge(
                repo=listing.repo,
                needed=gigabytes(file.size),
                reason=f"the disk of {incoming.parent} became full",
                step="What has arrived is kept; free some space and run the same command again",
            ) from error
        raise files.translate(error, place) from error
    return KeptFile(file.path, file.size, found.sha256)


def _load(hub: Hub, listing: Listing, file: RemoteFile, part: Path, progress: Progress) -> _Hash:
    with part.open("ab+") as stream:
        if os.fstat(stream.fileno()).st_size > file.size:
            stream.truncate(0)
        hashed = _Hash(file)
        stream.seek(0)
        while chunk := stream.read(_CHUNK):
            hashed.update(chunk)
            progress.at(file.path, len(chunk))
        for offset, chunk in hub.read(listing, file, hashed.size):
            if offset != hashed.size:
                progress.at(file.path, -hashed.size)
                stream.truncate(offset)
                hashed = _Hash(file)
            stream.write(chunk)
            hashed.update(chunk)
            progress.at(file.path, len(chunk))
            if hashed.size > file.size:
                break
        stream.flush()
        os.fsync(stream.fileno())
    return hashed


def _bytes_there(incoming: Path, missing: Sequence[RemoteFile]) -> int:
    total = 0
    for one in missing:
        for path in (incoming / one.path, incoming / f"{one.path}{_PART}"):
            if path.is_file():
                total += min(path.stat().st_size, one.size)
    return total


def _existing(folder: Path) -> Path:
    """Return the nearest folder upwards that exists: a file system can be asked only there."""
    for path in (folder, *folder.parents):
        if path.is_dir():
            if not os.access(path, os.W_OK | os.X_OK):
                raise Misuse(reason=f"{path} may not be written to. Set weights.folder in maw.toml.")
            return path
    raise CannotRead(path=folder, reason="no folder above it exists")
