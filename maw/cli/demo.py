"""`maw demo`: the main job on this machine alone, over a real SSH connection where that is possible."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maw.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maw.cli.workspace import Context
    from maw.topology import Host


@click.command("demo", short_help="Run the pipeline on a loopback satellite.")
@click.argument("src", nargs=-1, required=True)
@click.option("--question", default=None, metavar="TEXT", help="What the digest should answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schema/pipeline.json).")
def command(src: tuple[str, ...], question: str | None, as_json: bool) -> None:
    """Run the pipeline over SRC… on a loopback satellite of its own, and leave nothing behind.

    The satellite is a real sshd on 127.0.0.1 with its own keys and port, as this user. Without
    an sshd program the local transport takes its place; the output says which it was.
    """
    from maw.cli.pipeline import conclude, execute
    from maw.pipeline.report import Request
    from maw.text.sources import plan_sources

    sources, skipped = plan_sources(src)
    request = Request(sources=sources, skipped=skipped, question=question)
    with (
        tempfile.TemporaryDirectory(prefix="maw-demo-") as folder,
        satellite(Path(folder)) as (context, host),
    ):
        report = execute(context, request, host, quiet=as_json)
        # The record was written and read back, and goes with the demo's workspace.
        report.record = None
        if as_json:
            click.echo(json.dumps(report.as_json()))
        else:
            conclude(report)
        if report.failure is not None:
            raise report.failure


@contextlib.contextmanager
def satellite(folder: Path) -> Iterator[tuple[Context, Host | None]]:
    """Given an empty folder, make a workspace there with a loopback satellite, if this machine can."""
    from maw import config
    from maw.cli.workspace import Context
    from maw.transport import keys, loopback

    workspace = config.Workspace(folder / "workspace")
    context = Context(workspace, config.load(workspace.config_file))
    if loopback.find_sshd() is None:
        click.echo(
            "demo: no sshd program is installed here, so the local transport plays the satellite", err=True
        )
        yield context, None
        return
    with loopback.LoopbackSatellite(folder / "satellite") as server:
        inventory = server.inventory([sys.executable, "-m", "maw.offload.worker"])
        workspace.inventory.mkdir(parents=True)
        (workspace.inventory / "hosts.yml").write_text(inventory, "utf-8")
        keys.pin(workspace.known_hosts, server.name, server.host_keys)
        where = f"{server.address} port {server.port}"
        click.echo(f"demo: the satellite is a real sshd of our own on {printable(where)}, over SSH", err=True)
        yield context, context.topology.host(server.name)
