"""Begins a source on the Proxmox server: a running backup, or an archive that is there."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING

from maw.errors import ContainerLocked, MirrorError, ModeRefused
from maw.mirror.model import FRESH, LATEST, STREAM
from maw.mirror.sources import NodeArchive
from maw.mirror.vzdump import VzdumpStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.mirror.pct import Config
    from maw.mirror.sources import Source
    from maw.proxmox.client import Proxmox
    from maw.transport.base import Transport

_POLL_SECONDS = 2.0
_STEP = (
    "Choose --mode suspend (a short pause) or --mode stop, or move its volumes to storage that has snapshots"
)


def begin(
    proxmox: Proxmox,
    transport: Transport,
    vmid: int,
    *,
    kind: str,
    mode: str,
    lock_seconds: float,
    tell: Callable[[str], None],
) -> Source:
    """Given a container and the source wanted (`stream`, `latest`, `new` or a volid), begin it.

    Raise ContainerLocked, ModeRefused, MirrorError, ProxmoxError or TransportError.
    """
    if kind not in FRESH:
        return _archive(proxmox, transport, vmid, kind)
    running = _unlocked(proxmox, vmid, lock_seconds, tell)
    if mode == "snapshot" and running:
        possible, reason = proxmox.supports_snapshot(vmid)
        if not possible:
            raise ModeRefused(name=vmid, mode=mode, reason=reason, step=_STEP)
    if kind == STREAM:
        return VzdumpStream(transport, vmid, mode, lock_seconds=lock_seconds, running=running)
    return _new(proxmox, transport, vmid, mode, tell)


def _unlocked(proxmox: Proxmox, vmid: int, seconds: float, tell: Callable[[str], None]) -> bool:
    """Wait until nothing of the server has the container locked; return whether it runs."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        status = proxmox.status(vmid)
        if status.lock is None:
            return status.status == "running"
        if time.monotonic() >= deadline:
            raise ContainerLocked(vmid=vmid, host=proxmox.host, lock=status.lock)
        if not told:
            tell(f"container {vmid} is locked ({status.lock}); waiting")
            told = True
        time.sleep(_POLL_SECONDS)


def _archive(proxmox: Proxmox, transport: Transport, vmid: int, which: str) -> Source:
    found = proxmox.archives(vmid)
    chosen = next((one for one in found if which in (LATEST, one.volid)), None)
    if chosen is None:
        known = ", ".join(one.volid for one in found[:5]) or "none"
        raise MirrorError(
            name=f"container {vmid}",
            reason=f"there is no such archive on {proxmox.host}; there are: {known}",
            step="Name one of these with --from, or make one with --from new",
        )
    return NodeArchive(
        transport, proxmox.archive_path(chosen.volid), size=chosen.size or None, taken=chosen.created or None
    )


def _new(proxmox: Proxmox, transport: Transport, vmid: int, mode: str, tell: Callable[[str], None]) -> Source:
    """Have the server make an archive on one of its storages, which stays there, and read that."""
    storages = [one for one in proxmox.storages() if "backup" in one.content and one.active]
    if not storages:
        step = "Allow backups on one: `pvesm set local --content backup,…`"
        raise MirrorError(name=f"container {vmid}", reason="no storage takes backups", step=step)
    storage = max(storages, key=lambda one: one.available).name
    before = {one.volid for one in proxmox.archives(vmid, storage)}
    tell(f"the server makes a backup on {storage}")
    proxmox.wait(proxmox.start_backup(vmid, storage, mode, "zstd"))
    fresh = [one for one in proxmox.archives(vmid, storage) if one.volid not in before]
    if not fresh:
        step = "Look at the task's log on the server"
        reason = f"the backup's task ended well, but no new archive is on {storage}"
        raise MirrorError(name=f"container {vmid}", reason=reason, step=step)
    return NodeArchive(
        transport, proxmox.archive_path(fresh[0].volid), size=fresh[0].size or None, taken=fresh[0].created
    )


def addresses(config: Config) -> list[str]:
    """Given a container's config, return the addresses that it has by its own config."""
    found = []
    for net in config.networks():
        for key in ("ip", "ip6"):
            text = (net.get(key) or "").partition("/")[0]
            try:
                found.append(str(ipaddress.ip_address(text)))
            except ValueError:
                # dhcp, auto, manual, or nothing.
                continue
    return found
