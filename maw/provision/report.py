"""What a run came to, as JSON and as text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maw.errors import printable

if TYPE_CHECKING:
    from maw.provision.events import Seen
    from maw.provision.model import HostRun
    from maw.provision.run import Ended

SCHEMA = "maw.provision/1"
# Changes of a host that are named.
_MOST_CHANGES = 40


def as_json(ended: Ended) -> dict[str, Any]:
    """Given a run that ended, return what `cutter provision --json` prints."""
    return {
        "schema": SCHEMA,
        "playbook": ended.wish.playbook,
        "check": ended.wish.check,
        "limit": list(ended.wish.limit),
        "tags": list(ended.wish.tags),
        "done": ended.failure is None,
        "stopped": ended.stopped,
        "seconds": round(ended.seconds, 1),
        "artifacts": str(ended.artifacts.folder),
        "hosts": [_host(host) for host in ended.run.hosts.values()],
        "said": [printable(text) for text in ended.run.errors],
        "error": None if ended.failure is None else str(ended.failure),
        "error_kind": None if ended.failure is None else type(ended.failure).__name__,
    }


def _host(host: HostRun) -> dict[str, Any]:
    return {
        "host": host.name,
        "state": host.state,
        "ok": host.ok,
        "changed": host.changed,
        "skipped": host.skipped,
        "ignored": host.ignored,
        "changes": [{"role": role, "task": task} for role, task in host.changes],
        "failures": [_failure(one) for one in host.failures],
        "facts": host.facts,
    }


def _failure(one: Seen) -> dict[str, Any]:
    return {
        "role": one.role,
        "task": one.task,
        "message": one.message,
        "stdout": one.stdout,
        "stderr": one.stderr,
        "next": next_step(one),
    }


def next_step(one: Seen) -> str | None:
    """Given what failed, return what to do next, None where its own words must say it."""
    if one.kind == "unreachable":
        return f"cutter doctor {one.host}"
    if one.hidden:
        return f"run that task by hand on {one.host}; what it says there is not shown here"
    return None


def failures(ended: Ended) -> list[str]:
    """Given a run, return the lines that tell what went wrong, in one block; none if nothing did."""
    lines: list[str] = []
    for host in ended.run.failed:
        for one in host.failures:
            where = f"{one.role} : {one.task}" if one.role else one.task
            what = "could not be reached" if one.kind == "unreachable" else "failed"
            lines.append(f"✗ {printable(host.name)} {what} at: {printable(where)}")
            lines += _indented("", one.message)
            lines += _indented("stderr: ", one.stderr)
            lines += _indented("stdout: ", one.stdout)
            step = next_step(one)
            lines += [f"    next: {printable(step)}"] if step else []
    if not lines and ended.failure is not None and not ended.stopped:
        for text in ended.run.errors[-3:]:
            lines += [f"✗ {ended.wish.playbook}:", *_indented("", text)]
    return lines


def _indented(title: str, text: str) -> list[str]:
    rows = [printable(row) for row in text.splitlines() if row.strip()]
    return [f"    {title if number == 0 else ' ' * len(title)}{row}" for number, row in enumerate(rows)]


def changes(ended: Ended) -> list[str]:
    """Given a run, return a line for each host: what was changed there."""
    word = "would change" if ended.wish.check else "changed"
    lines = []
    for host in ended.run.hosts.values():
        if not host.changes:
            lines.append(f"{printable(host.name)}: nothing {word if ended.wish.check else 'changed'}")
            continue
        named = [printable(f"{role}: {task}" if role else task) for role, task in host.changes]
        more = [f"and {len(named) - _MOST_CHANGES} more"] if len(named) > _MOST_CHANGES else []
        lines.append(f"{printable(host.name)}: {word} {'; '.join([*named[:_MOST_CHANGES], *more])}")
    return lines


def summary(ended: Ended) -> str:
    """Given a run that was carried out, return its last line."""
    changed = sum(host.changed for host in ended.run.hosts.values())
    tasks = sum(host.ok for host in ended.run.hosts.values())
    hosts = ", ".join(printable(host) for host in ended.run.hosts)
    what = "would be changed; nothing was" if ended.wish.check else "changed"
    return f"{ended.wish.playbook} on {hosts}: {tasks} tasks in {ended.seconds:.0f} s, {changed} {what}"
