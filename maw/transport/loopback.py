"""A satellite on this very machine: a real sshd of our own, on loopback, as this user.

For the demo, the tests and the benchmarks: own keys, own port, nothing of the system's sshd or
of the user's ``~/.ssh`` is touched, and nothing is left when it ends.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from maw.errors import TransportError
from maw.transport import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "loopback"
ADDRESS = "127.0.0.1"
# Debian keeps it where a user's PATH does not look.
_PLACES = "/usr/sbin:/usr/local/sbin:/sbin"


def find_sshd() -> str | None:
    """Return the path of the OpenSSH server program, or None if it is not installed."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:{_PLACES}")


class LoopbackSatellite:
    """A running sshd on 127.0.0.1; a context manager. Raise TransportError if it does not start."""

    def __init__(self, folder: Path, *, name: str = NAME, address: str = ADDRESS, port: int = 0) -> None:
        self.folder = folder
        self.name = name
        self.address = address
        self.port = port or _free_port(address)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def identity(self) -> Path:
        """The private key that may log in."""
        return self.folder / "client_key"

    @property
    def host_keys(self) -> tuple[keys.HostKey, ...]:
        """The host key that the server shows."""
        words = (self.folder / "host_key.pub").read_text("ascii").split()
        return (keys.HostKey(words[0], words[1]),)

    def inventory(self, worker_command: Sequence[str]) -> str:
        """Given the worker's command on it, return an Ansible inventory (JSON is YAML) that names it."""
        import json

        variables = {
            "maw_addresses": [self.address],
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.identity),
            "maw_worker_command": list(worker_command),
        }
        return json.dumps({"satellites": {"hosts": {self.name: variables}}}, indent=2, ensure_ascii=False)

    def start(self) -> None:
        """Start the server and wait until it greets. Raise TransportError."""
        sshd = find_sshd()
        if sshd is None:
            raise TransportError(
                host=self.name, reason="no sshd program is installed here (apt install openssh-server)"
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for key in ("host_key", "client_key"):
            if not (self.folder / key).exists():
                self._keygen(key)
        (self.folder / "home").mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(self.folder / "client_key.pub", self.folder / "authorized_keys")
        (self.folder / "sshd_config").write_text(self._config(), "utf-8")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = self.folder / "sshd.log"
        argv = [sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
            )
        self._wait(log)

    def _keygen(self, name: str) -> None:
        argv = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            f"maw {name}",
            "-f",
            str(self.folder / name),
        ]
        answer = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if answer.returncode != 0:
            raise TransportError(host=self.name, reason=answer.stderr.decode("utf-8", "replace").strip())

    def _config(self) -> str:
        folder = str(self.folder)
        options = {
            "ListenAddress": f"{self.address}:{self.port}",
            "HostKey": f'"{folder}/host_key"',
            "AuthorizedKeysFile": f'"{folder}/authorized_keys"',
            "PidFile": "none",
            "UsePAM": "no",
            # The folder is private, but may lie under one that is not, such as /tmp.
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "MaxStartups": "100",
            "MaxSessions": "50",
            "ClientAliveInterval": "15",
            "PrintMotd": "no",
            # A home of its own: neither the user's start-up files nor caches play a part.
            "SetEnv": f'HOME="{folder}/home"',
            "Subsystem": "sftp internal-sftp",
        }
        return "".join(f"{key} {value}\n" for key, value in options.items())

    def _wait(self, log: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection((self.address, self.port), timeout=1) as probe:
                    if probe.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.02)
        self.stop()
        said = log.read_text("utf-8", "replace").strip().splitlines()
        raise TransportError(host=self.name, reason=f"sshd did not start: {' '.join(said[-2:])}")

    def stop(self) -> None:
        """Stop the server and every connection that it serves."""
        if self._process is None:
            return
        for pid in [*_children(self._process.pid), self._process.pid]:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        self._process.wait(timeout=10)
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    """Return the processes that serve connections: sshd's children have process groups of their own."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text("utf-8", "replace").rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found
