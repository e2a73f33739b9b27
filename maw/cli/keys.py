"""`cutter keys`: the cluster's own keys, and where they are let in."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from maw.cli.keys_text import show_instruction, show_plan, show_report
from maw.errors import KeysWrong, Misuse, RotationUnfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from maw.cli.workspace import Context
    from maw.transport.far import Line
    from maw.transport.keys import HostKey
    from maw.transport.places import Place
    from maw.transport.rotation import Rotation

# The order in which they are changed, too.
_PURPOSES = ("bridge", "mirror", "admin")
# The third is let in by the role proxmox_access only, and from then on used: who has not run that has none.
_MADE = ("bridge", "admin")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("keys", short_help="Make, show, check and change the cluster's keys.")
def command() -> None:
    """Make, show, check and change the cluster's own keys.

    There are three: `admin` for plain hosts and for Windows, `bridge` for the way through Windows into a WSL,
    and `mirror`, if you make it, for what mirrors need on a Proxmox server and nothing else.
    """


@command.command("make", short_help="Make the keys that are missing.")
@click.option("--key", "which", type=click.Choice(_PURPOSES), help="Only this one; else bridge and admin.")
@_json
def make(which: str | None, as_json: bool) -> None:
    """Make the keys `admin` and `bridge` in the workspace's folder `keys`; what is there stays.

    The key `mirror` is made with --key mirror, which the role proxmox_access does: once it is there, mirrors
    go to the Proxmox server with it.
    """
    from maw.cli.workspace import current
    from maw.transport import keypairs

    folder = current().workspace.keys
    keypairs.prepare(folder)
    with keypairs.locked(folder):
        made = {purpose: keypairs.make(folder, purpose) for purpose in ((which,) if which else _MADE)}
        public = _public(folder, made)
    if as_json:
        shown = [
            {"key": name, "made": is_new, "fingerprint": public[name].fingerprint}
            for name, is_new in made.items()
        ]
        click.echo(json.dumps({"schema": "maw.keys-make/1", "folder": str(folder), "keys": shown}))
        return
    for name, is_new in made.items():
        click.echo(f"{'made' if is_new else 'there already'}: {folder / name} {public[name].fingerprint}")
    click.echo("next: `cutter keys show` prints the lines that let them in")


@command.command("show", short_help="Print the lines to install, place by place.")
@click.argument("host", required=False)
@click.option(
    "--core-address",
    default=None,
    metavar="ADDRESS,…",
    help="The addresses or networks that this machine comes from; found out if not given.",
)
@click.option("--key", "which", type=click.Choice(_PURPOSES), help="Only the lines of this one.")
@_json
def show(host: str | None, core_address: str | None, which: str | None, as_json: bool) -> None:
    """Print what lets the keys in, on HOST or on every host: the lines, and commands to paste there."""
    from maw.cli.workspace import current
    from maw.transport import installing

    context = current()
    chosen = _places(context, host, which)
    wanted = {purpose for place in chosen for purpose in place.purposes}
    public = _public(context.workspace.keys, sorted(wanted))
    given = _networks(core_address)
    shown = []
    for place in chosen:
        limited = _limited(place)
        addresses = (given or _addresses(place)) if limited else ()
        if limited and not addresses:
            reason = (
                f"There is no route to {place.host.name} now, so that this machine's address is not known. "
            )
            raise Misuse(reason=f"{reason}Give it: --core-address 192.168.1.129")
        shown.append(installing.instruction(place, public, addresses))
    if as_json:
        listed = [asdict(one) for one in shown]
        click.echo(json.dumps({"schema": "maw.keys-show/1", "places": listed}, ensure_ascii=False))
        return
    for one in shown:
        show_instruction(one)


@command.command("check", short_help="Look at the keys, and at every place that lets them in.")
@click.argument("host", required=False)
@_json
def check(host: str | None, as_json: bool) -> None:
    """Look at the keys here, and at what is installed on HOST or everywhere: age, rights, what each may do.

    Nothing is changed. The exit code is 0 if nothing must be mended, and 61 if something must.
    """
    import time

    from maw.cli.workspace import current
    from maw.transport import keys_check

    context = current()
    chosen = _places(context, host)
    found = keys_check.report(
        _line(context),
        context.workspace.keys,
        chosen,
        now=time.time(),
        addresses=_addresses,
        tell=_progress(sys.stderr.isatty()),
    )
    problems = found.all_problems
    if as_json:
        shown = {"schema": "maw.keys-check/1", **asdict(found), "ok": not problems}
        click.echo(json.dumps(shown))
    else:
        show_report(found)
    if problems:
        count = "1 thing" if len(problems) == 1 else f"{len(problems)} things"
        raise KeysWrong(problems=count, first=problems[0])


@command.command("rotate", short_help="Replace a key everywhere, without ever being locked out.")
@click.option(
    "--key", "which", type=click.Choice([*_PURPOSES, "all"]), default="all", help="Which key; all by default."
)
@click.option("--dry-run", is_flag=True, help="Look at every place, say what would be done, change nothing.")
@_json
def rotate(which: str, dry_run: bool, as_json: bool) -> None:
    """Replace the keys by new ones on every host that they let us into.

    The old key is removed only when a log-in with the new one alone has been proven on every host.
    Stopped at any moment, the same command goes on where it stopped; it begins a new rotation only if none
    is under way.
    """
    from maw.cli.workspace import current
    from maw.transport import keypairs

    context = current()
    chosen = _purposes(context, which)
    if dry_run:
        _dry_run([_rotation(context, purpose, None) for purpose in chosen], as_json)
        return
    done: dict[str, tuple[HostKey, HostKey | None]] = {}
    with keypairs.locked(context.workspace.keys) as lock:
        for purpose in chosen:
            done[purpose] = _rotation(context, purpose, lock).run()
            if not as_json:
                new, old = done[purpose]
                was = f", instead of {old.fingerprint}" if old else ""
                click.echo(f"done: {purpose} is {new.fingerprint} everywhere{was}")
    if as_json:
        shown = [
            {"key": name, "fingerprint": new.fingerprint, "old": old.fingerprint if old else None}
            for name, (new, old) in done.items()
        ]
        click.echo(json.dumps({"schema": "maw.keys-rotate/1", "dry_run": False, "keys": shown}))


def _dry_run(rotations: list[Rotation], as_json: bool) -> None:
    plans = [(one.purpose, *one.plan()) for one in rotations]
    if as_json:
        shown = [
            {
                "key": purpose,
                "next": move,
                "places": [{**asdict(one), "error": str(one.error) if one.error else None} for one in places],
            }
            for purpose, move, places in plans
        ]
        click.echo(json.dumps({"schema": "maw.keys-rotate/1", "dry_run": True, "keys": shown}))
    else:
        for purpose, move, places in plans:
            show_plan(purpose, move, places)
    for purpose, _, places in plans:
        failed = [one for one in places if one.error]
        if failed:
            reasons = "; ".join(f"{one.host}: {str(one.error).rstrip('.')}" for one in failed)
            raise RotationUnfinished(
                key=purpose, reasons=reasons, kept="Nothing was changed, for this is a dry run"
            )


def _purposes(context: Context, which: str) -> list[str]:
    """Which keys to change: those that some host of the inventory is reached with."""
    from maw.transport import keypairs

    used = {purpose for place in _places(context, None) for purpose in place.purposes}
    chosen = [purpose for purpose in _PURPOSES if which in (purpose, "all") and purpose in used]
    if not chosen:
        raise Misuse(reason=f"No host of the inventory uses the key {which}. Choose another with --key.")
    folder = context.workspace.keys
    if not folder.is_dir():
        raise keypairs.missing(folder / chosen[0])
    return chosen


def _rotation(context: Context, purpose: str, lock: int | None) -> Rotation:
    from maw.transport import places, rotation

    listed = _places(context, None)
    return rotation.Rotation(
        context.workspace.keys,
        purpose,
        _line(context, lock),
        context.topology.hosts,
        places.targets(listed, purpose),
        _progress(sys.stderr.isatty()),
    )


def _places(context: Context, name: str | None, which: str | None = None) -> list[Place]:
    """The places of a host, a notebook's two sides being one; or all. Raise UnknownHost or Misuse."""
    from maw.transport import places
    from maw.transport.ssh_config import MIRROR

    mirror = MIRROR in context.ssh_paths.identities
    listed = places.places(context.topology.hosts, context.settings.ssh, mirror=mirror)
    if which is not None:
        listed = places.of(listed, which)
    if name is None:
        chosen = list(listed)
        missing = "No host of the inventory is reached with a key of the cluster"
    else:
        machine = context.machine(name)
        door = machine.windows or machine.name
        chosen = [place for place in listed if door in (place.host.name, place.host.windows)]
        missing = f"{name} is reached with a key of your own"
    if not chosen and which is not None:
        where = name or "the hosts of the inventory"
        raise Misuse(
            reason=f"The key {which} is not for {where}. `mirror` is for hosts of group proxmox, and made by "
            "`cutter keys make --key mirror`; `cutter keys check` lists which key is where."
        )
    if not chosen:
        raise Misuse(
            reason=f"{missing}: all have one of their own in the inventory or in maw.toml, or still have the "
            "example's address. Name your hosts in the inventory first."
        )
    return chosen


def _public(folder: Path, purposes: Iterable[str]) -> dict[str, HostKey]:
    """The public halves of the keys in use. Raise KeysError."""
    from maw.transport import keypairs

    found = {}
    for purpose in purposes:
        one = keypairs.load(keypairs.path_of(folder, purpose))
        if one is None:
            raise keypairs.missing(keypairs.path_of(folder, purpose))
        found[purpose] = one.key
    return found


def _line(context: Context, lock: int | None = None) -> Line:
    from maw.transport.far import Line

    return Line(context.ssh_paths, context.settings.ssh, lock)


def _addresses(place: Place) -> tuple[str, ...]:
    from maw.transport import core_address

    return core_address.towards(place.host)


def _limited(place: Place) -> bool:
    """Whether a line there says from where its key may come."""
    from maw.transport.places import Kind

    return "mirror" in place.purposes or (place.kind is Kind.WINDOWS and "bridge" in place.purposes)


def _networks(given: str | None) -> tuple[str, ...]:
    """What `from=` gets. Raise Misuse for what is no address: a quote there would change the line."""
    import ipaddress

    found = []
    for word in (given or "").split(","):
        text = word.strip()
        if not text:
            continue
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise Misuse(reason=f"{text!r} is no address. Give one such as 192.168.1.129.") from error
        found.append(text)
    return tuple(found)


def _progress(terminal: bool) -> Callable[[str], None]:
    def say(what: str) -> None:
        if terminal:
            click.echo(what, err=True)

    return say
