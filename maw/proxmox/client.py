"""What maw asks a Proxmox server, whichever way: containers, their configs, archives, backups."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from maw.errors import Misuse, NoSuchContainer, ProxmoxError, ProxmoxPermission
from maw.proxmox import model, snapshots, tasks
from maw.proxmox.model import path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.proxmox.model import Api, Archive, Container, RawConfig, Status, Storage, TaskEnd


class Proxmox:
    """One node of a Proxmox server, asked through `api`.

    `node` is its name; without one it is the only node, or the one that answers.
    """

    def __init__(
        self,
        api: Api,
        *,
        node: str = "",
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._node = node
        self._sleep = sleep
        self._clock = clock

    @property
    def host(self) -> str:
        """The server's name in messages."""
        return self._api.host

    def node(self) -> str:
        """Return the node's name. Raise Misuse if there are several and none is named."""
        if not self._node:
            names = sorted(str(row["node"]) for row in self._rows(path_of("nodes")))
            if not names:
                raise model.odd_answer(self.host, "its nodes", names)
            self._node = names[0] if len(names) == 1 else self._local_node(names)
        return self._node

    def _local_node(self, names: list[str]) -> str:
        try:
            rows = self._rows(path_of("cluster", "status"))
        except ProxmoxPermission as error:
            # The one thing that would need Sys.Audit, and the name can be written down instead.
            raise self._several(names) from error
        local = [str(row["name"]) for row in rows if row.get("type") == "node" and row.get("local")]
        if len(local) != 1:
            raise self._several(names)
        return local[0]

    def _several(self, names: list[str]) -> Misuse:
        listed = ", ".join(names)
        return Misuse(
            reason=f"{self.host} is a cluster of {len(names)} nodes. Name the one that has the containers in "
            f"proxmox.node in maw.toml: {listed}."
        )

    def containers(self) -> tuple[Container, ...]:
        """Return the node's containers, by number. Raise ProxmoxPermission if none may be seen."""
        found = self._listed()
        if not found:
            self.require("VM.Audit", "/vms")
        return found

    def config(self, vmid: int) -> RawConfig:
        """Given a container, return its current config. Raise NoSuchContainer."""
        values = self._of_container(vmid, "config", current=1)
        digest = str(values.pop("digest", ""))
        lock = values.pop("lock", None)
        return model.RawConfig(values, digest, str(lock) if lock else None)

    def status(self, vmid: int) -> Status:
        """Given a container, return whether it runs, and its lock. Raise NoSuchContainer."""
        found = self._of_container(vmid, "status", "current")
        return model.Status(str(found.get("status", "unknown")), found.get("lock") or None)

    def supports_snapshot(self, vmid: int) -> tuple[bool, str]:
        """Given a container, return whether a backup in mode snapshot can be made, and what cannot if not.

        Raise NoSuchContainer.
        """
        volumes = snapshots.volumes(self.config(vmid).values)
        answer = self._of_container(vmid, "feature", feature="snapshot")
        types = {storage.name: storage.type for storage in self.storages()}
        return snapshots.judge(volumes, types, server_says=bool(int(answer.get("hasFeature") or 0)))

    def storages(self) -> tuple[Storage, ...]:
        """Return the node's storages, by name. Raise ProxmoxPermission if none may be seen."""
        rows = self._rows(path_of("nodes", self.node(), "storage"))
        if not rows:
            self.require("Datastore.Audit", "/storage")
        return tuple(sorted(map(model.to_storage, rows), key=lambda storage: storage.name))

    def archives(self, vmid: int | None = None, storage: str | None = None) -> tuple[Archive, ...]:
        """Given a container (None is all) and a storage (None is all that are up), return archives.

        The newest is first. Raise ProxmoxPermission if there are none because none may be seen.
        """
        names = [storage] if storage is not None else self._backup_storages()
        wanted = {"content": "backup"} if vmid is None else {"content": "backup", "vmid": vmid}
        found = []
        for name in names:
            rows = self._rows(path_of("nodes", self.node(), "storage", name, "content"), **wanted)
            found += [one for row in rows if (one := model.to_archive(row, name)) is not None]
        if not found:
            self.require("VM.Backup", "/vms" if vmid is None else f"/vms/{vmid}")
        chosen = [archive for archive in found if vmid is None or archive.vmid == vmid]
        return tuple(sorted(chosen, key=lambda archive: (-archive.created, archive.volid)))

    def archive_path(self, volid: str) -> str:
        """Given an archive's id, return its absolute path on the node. Raise ProxmoxError."""
        storage = model.storage_of(volid)
        found = self._api.get(path_of("nodes", self.node(), "storage", storage, "content", volid))
        path = str(found.get("path", "")) if isinstance(found, dict) else ""
        if not path.startswith("/"):
            raise ProxmoxError(
                host=self.host,
                reason=f"the archive {volid} is no file there ({path or 'no path'})",
                step="Name an archive of a storage that keeps files, such as a directory or NFS",
            )
        return path

    def start_backup(self, vmid: int, storage: str, mode: str, compress: str) -> str:
        """Given a container and how, start its backup and return the task's UPID, to be waited for.

        No archive of the server is ever pruned for it. Raise ProxmoxError.
        """
        model.check_mode(mode, compress)
        path = path_of("nodes", self.node(), "vzdump")
        answer = self._api.post(
            path, vmid=model.check_vmid(vmid), storage=storage, mode=mode, compress=compress, remove=0
        )
        return tasks.check_upid(self.host, answer)

    def wait(
        self,
        upid: str,
        on_log: Callable[[str], None] | None = None,
        *,
        silence_seconds: float = 900.0,
        cancelled: Callable[[], bool] | None = None,
    ) -> TaskEnd:
        """Given a task, wait for its end and return it. `on_log` gets the lines of its log as they come.

        There is no time limit while the server answers; it may be silent for `silence_seconds`. When
        `cancelled` says so, the task is stopped. Raise TaskFailed, ProxmoxPermission,
        NoSuchContainer, ContainerLocked, ProxmoxUnreachable or Interrupted.
        """
        watch = tasks.Watch(self._api, upid, on_log, silence_seconds, cancelled, self._sleep, self._clock)
        try:
            return watch.wait()
        except NoSuchContainer as error:
            raise self._no_such(str(error.facts["vmid"])) from error

    def stop(self, upid: str) -> None:
        """Given a task, stop it. Raise ProxmoxError."""
        tasks.Watch(self._api, upid).stop()

    def require(self, privilege: str, path: str) -> None:
        """Given a privilege and a path of the server's rights, raise ProxmoxPermission if we lack it."""
        granted = self._api.get(path_of("access", "permissions"), path=path)
        if not allows(granted or {}, privilege, path):
            raise ProxmoxPermission(host=self.host, token=self._api.token, privilege=privilege, path=path)

    def _backup_storages(self) -> list[str]:
        return [one.name for one in self.storages() if "backup" in one.content and one.active]

    def _listed(self) -> tuple[Container, ...]:
        rows = self._rows(path_of("nodes", self.node(), "lxc"))
        return tuple(sorted(map(model.to_container, rows), key=lambda container: container.vmid))

    def _rows(self, path: str, **params: object) -> list[dict[str, Any]]:
        rows = self._api.get(path, **params)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise model.odd_answer(self.host, "a list", rows)
        return rows

    def _of_container(self, vmid: int, *parts: str, **params: object) -> dict[str, Any]:
        vmid = model.check_vmid(vmid)
        try:
            found = self._api.get(path_of("nodes", self.node(), "lxc", vmid, *parts), **params)
        except NoSuchContainer as error:
            raise self._no_such(str(vmid)) from error
        if not isinstance(found, dict):
            raise model.odd_answer(self.host, "a container's data", found)
        return dict(found)

    def _no_such(self, vmid: str) -> NoSuchContainer:
        known = ", ".join(f"{one.vmid} ({one.name})" for one in self._listed()) or "none"
        return NoSuchContainer(vmid=vmid, host=self.host, hint=self._hint(vmid), known=known)

    def _hint(self, vmid: str) -> str:
        machines = self._rows(path_of("nodes", self.node(), "qemu"))
        if any(str(row.get("vmid")) == vmid for row in machines):
            return f" ({vmid} is a virtual machine, not a container)"
        if len(self._rows(path_of("nodes"))) > 1:
            for row in self._rows(path_of("cluster", "resources"), type="vm"):
                if str(row.get("vmid")) == vmid and row.get("node") != self.node():
                    return f"'s node {self.node()} (it is on {row.get('node')}; see proxmox.node in maw.toml)"
        return ""


def allows(granted: dict[str, Any], privilege: str, path: str) -> bool:
    """Given rights as /access/permissions lists them, return whether `path` has the privilege.

    A path that is not listed inherits from the nearest one above, what is marked to propagate.
    """
    own = granted.get(path)
    if isinstance(own, dict):
        return privilege in own
    above = path.rstrip("/")
    while above:
        above = above.rpartition("/")[0]
        listed = granted.get(above or "/")
        if isinstance(listed, dict):
            return bool(int(listed.get(privilege) or 0))
    return False
