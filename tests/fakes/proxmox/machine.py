"""Puts a played node on a machine of the lab, with its API as a service, or takes it away again.

`python -m tests.fakes.proxmox.machine put|away SSH_CONFIG HOST`. On the machine, `serve` is the service.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
STATE = Path("/var/lib/fake-pve")
PROGRAMS = "/usr/local/sbin"
UNIT = "fake-pve-api"
PORT = 8006
_TAR = ("tar", "-cf", "-", "--numeric-owner", "--acls", "--xattrs", "--sparse")
_UNPACK = "tar -xpf - --acls --xattrs --numeric-owner -C"
_PUT = f"""
set -eu
rm -rf {STATE}; mkdir -p {STATE}
{_UNPACK} {STATE}
for program in {STATE}/bin/*; do ln -sf "$program" {PROGRAMS}/; done
"""
_SERVE = f"""
set -eu
mkdir -p {STATE}/code
{_UNPACK} {STATE}/code
systemd-run --quiet --collect --unit={UNIT} --working-directory={STATE}/code \\
  --property=Type=notify --property=NotifyAccess=all \\
  /usr/bin/python3 -m tests.fakes.proxmox.machine serve
"""
_AWAY = f"""
set -eu
if systemctl is-active --quiet {UNIT}; then systemctl stop {UNIT}; fi
for program in {STATE}/bin/*; do rm -f "{PROGRAMS}/${{program##*/}}"; done
rm -rf {STATE}
"""


def put(config: str, host: str) -> None:
    """Given the lab's OpenSSH config and a machine, make it play a node with one container, 101."""
    from tests.fakes.proxmox.node import FakeNode

    away(config, host)
    with tempfile.TemporaryDirectory() as scratch:
        node = FakeNode(Path(scratch))
        node.add_container(101, running=True)
        node.install(node.programs, state=STATE)
        storages = dict(node.state.info()["storages"])
        node.configure(storages={name: {**one, "path": str(STATE)} for name, one in storages.items()})
        packed = subprocess.run([*_TAR, "-C", scratch, "."], capture_output=True, check=True).stdout
    _ssh(config, host, _PUT, packed)
    code = ["tests/fakes/__init__.py", "tests/fakes/proxmox"]
    packed = subprocess.run([*_TAR, "-C", str(ROOT), *code], capture_output=True, check=True).stdout
    _ssh(config, host, _SERVE, packed)


def away(config: str, host: str) -> None:
    """Take the node off that machine again."""
    _ssh(config, host, _AWAY)


def _ssh(config: str, host: str, script: str, given: bytes = b"") -> None:
    argv = ["ssh", "-F", config, "-o", "BatchMode=yes", host, script]
    answer = subprocess.run(argv, input=given, capture_output=True, check=False, timeout=120)
    if answer.returncode != 0:
        sys.exit(f"{host}: {answer.stderr.decode('utf-8', 'replace').strip()}")


def serve() -> None:
    """Serve the API of the node that is here until SIGTERM; tell systemd when it answers."""
    import socket

    from tests.fakes.proxmox.api import ApiServer
    from tests.fakes.proxmox.node import FakeNode

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    node = FakeNode(STATE)
    with ApiServer(node, place=("0.0.0.0", PORT)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        ended.wait()


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="machine", description=__doc__)
    parser.add_argument("verb", choices=("put", "away", "serve"))
    parser.add_argument("config", nargs="?", default="")
    parser.add_argument("host", nargs="?", default="")
    given = parser.parse_args()
    if given.verb == "serve":
        serve()
    else:
        {"put": put, "away": away}[given.verb](given.config, given.host)


if __name__ == "__main__":
    main()
