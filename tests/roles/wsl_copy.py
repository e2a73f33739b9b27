"""A throw-away copy of this system that plays a WSL distro, for the script that opens the way into one.

It is this machine's own files with a layer above them, in namespaces of its own and without a network.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROLE = Path(__file__).resolve().parents[2] / "roles" / "wsl_distro"
# As vars/main.yml puts it together.
SCRIPT = "\n".join(
    (ROLE / "files" / name).read_text("utf-8") for name in ("bootstrap.sh", "bootstrap_remove.sh")
)
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAILQXvX1XRGYp+jYeMI4nbr5UF+wstNwyhSPaJhXmoOhI"
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIFBsYW50ZWQgYnkgYSB0ZXN0LCBvZiBub2JvZHkuLi4u"
LINE = f"restrict,pty,port-forwarding ssh-ed25519 {KEY} maw-bridge"
BRIDGE = "/etc/ssh/sshd_config.d/10-bridge.conf"
KEYS = "/root/.ssh/authorized_keys"
SETTINGS = """PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxSessions 100
"""
CONFIG = "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\nSubsystem sftp /usr/lib/openssh/sftp-server\n"
# Ends in the namespaces of its own; `exec` runs the rest of the words in the copy.
_ENTER = """
set -e
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --bind "$1/tmp" "$1/root/tmp"
mount --bind "$1/home" "$1/root/root"
mount -t tmpfs -o mode=755 run "$1/root/run"
if [ -e "$1/with-run" ]; then mkdir -m 755 "$1/root/run/sshd"; fi
mount --rbind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
folder=$1
shift
exec chroot "$folder/root" "$@"
"""
# A distro that maw has never seen, with what Ansible needs.
_FRESH = """
set -e
rm -rf /etc/ssh /etc/tmpfiles.d /var/lib/maw /etc/wsl.conf /usr/bin/python3 /usr/local/bin/python3 \\
  /usr/lib/tmpfiles.d/openssh-server.conf /usr/lib/tmpfiles.d/sshd.conf
mkdir -p /etc/ssh
printf %s "$1" > /etc/ssh/sshd_config
# Slow to make; the script makes the one that counts.
cp -p /tmp/keys/* /etc/ssh/
printf '#!/bin/sh\\nexit 0\\n' > /usr/bin/python3
chmod 755 /usr/bin/python3
chmod 700 /root
"""


@dataclass
class Distro:
    """The copy, before and between runs: `upper` holds what differs from this system."""

    folder: Path
    shell: list[str]

    def __post_init__(self) -> None:
        for name in ("upper", "work", "root", "tmp", "home"):
            (self.folder / name).mkdir()

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        enter = ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", _ENTER, "sh", str(self.folder)]
        return subprocess.run(
            [*enter, *argv], input=stdin, capture_output=True, text=True, check=False, timeout=120
        )

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        done = self.run(
            "sh",
            "-c",
            'mkdir -p "$(dirname "$1")"; base64 -d > "$1"; chmod "$2" "$1"',
            "sh",
            path,
            f"{mode:o}",
            stdin=base64.b64encode(content.encode() if isinstance(content, str) else content).decode(),
        )
        assert done.returncode == 0, done.stderr

    def read(self, path: str) -> bytes | None:
        done = self.run("sh", "-c", '[ ! -e "$1" ] || base64 "$1" && [ -e "$1" ]', "sh", path)
        return base64.b64decode(done.stdout) if done.returncode == 0 else None

    def remove(self, *paths: str) -> None:
        assert self.run("rm", "-rf", *paths).returncode == 0

    def bootstrap(self, do: str = "install", **variables: str) -> dict[str, Any]:
        """Run the script as the role sends it, and return its answer; `exit` is its status."""
        given = {"maw_key": LINE, **variables}
        words = "".join(f"{name}={shlex.quote(value)}\n" for name, value in given.items())
        script = f"maw_do={do}\n{words}{SCRIPT}\nmain < /dev/null\n"
        encoded = base64.b64encode(script.encode()).decode()
        sent = f"\nprintf %s '{encoded}' | base64 -d | {' '.join(self.shell)} #\n"
        done = self.run("/bin/sh", "-s", stdin=sent)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        assert len(lines) == 1, done.stdout + done.stderr
        assert lines[0].isascii()
        return {**json.loads(lines[0]), "exit": done.returncode, "stderr": done.stderr}


def _missing() -> str | None:
    if os.geteuid() != 0:
        return "only root may mount a copy of the system"
    for name in ("unshare", "chroot", "dash", "/usr/sbin/sshd"):
        if shutil.which(name) is None:
            return f"there is no {name} here"
    return None


SHELLS = {
    "dash": ["/usr/bin/dash"],
    "busybox": ["/usr/bin/busybox", "sh"],
    "bash": ["/usr/bin/bash", "--posix"],
}


@pytest.fixture(params=list(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    words = SHELLS[request.param]
    if not Path(words[0]).exists():
        pytest.skip(f"there is no {words[0]} here")
    return words


@pytest.fixture(scope="module")
def slow_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for kind in ("rsa", "ecdsa"):
        path = folder / f"ssh_host_{kind}_key"
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", kind, "-f", str(path)], check=True)
    return folder


@pytest.fixture
def make(tmp_path: Path, slow_keys: Path) -> Iterator[Callable[..., Distro]]:
    reason = _missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    layer = tmp_path / "layer"
    layer.mkdir()
    # The layer must not lie on the overlay that it covers.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "layer", str(layer)], check=True)
    made = 0

    def one(words: list[str] | None = None) -> Distro:
        nonlocal made
        made += 1
        folder = layer / str(made)
        folder.mkdir()
        distro = Distro(folder, words or SHELLS["dash"])
        shutil.copytree(slow_keys, folder / "tmp" / "keys")
        done = distro.run("sh", "-c", _FRESH, "sh", CONFIG)
        if done.returncode != 0:
            pytest.skip(f"this system cannot be copied in a layer: {done.stderr.strip()}")
        return distro

    yield one
    subprocess.run(["umount", "--lazy", str(layer)], check=True)
