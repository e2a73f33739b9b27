"""Events of ansible-runner, read."""

from __future__ import annotations

from typing import Any

import pytest

from maw.provision import events
from maw.provision.events import Seen, seen
from maw.provision.model import Run


def result(kind: str, res: Any, **more: Any) -> dict[str, Any]:
    data = {"host": "notebook", "play": "P", "task": "lxd : Install", "role": "lxd", "res": res, **more}
    return {"event": f"runner_on_{kind}", "created": "2026-01-31T12:00:00", "event_data": data}


def of(event: dict[str, Any]) -> Seen:
    found = seen(event)
    assert found is not None
    return found


def test_of_a_task_that_went_well_only_whether_it_changed_something_is_taken() -> None:
    one = of(result("ok", {"changed": True, "stdout": "secret", "invocation": {"module_args": "secret"}}))
    assert (one.kind, one.host, one.role, one.task, one.changed) == ("ok", "notebook", "lxd", "Install", True)
    assert "secret" not in repr(one)


def test_facts_are_taken_from_set_fact_alone() -> None:
    given = {
        "ansible_facts": {"maw_lxd_facts": {"version": "5.21", "deep": {"a": 1}, "list": []}, "other": 1}
    }
    assert of(result("ok", given, task_action="ansible.builtin.set_fact")).facts == {
        "lxd": {"version": "5.21"}
    }
    assert of(result("ok", given, task_action="community.hostile.module")).facts == {}
    hidden = {"censored": "x", **given}
    assert of(result("ok", hidden, task_action="ansible.builtin.set_fact")).facts == {}


def test_facts_of_a_hostile_size_are_cut() -> None:
    given = {"maw_x_facts": {f"n{number}": "y" * 10_000 for number in range(1000)}}
    facts = events.role_facts(given)["x"]
    assert len(facts) == 64
    assert all(len(str(value)) == 500 for value in facts.values())


@pytest.mark.parametrize(
    ("res", "message"),
    [
        ({"msg": "No space.", "rc": 1}, "No space. (status 1)"),
        ({"msg": ["one", "two"]}, "one\ntwo"),
        ({"msg": "non-zero return code", "rc": 127}, "non-zero return code (status 127)"),
        ({"msg": "\x1b[31mred\x1b[0m"}, "red"),
        ({"msg": {"a": 1}}, "{'a': 1}"),
        ({"reason": "no such file"}, "no such file"),
        ({"changed": False}, "it says nothing about why"),
        ({}, events.TOO_LARGE),
        (None, events.TOO_LARGE),
        ("text", events.TOO_LARGE),
        ({"censored": "the output has been hidden"}, events.HIDDEN),
        (
            {
                "msg": "All items",
                "results": [{"failed": False}, {"failed": True, "msg": "b", "item": "second"}],
            },
            "second: b",
        ),
        (
            {"msg": "All items", "results": [{"failed": True, "censored": "x", "item": "secret"}]},
            events.HIDDEN,
        ),
        ({"msg": "All items", "results": [{"failed": True, "msg": "b", "item": {"password": "p"}}]}, "b"),
        (
            {
                "results": [
                    {"failed": True, "msg": "it is full: free 9 GB", "_ansible_item_label": "it is full..."}
                ]
            },
            "it is full: free 9 GB",
        ),
        ({"msg": "All items", "results": "hostile"}, "All items"),
    ],
)
def test_why_a_task_failed(res: Any, message: str) -> None:
    assert of(result("failed", res)).message == message


def test_known_secrets_are_taken_out_of_all_that_a_failure_says() -> None:
    res = {"msg": "with hf_secret", "stdout": "hf_secret", "stderr": "a hf_secret b"}
    one = seen(result("failed", res), lambda text: text.replace("hf_secret", "…"))
    assert one is not None
    assert (one.message, one.stdout, one.stderr) == ("with …", "…", "a … b")


def test_of_long_outputs_the_end_is_taken() -> None:
    text = "\n".join(f"line {number}" for number in range(100_000)) + "\n" + "z" * 10_000
    lines = events.tail(text).splitlines()
    assert len(lines) == 12
    assert lines[0] == "line 99989"
    assert lines[-1] == "z" * 500 + "…"


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": "nonsense"},
        {"event": "runner_on_ok"},
        {"event": "verbose", "stdout": "\r\n"},
        {"event": 3},
    ],
)
def test_what_is_not_understood_does_no_harm(event: dict[str, Any]) -> None:
    run, one = Run(), seen(event)
    if one is not None:
        run.take(one)
    assert run.hosts == {}


def test_a_run_is_told_from_what_was_seen() -> None:
    run = Run()
    for event in (
        {"event": "playbook_on_play_start", "event_data": {"play": "Make", "name": "Make"}},
        {"event": "playbook_on_task_start", "event_data": {"task": "lxd : Install", "role": "lxd"}},
        result("start", None),
    ):
        run.take(of(event))
    assert (run.play, run.role, run.task, run.tasks) == ("Make", "lxd", "Install", 1)
    assert run.hosts["notebook"].busy
    run.take(of(result("failed", {"msg": "first"})))
    assert run.hosts["notebook"].state == "failed"
    run.take(of(result("ok", {"changed": True})))
    run.take(of(result("unreachable", {"msg": "gone"})))
    stats = {"failures": {}, "dark": {"notebook": 1}, "processed": {"notebook": 1, "other": 1}}
    run.take(of({"event": "playbook_on_stats", "event_data": stats}))
    host = run.hosts["notebook"]
    assert [one.message for one in host.failures] == ["gone"], "the first was rescued"
    assert (host.state, host.busy, run.ended) == ("unreachable", False, True)
    assert run.failed == [host]
