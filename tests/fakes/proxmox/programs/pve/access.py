"""Users, tokens, roles and access lists: who may do what where."""

from __future__ import annotations

import contextlib
import fcntl
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .privileges import PRIVILEGES, ROLES
from .state import Node, PveError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "root@pam"
_PATHS = ("/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms")
_EMPTY: dict = {"roles": {}, "users": {ROOT: {"enable": 1}}, "tokens": {}, "acl": []}


def load(node: Node) -> dict:
    """Return the node's users, tokens, roles and access lists."""
    try:
        return json.loads((node.folder / "access.json").read_text("utf-8"))
    except FileNotFoundError:
        return json.loads(json.dumps(_EMPTY))


@contextlib.contextmanager
def change(node: Node) -> Iterator[dict]:
    """Give the node's users, tokens, roles and access lists to change; write them at the end."""
    with (node.folder / "access.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = load(node)
        yield known
        beside = node.folder / "access.json.new"
        beside.write_text(json.dumps(known, indent=1), "utf-8")
        beside.chmod(0o600)
        beside.replace(node.folder / "access.json")


@dataclass(frozen=True)
class Who:
    """A user, perhaps by a token."""

    node: Node
    user: str
    token: str | None = None

    @property
    def name(self) -> str:
        """The name that UPIDs carry."""
        return f"{self.user}!{self.token}" if self.token else self.user

    def privileges(self, path: str) -> set[str]:
        """Return what is allowed at a path."""
        known = load(self.node)
        mine = _granted(known, self.user, path)
        if self.token is None or not known["tokens"].get(self.name, {}).get("privsep", 1):
            return mine
        return mine & _granted(known, self.name, path)

    def may(self, path: str, *wanted: str) -> bool:
        """Whether one of the privileges is held at a path."""
        return bool(self.privileges(path) & set(wanted))

    def need(self, path: str, *wanted: str) -> None:
        """Raise what Proxmox VE says if none of the privileges is held at a path."""
        if not self.may(path, *wanted):
            raise PveError(f"Permission check failed ({path}, {'|'.join(wanted)})", 403)

    def permissions(self) -> dict[str, dict[str, int]]:
        """Return what is allowed at each path that says something."""
        listed = {entry["path"] for entry in load(self.node)["acl"]}
        found = {path: self.privileges(path) for path in sorted({*_PATHS, *listed})}
        return {path: dict.fromkeys(sorted(held), 1) for path, held in found.items() if held}


def _granted(known: dict, name: str, path: str) -> set[str]:
    """The most specific entry counts; those above it only where there is none."""
    if name == ROOT:
        return set(PRIVILEGES)
    parts = [part for part in path.split("/") if part]
    for length in range(len(parts), -1, -1):
        place = "/" + "/".join(parts[:length])
        entries = [
            entry
            for entry in known["acl"]
            if entry["path"] == place
            and entry["ugid"] == name
            and (entry.get("propagate", 1) or length == len(parts))
        ]
        if entries:
            return {priv for entry in entries for priv in role(known, entry["roleid"])}
    return set()


def role(known: dict, name: str) -> list[str]:
    """Return the privileges of a role, or raise."""
    if name in known["roles"]:
        return known["roles"][name]
    if name in ROLES:
        return list(ROLES[name])
    raise PveError(f"role '{name}' does not exist")
