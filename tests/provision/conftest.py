"""Small playbooks of the tests' own, and a site where real ansible-runner runs them on this machine."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from maw.cli.workspace import Context, create
from maw.config import Workspace, load
from maw.provision import lock, run
from maw.provision.content import Content
from maw.provision.run import Ended, Site, Wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.transport.loopback import LoopbackSatellite

HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


@dataclass
class Stage:
    """A workspace, and playbooks that the test writes."""

    site: Site
    space: Workspace

    def playbook(self, name: str, text: str) -> None:
        """Given a playbook's name and text, write it."""
        (self.site.content.playbooks / f"{name}.yml").write_text(text, "utf-8")

    def tasks(self, text: str, name: str = "site", hosts: str = "all", head: str = "") -> None:
        """Given the tasks of a play, write a playbook of them."""
        indented = "".join(f"    {line}\n" for line in text.strip().splitlines())
        play = f"- name: Try\n  hosts: {hosts}\n  gather_facts: false\n{head}  tasks:\n{indented}"
        self.playbook(name, play)

    def role(self, name: str, text: str) -> None:
        """Given a role's name and tasks, write it."""
        folder = self.site.content.roles / name / "tasks"
        folder.mkdir(parents=True)
        (folder / "main.yml").write_text(text, "utf-8")

    def hosts(self, **hosts: dict[str, Any]) -> None:
        """Given hosts and their variables, let the inventory be these."""
        (self.space.inventory / "hosts.yml").write_text(json.dumps({"satellites": {"hosts": hosts}}), "utf-8")

    def run(self, wish: Wish | None = None, watcher: Any = None) -> Ended:
        """Run a playbook, `site` by default."""
        with lock.held(self.site.runs, "a test") as held:
            return run.run(self.site, wish or Wish("site"), held, watcher)

    def kept(self) -> bytes:
        """All bytes of all that is kept of runs."""
        return b"".join(path.read_bytes() for path in self.site.runs.rglob("*") if path.is_file())

    def with_secrets(self, *known: str) -> Stage:
        """The same, with secrets that must not be written."""
        return replace(self, site=replace(self.site, secrets=known))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A site of which this machine is the only host, `here`."""
    content = Content(tmp_path / "content")
    content.playbooks.mkdir(parents=True)
    content.roles.mkdir()
    content.requirements.write_text("collections: []\n", "utf-8")
    space = Workspace(tmp_path / "space")
    create(space.root)
    monkeypatch.setenv("MAW_WORKSPACE", str(space.root))
    site = Site(space.root, space.inventory, space.state, space.state / "ssh_config", content)
    made = Stage(site, space)
    made.hosts(here=HERE)
    return made


@pytest.fixture
def over_ssh(stage: Stage, satellite: LoopbackSatellite) -> Stage:
    """The same, with the host `loopback` behind a real sshd."""
    from maw.transport import keys

    listing = json.loads(satellite.inventory([sys.executable, "-m", "maw.offload.worker"]))
    variables = listing["satellites"]["hosts"]["loopback"]
    stage.hosts(loopback={**variables, "ansible_python_interpreter": sys.executable})
    keys.pin(stage.space.known_hosts, "loopback", satellite.host_keys)
    context = Context(stage.space, load(stage.space.config_file))
    assert context.ssh_paths.config == stage.site.ssh_config
    return stage


@pytest.fixture
def ansible_left(tmp_path: Path) -> Callable[[], list[str]]:
    """`ansible_left()`: what runs now of Ansible and of its guards in this test's folders."""

    def find() -> list[str]:
        found = []
        for process in psutil.process_iter(["cmdline", "status", "pid"]):
            words = " ".join(process.info["cmdline"] or ())
            running = process.info["status"] != psutil.STATUS_ZOMBIE and process.info["pid"] != os.getpid()
            if running and str(tmp_path / "content") in words and "ansible" in words:
                found.append(words)
        return found

    return find
