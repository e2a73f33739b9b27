"""A notebook on loopback, and a core that plays the role windows_host on it by the real ansible-playbook."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.windows import WindowsNotebook
from tests.fakes.windows.programs import ansible_packages, defaults

ROOT = Path(__file__).resolve().parents[2]
STATE = Path("ProgramData/maw/state.json")
MSI_URL = "https://github.com/microsoft/WSL/releases/download/2.7.14/wsl.2.7.14.0.x64.msi"
IMAGE_URL = "https://releases.ubuntu.com/24.04.4/ubuntu-24.04.4-wsl-amd64.wsl"
CMD = "C:\\Windows\\System32\\cmd.exe"
ME = "127.0.0.1"


def archive() -> bytes:
    """Return a root file system as small as can be."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("etc"))
    return gzip.compress(out.getvalue(), mtime=0)


MSI = ansible_packages.MSI + b" WSL"
IMAGE = archive()


@dataclass(frozen=True)
class Answer:
    """What a run of the role came to."""

    code: int
    tasks: dict[str, dict[str, Any]]
    changed: int
    said: str

    @property
    def failure(self) -> str:
        """What the tasks that failed say."""
        return "\n".join(_message(task) for task in self.tasks.values() if task.get("failed"))


def _message(task: dict[str, Any]) -> str:
    failed = [item for item in task.get("results", []) if item.get("failed")]
    return "\n".join(str(item.get("msg")) for item in failed or [task])


class Bench:
    """A notebook, and the core that plays the role on it."""

    def __init__(self, folder: Path, notebook: WindowsNotebook) -> None:
        self.folder = folder
        self.notebook = notebook
        self.given: dict[str, Any] = {
            "windows_host_wsl_msi_sha256": hashlib.sha256(MSI).hexdigest(),
            "windows_host_distro_image_sha256": hashlib.sha256(IMAGE).hexdigest(),
            "windows_host_core_addresses": [ME],
        }

    def play(self, *more: str, entry: str = "main", **variables: Any) -> Answer:
        """Run the role, or one of its entry points."""
        self.prepare(entry)
        with self._begin(more, {**self.given, **variables}) as process:
            said, errors = process.communicate()
        try:
            told = json.loads(said[said.index("{") :])
        except ValueError:
            pytest.fail(f"ansible-playbook said: {said}{errors}")
        tasks = {
            task["task"]["name"].partition(" : ")[2] or task["task"]["name"]: task["hosts"]["notebook"]
            for task in told["plays"][0]["tasks"]
            if "notebook" in task["hosts"]
        }
        return Answer(process.returncode, tasks, told["stats"]["notebook"]["changed"], said)

    def prepare(self, entry: str = "main") -> None:
        """Write the play that runs an entry point of the role."""
        role = {"ansible.builtin.include_role": {"name": "windows_host", "tasks_from": f"{entry}.yml"}}
        play = {"hosts": "windows", "gather_facts": False, "tasks": [role]}
        (self.folder / "play.yml").write_text(json.dumps([play]), "utf-8")

    def _begin(self, more: Sequence[str], given: dict[str, Any]) -> subprocess.Popen[str]:
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        argv = [program, "-i", str(self.folder / "hosts.json"), "-e", json.dumps(given), *more]
        return subprocess.Popen(
            [*argv, str(self.folder / "play.yml")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
            env={
                **os.environ,
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cm"),
                "ANSIBLE_NOCOLOR": "1",
            },
        )

    def kill_when(self, reached: Callable[[dict[str, Any]], bool], **variables: Any) -> None:
        """Run the role, and kill it with all its processes as soon as the machine's state is so far."""
        self.prepare()
        with self._begin([], {**self.given, **variables}) as process:
            while process.poll() is None and not reached(self.notebook.state):
                time.sleep(0.05)
            assert process.returncode is None, "it ended before it came so far"
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def read(self, path: str | Path) -> str:
        """Return a file of drive C."""
        return (self.notebook.drive / path).read_text("utf-8")

    @property
    def wslconfig(self) -> Path:
        """The account's file."""
        return self.notebook.drive / "Users" / self.notebook.account / ".wslconfig"

    def rule(self) -> dict[str, Any]:
        """Return the firewall's rule for SSH."""
        found: dict[str, Any] = self.notebook.state["firewall"][0]
        return found

    def picture(self) -> dict[str, Any]:
        """Return what is to be as before after removing: settings and files."""
        state = self.notebook.state
        drive = self.notebook.drive
        # The connection and the package of WSL leave their marks there.
        left = {"AppData", "Program Files"}
        files = {
            str(path.relative_to(drive)): path.read_bytes() if path.is_file() else None
            for path in sorted(drive.rglob("*"))
            if not left & set(path.parts)
        }
        settings = {name: state[name] for name in ("registry_shell", "firewall", "power", "tasks")}
        return {**settings, "files": files}


@contextlib.contextmanager
def bare(tmp_path: Path) -> Iterator[Bench]:
    """Given a folder, yield a notebook that has an SSH server and nothing else, and its core."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    for name, data in (("wsl.msi", MSI), ("image.wsl", IMAGE)):
        (tmp_path / name).write_bytes(data)
    with WindowsNotebook(tmp_path / "notebook") as notebook:
        notebook.authorize(key.with_suffix(".pub").read_text())
        # Where Windows' sshd looks for the key of an account that is no administrator.
        own = notebook.drive / "Users" / notebook.account / ".ssh"
        own.mkdir()
        (own / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        web = {MSI_URL: str(tmp_path / "wsl.msi"), IMAGE_URL: str(tmp_path / "image.wsl")}
        notebook.configure(**defaults.BARE, web=web)
        known = "".join(f"[{ME}]:{notebook.port} {one.kind} {one.base64}\n" for one in notebook.host_keys)
        (tmp_path / "known_hosts").write_text(known)
        options = (
            f"-o UserKnownHostsFile={tmp_path}/known_hosts -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes"
        )
        host = {
            "ansible_host": ME,
            "ansible_port": notebook.port,
            "ansible_user": "root",
            "ansible_connection": "ssh",
            "ansible_shell_type": "cmd",
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": options,
        }
        inventory = {"windows": {"hosts": {"notebook": host}}}
        (tmp_path / "hosts.json").write_text(json.dumps(inventory))
        yield Bench(tmp_path, notebook)
