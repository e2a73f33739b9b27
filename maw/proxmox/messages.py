"""What the server says when something goes wrong, in maw's errors.

The API puts its message into the status line. A missing container is a 500, a missing privilege
may be an empty list, and a backup that cannot be made is a task that fails later; the same words
come from `pvesh` on standard error, so that one table reads them all.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from maw.errors import (
    ContainerLocked,
    NoSuchContainer,
    ProxmoxAuthentication,
    ProxmoxError,
    ProxmoxPermission,
    ProxmoxUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_PERMISSION = re.compile(r"Permission check failed(?: \((?P<path>/[^,)]*), (?P<privileges>[^)]+)\))?")
_VMID = re.compile(r"/(?:lxc|vms|qemu)/(\d+)(?:/|$)")
_ASK_LOG = "`journalctl -u pvedaemon -u pveproxy` on the server says more"
_LIST_THERE = "see `pct list` on the server"


@dataclass(frozen=True)
class Asked:
    """What was asked: by whom, where, and for what. `path` is percent-encoded."""

    host: str
    token: str
    method: str = "GET"
    path: str = ""

    @property
    def shown(self) -> str:
        """The path as a person reads it."""
        return unquote(self.path)

    @property
    def vmid(self) -> str:
        """The container that it was about, "?" if that does not show."""
        match = _VMID.search(self.shown)
        return match[1] if match else "?"


def explain(status: int, reason: str, body: bytes | str | None, asked: Asked) -> ProxmoxError:
    """Given an answer's status code, the text of its status line and its body, return the error."""
    message, parameters = _of_body(body)
    text = _one_line(reason) or message
    if status == 401:
        return ProxmoxAuthentication(host=asked.host, token=asked.token, reason=_login(text))
    if status == 400 and parameters:
        return _parameters(parameters, asked)
    known = of_text(text, asked)
    if known is not None:
        return known
    if status == 403:
        return ProxmoxPermission(
            host=asked.host, token=asked.token, privilege=f"for this ({text})", path=asked.shown
        )
    if 595 <= status <= 599 or status in (502, 503, 504):
        return _relay(status, text, asked)
    if status == 501:
        return _error(
            asked,
            f"it does not know {asked.method} {asked.shown} ({text})",
            "Check that it is Proxmox VE 7 or newer (`pveversion` on the server)",
        )
    if 300 <= status < 400:
        return _error(
            asked,
            f"it points to another place ({status} {text})",
            "Check the address and proxmox.api_port in maw.toml",
        )
    return _error(asked, f"{text or 'no reason given'} ({status})", _ASK_LOG)


def of_text(text: str, asked: Asked) -> ProxmoxError | None:
    """Given a message of the server, wherever it stood, return its error, None if it has no own."""
    for pattern, make in _KNOWN:
        if match := pattern.search(text):
            return make(match, asked)
    return None


def of_parameters(text: str) -> dict[str, str]:
    """Given what `pvesh` says of wrong parameters, a line each, return them with what is wrong."""
    found = {}
    for line in text.splitlines()[1:]:
        name, colon, what = line.partition(": ")
        if line.startswith("pvesh ") or not colon:
            break
        found[name] = what
    return found


def _of_body(body: bytes | str | None) -> tuple[str, dict[str, Any]]:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        content = json.loads(text)
    except ValueError:
        return _one_line(text)[:300], {}
    if not isinstance(content, dict):
        return "", {}
    errors = content.get("errors")
    return _one_line(str(content.get("message") or "")), errors if isinstance(errors, dict) else {}


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(". ")


def _error(asked: Asked, reason: str, step: str) -> ProxmoxError:
    return ProxmoxError(host=asked.host, reason=reason, step=step)


def _login(text: str) -> str:
    if text == "No ticket":
        return "no token arrived there (No ticket)"
    if text.startswith("Authentication failed"):
        return "it is not known there or has expired, or its secret is another one (Authentication failed)"
    return text or "no reason given"


def _parameters(parameters: dict[str, Any], asked: Asked) -> ProxmoxError:
    if _one_line(str(parameters.get("upid", ""))) == "no such task":
        return _error(
            asked,
            f"it knows no task {asked.shown.partition('/tasks/')[2].partition('/')[0]}",
            "Look for it with `pvenode task list` on the server",
        )
    listed = "; ".join(f"{name}: {_one_line(str(what))}" for name, what in sorted(parameters.items()))
    return _error(
        asked,
        f"it refuses {listed} (in {asked.method} {asked.shown})",
        "Check that value on the command line or in maw.toml",
    )


def _relay(status: int, text: str, asked: Asked) -> ProxmoxError:
    match = re.match(r"/nodes/([^/]+)", asked.shown)
    where = f"node {match[1]}, asked through {asked.host}," if match else asked.host
    return ProxmoxUnreachable(host=where, reason=f"{text or 'no answer'} ({status})")


def _permission(match: re.Match[str], asked: Asked) -> ProxmoxError:
    privileges = match["privileges"] or "for this (the server does not name it)"
    return ProxmoxPermission(
        host=asked.host,
        token=asked.token,
        privilege=privileges.replace("|", " or "),
        path=match["path"] or asked.shown,
    )


def _missing(match: re.Match[str], asked: Asked) -> ProxmoxError:
    return NoSuchContainer(vmid=match[1], host=asked.host, hint="", known=_LIST_THERE)


def _locked(match: re.Match[str], asked: Asked) -> ProxmoxError:
    return ContainerLocked(vmid=asked.vmid, host=asked.host, lock=match[1])


def _file_locked(match: re.Match[str], asked: Asked) -> ProxmoxError:
    lock = "another program is changing its config just now"
    return ContainerLocked(vmid=match[1], host=asked.host, lock=lock)


def _no_node(match: re.Match[str], asked: Asked) -> ProxmoxError:
    return _error(
        asked,
        f"it knows no node {match[1]}",
        "Check proxmox.node in maw.toml; `pvesh get /nodes` on the server lists them",
    )


def _no_storage(match: re.Match[str], asked: Asked) -> ProxmoxError:
    return _error(asked, f"it has no storage {match[1]}", "`pvesm status` on the server lists them")


def _wrong_storage(match: re.Match[str], asked: Asked) -> ProxmoxError:
    return _error(
        asked,
        f"its storage {match[1]} holds no backups",
        "Name another one, or allow it there: `pvesm set STORAGE --content …,backup`",
    )


def _no_archive(match: re.Match[str], asked: Asked) -> ProxmoxError:
    storage = match[1].partition(":")[0]
    return _error(
        asked,
        f"it has no archive {match[1]}",
        f"`pvesm list {storage} --content backup` on the server lists them",
    )


def _no_snapshot(match: re.Match[str], asked: Asked) -> ProxmoxError:
    return _error(
        asked,
        f"container {asked.vmid} has no snapshot {match[1]}",
        f"`pct listsnapshot {asked.vmid}` on the server lists them",
    )


def _state(match: re.Match[str], asked: Asked) -> ProxmoxError:
    return _error(asked, f"container {match[1]} is {match[2]}", "Run the same command again")


def _global_lock(_: re.Match[str], asked: Asked) -> ProxmoxError:
    return _error(
        asked,
        "another backup runs there, and it makes one at a time",
        "Run the same command again when that is over",
    )


_KNOWN: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Asked], ProxmoxError]], ...] = (
    (_PERMISSION, _permission),
    (re.compile(r"Configuration file '[^']*/(\d+)\.conf' does not exist"), _missing),
    (re.compile(r"unable to find VM '(\d+)'"), _missing),
    (re.compile(r"(?:CT|VM) is locked \(([^)]+)\)"), _locked),
    (re.compile(r"can't lock file '[^']*pve-config-(\d+)\.lock'"), _file_locked),
    (re.compile(r"can't acquire lock '[^']*vzdump\.lock'"), _global_lock),
    (re.compile(r"hostname lookup '([^']+)' failed"), _no_node),
    (re.compile(r"storage '([^']+)' does not exist"), _no_storage),
    (re.compile(r"can't use storage '([^']+)' for backups"), _wrong_storage),
    (re.compile(r"volume_size_info on '([^']+)' failed"), _no_archive),
    (re.compile(r"snapshot '([^']+)' does not exist"), _no_snapshot),
    (re.compile(r"CT (\d+) (already running|not running)"), _state),
)
