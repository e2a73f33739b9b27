"""The folder of a node: its containers, storages, tasks, and the faults that tests order."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path

from . import config

_ARCHIVE = re.compile(
    r"^vzdump-(lxc|qemu)-(\d+)-(\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d)\.((?:tar|vma)(?:\.(?:gz|lzo|zst|bz2))?)$"
)


class PveError(Exception):
    """What a program says on its last line, and its exit code."""

    def __init__(self, text: str, code: int = 255) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Node:
    """The state of a node, read anew whenever it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def info(self) -> dict:
        """Return what node.json says."""
        return json.loads((self.folder / "node.json").read_text("utf-8"))

    @property
    def name(self) -> str:
        """The node's own name."""
        return self.info()["node"]

    def fault(self, name: str) -> str | None:
        """Return the content of the file that orders a fault, or None."""
        try:
            return (self.folder / "faults" / name).read_text("utf-8").strip()
        except FileNotFoundError:
            return None

    # Guests

    def guests(self, kind: str = "lxc") -> list[int]:
        """Return the numbers of the containers (`lxc`) or virtual machines (`qemu`)."""
        return sorted(int(path.stem) for path in (self.folder / kind).glob("*.conf") if path.stem.isdigit())

    def conf_path(self, vmid: int | str, kind: str = "lxc") -> Path:
        """Return the path of a guest's config."""
        return self.folder / kind / f"{vmid}.conf"

    def text(self, vmid: int | str, kind: str = "lxc") -> str:
        """Return the config's text, or raise what Proxmox VE says for one that is missing."""
        try:
            return self.conf_path(vmid, kind).read_text("utf-8")
        except FileNotFoundError:
            folder = "qemu-server" if kind == "qemu" else kind
            missing = f"Configuration file 'nodes/{self.name}/{folder}/{vmid}.conf' does not exist"
            raise PveError(missing, 2) from None

    def sections(self, vmid: int | str) -> list[config.Section]:
        """Return the sections of a container's config."""
        return config.split(self.text(vmid))

    def current(self, vmid: int | str, kind: str = "lxc") -> config.Section:
        """Return the first section: the config itself."""
        return config.split(self.text(vmid, kind))[0]

    def write(self, vmid: int | str, sections: list[config.Section]) -> None:
        """Replace a container's config, at once."""
        path = self.conf_path(vmid)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(config.join(sections), "utf-8")
        beside.replace(path)

    def set_key(self, vmid: int | str, key: str, value: str | None) -> None:
        """Set or remove a key of a container's config."""
        sections = self.sections(vmid)
        sections[0].set(key, value)
        self.write(vmid, sections)

    def check_lock(self, vmid: int | str) -> None:
        """Raise if the container's config is locked."""
        lock = self.current(vmid).get("lock")
        if lock:
            raise PveError(f"CT is locked ({lock})")

    def pid(self, vmid: int | str) -> int | None:
        """Return the number of the guest's first process, or None when it is stopped."""
        try:
            return int((self.folder / "running" / str(vmid)).read_text("ascii").strip() or 1)
        except FileNotFoundError:
            return None

    def set_running(self, vmid: int | str, running: bool) -> None:
        """Start or stop a guest."""
        path = self.folder / "running" / str(vmid)
        if running:
            path.write_text(f"{random.randrange(2000, 32768)}\n", "ascii")
        else:
            path.unlink(missing_ok=True)

    def rootfs(self, vmid: int | str) -> Path:
        """Return the tree of a container's root volume."""
        return self.folder / "rootfs" / str(vmid)

    def volume(self, mount: config.Mount) -> Path:
        """Return the folder below which a mount point's tree lies, at the path where it is mounted."""
        return self.folder / "volumes" / mount.folder

    # Storages

    def storage(self, name: str) -> dict:
        """Return what node.json says of a storage, or raise."""
        storages = self.info()["storages"]
        if name not in storages:
            raise PveError(f"storage '{name}' does not exist")
        return storages[name]

    def dump_folder(self, name: str) -> Path:
        """Return the folder where a storage keeps backups; make it."""
        folder = Path(self.storage(name)["path"]) / "dump"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def contents(self, name: str) -> list[str]:
        """Return the kinds of content of a storage."""
        return self.storage(name).get("content", "").split(",")

    def archives(self, name: str) -> list[dict]:
        """Return the backups of a storage, as the API lists them, by number and time."""
        if "backup" not in self.contents(name):
            return []
        found = []
        for path in self.dump_folder(name).iterdir():
            match = _ARCHIVE.match(path.name)
            if match:
                found.append(_archive(name, path, match))
        return sorted(found, key=lambda entry: (entry["vmid"], entry["volid"]))

    def volume_path(self, volid: str) -> Path:
        """Given a volume's name as the API gives it, return its file or folder."""
        name, colon, rest = volid.partition(":")
        if not colon or not rest or ".." in rest.split("/"):
            raise PveError(f"unable to parse volume ID '{volid}'")
        base = Path(self.storage(name)["path"])
        if rest.startswith("backup/"):
            return base / "dump" / rest.removeprefix("backup/")
        return base / "images" / rest

    def free(self, name: str) -> tuple[int, int, int]:
        """Return the size, the used and the free bytes of a storage."""
        usage = shutil.disk_usage(self.storage(name)["path"])
        return usage.total, usage.used, usage.free

    def supports_snapshots(self, vmid: int | str, *, all_volumes: bool = False) -> bool:
        """Whether every volume that a backup holds (or every volume) can be snapshotted."""
        wanted = [m for m in config.mounts(self.current(vmid)) if m.included or all_volumes]
        storages = self.info()["storages"]
        return all(bool(storages.get(m.storage, {}).get("snapshots")) for m in wanted)


def _archive(storage: str, path: Path, match: re.Match[str]) -> dict:
    import time

    kind, vmid, when, suffix = match.groups()
    entry: dict = {
        "volid": f"{storage}:backup/{path.name}",
        "content": "backup",
        "format": suffix,
        "subtype": kind,
        "vmid": int(vmid),
        "size": path.stat().st_size,
        "ctime": int(time.mktime(time.strptime(when, "%Y_%m_%d-%H_%M_%S"))),
    }
    notes = path.with_name(path.name + ".notes")
    if notes.exists():
        entry["notes"] = notes.read_text("utf-8").strip()
    if path.with_name(path.name + ".protected").exists():
        entry["protected"] = 1
    return entry
