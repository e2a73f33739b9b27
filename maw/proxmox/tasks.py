"""Tasks: what the server works on after it has answered; watched by their UPID to the end.

A backup of a missing or locked container, or one without the privilege, is answered with a
UPID like any other: only the task's end tells.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from maw.errors import (
    CommandTimedOut,
    HostUnreachable,
    Interrupted,
    LinkLost,
    ProxmoxError,
    ProxmoxUnreachable,
    TaskFailed,
)
from maw.proxmox import messages
from maw.proxmox.messages import Asked
from maw.proxmox.model import TaskEnd, odd_answer, path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.proxmox.model import Api

_UPID = re.compile(
    r"UPID:(?P<node>[A-Za-z0-9-]+):[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8}:"
    r"(?P<type>[^:\s]+):(?P<id>[^:\s]*):(?P<user>[^:\s]+):"
)
_WARNINGS = re.compile(r"WARNINGS: (\d+)")
_GUEST_FAILED = re.compile(r"ERROR: Backup of VM (\d+) failed - (.*)")
_ERROR = re.compile(r"(?:TASK )?ERROR: (.*)")
# What the server puts in place of a log that has no line yet.
_NO_LOG = ("no content", "unable to open file - No such file or directory")
# Exit statuses that send the reader to the log.
_EMPTY_WORDS = ("job errors", "unexpected status", "")
Answer = TypeVar("Answer")
# What may be over in a moment: a server that restarts its API, a link that is down.
_PASSING = (ProxmoxUnreachable, HostUnreachable, LinkLost, CommandTimedOut)
_PAGE = 500
FIRST_INTERVAL = 0.5
LONGEST_INTERVAL = 5.0
_GROWTH = 1.5
_STOP_SECONDS = 30.0


def check_upid(host: str, answer: object) -> str:
    """Given what the server answered, return it if it is a task's UPID. Raise ProxmoxError if not."""
    if not isinstance(answer, str) or not _UPID.fullmatch(answer):
        raise odd_answer(host, "a task's UPID", answer)
    return answer


@dataclass
class Watch:
    """One task that is watched. `sleep` and `clock` are time's own, but for tests."""

    api: Api
    upid: str
    on_log: Callable[[str], None] | None = None
    silence_seconds: float = 900.0
    cancelled: Callable[[], bool] | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _lines: list[str] = field(default_factory=list)

    @property
    def _path(self) -> tuple[str, ...]:
        match = _UPID.fullmatch(check_upid(self.api.host, self.upid))
        assert match is not None
        return ("nodes", match["node"], "tasks", self.upid)

    def wait(self) -> TaskEnd:
        """Wait for the end, however long it takes, and return it if it is a good one.

        A server that cannot be asked is asked again until `silence_seconds` are over. Raise
        TaskFailed or the error that the task's own words name; Interrupted, with the task stopped,
        when it was cancelled.
        """
        try:
            state = self._to_the_end()
        except KeyboardInterrupt:
            self.stop()
            raise
        self._read_log()
        status = str(state.get("exitstatus") or "")
        warned = _WARNINGS.fullmatch(status)
        if status == "OK" or warned:
            return TaskEnd(status, int(warned[1]) if warned else 0, tuple(self._lines))
        raise self._failure(status, str(state.get("id") or ""))

    def stop(self) -> None:
        """Stop the task. Raise ProxmoxError."""
        self.api.delete(path_of(*self._path))

    def _to_the_end(self) -> dict[str, Any]:
        interval = FIRST_INTERVAL
        while True:
            state = self._patiently(self._state)
            if state.get("status") == "stopped":
                return state
            if self.on_log is not None:
                self._patiently(self._read_log)
            if self.cancelled is not None and self.cancelled():
                self._cancel()
            self.sleep(interval)
            interval = min(interval * _GROWTH, LONGEST_INTERVAL)

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        started = self.clock()
        while True:
            try:
                return ask()
            except _PASSING:
                if self.clock() - started >= self.silence_seconds:
                    raise
                if self.cancelled is not None and self.cancelled():
                    raise
            self.sleep(LONGEST_INTERVAL)

    def _state(self) -> dict[str, Any]:
        state = self.api.get(path_of(*self._path, "status"))
        if not isinstance(state, dict) or state.get("status") not in ("running", "stopped"):
            raise odd_answer(self.api.host, "a task's status", state)
        return state

    def _cancel(self) -> None:
        self.stop()
        deadline = self.clock() + _STOP_SECONDS
        while self.clock() < deadline and self._state()["status"] == "running":
            self.sleep(FIRST_INTERVAL)
        raise Interrupted(after=f": the task {self.upid} on {self.api.host} was stopped")

    def _read_log(self) -> None:
        while True:
            rows = self.api.get(path_of(*self._path, "log"), start=len(self._lines), limit=_PAGE)
            texts = [str(row.get("t", "")) for row in rows or []]
            if not self._lines and len(texts) == 1 and texts[0] in _NO_LOG:
                return
            for text in texts:
                self._lines.append(text)
                if self.on_log is not None:
                    self.on_log(text)
            if len(texts) < _PAGE:
                return

    def _failure(self, status: str, guest: str) -> ProxmoxError:
        """The reason stands in the status, or in the log where the status says only that there is one."""
        guests = [match for line in self._lines if (match := _GUEST_FAILED.match(line))]
        errors = [match[1] for line in self._lines if (match := _ERROR.match(line))]
        errors = [text for text in errors if text not in _EMPTY_WORDS]
        vmid = guests[-1][1] if guests else guest.partition("@")[0]
        reason = status
        if status in _EMPTY_WORDS:
            reason = guests[-1][2] if guests else (errors or [status or "it did not say why"])[-1]
        asked = Asked(self.api.host, self.api.token, "POST", path_of("vms", vmid) if vmid else "")
        return messages.of_text(reason, asked) or TaskFailed(
            upid=self.upid,
            host=self.api.host,
            reason=reason.rstrip(". "),
            log=" | ".join(self._lines[-5:]).rstrip(". ") or "nothing",
            step=f"The whole log: `pvenode task log {self.upid}` on the server",
        )
