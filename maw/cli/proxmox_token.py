"""`maw proxmox-token`: an API token that may do what maw does on the Proxmox server, and no more."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import click

from maw.errors import Misuse, printable

if TYPE_CHECKING:
    from pathlib import Path

    from maw.cli.workspace import Context
    from maw.proxmox.grant import Granted

_SCHEMA = "maw.proxmox-token/1"


@click.command("proxmox-token", short_help="Make the API token for the Proxmox server.")
@click.option("--apply", "do_it", is_flag=True, help="Run the commands there as root, over SSH.")
@click.option("--renew", is_flag=True, help="With --apply: replace a token that exists; its secret is void.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(do_it: bool, renew: bool, as_json: bool) -> None:
    """Print the commands that make an API token with the least rights, for root on the Proxmox server.

    With --apply they are run there, the secret is stored in the workspace (proxmox.token_file) without
    being shown, and the token's rights are looked at. It is safe to run again.
    """
    from maw.cli.workspace import current
    from maw.proxmox.connect import token_file

    if renew and not do_it:
        raise Misuse(reason="--renew replaces a token there. Add --apply.")
    context = current()
    path = token_file(context.settings.proxmox, context.workspace.root)
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


def _apply(context: Context, path: Path, *, renew: bool, as_json: bool) -> None:
    from maw.proxmox import grant
    from maw.proxmox.connect import server_of

    settings = context.settings.proxmox
    host = context.machine(server_of(context.topology, settings).name)
    with context.transport(host, warm=False) as transport:
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
    if done.fingerprint is not None:
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
        "made": done.made,
        "checked": done.checked,
        "doubt": done.doubt,
        "fingerprint": done.fingerprint,
    }
