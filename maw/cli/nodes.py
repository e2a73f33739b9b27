"""`cutter nodes`: every machine, whether it answers, and what it has."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from maw.errors import MawError, SomeNodesDown, printable

if TYPE_CHECKING:
    from maw.cli.workspace import Context
    from maw.topology import Host

# Seconds for a host that took the connection to say what it has.
PATIENCE = 20.0
SCHEMA = "maw.nodes/1"

# Key and value a line; everything from /proc, so that any Linux can answer.
_SCRIPT = r"""
while read -r key value unit; do case $key in MemTotal:) echo memory_total_kb $value ;;
MemAvailable:) echo memory_available_kb $value ;; esac; done < /proc/meminfo
read -r load rest < /proc/loadavg; echo load $load
read -r up rest < /proc/uptime; echo uptime_seconds ${up%.*}
echo cores $(grep -c '^processor' /proc/cpuinfo)
echo disk_free_kb $(df -Pk / | tail -n 1 | tr -s ' ' | cut -d' ' -f4)
worker=$("$@" --version 2>/dev/null) && echo worker ${worker##* }
exit 0
"""


@dataclass
class Node:
    """One machine as it is now. Sizes are in kilobytes, `uptime_seconds` in seconds."""

    name: str
    roles: tuple[str, ...]
    addresses: tuple[str, ...]
    state: str
    error: str | None = None
    cores: int | None = None
    load: float | None = None
    memory_total_kb: int | None = None
    memory_available_kb: int | None = None
    disk_free_kb: int | None = None
    uptime_seconds: int | None = None
    worker: str | None = None


@click.command("nodes", short_help="List the machines and who answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """List the machines: who answers, memory, disk, load, and the worker's version."""
    from maw.cli.workspace import current

    context = current()
    hosts: list[Host | None] = [None, *context.topology.hosts]
    if context.topology.hosts:
        _ = context.ssh_paths
    with ThreadPoolExecutor(max_workers=16) as pool:
        nodes = list(pool.map(lambda host: look(context, host), hosts))
    if as_json:
        import json

        click.echo(json.dumps({"schema": SCHEMA, "nodes": [asdict(node) for node in nodes]}))
    else:
        _print(nodes)
    down = [node for node in nodes if node.state == "down"]
    if down:
        raise SomeNodesDown(
            done=len(nodes) - len(down), total=len(nodes), names=", ".join(node.name for node in down)
        )


def look(context: Context, host: Host | None) -> Node:
    """Given a host (None is this machine), return what it says of itself, or why it says nothing."""
    name = host.name if host else "local"
    node = Node(name, host.roles if host else (), host.addresses if host else (), "up")
    if host is not None and host.example:
        node.state = "example"
        return node
    worker = host.worker_command if host else (sys.executable, "-m", "maw.offload.worker")
    try:
        with context.transport(host, warm=False) as transport:
            result = transport.run(["sh", "-c", _SCRIPT, "maw", *worker], timeout=PATIENCE)
    except MawError as error:
        node.state, node.error = "down", str(error)
        return node
    if not result.ok:
        node.state, node.error = (
            "down",
            f"its shell ended with {result.ending.code}; log in and look at its start-up",
        )
        return node
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(" ")
        _take(node, key, printable(value.strip())[:40])
    return node


def _take(node: Node, key: str, value: str) -> None:
    # What a satellite says is only ever a number here, or the worker's version as text.
    if key == "worker":
        node.worker = value
    elif key == "load":
        node.load = float(value) if value.replace(".", "", 1).isdecimal() else None
    elif key in ("cores", "memory_total_kb", "memory_available_kb", "disk_free_kb", "uptime_seconds"):
        setattr(node, key, int(value) if value.isdecimal() else None)


def _print(nodes: list[Node]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        "node",
        "roles",
        "address",
        "state",
        "cores",
        "load",
        "memory free/all",
        "disk free",
        "worker",
    ):
        table.add_column(title, overflow="fold")
    colours = {"up": "green", "down": "red", "example": "yellow"}
    for node in nodes:
        memory = (
            f"{_size(node.memory_available_kb)}/{_size(node.memory_total_kb)}" if node.memory_total_kb else ""
        )
        table.add_row(
            node.name,
            ",".join(node.roles),
            ",".join(node.addresses),
            f"[{colours[node.state]}]{node.state}[/]",
            str(node.cores or ""),
            "" if node.load is None else f"{node.load:.2f}",
            memory,
            _size(node.disk_free_kb),
            escape(node.worker or ""),
        )
    console = Console(file=sys.stdout)
    if not sys.stdout.isatty():
        console.width = 200
    console.print(table)
    for node in nodes:
        if node.error:
            click.echo(node.error)


def _size(kilobytes: int | None) -> str:
    return "" if kilobytes is None else f"{kilobytes / (1 << 20):.1f} GiB"
