"""Tasks are watched to their end, from recorded answers; what the end says becomes an error of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from maw.errors import (
    ContainerLocked,
    Interrupted,
    NoSuchContainer,
    ProxmoxError,
    ProxmoxPermission,
    ProxmoxUnreachable,
    TaskFailed,
)
from maw.proxmox.client import Proxmox
from tests.proxmox.replay import RECORDINGS, named, needs, recordings

if TYPE_CHECKING:
    from collections.abc import Sequence

UPID = "UPID:pve1:00001FA7:00077F8D:6B0392A3:vzdump:101:root@pam!lab:"
DOWN = ProxmoxUnreachable(host="pve", reason="Connection refused")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


class Task:
    """An API with one task: its states one after the other (the last stays), its log that grows."""

    host = "pve"
    token = "maw@pve!mirror"

    def __init__(self, states: Sequence[Any], logs: Sequence[Sequence[str]] = ((),)) -> None:
        self.states = list(states)
        self.logs = [list(one) for one in logs]
        self.deleted = 0
        self.asked: list[str] = []

    def get(self, path: str, /, **params: Any) -> Any:
        self.asked.append(path)
        place = unquote(path)
        if place.endswith("/log"):
            log = self.logs.pop(0) if len(self.logs) > 1 else self.logs[0]
            rows = [{"n": number, "t": text} for number, text in enumerate(log, 1)]
            return rows[params["start"] : params["start"] + params["limit"]]
        if place.endswith("/status"):
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            if isinstance(state, Exception):
                raise state
            return state
        return [{"vmid": 101, "name": "web"}] if place.endswith("/lxc") else []

    def post(self, path: str, /, **params: Any) -> Any:
        raise AssertionError(path)

    def delete(self, path: str, /, **params: Any) -> Any:
        self.deleted += 1
        self.states = [{"status": "stopped", "exitstatus": "unexpected status"}]


RUNNING = {"status": "running"}


def ended(status: str) -> dict[str, str]:
    return {"status": "stopped", "exitstatus": status, "id": "101"}


def client(task: Task, clock: Clock | None = None) -> Proxmox:
    clock = clock or Clock()
    return Proxmox(task, node="pve1", sleep=clock.sleep, clock=clock)


def _recorded_ends() -> list[tuple[str, dict[str, Any], list[str]]]:
    """Each recorded task that ended: its name, its state, its log."""
    found, state = [], None
    for one in recordings():
        if one["status"] != 200:
            continue
        if one["file"].endswith("-task-status"):
            state = one
        if not one["file"].endswith("-task-log") or not state or state["path"][:-6] != one["path"][:-3]:
            continue
        if state["json"]["data"]["status"] == "stopped":
            log = [row["t"] for row in one["json"]["data"]]
            found.append((state["file"], state["json"]["data"], log))
    return found


ENDS = _recorded_ends()


@needs(RECORDINGS)
@pytest.mark.parametrize(("name", "state", "log"), ENDS, ids=[name for name, _, _ in ENDS])
def test_a_recorded_task_ends_as_it_did(name: str, state: dict[str, Any], log: list[str]) -> None:
    task = Task([RUNNING, state], [log])
    lines: list[str] = []
    if state["exitstatus"] == "OK":
        end = client(task).wait(state["upid"], on_log=lines.append)
        assert (end.status, end.warnings, list(end.log)) == ("OK", 0, log)
    else:
        with pytest.raises(ProxmoxError) as caught:
            client(task).wait(state["upid"], on_log=lines.append)
        text = str(caught.value)
        assert "job errors" not in text.partition("Its log ends")[0]
        assert "None" not in text
    assert lines == log


@needs(RECORDINGS)
@pytest.mark.parametrize(
    ("number", "kind", "word"),
    [
        (122, NoSuchContainer, "There is no container 999 on pve. The containers there: 101 (web)"),
        (148, ContainerLocked, "Container 104 on pve is locked (migrate)"),
        (224, ProxmoxPermission, "lacks the privilege VM.Backup on /vms/101"),
        (161, ProxmoxError, "another backup runs there"),
        (128, ProxmoxError, "it has no storage nosuch"),
        (131, ProxmoxError, "its storage snap holds no backups"),
        (170, TaskFailed, "interrupted by signal. Its log ends with: "),
        (216, TaskFailed, "failed: snapshot feature is not available. Its log ends with: TASK ERROR"),
    ],
)
def test_the_reason_of_a_failure_is_found_where_it_stands(
    number: int, kind: type[ProxmoxError], word: str
) -> None:
    state = named(number)["json"]["data"]
    log = [row["t"] for row in named(number + 1)["json"]["data"]]
    with pytest.raises(kind) as caught:
        client(Task([state], [log])).wait(state["upid"])
    assert type(caught.value) is kind
    assert word in str(caught.value)


@needs(RECORDINGS)
def test_the_end_tells_the_mode_that_was_really_taken_and_the_archive() -> None:
    state, log = named(116)["json"]["data"], [row["t"] for row in named(117)["json"]["data"]]
    end = client(Task([state], [log])).wait(state["upid"])
    assert end.mode == "suspend"
    assert end.archive == "/mnt/backup/dump/vzdump-lxc-101-2026_11_23-01_11_06.tar"


def test_warnings_are_counted_and_no_failure() -> None:
    assert client(Task([ended("WARNINGS: 3")])).wait(UPID).warnings == 3


def test_it_is_asked_at_growing_intervals_for_as_long_as_it_runs() -> None:
    clock = Clock()
    client(Task([RUNNING] * 40_000 + [ended("OK")]), clock).wait(UPID)
    assert clock.slept[:4] == [0.5, 0.75, 1.125, 1.6875]
    assert max(clock.slept) == 5.0
    assert clock.now > 24 * 3600


def test_each_line_of_the_log_is_handed_on_once_as_it_comes() -> None:
    long = [f"line {number}" for number in range(1203)]
    logs = [["no content"], long[:2], long[:2], long[:900], long]
    lines: list[str] = []
    end = client(Task([RUNNING] * 4 + [ended("OK")], logs)).wait(UPID, on_log=lines.append)
    assert lines == long == list(end.log)


def test_a_server_that_is_away_for_a_while_does_not_end_the_wait() -> None:
    clock = Clock()
    task = Task([RUNNING, *[DOWN] * 100, RUNNING, *[DOWN] * 100, ended("OK")])
    assert client(task, clock).wait(UPID).status == "OK"
    assert clock.now > 900


def test_a_server_that_stays_away_ends_the_wait_after_the_silence() -> None:
    clock = Clock()
    with pytest.raises(ProxmoxUnreachable):
        client(Task([RUNNING, DOWN]), clock).wait(UPID, silence_seconds=60)
    assert 60 <= clock.now < 75


def test_a_token_that_is_refused_meanwhile_ends_the_wait_at_once() -> None:
    refused = ProxmoxPermission(host="pve", token="t", privilege="Sys.Audit", path="/nodes/pve1")
    clock = Clock()
    with pytest.raises(ProxmoxPermission):
        client(Task([RUNNING, refused]), clock).wait(UPID)
    assert clock.now < 2


def test_a_cancelled_wait_stops_the_task_there() -> None:
    task, answers = Task([RUNNING]), iter([False, False, True])
    with pytest.raises(Interrupted, match="was stopped"):
        client(task).wait(UPID, cancelled=lambda: next(answers))
    assert task.deleted == 1


def test_an_interrupt_at_the_keyboard_stops_the_task_there() -> None:
    task = Task([RUNNING, KeyboardInterrupt()])
    task.states[1] = _Interrupting()
    with pytest.raises(KeyboardInterrupt):
        client(task).wait(UPID)
    assert task.deleted == 1


class _Interrupting(dict[str, str]):
    def get(self, *_: Any) -> Any:
        raise KeyboardInterrupt


@pytest.mark.parametrize("state", [None, [], {}, {"status": "odd"}, "running"])
def test_a_state_that_is_none_is_an_error(state: Any) -> None:
    with pytest.raises(ProxmoxError, match="a task's status"):
        client(Task([state])).wait(UPID)


@pytest.mark.parametrize("upid", ["", "x", "UPID:../../x", UPID + "\n", UPID[:-1]])
def test_what_is_no_upid_is_never_asked_for(upid: str) -> None:
    task = Task([RUNNING])
    with pytest.raises(ProxmoxError, match="UPID"):
        client(task).wait(upid)
    assert task.asked == []


def test_a_hostile_log_cannot_play_tricks_on_the_terminal() -> None:
    with pytest.raises(TaskFailed) as caught:
        client(Task([ended("job errors")], [["ERROR: \x1b[31mred\u202e"]])).wait(UPID)
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)
