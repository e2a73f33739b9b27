"""Models' weights: what of a repository on the hub is wanted, and what a whole copy of it is.

Nothing here asks the hub or writes a file. A listing comes from whoever owns the repository: its names
are untrusted, and files that run code when they are loaded (pickles) are never taken.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from maw.errors import Misuse, UnsafeWeights, WeightsTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MANIFEST = "MANIFEST.json"
SCHEMA = "maw.weights-manifest/1"
GIGABYTE = 1_000_000_000
WANTED = ("*.safetensors", "*.json", "tokenizer*", "LICENSE*", "*.txt", "*.model")
# What a chosen file brings along: the terms under which it may be used.
_TERMS = ("LICENSE*", "USE_POLICY*", "NOTICE*")
# A tokenizer's or a licence's name says nothing of what is inside; these endings do.
_DATA = frozenset({".safetensors", ".gguf", ".json", ".txt", ".model", ".md", ".jinja", ".tiktoken", ""})
_CODE = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5"})
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_REPO = re.compile(rf"(?:{_WORD}/)?{_WORD}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,199}")
_DEEPEST = 8
# Of what is free, this much stays so.
_SPARE = 0.01


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub lists it: `sha256` for what is in LFS, `blob` (git's SHA-1) for the rest."""

    path: str
    size: int
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True)
class Listing:
    """What the hub says of one commit of a repository."""

    repo: str
    commit: str
    licence: str | None
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Skipped:
    """A file that is not taken, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Chosen:
    """What is taken of a listing, and what is not."""

    files: tuple[RemoteFile, ...]
    skipped: tuple[Skipped, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files)


@dataclass(frozen=True)
class KeptFile:
    """A file of a manifest."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a whole copy holds. What is not in it does not belong to the copy."""

    repo: str
    revision: str
    licence: str | None
    fetched_at: str
    # Whether all that is wanted without names is in it; else it holds files that were named.
    whole: bool
    files: tuple[KeptFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files)

    def covers(self, named: Sequence[str]) -> bool:
        """Given the files that were named (none means all that is wanted), return whether it has them."""
        return set(named) <= {one.path for one in self.files} if named else self.whole

    def as_json(self) -> dict[str, Any]:
        """Return it as MANIFEST.json holds it."""
        return {"schema": SCHEMA, **asdict(self)}


def manifest_of(value: Any) -> Manifest:
    """Given the content of a MANIFEST.json, return the manifest. Raise ValueError if it is none."""
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise ValueError(f"it is not of the form {SCHEMA}")
    texts = [value.get(name) for name in ("repo", "revision", "fetched_at")]
    repo, revision, fetched_at = (one if isinstance(one, str) else "" for one in texts)
    if not is_repo(repo) or not is_commit(revision):
        raise ValueError("it names no repository or no commit")
    licence, listed, whole = value.get("licence"), value.get("files"), value.get("whole", True)
    if not isinstance(listed, list) or not listed or not isinstance(licence, str | None):
        raise ValueError("it lists no files")
    return Manifest(repo, revision, licence, fetched_at, bool(whole), tuple(_kept(one) for one in listed))


def _kept(value: Any) -> KeptFile:
    given = value if isinstance(value, dict) else {}
    path, size, sha256 = given.get("path"), given.get("size"), given.get("sha256")
    if not isinstance(path, str) or not is_safe(path) or type(size) is not int or size < 0:
        raise ValueError("it lists a file with a name or a size that cannot be")
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"the hash of {path} is none")
    return KeptFile(path, size, sha256)


def is_commit(text: str) -> bool:
    """Given a revision, return whether it is a whole commit, which never changes."""
    return _COMMIT.fullmatch(text) is not None


def is_repo(text: str) -> bool:
    """Given the name of a repository, return whether the hub could have it."""
    return len(text) <= 96 and _REPO.fullmatch(text) is not None and "--" not in text and ".." not in text


def check_repo(repo: str) -> None:
    """Given what was named as a repository, raise Misuse if it is no name of one."""
    if not is_repo(repo):
        raise Misuse(
            reason=f"{repo!r} is no name of a model. Give it as on the hub: OWNER/NAME, for example "
            "google/t5gemma-2-270m-270m."
        )


def folder_name(repo: str) -> str:
    """Given a repository, return the name of its folder: `--` is in no repository's name."""
    return repo.replace("/", "--")


def repo_of(folder: str) -> str | None:
    """Given the name of a folder, return its repository, None if it is not one of ours."""
    repo = folder.replace("--", "/")
    return repo if is_repo(repo) and folder_name(repo) == folder else None


def is_safe(path: str) -> bool:
    """Given a path of a listing, return whether it stays in its folder and is plain everywhere."""
    parts = path.split("/")
    return len(parts) <= _DEEPEST and all(_PART.fullmatch(part) for part in parts) and path != MANIFEST


def choose(listing: Listing, named: Sequence[str] = ()) -> Chosen:
    """Given a listing and files that were named, return what is taken of it.

    Without names: safetensors, configuration, tokenizer and licence. With names: these, and the licence.
    Raise UnsafeWeights if what is wanted has a hostile name or runs code; Misuse if a named file is not
    there, or if files must be named because the repository has many that are each a whole model.
    """
    there = {one.path: one for one in listing.files}
    for name in named:
        _check_named(name, there)
    files, skipped = [], []
    for one in listing.files:
        wanted = one.path in named or _matches(one.path, _TERMS if named else WANTED)
        reason = _why_not(one.path) if wanted or _is_code(one.path) else "not asked for"
        if reason is None:
            files.append(one)
        else:
            skipped.append(Skipped(one.path, reason))
    _check_names(listing.repo, files)
    chosen = Chosen(tuple(sorted(files, key=lambda one: one.path)), tuple(skipped))
    if not any(one.path.endswith((".safetensors", ".gguf")) or one.path in named for one in chosen.files):
        raise _no_weights(listing)
    return chosen


def _check_named(name: str, there: Mapping[str, RemoteFile]) -> None:
    if _is_code(name):
        raise Misuse(reason=f"{name} is refused: {_CODE_REASON}. Name a .safetensors or .gguf file.")
    if name not in there:
        same = [path for path in there if PurePosixPath(path).suffix == PurePosixPath(name).suffix]
        listed = ", ".join(sorted(same)[:20]) or "none of that kind"
        raise Misuse(reason=f"There is no file {name} in that revision. There is: {listed}.")
    if PurePosixPath(name).suffix.lower() not in _DATA:
        raise Misuse(reason=f"{name} is refused: only data is fetched. Name a .safetensors or .gguf file.")


_CODE_REASON = "loading such a file may run code that is inside it (pickle)"


def _is_code(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in _CODE


def _why_not(path: str) -> str | None:
    if _is_code(path):
        return _CODE_REASON
    if PurePosixPath(path).suffix.lower() not in _DATA:
        return "it is no kind of data that maw takes"
    return f"{MANIFEST} is maw's own name" if path == MANIFEST else None


def _matches(path: str, patterns: Iterable[str]) -> bool:
    name = path.rpartition("/")[2]
    hidden = any(part.startswith(".") and part.strip(".") for part in path.split("/"))
    return not hidden and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _check_names(repo: str, files: Sequence[RemoteFile]) -> None:
    step = "Do not use that repository, or tell its owner"
    seen: dict[str, str] = {}
    for one in files:
        if not is_safe(one.path):
            reason = f"it holds a file whose name does not stay in its folder or is not plain: {one.path!r}"
            raise UnsafeWeights(repo=repo, reason=reason, step=step)
        folded = one.path.casefold()
        if folded in seen:
            reason = f"two of its files are one where case does not count: {seen[folded]}, {one.path}"
            raise UnsafeWeights(repo=repo, reason=reason, step=step)
        seen[folded] = one.path
    for one in files:
        for parent in list(PurePosixPath(one.path.casefold()).parents)[:-1]:
            if str(parent) in seen:
                reason = f"{seen[str(parent)]} is both a file and the folder of {one.path}"
                raise UnsafeWeights(repo=repo, reason=reason, step=step)


def _no_weights(listing: Listing) -> Exception:
    models = sorted(one.path for one in listing.files if one.path.endswith(".gguf"))
    if models:
        shown = ", ".join(models[:20])
        return Misuse(reason=f"{listing.repo} has models to choose from. Name one with --file: {shown}.")
    code = sorted(one.path for one in listing.files if _is_code(one.path))
    if code:
        reason = f"it has weights only in a form that may run code when loaded: {', '.join(code[:5])}"
        step = "Look for a conversion to safetensors, often a branch refs/pr/N of the same repository"
        return UnsafeWeights(repo=listing.repo, reason=reason, step=step)
    step = "Check the name, and that it is a model and no dataset"
    return UnsafeWeights(repo=listing.repo, reason="it has no .safetensors and no .gguf file", step=step)


def check_size(repo: str, chosen: Chosen, *, missing: int, free: int, largest: int, folder: object) -> None:
    """Given what is chosen, the bytes that are missing of it and free here, raise WeightsTooLarge if need be.

    `largest` is the setting's limit in bytes.
    """
    if chosen.size > largest:
        raise WeightsTooLarge(
            repo=repo,
            needed=gigabytes(chosen.size),
            reason=f"at most {gigabytes(largest)} are allowed",
            step="Choose a smaller one, name single files with --file, or raise weights.largest_gigabytes "
            "in maw.toml",
        )
    usable = int(free * (1 - _SPARE))
    if missing > usable:
        raise WeightsTooLarge(
            repo=repo,
            needed=gigabytes(missing),
            reason=f"only {gigabytes(usable)} are free for {folder}",
            step="Free some space (`maw weights prune` removes old revisions), or set weights.folder in "
            "maw.toml to a larger disk. Nothing was fetched",
        )


def gigabytes(size: int) -> str:
    """Given bytes, return them for people, in decimal units as the hub shows them."""
    for unit, scale in (("GB", GIGABYTE), ("MB", 1_000_000), ("kB", 1000)):
        if size >= scale:
            return f"{size / scale:.2f} {unit}"
    return f"{size} bytes"
