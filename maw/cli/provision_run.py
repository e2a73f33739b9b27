"""What the verbs that run playbooks share: what is refused, the run with its progress, what is shown."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maw.errors import FileError, InventoryError, Misuse, PlaceholderLeft, UnknownHost, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from maw.cli.workspace import Context
    from maw.provision.run import Ended, Site, Wish

ASK = "-"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Given a verb's function, add the options that all runs of playbooks have."""
    for option in reversed(
        (
            click.option(
                "--check", is_flag=True, help="Change nothing; say what would be, as far as it can be known."
            ),
            click.option("--tags", metavar="TAG,…", help="Only the parts with these tags."),
            click.option(
                "-e",
                "--extra-vars",
                "extra_vars",
                multiple=True,
                metavar="NAME=VALUE",
                help="A variable for the roles; may be given several times. Secrets belong in the "
                "inventory, encrypted.",
            ),
            click.option(
                "--vault-password-file",
                metavar="FILE",
                help="File with Ansible Vault's password, or a program that prints it; - asks for it.",
            ),
        )
    ):
        command = option(command)
    return command


def tags_of(given: str | None) -> tuple[str, ...]:
    """Given --tags, return the tags. Raise Misuse."""
    found = tuple(word.strip() for word in (given or "").split(",") if word.strip())
    for tag in found:
        if not _TAG.fullmatch(tag):
            raise Misuse(reason=f"{tag!r} cannot be a tag. The roles' READMEs list theirs.")
    return found


def extra_of(given: Sequence[str]) -> dict[str, Any]:
    """Given each --extra-vars, return the variables. Raise Misuse.

    A value is text, but for true, false, and what is a list or an object in JSON.
    """
    found: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise Misuse(reason=f"{one!r} is no variable. Write NAME=VALUE, for example lxd_pool_size=20GiB.")
        found[name] = value
        if value in ("true", "false") or value[:1] in ("[", "{"):
            try:
                found[name] = json.loads(value)
            except ValueError as error:
                raise Misuse(reason=f"The value of {name} begins as JSON, and is none: {error}.") from error
    return found


@contextmanager
def vault(given: str | None) -> Iterator[bytes]:
    """Given --vault-password-file, let every Ansible use it; yield the password if it is known."""
    from maw.provision import handing

    if given == ASK:
        with handing.vault_password(None, _ask) as known:
            yield known
    else:
        with handing.vault_password(Path(given).expanduser() if given else None) as known:
            yield known


def _ask() -> str:
    if not sys.stdin.isatty():
        raise Misuse(
            reason="Without a terminal nobody can be asked for the password. Give --vault-password-file FILE."
        )
    answer: str = click.prompt("Ansible Vault's password", hide_input=True, err=True)
    return answer


@contextmanager
def opened(given: str | None) -> Iterator[tuple[Context, bytes]]:
    """Given --vault-password-file, yield the workspace, its inventory read, and the password.

    Raise VaultPasswordWrong, InventoryError.
    """
    from maw.cli.workspace import current
    from maw.provision import verdict

    with vault(given) as known:
        context = current()
        try:
            assert context.topology is not None
        except InventoryError as error:
            wrong = verdict.about_vault(str(error))
            if wrong is None:
                raise
            raise wrong from error
        yield context, known


def hosts_of(context: Context, playbook: str, limit: str | None) -> tuple[str, ...]:
    """Given a playbook and --limit (names of hosts and groups), return the hosts that are meant.

    Raise UnknownHost, Misuse.
    """
    from maw.provision.content import GROUPS

    groups = GROUPS[playbook]
    meant = [host for host in context.topology.hosts if set(host.roles) & set(groups)]
    if limit is None:
        chosen = [host.name for host in meant]
    else:
        chosen = []
        for word in filter(None, (part.strip() for part in limit.split(","))):
            named = [host.name for host in context.topology.hosts if word == host.name or word in host.roles]
            if not named:
                raise _unknown(context, word)
            chosen += [name for name in named if name in {host.name for host in meant}]
    if not chosen:
        raise Misuse(
            reason=f"No host of {context.workspace.inventory} is meant: {playbook} is for the groups "
            f"{', '.join(groups)}. Put a host there, or name another with --limit."
        )
    return tuple(dict.fromkeys(chosen))


def _unknown(context: Context, word: str) -> UnknownHost:
    known = [host.name for host in context.topology.hosts]
    groups = sorted({role for host in context.topology.hosts for role in host.roles})
    return UnknownHost(name=word, inventory=context.workspace.inventory, known=", ".join([*known, *groups]))


def refuse_placeholders(context: Context, hosts: Sequence[str]) -> None:
    """Given the hosts that are meant, look for what was left of an example. Raise PlaceholderLeft."""
    from maw.provision import inventory, placeholders

    # What the topology knows costs nothing to ask.
    for host in map(context.topology.host, hosts):
        if host.example:
            raise PlaceholderLeft(
                host=host.name,
                name="its address",
                value=f"the example's, {host.addresses[0]} (maw_example)",
                path=context.workspace.inventory,
            )
    variables = inventory.variables(context.workspace.inventory, os.environ)
    found = placeholders.left(variables, hosts)
    if found:
        first = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise PlaceholderLeft(
            host=first.host, name=first.name, value=f"{first.value}{more}", path=context.workspace.inventory
        )


def site_of(
    context: Context,
    extra: Mapping[str, Any],
    password: bytes,
    variables: Mapping[str, Mapping[str, Any]] | None = None,
) -> Site:
    """Given the workspace, further variables and a password, return where to run. Raise ContentMissing."""
    from maw.provision import content, handing, requirements
    from maw.provision.run import Site

    found = content.find()
    requirements.check(found.requirements, os.environ)
    token = context.workspace.root / context.settings.proxmox.token_file
    known = [password, *([token.read_bytes()] if token.is_file() and os.access(token, os.R_OK) else [])]
    # A WSL that sleeps takes its time, and Ansible's own limit is shorter.
    slow = {
        host.name: {"ansible_ssh_timeout": context.settings.ssh.wsl_seconds}
        for host in context.topology.hosts
        if host.windows
    }
    own: dict[str, dict[str, Any]] = {**slow}
    for name, values in (variables or {}).items():
        own[name] = {**own.get(name, {}), **values}
    return Site(
        root=context.workspace.root,
        inventory=context.workspace.inventory,
        state=context.workspace.state,
        ssh_config=context.ssh_paths.config,
        content=found,
        variables=own,
        secrets=handing.secrets([os.environ, extra], *known),
    )


def carry_out(context: Context, site: Site, wish: Wish, lock: Path) -> Ended:
    """Given where and what to run, run it with progress, and keep what came of it.

    An error of the playbook is in the answer. Raise ContentMissing, FileError.
    """
    from maw.cli import provision_progress
    from maw.provision import facts, report, run

    title = f"{wish.playbook}{' (check: nothing is changed)' if wish.check else ''}"
    with provision_progress.shown(title) as progress:
        ended = run.run(site, wish, lock, progress)
    hosts = [host.name for host in context.topology.hosts]
    try:
        facts.keep(site.state, ended, site.content.digest(), time.time(), hosts)
    except FileError as error:
        # Said at the end: what the playbook did is shown first.
        ended.artifacts.failure = ended.artifacts.failure or error
    ended.artifacts.finish(report.as_json(ended))
    return ended


def show_failures(ended: Ended) -> None:
    """Given a run, print what went wrong, if anything did, to standard error: one block."""
    from maw.provision import report

    for line in report.failures(ended):
        click.echo(line, err=True)


def show_changes(ended: Ended) -> None:
    """Given a run, print what was changed, host by host."""
    from maw.cli.show import say
    from maw.provision import report

    for line in report.changes(ended):
        say(line)


def finish(ended: Ended) -> None:
    """Given a run that was shown, raise its error, if it has one, or one of keeping its record."""
    if ended.failure is not None:
        raise ended.failure
    if ended.artifacts.failure is not None:
        raise ended.artifacts.failure


def where(ended: Ended) -> str:
    """Given a run, return where it is recorded, to be printed."""
    return printable(ended.artifacts.folder)
