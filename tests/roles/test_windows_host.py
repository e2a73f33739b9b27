"""The role windows_host: played by the real ansible-playbook against the stand-in for Windows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.windows import WindowsNotebook
from tests.roles.windows_bench import CMD, ME, MSI, STATE, Bench, bare

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.slow,
    pytest.mark.skipif(
        WindowsNotebook.available() is not None, reason=f"{WindowsNotebook.available()}, and Ansible needs it"
    ),
]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bare(tmp_path) as found:
        yield found


def test_a_bare_notebook_becomes_ready_and_a_second_run_changes_nothing(bench: Bench) -> None:
    first = bench.play(windows_host_reboot_allowed=True)
    assert first.code == 0, first.failure or first.said
    state = bench.notebook.state
    assert state["features"]["VirtualMachinePlatform"] == "Enabled"
    assert state["wsl"] == "ok"
    assert state["distros"]["Ubuntu"]["folder"].endswith("AppData\\Local\\maw-Ubuntu")
    assert state["registry_shell"] == CMD
    assert bench.rule()["RemoteAddresses"] == f"{ME}/255.255.255.255"
    assert state["power"]["timeouts"]["standby-timeout-ac"] == 0
    assert state["power"]["timeouts"]["standby-timeout-dc"] == 15
    written = bench.wslconfig.read_text()
    assert written.startswith("[general]\ninstanceIdleTimeout=-1\n\n[wsl2]\nmemory=8GB\n")
    assert written.endswith("[experimental]\nautoMemoryReclaim=gradual\n")
    task = state["tasks"]["\\maw\\start-wsl"]
    assert (task["username"], task["logon_type"]) == (state["sid"], "s4u")
    assert task["actions"][0]["arguments"] == "-d Ubuntu -u root --exec /bin/true"
    facts = first.tasks["Say what is there"]["ansible_facts"]["maw_windows_host_facts"]
    assert (facts["distro"], facts["distro_there"], facts["memory_gb"]) == ("Ubuntu", True, 16)
    assert not (bench.notebook.drive / "ProgramData/maw/cache").exists()

    second = bench.play()
    assert second.code == 0, second.failure or second.said
    assert second.changed == 0, [name for name, task in second.tasks.items() if task.get("changed")]


def test_the_check_changes_nothing_and_says_what_it_cannot_know(bench: Bench) -> None:
    before = bench.picture()
    answer = bench.play("--check", windows_host_reboot_allowed=True)
    assert answer.code == 0, answer.failure or answer.said
    assert answer.changed > 3
    assert "is known only then" in answer.tasks["Say what would be installed"]["msg"]
    assert bench.picture() == before
    assert not (bench.notebook.drive / STATE).exists()


def test_removing_puts_back_what_was(bench: Bench) -> None:
    bench.wslconfig.write_bytes(b"# mine\r\n[wsl2]\r\nmemory=4GB\r\n")
    before = bench.picture()
    assert bench.play(windows_host_reboot_allowed=True).code == 0
    assert b"memory=8GB" in bench.wslconfig.read_bytes()
    answer = bench.play(entry="remove", windows_host_remove_distro=True)
    assert answer.code == 0, answer.failure or answer.said
    assert bench.picture() == before
    assert bench.notebook.state["distros"] == {}
    assert not (bench.notebook.drive / "ProgramData/maw").exists()

    again = bench.play(entry="remove")
    assert again.code == 0, again.failure or again.said
    assert again.changed == 0


def test_removing_leaves_the_distro_unless_it_is_asked_for(bench: Bench) -> None:
    assert bench.play(windows_host_reboot_allowed=True).code == 0
    assert bench.play(entry="remove").code == 0
    assert set(bench.notebook.state["distros"]) == {"Ubuntu"}
    assert bench.notebook.state["tasks"] == {}
    assert not bench.wslconfig.exists()


@pytest.mark.parametrize(
    ("setting", "reason", "step"),
    [
        ({"administrator": False}, "no administrator", "Administrators"),
        ({"virtualization": False}, "virtualisation is switched off", "UEFI"),
        ({"build": 17763}, "build 17763", "Windows Update"),
        ({"memory_bytes": 4 * 2**30}, "4 GB of memory", "windows_host_memory_minimum_gb=4"),
        ({"disk_free_bytes": 10 * 2**30}, "10 GB free", "windows_host_disk_minimum_gb"),
        ({"internet": False}, "does not reach", "windows_host_wsl_msi_path"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_notebook_that_will_not_do_is_refused_untouched(
    bench: Bench, setting: dict[str, Any], reason: str, step: str
) -> None:
    bench.notebook.configure(**setting)
    before = bench.picture()
    answer = bench.play(windows_host_reboot_allowed=True)
    assert answer.code == 2
    assert reason in answer.failure
    assert step in answer.failure
    assert answer.changed == 0
    assert bench.picture() == before
    assert not (bench.notebook.drive / STATE).exists()


@pytest.mark.parametrize(
    ("distro", "reason", "step"),
    [
        ({"version": 1}, "of WSL 1", "wsl --set-version Ubuntu 2"),
        ({"version": 2}, "maw did not make", "windows_host_adopt_distro=true"),
    ],
    ids=["wsl1", "taken"],
)
def test_a_distro_of_somebody_else_is_left_alone(
    bench: Bench, distro: dict[str, Any], reason: str, step: str
) -> None:
    bench.notebook.add_distro("Ubuntu")
    found = bench.notebook.state["distros"]["Ubuntu"]
    bench.notebook.configure(distros={"Ubuntu": {**found, **distro}}, wsl="ok")
    answer = bench.play()
    assert answer.code == 2
    assert reason in answer.failure
    assert step in answer.failure
    assert answer.changed == 0


def test_a_distro_of_somebody_else_is_adopted_when_asked_and_never_removed(bench: Bench) -> None:
    bench.notebook.configure(wsl="ok", features={"VirtualMachinePlatform": "Enabled"})
    bench.notebook.add_distro("Ubuntu")
    assert bench.play(windows_host_adopt_distro=True).code == 0
    assert bench.play(entry="remove", windows_host_remove_distro=True).code == 0
    assert set(bench.notebook.state["distros"]) == {"Ubuntu"}


def test_a_needed_restart_that_is_not_allowed_stops_and_the_next_run_goes_on(bench: Bench) -> None:
    stopped = bench.play()
    assert stopped.code == 2
    assert "must be restarted" in stopped.failure
    assert "windows_host_reboot_allowed=true" in stopped.failure
    assert bench.notebook.state["features"]["VirtualMachinePlatform"] == "EnablePending"
    assert bench.notebook.state["distros"] == {}
    went_on = bench.play(windows_host_reboot_allowed=True)
    assert went_on.code == 0, went_on.failure or went_on.said
    assert set(bench.notebook.state["distros"]) == {"Ubuntu"}


@pytest.mark.parametrize(
    "reached",
    [
        lambda state: state["features"]["VirtualMachinePlatform"] == "EnablePending",
        lambda state: state["wsl"] == "ok",
        lambda state: bool(state["distros"]),
        lambda state: state["power"]["timeouts"]["standby-timeout-ac"] == 0,
    ],
    ids=["feature", "package", "distro", "power"],
)
def test_a_run_that_is_killed_goes_on_with_the_next(
    bench: Bench, reached: Callable[[dict[str, Any]], bool]
) -> None:
    bench.kill_when(reached, windows_host_reboot_allowed=True)
    answer = bench.play(windows_host_reboot_allowed=True)
    assert answer.code == 0, answer.failure or answer.said
    assert bench.play().changed == 0
    remembered = json.loads(bench.read(STATE))["before"]
    assert remembered["power"]["standby"] == 1800
    assert remembered["default_shell"] == ""


def test_over_powershell_it_is_the_same(bench: Bench) -> None:
    bench.notebook.configure(shell="powershell")
    hosts = bench.folder / "hosts.json"
    hosts.write_text(hosts.read_text().replace(': "cmd"', ': "powershell"'))
    answer = bench.play(windows_host_reboot_allowed=True)
    assert answer.code == 0, answer.failure or answer.said
    assert bench.play().changed == 0


def test_without_internet_the_files_come_from_the_core(bench: Bench) -> None:
    bench.notebook.configure(internet=False)
    answer = bench.play(
        windows_host_reboot_allowed=True,
        windows_host_wsl_msi_path=str(bench.folder / "wsl.msi"),
        windows_host_distro_image_path=str(bench.folder / "image.wsl"),
    )
    assert answer.code == 0, answer.failure or answer.said


def test_behind_a_proxy_downloads_go_through_it(bench: Bench) -> None:
    proxy = "http://192.168.1.129:3128"
    bench.notebook.configure(proxy=proxy)
    refused = bench.play(windows_host_reboot_allowed=True)
    assert "windows_host_proxy" in refused.failure
    answer = bench.play(windows_host_reboot_allowed=True, windows_host_proxy=proxy)
    assert answer.code == 0, answer.failure or answer.said


def test_a_package_that_is_not_microsoft_s_is_not_installed(bench: Bench) -> None:
    bad = MSI + b" tampered"
    (bench.folder / "wsl.msi").write_bytes(bad)
    answer = bench.play(windows_host_wsl_msi_sha256="")
    assert "HashMismatch" in answer.failure
    assert bench.notebook.state["wsl"] == "missing"


def test_an_address_that_would_be_locked_out_is_refused(bench: Bench) -> None:
    answer = bench.play(windows_host_core_addresses=["192.168.1.129"])
    assert "would lock it out" in answer.failure
    assert answer.changed == 0


def test_an_sshd_that_takes_no_keys_is_named_by_its_line_and_not_changed(bench: Bench) -> None:
    path = bench.notebook.drive / "ProgramData/ssh/sshd_config"
    path.write_text("PubkeyAuthentication no\n" + path.read_text())
    before = path.read_bytes()
    answer = bench.play()
    assert "line 1 of" in answer.failure
    assert path.read_bytes() == before


def test_a_half_made_distro_of_maw_s_is_made_anew(bench: Bench) -> None:
    assert bench.play(windows_host_reboot_allowed=True).code == 0
    found = bench.notebook.state["distros"]["Ubuntu"]
    bench.notebook.configure(distros={"Ubuntu": {**found, "state": "installing"}})
    answer = bench.play()
    assert answer.code == 0, answer.failure or answer.said
    assert bench.notebook.state["distros"]["Ubuntu"].get("state") is None


def test_wsl_is_not_stopped_while_another_distro_runs(bench: Bench) -> None:
    assert bench.play(windows_host_reboot_allowed=True).code == 0
    bench.notebook.add_distro("Mine")
    bench.notebook.sign_in("Mine")
    answer = bench.play(windows_host_wsl_memory_gb=6)
    assert answer.code == 0, answer.failure or answer.said
    assert "Mine" in answer.tasks["Say that it takes effect later"]["msg"]
    assert bench.notebook.distro("Mine").running
    assert "memory=6GB" in bench.wslconfig.read_text()


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"windows_host_distro": "Ubuntu;x"}, "no name of a distro"),
        ({"windows_host_default_shell": "powershell"}, "Ansible talks to cmd"),
        ({"windows_host_core_addresses": ["192.168.1.0/24"]}, "not all plain addresses"),
        ({"windows_host_proxy": "192.168.1.129"}, "no address of a proxy"),
        ({"windows_host_wsl_version": "2.4.1"}, "older than"),
        ({"windows_host_wsl_msi_path": "nowhere.msi"}, "there is no file nowhere.msi"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_variable_is_refused_with_what_to_do(
    bench: Bench, variables: dict[str, Any], reason: str
) -> None:
    answer = bench.play(**variables)
    assert answer.code == 2
    assert reason in " ".join(answer.failure.split())
