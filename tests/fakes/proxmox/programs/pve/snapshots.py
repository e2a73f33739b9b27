"""A container's snapshots: what its config says of them, and how they are made and removed."""

from __future__ import annotations

import re
import time
import urllib.parse

from . import config
from .state import Node, PveError


def listed(node: Node, vmid: int | str) -> list[dict]:
    """Return the snapshots as the API lists them, the current state last."""
    sections = node.sections(vmid)
    found: list[dict] = []
    for section in sections[1:]:
        entry: dict = {"name": section.name, "description": section.description.rstrip("\n")}
        entry |= {k: v for k, v in section.data().items() if k in ("parent", "snaptime", "snapstate")}
        found.append(entry)
    current: dict = {"name": "current", "description": "You are here!", "digest": digest(node, vmid)}
    current["running"] = int(node.pid(vmid) is not None)
    parent = sections[0].get("parent")
    if parent:
        current["parent"] = parent
    return [*found, current]


def digest(node: Node, vmid: int | str) -> str:
    """Return the hash of a config, by which a change is known."""
    import hashlib

    return hashlib.sha1(node.text(vmid).encode("utf-8"), usedforsecurity=False).hexdigest()


def take(node: Node, vmid: int | str, name: str, description: str = "") -> None:
    """Take a snapshot: a section of the config. Raise PveError where the storage has none."""
    node.check_lock(vmid)
    sections = node.sections(vmid)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]+", name) or name == "current":
        raise PveError(f"400 Parameter verification failed.\nsnapname: invalid configuration ID '{name}'")
    if name in [section.name for section in sections]:
        raise PveError(f"snapshot name '{name}' already used")
    if not node.supports_snapshots(vmid, all_volumes=True):
        raise PveError("snapshot feature is not available")
    taken = config.Section(name, [line for line in sections[0].lines if not line.startswith("#")])
    taken.lines[:0] = [f"#{config.encode_description(line)}" for line in description.splitlines()]
    taken.set("snaptime", str(int(time.time())))
    sections[0].set("parent", name)
    node.write(vmid, [sections[0], *sorted([*sections[1:], taken], key=lambda section: section.name)])


def remove(node: Node, vmid: int | str, name: str) -> None:
    """Remove a snapshot; those after it get its parent."""
    node.check_lock(vmid)
    sections = node.sections(vmid)
    gone = next((section for section in sections[1:] if section.name == name), None)
    if gone is None:
        raise PveError(f"snapshot '{name}' does not exist")
    kept = [section for section in sections if section is not gone]
    for section in kept:
        if section.get("parent") == name:
            section.set("parent", gone.get("parent"))
    node.write(vmid, kept)


def drawn(node: Node, vmid: int | str) -> str:
    """Return the tree that `pct listsnapshot` draws."""
    entries = {entry["name"]: entry for entry in listed(node, vmid)}
    chain, name = [], "current"
    while name in entries:
        chain.insert(0, entries[name])
        name = entries[name].get("parent", "")
    lines = []
    for depth, entry in enumerate(chain):
        head = f"{' ' * depth}`-> {entry['name']}"
        when = (
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry["snaptime"])) if "snaptime" in entry else ""
        )
        text = urllib.parse.unquote(entry["description"]).partition("\n")[0] or "no-description"
        lines.append(f"{head:<31} {when:<23} {text}")
    return "\n".join(lines)
