"""How `cutter nodes` shows its machines to people: a table, and under it what does not fit in one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from maw.cli.program import colour

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from maw.cli.nodes import Node
    from maw.transport.status import Containers

# Characters of a line where the output is no terminal.
_WIDE = 200
# Containers that are named.
_MOST_NAMES = 12
_GIB = 1 << 20
_COLOURS = {"up": "green", "down": "red", "away": "yellow", "example": "yellow"}


def show(nodes: Sequence[Node]) -> None:
    """Given the machines, print them."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    console = Console(
        file=sys.stdout,
        color_system="auto" if colour(terminal) else None,
        highlight=False,
        width=None if terminal else _WIDE,
    )
    columns = {title: [cell(node) for node in nodes] for title, cell in _COLUMNS.items()}
    columns = {title: cells for title, cells in columns.items() if any(cells)}
    unlimited = console.options.update(max_width=1 << 16)
    below: dict[str, list[str]] = {}
    for title in _LESS_IMPORTANT:
        width = console.measure(_table(columns, nodes), options=unlimited).maximum
        if title in columns and width > console.width:
            below[title] = columns.pop(title)
    _draw(console, _table(columns, nodes))
    remarks = [
        (node.name, remark)
        for number, node in enumerate(nodes)
        for remark in _remarks(node, {title: cells[number] for title, cells in below.items()})
    ]
    if not remarks:
        return
    click.echo()
    if terminal:
        _draw(console, _paragraphs(remarks))
    else:
        for name, remark in remarks:
            click.echo(remark if remark.startswith((f"{name} ", f"{name}: ")) else f"{name}: {remark}")


def _draw(console: Console, table: Table) -> None:
    with console.capture() as drawn:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()), color=True)


def _paragraphs(remarks: Sequence[tuple[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for name, remark in remarks:
        table.add_row(Text(name if name != before else ""), Text(remark))
        before = name
    return table


def _table(columns: Mapping[str, Sequence[str]], nodes: Sequence[Node]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in columns:
        table.add_column(title, overflow="fold")
    for number, node in enumerate(nodes):
        # Text, not markup: a far machine may say [/red].
        table.add_row(
            *(
                Text(cells[number], style=_COLOURS[node.state] if title == "state" else "")
                for title, cells in columns.items()
            )
        )
    return table


def _address(node: Node) -> str:
    if node.address or not node.addresses:
        return node.address or ""
    more = len(node.addresses) - 1
    return node.addresses[0] + (f" +{more}" if more else "")


def _share(part: int | None, whole: int | None) -> str:
    if part is None or whole is None:
        return ""
    return f"{_gibibytes(part)}/{_gibibytes(whole)} GiB"


def _gibibytes(kilobytes: int) -> str:
    number = kilobytes / _GIB
    return f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def _load(node: Node) -> str:
    if node.load is None:
        return ""
    return f"{node.load:.2f}" + (f"/{node.cores}" if node.cores else "")


def _battery(node: Node) -> str:
    return ", ".join(
        f"{battery.percent}%" + (f" {battery.state.lower()}" if battery.state else "")
        for battery in node.batteries
    )


def _system(node: Node) -> str:
    parts = [node.system] if node.system else []
    if node.wsl and node.state == "up":
        number = node.wsl.version or (str(node.wsl.kind) if node.wsl.kind else "")
        parts.append(f"WSL {number}".strip())
    if node.proxmox and node.proxmox.version:
        parts.append(f"Proxmox {node.proxmox.version}")
    return ", ".join(parts)


def _running(name: str, containers: Containers | None) -> list[str]:
    if containers is None:
        return []
    if containers.error:
        return [f"{name} ?"]
    running = sum(one.state == "running" for one in containers.instances)
    return [f"{name} {running}/{len(containers.instances)} running"]


def _worker(node: Node) -> str:
    if node.worker is None:
        return ""
    return f"{node.worker.version} ({', '.join(node.worker.engines.values()) or 'no model'})"


def _remarks(node: Node, below: Mapping[str, str]) -> list[str]:
    """Given a machine and the cells that its table has no room for, return lines about it."""
    # The containers are named in a line of their own, and the role is in the inventory.
    facts = [_NAMED.get(title, "{}").format(cell) for title, cell in below.items() if cell]
    lines = ["; ".join(fact for fact in facts if fact)] if any(facts) else []
    if node.same_as:
        lines.append(f"the same machine as {node.same_as}")
    for system, containers in (("LXD", node.lxd), ("Proxmox", node.proxmox)):
        by_state: dict[str, list[str]] = {}
        for one in containers.instances if containers else ():
            by_state.setdefault(one.state, []).append(one.name)
        states = [f"{state}: {_some(names)}" for state, names in by_state.items()]
        lines += [f"{system} {'; '.join(states)}"] if states else []
    lines += node.notes
    if node.wsl and node.wsl.windows_state == "up" and node.error:
        lines.append(f"its Windows ({node.wsl.windows}) is up")
    return [*lines, node.error] if node.error else lines


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


_COLUMNS: dict[str, Callable[[Node], str]] = {
    "node": lambda node: node.name,
    "role": lambda node: ",".join(node.roles),
    "address": _address,
    "state": lambda node: node.state,
    "load": _load,
    "free memory": lambda node: _share(node.memory_available_kb, node.memory_total_kb),
    "free disk": lambda node: _share(node.disk_free_kb, node.disk_total_kb),
    "battery": _battery,
    "system": _system,
    "containers": lambda node: ", ".join(_running("LXD", node.lxd) + _running("Proxmox", node.proxmox)),
    "worker": _worker,
}
# In this order they leave a table that is too wide.
_LESS_IMPORTANT = ("system", "containers", "worker", "battery", "role", "free disk")
# How a cell is called where no title stands above it.
_NAMED = {
    "worker": "worker {}",
    "battery": "battery {}",
    "free disk": "free disk {}",
    "containers": "",
    "role": "",
}
