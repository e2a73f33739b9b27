"""What the role decides: whether LXD can be there, its pool, what is made in it, and what is taken away."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.roles.loading import load

ROLE = Path(__file__).resolve().parents[2] / "roles" / "lxd"
GB = 10**9
MACHINE: dict[str, Any] = {
    "root": True,
    "systemd": True,
    "kernel": "6.18.33.2-microsoft-standard-WSL2",
    "wsl": 2,
    "wsl_version": "2.7.10.0",
    "os": {"id": "ubuntu", "version": "24.04"},
    "cgroup": "unified",
    "user_namespaces": 63000,
    "uid_map": [[0, 0, 4294967295]],
    "subuid": "",
    "subgid": "",
    "memory": 8 * GB,
    "disk": {"path": "/var/lib/lxd", "exists": False, "empty": False, "free": 900 * GB, "filesystem": "ext4"},
    "windows_free": None,
    "loop": True,
    "btrfs": True,
    "packages": {},
    "snap_lxd": {},
    "units": {},
}
LXD: dict[str, Any] = {
    "dir": "/var/snap/lxd/common/lxd",
    "error": "",
    "down": False,
    "trusted": True,
    "server": "lxd",
    "version": "5.21.4",
    "firewall": "nftables",
    "config": {},
    "clustered": False,
    "drivers": ["dir", "btrfs"],
    "pools": [],
    "networks": [{"name": "eth0", "managed": False, "config": {}}],
    "profiles": [{"name": "default", "config": {}, "devices": {}}],
    "projects": [{"name": "default"}],
    "images": [],
    "instances": [],
}
WANTED: dict[str, Any] = {
    "pool": "maw",
    "pool_driver": "auto",
    "pool_path": "",
    "pool_size_gb": 0,
    "pool_minimum_gb": 10,
    "memory_minimum_mb": 900,
    "network": "mawbr0",
    "nat": True,
    "firewall": True,
    "dns": "none",
    "domain": "maw",
    "profile": "maw",
    "allow_listener": False,
}
OURS = {"user.maw.lxd": "1"}


plugin, removal = (load(ROLE / "filter_plugins" / f"{name}.py") for name in ("lxd_plan", "lxd_removal"))


def _with(base: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**copy.deepcopy(base), **more}


def _disk(**more: Any) -> dict[str, Any]:
    return _with(MACHINE, disk={**MACHINE["disk"], **more})


def _done(lxd: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """LXD after these requests, as it keeps what it is given."""
    after = copy.deepcopy(lxd)
    lists = {"storage-pools": "pools", "networks": "networks", "profiles": "profiles"}
    for step in steps:
        kind, _, name = step["path"].removeprefix("/1.0/").partition("/")
        listed = after[lists[kind]]
        if step["method"] == "POST":
            listed.append(copy.deepcopy(step["body"]) | {"managed": True, "used_by": []})
        elif step["method"] == "PUT":
            next(one for one in listed if one["name"] == name).update(copy.deepcopy(step["body"]))
        else:
            listed[:] = [one for one in listed if one["name"] != name]
    return after


def _plan(lxd: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    chosen = {"driver": "btrfs", "source": "", "size_gb": 20}
    steps: list[dict[str, Any]] = plugin.plan(lxd, {**WANTED, **more}, chosen, "10.119.0.1/24")
    return steps


def test_a_good_machine_has_no_problem() -> None:
    assert plugin.machine_problems(MACHINE, WANTED) == []
    assert plugin.lxd_problems(LXD, WANTED) == []


@pytest.mark.parametrize(
    ("more", "words", "step"),
    [
        ({"root": False}, "not root", "ansible_user"),
        ({"wsl": 1}, "WSL 1", "--set-version"),
        ({"systemd": False}, "systemd does not run", "/etc/wsl.conf"),
        ({"user_namespaces": 0}, "user namespaces", "sysctl"),
        ({"user_namespaces": -1}, "no user namespaces", "wsl --update"),
        ({"cgroup": "hybrid"}, "mixed", "cgroup_no_v1=all"),
        ({"cgroup": "none"}, "no control groups", "cgroup_no_v1=all"),
        ({"memory": 500_000_000}, "500 MB of memory", "lxd_memory_minimum_mb"),
    ],
)
def test_a_machine_that_cannot_is_told_why_and_what_to_do(
    more: dict[str, Any], words: str, step: str
) -> None:
    found = plugin.machine_problems(_with(MACHINE, **more), WANTED)
    assert len(found) == 1
    assert words in found[0]
    assert step in found[0]


@pytest.mark.parametrize(
    "more", [{"pool": "../x"}, {"network": "a-name-that-is-too-long"}, {"profile": "default"}]
)
def test_names_that_cannot_be_are_refused(more: dict[str, str]) -> None:
    assert len(plugin.machine_problems(MACHINE, {**WANTED, **more})) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"error": "it fell over"}, "does not answer: it fell over"),
        ({"server": "incus"}, "incus answers"),
        ({"trusted": False}, "does not trust us"),
        ({"version": "4.0.9"}, "5.0 or newer"),
        ({"clustered": True}, "cluster"),
        ({"config": {"core.https_address": "[::]:8443"}}, "lxc config unset core.https_address"),
        ({"pools": [{"name": "maw", "config": {}}]}, "pool maw that is not maw's"),
        ({"networks": [{"name": "mawbr0", "config": None}]}, "network mawbr0 that is not maw's"),
        ({"profiles": [{"name": "maw", "config": {"user.maw.lxd": "0"}}]}, "profile maw that is not maw's"),
    ],
)
def test_an_lxd_that_is_in_the_way_is_told(more: dict[str, Any], words: str) -> None:
    found = plugin.lxd_problems(_with(LXD, **more), WANTED)
    assert len(found) == 1
    assert words in found[0]


def test_a_listener_is_accepted_when_that_is_said_and_an_empty_one_is_none() -> None:
    listening = _with(LXD, config={"core.https_address": ":8443"})
    assert plugin.lxd_problems(listening, {**WANTED, "allow_listener": True}) == []
    assert plugin.lxd_problems(_with(LXD, config={"core.https_address": ""}), WANTED) == []


def test_one_that_is_not_there_or_was_stopped_is_no_problem_yet() -> None:
    assert plugin.lxd_problems({"dir": "", "down": False}, WANTED) == []
    assert plugin.lxd_problems({"dir": "/var/lib/lxd", "down": True, "error": "refused"}, WANTED) == []


@pytest.mark.parametrize(
    ("machine", "lxd", "wanted", "source"),
    [
        ({}, {"dir": ""}, "auto", "snap"),
        ({"os": {"id": "debian"}}, {"dir": ""}, "auto", "distribution"),
        ({}, {"dir": ""}, "distribution", "distribution"),
        ({}, {"dir": "/var/lib/lxd"}, "snap", "found"),
        ({"snap_lxd": {"version": "5.21.4"}}, {"dir": ""}, "distribution", "found"),
        ({"packages": {"lxd": "5.0.2-5"}, "units": {"lxd.socket": "disabled"}}, {"dir": ""}, "auto", "found"),
        # Ubuntu's package of that name only brings the snap.
        ({"packages": {"lxd": "1:0.10"}}, {"dir": ""}, "auto", "snap"),
        ({"packages": {"lxd-installer": "4"}}, {"dir": ""}, "auto", "snap"),
    ],
)
def test_what_is_installed_is_used_and_the_rest_is_as_wanted(
    machine: dict[str, Any], lxd: dict[str, Any], wanted: str, source: str
) -> None:
    assert plugin.source(_with(MACHINE, **machine), lxd, wanted) == source


@pytest.mark.parametrize(
    ("machine", "lxd", "wanted", "answer"),
    [
        (MACHINE, LXD, {}, ("btrfs", "", 100)),
        (_disk(free=40 * GB), LXD, {}, ("btrfs", "", 20)),
        (_disk(free=12 * GB), LXD, {}, ("btrfs", "", 10)),
        (_with(MACHINE, windows_free=30 * GB), LXD, {}, ("btrfs", "", 15)),
        (MACHINE, LXD, {"pool_size_gb": 50}, ("btrfs", "", 50)),
        (_with(MACHINE, btrfs=False), LXD, {}, ("dir", "", 0)),
        (_with(MACHINE, loop=False), LXD, {}, ("dir", "", 0)),
        (_with(MACHINE, uid_map=[[0, 100000, 10000001]]), LXD, {}, ("dir", "", 0)),
        (MACHINE, _with(LXD, drivers=["dir"]), {}, ("dir", "", 0)),
        (MACHINE, LXD, {"pool_driver": "dir"}, ("dir", "", 0)),
        (_disk(filesystem="btrfs"), LXD, {}, ("btrfs", "/var/snap/lxd/common/lxd/storage-pools/maw", 0)),
        (_disk(filesystem="btrfs"), LXD, {"pool_path": "/srv/m"}, ("btrfs", "/srv/m", 0)),
        (
            _disk(filesystem="btrfs", exists=True, empty=True),
            LXD,
            {"pool_path": "/srv/m"},
            ("dir", "/srv/m", 0),
        ),
        (MACHINE, LXD, {"pool_path": "/srv/m"}, ("dir", "/srv/m", 0)),
        (
            _disk(free=0),
            _with(LXD, pools=[{"name": "maw", "driver": "zfs", "config": OURS}]),
            {},
            ("zfs", "", 0),
        ),
    ],
)
def test_the_pool_is_btrfs_where_that_is_possible(
    machine: dict[str, Any], lxd: dict[str, Any], wanted: dict[str, Any], answer: tuple[str, str, int]
) -> None:
    found = plugin.pool(machine, lxd, {**WANTED, **wanted})
    assert (found["driver"], found["source"], found["size_gb"]) == answer
    assert found["why"]
    assert not found["problem"]


@pytest.mark.parametrize(
    ("machine", "wanted", "words"),
    [
        (_disk(free=9 * GB), {}, "9 GB are free"),
        (_with(MACHINE, windows_free=3 * GB), {}, "drive C:"),
        (_disk(free=40 * GB), {"pool_size_gb": 39}, "38 GB can be had"),
        (_with(MACHINE, loop=False), {"pool_driver": "btrfs"}, "no loop devices"),
        (_disk(exists=True, empty=False), {"pool_path": "/srv"}, "not empty"),
        (_disk(free=2 * GB), {"pool_minimum_gb": 0}, "too little"),
    ],
)
def test_a_pool_that_cannot_be_is_refused_with_the_figures(
    machine: dict[str, Any], wanted: dict[str, Any], words: str
) -> None:
    found = plugin.pool(machine, LXD, {**WANTED, **wanted})
    assert words in found["problem"]
    assert found["driver"] == ""


def test_a_pool_a_network_and_a_profile_are_made_and_nothing_else_is_named() -> None:
    steps = _plan(LXD)
    assert [(step["method"], step["path"]) for step in steps] == [
        ("POST", "/1.0/storage-pools"),
        ("POST", "/1.0/networks"),
        ("POST", "/1.0/profiles"),
    ]
    assert all(step["reason"] and step["body"]["config"]["user.maw.lxd"] == "1" for step in steps)
    assert steps[0]["body"]["config"]["size"] == "20GB"


def test_a_second_time_there_is_nothing_to_do() -> None:
    assert _plan(_done(LXD, _plan(LXD))) == []


def test_what_a_person_added_to_ours_stays_and_what_they_broke_is_put_right() -> None:
    there = _done(LXD, _plan(LXD))
    there["profiles"][1]["config"]["limits.memory"] = "1GiB"
    there["profiles"][1]["devices"]["gpu"] = {"type": "gpu"}
    there["profiles"][1]["devices"]["root"]["size"] = "5GiB"
    there["networks"][1]["config"]["ipv4.dhcp.ranges"] = "10.119.0.50-10.119.0.99"
    assert _plan(there) == []
    there["profiles"][1]["devices"]["eth0"]["network"] = "lxdbr0"
    there["networks"][1]["config"]["ipv4.nat"] = "false"
    network, profile = _plan(there)
    assert network["reason"] == "change ipv4.nat of network mawbr0"
    assert network["body"]["config"]["ipv4.dhcp.ranges"] == "10.119.0.50-10.119.0.99"
    assert profile["body"]["devices"]["gpu"] == {"type": "gpu"}
    assert profile["body"]["devices"]["root"]["size"] == "5GiB"
    assert profile["body"]["devices"]["eth0"]["network"] == "mawbr0"
    assert profile["body"]["config"]["limits.memory"] == "1GiB"


def test_a_probe_holds_until_kernel_lxd_or_network_change() -> None:
    there = _done(LXD, _plan(LXD))
    word = plugin.proof(there, MACHINE, WANTED)
    there["pools"][0]["used_by"] = ["/1.0/instances/web"]
    assert plugin.proof(there, MACHINE, WANTED) == word
    assert plugin.proof(there, _with(MACHINE, kernel="6.18.40.1"), WANTED) != word
    assert plugin.proof(_with(there, version="5.21.5"), MACHINE, WANTED) != word
    there["networks"][1]["config"]["ipv4.nat"] = "false"
    assert plugin.proof(there, MACHINE, WANTED) != word


def _instance(name: str, **marks: str) -> dict[str, Any]:
    shown = {f"user.maw.{key}": value for key, value in marks.items()}
    return {"name": name, "project": "default", "status": "Running", "marks": shown, "pools": ["maw"]}


def _used(lxd: dict[str, Any], *paths: str) -> dict[str, Any]:
    for one in [lxd["pools"][0], lxd["networks"][1]]:
        one["used_by"] = ["/1.0/profiles/maw", *paths]
    return lxd


def test_all_that_is_ours_goes_in_an_order_that_lxd_takes_and_then_lxd_is_bare() -> None:
    there = _used(_done(LXD, _plan(LXD)))
    answer = removal.removal(there, False)
    assert [step["path"] for step in answer["steps"]] == [
        "/1.0/profiles/maw",
        "/1.0/networks/mawbr0",
        "/1.0/storage-pools/maw",
    ]
    assert (answer["kept"], answer["bare"]) == ([], True)


def test_mirrors_keep_their_pool_and_their_network() -> None:
    there = _used(_done(LXD, _plan(LXD)), "/1.0/instances/web", "/1.0/instances/web")
    there["instances"] = [_instance("web", mirror="web")]
    answer = removal.removal(there, False)
    assert [step["path"] for step in answer["steps"]] == ["/1.0/profiles/maw"]
    assert answer["kept"] == [
        "network mawbr0, which is used by instance web",
        "pool maw, which is used by instance web",
    ]
    assert not answer["bare"]


def test_mirrors_go_when_that_is_said_but_nobody_elses_instance() -> None:
    there = _used(_done(LXD, _plan(LXD)), "/1.0/instances/web")
    there["instances"] = [_instance("web", mirror="web")]
    answer = removal.removal(there, True)
    assert [(step["method"], step["path"]) for step in answer["steps"][:2]] == [
        ("PUT", "/1.0/instances/web/state"),
        ("DELETE", "/1.0/instances/web"),
    ]
    assert answer["bare"]
    _used(there, "/1.0/instances/web", "/1.0/instances/theirs?project=dev")
    there["instances"].append({**_instance("theirs"), "project": "dev"})
    answer = removal.removal(there, True)
    assert "instance theirs of project dev" in answer["kept"][1]
    assert all("theirs" not in step["path"] for step in answer["steps"])
    assert not answer["bare"]


def test_an_instance_of_the_same_name_in_another_project_is_not_taken_for_the_mirror() -> None:
    there = _used(_done(LXD, _plan(LXD)), "/1.0/instances/web", "/1.0/instances/web?project=dev")
    there["instances"] = [_instance("web", mirror="web"), {**_instance("web"), "project": "dev"}]
    answer = removal.removal(there, True)
    assert "instance web of project dev" in answer["kept"][1]
    assert [step["path"] for step in answer["steps"]][:2] == [
        "/1.0/instances/web/state",
        "/1.0/instances/web",
    ]


def test_a_probe_that_was_killed_goes_too() -> None:
    there = _used(_done(LXD, _plan(LXD)), "/1.0/instances/maw-probe-1", "/1.0/images/ab")
    there["instances"] = [{**_instance("maw-probe-1", probe="1"), "status": "Stopped"}]
    there["images"] = [{"fingerprint": "ab", "properties": {"maw.probe": "1"}}]
    answer = removal.removal(there, False)
    assert [step["path"] for step in answer["steps"]][:2] == ["/1.0/instances/maw-probe-1", "/1.0/images/ab"]
    assert answer["bare"]


@pytest.mark.parametrize(
    "more",
    [
        {"config": {"images.auto_update_interval": "0"}},
        {"pools": [{"name": "default", "config": {}}]},
        {"networks": [{"name": "lxdbr0", "managed": True, "config": {}}]},
        {"profiles": [{"name": "default", "config": {}, "devices": {"root": {}}}]},
        {"profiles": [{"name": "mine", "config": {}, "devices": {}}]},
        {"images": [{"fingerprint": "cd", "properties": {}}]},
        {"projects": [{"name": "default"}, {"name": "dev"}]},
        {"instances": [_instance("theirs")]},
    ],
)
def test_lxd_stays_where_anything_of_somebodys_is_in_it(more: dict[str, Any]) -> None:
    assert not removal.removal(_with(LXD, **more), True)["bare"]


def test_of_an_lxd_that_is_gone_nothing_is_asked() -> None:
    assert removal.removal({"dir": "", "error": ""}, False) == {"steps": [], "kept": [], "bare": True}


def test_the_state_of_every_wanted_thing_is_a_variable_of_the_role() -> None:
    wanted = yaml.safe_load((ROLE / "vars" / "main.yml").read_text("utf-8"))["_lxd_wanted"]
    assert set(wanted) == set(WANTED)
