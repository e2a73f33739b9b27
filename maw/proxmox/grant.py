"""Make the API token on the server over SSH, with the least rights, and look whether they are there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maw import files
from maw.errors import (
    CommandNotFound,
    ProxmoxAuthentication,
    ProxmoxCertificate,
    ProxmoxError,
    ProxmoxPermission,
    ProxmoxUnreachable,
    TokenUnusable,
)
from maw.proxmox import client, token
from maw.proxmox.connect import over_https, token_file
from maw.proxmox.model import odd_answer, path_of
from maw.proxmox.shell import ShellApi, not_a_server

if TYPE_CHECKING:
    from pathlib import Path

    from maw.config import ProxmoxSettings
    from maw.proxmox.model import Api
    from maw.topology import Host
    from maw.transport.base import Transport

_SECONDS = 60.0
_RENEW = "`maw proxmox-token --apply --renew`"


@dataclass(frozen=True)
class Granted:
    """What was done. `made` is false if the token was there; `checked` says over which way it was looked.

    `doubt` says why the API itself could not be asked, `fingerprint` what its certificate's is by SSH, None
    if that cannot be told.
    """

    commands: tuple[tuple[str, ...], ...]
    made: bool
    checked: str
    doubt: str | None
    fingerprint: str | None


@dataclass(frozen=True)
class Changes:
    """What `apply` would run, or `remove` ran or would run; `secret` is whether it removes the file here."""

    commands: tuple[tuple[str, ...], ...]
    secret: bool = False


def existing(transport: Transport, token_id: str) -> token.Existing:
    """Given root's way to the server, return what of the token is there."""
    user, name = token.split_token_id(token_id)
    roles = {row.get("roleid"): row for row in _listed(transport, "role", "list")}
    users = {row.get("userid"): row for row in _listed(transport, "user", "list")}
    there = user in users
    tokens = {}
    if there:
        tokens = {str(row.get("tokenid")): row for row in _listed(transport, "user", "token", "list", user)}
    return token.Existing(
        role=token.ROLE in roles,
        user=there,
        token=name in tokens,
        separate=bool(int(tokens.get(name, {}).get("privsep", 1))),
        privileges=_privileges(roles.get(token.ROLE, {}).get("privs")),
        comment=str(users.get(user, {}).get("comment") or ""),
        others=tuple(sorted(set(tokens) - {name})),
        entries=tuple(map(_entry, _listed(transport, "acl", "list"))),
    )


def _privileges(listed: object) -> frozenset[str]:
    """A role's privileges, which pveum lists in one text, and the API as the keys of an object."""
    words = listed if isinstance(listed, dict) else re.split(r"[,;\s]+", str(listed or ""))
    return frozenset(str(word) for word in words if word)


def _entry(row: dict[str, Any]) -> token.Entry:
    path, kind, who, role = (str(row.get(key) or "") for key in ("path", "type", "ugid", "roleid"))
    return token.Entry(path, kind, who, role, bool(int(row.get("propagate", 1))))


def _listed(transport: Transport, *words: str) -> list[dict[str, Any]]:
    said = _run(transport, ("pveum", *words, "--output-format", "json"))
    try:
        rows = json.loads(said)
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise odd_answer(
            transport.host, f"the list of `pveum {words[0]} list`", said.decode("utf-8", "replace")
        )
    return rows


def apply(transport: Transport, host: Host, settings: ProxmoxSettings, root: Path, *, renew: bool) -> Granted:
    """Given root's way to the server, make or mend role, user, token and rights; keep the secret; look.

    Raise TokenUnusable if the token is there but its secret is not here, ProxmoxPermission if a
    privilege is missing after all, other ProxmoxErrors, TransportErrors and FileErrors.
    """
    path = token_file(settings, root)
    shell = ShellApi(transport, seconds=settings.answer_seconds)
    there = existing(transport, settings.token_id)
    renew = renew or token.pending(path).exists()
    keep = there.token and not renew
    if keep:
        _look_for_secret(path)
    else:
        token.prepare(path)
    commands = token.pveum_commands(settings.token_id, there, renew=renew)
    for command in commands:
        if token.shows_secret(command):
            _make(transport, command, path)
        else:
            _run(transport, command)
    checked, doubt = _check(shell, host, settings, root, path)
    return Granted(commands, not keep, checked, str(doubt) if doubt else None, fingerprint(shell))


def _make(transport: Transport, command: tuple[str, ...], path: Path) -> None:
    """Make the token. Cut off before its secret is kept, the next run knows that nobody has it."""
    files.write_atomically(token.pending(path), b"", mode=0o600)
    token.store_secret(path, _secret_of(_run(transport, command), transport.host))
    token.pending(path).unlink()


def plan(transport: Transport, settings: ProxmoxSettings, root: Path, *, renew: bool) -> Changes:
    """As `apply`, but change nothing: look, and return what it would run. Raise as it does."""
    there = existing(transport, settings.token_id)
    path = token_file(settings, root)
    renew = renew or token.pending(path).exists()
    if there.token and not renew:
        _look_for_secret(path)
    return Changes(token.pveum_commands(settings.token_id, there, renew=renew))


def remove(transport: Transport, settings: ProxmoxSettings, root: Path, *, dry_run: bool) -> Changes:
    """Given root's way to the server, take away there what `apply` made, and the secret here; look.

    Raise ProxmoxErrors, TransportErrors and FileErrors.
    """
    path = token_file(settings, root)
    done = Changes(
        token.removal_commands(settings.token_id, existing(transport, settings.token_id)), path.exists()
    )
    if dry_run:
        return done
    for command in done.commands:
        _run(transport, command)
    left = token.removal_commands(settings.token_id, existing(transport, settings.token_id))
    if left:
        raise odd_answer(transport.host, "none of the token", " ".join(left[0]))
    token.forget_secret(path)
    return done


def _look_for_secret(path: Path) -> None:
    try:
        token.read_secret(path)
    except TokenUnusable as error:
        if path.exists():
            raise
        raise TokenUnusable(
            path=path,
            reason="it is missing, the token exists on the server, and a secret is shown only once",
            step=f"Replace the token (whoever else uses it must get the new secret): {_RENEW}",
        ) from error


def _run(transport: Transport, command: tuple[str, ...]) -> bytes:
    try:
        result = transport.run(command, timeout=_SECONDS)
    except CommandNotFound as error:
        raise not_a_server(transport.host) from error
    if result.ending.code == 127:
        raise not_a_server(transport.host)
    if not result.ok:
        said = result.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[-1].rstrip(". ") if said else f"it ended with {result.ending.code}"
        raise ProxmoxError(
            host=transport.host,
            reason=f"`{' '.join(one for one in command[:4] if not one.startswith('-'))}` failed: {reason}",
            step="Mend that there as root, and run the same command again",
        )
    return result.stdout


def _secret_of(said: bytes, host: str) -> str:
    """The secret in what pveum printed, which is never shown: not even when it cannot be read."""
    try:
        secret = json.loads(said)["value"]
    except (ValueError, LookupError, TypeError):
        secret = None
    if not isinstance(secret, str) or not secret.isascii() or not secret.isprintable() or not secret:
        raise odd_answer(host, "the JSON of a new token", "something else (not shown: it may be secret)")
    return secret


def _check(
    shell: ShellApi, host: Host, settings: ProxmoxSettings, root: Path, path: Path
) -> tuple[str, ProxmoxError | None]:
    """Look for each privilege: as the token if the API can be reached, else as root for the token."""
    try:
        api = over_https(host, settings, root, token.read_secret(path))
    except ProxmoxAuthentication as error:
        raise TokenUnusable(
            path=path,
            reason=f"the server does not accept the secret in it ({error.facts['reason']})",
            step=f"Replace the token: {_RENEW}",
        ) from error
    except (ProxmoxUnreachable, ProxmoxCertificate) as error:
        _require(shell, settings.token_id, {"userid": settings.token_id})
        return "ssh", error
    try:
        _require(api, settings.token_id, {})
    finally:
        api.close()
    return "https", None


def _require(api: Api, token_id: str, who: dict[str, str]) -> None:
    for place, privileges in token.PRIVILEGES.items():
        granted = api.get(path_of("access", "permissions"), **who, path=place)
        for privilege in privileges:
            if not client.allows(granted or {}, privilege, place):
                raise ProxmoxPermission(host=api.host, token=token_id, privilege=privilege, path=place)


def fingerprint(shell: ShellApi) -> str | None:
    """Given root's way to ask, return the certificate's fingerprint, None in a cluster of several."""
    prints = {row.get("ssl_fingerprint") for row in shell.get(path_of("nodes"))}
    found = prints.pop() if len(prints) == 1 else None
    return found if isinstance(found, str) else None
