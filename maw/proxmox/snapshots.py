"""Whether a container can be backed up from a snapshot: judged by its volumes and their storages.

The server's own answer counts the volumes too that no backup holds, and believes btrfs when it
promises for a subvolume what vzdump then cannot mount.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Storages of which the server can take a snapshot of a container's volume.
CAPABLE = frozenset({"zfspool", "lvmthin", "rbd", "btrfs"})
_MOUNT = re.compile(r"rootfs|mp\d+")
_TRUE = frozenset({"1", "on", "yes", "true"})


@dataclass(frozen=True)
class Volume:
    """One mounted volume of a container. `backed_up` says whether vzdump takes it."""

    key: str
    volid: str
    storage: str
    backed_up: bool


def volumes(values: Mapping[str, Any]) -> tuple[Volume, ...]:
    """Given a container's config, return its volumes; binds and devices are none."""
    found = []
    for key in sorted(values):
        if not _MOUNT.fullmatch(key):
            continue
        items = dict(
            (name, value) if equals else ("volume", name)
            for name, equals, value in (part.partition("=") for part in str(values[key]).split(","))
        )
        volid = items.get("volume", "")
        storage, colon, _ = volid.partition(":")
        if not colon or volid.startswith("/"):
            continue
        wanted = key == "rootfs" or items.get("backup", "0").lower() in _TRUE
        found.append(Volume(key, volid, storage, wanted))
    return tuple(found)


def judge(found: tuple[Volume, ...], types: Mapping[str, str], *, server_says: bool) -> tuple[bool, str]:
    """Given volumes, each storage's type and the server's word, return whether a snapshot can be taken.

    The text names the volume and storage that cannot; it is empty if all can.
    """
    taken = [volume for volume in found if volume.backed_up]
    for volume in taken:
        kind = types.get(volume.storage)
        place = f"volume {volume.volid} ({volume.key}) lies on storage {volume.storage}"
        if kind == "btrfs" and volume.volid.rpartition("/")[2].startswith("subvol-"):
            return False, f"{place} as a btrfs subvolume, whose snapshots vzdump cannot mount"
        if not server_says and kind is None:
            return False, f"{place}, which the server does not list"
        if not server_says and kind not in CAPABLE:
            return False, f"{place} ({kind}), which has no snapshots"
    if not server_says and len(taken) == len(found):
        return False, "the server says that one of its volumes has no snapshots"
    return True, ""
