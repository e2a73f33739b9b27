"""The node that the recordings were made on, rebuilt from them: the same configs, the same files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.fakes.proxmox.node import FakeNode
from tests.fakes.proxmox.programs.pve import config

SHARED = Path(__file__).resolve().parents[4] / "shared"
FIXTURES = SHARED / "fixtures"
MISSING = None if FIXTURES.is_dir() else "the recordings are not here (../shared/fixtures)"
CONFIGS = {
    101: "unpriv-stop",
    102: "priv-stop",
    103: "btrfs-snapshot",
    104: "raw-gzip",
}
_SUFFIX = {
    "unpriv-stop": "tar.zst",
    "priv-stop": "tar.zst",
    "btrfs-snapshot": "tar.zst",
    "raw-gzip": "tar.gz",
}
_EXTRACT = ["--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "-p", "--sparse"]


def fixture(name: str) -> Path:
    """Return the recorded archive of a name."""
    return next(path for path in FIXTURES.glob(f"{name}.tar*"))


def recorded_node(folder: Path) -> FakeNode:
    """Given an empty folder, return the node as it was recorded: four containers, three storages."""
    node = FakeNode(folder)
    node.configure(kernel="6.18.44-fc-v657", dead_nodes=["pve2"])
    node.add_storage("backup", "dir", "backup")
    node.add_storage("snap", "btrfs", "rootdir,images", snapshots=True)
    for vmid, name in CONFIGS.items():
        text = (FIXTURES / f"{name}.conf").read_text("utf-8")
        node.add_container(vmid, text=text, files={}, running=True)
        _unpack(node, vmid, fixture(name))
    return node


def _unpack(node: FakeNode, vmid: int, archive: Path) -> None:
    root = node.state.rootfs(vmid)
    argv = ["tar", "xf", str(archive), *_EXTRACT, "-C", str(root), "--exclude=./etc/vzdump"]
    subprocess.run(argv, check=True, capture_output=True)
    for mount in config.mounts(node.state.current(vmid)):
        if mount.key == "mp0":
            inside, volume = root / "srv/data", node.state.volume(mount) / "srv/data"
            for path in inside.iterdir():
                path.rename(volume / path.name)


_MASKS = [
    (r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d", "STAMP"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE"),
    (r"/proc/\d+/", "/proc/PID/"),
    (r"vzdumptmp\d+_", "vzdumptmpPID_"),
    (r"\((\d\S+iB), [^)]*/s\)", r"(\1, RATE)"),
    (r"\(\d\d:\d\d:\d\d\)", "(TOOK)"),
    (r"bytes in \d+s", "bytes in Ns"),
    (r"after (<1|\d+) seconds?", "after N seconds"),
    (r"UPID:\w+:[0-9A-F]+:[0-9A-F]+:[0-9A-F]+:", "UPID:NODE:PID:PSTART:START:"),
    (r"(?m)^(pid|uptime|disk|maxdisk): \d+$", r"\1: N"),
    (r'"(pid|uptime|disk|maxdisk)":\d+', r'"\1":N'),
    (r"\b\d+ +\d+ +\d+ +[\d.]+%", "SIZES"),
]


def mask(text: str) -> str:
    """Return a text with what differs from run to run made equal."""
    for pattern, replacement in _MASKS:
        text = re.sub(pattern, replacement, text)
    return "\n".join(_sorted_options(line) for line in text.splitlines())


def _sorted_options(line: str) -> str:
    """Perl's order of the options of a job is by chance."""
    head, found, rest = line.partition("backup job: vzdump ")
    if not found:
        return line
    words, *options = rest.split(" --")
    return head + found + " --".join([words, *sorted(options)])
