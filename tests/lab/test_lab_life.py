"""Bringing a lab up and down: twice, two at once, killed, on another's daemon; and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.lab.conftest import ENVIRONMENT, ROOT

pytestmark = [pytest.mark.lab, pytest.mark.slow]
LIBRARY = Path("/var/lib/maw-lab")


def processes(mark: str) -> list[str]:
    """What runs now and has the mark in its words, environment or mounts. Zombies are init's to bury."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        if process.info["status"] == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
            continue
        folder = Path(f"/proc/{process.pid}")
        try:
            known = b"\0".join((folder / name).read_bytes() for name in ("cmdline", "environ", "mountinfo"))
        except OSError:
            continue
        if mark.encode() in known:
            found.append(" ".join(process.info["cmdline"] or ()))
    return found


def traces(prefix: str) -> dict[str, list[str]]:
    """Everything on this machine that has the name of this lab."""
    mark = f"maw-lab/{prefix}/"
    mounts = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    backing = [path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    folders = [Path("/run/lxc"), Path("/run/lock"), Path("/tmp")]
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob(f"*{prefix}*") if path.is_dir()]
    return {
        "processes": processes(mark) + processes(f"{prefix}-core"),
        "mounts": [line for line in mounts if prefix in line],
        "links": [path.name for path in Path("/sys/class/net").iterdir() if prefix in path.name],
        "loops": [name for name in backing if prefix in name],
        "files": [str(path) for folder in folders for path in folder.glob(f"*{prefix}*")],
        "locks": [str(path) for path in Path("/run/lxc").rglob(f"*{prefix}*")],
        "groups": groups,
        "lxd": [str(path) for path in LIBRARY.glob(f"{prefix}*")],
    }


def whole() -> dict[str, object]:
    """What of the machine itself must be as it was before."""
    files = [Path(name) for name in ("/proc/sys/net/ipv4/ip_forward", "/etc/subuid", "/etc/subgid")]
    folders = [LIBRARY, Path("/run/lxc"), Path("/var/lib/lxd"), Path.home() / ".config" / "lxc"]
    rules = [subprocess.run([name, "-S"], capture_output=True, check=True).stdout for name in ("iptables",)]
    return {
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir() if "veth" not in path.name),
        "files": {str(path): path.read_bytes() for path in files if path.exists()},
        "folders": {
            str(path): sorted(one.name for one in path.iterdir()) for path in folders if path.exists()
        },
        "firewall": rules,
    }


def nothing(found: dict[str, list[str]]) -> bool:
    return not any(found.values())


def test_after_down_nothing_is_left(small_labs, within):
    lab = small_labs()
    before = whole()
    state = lab.done("up")
    assert state["own_daemon"]
    there = traces(lab.prefix)
    for kind in ("processes", "links", "groups", "lxd"):
        assert there[kind], f"this test does not see what it looks for: {kind}"
    assert lab.done("down")["changed"]
    assert within(5, lambda: nothing(traces(lab.prefix))), traces(lab.prefix)
    assert whole() == before
    assert not lab.root.exists()
    again = lab.done("down")
    assert (again["changed"], again["steps"]) == (False, [])


def test_a_second_up_changes_nothing_and_a_broken_lab_is_repaired(small_labs):
    lab = small_labs()
    first = lab.done("up")
    assert first["changed"]
    started = time.monotonic()
    second = lab.done("up")
    assert time.monotonic() - started < 10
    assert (second["changed"], second["steps"]) == (False, [])
    lxc = {**ENVIRONMENT, "LXD_DIR": first["lxd_dir"], "LXD_CONF": str(lab.root / lab.prefix / "client")}
    subprocess.run(["lxc", "stop", "--force", f"{lab.prefix}-core"], env=lxc, check=True)
    third = lab.done("up")
    assert [step["kind"] for step in third["steps"]] == ["start"]
    inventory = Path(first["workspace"]) / "inventory" / "hosts.yml"
    pins = Path(first["workspace"]) / "known_hosts"
    wanted, pinned = inventory.read_bytes(), pins.read_bytes()
    inventory.write_text("all: {}\n", "utf-8")
    pins.write_text("server ssh-ed25519 AAAA\n", "utf-8")
    fourth = lab.done("up")
    assert (fourth["changed"], fourth["steps"]) == (True, [])
    assert (inventory.read_bytes(), pins.read_bytes()) == (wanted, pinned)
    assert not lab.done("up")["changed"]


def test_two_at_the_same_moment_do_not_disturb_each_other(small_labs, within):
    lab = small_labs()
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lab.done, ["up", "up"]))
        assert sorted(answer["changed"] for answer in answers) == [False, True]
        answers = list(pool.map(lab.done, ["down", "down"]))
        assert sorted(answer["changed"] for answer in answers) == [False, True]
    assert within(5, lambda: nothing(traces(lab.prefix))), traces(lab.prefix)


def test_labs_of_two_prefixes_live_beside_each_other(small_labs, within):
    one, other = small_labs(), small_labs()
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda lab: lab.done("up"), (one, other))
    assert first["subnet"] != second["subnet"]
    assert first["lxd_dir"] != second["lxd_dir"]
    assert one.done("down")["changed"]
    assert within(5, lambda: nothing(traces(one.prefix))), traces(one.prefix)
    again = other.done("up")
    assert (again["changed"], again["steps"]) == (False, [])


def test_a_daemon_that_was_there_before_is_used_and_left_alone(small_labs):
    host, guest = small_labs(), small_labs()
    folder = Path(host.done("up")["lxd_dir"])
    pid = (folder.parent / "daemon.pid").read_text()
    state = guest.done("up", LXD_DIR=str(folder))
    assert (state["own_daemon"], state["lxd_dir"]) == (False, str(folder))
    refused = host("down")
    assert refused.returncode == 1
    assert f"{guest.prefix}-core" in refused.stderr
    assert guest.done("down", LXD_DIR=str(folder))["changed"]
    assert psutil.pid_exists(int(pid))
    environment = {**ENVIRONMENT, "LXD_DIR": str(folder), "LXD_CONF": str(folder.parent / "client")}
    for kind in ("instances", "images", "storage-pools"):
        answer = subprocess.run(
            ["lxc", "query", f"/1.0/{kind}"], env=environment, check=True, capture_output=True
        )
        assert guest.prefix not in answer.stdout.decode()
    assert guest.prefix not in " ".join(path.name for path in Path("/sys/class/net").iterdir())


def test_a_killed_daemon_is_no_hindrance_to_going_down(small_labs, within):
    lab = small_labs()
    folder = Path(lab.done("up")["lxd_dir"])
    os.kill(int((folder.parent / "daemon.pid").read_text()), signal.SIGKILL)
    assert lab.done("down")["changed"]
    assert within(5, lambda: nothing(traces(lab.prefix))), traces(lab.prefix)


def test_a_lab_whose_daemon_lost_its_data_goes_down_too(small_labs, within):
    lab = small_labs()
    folder = Path(lab.done("up")["lxd_dir"])
    os.kill(int((folder.parent / "daemon.pid").read_text()), signal.SIGKILL)
    for path in (folder / "database").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    answer = lab("down")
    assert answer.returncode == 0, answer.stderr
    assert within(5, lambda: nothing(traces(lab.prefix))), traces(lab.prefix)


@pytest.mark.parametrize("seconds", [0.4, 1.3])
def test_an_up_that_was_killed_is_finished_by_the_next(small_labs, seconds, within):
    lab = small_labs()
    argv = [sys.executable, str(ROOT / "molecule" / "lab"), *lab.arguments("up")]
    with subprocess.Popen(
        argv, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(seconds)
        process.kill()
    state = lab.done("up")
    assert set(state["machines"]) == {"core"}
    shown = json.loads((lab.root / lab.prefix / "state.json").read_bytes())
    assert shown["up"]
    assert lab.done("down")["changed"]
    assert within(5, lambda: nothing(traces(lab.prefix))), traces(lab.prefix)


def test_a_lab_of_the_same_prefix_in_another_folder_is_not_touched(small_labs, tmp_path):
    lab = small_labs()
    lab.done("up")
    elsewhere = type(lab)(lab.prefix, tmp_path / "elsewhere")
    for verb in ("up", "down"):
        answer = elsewhere(verb)
        assert answer.returncode == 1
        assert f"belongs to the lab in {lab.root / lab.prefix}" in answer.stderr
        assert "make lab PREFIX=other" in answer.stderr
    assert not lab.done("up")["changed"]
