"""Calls about storages and what is on them."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from . import config, tasks
from .api import Call, Route
from .state import PveError


def _all(call: Call) -> list[dict]:
    storages = call.node.info()["storages"]
    digest = hashlib.sha1(json.dumps(storages).encode(), usedforsecurity=False).hexdigest()
    found = []
    for name in sorted(storages):
        if call.who.may(f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace"):
            kept = {key: storages[name][key] for key in ("type", "path", "content")}
            found.append({**kept, "storage": name, "digest": digest})
    return found


def _state(call: Call, name: str) -> dict[str, Any]:
    storage = call.node.storage(name)
    total, used, free = call.node.free(name)
    found = {"type": storage["type"], "content": storage["content"], "active": 1, "enabled": 1, "shared": 0}
    return {**found, "total": total, "used": used, "avail": free}


def _of_node(call: Call) -> list[dict]:
    wanted = call.get("content")
    found = []
    for name in sorted(call.node.info()["storages"]):
        allowed = call.who.may(f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace")
        if allowed and (wanted is None or wanted in call.node.contents(name)):
            state = _state(call, name)
            found.append({**state, "storage": name, "used_fraction": state["used"] / state["total"]})
    return found


def _seen(call: Call) -> str:
    name: str = call["storage"]
    call.node.storage(name)
    call.who.need(f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace")
    return name


def _content(call: Call) -> list[dict]:
    name = _seen(call)
    wanted = call.get("content")
    found = []
    if wanted in (None, "rootdir"):
        found += _disks(call, name)
    if wanted in (None, "backup"):
        archives = call.node.archives(name)
        found += [e for e in archives if call.who.may(f"/vms/{e['vmid']}", "VM.Backup")]
    vmid = call.get("vmid")
    return [entry for entry in found if vmid is None or str(entry["vmid"]) == str(vmid)]


def _disks(call: Call, storage: str) -> list[dict]:
    found = []
    for vmid in call.node.guests():
        for mount in config.mounts(call.node.current(vmid)):
            if mount.kind != "volume" or mount.storage != storage:
                continue
            kind = mount.volume.rpartition(".")[2]
            entry = {
                "volid": mount.volume,
                "vmid": vmid,
                "content": "rootdir",
                "format": kind,
                "parent": None,
            }
            made = int(call.node.conf_path(vmid).stat().st_mtime)
            found.append({**entry, "size": 0, "used": 0, "ctime": made})
    return found


def _entry(call: Call) -> dict:
    name = _seen(call)
    volid = str(call["volume"])
    volid = volid if ":" in volid else f"{name}:{volid}"
    for entry in call.node.archives(name):
        if entry["volid"] == volid:
            call.who.need(f"/vms/{entry['vmid']}", "VM.Backup")
            return entry
    raise PveError(f"volume_size_info on '{volid}' failed - no format")


def _volume(call: Call) -> dict:
    entry = _entry(call)
    size = entry["size"]
    path = str(call.node.volume_path(entry["volid"]))
    found = {"path": path, "format": "raw", "size": size, "used": size}
    return {**found, "notes": entry.get("notes", ""), "protected": entry.get("protected", 0)}


def _delete(call: Call) -> str:
    entry = _entry(call)
    call.who.need(f"/storage/{call['storage']}", "Datastore.Allocate", "Datastore.AllocateSpace")

    def act() -> None:
        path = call.node.volume_path(entry["volid"])
        if entry.get("protected"):
            raise PveError(f"volume '{entry['volid']}' is protected - refusing to remove it")
        for suffix in (".notes", ""):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.with_name(re.sub(r"\.tar.*", ".log", path.name)).unlink(missing_ok=True)

    identity = f"{entry['vmid']}@{call['storage']}"
    return tasks.at_once(call.node, "imgdel", identity, call.who, act)


_ONE = "/nodes/{node}/storage/{storage}"
ROUTES = [
    Route("GET", "/storage", _all, frozenset({"type"})),
    Route(
        "GET",
        "/nodes/{node}/storage",
        _of_node,
        frozenset(["content", "enabled", "format", "storage", "target"]),
    ),
    Route("GET", f"{_ONE}/status", lambda call: _state(call, _seen(call))),
    Route("GET", f"{_ONE}/content", _content, frozenset({"content", "vmid"})),
    Route("GET", f"{_ONE}/content/{{volume}}", _volume),
    Route("DELETE", f"{_ONE}/content/{{volume}}", _delete, frozenset({"delay"})),
]
