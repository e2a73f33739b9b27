"""`cutter mirrors`, `cutter verify`, `cutter start`: the mirrors that are there."""

from __future__ import annotations

import datetime
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from maw.cli.show import say, style
from maw.errors import MawError, MirrorDiffers, SomeNodesDown, printable

if TYPE_CHECKING:
    from maw.cli.workspace import Context
    from maw.mirror.model import Mirror
    from maw.mirror.pct import Config
    from maw.mirror.plan import Instance
    from maw.mirror.start import Original
    from maw.topology import Host

_ON = click.option("--on", metavar="HOST", help="Host that holds it: a name, local, or auto.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}


@click.command("mirrors", short_help="List the mirrors: source, age, size, when verified, what was lost.")
@click.option("--on", metavar="HOST", help="Only this host: a name, or local.")
@_JSON
def mirrors(on: str | None, as_json: bool) -> None:
    """List the mirrors on every satellite: source, generation, age, size, when verified, and losses.

    The exit code is 1 if a satellite could not be asked.
    """
    from maw.cli.sites import where
    from maw.cli.workspace import current
    from maw.mirror.model import MIRRORS_SCHEMA

    context = current()
    found: list[Mirror] = []
    failed: dict[str, str] = {}
    hosts = _hosts(context, on)
    for host in hosts:
        try:
            found += _of(context, host)
        except MawError as error:
            if on is not None:
                raise
            failed[where(host)] = str(error)
    if as_json:
        facts: dict[str, Any] = {"mirrors": [asdict(one) for one in found], "unreachable": failed}
        click.echo(json.dumps({"schema": MIRRORS_SCHEMA, **facts}, ensure_ascii=False))
    else:
        _table(found)
        for name, reason in failed.items():
            say(f"{style('?', fg='yellow')} {name}: {reason}")
    if failed:
        raise SomeNodesDown(done=len(hosts) - len(failed), total=len(hosts), names=", ".join(failed))


def _hosts(context: Context, on: str | None) -> list[Host | None]:
    from maw.cli.sites import pick

    mine = [host for host in context.topology.satellites() if not host.example]
    if on is not None or not mine:
        return [pick(context, on)]
    return list(mine)


def _of(context: Context, host: Host | None) -> list[Mirror]:
    from maw.cli.sites import open_site
    from maw.mirror.mirrors import mirrors as list_mirrors

    with open_site(context, host) as site:
        return list_mirrors(site.instances(), site.host, datetime.datetime.now(datetime.UTC))


def _table(found: list[Mirror]) -> None:
    if not found:
        say("there is no mirror. Make one with: cutter sync VMID")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    titles = ("name", "host", "state", "source", "generation", "age", "size", "paths", "verified", "losses")
    for title in titles:
        table.add_column(title, overflow="fold")
    for one in found:
        state = "unfinished" if one.unfinished else "running" if one.running else "stopped"
        cells = (
            one.name,
            one.host,
            state,
            one.source,
            str(one.generation or ""),
            _age(one.age_seconds),
            f"{one.bytes / 1e6:.1f} MB",
            str(one.files),
            one.verified[:16].replace("T", " "),
            str(len(one.losses)),
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    width = None if sys.stdout.isatty() else 200
    Console(no_color=bool(os.environ.get("NO_COLOR")), highlight=False, width=width).print(table)


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "?"
    for unit, size in _SECONDS.items():
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "0 s"


@click.command("verify", short_help="Compare a mirror with its source's manifest again.")
@click.argument("mirror", metavar="VMID|NAME")
@_ON
@_JSON
def verify(mirror: str, on: str | None, as_json: bool) -> None:
    """List the files of a mirror, and compare them with what its source had when it was synced.

    What maw fitted to its place is expected as it was left. The exit code is 79 if anything differs.
    """
    from maw.cli import sites
    from maw.cli.sync import _progress
    from maw.cli.workspace import current
    from maw.mirror import mirrors as room

    context = current()
    with sites.open_site(context, sites.pick(context, on)) as site, _progress() as progress:
        one = room.find(site, mirror)
        kept = sites.known_manifest(context, site.host, one.name)
        checked = room.verify(site, one, work=sites.work_folder(context), progress=progress, kept=kept)
        if not checked.count:
            site.lxd.change_config(one.name, {"user.maw.verified": checked.verified})
    if as_json:
        click.echo(json.dumps(checked.as_json(), default=asdict, ensure_ascii=False))
    else:
        for difference in checked.differences:
            say(f"{style('≠', fg='red')} {printable(difference.path)}: {printable(difference.what)}")
            if difference.source or difference.mirror:
                say(f"    source {printable(difference.source)}, mirror {printable(difference.mirror)}")
    if checked.count:
        first = checked.differences[0]
        step = "Sync it anew; if it differs again, look at that disk"
        if checked.started:
            step = f"It was started on {checked.started} and may have changed itself; sync it to have it anew"
        raise MirrorDiffers(
            name=one.name, count=checked.count, first=f"{first.path} ({first.what})", step=step
        )
    if not as_json:
        done = style("done", fg="green")
        say(f"{done}: {one.name} on {site.host}: {checked.paths} paths are as in the source")


@click.command("start", short_help="Start a mirror, not beside its original.")
@click.argument("mirror", metavar="VMID|NAME")
@_ON
@click.option(
    "--beside", is_flag=True, help="Start it although the original runs, with a machine id of its own."
)
@_JSON
def start(mirror: str, on: str | None, beside: bool, as_json: bool) -> None:
    """Start a mirror and see that it stays up; refuse while the original answers.

    The mirror always has a network card and an address of its own, on the bridge of its host.
    """
    from maw.cli import sites
    from maw.cli.workspace import current
    from maw.mirror import mirrors as room
    from maw.mirror import start as starting

    context = current()
    with sites.open_site(context, sites.pick(context, on)) as site:
        one = room.find(site, mirror)
        started = starting.start(
            site,
            one,
            ask=lambda config: _original(context, one, config),
            beside=beside,
            work=sites.work_folder(context),
        )
    if as_json:
        click.echo(json.dumps(started.as_json(), ensure_ascii=False))
        return
    for note in started.notes:
        say(f"note  {printable(note)}")
    where = ", ".join(started.addresses) or "no address yet"
    say(f"{style('done', fg='green')}: {started.name} runs on {started.host} ({where})")


def _original(context: Context, one: Instance, config: Config) -> Original:
    """Ask the server whether the original runs, and its addresses whether they answer."""
    from maw.cli import sites
    from maw.mirror import origin
    from maw.mirror.start import Original, answering

    vmid = one.config.get("user.maw.vmid", "")
    found = answering(origin.addresses(config))
    if not vmid.isdecimal():
        return Original(None, "it was synced from an archive", found)
    try:
        with sites.open_proxmox(context) as (proxmox, _):
            status = proxmox.status(int(vmid))
    except MawError as error:
        return Original(None, str(error), found)
    return Original(status.status == "running", f"container {vmid} on {proxmox.host}", found)
