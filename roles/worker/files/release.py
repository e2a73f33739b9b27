"""Makes the release archive of maw: the package's files, sorted, without times and owners, and a manifest.

The same files and the same virtual environment give the same bytes, and the archive is known by their hash.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import os
import re
import sys
import tarfile
import tempfile
from pathlib import Path

MANIFEST = "MANIFEST.json"
# What Python and editors leave beside the files.
NOT_PART = re.compile(r"(^|/)(__pycache__|\.[^/]*)(/|$)|\.py[co]$|~$|^#")
# A whole number of seconds that every file system can hold.
TIME = 315532800


def main() -> None:
    """Print what the release is as JSON; with --into, write its archive as well."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--package", type=Path, help="folder of the package; without it the maw of this Python"
    )
    parser.add_argument("--beside", type=Path, help="where the package is if this Python has none")
    parser.add_argument("--venv", required=True)
    parser.add_argument("--content", type=Path, help="folder of playbooks and roles, to bring them along")
    parser.add_argument("--into", type=Path)
    chosen = parser.parse_args()
    package = find(chosen.package, chosen.beside)
    archive, version = build(package, chosen.venv, chosen.content)
    name = hashlib.sha256(archive).hexdigest()
    path = None
    if chosen.into is not None:
        path = chosen.into / f"{name}.tar"
        write(path, archive)
    print(json.dumps({"hash": name, "version": version, "path": str(path), "package": str(package)}))


def find(given: Path | None, beside: Path | None) -> Path:
    """Given where the package may be, return its folder."""
    spec = importlib.util.find_spec("maw")
    own = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    for path in (given,) if given is not None else (own, beside):
        if path is not None and (path / "offload" / "worker.py").is_file():
            return path.resolve()
    sys.exit(
        f"There is no package maw in {given or beside or sys.executable}. Run the playbook with the Python"
        " that has maw, or name the package's folder with -e worker_source=FOLDER."
    )


def build(package: Path, venv: str, content: Path | None = None) -> tuple[bytes, str]:
    """Given the package's folder and its virtual environment's name, return the archive and maw's version.

    With `content`, playbooks and roles are brought too, where an installed maw looks for them.
    """
    contents = {f"maw/{name}": (package / name).read_bytes() for name in files(package)}
    for part in ("playbooks", "roles") if content is not None else ():
        place = f"maw/provision/content/{part}"
        contents |= {
            f"{place}/{name}": (content / part / name).read_bytes() for name in files(content / part)
        }
    if content is not None:
        contents["maw/provision/content/requirements.yml"] = (content / "requirements.yml").read_bytes()
    init = contents["maw/__init__.py"].decode("utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', init, re.MULTILINE)
    version = found[1] if found else "unknown"
    manifest = {
        "version": version,
        "venv": venv,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    contents[MANIFEST] = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(contents):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(contents[name]), TIME, 0o644
            tar.addfile(member, io.BytesIO(contents[name]))
    return stream.getvalue(), version


def files(package: Path) -> list[str]:
    """Given the package's folder, return the names of its files, sorted."""
    names = (str(path.relative_to(package)) for path in package.rglob("*") if path.is_file())
    return sorted(name for name in names if not NOT_PART.search(name))


def write(path: Path, content: bytes) -> None:
    """Given a path and its content, write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
    for other in path.parent.glob("*.tar"):
        if other != path and other.stat().st_mtime < path.stat().st_mtime - 86400:
            other.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
