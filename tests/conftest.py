"""What all tests share: isolation from the developer, a real satellite on loopback, real commands."""

from __future__ import annotations

import dataclasses
import getpass
import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from maw import files, topology
from maw.cli.workspace import create
from maw.config import Workspace
from maw.transport import keys, wsl
from maw.transport.loopback import LoopbackSatellite, find_sshd
from tests.fakes.windows import WindowsNotebook
from tests.lab.running import lab

__all__ = ["lab"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

# The seconds of every sleep that this test run starts begin with this, so that it is found again.
SLEEP = f"4321.{secrets.randbelow(10**8):08d}"
WORKER = [sys.executable, "-m", "maw.offload.worker"]
_NAMES = {"ssh", "sshd", "sleep", "sh"}


def _ours(marks: tuple[str, ...]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if process.info["name"] in _NAMES and any(mark in words for mark in marks):
            found.append(process)
    return found


@pytest.fixture(scope="session")
def runtime_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a short path: sockets of ssh may have about 100 bytes. At the end nothing runs."""
    root = Path(tempfile.mkdtemp(prefix="mawt", dir="/tmp"))
    yield root
    marks = (str(root), str(tmp_path_factory.getbasetemp()), SLEEP)
    gone = _within(5, lambda: not _ours(marks))
    left = [" ".join(process.cmdline()) for process in _ours(marks)]
    for process in _ours(marks):
        process.kill()
    shutil.rmtree(root, ignore_errors=True)
    assert gone, f"left running by the tests: {left}"


def _within(seconds: float, condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


@pytest.fixture(scope="session")
def within() -> Callable[[float, Callable[[], Any]], Any]:
    """`within(seconds, condition)`: wait until the condition is true; return its last value."""
    return _within


_number = itertools.count()


@pytest.fixture(autouse=True)
def isolated(runtime_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing of the developer's is read or written: an own home, cwd and environment."""
    for name in list(os.environ):
        if name.startswith(("MAW_", "XDG_", "ANSIBLE_", "SSH_", "PYTHONDONTWRITEBYTECODE")):
            monkeypatch.delenv(name)
    here = runtime_root / str(next(_number))
    for variable, folder in {
        "HOME": "home",
        "XDG_RUNTIME_DIR": "run",
        "XDG_DATA_HOME": "home/.local/share",
        "XDG_CONFIG_HOME": "home/.config",
        "XDG_CACHE_HOME": "home/.cache",
        "XDG_STATE_HOME": "home/.local/state",
    }.items():
        (here / folder).mkdir(mode=0o700, parents=True)
        monkeypatch.setenv(variable, str(here / folder))
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    yield here / "home"
    for path in (here / "run" / "maw").glob("*"):
        argv = ["ssh", "-F", "/dev/null", "-o", f"ControlPath={path}", "-O", "exit", "nobody"]
        subprocess.run(argv, capture_output=True, check=False, timeout=10)
    shutil.rmtree(here, ignore_errors=True)


@pytest.fixture
def password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the password of Ansible's vaults, which the environment names."""
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(path))
    return path


@pytest.fixture
def home(isolated: Path) -> Path:
    """The home folder that this test's programs see."""
    return isolated


@pytest.fixture
def lasting() -> str:
    """The seconds of a sleep that only this test starts: `["sleep", lasting]`."""
    return f"{SLEEP}{next(_number):05d}"


@pytest.fixture(scope="session")
def running() -> Callable[[str], list[int]]:
    """`running(seconds)`: the sleeps of that many seconds that run now."""

    def find(seconds: str) -> list[int]:
        return [
            process.pid
            for process in psutil.process_iter(["cmdline", "status"])
            if process.info["cmdline"] == ["sleep", seconds]
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]

    return find


@pytest.fixture(scope="session")
def satellite(runtime_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSatellite]:
    """A real sshd on loopback, as a satellite named "loopback"."""
    if find_sshd() is None:
        reason = "no sshd program is installed here (apt install openssh-server)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    server = LoopbackSatellite(tmp_path_factory.mktemp("satellite"))
    server.start()
    assert server._process is not None
    listener = psutil.Process(server._process.pid)
    yield server
    serving = [listener, *listener.children(recursive=True)]
    server.stop()
    _, alive = psutil.wait_procs(serving, timeout=5)
    assert not alive, f"left running by the satellite: {alive}"


@pytest.fixture(scope="session")
def hosts_of_inventory(
    satellite: LoopbackSatellite, tmp_path_factory: pytest.TempPathFactory
) -> tuple[topology.Host, ...]:
    """What Ansible makes of the satellite's inventory: asked once, for it takes a second."""
    inventory = tmp_path_factory.mktemp("inventory")
    (inventory / "hosts.yml").write_text(satellite.inventory(WORKER), "utf-8")
    return topology.load(inventory).hosts


@pytest.fixture
def workspace(
    satellite: LoopbackSatellite,
    hosts_of_inventory: tuple[topology.Host, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Workspace:
    """A workspace whose inventory names the loopback satellite, its host key pinned."""
    space = Workspace(tmp_path / "workspace")
    create(space.root)
    (space.inventory / "hosts.yml").write_text(satellite.inventory(WORKER), "utf-8")
    keys.pin(space.known_hosts, satellite.name, satellite.host_keys)
    space.state.mkdir(exist_ok=True)
    kept = {
        "key": topology._content_hash(space.inventory),
        "hosts": [dataclasses.asdict(h) for h in hosts_of_inventory],
    }
    (space.state / "topology.json").write_text(json.dumps(kept), "utf-8")
    monkeypatch.setenv("MAW_WORKSPACE", str(space.root))
    return space


@pytest.fixture(scope="session")
def windows_notebook(
    runtime_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WindowsNotebook]:
    """A notebook on loopback: a Windows' sshd with cmd, and behind it a WSL called Ubuntu."""
    reason = WindowsNotebook.available()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with WindowsNotebook(tmp_path_factory.mktemp("notebook")) as notebook:
        yield notebook


@pytest.fixture(scope="session")
def cluster_keys(runtime_root: Path) -> Path:
    """A folder with the two keys of a cluster."""
    folder = runtime_root / "cluster-keys"
    folder.mkdir(mode=0o700)
    for name in ("admin", "bridge"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"maw-{name}", "-f", str(folder / name)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return folder


def bridge_lines(keys_folder: Path, distro: str = "Ubuntu") -> tuple[str, str, str]:
    """Given the folder of keys, return the two lines of Windows' file and the one of the distro's."""
    bridge = (keys_folder / "bridge.pub").read_text("ascii").strip()
    admin = (keys_folder / "admin.pub").read_text("ascii").strip()
    forced = f'restrict,command="{wsl.sshd_command(distro)}",from="127.0.0.1" {bridge}'
    return forced, admin, f"restrict,pty,port-forwarding {bridge}"


def make_notebook_workspace(root: Path, notebook: WindowsNotebook, keys_folder: Path) -> Workspace:
    """Given a started notebook, authorize the cluster's keys there and return a workspace that names it."""
    forced, admin, inner = bridge_lines(keys_folder)
    notebook.authorize(forced)
    notebook.authorize(admin)
    notebook.distro().authorize(inner)
    space = Workspace(root)
    create(space.root)
    shutil.copytree(keys_folder, space.keys)
    space.keys.chmod(0o700)
    inventory = {
        "windows": {
            "hosts": {
                notebook.name: {
                    "maw_addresses": [notebook.address],
                    "ansible_port": notebook.port,
                    "ansible_user": getpass.getuser(),
                    "ansible_shell_type": "cmd",
                }
            }
        },
        "satellites": {
            "hosts": {
                f"{notebook.name}-wsl": {
                    "maw_windows": notebook.name,
                    "maw_wsl_distro": "Ubuntu",
                    "maw_worker_command": WORKER,
                    "ansible_python_interpreter": sys.executable,
                }
            }
        },
    }
    (space.inventory / "hosts.yml").write_text(json.dumps(inventory), "utf-8")
    keys.pin(space.known_hosts, notebook.name, notebook.host_keys)
    keys.pin(space.known_hosts, f"{notebook.name}-wsl", notebook.distro().host_keys)
    return space


@pytest.fixture(scope="session")
def notebook_template(
    windows_notebook: WindowsNotebook, cluster_keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A workspace that names the notebook, to be copied: Ansible is asked once, for it takes a second."""
    root = tmp_path_factory.mktemp("template") / "workspace"
    space = make_notebook_workspace(root, windows_notebook, cluster_keys)
    topology.load(space.inventory, cache=space.state / "topology.json", write=files.write_atomically)
    return root


@pytest.fixture
def notebook(
    windows_notebook: WindowsNotebook,
    notebook_template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> WindowsNotebook:
    """The notebook, and `MAW_WORKSPACE` a workspace whose inventory names it and its WSL."""
    space = Workspace(tmp_path / "workspace")
    shutil.copytree(notebook_template, space.root)
    kept = json.loads((space.state / "topology.json").read_text("utf-8"))
    kept["key"] = topology._content_hash(space.inventory)
    (space.state / "topology.json").write_text(json.dumps(kept), "utf-8")
    monkeypatch.setenv("MAW_WORKSPACE", str(space.root))
    return windows_notebook


def program(name: str) -> list[str]:
    """Given `maw` or `cutter`, return the argument list that runs it from this source tree."""
    return [sys.executable, "-c", f"from maw.cli import {name}; {name}()"]


def _runner(name: str) -> Command:
    def run(
        *arguments: str, stdin: bytes | None = None, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        given = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        captured = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 100, "check": False}
        return subprocess.run(
            [*program(name), *arguments],
            env={**os.environ, **(env or {})},
            **{**given, **captured, **options},
        )

    return run


@pytest.fixture
def maw_command() -> Command:
    """`maw_command(*arguments, stdin=b"", env={…})`: run the real program, return what it said."""
    return _runner("maw")


@pytest.fixture
def cutter_command() -> Command:
    """As `maw_command`, for `cutter`."""
    return _runner("cutter")


@pytest.fixture
def cutter_argv() -> list[str]:
    """The argument list that runs `cutter`, for tests that need the process itself."""
    return program("cutter")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, to fill."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    answer = subprocess.run(argv, capture_output=True, check=False)
    if answer.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {answer.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of a user who may not read everything: root plays `nobody` for the test."""
    folder = Path(tempfile.mkdtemp(prefix="maw-test-"))
    nobody = 65534
    if os.getuid() == 0:
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
    try:
        yield folder
    finally:
        os.seteuid(os.getuid())
        shutil.rmtree(folder)
