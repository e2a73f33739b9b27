"""`cutter nodes` and a notebook's two sides.

Windows is played by the loopback satellite with a program called wsl.exe; how a real one differs
is the subject of the tests of the bridge.
"""

from __future__ import annotations

import getpass
import json
import pwd
import shlex
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import psutil
import pytest

from maw.transport import keys
from maw.transport.loopback import find_sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maw.config import Workspace
    from maw.transport.loopback import LoopbackSatellite

    Nodes = Callable[..., dict[str, dict[str, Any]]]

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/schema/nodes.json").read_text("utf-8"))
VERSION = "WSL version: 2.5.9.0\r\nKernel version: 6.6.87.2-1\r\nWSLg version: 1.0.66\r\n"


@pytest.fixture
def notebook(workspace: Workspace, satellite: LoopbackSatellite, tmp_path: Path) -> Iterator[Path]:
    """The inventory's pair `notebook` and `notebook-wsl`; yields what plays wsl.exe, to be changed."""
    if not pwd.getpwnam(getpass.getuser()).pw_shell.endswith("bash"):
        pytest.skip("the login shell of this user is not bash")
    folder = satellite.folder
    (tmp_path / "version").write_bytes(VERSION.encode("utf-16-le"))
    (tmp_path / "sshd_config").write_text(
        f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\n"
        f'UsePAM no\nPermitRootLogin prohibit-password\nSetEnv HOME="{folder}/home"\nPidFile none\n'
    )
    program = tmp_path / "wsl.exe"
    program.write_text(
        f"#!/bin/sh\n[ $1 = --version ] && exec cat {shlex.quote(str(tmp_path / 'version'))}\n"
        f"exec {find_sshd()} -i -f {shlex.quote(str(tmp_path / 'sshd_config'))}\n"
    )
    program.chmod(0o755)
    listing = json.loads(satellite.inventory([]))["satellites"]["hosts"][satellite.name]
    windows = {**listing, "ansible_shell_type": "cmd", "maw_addresses": ["127.0.0.77", "127.0.0.1"]}
    del windows["maw_worker_command"]
    wsl = {
        "maw_windows": "notebook",
        "maw_wsl_distro": "Ubuntu",
        "ansible_user": getpass.getuser(),
        "ansible_ssh_private_key_file": str(satellite.identity),
        "maw_worker_command": ["maw-no-such-worker"],
    }
    (workspace.inventory / "hosts.yml").write_text(
        json.dumps(
            {"windows": {"hosts": {"notebook": windows}}, "satellites": {"hosts": {"notebook-wsl": wsl}}}
        )
    )
    for name in ("notebook", "notebook-wsl"):
        keys.pin(workspace.known_hosts, name, satellite.host_keys)
    start_up = folder / "home" / ".bashrc"
    start_up.write_text(f"PATH={shlex.quote(str(tmp_path))}:$PATH\n")
    yield program
    start_up.unlink()
    config = str(workspace.state / "ssh_config")
    for name in ("notebook-wsl", "notebook-bridge", "notebook"):
        subprocess.run(["ssh", "-F", config, "-O", "exit", name], capture_output=True, check=False)


@pytest.fixture
def nodes(cutter_command: Callable[..., subprocess.CompletedProcess[bytes]]) -> Nodes:
    """`nodes(*arguments, code=0)`: what `cutter nodes --json` says; at most a second over its 2 s."""

    def run(*arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
        # Ansible reads the inventory here, which takes a second.
        cutter_command("ssh-config")
        begun = time.monotonic()
        answer = cutter_command("nodes", "--json", *arguments)
        assert time.monotonic() - begun < 3
        assert answer.returncode == code, answer.stdout
        found = json.loads(answer.stdout)
        jsonschema.validate(found, SCHEMA)
        return {node["name"]: node for node in found["nodes"]}

    return run


@pytest.mark.usefixtures("notebook")
def test_a_notebook_is_one_row_with_both_its_sides(nodes: Nodes) -> None:
    found = nodes()
    assert list(found) == ["local", "notebook-wsl"]
    node = found["notebook-wsl"]
    assert (node["state"], node["address"]) == ("up", "127.0.0.1")
    assert node["addresses"] == ["127.0.0.77", "127.0.0.1"]
    assert node["same_as"] == "local"
    assert node["wsl"] == {
        "distro": "Ubuntu",
        "kind": None,
        "version": "2.5.9.0",
        "windows": "notebook",
        "windows_state": "up",
        "windows_error": None,
    }


def test_a_wsl_that_hangs_is_down_while_its_windows_is_up(
    notebook: Path, nodes: Nodes, within: Callable[..., bool]
) -> None:
    notebook.write_text(notebook.read_text().replace("exec /", "cat >/dev/null; exit; #"))
    node = nodes(code=1)["notebook-wsl"]
    assert (node["state"], node["error_kind"]) == ("down", "HostSilent")
    assert "its Windows (notebook) does, so its WSL hangs or is just starting" in node["error"]
    assert "--limit 30" in node["error"]
    assert node["wsl"]["windows_state"] == "up"
    assert node["wsl"]["version"] == "2.5.9.0"
    begun = ["/bin/sh", str(notebook), "-d"]
    assert within(
        3, lambda: not [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [])[:3] == begun]
    ), "nothing is left on Windows"


def test_a_bridge_that_fails_is_told_with_its_cause_and_that_windows_is_up(
    notebook: Path, nodes: Nodes
) -> None:
    (notebook.parent / "missing").write_bytes(
        "There is no distribution with the supplied name.\r\n"
        "Error code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n".encode("utf-16-le")
    )
    text = notebook.read_text().replace("exec /", f"cat {notebook.parent}/missing; exit 255; #")
    notebook.write_text(text)
    node = nodes(code=1)["notebook-wsl"]
    assert (node["state"], node["error_kind"]) == ("down", "BridgeFailed")
    assert "cutter doctor notebook-wsl" in node["error"]
    assert node["wsl"]["windows_state"] == "up"


def test_a_wsl_that_is_too_old_to_tell_its_version_is_up(notebook: Path, nodes: Nodes) -> None:
    (notebook.parent / "version").write_bytes(b"Invalid command line option: --version\r\n")
    node = nodes()["notebook-wsl"]
    assert (node["state"], node["wsl"]["version"]) == ("up", None)


def test_a_notebook_that_is_off_is_down_on_both_sides(
    notebook: Path, workspace: Workspace, nodes: Nodes, free_port: int
) -> None:
    assert notebook.exists()
    path = workspace.inventory / "hosts.yml"
    listing = json.loads(path.read_text())
    listing["windows"]["hosts"]["notebook"]["ansible_port"] = free_port
    path.write_text(json.dumps(listing))
    node = nodes(code=1)["notebook-wsl"]
    assert (node["state"], node["wsl"]["windows_state"]) == ("down", "down")
    assert "127.0.0.77: Connection refused; 127.0.0.1: Connection refused" in node["error"]


def test_a_windows_without_a_wsl_is_a_row_of_its_own(
    notebook: Path, workspace: Workspace, nodes: Nodes
) -> None:
    path = workspace.inventory / "hosts.yml"
    listing = json.loads(path.read_text())
    del listing["satellites"]
    path.write_text(json.dumps(listing))
    said = notebook.parent / "cmd.exe"
    said.write_text("#!/bin/sh\nprintf '\\r\\nMicrosoft Windows [Version 10.0.26100.4652]\\r\\n'\n")
    said.chmod(0o755)
    node = nodes()["notebook"]
    assert (node["state"], node["system"], node["wsl"]) == ("up", "Windows 10.0.26100.4652", None)
