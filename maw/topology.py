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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw.errors import InventoryError, UnknownHost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*|:[0-9a-fA-F:.]+|[0-9a-fA-F:.]+%[A-Za-z0-9_.-]+")
# Windows account names may be Thai, with blanks; what a shell or a config file would read is refused.
_USER = re.compile(r"(?![-~@+ ])[^\x00-\x1f\x7f\"'`\\$%&|;<>(){}\[\]!?*#^=,:/]{1,64}(?<! )")
# wsl.exe splits its options on blanks and keeps quotes; WSL itself takes no other names for a distro.
_DISTRO = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]*")
_SHELLS = ("cmd", "powershell")
# The groups that mean something to maw; others are the user's own.
ROLES = ("core", "proxmox", "satellites", "windows")
# Ends the name under which a notebook's Windows is reached with the bridge's own key.
BRIDGE = "-bridge"
# Ends the name under which a Proxmox server is reached with the mirror's own key.
MIRROR = "-mirror"
# They mean something else to every verb that takes a host.
_RESERVED = ("local", "auto")
# Raised when what is read from the inventory changes, so that old answers are not used.
_FORMAT = 2


@dataclass(frozen=True)
class Host:
    """One machine of the cluster. `addresses` are in the order in which they are tried.

    A notebook is two hosts: its Windows (`windows_shell` says what reads commands there), and
    its WSL, a Linux whose `windows` names the first, and whose addresses are that one's.
    """

    name: str
    addresses: tuple[str, ...]
    port: int = 22
    user: str | None = None
    identity_file: str | None = None
    roles: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    windows: str | None = None
    wsl_distro: str | None = None
    windows_shell: str | None = None
    worker_command: tuple[str, ...] = ("maw-worker",)
    expected: bool = True
    example: bool = False

    @property
    def is_windows(self) -> bool:
        """Whether commands there are read by Windows, so that no Linux command can be run."""
        return self.windows_shell is not None


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

    def windows_of(self, host: Host) -> Host | None:
        """Given a host, return the Windows that its WSL is in, None if it is no WSL."""
        return self.host(host.windows) if host.windows else None

    def distros_of(self, host: Host) -> tuple[Host, ...]:
        """Given a host, return the WSL hosts that are reached through it."""
        return tuple(other for other in self.hosts if other.windows == host.name)


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
    hosts = _hosts(_ask_ansible(inventory), inventory)
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
    listing: dict[str, Any] = json.loads(answer.stdout, object_hook=_plain)
    return listing


def _plain(value: dict[str, Any]) -> Any:
    """What an inventory plugin read elsewhere is marked, so that Ansible takes no template from it."""
    return value["__ansible_unsafe"] if value.keys() == {"__ansible_unsafe"} else value


def _hosts(listing: dict[str, Any], inventory: Path) -> tuple[Host, ...]:
    variables: dict[str, dict[str, Any]] = listing.get("_meta", {}).get("hostvars", {})
    members: dict[str, list[str]] = {}
    for group in sorted(set(listing) - {"_meta", "all", "ungrouped"}):
        for name in _members(listing, group, set()):
            members.setdefault(name, []).append(group)
    names = dict.fromkeys([*members, *variables, *listing.get("ungrouped", {}).get("hosts", [])])
    hosts = [
        _host(_Reader(name, variables.get(name, {}), inventory), tuple(members.get(name, ())))
        for name in names
    ]
    return _joined(hosts, inventory)


def _members(listing: dict[str, Any], group: str, seen: set[str]) -> list[str]:
    if group in seen:
        return []
    seen.add(group)
    content = listing.get(group, {})
    below = [name for child in content.get("children", []) for name in _members(listing, child, seen)]
    return list(dict.fromkeys([*content.get("hosts", []), *below]))


def _joined(hosts: Sequence[Host], inventory: Path) -> tuple[Host, ...]:
    """Given the hosts as they stand, give each notebook's two sides what they know of each other."""
    named = {host.name: host for host in hosts}
    taken = {host.windows + BRIDGE: "a way through Windows" for host in hosts if host.windows}
    taken |= {host.name + MIRROR: "the mirrors' way" for host in hosts if "proxmox" in host.roles}
    joined = []
    for host in hosts:
        if host.name in taken:
            reason = f"the name {host.name} is maw's own for {taken[host.name]}; call that host otherwise"
            raise InventoryError(path=inventory, reason=reason)
        if host.windows is not None:
            way = named.get(host.windows)
            if way is None or way.windows is not None:
                known = ", ".join(other.name for other in hosts if other.windows is None) or "none"
                reason = (
                    f"maw_windows of host {host.name} is {host.windows}, which is no Windows host of the "
                    f"inventory (hosts that could be: {known})"
                )
                raise InventoryError(path=inventory, reason=reason)
            host = replace(host, addresses=way.addresses, port=way.port, example=host.example or way.example)
        elif host.windows_shell is None and any(other.windows == host.name for other in hosts):
            host = replace(host, windows_shell="cmd")
        joined.append(host)
    return tuple(joined)


@dataclass(frozen=True)
class _Reader:
    """One host's variables, checked as they are read."""

    name: str
    variables: dict[str, Any]
    inventory: Path

    def refuse(self, what: str, value: object, hint: str = "") -> InventoryError:
        reason = f"{what} of host {self.name} cannot be {value!r}{hint}"
        return InventoryError(path=self.inventory, reason=reason)

    def text(self, key: str, pattern: re.Pattern[str] | None = None, hint: str = "") -> str | None:
        value = self.variables.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or (pattern and not pattern.fullmatch(value)):
            raise self.refuse(key, value, hint)
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.variables.get(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, value, " (true or false)")
        return value

    def addresses(self, direct: str | None) -> tuple[str, ...]:
        listed = self.variables.get("maw_addresses", [direct or self.name])
        listed = [listed] if isinstance(listed, str) else listed
        if not isinstance(listed, list) or not listed:
            raise self.refuse("maw_addresses", listed)
        for address in listed:
            if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
                raise self.refuse("maw_addresses", address)
        return tuple(dict.fromkeys(listed))

    def port(self) -> int:
        port = self.variables.get("ansible_port", 22)
        port = int(port) if isinstance(port, str) and port.isdecimal() else port
        if type(port) is not int or not 0 < port < 65536:
            raise self.refuse("ansible_port", port)
        return port

    def worker(self) -> tuple[str, ...]:
        worker = self.variables.get("maw_worker_command", ["maw-worker"])
        worker = [worker] if isinstance(worker, str) else worker
        if not isinstance(worker, list) or not worker or not all(isinstance(w, str) and w for w in worker):
            raise self.refuse("maw_worker_command", worker)
        return tuple(worker)


def _host(read: _Reader, roles: tuple[str, ...]) -> Host:
    if not _NAME.fullmatch(read.name) or read.name in _RESERVED:
        raise read.refuse("the name", read.name)
    _check_groups(read, roles)
    direct = read.text("ansible_host", _ADDRESS)
    windows = read.text("maw_windows")
    distro = read.text("maw_wsl_distro", _DISTRO, "; `wsl.exe -l -q` on the notebook lists the names")
    if (windows is None) != (distro is None):
        given, missing = ("maw_windows", "maw_wsl_distro") if windows else ("maw_wsl_distro", "maw_windows")
        raise InventoryError(
            path=read.inventory,
            reason=f"host {read.name} has {given} but no {missing}: a WSL needs its distro's name and the "
            "name of the host that is its Windows",
        )
    shell = read.text("ansible_shell_type")
    is_windows = windows is None and (shell in _SHELLS or "windows" in roles)
    return Host(
        name=read.name,
        addresses=read.addresses(direct),
        port=read.port(),
        user=read.text("ansible_user", _USER) or ("root" if windows else None),
        identity_file=read.text("ansible_ssh_private_key_file"),
        roles=roles,
        # The address of a notebook means its Windows, which is what answers there.
        aliases=(direct,) if direct and windows is None else (),
        windows=windows,
        wsl_distro=distro,
        windows_shell=(shell if shell in _SHELLS else "cmd") if is_windows else None,
        worker_command=read.worker(),
        expected=read.flag("maw_expected", default=True),
        example=read.flag("maw_example", default=False),
    )


def _check_groups(read: _Reader, roles: tuple[str, ...]) -> None:
    """Refuse a misspelt group: its hosts would silently be no satellites."""
    if set(roles) & set(ROLES):
        return
    for group in roles:
        near = difflib.get_close_matches(group, ROLES, n=1, cutoff=0.85)
        if near:
            raise InventoryError(
                path=read.inventory,
                reason=f"host {read.name} is in group {group}, which means nothing to maw; "
                f"did you mean {near[0]}?",
            )
