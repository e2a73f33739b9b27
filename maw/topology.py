"""Which hosts there are, read from the Ansible inventory through Ansible's own loader.

``ansible-inventory`` takes about a second, so its answer is kept, under the hash of every
file of the inventory.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw.errors import InventoryError, UnknownHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*|:[0-9a-fA-F:.]+|[0-9a-fA-F:.]+%[A-Za-z0-9_.-]+")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")
# They mean something else to every verb that takes a host.
_RESERVED = ("local", "auto")
# Raised when what is read from the inventory changes, so that old answers are not used.
_FORMAT = 1


@dataclass(frozen=True)
class Host:
    """One machine of the cluster. `addresses` are in the order in which they are tried."""

    name: str
    addresses: tuple[str, ...]
    port: int = 22
    user: str | None = None
    identity_file: str | None = None
    roles: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    wsl_distro: str | None = None
    worker_command: tuple[str, ...] = ("maw-worker",)
    example: bool = False


@dataclass(frozen=True)
class Topology:
    """All machines of the cluster, in the inventory's order."""

    inventory: Path
    hosts: tuple[Host, ...]

    def host(self, name: str) -> Host:
        """Given a name, return that host. Raise UnknownHost, with the nearest known ones."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = [host.name for host in self.hosts]
        near = difflib.get_close_matches(name, known, n=len(known), cutoff=0.0)
        raise UnknownHost(name=name, inventory=self.inventory, known=", ".join([*near, "local"]))

    def satellites(self) -> tuple[Host, ...]:
        """Return the hosts of group ``satellites``."""
        return tuple(host for host in self.hosts if "satellites" in host.roles)


def load(
    inventory: Path,
    *,
    cache: Path | None = None,
    write: Callable[[Path, str], None] | None = None,
) -> Topology:
    """Given the inventory's folder (or file), return its topology.

    `cache` is a file to keep the answer in, `write` writes it. A missing inventory is a
    topology without hosts. Raise InventoryError if Ansible cannot read all of it, or if a
    value cannot be one.
    """
    try:
        if not inventory.exists():
            return Topology(inventory, ())
        key = _content_hash(inventory)
    except OSError as error:
        raise InventoryError(path=inventory, reason=f"{error.filename}: {error.strerror}") from error
    kept = _read_cache(cache, key) if cache else None
    if kept is not None:
        return Topology(inventory, kept)
    hosts = tuple(_hosts(_ask_ansible(inventory), inventory))
    if cache and write:
        write(cache, json.dumps({"key": key, "hosts": [asdict(host) for host in hosts]}))
    return Topology(inventory, hosts)


def _content_hash(inventory: Path) -> str:
    digest = hashlib.sha256(f"{_FORMAT}\0{inventory}\0".encode("utf-8", "surrogateescape"))
    paths = sorted(inventory.rglob("*")) if inventory.is_dir() else [inventory]
    for path in paths:
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
            digest.update(content)
    return digest.hexdigest()


def _read_cache(cache: Path, key: str) -> tuple[Host, ...] | None:
    try:
        kept = json.loads(cache.read_bytes())
        if kept["key"] != key:
            return None
        hosts: list[dict[str, Any]] = [
            {name: tuple(value) if isinstance(value, list) else value for name, value in host.items()}
            for host in kept["hosts"]
        ]
        return tuple(Host(**host) for host in hosts)
    except (OSError, ValueError, KeyError, TypeError):
        # A missing or damaged cache only costs the second that asking Ansible takes.
        return None


def _ask_ansible(inventory: Path) -> dict[str, Any]:
    beside = Path(sys.executable).parent / "ansible-inventory"
    program = str(beside) if beside.exists() else shutil.which("ansible-inventory")
    if program is None:
        raise InventoryError(path=inventory, reason="the ansible-inventory program is missing; reinstall maw")
    environment = {
        **os.environ,
        # By default a file that cannot be parsed is a warning, and its hosts are missing.
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
        "LC_ALL": "C.UTF-8",
    }
    answer = subprocess.run(
        [program, "-i", str(inventory), "--list"], capture_output=True, env=environment, check=False
    )
    if answer.returncode != 0:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        raise InventoryError(path=inventory, reason=" ".join(said[-3:]) or f"status {answer.returncode}")
    listing: dict[str, Any] = json.loads(answer.stdout)
    return listing


def _hosts(listing: dict[str, Any], inventory: Path) -> Iterable[Host]:
    variables: dict[str, dict[str, Any]] = listing.get("_meta", {}).get("hostvars", {})
    members: dict[str, list[str]] = {}
    for group in sorted(set(listing) - {"_meta", "all", "ungrouped"}):
        for name in _members(listing, group, set()):
            members.setdefault(name, []).append(group)
    for name in dict.fromkeys([*members, *variables, *listing.get("ungrouped", {}).get("hosts", [])]):
        yield _host(name, variables.get(name, {}), tuple(members.get(name, ())), inventory)


def _members(listing: dict[str, Any], group: str, seen: set[str]) -> list[str]:
    if group in seen:
        return []
    seen.add(group)
    content = listing.get(group, {})
    below = [name for child in content.get("children", []) for name in _members(listing, child, seen)]
    return list(dict.fromkeys([*content.get("hosts", []), *below]))


def _host(name: str, variables: dict[str, Any], roles: tuple[str, ...], inventory: Path) -> Host:
    def refuse(what: str, value: object) -> InventoryError:
        return InventoryError(path=inventory, reason=f"{what} of host {name} cannot be {value!r}")

    def text(key: str, pattern: re.Pattern[str] | None = None) -> str | None:
        value = variables.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or (pattern and not pattern.fullmatch(value)):
            raise refuse(key, value)
        return value

    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise refuse("the name", name)
    direct = text("ansible_host", _ADDRESS)
    listed = variables.get("maw_addresses", [direct or name])
    if isinstance(listed, str):
        listed = [listed]
    if not isinstance(listed, list) or not listed:
        raise refuse("maw_addresses", listed)
    for address in listed:
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
            raise refuse("maw_addresses", address)
    port = variables.get("ansible_port", 22)
    port = int(port) if isinstance(port, str) and port.isdecimal() else port
    if type(port) is not int or not 0 < port < 65536:
        raise refuse("ansible_port", port)
    worker = variables.get("maw_worker_command", ["maw-worker"])
    worker = [worker] if isinstance(worker, str) else worker
    if (
        not isinstance(worker, list)
        or not worker
        or not all(isinstance(word, str) and word for word in worker)
    ):
        raise refuse("maw_worker_command", worker)
    return Host(
        name=name,
        addresses=tuple(dict.fromkeys(listed)),
        port=port,
        user=text("ansible_user", _USER),
        identity_file=text("ansible_ssh_private_key_file"),
        roles=roles,
        aliases=(direct,) if direct else (),
        wsl_distro=text("maw_wsl_distro"),
        worker_command=tuple(worker),
        example=bool(variables.get("maw_example", False)),
    )
