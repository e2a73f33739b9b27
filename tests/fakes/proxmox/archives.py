"""Small archives: genuine in shape, made by the stand-in's vzdump; and hostile ones, by hand.

`HOSTILE[name](path)` writes one hostile archive, compressed as the path's suffix says.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes.proxmox.node import FakeNode

if TYPE_CHECKING:
    from collections.abc import Callable

MOUNTS = {"mp0": "mp=/srv/data,backup=1,size=32M", "mp1": "mp=/srv/scratch,backup=0,size=32M"}
VOLUMES = {"mp0": {"keep.txt": "keep this\n"}, "mp1": {"junk.txt": "junk\n"}}
_SUFFIXES = {".zst": "zstd", ".gz": "gzip", ".lzo": "lzo", ".tar": "0"}


def compression(path: Path) -> str:
    """Given an archive's path, return what vzdump calls its compression."""
    return _SUFFIXES[path.suffix]


def make_archive(
    path: Path,
    *,
    compress: str | None = None,
    mode: str = "stop",
    vmid: int = 101,
    faults: dict[str, object] | None = None,
    options: tuple[str, ...] = (),
    **kind: Any,
) -> Path:
    """Write a backup of a small container to a path, by the stand-in's vzdump; return the path.

    `kind` is what `FakeNode.add_container` takes; without it the container has the standard tree and two
    mount points, one of them in the backup. The log of vzdump lies beside, with the suffix `.log`.
    """
    kind = {"mounts": MOUNTS, "volumes": VOLUMES, "running": mode != "stop", **kind}
    with tempfile.TemporaryDirectory(prefix="maw-node-") as folder:
        node = FakeNode(Path(folder))
        node.add_storage("snap", "btrfs", "rootdir,images", snapshots=True)
        node.add_container(vmid, **kind)
        for name, content in (faults or {}).items():
            node.fault(name, content)
        argv = [str(node.programs / "vzdump"), str(vmid), "--mode", mode, "--stdout", *options]
        argv += ["--compress", compress or compression(path)]
        with path.open("wb") as file, path.with_name(path.name + ".log").open("wb") as log:
            subprocess.run(argv, stdout=file, stderr=log, stdin=subprocess.DEVNULL, check=not faults)
    return path


def compressed(data: bytes, how: str) -> bytes:
    """Return bytes compressed as vzdump does."""
    programs = {"zstd": ["zstd", "-q", "-c"], "gzip": ["gzip", "-c"], "lzo": ["lzop", "-c"]}
    if how == "0":
        return data
    return subprocess.run(programs[how], input=data, capture_output=True, check=True).stdout


def write(path: Path, data: bytes) -> None:
    """Write a tar's bytes to a path, compressed as its suffix says."""
    path.write_bytes(compressed(data, compression(path)))


def can_write(path: Path) -> bool:
    """Whether the program is here that a path's compression needs."""
    needed = {".zst": "zstd", ".gz": "gzip", ".lzo": "lzop"}.get(path.suffix)
    return needed is None or shutil.which(needed) is not None


def _hostile() -> dict[str, Callable[[Path], None]]:
    from tests.fakes.proxmox import hostile_damage, hostile_members

    return {**hostile_members.ARCHIVES, **hostile_damage.ARCHIVES}


HOSTILE: dict[str, Callable[[Path], None]] = _hostile()
