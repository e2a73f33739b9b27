"""Windows' sshd hands a command to the default shell: cmd, or PowerShell."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.fakes.conftest import SSHD, Client, run, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fakes.windows import WindowsNotebook

    Ask = Callable[..., subprocess.CompletedProcess[bytes]]

NOISE = "Willkommen! สวัสดี\r\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo %USERNAME% on %COMPUTERNAME%", b"you on NOTEBOOK\r\n"),
        ("echo %NOT_DEFINED% 100%", b"%NOT_DEFINED% 100%\r\n"),
        ("echo 'one  two' $HOME `id`", b"'one  two' $HOME `id`\r\n"),
        ("echo a ^& b", b"a & b\r\n"),
        ('echo "a & b"', b'"a & b"\r\n'),
        ("whoami & hostname", b"notebook\\you\r\nnotebook\r\n"),
        ("whoami && hostname", b"notebook\\you\r\nnotebook\r\n"),
        ("reg query HKLM\\SOFTWARE\\Nothing /v X 2>nul || hostname", b"notebook\r\n"),
        ("hostname >nul", b""),
        ("wsl.exe -e echo one | wsl.exe -e cat", b"one\n"),
        ("cmd.exe /c hostname", b"notebook\r\n"),
    ],
)
def test_cmd_reads_the_raw_text(ask_either: Ask, command: str, said: bytes) -> None:
    assert ask_either(command).stdout == said


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_cmd_passes_exit_codes(ask_either: Ask, status: int) -> None:
    assert ask_either(f"exit {status}").returncode == status


def test_after_a_success_the_other_way_is_not_taken(ask: Ask) -> None:
    assert ask("whoami || hostname").stdout == b"notebook\\you\r\n"


def test_a_command_line_that_is_too_long_is_refused(ask: Ask) -> None:
    longest = "wsl.exe -e printf %s " + "x" * (8191 - 21)
    assert ask(longest).stdout == b"x" * (8191 - 21)
    answer = ask(longest + "x")
    assert (answer.returncode, answer.stdout) == (1, b"")
    assert answer.stderr == b"The command line is too long.\r\n"


def test_what_windows_does_not_know_it_says(ask: Ask) -> None:
    answer = ask("uname -a")
    assert answer.returncode == 1
    assert answer.stderr.startswith(b"'uname' is not recognized as an internal or external command,\r\n")


def test_only_the_first_line_is_a_command(ask: Ask) -> None:
    assert ask("hostname\nwhoami").stdout == b"notebook\r\n"


def test_without_a_command_each_line_of_the_input_is_one(client: Client, windows: WindowsNotebook) -> None:
    answer = run(client.argv(windows, ""), b"hostname\r\nwsl.exe -e cat\nexit 3\n")
    assert answer.stdout.startswith(b"Microsoft Windows [Version 10.0.")
    assert answer.stdout.endswith(b"C:\\Users\\you>notebook\r\nC:\\Users\\you>exit 3\nC:\\Users\\you>")


def test_whoami_tells_account_and_groups_by_sid(ask: Ask, windows: WindowsNotebook) -> None:
    assert ask("whoami.exe /user /fo csv /nh").stdout.startswith(b'"notebook\\you","S-1-5-21-')
    administrator = b'"VORDEFINIERT\\Administratoren","Alias","S-1-5-32-544","'
    assert administrator in ask("whoami.exe /groups /fo csv /nh").stdout
    windows.configure(administrator=False)
    assert b"S-1-5-32-544" not in ask("whoami.exe /groups /fo csv /nh").stdout


def test_names_come_in_the_machines_code_page(ask: Ask, windows: WindowsNotebook) -> None:
    windows.configure(account="สมชาย", codepage="cp874")
    assert ask("whoami").stdout == "notebook\\สมชาย\r\n".encode("cp874")
    windows.configure(codepage="cp850")
    assert ask("whoami").stdout == b"notebook\\?????\r\n"


def test_the_registry_tells_the_default_shell_only_if_it_was_set(ask: Ask, windows: WindowsNotebook) -> None:
    query = "reg.exe query HKLM\\SOFTWARE\\OpenSSH /v DefaultShell"
    assert ask(query).returncode == 1
    windows.configure(registry_shell="C:\\Windows\\System32\\cmd.exe")
    assert b"    DefaultShell    REG_SZ    C:\\Windows\\System32\\cmd.exe\r\n" in ask(query).stdout
    windows.configure(registry_shell=None, shell="powershell")
    assert b"\\powershell.exe\r\n" in ask(query).stdout


@pytest.fixture
def powershell(windows: WindowsNotebook) -> Iterator[WindowsNotebook]:
    windows.configure(shell="powershell")
    return windows


@pytest.mark.usefixtures("powershell")
@pytest.mark.parametrize(
    ("command", "said", "status"),
    [
        ("echo $env:USERNAME '$env:USERNAME' \"$env:USERNAME\"", b"you\r\n$env:USERNAME\r\nyou\r\n", 0),
        ("echo $undefined`$x", b"$x\r\n", 0),
        ("hostname; whoami", b"notebook\r\nnotebook\\you\r\n", 0),
        ("echo %USERNAME% ^", b"%USERNAME%\r\n^\r\n", 0),
        ("'just a string'", b"just a string\r\n", 0),
        ("& 'C:\\Program Files\\WSL\\wsl.exe' -d Ubuntu -e echo hi", b"hi\n", 0),
        ("wsl.exe -e sh -c 'exit 42'", b"", 1),
        ("wsl.exe -e sh -c 'exit 42'; exit $LASTEXITCODE", b"", 42),
        ("wsl.exe -e printf '%s,' 'a b' \"c d\"", b"a b,c d,", 0),
        ("exit 9", b"", 9),
    ],
)
def test_power_shell_reads_the_text_its_own_way(ask: Ask, command: str, said: bytes, status: int) -> None:
    answer = ask(command)
    assert (answer.stdout, answer.returncode) == (said, status)


@pytest.mark.usefixtures("powershell")
@pytest.mark.parametrize("command", ["hostname & whoami", "hostname | cat", "hostname 'x"])
def test_nothing_runs_of_a_text_that_power_shell_cannot_parse(ask: Ask, command: str) -> None:
    answer = ask(command)
    assert (answer.returncode, answer.stdout) == (1, b"")
    assert b"ParserError" in answer.stderr


@pytest.mark.parametrize("name", ["uname", "no-such-thing"])
def test_power_shell_says_what_it_does_not_know(ask: Ask, powershell: WindowsNotebook, name: str) -> None:
    answer = ask(name)
    assert answer.returncode == 1
    assert f"The term '{name}' is not recognized as the name of a cmdlet".encode() in answer.stderr


def test_the_profile_speaks_before_anything_else(ask: Ask, powershell: WindowsNotebook) -> None:
    powershell.configure(profile_noise=NOISE)
    assert ask("hostname").stdout == NOISE.encode() + b"notebook\r\n"
    assert ask("wsl.exe -e cat", b"\0\xff").stdout == NOISE.encode() + b"\0\xff"


def test_the_line_of_the_bridge_means_the_same_to_both_shells(
    client: Client, windows: WindowsNotebook
) -> None:
    said = []
    for shell in ("cmd", "powershell"):
        windows.configure(shell=shell)
        answer = run(client.bridge(windows, "echo $SSH_CONNECTION; cat; exit 67"), b"\0\xff\r\n")
        said.append((answer.stdout, answer.returncode))
        assert windows.calls()[-1].argv == ("/usr/sbin/sshd", "-i")
    assert said == [(b"UNKNOWN 65535 UNKNOWN 65535\n\0\xff\r\n", 67)] * 2


def test_what_was_started_is_recorded_as_given_and_as_got(ask_either: Ask, either: WindowsNotebook) -> None:
    command = 'wsl.exe -e printf x "a b" %USERNAME% ^&'
    assert ask_either(command).returncode == 0
    call = either.calls()[-1]
    assert (call.raw, call.program, call.forced, call.shell) == (command, "wsl.exe", False, "cmd")
    assert call.line == 'wsl.exe -e printf x "a b" you &'
    assert call.argv == ("printf", "x", "a b", "you", "&")


def test_an_account_that_is_no_administrator_has_keys_of_its_own(tmp_path: Path, client: Client) -> None:
    with started(tmp_path / "nb", client) as notebook:
        notebook.configure(administrator=False)
        assert run(client.argv(notebook, "hostname")).returncode == 255
        folder = notebook.drive / "Users" / "you" / ".ssh"
        folder.mkdir()
        (folder / "authorized_keys").write_text(client.public + "\n")
        assert run(client.argv(notebook, "hostname")).stdout == b"notebook\r\n"


def test_the_bridge_works_through_a_genuine_cmd(client: Client, either: WindowsNotebook) -> None:
    data = bytes(range(256)) * 100
    answer = run(client.bridge(either, "cat; exit 87"), data)
    assert (answer.stdout, answer.returncode) == (data, 87)
    assert either.calls()[-1].raw == SSHD
