"""What the tasks of wsl_distro make of what they heard, and what counts as work of the user."""

from __future__ import annotations

import base64
import os
import subprocess

import pytest

from tests.roles.loading import load
from tests.roles.wsl_copy import KEY, OTHER, ROLE

filters = load(ROLE / "filter_plugins" / "wsl_distro.py", "wsl_distro_filters")


def test_an_answer_is_found_within_noise() -> None:
    said = 'Welcome!\r\n{"schema":"maw.busy/1","busy":["bash in a terminal"]}\r\nbye\r\n'
    assert filters.answer(said, "maw.busy/1") == {"schema": "maw.busy/1", "busy": ["bash in a terminal"]}


@pytest.mark.parametrize("said", ["", None, "There is no distribution", '{"schema":"maw.busy/1","bu'])
def test_no_answer_is_none(said: str | None) -> None:
    assert filters.answer(said, "maw.busy/1") is None


def test_a_distro_with_the_host_key_of_another_is_a_clone() -> None:
    pins = f"a-wsl ssh-ed25519 {KEY}\nb-wsl ssh-ed25519 {OTHER}\n"
    hosts = ["a-wsl", "b-wsl"]
    assert filters.cloned(pins, "b-wsl", hosts, f"ssh-ed25519 {KEY}")
    assert not filters.cloned(pins, "a-wsl", hosts, f"ssh-ed25519 {KEY}")
    # A name that is not in the inventory any more: the same distro under its old name.
    assert not filters.cloned(pins, "b-wsl", ["b-wsl"], f"ssh-ed25519 {KEY}")
    assert not filters.cloned("", "b-wsl", hosts, "")


def test_the_change_of_a_wsl_conf_is_told_by_the_sum_of_the_old_one() -> None:
    wanted = {"boot": {"systemd": "true"}}
    new = filters.conf_change("", wanted)
    assert (base64.b64decode(new["content"]), new["sum"]) == (b"[boot]\nsystemd=true\n", "missing")
    assert filters.conf_change(new["content"], wanted) == {"content": "", "sum": ""}
    strange = base64.b64encode(b"# caf\xe9\n").decode()
    assert base64.b64decode(filters.conf_change(strange, wanted)["content"]).startswith(b"# caf\xe9\n")


def _busy() -> str:
    return (ROLE / "files" / "busy.sh").read_text() + "\nmain < /dev/null\n"


def test_a_process_in_a_terminal_is_told(lasting: str) -> None:
    import pty

    pid, master = pty.fork()
    if pid == 0:
        os.execvp("sleep", ["sleep", lasting])
    try:
        said = subprocess.run(["/bin/sh"], input=_busy(), capture_output=True, text=True, check=True).stdout
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(master)
    answer = filters.answer(said, "maw.busy/1")
    assert answer is not None
    assert "sleep in a terminal" in answer["busy"]
