"""The locks of the core: in step with the project, and nothing without a hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "roles" / "core" / "files"
LOCKS = ["requirements.txt", "requirements-oracle.txt", "requirements-llama.txt"]


def _entries(path: Path) -> list[str]:
    lines = path.read_text("utf-8").replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _pins(path: Path) -> set[tuple[str, str]]:
    found = (Requirement(line.split(" --hash")[0].strip()) for line in _entries(path))
    return {(one.name.lower().replace("_", "-"), str(one.specifier)) for one in found}


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_a_version_and_a_hash(name: str) -> None:
    for line in _entries(FILES / name):
        assert re.match(r"[a-z0-9][a-z0-9._-]*==", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line


def test_what_maw_needs_there_is_what_it_is_tested_with() -> None:
    tested = _pins(ROOT / "constraints.txt")
    pins = _pins(FILES / "requirements.txt")
    assert pins <= tested, "run: sh roles/core/files/lock.sh"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {Requirement(one).name.lower() for one in project["dependencies"]}
    assert wanted <= {name for name, _ in pins}


def test_what_both_name_is_the_same_for_the_oracle() -> None:
    tested = _pins(ROOT / "constraints.txt")
    names = {name for name, _ in tested}
    assert {pin for pin in _pins(FILES / "requirements-oracle.txt") if pin[0] in names} <= tested
