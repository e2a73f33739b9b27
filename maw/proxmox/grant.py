"""Make the API token on the server over SSH, with the least rights, and look whether they are there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

    `doubt` says why the API itself could not be asked, `fingerprint` what its certificate's is by SSH.
    """

    commands: tuple[tuple[str, ...], ...]
    made: bool
    checked: str
    doubt: str | None
    fingerprint: str | None


def existing(transport: Transport, token_id: str) -> token.Existing:
    """Given root's way to the server, return what of the token is there."""
    user, name = token.split_token_id(token_id)
    role = any(row.get("roleid") == token.ROLE for row in _listed(transport, "role", "list"))
    if not any(row.get("userid") == user for row in _listed(transport, "user", "list")):
        return token.Existing(role)
    found = {row.get("tokenid"): row for row in _listed(transport, "user", "token", "list", user)}
    separate = bool(int(found.get(name, {}).get("privsep", 1)))
    return token.Existing(role, user=True, token=name in found, separate=separate)


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
    keep = there.token and not renew
    if keep:
        _look_for_secret(path)
    else:
        token.prepare(path)
    commands = token.pveum_commands(settings.token_id, there, renew=renew)
    for command in commands:
        said = _run(transport, command)
        if token.shows_secret(command):
            token.store_secret(path, _secret_of(said, transport.host))
    checked, doubt = _check(shell, host, settings, root, path)
    fingerprint = _fingerprint(shell) if isinstance(doubt, ProxmoxCertificate) else None
    return Granted(commands, not keep, checked, str(doubt) if doubt else None, fingerprint)


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


def _fingerprint(shell: ShellApi) -> str | None:
    """The certificate's fingerprint, as SSH tells it, None in a cluster of several."""
    prints = {row.get("ssl_fingerprint") for row in shell.get(path_of("nodes"))}
    found = prints.pop() if len(prints) == 1 else None
    return found if isinstance(found, str) else None
