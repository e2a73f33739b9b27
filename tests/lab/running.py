"""The lab that is up, for every test that needs real LXD."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
# Where the lab's own package is.
sys.path.insert(0, str(ROOT / "molecule"))
# As it is before a test gets a home of its own: the cached image is in the developer's.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("MAW_", "LXD_"))}
IN_CI = os.environ.get("CI") == "true"


def lab_program(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python molecule/lab`; return what it said."""
    return subprocess.run(
        [sys.executable, str(ROOT / "molecule" / "lab"), *map(str, arguments)],
        env={**ENVIRONMENT, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@dataclass(frozen=True)
class RunningLab:
    """A lab that is up. `state` is what its state.json says."""

    state: dict[str, Any]

    @property
    def config(self) -> str:
        """The path of the generated OpenSSH config."""
        return self.state["ssh_config"]

    @property
    def workspace(self) -> Path:
        """The lab's maw workspace. Use a copy of it for what writes into it: fixture `lab_workspace`."""
        return Path(self.state["workspace"])

    @property
    def hosts(self) -> list[str]:
        """The inventory's names of the Linux machines."""
        return [machine.get("wsl", machine["host"]) for machine in self.state["machines"].values()]

    def run(self, *argv: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a program with the developer's environment and this lab's LXD."""
        given = {"capture_output": True, "check": False, "timeout": 120, "env": self.environment, **options}
        if "input" not in given:
            given["stdin"] = subprocess.DEVNULL
        return subprocess.run([str(word) for word in argv], **given)

    @property
    def environment(self) -> dict[str, str]:
        """The developer's environment, with `lxc` and ansible finding this lab."""
        return {
            **ENVIRONMENT,
            "LXD_DIR": self.state["lxd_dir"],
            "LXD_CONF": str(self.workspace.parent / "client"),
            "ANSIBLE_CONFIG": str(self.workspace / "ansible.cfg"),
            "ANSIBLE_SSH_ARGS": f"-F {self.config}",
            "ANSIBLE_NOCOLOR": "1",
        }

    def ssh(self, host: str, *command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a command on a host, over `ssh -F`."""
        return self.run("ssh", "-F", self.config, "--", host, *command, **options)

    def says(self, host: str, *command: str) -> str:
        """Run `lxc exec` on a host for a command that only looks; return what it says."""
        for _ in range(10):
            answer = self.ssh(host, *command)
            assert answer.returncode == 0, answer.stderr
            # LXD 5.0 drops the output of a fast command now and then: 5 of 300 on a busy machine.
            if answer.stdout:
                return str(answer.stdout.decode())
        raise AssertionError(f"{command} says nothing on {host}")


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    """The lab that `make lab` brought up. In CI it is brought up, and goes down at the end."""
    answer = lab_program("status", "--json")
    if answer.returncode == 0:
        yield RunningLab(json.loads(answer.stdout))
        return
    if not (IN_CI and os.geteuid() == 0):
        pytest.skip("the lab is not up: make lab")
    answer = lab_program("up", "--install", "--json")
    if answer.returncode != 0:
        pytest.fail(f"the lab does not come up: {answer.stderr}")
    try:
        yield RunningLab(json.loads(answer.stdout))
    finally:
        answer = lab_program("down")
        assert answer.returncode == 0, answer.stderr
