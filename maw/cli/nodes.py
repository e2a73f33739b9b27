"""`cutter nodes`: every machine, whether it answers, and what it has."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import click

from maw.errors import HostUnreachable, LinkLost, MawError, SomeNodesDown
from maw.transport.local import LOCAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from maw.cli.workspace import Context
    from maw.provision.events import Fact
    from maw.topology import Host
    from maw.transport.status import Battery, Containers, Worker
    from maw.transport.survey import Answer

SCHEMA = "maw.nodes/3"
# Seconds for each machine.
LIMIT = 2.0
# Machines that are asked at once.
TOGETHER = 32


@dataclass(frozen=True)
class Wsl:
    """A WSL and its Windows, if that is in the inventory. `windows_state` is up, down, or refused."""

    distro: str | None
    kind: int | None
    version: str | None
    windows: str | None
    windows_state: str | None
    windows_error: str | None


@dataclass(frozen=True)
class Provisioned:
    """What the last run of a playbook for a whole machine left there, a notebook's two sides being one."""

    when: str
    playbook: str
    complete: bool
    version: str
    roles: Mapping[str, Mapping[str, Fact]]


@dataclass
class Node:
    """One machine as it is now, as docs/schema/nodes.json describes it."""

    name: str
    roles: tuple[str, ...]
    addresses: tuple[str, ...]
    expected: bool
    state: str
    address: str | None = None
    error: str | None = None
    error_kind: str | None = None
    seconds: float | None = None
    cores: int | None = None
    load: float | None = None
    memory_total_kb: int | None = None
    memory_available_kb: int | None = None
    disk_total_kb: int | None = None
    disk_free_kb: int | None = None
    uptime_seconds: int | None = None
    batteries: tuple[Battery, ...] = ()
    system: str | None = None
    kernel: str | None = None
    wsl: Wsl | None = None
    lxd: Containers | None = None
    proxmox: Containers | None = None
    worker: Worker | None = None
    provisioned: Provisioned | None = None
    same_as: str | None = None
    notes: list[str] = field(default_factory=list)


def _number(_context: click.Context, _option: click.Parameter, value: float) -> float:
    # Every comparison with NaN is false, so that the range lets it through.
    if value != value:
        raise click.BadParameter("nan is no number of seconds.")
    return value


@click.command("nodes", short_help="List the machines and who answers.")
@click.option(
    "--limit",
    type=click.FloatRange(0.1, 600),
    default=LIMIT,
    show_default=True,
    callback=_number,
    help="Seconds for each machine, connecting included.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schema/nodes.json).")
def command(limit: float, as_json: bool) -> None:
    """List the machines: who answers, from which address, load, memory, disk, battery, and what runs there.

    All are asked at once. The exit code is 1 if a machine that is expected (the inventory's
    maw_expected) does not answer.
    """
    from maw.cli.workspace import current

    nodes = look(current(), limit)
    if as_json:
        import json

        click.echo(json.dumps({"schema": SCHEMA, "limit": limit, "nodes": [asdict(node) for node in nodes]}))
    else:
        from maw.cli import nodes_table

        nodes_table.show(nodes)
    down = [node.name for node in nodes if node.state == "down" and node.expected]
    if down:
        answered = sum(node.state == "up" for node in nodes)
        raise SomeNodesDown(done=answered, total=len(nodes), names=", ".join(down))


def look(context: Context, limit: float) -> list[Node]:
    """Given a workspace and the seconds for each machine, ask them all; this one is the first."""
    from maw.transport.survey import Survey

    known = context.topology
    # A Windows with a WSL is shown with that.
    hosts = [host for host in known.hosts if not known.distros_of(host)]
    asked = [host for host in hosts if not host.example]
    survey = Survey(
        context.ssh_paths if asked else None,
        context.settings.ssh,
        limit,
        {host.name: host for host in known.hosts if host.is_windows},
    )
    with ThreadPoolExecutor(max_workers=TOGETHER) as pool:
        here = pool.submit(survey.ask, None)
        there = {host.name: pool.submit(survey.ask, host) for host in asked}
        answers = {LOCAL: here.result()} | {name: future.result() for name, future in there.items()}
    nodes = [_node(None, answers[LOCAL]), *(_node(host, answers.get(host.name)) for host in hosts)]
    _mark_same(nodes, answers)
    for node, host in zip(nodes[1:], hosts, strict=True):
        _remember(node, [host.name, *([host.windows] if host.windows else [])], context.workspace.state)
    return nodes


def _node(host: Host | None, answer: Answer | None) -> Node:
    """Given a host (None is this machine) and what it answered (None: not asked), return its row."""
    node = Node(LOCAL, (), (), expected=True, state="example")
    if host is not None:
        node = Node(host.name, host.roles, host.addresses, host.expected, "example")
    if answer is None:
        return node
    facts = answer.facts
    node.state, node.address, node.seconds = "up", answer.address, round(answer.seconds, 3)
    for name in (
        *("cores", "load", "memory_total_kb", "memory_available_kb", "disk_total_kb", "disk_free_kb"),
        *("uptime_seconds", "batteries", "system", "kernel", "lxd", "proxmox", "worker"),
    ):
        setattr(node, name, getattr(facts, name))
    node.notes = list(facts.notes)
    if answer.error is not None:
        node.state = "away" if not node.expected and _is_absent(answer.error) else "down"
        node.error, node.error_kind = str(answer.error), type(answer.error).__name__
        node.address = None
    node.wsl = _wsl(host, answer)
    return node


def _remember(node: Node, names: Sequence[str], state: Path) -> None:
    """Given a node and the names of its sides, add what is known of its provisioning."""
    from maw.provision import facts

    known = [one for one in (facts.read(state, name) for name in names) if one is not None]
    if not known:
        return
    first = known[0]
    node.provisioned = Provisioned(
        when=first.when,
        playbook=first.playbook,
        complete=all(one.complete for one in known),
        version=first.version,
        roles={role: shown for one in reversed(known) for role, shown in one.roles.items()},
    )
    remarks = [one.remark(time.time()) for one in known]
    node.notes += list(dict.fromkeys(remark for remark in remarks if remark is not None))[:1]


def _is_absent(error: MawError) -> bool:
    """Whether a machine may just be switched off or elsewhere; a wrong key is another matter."""
    return isinstance(error, (HostUnreachable, LinkLost))


def _wsl(host: Host | None, answer: Answer) -> Wsl | None:
    from maw.transport import status

    if host is None or answer.windows is None:
        # A WSL that is reached directly, or is this machine.
        kind = answer.facts.wsl
        return None if kind is None else Wsl(None, kind, None, None, None, None)
    error = answer.windows.error
    state = "up"
    if answer.error is not None and error is not None:
        state = "down" if _is_absent(error) else "refused"
    return Wsl(
        host.wsl_distro,
        answer.facts.wsl,
        status.wsl_version(answer.windows.said),
        host.windows,
        state,
        str(error) if error is not None and state != "up" else None,
    )


def _mark_same(nodes: Sequence[Node], answers: dict[str, Answer]) -> None:
    """Mark every further way to a machine that was seen before."""
    seen: dict[str, str] = {}
    for node in nodes:
        answer = answers.get(node.name)
        identity = answer.facts.identity if answer else None
        if identity is None:
            continue
        node.same_as = seen.setdefault(identity, node.name)
        if node.same_as == node.name:
            node.same_as = None
