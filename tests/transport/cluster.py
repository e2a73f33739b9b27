"""A workspace with machines whose keys are changed: a plain Linux, and notebooks."""

from __future__ import annotations

import base64
import os
import struct
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw import config
from maw.cli.workspace import Context
from maw.transport import far, keypairs, keys, places, rotation, ssh_config
from maw.transport.keys import HostKey
from maw.transport.loopback import LoopbackSatellite
from tests.conftest import make_notebook_workspace
from tests.fakes.windows import WindowsNotebook
from tests.transport import rotating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maw.config import Workspace


def key_of(seed: bytes) -> HostKey:
    """A public key that nobody has the private half of."""
    kind = b"ssh-ed25519"
    blob = struct.pack(">I", len(kind)) + kind + struct.pack(">I", 32) + seed.ljust(32, b"\0")[:32]
    return HostKey(kind.decode(), base64.b64encode(blob).decode())


OLD, NEW, OTHER = key_of(b"old"), key_of(b"new"), key_of(b"other")


class Satellite(LoopbackSatellite):
    """A plain Linux whose account's file of keys is a link, and that can revoke keys."""

    def _config(self) -> str:
        return super()._config() + f'RevokedKeys "{self.folder}/revoked"\n'

    @property
    def file(self) -> Path:
        return self.folder / "authorized_keys"

    def start(self) -> None:
        (self.folder / "home" / ".ssh").mkdir(parents=True, mode=0o700, exist_ok=True)
        self.folder.chmod(0o700)
        link = self.folder / "home" / ".ssh" / "authorized_keys"
        if not link.is_symlink():
            link.symlink_to("../../authorized_keys")
        (self.folder / "revoked").write_text("")
        super().start()


@dataclass
class Cluster:
    """A workspace, and what a rotation needs of it."""

    workspace: Workspace

    @property
    def context(self) -> Context:
        return Context(self.workspace, config.load(self.workspace.config_file))

    def rotation(
        self, purpose: str = "admin", *, tell: Callable[[str], None] = lambda _: None, **changes: Any
    ) -> rotation.Rotation:
        context = self.context
        hosts = changes.get("hosts") or context.topology.hosts
        line = far.Line(context.ssh_paths, context.settings.ssh)
        listed = places.places(hosts, context.settings.ssh)
        chosen = places.targets(listed, purpose)
        return rotation.Rotation(self.workspace.keys, purpose, line, hosts, chosen, tell)

    def stages(self, purpose: str = "admin") -> list[str]:
        return sorted(p.name for p in self.workspace.keys.glob(f"{purpose}*") if p.suffix != ".pub")

    def ordinary_config(self) -> Path:
        """The config that everybody uses, but that each log-in with it is a new one."""
        where = self.context.ssh_paths
        unshared = replace(where, config=self.workspace.state / "ssh_config-unshared", shared=False)
        return ssh_config.write(self.context.topology.hosts, self.context.settings.ssh, unshared)

    def key(self, purpose: str = "admin", stage: str = "") -> keys.HostKey:
        found = keypairs.load(self.workspace.keys / f"{purpose}{stage}")
        assert found is not None
        return found.key

    def rotate_in_a_process(self, purpose: str, last: int = 0) -> subprocess.CompletedProcess[bytes]:
        source = Path(rotating.__file__).parents[2]
        argv = [sys.executable, rotating.__file__, str(self.workspace.root), purpose, str(last)]
        environment = {**os.environ, "PYTHONPATH": str(source)}
        return subprocess.run(
            argv, capture_output=True, check=False, stdin=subprocess.DEVNULL, env=environment, timeout=120
        )


def login(config_file: Path, name: str) -> bool:
    argv = ["ssh", "-F", str(config_file), "-o", "BatchMode=yes", "-T", "--", name, "echo through"]
    answer = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
    return b"through" in answer.stdout


@pytest.fixture
def notebooks(tmp_path: Path, runtime_root: Path) -> Iterator[list[tuple[Cluster, WindowsNotebook]]]:
    """Two notebooks, each with a workspace: one with cmd, one with PowerShell."""
    reason = WindowsNotebook.available()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    made = []
    for shell in ("cmd", "powershell"):
        folder = tmp_path / shell
        keypairs.prepare(folder / "keys")
        with keypairs.locked(folder / "keys"):
            for purpose in ("admin", "bridge"):
                keypairs.make(folder / "keys", purpose)
        notebook = WindowsNotebook(folder / "notebook", shell=shell)
        notebook.start()
        space = make_notebook_workspace(folder / "workspace", notebook, folder / "keys")
        cluster = Cluster(space)
        assert cluster.context.topology.hosts
        made.append((cluster, notebook))
    yield made
    for _, notebook in made:
        notebook.stop()
