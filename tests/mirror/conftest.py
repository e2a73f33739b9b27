"""Real LXD, a Proxmox node that is played behind a real sshd, and the real programs."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw.cli.workspace import create
from maw.config import Workspace
from maw.transport import keys
from maw.transport.loopback import LoopbackSatellite, find_sshd
from tests.conftest import program
from tests.fakes.proxmox.node import FakeNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.running import RunningLab

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures"
IN_CI = os.environ.get("CI") == "true"


def shared_archives() -> list[Path]:
    """The archives that genuine Proxmox code made; none without ../shared."""
    return sorted(path for path in SHARED.glob("*.tar*") if path.suffix in {".tar", ".zst", ".gz", ".lzo"})


def skip(reason: str) -> None:
    """Skip a test because something is missing; in CI that is a failure."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class LocalLxd:
    """The LXD of this machine, and the mirrors that one test made there."""

    folder: str
    client: Path
    pool: str
    prefix: str

    @property
    def environment(self) -> dict[str, str]:
        """What the programs need to find it, with the pool of this test."""
        return {"LXD_DIR": self.folder, "LXD_CONF": str(self.client), "MAW_MIRROR_POOL": self.pool}

    def name(self, word: str = "m") -> str:
        """A name for a mirror of this test's own."""
        return f"{self.prefix}-{word}"

    def lxc(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run `lxc`."""
        given: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "capture_output": True,
            "timeout": 120,
            **options,
        }
        environment = {**os.environ, **self.environment}
        environment.pop("MAW_MIRROR_POOL")
        answer = subprocess.run(["lxc", *arguments], env=environment, check=False, **given)
        assert not check or answer.returncode == 0, answer.stderr.decode()
        return answer

    def query(self, path: str) -> Any:
        """Ask the API."""
        return json.loads(self.lxc("query", path).stdout)

    def instances(self) -> dict[str, dict[str, Any]]:
        """The instances of this test."""
        found = self.query("/1.0/instances?recursion=1")
        return {one["name"]: one for one in found if one["name"].startswith(self.prefix)}

    def root(self, name: str) -> Path:
        """Where an instance's tree is."""
        pid = self.query("/1.0")["environment"]["server_pid"]
        return Path(f"/proc/{pid}/root{self.folder}/storage-pools/{self.pool}/containers/{name}/rootfs")

    def says(self, name: str, *command: str) -> bytes:
        """Run a command that only looks in a running mirror; return what it says."""
        for _ in range(10):
            # LXD 5.0 drops the output of a fast command now and then: 5 of 300 on a busy machine.
            if said := self.lxc("exec", name, "-T", "--", *command).stdout:
                return said
        raise AssertionError(f"{command} says nothing in {name}")

    def clean(self) -> None:
        """Delete what the test made."""
        for name in self.instances():
            self.lxc("delete", "--force", name, check=False)


@pytest.fixture(params=["btrfs", "dir"])
def each_pool(request: pytest.FixtureRequest) -> str:
    """The kinds of pools."""
    return str(request.param)


@pytest.fixture(scope="session")
def dir_pool(lab: RunningLab) -> Iterator[str]:
    """A pool that is a plain folder, beside the lab's own of btrfs."""
    name = f"t{secrets.token_hex(4)}-dir"
    lab.run("lxc", "storage", "create", name, "dir", check=True)
    yield name
    lab.run("lxc", "storage", "delete", name, check=True)


@pytest.fixture
def lxd(lab: RunningLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalLxd]:
    """The lab's outer LXD as the LXD of this machine."""
    if os.geteuid() != 0:
        skip("mirrors on this machine's LXD need root")
    client = tmp_path / "lxc"
    client.mkdir()
    pools = {
        one["name"]: one["driver"]
        for one in json.loads(lab.run("lxc", "query", "/1.0/storage-pools?recursion=1", check=True).stdout)
    }
    pool = next(name for name in pools if name.endswith("-lab"))
    found = LocalLxd(lab.state["lxd_dir"], client, pool, f"t{secrets.token_hex(3)}")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    yield found
    found.clean()


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace without any host."""
    found = Workspace(tmp_path / "space")
    create(found.root)
    (found.inventory / "hosts.yml").write_text("{}", "utf-8")
    monkeypatch.setenv("MAW_WORKSPACE", str(found.root))
    return found


class ProxmoxServer(LoopbackSatellite):
    """The played node behind a real sshd; its programs come first on the path."""

    def __init__(self, folder: Path, node: FakeNode) -> None:
        super().__init__(folder, name="pve")
        self.node = node

    def _config(self) -> str:
        path = f"{self.node.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        lines = super()._config().splitlines(keepends=True)
        return "".join(
            f'{line.rstrip()} PATH="{path}"\n' if line.startswith("SetEnv ") else line for line in lines
        )


@pytest.fixture
def pve(tmp_path: Path, runtime_root: Path, space: Workspace) -> Iterator[ProxmoxServer]:
    """A Proxmox server called pve, in the inventory of `space`, reached over SSH."""
    reason = FakeNode.available() or (None if find_sshd() else "no sshd program is installed here")
    if reason is not None:
        skip(reason)
    folder = runtime_root / f"pve-{secrets.token_hex(3)}"
    node = FakeNode(folder / "node")
    with ProxmoxServer(folder / "sshd", node) as server:
        host = {
            "maw_addresses": [server.address],
            "ansible_port": server.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(server.identity),
        }
        inventory = {"proxmox": {"hosts": {"pve": host}}}
        (space.inventory / "hosts.yml").write_text(json.dumps(inventory), "utf-8")
        keys.pin(space.known_hosts, "pve", server.host_keys)
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Cutter:
    """The real `cutter`, with what it said."""

    def __call__(self, *arguments: str | Path, code: int = 0, **options: Any) -> str:
        """Run it, expect an exit code; return standard output, or standard error if it is to fail."""
        answer = self.run(*arguments, **options)
        assert answer.returncode == code, (answer.stdout + answer.stderr).decode("utf-8", "replace")
        return (answer.stderr if code else answer.stdout).decode("utf-8")

    def run(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end."""
        given = {
            "stdin": subprocess.DEVNULL,
            "capture_output": True,
            "timeout": 250,
            "check": False,
            **options,
        }
        return subprocess.run([*program("cutter"), *map(str, arguments)], **given)

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Begin it."""
        return subprocess.Popen(
            [*program("cutter"), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def json(self, *arguments: str | Path) -> Any:
        """Run it with --json; return the object."""
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def cutter() -> Cutter:
    """`cutter("sync", …)`."""
    return Cutter()
