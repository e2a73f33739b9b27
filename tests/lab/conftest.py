"""The lab of containers, for the tests that need it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.running import ENVIRONMENT, IN_CI, ROOT, RunningLab, lab_program

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

__all__ = ["ENVIRONMENT", "IN_CI", "ROOT", "RunningLab", "lab_program"]


@pytest.fixture
def lab_workspace(lab: RunningLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the lab's workspace, which `maw` and `cutter` use in this test."""
    copy = tmp_path / "lab-workspace"
    shutil.copytree(lab.workspace, copy, ignore=shutil.ignore_patterns(".maw"))
    monkeypatch.setenv("MAW_WORKSPACE", str(copy))
    return copy


@dataclass(frozen=True)
class SmallLab:
    """A lab of only one machine, with a prefix, a daemon and a folder of its own."""

    prefix: str
    root: Path

    def __call__(self, verb: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Bring it up or down; return what was said."""
        return lab_program(*self.arguments(verb), **environment)

    def arguments(self, verb: str) -> list[str]:
        """The arguments of `python molecule/lab` for that."""
        only = ["--only", "core"] if verb == "up" else []
        return [verb, "--prefix", self.prefix, "--root", str(self.root), "--json", *only]

    def done(self, verb: str, **environment: str) -> dict[str, Any]:
        """Bring it up or down, successfully; return the answer."""
        answer = self(verb, **environment)
        assert answer.returncode == 0, answer.stderr
        result: dict[str, Any] = json.loads(answer.stdout)
        return result


@pytest.fixture
def small_labs(tmp_path: Path) -> Iterator[Callable[[], SmallLab]]:
    """`small_labs()`: a lab that does not exist yet. At the end it is down."""
    if os.geteuid() != 0:
        pytest.skip("a lab of its own needs root, to start an LXD daemon")
    if shutil.which("lxd", path="/usr/bin") is None or shutil.which("mmdebstrap") is None:
        reason = "the distribution's LXD and mmdebstrap are not installed here (make lab INSTALL=1)"
        if IN_CI and Path("/etc/debian_version").exists():
            pytest.fail(reason)
        pytest.skip(reason)
    made: list[SmallLab] = []

    def make() -> SmallLab:
        made.append(SmallLab(f"t{secrets.token_hex(4)}", tmp_path / "labs"))
        return made[-1]

    yield make
    answers = [lab("down") for lab in reversed(made)]
    assert [answer.stderr for answer in answers if answer.returncode] == []
