"""However a run is stopped, nothing of it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from maw import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.provision.conftest import Stage

    Within = Callable[[float, Callable[[], Any]], Any]

SOURCE = Path(__file__).resolve().parents[2]
# Runs playbook `site` of the content folder given, as maw does; prints what it raised.
PROGRAM = """
import sys
from pathlib import Path
from maw.provision import lock, run
from maw.provision.content import Content
space, content = map(Path, sys.argv[1:])
site = run.Site(space, space / "inventory", space / ".maw", space / ".maw/ssh_config", Content(content))
with lock.held(site.runs, "a test") as held:
    ended = run.run(site, run.Wish("site"), held)
print(type(ended.failure).__name__, ended.code, flush=True)
"""


def start(stage: Stage) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", PROGRAM, str(stage.space.root), str(stage.site.content.folder)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


SLEEPER = "- name: Sleep\n  ansible.builtin.command: sleep {seconds}"


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGKILL]], ids=["INT", "TERM", "KILL"]
)
def test_when_maw_is_stopped_nothing_of_ansible_is_left(
    stage: Stage,
    signals: list[signal.Signals],
    lasting: str,
    running: Callable[[str], list[int]],
    within: Within,
    ansible_left: Callable[[], list[str]],
) -> None:
    stage.tasks(SLEEPER.format(seconds=lasting))
    process = start(stage)
    assert within(30, lambda: running(lasting))
    for number in signals:
        process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    if signals == [signal.SIGINT]:
        assert (process.returncode, out) == (0, b"Interrupted 130\n")
    assert within(20, lambda: not running(lasting) and not ansible_left())
    scratch = Path(os.environ["XDG_RUNTIME_DIR"])
    assert within(10, lambda: not list(scratch.glob("maw-provision-*"))), "no file of the run is left"


def test_what_has_no_ears_for_a_polite_word_is_killed(
    stage: Stage, lasting: str, running: Callable[[str], list[int]], within: Within
) -> None:
    stage.tasks(
        "- name: Deaf\n  ansible.builtin.command: "
        f"sh -c 'trap \"\" INT TERM; setsid sleep {lasting}; sleep 1000'"
    )
    process = start(stage)
    assert within(30, lambda: running(lasting))
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out.startswith(b"Interrupted")
    assert within(10, lambda: not running(lasting))


def test_two_at_once_are_refused_and_a_killed_one_frees_the_way(
    stage: Stage, lasting: str, running: Callable[[str], list[int]], within: Within
) -> None:
    stage.tasks(SLEEPER.format(seconds=lasting))
    process = start(stage)
    assert within(30, lambda: running(lasting))
    with pytest.raises(errors.ProvisionBusy, match="a test, process"):
        stage.run()
    process.kill()
    process.communicate()
    stage.tasks("- ansible.builtin.ping:")
    ended = stage.run()
    assert ended.failure is None, "it waits until the killed one's Ansible is stopped"
    assert not running(lasting)


def test_an_ansible_that_is_killed_is_no_failure_of_a_host(
    stage: Stage, lasting: str, running: Callable[[str], list[int]], within: Within
) -> None:
    stage.tasks(SLEEPER.format(seconds=lasting))
    process = start(stage)
    assert within(30, lambda: running(lasting))
    (guard,) = psutil.Process(process.pid).children()
    (ansible,) = guard.children()
    ansible.kill()
    out, _ = process.communicate(timeout=30)
    assert out == b"ProvisionError 137\n"
    for pid in running(lasting):
        os.kill(pid, signal.SIGKILL)


def test_nobody_is_asked_for_anything(stage: Stage) -> None:
    stage.playbook(
        "site",
        "- hosts: all\n  gather_facts: false\n  vars_prompt:\n    - name: answer\n      prompt: Yes?\n"
        "  tasks:\n    - ansible.builtin.ping:\n",
    )
    begun = time.monotonic()
    stage.run()
    assert time.monotonic() - begun < 30


def test_the_users_own_settings_of_ansible_do_not_change_a_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    (home / ".ansible.cfg").write_text("[defaults]\nstdout_callback = nowhere\nstrategy = free\n", "ascii")
    for name, value in {
        "ANSIBLE_STDOUT_CALLBACK": "json",
        "ANSIBLE_STRATEGY": "nowhere",
        "ANSIBLE_HOST_KEY_CHECKING": "false",
        "JOB_ID": "not a number",
        "RUNNER_OMIT_EVENTS": "true",
    }.items():
        monkeypatch.setenv(name, value)
    stage.tasks("- name: Set\n  ansible.builtin.set_fact:\n    maw_try_facts: {a: 1}")
    ended = stage.run()
    assert ended.failure is None, ended.failure
    assert ended.run.hosts["here"].facts == {"try": {"a": 1}}
