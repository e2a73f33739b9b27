"""wsl.exe makes, removes and prefers distros; a fresh notebook has none, nor a wsl.exe."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.fakes.conftest import Client, needs, run
from tests.fakes.test_windows_life import PROGRAMS
from tests.fakes.windows import WindowsNotebook
from tests.fakes.windows.programs import defaults, wsl_distros, wsl_exe
from tests.fakes.windows.programs.state import Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ask = Callable[..., subprocess.CompletedProcess[bytes]]

DONE = "The operation completed successfully. \r\n"


def _tar(mode: str = "w") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("etc"))
    return made.getvalue()


@pytest.fixture
def rootfs(windows: WindowsNotebook) -> Path:
    """The file C:\\rootfs.tar.gz."""
    path = windows.drive / "rootfs.tar.gz"
    path.write_bytes(_tar("w:gz"))
    return path


def _text(answer: subprocess.CompletedProcess[bytes]) -> str:
    return answer.stdout.decode("utf-16-le")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_what_an_archive_is_is_told_from_its_begin(mode: str) -> None:
    assert wsl_distros.is_tar(_tar(mode))


@pytest.mark.parametrize(
    "data", [b"", b"<html>" * 200, bytes(1024), b"\x1f\x8b" + bytes(600), b"PK\x03\x04" + bytes(600)]
)
def test_what_is_no_archive_is_not_taken_for_one(data: bytes) -> None:
    assert not wsl_distros.is_tar(data)


@pytest.mark.usefixtures("rootfs")
def test_an_imported_distro_is_a_fresh_one_of_its_own(ask: Ask, windows: WindowsNotebook) -> None:
    ask("wsl.exe --shutdown")
    answer = ask('wsl.exe --import maw "C:\\Users\\you\\wsl\\maw" C:\\rootfs.tar.gz --version 2')
    assert (answer.returncode, _text(answer)) == (0, DONE)
    assert (windows.drive / "Users/you/wsl/maw/ext4.vhdx").exists()
    assert [line.split() for line in _text(ask("wsl.exe -l -v")).splitlines()][1:] == [
        ["*", "Ubuntu", "Stopped", "2"],
        ["maw", "Stopped", "2"],
    ]
    assert ask("wsl.exe -d maw -u root -e ls -A /etc/ssh").stdout.split() == [
        b"sshd_config",
        b"sshd_config.d",
    ]
    assert ask("wsl.exe -d maw -u root -e ls /root/.ssh").returncode == 2
    assert ask("wsl.exe -d maw -u root -e /usr/sbin/sshd -t").returncode == 1, "it has no host keys yet"
    assert _text(ask("wsl.exe --set-default MAW")) == DONE
    assert "Default Distribution: maw" in _text(ask("wsl.exe --status"))
    assert ask("wsl.exe -e printenv WSL_DISTRO_NAME").stdout == b"maw\n"
    root = windows.distro("maw").root
    assert _text(ask("wsl.exe --unregister maw")) == "Unregistering.\r\n" + DONE
    assert not root.exists()
    assert not (windows.drive / "Users/you/wsl/maw/ext4.vhdx").exists()
    assert _text(ask("wsl.exe --unregister maw")).startswith(
        "There is no distribution with the supplied name."
    )
    assert list(windows.state["distros"]) == ["Ubuntu"]


def test_an_archive_may_come_on_standard_input(ask: Ask, windows: WindowsNotebook) -> None:
    assert ask("wsl.exe --import maw C:\\maw -", _tar() + bytes(1 << 20)).returncode == 0
    assert ask("wsl.exe --unregister maw").returncode == 0
    assert ask("wsl.exe --import maw C:\\maw -", b"no archive").returncode == 255


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "--import ubuntu C:\\new C:\\rootfs.tar.gz",
            (
                "A distribution with the supplied name already exists. "
                "Use --name to choose a different name.\r\n"
                "Error code: Wsl/Service/RegisterDistro/ERROR_ALREADY_EXISTS\r\n"
            ),
        ),
        (
            "--import new C:\\new C:\\missing.tar",
            "The system cannot find the file specified. \r\nError code: Wsl/ERROR_FILE_NOT_FOUND\r\n",
        ),
        (
            "--import new C:\\new C:\\ProgramData\\ssh\\sshd_config",
            (
                "Importing the distribution failed.\r\n"
                "Error code: Wsl/Service/RegisterDistro/WSL_E_IMPORT_FAILED\r\n"
            ),
        ),
        ("--import new C:\\taken C:\\rootfs.tar.gz", "The supplied install location is already in use."),
        ("--import new C:\\new C:\\rootfs.tar.gz --version 1", "WSL1 is not supported with your current"),
        ("--import new C:\\new C:\\rootfs.tar.gz --vhd", "Invalid command line argument: --vhd"),
        ("--import a/b C:\\new C:\\rootfs.tar.gz", "The parameter is incorrect."),
        ("--set-default missing", "There is no distribution with the supplied name."),
    ],
)
@pytest.mark.usefixtures("rootfs")
def test_what_cannot_be_imported_is_refused_in_wsls_words(
    ask: Ask, windows: WindowsNotebook, command: str, said: str
) -> None:
    (windows.drive / "taken").mkdir(exist_ok=True)
    (windows.drive / "taken/ext4.vhdx").touch()
    before = windows.state
    answer = ask(f"wsl.exe {command}")
    assert answer.returncode == 255
    assert _text(answer).startswith(said)
    assert windows.state == before
    if "IMPORT_FAILED" in said:
        assert answer.stderr == b"bsdtar: Error opening archive: Unrecognized archive format\n"


@pytest.mark.parametrize(
    "lacking",
    [{"virtualization": False}, {"features": {**defaults.DEFAULTS["features"], **defaults.BARE["features"]}}],
)
@pytest.mark.usefixtures("rootfs")
def test_without_virtual_machines_nothing_starts(
    ask: Ask, windows: WindowsNotebook, lacking: dict[str, object]
) -> None:
    windows.configure(**lacking)
    for command, code in (
        ("-e true", "CreateInstance"),
        ("--import new C:\\new C:\\rootfs.tar.gz", "RegisterDistro"),
    ):
        said = _text(ask(f"wsl.exe {command}"))
        assert said.startswith("WSL2 is unable to start since virtualization is not enabled on this machine.")
        assert said.endswith(f"Error code: Wsl/Service/{code}/CreateVm/HCS/HCS_E_HYPERV_NOT_INSTALLED\r\n")
    assert wsl_exe.NO_VIRTUAL_MACHINES in _text(ask("wsl.exe --status"))


def test_the_platform_is_installed_by_an_administrator_and_wants_a_restart(
    ask: Ask, windows: WindowsNotebook
) -> None:
    command = "wsl.exe --install --no-distribution"
    assert _text(ask(command)) == DONE
    windows.configure(features=defaults.BARE["features"], administrator=False)
    assert "Wsl/0x800705b3" in _text(ask(command))
    windows.configure(administrator=True)
    answer = ask(command)
    assert answer.returncode == 0
    assert "Changes will not be effective until the system is rebooted." in _text(answer)
    state = windows.state
    assert (state["features"][defaults.VIRTUAL_MACHINES], state["reboot_pending"]) == ("EnablePending", True)
    assert "virtualization is not enabled" in _text(ask("wsl.exe -e true"))


def test_two_imports_of_one_name_make_one_distro(
    client: Client, windows: WindowsNotebook, rootfs: Path
) -> None:
    commands = [f"wsl.exe --import same C:\\same{number} C:\\rootfs.tar.gz" for number in range(4)]
    started = [
        subprocess.Popen(client.argv(windows, command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for command in commands
    ]
    codes = []
    for process in started:
        process.communicate(timeout=60)
        codes.append(process.returncode)
    assert sorted(codes) == [0, 255, 255, 255]
    assert len(list((windows.folder / "distros").glob("*-same"))) == 1
    assert run(client.argv(windows, "wsl.exe --unregister same")).returncode == 0


def test_a_bare_machine_has_no_wsl_no_distro_and_no_keys(tmp_path: Path) -> None:
    needs()
    copy = tmp_path / "opt" / "windows"
    shutil.copytree(PROGRAMS.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    program = ["/usr/bin/python3", "-I", str(copy / "programs/machine.py")]
    folder = tmp_path / "var"
    subprocess.run([*program, "install", str(folder), "--account", "root", "--bare"], check=True)
    state = json.loads((folder / "state.json").read_text())
    assert (state["wsl"], state["distros"], state["container"]) == ("missing", {}, True)
    assert "WSLService" not in state["services"]
    assert not (folder / "drive/ProgramData/ssh/administrators_authorized_keys").exists()
    facts = ("administrator", "edition", "build", "memory_bytes", "disk_free_bytes", "virtualization")
    assert [state[fact] for fact in facts] == [True, "Professional", 26200, 17179869184, 200000000000, True]
    assert (state["reboot_pending"], state["internet"], state["proxy"]) == (False, True, None)


def test_a_bare_notebook_takes_a_key_and_has_nothing_else(tmp_path: Path, client: Client) -> None:
    needs()
    with WindowsNotebook(tmp_path / "nb", bare=True) as notebook:
        assert run(client.argv(notebook, "hostname")).returncode == 255
        notebook.authorize(client.public)
        assert run(client.argv(notebook, "hostname")).stdout == b"notebook\r\n"
        assert b"not recognized" in run(client.argv(notebook, "wsl.exe --status")).stderr


def test_in_a_container_the_system_itself_becomes_the_distro(
    tmp_path: Path, windows: WindowsNotebook
) -> None:
    windows.configure(container=True, distros={})
    (windows.drive / "rootfs.tar").write_bytes(_tar())
    machine = Machine(str(windows.folder))
    assert wsl_distros.add(machine, "one C:\\one C:\\rootfs.tar") == 0
    assert windows.state["distros"]["one"] == {"root": None, "version": 2, "folder": "C:\\one"}
    with pytest.raises(OSError, match="plays one already"):
        wsl_distros.add(machine, "two C:\\two C:\\rootfs.tar")
    assert wsl_distros.remove(machine, "one") == 0
    assert windows.state["distros"] == {}
