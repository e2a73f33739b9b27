"""`cutter trust` and `cutter ssh-config`: pinned host keys, and the config that everybody uses."""

from __future__ import annotations

import sys

import click

from maw.errors import HostKeyChanged, HostKeyUnknown, Misuse, printable


@click.command("trust", short_help="Pin a host's key.")
@click.argument("host")
@click.option(
    "--fingerprint",
    default=None,
    metavar="SHA256:…",
    help="The fingerprint that you read on the host's own console.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def trust(host: str, fingerprint: str | None, as_json: bool) -> None:
    """Pin the host key that HOST shows, if it is the one with FINGERPRINT.

    Read it on that machine's own screen: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
    """
    from maw.cli.workspace import current
    from maw.transport import keys

    context = current()
    details = context.pick(host)
    if details is None:
        raise Misuse(reason=f"{host} is no host of the inventory. Name one that is.")
    host = details.name  # what `auto` means
    known_hosts = context.ssh_paths.known_hosts
    shown = keys.shown(details)
    if fingerprint is None:
        fingerprint = _ask(host, [key.fingerprint for key in shown])
    accepted = [key for key in shown if key.fingerprint == fingerprint]
    if not accepted:
        known = ", ".join(key.fingerprint for key in shown)
        raise HostKeyChanged(host=host, found=known, pinned=f"what you gave, {printable(fingerprint)}")
    keys.pin(known_hosts, host, accepted)
    if as_json:
        import json

        click.echo(json.dumps({"schema": "maw.trust/1", "host": host, "pinned": fingerprint}))
    else:
        click.echo(f"done: {host} is pinned to {fingerprint}")


def _ask(host: str, fingerprints: list[str]) -> str:
    if not sys.stdin.isatty():
        raise HostKeyUnknown(host=host)
    click.echo(f"{host} shows: {', '.join(fingerprints)}", err=True)
    answer: str = click.prompt("The fingerprint that stands on its own screen (paste it)", err=True)
    return answer.strip()


@click.command("ssh-config", short_help="Print the generated OpenSSH config's path.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def ssh_config(as_json: bool) -> None:
    """Print the path of the generated OpenSSH client config, brought up to date.

    For example: ssh -F "$(cutter ssh-config)" notebook
    """
    from maw.cli.workspace import current

    path = str(current().ssh_paths.config)
    if as_json:
        import json

        click.echo(json.dumps({"schema": "maw.ssh-config/1", "path": path}))
    else:
        click.echo(path)
