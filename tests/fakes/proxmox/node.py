"""A Proxmox VE node in a folder: its containers, its programs, the faults that a test orders."""

from __future__ import annotations

import json
import os
import shutil
import stat
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes.proxmox import tree
from tests.fakes.proxmox.programs.pve import access, config
from tests.fakes.proxmox.programs.pve.state import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Privileges = Mapping[str, Sequence[str]] | None
    Files = Mapping[str, bytes | str] | Callable[[Path], None] | None

PROGRAMS = Path(__file__).with_name("programs")
NAMES = ("vzdump", "pct", "pvesh", "pvesm", "pveum", "pveversion")
VERSION = {"version": "9.2.11", "release": "9.2", "repoid": "14a22df35955d97d"}
_FOLDERS = ("lxc", "qemu", "rootfs", "volumes", "running", "dump", "tasks", "faults", "firewall")


class FakeNode:
    """A node whose state is a folder. Root only: owners and capabilities are real."""

    def __init__(self, folder: Path, *, name: str = "pve1") -> None:
        self.folder = folder
        self.state = Node(folder)
        for part in _FOLDERS:
            (folder / part).mkdir(parents=True, exist_ok=True)
        if not (folder / "node.json").exists():
            self.configure(node=name, version=VERSION, filesystem="ext4", storages={})
            self.add_storage("local", "dir", "iso,vztmpl,backup,rootdir,images", path=folder)
        self.install(self.programs)

    @staticmethod
    def available() -> str | None:
        """Return why a node cannot be played here, or None."""
        if os.geteuid() != 0:
            return "the Proxmox stand-in needs root: it keeps files of other owners"
        for program in ("tar", "cp", "zstd"):
            if shutil.which(program) is None:
                return f"the Proxmox stand-in needs the program {program}"
        return None

    @property
    def programs(self) -> Path:
        """The folder of this node's programs: put it first on the path, or run them by their path."""
        return self.folder / "bin"

    def install(self, bin_folder: Path, *, state: Path | None = None) -> None:
        """Put the programs into a folder, with the file that names this node's state.

        Give `state` where the folder of the node has another path for whom runs the programs.
        """
        bin_folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            shutil.copy2(PROGRAMS / name, bin_folder / name)
            (bin_folder / name).chmod(0o755)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROGRAMS / "pve", bin_folder / "pve", ignore=ignore, dirs_exist_ok=True)
        (bin_folder / "state").write_text(f"{state or self.folder}\n", "utf-8")

    def configure(self, **values: Any) -> None:
        """Set values of node.json: node, version, filesystem, storages, users."""
        path = self.folder / "node.json"
        known = json.loads(path.read_text("utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**known, **values}, indent=1), "utf-8")

    def add_storage(
        self, name: str, kind: str, content: str, *, path: Path | None = None, snapshots: bool = False
    ) -> Path:
        """Add a storage; return its path."""
        path = path or self.folder / "storages" / name
        path.mkdir(parents=True, exist_ok=True)
        storages = dict(self.state.info()["storages"])
        storages[name] = {"type": kind, "path": str(path), "content": content, "snapshots": snapshots}
        self.configure(storages=storages)
        return path

    def add_container(
        self,
        vmid: int,
        *,
        unprivileged: bool = True,
        hostname: str | None = None,
        files: Files = None,
        running: bool = False,
        mounts: Mapping[str, str] | None = None,
        volumes: Mapping[str, Files] | None = None,
        storage: str = "local",
        extra: Sequence[str] = (),
        text: str | None = None,
    ) -> Path:
        """Add a container; return the tree of its root.

        `files` is a mapping of paths to contents, a function that fills the tree, or None for the
        standard tree. `mounts` maps `mp0` to what follows the volume: `mp=/srv/data,backup=1`, or to the
        whole value when it begins with `/`. `volumes` gives the files of each. `text` is a whole config.
        """
        if text is None:
            text = _config(vmid, unprivileged, hostname, mounts or {}, storage, extra)
        self.state.conf_path(vmid).write_text(text, "utf-8")
        root = self.state.rootfs(vmid)
        root.mkdir()
        _fill(root, tree.standard if files is None else files)
        for mount in config.mounts(config.split(text)[0]):
            if mount.key == "rootfs":
                continue
            inner = mount.path.lstrip("/")
            (root / inner).mkdir(parents=True, exist_ok=True)
            if mount.kind == "volume":
                volume = self.state.volume(mount) / inner
                volume.mkdir(parents=True)
                _fill(volume, (volumes or {}).get(mount.key, {}))
        self.state.set_running(vmid, running)
        return root

    def add_vm(self, vmid: int, name: str = "a-vm") -> None:
        """Add a virtual machine: it has a config only."""
        lines = [
            "cores: 1",
            "memory: 512",
            f"name: {name}",
            f"scsi0: local:{vmid}/vm-{vmid}-disk-0.raw,size=4G",
        ]
        self.state.conf_path(vmid, "qemu").write_text("\n".join(lines) + "\n", "utf-8")

    def add_user(self, name: str, privileges: Privileges = None, *, password: str | None = None) -> None:
        """Add a user (`mirror@pve`) and what it may do at which path."""
        with access.change(self.state) as known:
            known["users"].setdefault(name, {"enable": 1})
            if password is not None:
                known["users"][name]["password"] = password
        self._grant(name, privileges)

    def add_token(
        self, user: str, name: str, privileges: Privileges = None, *, privsep: bool = False
    ) -> tuple[str, str]:
        """Add a token of a user; return its whole name and its secret."""
        secret, full = str(uuid.uuid4()), f"{user}!{name}"
        with access.change(self.state) as known:
            known["tokens"][full] = {"value": secret, "privsep": int(privsep)}
        self._grant(full, privileges)
        return full, secret

    def _grant(self, name: str, privileges: Privileges) -> None:
        with access.change(self.state) as known:
            for path, held in (privileges or {}).items():
                role = f"Role{len(known['roles'])}"
                known["roles"][role] = list(held)
                known["acl"].append({"path": path, "ugid": name, "roleid": role, "propagate": 1})

    def fault(self, name: str, content: object = "") -> None:
        """Order a fault from the next command on.

        `kill-tar-after-bytes`, `slow` (bytes per second), `disk-full` (after bytes), `unreadable-file`
        (a path in the container), `lock-held`, `dumpdir-filesystem` (its type), `api-drop` (calls whose path
        holds this text get no answer).
        """
        (self.folder / "faults" / name).write_text(f"{content}\n", "utf-8")

    def mend(self, *names: str) -> None:
        """Take faults back, all of them if none is named."""
        for path in (self.folder / "faults").iterdir():
            if not names or path.name in names:
                path.unlink()

    def archives(self, storage: str = "local") -> list[Path]:
        """Return the finished backups of a storage, oldest first."""
        entries = sorted(self.state.archives(storage), key=lambda entry: entry["ctime"])
        return [self.state.volume_path(entry["volid"]) for entry in entries]


def _config(
    vmid: int,
    unprivileged: bool,
    hostname: str | None,
    mounts: Mapping[str, str],
    storage: str,
    extra: Sequence[str],
) -> str:
    address = f"BC:24:11:00:{vmid // 256 % 256:02X}:{vmid % 256:02X}"
    lines = [
        "arch: amd64",
        "cores: 1",
        f"hostname: {hostname or f'ct{vmid}'}",
        "memory: 64",
        f"net0: name=eth0,bridge=vmbr0,gw=10.78.0.1,hwaddr={address},ip=10.78.0.{vmid % 256}/24,type=veth",
        "ostype: unmanaged",
        f"rootfs: {storage}:{vmid}/subvol-{vmid}-disk-0.subvol,size=0T",
        "swap: 0",
    ]
    for key, value in mounts.items():
        disk = f"{storage}:{vmid}/vm-{vmid}-disk-{int(key[2:]) + 1}.raw"
        lines.append(f"{key}: {value}" if value.startswith("/") else f"{key}: {disk},{value}")
    if unprivileged:
        lines.append("unprivileged: 1")
    section = config.Section("", sorted(lines))
    for line in extra:
        key, colon, value = line.partition(": ")
        if colon and not line.startswith(("#", "lxc.")):
            section.set(key, value)
        else:
            section.lines.insert(0 if line.startswith("#") else len(section.lines), line)
    return config.join([section])


def _fill(folder: Path, files: Files) -> None:
    if callable(files):
        files(folder)
        return
    for name, content in (files or {}).items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o444)
