"""What is made of the words of LXD, liblxc and snapd when a machine cannot run containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.loading import load

_PLUGINS = Path(__file__).resolve().parents[2] / "roles" / "lxd" / "filter_plugins"
WSL = {
    "wsl": 2,
    "wsl_version": "2.6.1.0",
    "kernel": "6.6.87.2-microsoft-standard-WSL2",
    "own_cgroup": "/init.scope",
}
LINUX = {"wsl": 0, "wsl_version": "", "kernel": "6.1.0-40-amd64", "own_cgroup": "/"}
SEEN = {"stage": "done", "error": "", "log": "", "bridge": "mawbr0", "address": "10.119.0.7/24"}


plugin = load(_PLUGINS / "lxd_symptoms.py")

# Lines as they stand in issues of microsoft/WSL, canonical/lxd, lxc/lxc and lxc/incus, and as met in the lab.
TABLE = [
    ("Error: Could not process rule: No such file or directory", "nftables"),
    ("Error: Could not process rule: Operation not supported", "nftables"),
    (
        "iptables v1.8.7 (nf_tables): CHAIN_ADD failed (No such file or directory): chain POSTROUTING",
        "nftables",
    ),
    (
        "iptables v1.8.10 (nf_tables):  RULE_APPEND failed (No such file or directory): rule in chain",
        "nftables",
    ),
    ('Failed adding outbound NAT rules for network "mawbr0" (ip): Failed apply nftables config', "nftables"),
    (
        (
            "Error: Failed to create network 'mawbr0': Failed to run: iptables -w -t filter -I INPUT -p udp "
            "--dport 67 -j ACCEPT: iptables: No chain/target/match by that name."
        ),
        "iptables",
    ),
    ("iptables v1.8.4 (legacy): can't initialize iptables table `filter': Table does not exist", "iptables"),
    (
        (
            "lxc web 20261125 ERROR    cgfsng - ../src/lxc/cgroups/cgfsng.c:open_at:211 - Not a directory - "
            "Failed to open 6/cpuacct"
        ),
        "version 1 are mixed",
    ),
    (
        'ERROR    cgfsng - cgroups/cgfsng.c:cgfsng_monitor_create:1257 - Failed to create cgroup "(null)"',
        "control groups",
    ),
    (
        (
            "ERROR    cgfsng - ../src/lxc/cgroups/cgfsng.c:__cgroupfs_mount:1906 - Permission denied - "
            "Failed to mount cgroup2 filesystem onto 19((null))"
        ),
        "control groups",
    ),
    (
        "open /sys/fs/cgroup/wsl-user/distro-3/systemd/cgroup.controllers: no such file or directory",
        "wsl-user",
    ),
    (
        (
            '- Start snap "lxd" services ([start snap.lxd.activate.service] failed with exit status 1: '
            "Job for snap.lxd.activate.service failed"
        ),
        "#41452",
    ),
    ("ERROR start - start.c:lxc_spawn:1171 - Failed to set up id mapping.", "ids for containers"),
    ('ERROR conf - conf.c:lxc_map_ids:2780 - newuidmap failed to write mapping ""', "ids for containers"),
    (
        "LXD doesn't have a uid/gid allocation. In this mode, only privileged containers are supported",
        "ids for",
    ),
    (
        "ERROR start - start.c:lxc_spawn:1832 - Invalid argument - Failed to clone a new user namespace",
        "user namespaces",
    ),
    (
        (
            "ERROR start - start.c:lxc_spawn:1832 - No space left on device - Failed to clone namespaces: "
            "No space left on device"
        ),
        "switched off",
    ),
    ("Failed to write: no space left on device", "full"),
    (
        "ERROR conf - conf.c:lxc_idmapped_mounts_parent:4136 - Failed to create idmapped mount",
        "idmapped mounts",
    ),
    ("mount: wrong fs type overlay, Invalid argument: overlay", "overlay"),
    ("losetup: cannot find an unused loop device", "btrfs pool"),
    ("mount: /x: unknown filesystem type 'btrfs'", "btrfs pool"),
    ("Failed to load AppArmor profile: apparmor_parser: Unable to replace", "AppArmor"),
    ("ERROR seccomp - seccomp.c:lxc_seccomp_load:1273 - Failed to load the seccomp filter", "seccomp"),
    (
        'Failed to create the "vethaa" and "vethbb" interfaces: RTNETLINK answers: Operation not supported',
        "veth",
    ),
    (
        "dnsmasq: failed to create listening socket for 10.119.0.1: Address already in use",
        "dnsmasq cannot listen",
    ),
    ('exec: "dnsmasq": executable file not found in $PATH', "dnsmasq is not installed"),
    (
        "ERROR conf - conf.c:run_buffer:322 - Script exited with status 1: /usr/share/lxcfs/lxc.mount.hook",
        "lxcfs",
    ),
    ("/bin/udhcpc -f -q -n -i eth0 ended with 1: udhcpc: no lease, failing", "DHCP"),
    ("/bin/ping -c 1 -W 3 10.119.0.1 ended with 1: 1 packets transmitted, 0 received", "does not answer"),
    (
        (
            "lxc web 20190614081018.500 ERROR    utils - utils.c:safe_mount:1179 - Operation not permitted - "
            'Failed to mount "sysfs" onto "/usr/lib/x86_64-linux-gnu/lxc/sys"'
        ),
        "mount what it needs",
    ),
    ('ERROR start - start.c:start:2164 - Exec format error - Failed to exec "/sbin/init"', "architecture"),
    ("fork/exec /usr/bin/lxd: cannot allocate memory", "memory"),
    (
        'Get "http://unix.socket/1.0": dial unix /var/lib/lxd/unix.socket: connect: connection refused',
        "answer",
    ),
]


@pytest.mark.parametrize(("line", "words"), TABLE)
def test_each_symptom_is_known_with_a_step_for_a_wsl_and_for_another_machine(line: str, words: str) -> None:
    for machine in (WSL, LINUX):
        found = plugin.why(line, machine)
        assert words in found["cause"], found
        assert found["step"]


def test_every_row_of_the_table_is_met_by_a_line() -> None:
    met = {plugin.why(line, WSL)["cause"] for line, _ in TABLE}
    assert {symptom.cause for symptom in plugin.SYMPTOMS} == met


@given(st.text(max_size=400), st.sampled_from([WSL, LINUX]))
def test_any_text_has_an_answer(text: str, machine: dict[str, Any]) -> None:
    found = plugin.why(text, machine)
    assert set(found) == {"cause", "step", "line"}
    assert bool(found["cause"]) == bool(found["step"])


def test_an_error_outweighs_what_is_only_told() -> None:
    log = (
        "lxc web 1 INFO     lsm - lsm/lsm.c:lsm_init_static:40 - Initialized LSM security driver AppArmor\n"
        "lxc web 2 WARN     conf - conf.c:setup_seccomp - seccomp is not used\n"
        "lxc web 3 ERROR    conf - conf.c:lxc_map_ids:2780 - newuidmap failed to write mapping\n"
    )
    assert "ids for containers" in plugin.why(log, LINUX)["cause"]
    assert plugin.why(log.splitlines()[0], LINUX)["cause"] == ""


def test_what_stands_in_the_log_of_a_container_that_is_well_is_no_cause() -> None:
    log = (
        "lxc p 1 ERROR    cgroup2_devices - ../src/lxc/cgroups/cgroup2_devices.c:332 - "
        "Operation not permitted - Failed to load bpf program: (null)\n"
        "lxc p 2 WARN     cgfsng - ../src/lxc/cgroups/cgfsng.c:fchowmodat:1619 - No such file or directory - "
        "Failed to fchownat(16, memory.oom.group, 8000000, 0, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW )\n"
    )
    assert plugin.why(log, LINUX)["cause"] == ""


def test_a_probe_that_went_well_says_with_which_address() -> None:
    answer = plugin.verdict(SEEN, LINUX, "mawbr0", "10.119.0.1/24")
    assert answer == {"ok": True, "message": "a container starts on mawbr0, with the address 10.119.0.7/24"}


def test_without_busybox_it_says_that_no_address_was_asked_for() -> None:
    seen = {key: value for key, value in SEEN.items() if key != "address"}
    answer = plugin.verdict(seen, LINUX, "mawbr0", "10.119.0.1/24")
    assert answer["ok"]
    assert "no address was asked for" in answer["message"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"bridge": "lxdbr0"}, "is on lxdbr0 instead of mawbr0"),
        ({"bridge": ""}, "no bridge at all"),
        ({"address": "192.168.1.50/24"}, "another DHCP server"),
        ({"left": "it is busy"}, "could not be removed: it is busy"),
        ({"stage": "image", "error": "it is odd"}, "image cannot be given to LXD"),
        ({"stage": "address", "error": "/bin/udhcpc ended with 1: no lease"}, "DHCP"),
    ],
)
def test_what_is_not_well_is_said(more: dict[str, str], words: str) -> None:
    answer = plugin.verdict({**SEEN, **more}, LINUX, "mawbr0", "10.119.0.1/24")
    assert not answer["ok"]
    assert words in answer["message"]


def test_a_container_that_does_not_start_is_explained_by_liblxcs_log_which_is_shown() -> None:
    log = (
        "lxc p 1 INFO x - y\nlxc p 2 ERROR    start - start.c:lxc_spawn:1171 - Failed to set up id mapping.\n"
    )
    seen = {
        **SEEN,
        "stage": "start",
        "error": "Failed to run: /usr/bin/lxd forkstart p: exit status 1",
        "log": log,
    }
    message = plugin.verdict(seen, WSL, "mawbr0", "10.119.0.1/24")["message"]
    assert "cannot start (kernel 6.6.87.2-microsoft-standard-WSL2, WSL 2.6.1.0)" in message
    assert "Next: see root's lines in /etc/subuid" in message
    assert message.endswith(
        "liblxc's log:\nlxc p 2 ERROR    start - start.c:lxc_spawn:1171 - Failed to set up id mapping."
    )


def test_a_cgroup_fault_below_wsl_user_is_told_by_its_own_name() -> None:
    log = 'lxc p 2 ERROR cgfsng - cgroups/cgfsng.c:x:1257 - Failed to create cgroup "(null)"\n'
    seen = {**SEEN, "stage": "start", "error": "forkstart: exit status 1", "log": log}
    machine = {**WSL, "own_cgroup": "/wsl-user/distro-1/systemd/user.slice", "wsl_version": "2.9.9.0"}
    message = plugin.verdict(seen, machine, "mawbr0", "10.119.0.1/24")["message"]
    assert "#41492" in message
    assert "wsl --update" in message


def test_what_nobody_knows_is_shown_as_it_was_said() -> None:
    seen = {**SEEN, "stage": "create", "error": "the moon is full"}
    message = plugin.verdict(seen, LINUX, "mawbr0", "10.119.0.1/24")["message"]
    assert "the moon is full" in message
    assert "journalctl" in message
