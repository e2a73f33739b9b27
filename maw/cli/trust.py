"""`cutter trust` and `cutter ssh-config`: pinned host keys, and the config that everybody uses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maw.errors import HostKeyChanged, HostKeyUnknown, Misuse, printable

if TYPE_CHECKING:
    from maw.cli.workspace import Context
    from maw.topology import Host
    from maw.transport.keys import HostKey


@click.command("trust", short_help="Pin a host's key.")
@click.argument("host")
@click.option(
    "--fingerprint",
    default=None,
    metavar="SHA256:…",
    help="The fingerprint that you read on the host's own console.",
)
@click.option(
    # The longer name is what Invoke calls it: to Python, `from` is a word of its own.
    "--from",
    "--from-file",
    "file",
    default=None,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file from that machine with its public host keys, or with what ssh-keygen -lf printed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def trust(host: str, fingerprint: str | None, file: Path | None, as_json: bool) -> None:
    """Pin the host key that HOST shows, if it is the one with FINGERPRINT, or one of FILE.

    Read it on that machine's own screen: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, and on a Windows:
    ssh-keygen -lf C:\\ProgramData\\ssh\\ssh_host_ed25519_key.pub

    For a WSL neither is needed: its key is read through its Windows, which must be pinned.
    """
    from maw.cli.workspace import current
    from maw.transport import host_keys, keys

    context = current()
    details = _machine(context, host)
    host = details.name  # what `auto` means
    accepted_prints: frozenset[str] | None = None
    if file is not None or fingerprint is not None:
        accepted_prints = host_keys.handed_over(file) if file is not None else frozenset()
        accepted_prints |= {fingerprint} if fingerprint is not None else frozenset()
    if details.windows is not None:
        shown: tuple[HostKey, ...] = (_of_distro(context, details),)
        if accepted_prints is None:
            accepted_prints = frozenset(key.fingerprint for key in shown)
    else:
        shown = keys.shown(details)
        if accepted_prints is None:
            accepted_prints = frozenset({_ask(host, [key.fingerprint for key in shown])})
    accepted = [key for key in shown if key.fingerprint in accepted_prints]
    if not accepted:
        known = ", ".join(key.fingerprint for key in shown)
        given = printable(", ".join(sorted(accepted_prints)))
        raise HostKeyChanged(host=host, found=known, pinned=f"what you gave, {given}")
    keys.pin(context.ssh_paths.known_hosts, host, accepted)
    pinned = ", ".join(key.fingerprint for key in accepted)
    if as_json:
        import json

        click.echo(json.dumps({"schema": "maw.trust/1", "host": host, "pinned": pinned}))
    else:
        click.echo(f"done: {host} is pinned to {pinned}")


def _machine(context: Context, name: str) -> Host:
    """The very machine, be it Windows or not: what commands on it would mean is no matter here."""
    found = context.pick(name) if name in ("local", "auto") else context.machine(name)
    if found is None:
        raise Misuse(reason=f"{name} is no host of the inventory. Name one that is.")
    return found


def _of_distro(context: Context, details: Host) -> HostKey:
    from maw.transport import host_keys
    from maw.transport.far import Line

    windows = context.topology.windows_of(details)
    assert windows is not None
    return host_keys.of_distro(Line(context.ssh_paths, context.settings.ssh), details, windows)


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
