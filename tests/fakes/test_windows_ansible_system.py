"""Genuine Ansible against the stand-in: services, packages, tasks, rules, restarts; and what is refused."""

from __future__ import annotations

import importlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.conftest import Client, run, started
from tests.fakes.playing import PROGRAMS, needs_ansible
from tests.fakes.windows.programs import (
    ansible_arguments,
    ansible_bootstrap,
    ansible_packages,
    ansible_programs,
    defaults,
    maw_scripts,
)
from tests.fakes.windows.programs.state import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.playing import Player
    from tests.fakes.windows import WindowsNotebook

WSL = "C:\\Program Files\\WSL\\wsl.exe"
MSI = "https://example.org/wsl.2.7.14.0.x64.msi"


def _win(module: str, **options: Any) -> dict[str, Any]:
    return {f"ansible.windows.{module}": options}


def _community(module: str, **options: Any) -> dict[str, Any]:
    return {f"community.windows.{module}": options}


@pytest.fixture
def web(windows: WindowsNotebook, tmp_path: Path) -> Iterator[Path]:
    """A fresh notebook without WSL, and the file that the web has for its MSI."""
    file = tmp_path / "served"
    file.write_bytes(ansible_packages.MSI + b"a package")
    bare = {key: value for key, value in defaults.BARE.items() if key != "distros"}
    with windows.configured(**bare, web={MSI: str(file)}):
        yield file
    for path in ("Program Files/WSL/wsl.exe", "wsl.msi"):
        (windows.drive / path).unlink(missing_ok=True)


def test_wsl_comes_from_its_package(
    player: Player, windows: WindowsNotebook, web: Path, client: Client
) -> None:
    assert b"not recognized" in run(client.argv(windows, "wsl.exe --version")).stderr
    windows.configure(wsl_msi_version="2.9.1.0")
    tasks = [
        _win("win_get_url", url=MSI, dest="C:\\wsl.msi"),
        _win("win_package", path="C:\\wsl.msi", creates_path=WSL, creates_version="2.9.1.0"),
    ]
    assert player.twice(windows, *tasks).changed == [True, True]
    assert windows.state["services"]["WSLService"]["state"] == "running"
    said = run(client.argv(windows, "wsl.exe --version")).stdout.decode("utf-16-le")
    assert said.startswith("WSL version: 2.9.1.0\r\n")
    by_product = player.run(windows, _win("win_package", path="C:\\wsl.msi"))
    assert by_product.changed == [False]
    product = windows.state["wsl_msi_product"]
    assert player.twice(windows, _win("win_package", product_id=product, state="absent")).changed == [True]
    assert run(client.argv(windows, "wsl.exe --version")).returncode == 1
    assert not (windows.drive / "Program Files/WSL/wsl.exe").exists()


def test_a_package_that_cannot_be_installed_says_why(
    player: Player, windows: WindowsNotebook, web: Path
) -> None:
    windows.configure(wsl_msi_exit_code=1603)
    install = {"path": MSI, "creates_path": WSL}
    failed = player.run(windows, _win("win_package", **install))
    assert (failed.status, failed.last["rc"]) == (2, 1603)
    assert windows.state["wsl"] == "missing"
    windows.configure(wsl_msi_exit_code=3010)
    wrong = player.run(windows, _win("win_package", checksum="00", **install))
    assert "did not match '00'" in wrong.last["msg"]
    done = player.run(windows, _win("win_package", **install))
    assert (done.last["rc"], done.last["reboot_required"]) == (3010, True)
    assert windows.state["reboot_pending"]
    web.write_bytes(b"<html>")
    windows.configure(**{key: defaults.BARE[key] for key in ("packages",)})
    no_msi = player.run(windows, _win("win_package", path=MSI, provider="msi"))
    assert "could not be opened" in no_msi.last["msg"]


@pytest.mark.parametrize(
    ("state", "options", "said"),
    [
        ({"internet": False}, {}, "The remote name could not be resolved: 'example.org'"),
        ({}, {"url": "https://example.org/other"}, "The remote server returned an error: (404) Not Found."),
        ({"proxy": "http://proxy:3128"}, {}, "Unable to connect to the remote server"),
        ({}, {"checksum": "ab", "checksum_algorithm": "sha256"}, "did not match 'ab'"),
        ({}, {"dest": "C:\\Missing\\x"}, "The path 'C:\\Missing' does not exist for destination"),
    ],
)
def test_what_the_web_does_not_give_is_no_file(
    player: Player, windows: WindowsNotebook, web: Path, state: Any, options: Any, said: str
) -> None:
    windows.configure(**state)
    played = player.run(windows, _win("win_get_url", **{"url": MSI, "dest": "C:\\wsl.msi", **options}))
    assert played.status == 2
    assert said in played.last["msg"]
    assert not (windows.drive / "wsl.msi").exists()


def test_a_proxy_is_gone_through_when_the_task_names_it(
    player: Player, windows: WindowsNotebook, web: Path
) -> None:
    windows.configure(proxy="http://proxy:3128")
    task = _win("win_get_url", url=MSI, dest="C:\\wsl.msi", proxy_url="http://proxy:3128/")
    assert player.twice(windows, task).changed == [True]
    assert (windows.drive / "wsl.msi").read_bytes() == web.read_bytes()


def test_services_start_and_stop(player: Player, windows: WindowsNotebook, client: Client) -> None:
    run(client.argv(windows, "wsl.exe -e true"))
    assert windows.distro().running
    first = player.twice(
        windows,
        _win("win_service", name="WSL Service", state="stopped", start_mode="manual"),
        _win("win_service", name="SSHD", state="started", start_mode="delayed"),
    )
    assert first.changed == [True, True]
    assert (first.results[0]["state"], first.results[0]["name"]) == ("stopped", "WSLService")
    assert not windows.distro().running
    assert windows.state["services"]["sshd"]["start_mode"] == "delayed"
    refused = {
        "none": "Service 'none' is not installed",
        "ssh-agent": "cannot be started",
        "sshd": "stand-in does not play sshd with state=stopped",
    }
    tasks = [
        _win("win_service", name=name, state="stopped" if name == "sshd" else "started") for name in refused
    ]
    played = player.run(windows, *({**task, "failed_when": False} for task in tasks))
    for result, said in zip(played.results, refused.values(), strict=True):
        assert said in result["msg"]


def test_rules_plans_and_tasks_are_kept(player: Player, windows: WindowsNotebook) -> None:
    rule = {
        "name": "OpenSSH SSH Server (sshd)",
        "remoteip": "192.168.1.129",
        "profiles": ["domain", "private"],
    }
    task = {
        "name": "maw",
        "path": "\\maw",
        "actions": [{"path": WSL, "arguments": "-d Ubuntu -u root --exec /bin/true"}],
        "triggers": [{"type": "boot", "delay": "PT30S"}],
        "username": "you",
        "logon_type": "s4u",
        "password": "secret",
        "update_password": False,
        "disallow_start_if_on_batteries": False,
    }
    first = player.twice(
        windows,
        _community("win_firewall_rule", **rule),
        _community("win_firewall_rule", name="new", localport="8022", protocol="tcp", action="allow"),
        _community("win_power_plan", name="Höchstleistung"),
        _community("win_scheduled_task", **task),
    )
    assert all(first.changed)
    kept = windows.state
    assert (kept["firewall"][0]["RemoteAddresses"], kept["firewall"][0]["Profiles"]) == (
        "192.168.1.129/255.255.255.255",
        3,
    )
    assert kept["power"]["plans"][kept["power"]["active"]] == "Höchstleistung"
    assert kept["tasks"]["\\maw\\maw"]["triggers"] == [{"type": "boot", "delay": "PT30S"}]
    assert kept["tasks"]["\\maw\\maw"]["username"] == kept["sid"]
    gone = player.twice(
        windows,
        _community("win_scheduled_task", name="MAW", path="maw", state="absent"),
        _community("win_firewall_rule", name="new", state="absent"),
    )
    assert gone.changed == [True, True]
    assert (windows.state["tasks"], len(windows.state["firewall"])) == ({}, 1)


def test_a_restart_ends_connections_and_starts_what_starts_with_windows(
    tmp_path: Path, player: Player, client: Client, within: Any
) -> None:
    with started(tmp_path / "nb", client) as notebook:
        features = {**notebook.state["features"], defaults.LINUX_FEATURE: "EnablePending"}
        action = {"path": WSL, "arguments": '--exec sh -c "echo > /root/started"'}
        task = {"enabled": True, "actions": [action], "triggers": [{"type": "boot"}]}
        notebook.configure(features=features, reboot_pending=True, tasks={"\\maw": task}, idle_seconds=-1)
        before = notebook.state["boot_time"]
        argv = client.argv(notebook, "wsl.exe -e cat")
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as held:
            assert within(10, lambda: notebook.distro().running)
            told = player.run(notebook, _win("win_reboot"), options=("--check",))
            assert (told.last["rebooted"], notebook.state["boot_time"]) == (True, before)
            played = player.run(notebook, _win("win_reboot"), _win("win_ping"))
            assert played.status == 0, played.said
            assert played.results[0]["rebooted"]
            assert held.wait(timeout=10) == 255
        state = notebook.state
        assert state["boot_time"] > before
        assert (state["reboot_pending"], state["features"][defaults.LINUX_FEATURE]) == (False, "Enabled")
        assert within(10, (notebook.distro().root / "root/started").exists)


def test_two_at_once_lose_nothing(player: Player, windows: WindowsNotebook) -> None:
    names = [f"value{number}" for number in range(8)]
    task = _win("win_regedit", path="HKLM:\\SOFTWARE\\many", name="value{{ number }}", data="{{ number }}")
    entry = _win("win_copy", content="{{ number }}", dest="C:\\Users\\you\\many{{ number }}")
    played = player.run(windows, task, entry, hosts=8)
    assert played.status == 0, played.said
    assert all(played.changed)
    assert sorted(windows.state["registry"]["HKLM\\SOFTWARE\\many"]) == names
    for number in range(8):
        assert (windows.drive / f"Users/you/many{number}").read_text() == str(number)


REFUSED = [
    (_win("win_service", name="sshd", description="x"), "Unsupported parameters for"),
    (_win("win_service", name="sshd", state="paused"), "stand-in does not play state=paused"),
    (_win("win_service", name="sshd", state="running"), "value of state must be one of"),
    (_win("win_stat"), "missing required arguments: path"),
    (_win("win_user", name="x"), "does not play the module ansible.windows.win_user"),
    (_win("win_powershell", script="Get-Item C:\\"), "does not play a script without `# maw-script"),
    (_win("win_powershell", script="# maw-script: no-such\n"), "does not play the script no-such"),
    ({**_win("win_ping"), "become": True, "become_method": "runas"}, "plays no become, async or coverage"),
    ({**_win("win_ping"), "async": 5, "poll": 1}, "plays no become, async or coverage"),
    ({"ansible.builtin.setup": {}}, "does not play the module"),
]


def test_what_is_not_played_is_refused_and_nothing_else(player: Player, windows: WindowsNotebook) -> None:
    before = windows.state
    tasks = [{**task, "failed_when": False} for task, _ in REFUSED]
    played = player.run(windows, *tasks, vars={"ansible_become_user": "SYSTEM"})
    for result, (task, said) in zip(played.results, REFUSED, strict=True):
        assert said in json.dumps(result), task
    assert windows.state == before
    assert player.run(windows, REFUSED[0][0]).status == 2


class TestScripts:
    """A script of win_powershell, played by its name."""

    @staticmethod
    def _play(windows: WindowsNotebook, script: str, **given: Any) -> dict[str, Any]:
        machine = Machine(str(windows.folder))
        module = ansible_arguments.Module(
            machine, "ansible.windows.win_powershell", {"script": script, **given}
        )
        return module.answer(ansible_programs.SPECS["win_powershell"])

    def test_its_answer_is_that_of_the_module(
        self, windows: WindowsNotebook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def survey(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
            deep = {"one": {"two": {"three": {"four": 4}}}, "list": [1, None, True]}
            if not check_mode:
                machine.change(lambda state: state.update(build=parameters["Build"]))
            return {"changed": not check_mode, "result": deep, "output": ["said"]}

        monkeypatch.setitem(maw_scripts.SCRIPTS, "survey", survey)
        script = (
            "# maw-script: survey\n[CmdletBinding(SupportsShouldProcess)]\nparam([int]$Build = (1 + 1))\n"
        )
        answer = self._play(windows, script, parameters={"Build": 7}, _ansible_check_mode=True)
        assert (answer["changed"], windows.state["build"]) == (False, 26200)
        answer = self._play(windows, script, parameters={"Build": 7})
        assert (answer["changed"], answer["output"], windows.state["build"]) == (True, ["said"], 7)
        # What lies deeper than `depth` is its type's name: the real module's trap.
        assert answer["result"] == {
            "one": {"two": {"three": "System.Collections.Hashtable"}},
            "list": [1, None, True],
        }
        deeper = self._play(windows, script, parameters={"Build": 7}, depth=3)
        assert deeper["result"]["one"]["two"]["three"] == {"four": 4}
        unknown = self._play(windows, script, parameters={"Colour": 1})
        assert "A parameter cannot be found that matches parameter name 'Colour'" in unknown["msg"]
        # Without it the real module does not run a script in check mode.
        plain = self._play(windows, "# maw-script: survey\n", _ansible_check_mode=True)
        assert plain["msg"] == "skipped, running in check mode"

    def test_its_error_fails_the_task(
        self, windows: WindowsNotebook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(maw_scripts.SCRIPTS, "bad", lambda *_: {"changed": False, "error": "no disk"})
        answer = self._play(windows, "# maw-script: bad\n")
        assert answer["failed"]
        assert answer["error"][0]["exception"]["message"] == "no disk"

    @pytest.mark.parametrize("answer", [{}, {"changed": True, "results": 1}])
    def test_an_answer_that_is_none_is_an_error(
        self, windows: WindowsNotebook, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
    ) -> None:
        monkeypatch.setitem(maw_scripts.SCRIPTS, "odd", lambda *_: answer)
        with pytest.raises(TypeError, match="the answer of odd has"):
            self._play(windows, "# maw-script: odd\n")


def test_every_option_that_is_played_is_one_of_the_real_module() -> None:
    needs_ansible()
    names = [f"{home}.{name}" for home, modules in ansible_bootstrap.MODULES.items() for name in modules]
    answer = subprocess.run([PROGRAMS / "ansible-doc", "-j", *names], capture_output=True, check=True)
    documented = json.loads(answer.stdout)
    for home, modules in ansible_bootstrap.MODULES.items():
        for name, file in modules.items():
            spec = importlib.import_module(f"tests.fakes.windows.programs.{file}").SPECS[name]
            real = documented[f"{home}.{name}"]["doc"]["options"]
            for option, played in spec.options.items():
                if played.internal:
                    assert option not in real or name == "win_copy"
                    continue
                where = f"{name} {option}"
                assert option in real, where
                told = real[option]
                assert played.kind == told["type"], where
                assert played.default == told.get("default"), where
                assert played.required == told.get("required", False), where
                assert sorted(played.aliases) == sorted(told.get("aliases", [])), where
                assert played.elements == told.get("elements", ""), where
                if played.choices:
                    assert sorted(map(str, played.choices)) == sorted(map(str, told["choices"])), where
