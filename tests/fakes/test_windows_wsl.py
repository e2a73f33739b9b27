"""The stand-in's wsl.exe has the habits of the real one."""

from __future__ import annotations

import random
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.fakes.conftest import SSHD, Client, started

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.windows import WindowsNotebook

    Ask = Callable[..., subprocess.CompletedProcess[bytes]]

ALL_BYTES = bytes(range(256))
NO_DISTRO = (
    "There is no distribution with the supplied name.\r\nError code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n"
)


def test_exec_runs_a_program_without_a_shell(ask_either: Ask) -> None:
    answer = ask_either("wsl.exe -d Ubuntu -u root --exec printf %s\\n $HOME *")
    assert (answer.returncode, answer.stdout) == (0, b"$HOME\n*\n")


def test_two_dashes_hand_the_raw_rest_to_the_users_shell(ask_either: Ask) -> None:
    answer = ask_either(
        "wsl.exe -d Ubuntu -u root -- cd /etc/ssh; echo $HOME 'a  b' \"c  d\" ssh_host_ed*.pub"
    )
    assert answer.stdout == b"/root a  b c  d ssh_host_ed25519_key.pub\n"
    assert ask_either("wsl.exe echo $HOME").stdout == b"/root\n", "no option at all means the same"


@pytest.mark.parametrize("command", ["wsl.exe -d Missing -e id", 'wsl.exe -d "Ubuntu" -e id'])
def test_quotes_are_not_taken_off_the_distros_name(ask_either: Ask, command: str) -> None:
    answer = ask_either(command)
    assert answer.stdout == NO_DISTRO.encode("utf-16-le")
    assert (answer.returncode, answer.stderr) == (255, b"")


def test_a_distro_with_a_blank_in_its_name_cannot_be_named(ask_either: Ask, either: WindowsNotebook) -> None:
    either.add_distro("Ubuntu 24.04")
    for command in ("wsl.exe -d Ubuntu 24.04 -e id", 'wsl.exe -d "Ubuntu 24.04" -e id'):
        assert b"u\0i\0d\0=\0" not in ask_either(command).stdout
        assert b"uid=" not in ask_either(command).stdout


def test_quotes_are_taken_off_the_folder(ask_either: Ask) -> None:
    assert ask_either('wsl.exe --cd "/etc/ssh" -e pwd').stdout == b"/etc/ssh\n"
    assert ask_either("wsl.exe --cd ~ -e pwd").stdout == b"/root\n"


@pytest.mark.parametrize("value", ["1", "1 ", "2", "yes"])
def test_its_own_words_are_utf_16_unless_the_variable_is_exactly_1(ask_either: Ask, value: str) -> None:
    coding = "utf-8" if value == "1" else "utf-16-le"
    assert ask_either(f"set WSL_UTF8={value}&& wsl.exe -d Missing").stdout == NO_DISTRO.encode(coding)


@pytest.mark.parametrize("status", [0, 1, 2, 42, 126, 254])
def test_exit_codes_pass(ask_either: Ask, status: int) -> None:
    assert ask_either(f'wsl.exe -e sh -c "exit {status}"').returncode == status


@pytest.mark.parametrize(("status", "name"), [(67, "USER_NOT_FOUND"), (87, "TTY_LIMIT")])
def test_two_exit_codes_are_taken_for_its_own(ask_either: Ask, status: int, name: str) -> None:
    answer = ask_either(f'wsl.exe -e sh -c "exit {status}"')
    assert answer.returncode == 255
    assert f"Error code: Wsl/Service/WSL_E_{name}\r\n" in answer.stdout.decode("utf-16-le")


def test_an_unknown_user_is_said_so(ask: Ask) -> None:
    assert "USER_NOT_FOUND" in ask("wsl.exe -u nobody-here -e id").stdout.decode("utf-16-le")


def test_a_missing_program_is_said_on_standard_error(ask: Ask) -> None:
    answer = ask("wsl.exe -e no-such-program")
    assert (answer.returncode, answer.stdout) == (1, b"")
    assert b"execvpe(no-such-program) failed: No such file or directory" in answer.stderr


def test_an_unknown_option_is_refused(ask: Ask) -> None:
    answer = ask("wsl.exe --nonsense")
    assert answer.returncode == 255
    assert "Invalid command line argument: --nonsense" in answer.stdout.decode("utf-16-le")


def test_the_relay_changes_no_byte_of_a_mebibyte(ask_either: Ask) -> None:
    data = ALL_BYTES * 4096
    answer = ask_either("wsl.exe -e cat", data)
    assert answer.stdout == data


@pytest.mark.parametrize("data", [b"", b"\x1a", b"\r\n\n\r", b"\xff\xfe\0", ALL_BYTES[::-1]])
def test_the_relay_knows_no_end_of_line_and_no_end_of_file_sign(ask_either: Ask, data: bytes) -> None:
    assert ask_either("wsl.exe -e cat", data).stdout == data


def test_both_outputs_are_relayed_apart(ask: Ask) -> None:
    size = 300_000
    answer = ask(f'wsl.exe -e sh -c "head -c {size} /dev/zero >&2; head -c {size} /dev/zero"')
    assert (answer.stdout, answer.stderr) == (bytes(size), bytes(size))


def test_the_end_of_input_is_the_end_of_the_programs_input(ask: Ask) -> None:
    assert ask("wsl.exe -e wc -c", random.Random(1).randbytes(100_001)).stdout == b"100001\n"


def test_a_program_in_the_background_holds_nothing_up(ask: Ask) -> None:
    started_at = time.monotonic()
    assert ask('wsl.exe -e sh -c "sleep 30 & echo done"').stdout == b"done\n"
    assert time.monotonic() - started_at < 10


def test_a_program_gets_wsls_environment_and_nothing_of_ours(ask: Ask) -> None:
    lines = ask("wsl.exe -e env").stdout.decode().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    assert {"HOME": "/root", "USER": "root", "WSL_DISTRO_NAME": "Ubuntu"}.items() <= variables.items()
    assert not {name for name in variables if name.startswith(("SSH_", "MAW_", "WINE"))}


@pytest.mark.parametrize(
    ("wsl", "said", "status"),
    [
        ("access-denied", b"Access is denied.", 1),
        ("store-0x80070780", b"The file cannot be accessed by the system.", 1),
        ("local-system", "Error code: Wsl/Service/0x8004032E".encode("utf-16-le"), 255),
        ("missing", b"'wsl.exe' is not recognized as an internal or external command", 1),
    ],
)
def test_a_wsl_that_cannot_be_used_says_why(
    ask_either: Ask, either: WindowsNotebook, wsl: str, said: bytes, status: int
) -> None:
    either.configure(wsl=wsl)
    answer = ask_either(SSHD)
    assert said in answer.stdout + answer.stderr
    assert answer.returncode == status


def test_a_distro_of_another_account_is_not_seen(ask: Ask, windows: WindowsNotebook) -> None:
    windows.configure(distro_account="somebody else")
    assert ask(SSHD).stdout == NO_DISTRO.encode("utf-16-le")
    assert "no installed distributions" in ask("wsl.exe -l -v").stdout.decode("utf-16-le")


def test_installing_over_ssh_wants_a_window(ask: Ask) -> None:
    answer = ask("wsl.exe --install -d Ubuntu")
    assert "Wsl/0x800705b3" in answer.stdout.decode("utf-16-le")
    assert answer.returncode == 255


def test_lists_and_versions_are_told(ask: Ask, windows: WindowsNotebook) -> None:
    windows.add_distro("Debian")
    assert ask("wsl.exe -e true").returncode == 0
    table = ask("wsl.exe -l -v").stdout.decode("utf-16-le").splitlines()
    assert [line.split() for line in table] == [
        ["NAME", "STATE", "VERSION"],
        ["*", "Ubuntu", "Running", "2"],
        ["Debian", "Stopped", "2"],
    ]
    assert ask("wsl.exe --list --quiet").stdout.decode("utf-16-le") == "Ubuntu\r\nDebian\r\n"
    assert ask("wsl.exe --version").stdout.decode("utf-16-le").startswith("WSL version: 2.7.14.0\r\n")
    assert "Default Distribution: Ubuntu" in ask("wsl.exe --status").stdout.decode("utf-16-le")


def test_terminate_ends_all_that_runs_in_a_distro(
    client: Client,
    windows: WindowsNotebook,
    ask: Ask,
    lasting: str,
    running: Callable[[str], list[int]],
    within,
) -> None:
    argv = client.argv(windows, f"wsl.exe -e sleep {lasting}")
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as held:
        assert within(10, lambda: running(lasting))
        assert ask("wsl.exe --terminate Ubuntu").returncode == 0
        assert within(5, lambda: not running(lasting))
        assert held.communicate(timeout=10)[0].decode("utf-16-le").startswith("The service was terminated.")
        assert held.returncode == 255
    assert not windows.distro().running
    assert ask("wsl.exe -e echo again").stdout == b"again\n"


def test_an_instance_stops_when_its_last_client_has_gone(
    tmp_path: Path, client: Client, lasting: str, running: Callable[[str], list[int]], within
) -> None:
    with started(tmp_path / "nb", client, idle_seconds=1) as notebook:
        answer = subprocess.run(
            client.argv(
                notebook, f"wsl.exe -e sh -c 'setsid sleep {lasting} > /dev/null 2>&1 &'".replace("'", '"')
            ),
            capture_output=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        assert answer.stdout == b""
        assert within(5, lambda: running(lasting)), "what runs in the distro does not hold it up"
        with subprocess.Popen(client.argv(notebook, "wsl.exe -e cat"), stdin=subprocess.PIPE) as held:
            time.sleep(2)
            assert notebook.distro().running, "an open client does"
            assert running(lasting)
            assert held.stdin is not None
            held.stdin.close()
            assert held.wait(timeout=10) == 0
        assert within(5, lambda: not notebook.distro().running)
        assert within(5, lambda: not running(lasting))


def test_a_cold_start_takes_its_time(tmp_path: Path, client: Client) -> None:
    with started(tmp_path / "nb", client) as notebook:
        notebook.configure(cold_start_seconds=1)
        for least, most in ((1, 10), (0, 1)):
            begun = time.monotonic()
            argv = client.argv(notebook, "wsl.exe -e true", shared=True)
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            assert least <= time.monotonic() - begun < most


def test_signing_out_ends_what_the_persons_session_made(tmp_path: Path, client: Client, within) -> None:
    with started(tmp_path / "nb", client) as notebook:
        subprocess.run(client.argv(notebook, "wsl.exe -e true"), check=True, stdin=subprocess.DEVNULL)
        notebook.sign_in()
        notebook.sign_out()
        assert notebook.distro().running, "ssh came first: the instance is not the person's"
        subprocess.run(client.argv(notebook, "wsl.exe --shutdown"), check=True, stdin=subprocess.DEVNULL)
        assert not notebook.distro().running
        notebook.sign_in()
        with subprocess.Popen(client.argv(notebook, "wsl.exe -e sleep 60"), stdout=subprocess.PIPE) as held:
            time.sleep(1)
            notebook.sign_out()
            assert held.wait(timeout=10) == 255
