"""Installs a release of maw on this machine: unpack beside, check, compile, switch, prune.

At any moment the link `current` names a release that is whole. The one that was current before
is kept, and so are the virtual environments that these two use.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path

MANIFEST = "MANIFEST.json"
HASH = re.compile(r"[0-9a-f]{64}")
VENV = re.compile(r"venv-[0-9a-f]{12}")
NAME = re.compile(r"maw/([A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.@-]*")


class DamagedError(Exception):
    """What came is not the release that was announced."""


def main() -> None:
    """Install the release that the command line names, and print what changed as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--hash", required=True)
    chosen = parser.parse_args()
    try:
        install(chosen.root, chosen.archive, chosen.hash)
    except DamagedError as error:
        sys.exit(f"{chosen.archive.name} is damaged: {error}. Nothing was switched. Run the role again.")
    print(json.dumps({"current": chosen.hash, "pruned": prune(chosen.root)}))


def install(root: Path, archive: Path, name: str) -> None:
    """Given the root, an archive and its hash, make it the current release. Raise DamagedError."""
    if not HASH.fullmatch(name) or _sha256(archive) != name:
        raise DamagedError("its hash is another one")
    releases = root / "releases"
    releases.mkdir(mode=0o755, exist_ok=True)
    _forget_unfinished(releases)
    beside = releases / f".new-{name}"
    beside.mkdir(mode=0o755)
    _unpack(archive, beside)
    manifest = check(beside)
    (beside / "venv").symlink_to(f"../../{manifest['venv']}")
    if not (beside / "venv" / ".complete").is_file():
        raise DamagedError(f"there is no {manifest['venv']}, which it needs")
    # The service cannot write there, so what Python would compile at each start is compiled now.
    place = releases / name
    compileall.compile_dir(beside, quiet=2, stripdir=str(beside), prependdir=str(place))
    _sync(beside)
    if place.exists():
        # A release of that name that is not whole: the role comes here for no other.
        place.rename(releases / f".old-{name}")
    beside.rename(place)
    _sync_folder(releases)
    _forget_unfinished(releases)
    switch(root, name)


def _forget_unfinished(releases: Path) -> None:
    for path in releases.glob(".*-*"):
        shutil.rmtree(path)


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            if not member.isreg() or not (member.name == MANIFEST or NAME.fullmatch(member.name)):
                raise DamagedError(f"it holds {member.name!r}")
            path = folder / member.name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            stream = tar.extractfile(member)
            assert stream is not None
            with stream, path.open("xb") as file:
                shutil.copyfileobj(stream, file)
            path.chmod(0o644)
            os.utime(path, (member.mtime, member.mtime))


def check(folder: Path) -> dict:
    """Given the folder of a release, return its manifest if every file is as it says. Raise DamagedError."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        expected, venv = dict(manifest["files"]), manifest["venv"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError("it has no manifest that can be read") from error
    if not isinstance(venv, str) or not VENV.fullmatch(venv):
        raise DamagedError(f"its manifest names {venv!r} as its virtual environment")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    if found != {MANIFEST, *expected}:
        raise DamagedError(
            f"it has other files than its manifest: {sorted(found ^ {MANIFEST, *expected})[:3]}"
        )
    for name, value in expected.items():
        if _sha256(folder / name) != value:
            raise DamagedError(f"{name} is not what its manifest says")
    return manifest


def switch(root: Path, name: str) -> None:
    """Given the root and a release, make it the current one, and remember the one before."""
    current = root / "current"
    before = current.readlink().name if current.is_symlink() else None
    if before == name:
        return
    if before is not None and (root / "releases" / before).is_dir():
        _link(root / "previous", before)
    _link(current, name)
    _sync_folder(root)


def _link(path: Path, name: str) -> None:
    beside = path.with_name(f".{path.name}-new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(f"releases/{name}")
    beside.replace(path)


def prune(root: Path) -> list[str]:
    """Given the root, remove every release and environment but those of the current and the previous one."""
    kept = {path.readlink().name for path in (root / "current", root / "previous") if path.is_symlink()}
    environments = {(root / "releases" / name / "venv").readlink().name for name in kept}
    gone = [path for path in (root / "releases").iterdir() if path.name not in kept]
    gone += [path for path in root.glob("venv-*") if path.name not in environments]
    for path in gone:
        shutil.rmtree(path)
    return sorted(path.name for path in gone)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir() and not path.is_symlink():
            _sync_folder(path)
        elif path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
