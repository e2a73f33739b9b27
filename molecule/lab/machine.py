"""What each machine holds: its files, and the hash that says whether they are there already."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.names import Lab, Machine

_SETUP = Path(__file__).with_name("setup.sh")
LIBRARY = "usr/local/lib/maw-lab"
# Containers of a container: a network of its own in every notebook, for nobody routes it.
_NESTED = {
    "storage_pools": [{"name": "default", "driver": "dir"}],
    "networks": [
        {
            "name": "lxdbr0",
            "type": "bridge",
            "config": {
                "ipv4.address": "10.199.0.1/24",
                "ipv4.nat": "false",
                "ipv4.firewall": "false",
                "ipv6.address": "none",
            },
        }
    ],
    "profiles": [
        {
            "name": "default",
            "devices": {
                "root": {"type": "disk", "path": "/", "pool": "default"},
                "eth0": {"type": "nic", "name": "eth0", "network": "lxdbr0"},
            },
        }
    ],
}
# networkd would wait for udev, which is not there.
_NETWORK = """[Unit]
Description=The address of this machine of the lab
DefaultDependencies=no
After=local-fs.target
Before=network.target ssh.service windows-sshd.service shutdown.target
Wants=network.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip link set eth0 up
ExecStart=/sbin/ip address replace {address}/24 dev eth0
ExecStart=/sbin/ip route replace default via {gateway}

[Install]
WantedBy=multi-user.target
"""
_SSHD_OF_WSL = (
    "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
)


@dataclass(frozen=True)
class File:
    """A file's bytes and mode. The owner is root."""

    data: bytes
    mode: int = 0o644


def files(lab: Lab, machine: Machine, subnet: str, keys: Mapping[str, str]) -> dict[str, File]:
    """Given the lab, a machine, the network and the public keys by purpose, return the machine's files."""
    hosts = ["127.0.0.1 localhost", "::1 localhost"]
    hosts += [f"{other.address(subnet)} {other.name}" for other in lab.machines]
    network = _NETWORK.format(address=machine.address(subnet), gateway=names.gateway(subnet))
    texts = {
        "etc/hostname": f"{machine.name}\n",
        "etc/hosts": "\n".join(hosts) + "\n",
        "etc/systemd/system/lab-network.service": network,
        "etc/tmpfiles.d/maw-lab.conf": "d /run/sshd 0755 root root -\n",
    }
    key = None
    if machine.bare:
        del texts["etc/tmpfiles.d/maw-lab.conf"]
    elif machine.role == names.NOTEBOOK:
        key = f"restrict,pty,port-forwarding {keys['bridge']}\n"
        texts["etc/ssh/sshd_config.d/10-bridge.conf"] = _SSHD_OF_WSL
        texts[f"{LIBRARY}/lxd.yaml"] = json.dumps(_NESTED, indent=1)
    else:
        key = f"{keys['admin']}\n"
    found = {name: File(text.encode()) for name, text in texts.items()}
    if key is not None:
        found["root/.ssh/authorized_keys"] = File(key.encode(), 0o600)
    found[f"{LIBRARY}/setup.sh"] = File(_SETUP.read_bytes(), 0o755)
    return found


def content(found: Mapping[str, File]) -> str:
    """Given a machine's files, return their hash."""
    digest = hashlib.sha256()
    for name, file in sorted(found.items()):
        digest.update(f"{name}\0{file.mode}\0{len(file.data)}\0".encode() + file.data)
    return digest.hexdigest()[:16]


def archive(found: Mapping[str, File]) -> bytes:
    """Given a machine's files, return them as a tar, with their folders."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        made: set[str] = set()
        for name, file in sorted(found.items()):
            for folder in [str(path) for path in reversed(Path(name).parents) if str(path) != "."]:
                # Existing folders of the system stay as they are; of ours, only this is private.
                if folder not in made and folder == "root/.ssh":
                    entry = tarfile.TarInfo(folder)
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o700
                    tar.addfile(entry)
                made.add(folder)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(file.data), file.mode
            tar.addfile(entry, io.BytesIO(file.data))
    return buffer.getvalue()
