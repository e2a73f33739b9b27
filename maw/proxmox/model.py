"""What is asked of a Proxmox server and what it answers, in maw's words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from maw.errors import Misuse, ProxmoxError

SMALLEST_VMID = 100
LARGEST_VMID = 999_999_999
MODES = ("snapshot", "suspend", "stop")
COMPRESSIONS = ("0", "gzip", "lzo", "zstd")
_VMID = re.compile(r"[1-9][0-9]{2,8}")
_VOLID = re.compile(r"(?P<storage>[A-Za-z][A-Za-z0-9_.-]*):(?P<name>[^\x00-\x1f\x7f]+)")
_ARCHIVE_OF_CONTAINER = re.compile(r"(?:^|/)(?:vzdump-lxc-|ct/)")
_MODE_TAKEN = re.compile(r"INFO: backup mode: (\w+)")
_ARCHIVE_WRITTEN = re.compile(r"INFO: creating vzdump archive '(.+)'")


class Api(Protocol):
    """One way to ask the server. Each `path` is made by `path_of`, each method raises ProxmoxError.

    `host` names the server in messages, `token` who asks.
    """

    host: str
    token: str

    def get(self, path: str, /, **params: object) -> Any:
        """Return the data of a GET."""

    def post(self, path: str, /, **params: object) -> Any:
        """Return the data of a POST."""

    def delete(self, path: str, /, **params: object) -> Any:
        """Return the data of a DELETE."""


@dataclass(frozen=True)
class Container:
    """One container as the server lists it."""

    vmid: int
    name: str
    status: str
    lock: str | None
    tags: tuple[str, ...]
    maxdisk: int
    maxmem: int
    template: bool


@dataclass(frozen=True)
class RawConfig:
    """A container's current config as the API gives it, without what is no part of the config."""

    values: dict[str, Any]
    digest: str
    lock: str | None


@dataclass(frozen=True)
class Status:
    """Whether a container is "running" or "stopped", and what holds its lock."""

    status: str
    lock: str | None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.status == "running"


@dataclass(frozen=True)
class Storage:
    """One storage of the node."""

    name: str
    type: str
    content: tuple[str, ...]
    active: bool
    total: int
    available: int


@dataclass(frozen=True)
class Archive:
    """One backup archive of a container; `created` is in seconds since 1970."""

    volid: str
    storage: str
    vmid: int
    format: str
    size: int
    created: int
    notes: str
    protected: bool


@dataclass(frozen=True)
class TaskEnd:
    """How a task of the server ended well: "OK" or "WARNINGS: n"; and all that it said."""

    status: str
    warnings: int
    log: tuple[str, ...] = field(repr=False, default=())

    @property
    def mode(self) -> str | None:
        """The mode that a backup really took: vzdump falls back to another one by itself."""
        found = [match[1] for line in self.log if (match := _MODE_TAKEN.match(line))]
        return found[-1] if found else None

    @property
    def archive(self) -> str | None:
        """The path on the node of the archive that a backup wrote."""
        found = [match[1] for line in self.log if (match := _ARCHIVE_WRITTEN.match(line))]
        return found[-1] if found else None


def path_of(*parts: object) -> str:
    """Given the parts of an API path, return it percent-encoded: a part may hold slashes."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


def check_vmid(text: object) -> int:
    """Given what somebody typed as a container's number, return it. Raise Misuse if it cannot be one."""
    word = str(text)
    if not _VMID.fullmatch(word):
        raise Misuse(
            reason=f"{word!r} is no container's number. Give one from {SMALLEST_VMID} to {LARGEST_VMID}, "
            "as `pct list` on the Proxmox server shows them."
        )
    return int(word)


def check_mode(mode: str, compress: str) -> None:
    """Given a backup's mode and compression, raise Misuse if vzdump has no such."""
    for word, known in ((mode, MODES), (compress, COMPRESSIONS)):
        if word not in known:
            raise Misuse(reason=f"vzdump knows no {word!r}. Give one of {', '.join(known)}.")


def storage_of(volid: str) -> str:
    """Given a volume's id, STORAGE:NAME, return the storage. Raise Misuse if it is none."""
    match = _VOLID.fullmatch(volid)
    if match is None:
        raise Misuse(
            reason=f"{volid!r} is no archive of a storage. Give it as STORAGE:backup/NAME, as "
            "`pvesm list STORAGE --content backup` on the Proxmox server shows it."
        )
    return match["storage"]


def odd_answer(host: str, what: str, found: object) -> ProxmoxError:
    """Given an answer that is not what the API promises, return the error that says so."""
    return ProxmoxError(
        host=host,
        reason=f"it answered {str(found)[:200]!r} where {what} should be",
        step="Check that what runs there is Proxmox VE 7 or newer (`pveversion` on the server)",
    )


def to_container(row: dict[str, Any]) -> Container:
    """Given a row of the list of containers, return the container."""
    vmid = int(row["vmid"])
    return Container(
        vmid=vmid,
        name=str(row.get("name") or f"CT{vmid}"),
        status=str(row.get("status", "unknown")),
        lock=row.get("lock") or None,
        tags=tuple(word for word in re.split(r"[;, ]+", str(row.get("tags") or "")) if word),
        maxdisk=int(row.get("maxdisk") or 0),
        maxmem=int(row.get("maxmem") or 0),
        template=bool(int(row.get("template") or 0)),
    )


def to_storage(row: dict[str, Any]) -> Storage:
    """Given a row of the list of storages, return the storage."""
    return Storage(
        name=str(row["storage"]),
        type=str(row.get("type", "unknown")),
        content=tuple(sorted(str(row.get("content") or "").split(","))),
        active=bool(int(row.get("active") or 0)),
        total=int(row.get("total") or 0),
        available=int(row.get("avail") or 0),
    )


def to_archive(row: dict[str, Any], storage: str) -> Archive | None:
    """Given a row of a storage's content, return the archive, None if it is no container's."""
    volid = str(row["volid"])
    kind = row.get("subtype")
    # The subtype came with Proxmox VE 7; before, only the name tells.
    if kind != "lxc" and (kind is not None or not _ARCHIVE_OF_CONTAINER.search(volid.partition(":")[2])):
        return None
    return Archive(
        volid=volid,
        storage=storage,
        vmid=int(row.get("vmid") or 0),
        format=str(row.get("format", "")),
        size=int(row.get("size") or 0),
        created=int(row.get("ctime") or 0),
        notes=str(row.get("notes") or ""),
        protected=bool(int(row.get("protected") or 0)),
    )
