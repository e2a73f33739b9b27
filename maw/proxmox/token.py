"""The API token: its secret, and the commands that make it with no more rights than it needs."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maw import files, vault
from maw.errors import InvalidSetting, TokenUnusable

if TYPE_CHECKING:
    from pathlib import Path

ROLE = "MawMirror"
# VM.Audit: see containers and their configs. VM.Backup: back them up and see their archives.
# Datastore.Audit and Datastore.AllocateSpace: see the storages, and let vzdump write to one.
# Not Sys.Audit: it opens the whole configuration of the server to a token that lies on another
# machine, and only tasks of others and the name of the local node of a cluster would need it.
# Not VM.Config.Options either, without which the API leaves out the key env; vzdump does not.
PRIVILEGES = {
    "/vms": ("VM.Audit", "VM.Backup"),
    "/storage": ("Datastore.AllocateSpace", "Datastore.Audit"),
}
_TOKEN_ID = re.compile(
    r"(?P<user>[^\s:/!@\x00-\x1f\x7f]{1,50}@[A-Za-z][A-Za-z0-9._-]+)!(?P<name>[A-Za-z][A-Za-z0-9._-]+)"
)
_SECRET = re.compile(rb"[!-~]{8,256}")
_LARGEST = 65_536
_MAKE = "Make one with `maw proxmox-token --apply`"


COMMENT = "maw mirrors containers"


@dataclass(frozen=True)
class Entry:
    """A line of the server's access list: who (`kind` is user, token or group) has which role where."""

    path: str
    kind: str
    who: str
    role: str
    propagate: bool = True


@dataclass(frozen=True)
class Existing:
    """What of the token is on the server already; `separate` is whether it has rights of its own.

    `privileges` are the role's, `comment` is the user's, `others` are the user's other tokens.
    """

    role: bool = False
    user: bool = False
    token: bool = False
    separate: bool = True
    privileges: frozenset[str] = frozenset()
    comment: str = ""
    others: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


def split_token_id(token_id: str) -> tuple[str, str]:
    """Given a token's id, USER@REALM!NAME, return user and name. Raise InvalidSetting if it is none."""
    match = _TOKEN_ID.fullmatch(token_id)
    if match is None:
        raise InvalidSetting(
            path="maw.toml",
            name="proxmox.token_id",
            wanted="the id of an API token, USER@REALM!NAME (for example maw@pve!mirror)",
            found=repr(token_id),
        )
    return match["user"], match["name"]


def read_secret(path: Path) -> str:
    """Given the token's file (mode 0600, or made by Ansible Vault), return the secret.

    Raise TokenUnusable if it is missing, readable by others, empty, or no secret.
    """
    content = _read(path)
    if content.startswith(vault.MARK):
        content = vault.view(path, TokenUnusable)
    secret = content.strip()
    if not secret:
        raise TokenUnusable(path=path, reason="it is empty", step=_MAKE)
    if not _SECRET.fullmatch(secret):
        raise TokenUnusable(
            path=path,
            reason="it holds something else than a secret on one line",
            step="Put in the secret alone, as `pveum user token add` showed it (the value), or replace it: "
            "`maw proxmox-token --apply --renew`",
        )
    return secret.decode("ascii")


def store_secret(path: Path, secret: str) -> None:
    """Given the token's file, put the secret there: as Ansible Vault if that is what was there, else plain.

    Raise TokenUnusable if Vault fails, CannotWrite or DiskFull.
    """
    content = f"{secret}\n".encode("ascii")
    if _is_vault(path):
        content = vault.encrypt(path, content, TokenUnusable)
    files.write_atomically(path, content, mode=0o600)


def pending(path: Path) -> Path:
    """Given the token's file, return the note that a token was begun whose secret is not kept yet."""
    return path.with_name(f".{path.name}.begun")


def forget_secret(path: Path) -> None:
    """Given the token's file, remove it; without one nothing happens. Raise FileError."""
    try:
        path.unlink(missing_ok=True)
        pending(path).unlink(missing_ok=True)
    except OSError as error:
        raise files.translate(error, path) from error


def prepare(path: Path) -> None:
    """Given the token's file, check that a secret could be put there: one shown once is lost else.

    Raise TokenUnusable, CannotWrite or DiskFull.
    """
    if path.is_dir():
        raise TokenUnusable(path=path, reason="it is a folder", step="Name a file in proxmox.token_file")
    probe = path.with_name(f".{path.name}.probe")
    content = vault.encrypt(path, b"probe\n", TokenUnusable) if _is_vault(path) else b"probe\n"
    files.write_atomically(probe, content, mode=0o600)
    probe.unlink()


def pveum_commands(
    token_id: str, existing: Existing = Existing(), *, renew: bool = False
) -> tuple[tuple[str, ...], ...]:
    """Given a token's id and what exists, return the commands that make or mend role, user, token, rights.

    There are none if all is right. They run as root on the server. The one that makes the token prints its
    secret, as JSON.
    """
    user, name = split_token_id(token_id)
    wanted = {one for group in PRIVILEGES.values() for one in group}
    commands: list[tuple[str, ...]] = []
    if not existing.role or existing.privileges != wanted:
        verb = "modify" if existing.role else "add"
        commands.append(("pveum", "role", verb, ROLE, "--privs", " ".join(sorted(wanted))))
    if not existing.user:
        commands.append(("pveum", "user", "add", user, "--comment", COMMENT))
    if existing.token and renew:
        commands.append(("pveum", "user", "token", "remove", user, name))
    if existing.token and not renew and not existing.separate:
        commands.append(("pveum", "user", "token", "modify", user, name, "--privsep", "1"))
    elif not existing.token or renew:
        json = ("--output-format", "json")
        commands.append(("pveum", "user", "token", "add", user, name, "--privsep", "1", *json))
    # The rights of a token that is removed go with it.
    kept = [one for one in existing.entries if not (renew and one.kind == "token" and one.who == token_id)]
    commands += [
        ("pveum", "acl", "modify", entry.path, f"--{entry.kind}s", entry.who, "--roles", ROLE)
        for entry in _entries(token_id)
        if entry not in kept
    ]
    return tuple(commands)


def removal_commands(token_id: str, existing: Existing) -> tuple[tuple[str, ...], ...]:
    """Given a token's id and what exists, return the commands that take away what was made, and no more.

    The user stays if somebody else made it or uses it, the role if others have it.
    """
    user, name = split_token_id(token_id)
    mine = [one for one in existing.entries if one.role == ROLE and one.who in (user, token_id)]
    commands: list[tuple[str, ...]] = [
        ("pveum", "acl", "delete", one.path, f"--{one.kind}s", one.who, "--roles", ROLE) for one in mine
    ]
    if existing.token:
        commands.append(("pveum", "user", "token", "remove", user, name))
    others = [one for one in existing.entries if one not in mine]
    used = existing.others or any(one.who == user for one in others)
    if existing.user and existing.comment == COMMENT and not used:
        commands.append(("pveum", "user", "delete", user))
    if existing.role and not any(one.role == ROLE for one in others):
        commands.append(("pveum", "role", "delete", ROLE))
    return tuple(commands)


def _entries(token_id: str) -> list[Entry]:
    user, _ = split_token_id(token_id)
    # With privsep a token may do what both it and its user may.
    return [
        Entry(path, kind, who, ROLE)
        for path in PRIVILEGES
        for kind, who in (("user", user), ("token", token_id))
    ]


def shows_secret(command: tuple[str, ...]) -> bool:
    """Given one of these commands, return whether it prints the secret."""
    return command[:4] == ("pveum", "user", "token", "add")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise TokenUnusable(path=path, reason="it is missing", step=_MAKE) from error
    except IsADirectoryError as error:
        raise TokenUnusable(path=path, reason="it is a folder", step=_MAKE) from error
    except OSError as error:
        step = "Check its owner and mode"
        raise TokenUnusable(path=path, reason=error.strerror or str(error), step=step) from error
    if len(content) > _LARGEST:
        raise TokenUnusable(path=path, reason="it is too large to be a secret", step=_MAKE)
    if not content.startswith(vault.MARK) and stat.S_IMODE(found.st_mode) & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise TokenUnusable(
            path=path,
            reason=f"others may read it (mode {mode:04o})",
            step=f"`chmod 600 {path}`; if others use this machine, replace it too: "
            "`maw proxmox-token --apply --renew`",
        )
    return content


def _is_vault(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(vault.MARK)) == vault.MARK
    except OSError:
        # What cannot be read is no vault; whoever writes there learns why.
        return False
