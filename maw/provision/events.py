"""What ansible-runner's events say, and no more of them: from JSON of a run to `Seen`. Pure.

A task's result may hold secrets, so that of a task that went well nothing is taken but whether it changed
something, and the facts that a role shows on purpose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

HIDDEN = "what it said is hidden, for it may hold secrets (no_log)"
TOO_LARGE = "its result was too large to be looked at"
_ENDED = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_skipped": "skipped",
    "runner_on_unreachable": "unreachable",
}
_SAID = {"error", "warning", "system_warning", "deprecated", "verbose"}
_FACTS = re.compile(r"maw_([a-z][a-z0-9_]*)_facts")
_SET_FACT = ("set_fact", "ansible.builtin.set_fact", "ansible.legacy.set_fact")
# Of a failed task.
_LINES = 12
_CHARACTERS = 4000
_LONGEST_LINE = 500
# Of what a role shows.
_MOST_FACTS = 64
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")

Fact = str | int | float | bool | None


@dataclass(frozen=True)
class Seen:
    """One thing that happened.

    `kind` is one of play, task, start, ok, failed, skipped, unreachable, retry, stats, no_hosts, said, lost.
    """

    kind: str
    at: str = ""
    host: str = ""
    play: str = ""
    role: str = ""
    task: str = ""
    action: str = ""
    changed: bool = False
    ignored: bool = False
    hidden: bool = False
    message: str = ""
    stdout: str = ""
    stderr: str = ""
    facts: Mapping[str, Mapping[str, Fact]] = field(default_factory=dict)
    # Of `stats`: host -> how many tasks failed, were unreachable, were processed.
    failures: Mapping[str, int] = field(default_factory=dict)
    dark: Mapping[str, int] = field(default_factory=dict)
    processed: Mapping[str, int] = field(default_factory=dict)


def seen(event: Mapping[str, Any], clean: Callable[[str], str] = str) -> Seen | None:
    """Given an event of ansible-runner, return what it says, None if nothing that matters.

    `clean` takes known secrets out of a text.
    """
    kind, data = str(event.get("event", "")), event.get("event_data")
    data = data if isinstance(data, dict) else {}
    at = str(event.get("created", ""))
    if kind in _SAID:
        text = clean(plain(str(event.get("stdout", ""))))
        return Seen("said", at, action=kind, message=text) if text else None
    if kind == "playbook_on_stats":
        counts = [_counts(data.get(name)) for name in ("failures", "dark", "processed")]
        return Seen("stats", at, failures=counts[0], dark=counts[1], processed=counts[2])
    place: dict[str, Any] = {
        "at": at,
        "host": _text(data.get("host")),
        "play": _text(data.get("play") or data.get("name")),
        "role": _text(data.get("role")).rpartition(".")[2],
        "task": _name(data),
        "action": _text(data.get("task_action")),
    }
    if kind in _ENDED:
        return _result(_ENDED[kind], place, data, clean)
    short = {
        "playbook_on_play_start": "play",
        "playbook_on_task_start": "task",
        "runner_on_start": "start",
        "runner_retry": "retry",
        "playbook_on_no_hosts_matched": "no_hosts",
    }.get(kind)
    return None if short is None else Seen(short, **place)


def _name(data: Mapping[str, Any]) -> str:
    role, name = _text(data.get("role")), _text(data.get("task") or data.get("name"))
    # Ansible writes "role : task".
    return name.removeprefix(f"{role} : ") if role else name


def _result(kind: str, place: dict[str, Any], data: Mapping[str, Any], clean: Callable[[str], str]) -> Seen:
    given = data.get("res")
    res: dict[str, Any] = given if isinstance(given, dict) else {}
    hidden = "censored" in res
    if kind in ("ok", "skipped"):
        facts = {} if hidden or place["action"] not in _SET_FACT else role_facts(res.get("ansible_facts"))
        return Seen(kind, **place, changed=res.get("changed") is True, hidden=hidden, facts=facts)
    ignored = data.get("ignore_errors") is True
    if hidden:
        return Seen(kind, **place, ignored=ignored, hidden=True, message=HIDDEN)
    if not res:
        return Seen(kind, **place, ignored=ignored, message=TOO_LARGE)
    res, label = _failed_item(res)
    message = clean(_message(res))
    return Seen(
        kind,
        **place,
        changed=res.get("changed") is True,
        ignored=ignored,
        message=clean(f"{label}: {message}") if label else message,
        stdout=clean(tail(_text(res.get("stdout") or res.get("module_stdout")))),
        stderr=clean(tail(_text(res.get("stderr") or res.get("module_stderr")))),
    )


def _failed_item(res: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Of a loop, the first round that failed and what it was about; else the result itself."""
    results = res.get("results")
    rounds = results if isinstance(results, list) else []
    for one in rounds:
        if isinstance(one, dict) and (one.get("failed") is True or one.get("unreachable") is True):
            if "censored" in one:
                return {"msg": HIDDEN}, ""
            label = one.get("_ansible_item_label", one.get("item"))
            label = label[:80].rstrip(".…") if isinstance(label, str) else ""
            return one, "" if label in _text(one.get("msg")) else label
    return res, ""


def _message(res: Mapping[str, Any]) -> str:
    said = res.get("msg")
    text = "\n".join(map(_text, said)) if isinstance(said, list) else _text(said)
    text = plain(text) or plain(_text(res.get("reason"))) or "it says nothing about why"
    status = res.get("rc")
    if isinstance(status, int) and status != 0 and str(status) not in text:
        text += f" (status {status})"
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _counts(value: Any) -> dict[str, int]:
    given = value if isinstance(value, dict) else {}
    return {str(host): count for host, count in given.items() if isinstance(count, int)}


def plain(text: str) -> str:
    """Given a text of a terminal, return it without colours and blank ends."""
    return _ESCAPES.sub("", text).replace("\r\n", "\n").strip()


def tail(text: str) -> str:
    """Given what a program wrote, return its last lines, each of a length that can be read."""
    # Only the end of megabytes is split into lines.
    lines = [line.rstrip() for line in plain(text[-16 * _CHARACTERS :]).splitlines() if line.strip()]
    kept = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…" for line in lines[-_LINES:]]
    return "\n".join(kept)[-_CHARACTERS:]


def role_facts(given: object) -> dict[str, dict[str, Fact]]:
    """Given the facts that a task has set, return those that a role shows: `maw_ROLE_facts`, flat."""
    found = {}
    for name, values in given.items() if isinstance(given, dict) else ():
        match = _FACTS.fullmatch(str(name))
        if match and isinstance(values, dict):
            found[match[1]] = dict(_flat(values.items()))
    return found


def _flat(items: Iterable[tuple[Any, Any]]) -> list[tuple[str, Fact]]:
    kept: list[tuple[str, Fact]] = []
    for key, value in items:
        if isinstance(value, str):
            kept.append((str(key)[:_LONGEST_LINE], value[:_LONGEST_LINE]))
        elif value is None or isinstance(value, (bool, int, float)):
            kept.append((str(key)[:_LONGEST_LINE], value))
    return kept[:_MOST_FACTS]
