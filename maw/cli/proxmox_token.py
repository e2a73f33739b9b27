"""`maw proxmox-token`: an API token that may do what maw does on the Proxmox server, and no more."""

from __future__ import annotations

import contextlib
import json
import shlex
from typing import TYPE_CHECKING, Any

import click

from maw.errors import Misuse, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maw.cli.workspace import Context
    from maw.proxmox.grant import Changes, Granted
    from maw.topology import Host
    from maw.transport.base import Transport

_SCHEMA = "maw.proxmox-token/1"


@click.command("proxmox-token", short_help="Make the API token for the Proxmox server.")
@click.option("--apply", "do_it", is_flag=True, help="Run the commands there as root, over SSH.")
@click.option("--renew", is_flag=True, help="With --apply: replace a token that exists; its secret is void.")
@click.option("--remove", is_flag=True, help="Take away there what --apply made, and the secret here.")
@click.option("--dry-run", is_flag=True, help="With --apply or --remove: look, change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(do_it: bool, renew: bool, remove: bool, dry_run: bool, as_json: bool) -> None:
    """Print the commands that make an API token with the least rights, for root on the Proxmox server.

    With --apply those that are still needed are run there, the secret is stored in the workspace
    (proxmox.token_file) without being shown, and the token's rights are looked at. It is safe to run again.
    """
    from maw.cli.workspace import current
    from maw.proxmox.connect import token_file

    if renew and not do_it:
        raise Misuse(reason="--renew replaces a token there. Add --apply.")
    if remove and do_it:
        raise Misuse(reason="--apply makes the token and --remove takes it away. Give one of them.")
    if dry_run and not (do_it or remove):
        raise Misuse(reason="--dry-run looks at what would be done. Add --apply or --remove.")
    context = current()
    path = token_file(context.settings.proxmox, context.workspace.root)
    if remove or dry_run:
        _change(context, path, renew=renew, remove=remove, dry_run=dry_run, as_json=as_json)
        return
    if do_it:
        _apply(context, path, renew=renew, as_json=as_json)
        return
    from maw.proxmox.token import pveum_commands

    commands = pveum_commands(context.settings.proxmox.token_id)
    if as_json:
        shown = {"applied": False, "token": context.settings.proxmox.token_id, "commands": commands}
        click.echo(json.dumps({"schema": _SCHEMA, **shown, "token_file": str(path)}, ensure_ascii=False))
        return
    for one in commands:
        click.echo(shlex.join(one))
    click.echo(
        f"next: put the value that the token's command shows into {printable(path)} (mode 0600), or let "
        "`maw proxmox-token --apply` do it all",
        err=True,
    )


@contextlib.contextmanager
def _server(context: Context) -> Iterator[tuple[Host, Transport]]:
    from maw.proxmox.connect import server_of

    host = context.machine(server_of(context.topology, context.settings.proxmox).name)
    with context.transport(host, warm=False) as transport:
        yield host, transport


def _change(context: Context, path: Path, *, renew: bool, remove: bool, dry_run: bool, as_json: bool) -> None:
    from maw.proxmox import grant

    settings, root = context.settings.proxmox, context.workspace.root
    with _server(context) as (host, transport):
        if remove:
            done = grant.remove(transport, settings, root, dry_run=dry_run)
        else:
            done = grant.plan(transport, settings, root, renew=renew)
    if as_json:
        shown = {"applied": not dry_run, "host": host.name, "token": settings.token_id}
        changed = bool(done.commands) or done.secret
        shown |= {"token_file": str(path), "commands": done.commands, "changed": changed}
        click.echo(json.dumps({"schema": _SCHEMA, **shown}, ensure_ascii=False))
        return
    _show_changes(done, host.name, settings.token_id, path, dry_run=dry_run)


def _show_changes(done: Changes, host: str, token_id: str, path: Path, *, dry_run: bool) -> None:
    for one in done.commands:
        click.echo(shlex.join(one))
    if done.secret:
        click.echo(f"{'would remove' if dry_run else 'removed'}: {printable(path)}")
    if dry_run:
        what = "these would be run" if done.commands else "there is nothing to do"
        click.echo(f"nothing was changed on {host}: {what}")
        return
    click.echo(f"done: nothing of the token {token_id} is left on {host} that maw made")


def _apply(context: Context, path: Path, *, renew: bool, as_json: bool) -> None:
    from maw.proxmox import grant

    settings = context.settings.proxmox
    with _server(context) as (host, transport):
        done = grant.apply(transport, host, settings, context.workspace.root, renew=renew)
    if as_json:
        click.echo(json.dumps(_as_json(done, host.name, settings.token_id, path), ensure_ascii=False))
        return
    what = "made" if done.made else "was there already, its secret stays"
    click.echo(f"done: the token {settings.token_id} on {host.name} {what}: {printable(path)}")
    if done.doubt is None:
        click.echo("checked: over the API, the token has every privilege that it needs")
        return
    click.echo("checked: over SSH, the token has every privilege that it needs; its secret was not tried:")
    click.echo(f"  {done.doubt}")
    if done.fingerprint not in (None, settings.fingerprint):
        click.echo("next: this is the certificate's fingerprint, read over SSH; put it into maw.toml:")
        click.echo(f'  [proxmox]\n  fingerprint = "{printable(done.fingerprint)}"')


def _as_json(done: Granted, host: str, token_id: str, path: Path) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "applied": True,
        "host": host,
        "token": token_id,
        "token_file": str(path),
        "commands": done.commands,
        "changed": bool(done.commands),
        "made": done.made,
        "checked": done.checked,
        "doubt": done.doubt,
        "fingerprint": done.fingerprint,
    }
