"""Genuine `ansible-playbook` over genuine SSH against a stand-in Windows."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.fakes.conftest import Client
    from tests.fakes.windows import WindowsNotebook

PROGRAMS = Path(sys.executable).parent
COLLECTIONS = ("ansible.windows", "community.windows", "ansible.posix")


def missing() -> str | None:
    """Return why Ansible cannot be tried here, or None."""
    if not (PROGRAMS / "ansible-playbook").exists():
        return "no ansible-playbook is installed here"
    answer = subprocess.run(
        [PROGRAMS / "ansible-galaxy", "collection", "list", "--format", "json"],
        capture_output=True,
        check=False,
    )
    found = {name for names in json.loads(answer.stdout or b"{}").values() for name in names}
    lacking = [name for name in COLLECTIONS if name not in found]
    return f"Ansible has no collection {', '.join(lacking)} here" if lacking else None


def needs_ansible() -> None:
    """Skip, or fail in CI, when Ansible or a collection is missing."""
    reason = missing()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass
class Played:
    """What a play did: a result for each task and host, in order."""

    status: int
    results: list[dict[str, Any]] = field(default_factory=list)
    said: str = ""

    @property
    def changed(self) -> list[bool]:
        """Whether each task changed something."""
        return [bool(result.get("changed")) for result in self.results]

    @property
    def last(self) -> dict[str, Any]:
        """The last task's result."""
        return self.results[-1]


@dataclass(frozen=True)
class Player:
    """Runs plays on a notebook."""

    client: Client
    folder: Path

    def environment(self) -> dict[str, str]:
        """Return the environment: nothing of the person's own Ansible plays a part."""
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_HOST_KEY_CHECKING": "false",
            "ANSIBLE_RETRY_FILES_ENABLED": "false",
            "ANSIBLE_SSH_ARGS": shlex.join(self.client.options(shared=True)),
        }

    def run(
        self,
        notebook: WindowsNotebook,
        *tasks: dict[str, Any],
        hosts: int = 1,
        shell: str | None = None,
        options: tuple[str, ...] = (),
        **more: Any,
    ) -> Played:
        """Play tasks; `hosts` are names for the one notebook, all at the same time."""
        variables = {
            "ansible_host": notebook.address,
            "ansible_port": notebook.port,
            "ansible_user": "root",
            "ansible_connection": "ssh",
            "ansible_shell_type": shell or notebook.state["shell"],
        }
        names = {f"notebook{number}": {"number": number} for number in range(hosts)}
        inventory = {"all": {"hosts": names, "vars": variables}}
        play = {"hosts": "all", "gather_facts": False, "tasks": list(tasks), **more}
        (self.folder / "ansible.cfg").touch()
        (self.folder / "inventory.yml").write_text(yaml.safe_dump(inventory), "utf-8")
        (self.folder / "play.yml").write_text(yaml.safe_dump([play], allow_unicode=True), "utf-8")
        program = str(PROGRAMS / "ansible-playbook")
        argv = [program, "-i", "inventory.yml", "--forks", "8", *options, "play.yml"]
        with (self.folder / "errors").open("wb") as errors:
            answer = subprocess.run(
                argv,
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                check=False,
                timeout=240,
            )
        said = answer.stdout.decode() + (self.folder / "errors").read_text("utf-8")
        begin = answer.stdout.find(b"{\n")
        assert begin >= 0, said
        found = json.loads(answer.stdout[begin:])
        results = [result for task in found["plays"][0]["tasks"] for result in task["hosts"].values()]
        return Played(answer.returncode, results, said)

    def twice(self, notebook: WindowsNotebook, *tasks: dict[str, Any], **options: Any) -> Played:
        """Play in check mode, which tells the truth and changes nothing; then twice: the second is idle."""
        before = notebook.state
        told = self.run(notebook, *tasks, options=("--check", "--diff"), **options)
        assert told.status == 0, told.said
        assert notebook.state == before, "check mode changed something"
        first = self.run(notebook, *tasks, **options)
        assert first.status == 0, first.said
        again = self.run(notebook, *tasks, **options)
        assert again.status == 0, again.said
        assert not any(again.changed), again.results
        for would, did, result in zip(told.changed, first.changed, told.results, strict=True):
            assert result.get("skipped") or would is did, result
        return first
