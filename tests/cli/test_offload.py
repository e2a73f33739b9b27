"""`cutter offload`: exact arguments and bytes, the command's own exit code."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.config import Workspace
    from maw.transport.loopback import LoopbackSatellite

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.usefixtures("workspace")
PLACES = pytest.mark.parametrize("on", ["local", "loopback"])


def test_fifty_megabytes_go_there_and_back_byte_for_byte(cutter_command: Command, tmp_path: Path) -> None:
    data = os.urandom(50_000_000)
    line = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    with (tmp_path / "back").open("wb") as back:
        answer = cutter_command("offload", "--", "python3", "-c", line, stdin=data, stdout=back)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert hashlib.sha256((tmp_path / "back").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_auto_is_the_satellite_and_not_this_machine(
    cutter_command: Command, satellite: LoopbackSatellite
) -> None:
    answer = cutter_command("offload", "--", "sh", "-c", "echo $SSH_CONNECTION; echo err >&2")
    assert answer.stdout.split()[3] == str(satellite.port).encode()
    assert answer.stderr == b"err\n"
    assert (
        cutter_command("offload", "--on", "local", "--", "sh", "-c", "echo $SSH_CONNECTION").stdout == b"\n"
    )


@PLACES
def test_hostile_arguments_arrive_as_they_are(cutter_command: Command, on: str) -> None:
    words = [
        "--on",
        "$(id)",
        "a b",
        "it's",
        '"',
        "%PATH%",
        "&",
        "\n",
        "ไทย",
        "👩🏽‍💻",
        "\x1a",
        "",
        "-h",
        "\udcff",
    ]
    code = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    answer = cutter_command("offload", "--on", on, "--", sys.executable, "-c", code, *words)
    assert answer.stdout.split(b"\0") == [os.fsencode(word) for word in words]


@PLACES
@pytest.mark.parametrize("status", [1, 42, 255])
def test_the_exit_code_is_that_of_the_command(cutter_command: Command, on: str, status: int) -> None:
    answer = cutter_command("offload", "--on", on, "--", "sh", "-c", f"exit {status}")
    assert (answer.returncode, answer.stdout, answer.stderr) == (status, b"", b"")


@PLACES
def test_a_killed_command_has_the_code_of_a_shell(cutter_command: Command, on: str) -> None:
    assert cutter_command("offload", "--on", on, "--", "sh", "-c", "kill -KILL $$").returncode == 137


def test_a_command_that_is_not_there_has_its_own_code(cutter_command: Command) -> None:
    here = cutter_command("offload", "--on", "local", "--", "maw-no-such-program")
    assert (here.returncode, here.stdout) == (247, b"")
    assert b"cutter: local has no command maw-no-such-program." in here.stderr
    there = cutter_command("offload", "--", "maw-no-such-program")
    assert there.returncode == 127
    assert b"maw-no-such-program" in there.stderr


def test_json_holds_all_of_it(cutter_command: Command) -> None:
    answer = cutter_command(
        "offload", "--json", "--", "sh", "-c", "cat; printf '\\377' >&2; exit 3", stdin="ไทย".encode()
    )
    assert (answer.returncode, answer.stderr) == (3, b"")
    found = json.loads(answer.stdout)
    assert 0 <= found.pop("seconds") < 30
    assert found == {
        "schema": "maw.offload/1",
        "host": "loopback",
        "argv": ["sh", "-c", "cat; printf '\\377' >&2; exit 3"],
        "exit_status": 3,
        "signal": None,
        "stdout": "ไทย",
        "stderr_base64": base64.b64encode(b"\xff").decode(),
    }
    killed = json.loads(
        cutter_command("offload", "--on", "local", "--json", "--", "sh", "-c", "kill -TERM $$").stdout
    )
    assert (killed["exit_status"], killed["signal"]) == (None, "TERM")


@PLACES
def test_a_timeout_has_its_own_code_and_stops_the_command(
    cutter_command: Command, on: str, lasting: str, running: Callable, within: Callable
) -> None:
    answer = cutter_command(
        "offload", "--on", on, "--timeout", "0.5", "--", "sh", "-c", f"echo x; sleep {lasting}"
    )
    assert (answer.returncode, answer.stdout) == (246, b"x\n")
    assert b"cutter: sh took longer than 0.5 s on " in answer.stderr
    assert within(3, lambda: not running(lasting))


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x"])
def test_a_timeout_that_is_no_time_is_refused(cutter_command: Command, seconds: str) -> None:
    assert cutter_command("offload", "--timeout", seconds, "--", "true").returncode == 2


def test_a_timeout_longer_than_any_clock_is_none(cutter_command: Command) -> None:
    answer = cutter_command("offload", "--on", "local", "--timeout", "1e300", "--", "echo", "x")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"x\n", b"")


@PLACES
def test_a_reader_that_has_enough_ends_it_quietly(
    cutter_argv: list[str], on: str, lasting: str, running: Callable, within: Callable
) -> None:
    script = '"$@" | head -c1; printf " %s" "${PIPESTATUS[0]}"'
    command = ["offload", "--on", on, "--", "sh", "-c", f"sleep {lasting} & exec yes"]
    started = time.monotonic()
    answer = subprocess.run(
        ["bash", "-c", script, "bash", *cutter_argv, *command],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    assert (answer.stdout, answer.stderr) == (b"y 141", b"")
    assert time.monotonic() - started < 6
    assert within(3, lambda: not running(lasting))


@PLACES
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["plain", "json"])
def test_a_full_standard_output_is_a_failure(
    cutter_command: Command, on: str, options: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("wb") as full:
        answer = cutter_command("offload", "--on", on, *options, "--", "echo", "x", stdout=full)
    assert answer.returncode == 13
    assert answer.stderr.decode().startswith("cutter: the output could not be written: No space left")
    assert answer.stderr.count(b"\n") == 1


def test_full_standard_errors_are_a_failure(cutter_command: Command) -> None:
    with Path("/dev/full").open("wb") as full:
        answer = cutter_command("offload", "--on", "local", "--", "sh", "-c", "echo x >&2", stderr=full)
    assert answer.returncode == 13


@PLACES
def test_a_closed_standard_output_harms_nothing_else(cutter_argv: list[str], on: str, tmp_path: Path) -> None:
    argv = [*cutter_argv, "offload", "--on", on, "--", "sh", "-c", "echo out; echo err >&2; exit 4"]
    answer = subprocess.run(["sh", "-c", 'exec "$@" <&- >&-', "sh", *argv], capture_output=True, check=False)
    assert (answer.returncode, answer.stderr) == (4, b"err\n")


@PLACES
def test_an_interrupt_is_130_and_leaves_nothing(
    cutter_argv: list[str], on: str, lasting: str, running: Callable, within: Callable
) -> None:
    process = subprocess.Popen(
        [*cutter_argv, "offload", "--on", on, "--", "sh", "-c", f"sleep {lasting}; sleep {lasting}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert within(10, lambda: running(lasting))
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, b"")
    assert said.strip().decode().startswith("cutter: Interrupted")
    assert len(said.strip().splitlines()) == 1
    assert within(3, lambda: not running(lasting))
    assert _processes_of_session(process.pid) == []


@PLACES
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_stop_by_the_system_leaves_nothing(
    cutter_argv: list[str], on: str, number: int, lasting: str, running: Callable, within: Callable
) -> None:
    process = subprocess.Popen(
        [*cutter_argv, "offload", "--on", on, "--", "sleep", lasting],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert within(10, lambda: running(lasting))
    process.send_signal(number)
    assert process.wait(timeout=10) != 0
    assert within(5, lambda: not running(lasting))


def _processes_of_session(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ProcessLookupError):
            if os.getsid(int(entry.name)) == session:
                found.append(int(entry.name))
    return found


def test_output_comes_as_it_is_made(cutter_argv: list[str]) -> None:
    argv = [*cutter_argv, "offload", "--", "sh", "-c", "echo first; read answer; echo $answer"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        process.stdin.write(b"second\n")
        process.stdin.flush()
        assert process.stdout.read() == b"second\n"


def test_without_a_satellite_auto_says_what_to_do(cutter_command: Command, workspace: Workspace) -> None:
    (workspace.inventory / "hosts.yml").write_text(
        "core:\n  hosts:\n    server: {maw_addresses: [192.0.2.1]}\n"
    )
    answer = cutter_command("offload", "--", "true")
    assert (answer.returncode, answer.stdout) == (2, b"")
    assert b"--on local" in answer.stderr


def test_an_example_host_is_never_contacted(cutter_command: Command, workspace: Workspace) -> None:
    template = Path(__file__).parent.parent.parent / "maw" / "templates" / "inventory" / "hosts.yml"
    (workspace.inventory / "hosts.yml").write_bytes(template.read_bytes())
    answer = cutter_command("offload", "--on", "notebook", "--", "true")
    assert answer.returncode == 2
    assert b"still has the example's address 192.168.1.146" in answer.stderr
    assert cutter_command("offload", "--on", "notebok", "--", "true").returncode == 2


def test_a_host_that_is_down_is_said_so(cutter_command: Command, workspace: Workspace) -> None:
    (workspace.inventory / "hosts.yml").write_text(
        "satellites:\n  hosts:\n    down: {maw_addresses: [127.0.0.1], ansible_port: 1}\n"
    )
    answer = cutter_command("offload", "--", "true")
    assert (answer.returncode, answer.stdout) == (241, b"")
    assert answer.stderr.decode().startswith("cutter: down cannot be reached at 127.0.0.1: ")
    assert answer.stderr.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [(), ("--",), ("--", "")], ids=repr)
def test_no_command_is_refused(cutter_command: Command, arguments: tuple[str, ...]) -> None:
    assert cutter_command("offload", "--on", "local", *arguments).returncode == 2
