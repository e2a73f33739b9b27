"""The core's side of the worker's packages: what a satellite needs, and the wheels for it.

`plan` only says what is needed. `collect` sees that the workspace's cache has every wheel for the
satellite's own Python, each with a hash of the lock, and packs them into one file to copy.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

HERE = Path(__file__).resolve().parent
LOCKS = {"base": "requirements.txt", "satellite": "requirements-satellite.txt"}
TORCH = "requirements-torch.txt"
KNOWN_HASHES = "manifest.json"
# The oldest C library that wheels for a machine name: pip takes each of them as a platform of its own.
OLDEST_GLIBC = {"x86_64": 5, "i686": 5}
OTHERS_OLDEST_GLIBC = 17


@dataclass(frozen=True)
class Package:
    """One package of a lock; `hashes` is empty for torch, whose hash the core keeps itself."""

    name: str
    version: str
    hashes: frozenset[str]


def main() -> None:
    """Do what the command line says, and print the outcome as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["plan", "collect"])
    parser.add_argument("--extra", action="append", default=[])
    parser.add_argument("--lock", type=Path, help="the lock file of another role")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--torch-index", default="")
    parser.add_argument("--only-torch", action="store_true", help="the rest comes from an index")
    chosen = parser.parse_args()
    look = json.load(sys.stdin)
    lock = LOCKS["satellite" if "satellite" in chosen.extra else "base"]
    if chosen.lock is not None:
        lock = str(chosen.lock.resolve())
    plan = {
        "venv": venv_name(lock, look),
        "lock": lock,
        "torch": "satellite" in chosen.extra,
        "tag": tag(look),
    }
    if chosen.what == "collect":
        plan |= collect(chosen, look, plan)
    print(json.dumps(plan))


def venv_name(lock: str, look: dict) -> str:
    """Given a lock and the look of a satellite, return the name of its virtual environment."""
    digest = hashlib.sha256()
    for name in (lock, TORCH) if lock == LOCKS["satellite"] else (lock,):
        digest.update((HERE / name).read_bytes())
    digest.update(f"{look['markers']['python_version']} {look['machine']}".encode())
    return f"venv-{digest.hexdigest()[:12]}"


def tag(look: dict) -> str:
    """Given the look of a satellite, return the name of the folder of its wheels."""
    library = f"glibc{look['glibc']}" if look["glibc"] else "other"
    return f"cp{look['markers']['python_version'].replace('.', '')}-{library}-{look['machine']}"


def packages(lock: str, look: dict) -> list[Package]:
    """Given a lock and the look of a satellite, return the packages that it asks for there."""
    text = (HERE / lock).read_text("utf-8").replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
        requirement = Requirement(line.split(" --hash", 1)[0].strip())
        # pip evaluates markers for the Python that it runs with, not for the one it downloads for.
        if requirement.marker is None or requirement.marker.evaluate(look["markers"]):
            (specifier,) = requirement.specifier
            found.append(Package(canonicalize_name(requirement.name), specifier.version, hashes))
    return found


def collect(chosen: argparse.Namespace, look: dict, plan: dict) -> dict:
    """Given the choices, the look of a satellite and the plan, return the archive of its wheels."""
    if look["markers"]["implementation_name"] != "cpython" or not look["glibc"]:
        sys.exit(
            "The core can only fetch wheels for CPython with glibc. Let the machine use an index itself"
            " (worker_wheels or core_wheels: online)."
        )
    cache = chosen.cache / "wheels"
    folder = cache / plan["tag"]
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [] if chosen.only_torch else packages(plan["lock"], look)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        paths = [_have(folder, package) for package in wanted]
        missing = [package for package, path in zip(wanted, paths, strict=True) if path is None]
        if missing:
            _download(folder, missing, look)
            paths = [_have(folder, package) for package in wanted]
        torch = _torch(cache, folder, chosen.torch_index, look) if plan["torch"] else None
        found = [path for path in [*paths, torch] if path is not None]
        archive = _pack(cache / f"{plan['tag']}-{plan['venv']}.tar", found)
    answer = {"archive": str(archive), "wheels": len(found), "downloaded": len(missing), "torch_line": ""}
    if torch is not None:
        name, version, *_ = parse_wheel_filename(torch.name)
        answer["torch_line"] = f"{name}=={version} --hash=sha256:{_sha256(torch)}"
    return answer


def _have(folder: Path, package: Package) -> Path | None:
    """Return the wheel of a package in a folder, None if it is not there. Exit if its hash is wrong."""
    for path in sorted(folder.glob("*.whl")):
        name, version, *_ = parse_wheel_filename(path.name)
        # A pin without a local version also names the builds that have one (2.13.0+cpu).
        if name == package.name and package.version in (str(version), version.public):
            if package.hashes and _sha256(path) not in package.hashes:
                _refuse(path, "the lock has")
            return path
    return None


def _refuse(path: Path, whose: str) -> None:
    sys.exit(
        f"{path} has another hash than {whose}: it is damaged, or somebody changed it. Nothing was copied."
        " Remove it, and run this again: it is fetched anew."
    )


def _download(folder: Path, missing: list[Package], look: dict) -> None:
    """Fetch the wheels of packages into a folder; each is there whole or not at all."""
    lines = [
        f"{one.name}=={one.version} {' '.join(f'--hash=sha256:{value}' for value in sorted(one.hashes))}\n"
        for one in missing
    ]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as beside:
        requirements = Path(beside) / "requirements.txt"
        requirements.write_text("".join(lines), "utf-8")
        _pip(["--require-hashes", "--requirement", str(requirements)], beside, look)
        _take_in(Path(beside), folder)


def _torch(cache: Path, folder: Path, index: str, look: dict) -> Path:
    """Return the wheel of torch, fetched if need be; its hash is the one that the core first saw."""
    (package,) = packages(TORCH, look)
    known_path = cache / KNOWN_HASHES
    known = json.loads(known_path.read_text("utf-8")) if known_path.exists() else {}
    path = _have(folder, package)
    if path is None:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as beside:
            source = ["--index-url", index] if index else []
            _pip([*source, f"{package.name}=={package.version}"], beside, look)
            _take_in(Path(beside), folder)
        path = _have(folder, package)
        assert path is not None
    value = _sha256(path)
    if known.setdefault(path.name, value) != value:
        _refuse(path, f"{known_path} has")
    _write(known_path, json.dumps(known, indent=1, sort_keys=True) + "\n")
    return path


def _take_in(beside: Path, folder: Path) -> None:
    for path in beside.glob("*.whl"):
        path.chmod(0o644)
        path.replace(folder / path.name)


def _pip(arguments: list[str], into: str, look: dict) -> None:
    """Run pip on the core for the Python of the satellite. Exit with the next step if it cannot."""
    python = look["markers"]["python_version"].replace(".", "")
    target = ["--implementation", "cp", "--python-version", python]
    for abi in (f"cp{python}", "abi3", "none"):
        target += ["--abi", abi]
    for platform in platforms(look):
        target += ["--platform", platform]
    argv = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
    ]
    argv += ["--only-binary=:all:", "--dest", into, *target, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        why = next(
            (line for line in reversed(said) if "ERROR" in line), said[-1] if said else "it did not say why"
        )
        sys.exit(
            f"pip on the core cannot fetch the wheels for the satellite: {why.strip()}. See that the core"
            " reaches a package index (pip's own configuration and proxy settings count) and has pip in this"
            f" Python ({sys.executable} -m ensurepip), or put the wheels into {Path(into).parent} by hand."
            " Then run this again."
        )


def platforms(look: dict) -> list[str]:
    """Given the look of a satellite, return the platforms whose wheels run there, the newest first."""
    major, minor = (int(part) for part in look["glibc"].split(".")[:2])
    oldest = OLDEST_GLIBC.get(look["machine"], OTHERS_OLDEST_GLIBC)
    found = [f"manylinux_{major}_{number}_{look['machine']}" for number in range(minor, oldest - 1, -1)]
    # What wheels were called before they were named after the C library.
    old = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    found += [f"{name}_{look['machine']}" for number, name in old.items() if oldest <= number <= minor]
    return [*found, f"linux_{look['machine']}"]


def _pack(archive: Path, paths: list[Path]) -> Path:
    beside = archive.with_name(f".new-{os.getpid()}-{archive.name}")
    with tarfile.open(beside, "w") as tar:
        for path in paths:
            tar.add(path, arcname=path.name)
    beside.replace(archive)
    return archive


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".new-{os.getpid()}-{path.name}")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
