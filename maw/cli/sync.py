"""`cutter sync`: a container of the Proxmox server becomes an LXD instance."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maw.cli.show import say, style
from maw.errors import Misuse, printable
from maw.mirror.model import FRESH, LATEST, MODES, STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maw.cli.workspace import Context
    from maw.mirror.mapping_model import Mapped
    from maw.mirror.model import Progress, Report
    from maw.mirror.pct import Config
    from maw.mirror.run import Wish
    from maw.mirror.site import Site
    from maw.mirror.sources import Source
    from maw.proxmox.client import Proxmox
    from maw.topology import Host
    from maw.transport.base import Transport

_FILE = re.compile(r"vzdump-lxc-(\d{3,9})-\d{4}_\d\d_\d\d-")
# Beyond that many processors, compressing does not slow the copy down.
_SPARE_CORES = 2


@click.command("sync", short_help="Mirror a container of the Proxmox server.")
@click.argument("vmid", required=False)
@click.option(
    "--archive", type=click.Path(path_type=Path), metavar="FILE", help="Take this archive of vzdump."
)
@click.option(
    "--from",
    "--from-source",
    "kind",
    metavar="SOURCE",
    help="stream (the default: a backup sent at once), latest or VOLID (an archive there), new (make one).",
)
@click.option("--name", metavar="NAME", help="Name of the mirror; mirror-VMID if not given.")
@click.option("--on", metavar="HOST", help="Host that holds it: a name, local, or auto.")
@click.option("--mode", type=click.Choice(MODES), help="How the container is kept still.")
@click.option("--privileged", is_flag=True, help="Let a privileged container stay so.")
@click.option(
    "--dry-run", is_flag=True, help="Show what each key of its config would become; change nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schema/sync.json).")
def command(
    vmid: str | None,
    archive: Path | None,
    kind: str | None,
    name: str | None,
    on: str | None,
    mode: str | None,
    privileged: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Mirror container VMID, or the one in FILE, as an LXD instance, and compare both.

    The mirror is stopped, does not start by itself, and has a network card of its own. One that was
    there stays as it is until the new one is proven equal to its source. `cutter start` starts it.
    """
    from maw.cli import sites
    from maw.cli.workspace import current

    if archive is not None and (kind or mode):
        raise Misuse(
            reason="--from and --mode are for a container of the server. Leave them out with --archive."
        )
    context = current()
    wish = _wish(context, vmid, archive, kind, name, mode, privileged)
    host = sites.pick(context, on)
    if dry_run:
        _dry_run(context, wish, archive, host, as_json=as_json)
        return
    with _progress() as progress:
        report = _sync(context, wish, archive, kind or STREAM, host, progress)
    sites.remember(context, report)
    if as_json:
        click.echo(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        _show(report)


def _wish(
    context: Context,
    vmid: str | None,
    archive: Path | None,
    kind: str | None,
    name: str | None,
    mode: str | None,
    privileged: bool,
) -> Wish:
    from maw.mirror.names import check_name
    from maw.mirror.run import Wish
    from maw.proxmox.model import check_vmid

    settings = context.settings.mirror
    if (vmid is None) == (archive is None):
        raise Misuse(reason="Name either a container, `cutter sync 101`, or an archive, --archive FILE.")
    taken = mode or settings.mode
    if taken not in MODES:
        raise Misuse(reason=f"mirror.mode in maw.toml cannot be {taken}. Choose snapshot, suspend or stop.")
    number = None
    if vmid is not None:
        number = check_vmid(vmid)
        source, default = f"container {number}", f"mirror-{number}"
        if kind not in (None, *FRESH):
            source += f" ({kind} archive)" if kind == LATEST else f" ({kind})"
    else:
        assert archive is not None
        found = _FILE.search(archive.name)
        source, default = f"archive {archive.name}", f"mirror-{found[1]}" if found else ""
    if not (name or default):
        raise Misuse(reason=f"{printable(archive)} does not say which container it is of. Give --name NAME.")
    return Wish(
        name=check_name(name if name is not None else default),
        source=source,
        vmid=number,
        mode=taken if archive is None and kind in (None, *FRESH) else None,
        privileged=privileged,
        silence_seconds=settings.silence_seconds,
        waiting_seconds=settings.lock_seconds + 60,
    )


def _compress(context: Context, host: Host | None) -> bool:
    wanted = context.settings.mirror.compress
    if wanted not in ("auto", "yes", "no"):
        raise Misuse(reason=f"mirror.compress in maw.toml cannot be {wanted}. Choose auto, yes or no.")
    if host is None or wanted == "no":
        return False
    if wanted == "yes" and shutil.which("zstd") is None:
        raise Misuse(
            reason="mirror.compress is yes, and zstd is not installed here. Install it: apt install zstd"
        )
    return wanted == "yes" or ((os.cpu_count() or 1) > _SPARE_CORES and shutil.which("zstd") is not None)


def _sync(
    context: Context,
    wish: Wish,
    archive: Path | None,
    kind: str,
    host: Host | None,
    progress: Progress,
) -> Report:
    from maw.cli import sites
    from maw.mirror import run

    wish = replace(wish, compress=_compress(context, host))
    work = sites.work_folder(context)
    with contextlib.ExitStack() as stack:
        if archive is not None:
            from maw.mirror.sources import LocalArchive

            # A file that is none is said before anything else is looked at.
            LocalArchive(archive).stop()
            begin: Callable[[], Source] = partial(LocalArchive, archive)
        else:
            proxmox, transport = stack.enter_context(sites.open_proxmox(context))
            assert wish.vmid is not None
            proxmox.config(wish.vmid)
            begin = _begin(context, wish, kind, proxmox, transport, progress)
        site = stack.enter_context(sites.open_site(context, host))
        return run.sync(site, wish, begin, work=work, progress=progress)


def _begin(
    context: Context, wish: Wish, kind: str, proxmox: Proxmox, transport: Transport, progress: Progress
) -> Callable[[], Source]:
    from maw.mirror import origin

    assert wish.vmid is not None
    vmid, mode, seconds = wish.vmid, wish.mode or "", context.settings.mirror.lock_seconds
    return partial(
        origin.begin,
        proxmox,
        transport,
        vmid,
        kind=kind,
        mode=mode,
        lock_seconds=seconds,
        tell=progress.stage,
    )


def _dry_run(context: Context, wish: Wish, archive: Path | None, host: Host | None, *, as_json: bool) -> None:
    from maw.cli import sites
    from maw.mirror.mapping import map_config

    with sites.open_site(context, host) as site:
        config = _config(context, wish, archive)
        there = site.trio(wish.name)
        mapped = map_config(config, site.target, name=wish.name, privileged=wish.privileged, vmid=wish.vmid)
        unchecked = _unchecked(archive)
        if as_json:
            facts = {
                "name": wish.name,
                "host": site.host,
                "source": wish.source,
                "replaces": there.current.generation if there.current is not None else None,
                **{key: value for key, value in asdict(mapped).items() if key != "name"},
                "unchecked": unchecked,
            }
            click.echo(json.dumps({"schema": "maw.sync-plan/1", **facts}, ensure_ascii=False))
        else:
            _show_plan(site, wish, mapped, unchecked, there.current is not None)


def _unchecked(archive: Path | None) -> list[str]:
    found = [
        "whether the archive is whole",
        "the files inside, and which of them are fitted to the new place",
    ]
    return found if archive is not None else [*found, "whether the server can make the backup in that mode"]


def _config(context: Context, wish: Wish, archive: Path | None) -> Config:
    from maw.cli import sites
    from maw.mirror import run
    from maw.mirror.load import Reading

    if archive is None:
        assert wish.vmid is not None
        with sites.open_proxmox(context) as (proxmox, _):
            from maw.mirror.pct_write import parse_api

            return parse_api(proxmox.config(wish.vmid).values)
    from tempfile import TemporaryDirectory

    from maw.mirror.sources import LocalArchive

    with TemporaryDirectory() as folder:
        reading = Reading(LocalArchive(archive), Path(folder))
        try:
            return run.read_config(reading, wish)
        finally:
            reading.close()


def _show_plan(site: Site, wish: Wish, mapped: Mapped, unchecked: list[str], replaces: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("key", "value", "becomes", "why"):
        table.add_column(title, overflow="fold")
    for row in mapped.rows:
        becomes = Text(printable(row.becomes)) if row.becomes else Text("lost", style="yellow")
        table.add_row(printable(row.key), Text(printable(row.value)), becomes, Text(printable(row.why)))
    width = None if sys.stdout.isatty() else 200
    Console(no_color=bool(os.environ.get("NO_COLOR")), highlight=False, width=width).print(table)
    say()
    what = "would replace the mirror" if replaces else "would make the mirror"
    say(f"{what} {wish.name} on {site.host} from {printable(wish.source)}; nothing was changed")
    lost = len(mapped.losses)
    say(f"{lost} {'key' if lost == 1 else 'keys'} would be lost; not checked: {'; '.join(unchecked)}")


def _show(report: Report) -> None:
    for lost in report.losses:
        shown = f" {printable(lost.value)}" if lost.value else ""
        say(f"{style('lost', fg='yellow')}  {printable(lost.key)}{shown}: {printable(lost.why)}")
    for note in report.notes:
        say(f"note  {printable(note)}")
    if report.edits:
        say(f"fitted to its place: {', '.join(map(printable, report.edits))}")
    done = style("done", fg="green")
    say(
        f"{done}: {report.name} on {report.host} is generation {report.generation} of "
        f"{printable(report.source)}: {report.files} paths equal to the source, {report.bytes / 1e6:.1f} MB "
        f"in {report.seconds:.1f} s ({report.transfer_seconds:.1f} s of it copying). It is stopped; start it "
        f"with: cutter start {report.name}"
    )


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Stages, bytes, rate and files on standard error, if that is a terminal."""
    from maw.mirror.model import Silent

    if not sys.stderr.isatty():
        yield Silent()
        return
    from maw.cli.sync_progress import shown

    with shown() as progress:
        yield progress
