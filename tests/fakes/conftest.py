"""A running stand-in, a key that may log in to it, and one connection for all that a test asks of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.playing import Player, needs_ansible
from tests.fakes.windows import WindowsNotebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ask = Callable[..., subprocess.CompletedProcess[bytes]]

SSHD = "wsl.exe -d Ubuntu -u root --exec /usr/sbin/sshd -i"
ADMINISTRATORS = "C:\\ProgramData\\ssh\\administrators_authorized_keys"


@dataclass(frozen=True)
class Client:
    """How tests come in: a key, and the options of ssh that go with it."""

    folder: Path

    @property
    def public(self) -> str:
        return (self.folder / "key.pub").read_text("ascii").strip()

    def options(self, *, shared: bool = False) -> list[str]:
        options = {
            "IdentityFile": f"{self.folder}/key",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "BatchMode": "yes",
            "ControlPath": f"{self.folder}/%C",
            "ControlMaster": "auto" if shared else "no",
            "ControlPersist": "60" if shared else "no",
        }
        if not shared:
            options["ControlPath"] = "none"
        return ["-F", "/dev/null", *(word for pair in options.items() for word in ("-o", "=".join(pair)))]

    def argv(self, notebook: WindowsNotebook, command: str, *, shared: bool = False) -> list[str]:
        where = ["-p", str(notebook.port), f"root@{notebook.address}"]
        return ["ssh", *self.options(shared=shared), *where, command]

    def bridge(self, notebook: WindowsNotebook, command: str, through: str = SSHD) -> list[str]:
        """Return the command that runs another in the distro, over the bridge."""
        outer = " ".join(["ssh -q -T", *self.options(), "-p", str(notebook.port), f"root@{notebook.address}"])
        return ["ssh", *self.options(), "-o", f"ProxyCommand={outer} {through}", "root@distro", command]


def run(argv: list[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end; ssh's master in the background keeps standard error, so that is a file."""
    with tempfile.TemporaryFile() as errors:
        answer = subprocess.run(
            argv, input=stdin, stdout=subprocess.PIPE, stderr=errors, check=False, timeout=60
        )
        errors.seek(0)
        answer.stderr = errors.read()
    return answer


def needs(parser: str = "linux") -> None:
    reason = WindowsNotebook.available(parser)
    if reason is not None:
        if os.environ.get("CI") == "true" and parser == "linux":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    folder = Path(tempfile.mkdtemp(prefix="maww", dir="/tmp"))
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "maw-admin", "-f", str(folder / "key")]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    yield Client(folder)
    shutil.rmtree(folder)


@contextlib.contextmanager
def started(folder: Path, client: Client, **options: object) -> Iterator[WindowsNotebook]:
    with WindowsNotebook(folder, **options) as notebook:  # type: ignore[arg-type]
        notebook.authorize(client.public)
        notebook.distro().authorize(client.public)
        yield notebook
        subprocess.run(
            ["ssh", *client.options(shared=True), "-O", "exit", "-p", str(notebook.port), "root@127.0.0.1"],
            capture_output=True,
            check=False,
        )


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, client: Client) -> Iterator[WindowsNotebook]:
    needs()
    with started(tmp_path_factory.mktemp("windows"), client, idle_seconds=-1) as notebook:
        yield notebook


@pytest.fixture(scope="session")
def genuine(tmp_path_factory: pytest.TempPathFactory, client: Client) -> Iterator[WindowsNotebook]:
    needs("wine")
    with started(tmp_path_factory.mktemp("wine"), client, idle_seconds=-1, parser="wine") as notebook:
        yield notebook


def _as_before(notebook: WindowsNotebook) -> Iterator[WindowsNotebook]:
    file = notebook.drive / "ProgramData/ssh/administrators_authorized_keys"
    kept, lists = file.read_bytes(), (notebook.folder / "acl.json").read_bytes()
    yield notebook
    notebook.reset()
    file.write_bytes(kept)
    (notebook.folder / "acl.json").write_bytes(lists)


@pytest.fixture
def windows(shared: WindowsNotebook) -> Iterator[WindowsNotebook]:
    """A notebook that several tests share; what a test configures is undone."""
    yield from _as_before(shared)


@pytest.fixture(params=["linux", "wine"])
def either(request: pytest.FixtureRequest) -> Iterator[WindowsNotebook]:
    """As `windows`, for tests that a genuine cmd.exe has to pass too."""
    name = {"linux": "shared", "wine": "genuine"}[request.param]
    yield from _as_before(request.getfixturevalue(name))


def _asker(client: Client, notebook: WindowsNotebook) -> Ask:
    def ask(command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run(client.argv(notebook, command, shared=True), stdin)

    return ask


@pytest.fixture
def ask(client: Client, windows: WindowsNotebook) -> Ask:
    """`ask(command, stdin=b"")`: give a command to Windows over one kept connection."""
    return _asker(client, windows)


@pytest.fixture
def ask_either(client: Client, either: WindowsNotebook) -> Ask:
    """As `ask`, with each of the parsers."""
    return _asker(client, either)


@pytest.fixture
def player(client: Client, tmp_path: Path) -> Player:
    """Runs genuine Ansible plays on a notebook."""
    needs_ansible()
    (tmp_path / "plays").mkdir()
    return Player(client, tmp_path / "plays")
