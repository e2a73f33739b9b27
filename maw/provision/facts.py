"""What provisioning knows of each host: `provisioned/HOST.json` in the workspace's state."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import maw
from maw import files
from maw.provision.content import WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from maw.provision.events import Fact
    from maw.provision.run import Ended

SCHEMA = "maw.provisioned/1"
FOLDER = "provisioned"
_FORM = "%Y-%m-%dT%H:%M:%SZ"
# Days after which a machine is due again.
_OLD = 180
_DAY = 86400


@dataclass(frozen=True)
class Provisioned:
    """What the last run of a whole playbook left on a host. `content` stands for the roles that did it."""

    host: str
    when: str
    playbook: str
    complete: bool
    version: str
    content: str
    roles: Mapping[str, Mapping[str, Fact]] = field(default_factory=dict)

    def age_days(self, now: float) -> int:
        """Given the time now, return how many days ago it was."""
        import calendar

        return int((now - calendar.timegm(time.strptime(self.when, _FORM))) // _DAY)

    def remark(self, now: float) -> str | None:
        """Given the time now, return what a person should know of it, None if nothing."""
        day = self.when[:10]
        if not self.complete:
            return f"provisioning ({self.playbook}, {day}) did not come to its end; run it again"
        if self.version != maw.__version__:
            other = f"by maw {self.version} on {day}, and this is {maw.__version__}"
            return f"provisioned {other}; run {self.playbook} again"
        days = self.age_days(now)
        return f"provisioned {days} days ago; run {self.playbook} again" if days > _OLD else None


def read(state: Path, host: str) -> Provisioned | None:
    """Given the workspace's state and a host's name, return what is known of it, None if nothing is."""
    try:
        kept: dict[str, Any] = json.loads(_path(state, host).read_bytes())
        if kept.pop("schema") != SCHEMA:
            return None
        found = Provisioned(**kept)
        found.age_days(0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Missing or damaged: the next run writes it anew.
        return None
    return found if isinstance(found.roles, dict) else None


def after(
    before: Provisioned | None, ended: Ended, host: str, content: str, now: float
) -> Provisioned | None:
    """Given what was known of a host and a run, return what is known now, None for nothing.

    Only a whole playbook without tags says whether a host is complete; others add what they show. Pure.
    """
    own = ended.run.hosts[host]
    if ended.wish.playbook == "remove":
        return None if ended.failure is None else before
    roles: dict[str, Mapping[str, Fact]] = {**(before.roles if before else {}), **own.facts}
    if ended.wish.playbook in WHOLE and not ended.wish.tags:
        # A run that was stopped says of no host that it is complete.
        complete = not own.failures and ended.code == 0 and not ended.stopped
        when = time.strftime(_FORM, time.gmtime(now))
        return Provisioned(host, when, ended.wish.playbook, complete, maw.__version__, content, roles)
    return None if before is None else Provisioned(**{**asdict(before), "roles": roles})


def keep(state: Path, ended: Ended, content: str, now: float, hosts: Sequence[str]) -> None:
    """Given a run, write what is now known of those of its hosts that the inventory has. Raise FileError."""
    if ended.wish.check:
        return
    for host in ended.run.hosts:
        if host not in hosts:
            continue
        before = read(state, host)
        known = after(before, ended, host, content, now)
        path = _path(state, host)
        if known is not None:
            text = json.dumps({"schema": SCHEMA, **asdict(known)}, indent=1)
            files.write_atomically(path, text + "\n", mode=0o600)
        elif before is not None:
            try:
                path.unlink()
            except OSError as error:
                raise files.translate(error, path) from error


def _path(state: Path, host: str) -> Path:
    # The inventory lets no name through that is more than one name of a file.
    return state / FOLDER / f"{host}.json"
