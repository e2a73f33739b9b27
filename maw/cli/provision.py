"""`cutter provision`: run one of maw's playbooks on the inventory."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from maw.cli.provision_run import options
from maw.errors import Misuse, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.provision.run import Ended

# `satellite` has a verb of its own, which sees to the first contact too.
PLAYBOOKS = ("core", "keys", "remove", "satellite", "site")


@click.command("provision", short_help="Run one of maw's playbooks.")
@click.argument("playbook", type=click.Choice(PLAYBOOKS))
@click.option("--limit", metavar="NAME,…", help="Only these hosts or groups of the inventory.")
@options
@click.option("--yes", is_flag=True, help="For remove: do not ask for the hosts' names.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schema/provision.json).")
def command(
    playbook: str,
    limit: str | None,
    check: bool,
    tags: str | None,
    extra_vars: tuple[str, ...],
    vault_password_file: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Run PLAYBOOK on the hosts that it is for: core, keys, satellite, site (core and satellites), or remove.

    It is safe to run again: what is done is not done twice. A new notebook begins with
    `cutter satellite-init`. What a run did is kept in the workspace, in .maw/provision.
    """
    from maw.cli import provision_run as shared
    from maw.provision import lock, run

    wish = run.Wish(playbook, check=check, tags=shared.tags_of(tags), extra=shared.extra_of(extra_vars))
    with shared.opened(vault_password_file) as (context, password):
        hosts = shared.hosts_of(context, playbook, limit)
        shared.refuse_placeholders(context, hosts)
        if playbook == "remove" and not (yes or check):
            _confirm(hosts)
        with lock.held(context.workspace.state / run.FOLDER, playbook) as held:
            site = shared.site_of(context, wish.extra, password)
            # Without --limit none is passed on: it would leave out plays on this machine.
            ended = shared.carry_out(context, site, replace(wish, limit=hosts if limit else ()), held)
    show(ended, as_json=as_json)
    shared.finish(ended)


def show(ended: Ended, *, as_json: bool) -> None:
    """Given a run, print what came of it."""
    from maw.cli import provision_run as shared
    from maw.cli.show import say, style
    from maw.provision import report

    if as_json:
        click.echo(json.dumps(report.as_json(ended), ensure_ascii=True))
        return
    if ended.run.hosts:
        shared.show_changes(ended)
    shared.show_failures(ended)
    if ended.failure is None and ended.artifacts.failure is None:
        say(f"{style('done', fg='green')}: {report.summary(ended)}")
        return
    click.echo(f"recorded in {shared.where(ended)}", err=True)


def _confirm(hosts: Sequence[str]) -> None:
    """Let a person type the hosts' names, for what is removed is gone. Raise Misuse."""
    names = " ".join(hosts)
    if not sys.stdin.isatty():
        raise Misuse(
            reason=f"remove takes everything of maw's away from {printable(names)}. Without a terminal, say "
            "that it is meant with --yes."
        )
    click.echo(f"remove takes away all that maw put on {printable(names)}; your data stays.", err=True)
    answer: str = click.prompt("Type the names to go on", err=True)
    if answer.split() != list(hosts):
        raise Misuse(reason=f"That is not {printable(names)}. Nothing was touched; run it again.")
