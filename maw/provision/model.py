"""How far a run of a playbook is, host by host, and what came of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maw.provision.events import Fact, Seen

# Ansible's own words.
_NO_MODULE = re.compile(r"couldn't resolve module/action '([A-Za-z0-9_.]+)'")
_NO_ROLE = re.compile(r"the role '([^']{1,80})' was not found")
# Lines of warnings and errors that are kept.
_MOST_SAID = 200


@dataclass
class HostRun:
    """One host in a run."""

    name: str
    role: str = ""
    task: str = ""
    busy: bool = False
    ok: int = 0
    changed: int = 0
    skipped: int = 0
    # What failed and was neither ignored nor rescued; known at the end, before that what looks so.
    failures: list[Seen] = field(default_factory=list)
    ignored: int = 0
    # Task by task, as (role, task).
    changes: list[tuple[str, str]] = field(default_factory=list)
    facts: dict[str, dict[str, Fact]] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """One of unreachable, failed, ok."""
        if not self.failures:
            return "ok"
        return "unreachable" if self.failures[-1].kind == "unreachable" else "failed"


@dataclass
class Run:
    """A run, from what was seen of it."""

    hosts: dict[str, HostRun] = field(default_factory=dict)
    play: str = ""
    role: str = ""
    task: str = ""
    tasks: int = 0
    # Whether Ansible came to its end and said so.
    ended: bool = False
    # Events of which nothing is known, for they could not be written or read.
    lost: int = 0
    said: list[Seen] = field(default_factory=list)

    def take(self, one: Seen) -> None:
        """Given the next thing that happened, note it."""
        if one.kind == "play":
            self.play = one.play
            for host in self.hosts.values():
                host.busy = False
        elif one.kind == "task":
            self.role, self.task, self.tasks = one.role, one.task, self.tasks + 1
        elif one.kind == "said":
            self.said = [*self.said, one][-_MOST_SAID:]
        elif one.kind == "lost":
            self.lost += 1
        elif one.kind == "stats":
            self._end(one)
        elif one.host:
            self._take(self.hosts.setdefault(one.host, HostRun(one.host)), one)

    def _take(self, host: HostRun, one: Seen) -> None:
        host.role, host.task = one.role, one.task
        host.busy = one.kind in ("start", "retry")
        if one.kind == "ok":
            host.ok += 1
            if one.changed:
                host.changed += 1
                host.changes.append((one.role, one.task))
            for role, facts in one.facts.items():
                host.facts[role] = dict(facts)
        elif one.kind == "skipped":
            host.skipped += 1
        elif one.kind in ("failed", "unreachable"):
            if one.ignored:
                host.ignored += 1
            else:
                host.failures.append(one)

    def _end(self, one: Seen) -> None:
        self.ended = True
        for name in one.processed:
            host = self.hosts.setdefault(name, HostRun(name))
            # A rescued failure is none; the ones that count come last, for they end the host's run.
            count = one.failures.get(name, 0) + one.dark.get(name, 0)
            host.failures = host.failures[-count:] if count else []
            host.busy = False

    @property
    def failed(self) -> list[HostRun]:
        """The hosts that did not get through."""
        return [host for host in self.hosts.values() if host.failures]

    @property
    def errors(self) -> list[str]:
        """What Ansible said was wrong, apart from hosts' tasks."""
        return [one.message for one in self.said if one.action == "error" or "ERROR" in one.message[:9]]

    def _texts(self) -> Iterable[str]:
        yield from self.errors
        for host in self.failed:
            yield from (one.message for one in host.failures)

    @property
    def said_of_failures(self) -> str:
        """All that was said about what went wrong."""
        return "\n".join(self._texts())

    def missing_modules(self) -> list[str]:
        """Return the modules that Ansible does not know."""
        return list(dict.fromkeys(_NO_MODULE.findall(self.said_of_failures)))

    def missing_role(self) -> str | None:
        """Return a role that Ansible does not find, None if there is none."""
        found = _NO_ROLE.search(self.said_of_failures)
        return found[1] if found else None
