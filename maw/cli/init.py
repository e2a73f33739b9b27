"""`maw init`: make a workspace."""

from __future__ import annotations

from pathlib import Path

import click

from maw.cli.workspace import create
from maw.errors import printable


@click.command("init", short_help="Make a workspace.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, as_json: bool) -> None:
    """Make FOLDER (default: this one) a workspace: inventory/, maw.toml, ansible.cfg and ψ/.

    Safe to run again: what is there already is never touched.
    """
    root = folder.expanduser().absolute()
    made = [str(path.relative_to(root)) for path in create(root)]
    if as_json:
        import json

        click.echo(json.dumps({"schema": "maw.init/1", "workspace": str(root), "made": made}))
        return
    for path in made:
        click.echo(f"made {printable(path)}")
    if made:
        click.echo(
            f"done: {printable(root)} is a workspace. Next: put your machines into inventory/hosts.yml."
        )
    else:
        click.echo(f"done: {printable(root)} is a workspace already; nothing was changed.")
