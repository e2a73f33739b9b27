"""One contract for the three ways to a host."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from maw.errors import CommandNotFound, CommandTimedOut, LinkLost, Misuse
from maw.transport.base import Ending
from maw.transport.local import LocalTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.transport.base import Transport

SHOW = "import os,sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
HOSTILE = [
    "",
    " ",
    "two words",
    "it's",
    '"quoted"',
    "$(id)",
    "`id`",
    "$HOME ${HOME} $$",
    "%PATH% %",
    "a&b && c | d ; e > f < g",
    "line\nbreak\r\n\ttab",
    "trailing\\",
    "\\n \\\\",
    "*?[a-z]{a,b}~",
    "!history",
    "#comment",
    "ไทย บันทึกไฟดับ",
    "👩🏽‍💻🏴‍☠️",
    "before\x1aafter",
    "\x01\x07\x1b[31m\x7f",
    "-",
    "--",
    "-oProxyCommand=id",
    "--version",
    b"\xff\xfe\x80 not UTF-8 \xc3".decode("utf-8", "surrogateescape"),
    "\u202eabc\u2066",
]


def _python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def _arguments_seen(transport: Transport, arguments: list[str]) -> list[bytes]:
    result = transport.run(_python(SHOW, *arguments))
    assert result.ok, result.stderr
    return result.stdout.split(b"\0")


def test_arguments_arrive_byte_for_byte(transport: Transport) -> None:
    assert _arguments_seen(transport, HOSTILE) == [os.fsencode(argument) for argument in HOSTILE]


def test_half_a_megabyte_of_arguments_arrives(transport: Transport) -> None:
    large = [character * 100_000 for character in ("a", " ", "'", "\n")] + ["ไ" * 30_000, *HOSTILE]
    assert _arguments_seen(transport, large) == [os.fsencode(argument) for argument in large]


def test_long_commands_have_standard_input_and_default_signals_like_short_ones(transport: Transport) -> None:
    # Python itself ignores SIGPIPE; grep shows what it was started with.
    script = 'grep SigIgn /proc/self/status; wc -c; : "$1"'
    data = os.urandom(300_000)
    short = transport.run(["sh", "-c", script, "sh", "x"], stdin=data)
    long = transport.run(["sh", "-c", script, "sh", "x" * 120_000], stdin=data)
    assert short.stdout == long.stdout
    assert long.stdout.split()[-1] == b"300000"


def test_a_long_command_that_is_missing_ends_with_127(
    ssh_kind: str, to_satellite: Callable[..., Transport]
) -> None:
    result = to_satellite(ssh_kind).run(["maw-no-such-program", "x" * 120_000])
    assert result.ending.code == 127
    assert b"maw-no-such-program" in result.stderr


@pytest.mark.parametrize("argv", [[], [""], "ls"], ids=repr)
def test_an_empty_command_is_refused(transport: Transport, argv: list[str]) -> None:
    with pytest.raises(Misuse):
        transport.run(argv)


@pytest.mark.parametrize("argument", ["a\0b", "\ud800"], ids=ascii)
def test_an_argument_that_no_system_can_pass_is_refused(transport: Transport, argument: str) -> None:
    with pytest.raises(Misuse):
        transport.run(["echo", argument])


def test_an_argument_too_long_for_this_system_is_refused_here() -> None:
    with LocalTransport() as local, pytest.raises(Misuse, match="too long"):
        local.run(["true", "x" * 200_000])


def test_binary_input_comes_back_byte_for_byte(transport: Transport) -> None:
    data = os.urandom(5_000_000)
    assert transport.run(["cat"], stdin=data).stdout == data


def test_input_from_a_file_comes_back_byte_for_byte(transport: Transport) -> None:
    data = bytes(range(256)) * 10_000
    assert transport.run(["cat"], stdin=io.BytesIO(data)).stdout == data


def test_no_input_is_empty_input(transport: Transport) -> None:
    for stdin in (None, b""):
        result = transport.run(["cat"], stdin=stdin, timeout=20)
        assert (result.stdout, result.stderr, result.ending) == (b"", b"", Ending(0))


class _Broken:
    """An input that fails half-way, as a disk may."""

    def read(self, size: int, /) -> bytes:
        raise OSError(5, "Input/output error")


def test_an_input_that_cannot_be_read_is_an_error_and_no_hang(
    transport: Transport, lasting: str, running: Callable[[str], list[int]], within: Callable
) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        transport.run(["sh", "-c", f"cat; sleep {lasting}"], stdin=_Broken(), timeout=30)
    assert within(5, lambda: not running(lasting))


def test_output_and_errors_are_kept_apart(transport: Transport) -> None:
    result = transport.run(["sh", "-c", "printf out; printf err >&2; printf out; printf err >&2"])
    assert (result.stdout, result.stderr) == (b"outout", b"errerr")
    assert (result.host, result.ok) == (transport.host, True)


@pytest.mark.parametrize("stream", ["on_stdout", "on_stderr"])
def test_a_sink_gets_everything_as_it_comes(transport: Transport, stream: str) -> None:
    came: list[tuple[bytes, float]] = []
    where = "" if stream == "on_stdout" else "exec >&2; "
    result = transport.run(
        ["sh", "-c", f"{where}echo first; sleep 0.4; echo last"],
        **{stream: lambda data: came.append((data, time.monotonic()))},
    )
    ended = time.monotonic()
    assert b"".join(data for data, _ in came) == b"first\nlast\n"
    assert came[0][0] == b"first\n"
    assert ended - came[0][1] >= 0.3
    assert (result.stdout, result.stderr) == (b"", b"")


def test_errors_after_the_output_was_closed_are_not_lost(transport: Transport) -> None:
    code = (
        "import os,sys,time; os.write(1, b'out'); os.close(1); time.sleep(0.2)\n"
        "for _ in range(300): os.write(2, b'e' * 10_000)\n"
        "sys.exit(3)"
    )
    result = transport.run(_python(code), timeout=20)
    assert (result.stdout, len(result.stderr), result.ending) == (b"out", 3_000_000, Ending(3))


def test_exit_statuses_come_through(transport: Transport) -> None:
    for status in (0, 1, 42, 126, 127, 130, 255):
        result = transport.run(["sh", "-c", f"exit {status}"])
        assert result.ending == Ending(status)
        assert result.ending.code == status
        assert result.ok == (status == 0)


def test_signals_come_through(transport: Transport, kind: str) -> None:
    for name, number in (("KILL", 9), ("TERM", 15), ("SEGV", 11)):
        ending = transport.run(["sh", "-c", f"kill -{name} $$"]).ending
        assert ending == (Ending(128 + number) if kind == "openssh" else Ending(None, name))
        assert ending.code == 128 + number


def test_a_signal_leaves_no_remark_of_a_shell_among_the_errors(transport: Transport) -> None:
    assert transport.run(["sh", "-c", "echo mine >&2; kill -KILL $$"]).stderr == b"mine\n"


def test_an_unknown_command_is_127_there_and_named_here(transport: Transport, kind: str) -> None:
    if kind == "local":
        with pytest.raises(CommandNotFound, match="maw-no-such-program"):
            transport.run(["maw-no-such-program"])
    else:
        result = transport.run(["maw-no-such-program"])
        assert result.ending == Ending(127)
    assert transport.run(["true"]).ok


def test_a_file_that_may_not_run_is_said_so(transport: Transport, kind: str) -> None:
    from maw.errors import TransportError

    if kind == "local":
        with pytest.raises(TransportError, match="Permission denied"):
            transport.run(["/etc/passwd"])
    else:
        assert transport.run(["/etc/passwd"]).ending == Ending(126)


def test_a_command_that_ignores_its_input_ends_by_itself(transport: Transport) -> None:
    assert transport.run(["true"], stdin=bytes(8_000_000), timeout=20).ending == Ending(0)
    assert transport.run(
        ["sh", "-c", "exec <&-; sleep 0.2; exit 7"], stdin=bytes(8_000_000)
    ).ending == Ending(7)


def test_a_child_that_keeps_the_input_open_does_not_hold_the_command(
    transport: Transport, lasting: str, running: Callable[[str], list[int]], within: Callable
) -> None:
    script = f"exec 3<&0; sleep {lasting} <&3 >/dev/null 2>&1 & exit 5"
    started = time.monotonic()
    assert transport.run(["sh", "-c", script], stdin=bytes(4_000_000), timeout=30).ending == Ending(5)
    assert time.monotonic() - started < 8
    for pid in within(2, lambda: running(lasting)):
        os.kill(pid, 9)


def test_five_megabytes_of_errors_without_output_do_not_deadlock(transport: Transport) -> None:
    result = transport.run(_python("import sys; sys.stderr.write('e' * 5_000_000)"), timeout=30)
    assert (len(result.stderr), result.stdout, result.ending) == (5_000_000, b"", Ending(0))


def test_output_and_errors_of_megabytes_at_once_do_not_deadlock(transport: Transport) -> None:
    code = "import os\nfor _ in range(400): os.write(1, b'o' * 10_000); os.write(2, b'e' * 10_000)"
    result = transport.run(_python(code), stdin=bytes(3_000_000), timeout=30)
    assert (len(result.stdout), len(result.stderr)) == (4_000_000, 4_000_000)


STUBBORN = """trap '' TERM HUP INT
sleep {0} & setsid sleep {0} &
(trap '' TERM; sleep {0}; sleep {0}) &
sleep {0}; sleep {0}"""


def test_a_timeout_stops_all_its_processes_there_even_stubborn_ones(
    transport: Transport, lasting: str, running: Callable[[str], list[int]], within: Callable
) -> None:
    started = time.monotonic()
    with pytest.raises(CommandTimedOut) as caught:
        transport.run(["sh", "-c", STUBBORN.format(lasting)], timeout=0.7)
    assert "sh took longer than 0.7 s" in str(caught.value)
    assert time.monotonic() - started < 6
    assert within(3, lambda: not running(lasting)), running(lasting)


def test_a_timeout_gives_the_command_time_to_tidy_up(transport: Transport) -> None:
    took: list[bytes] = []
    script = "trap 'echo tidied; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    with pytest.raises(CommandTimedOut):
        transport.run(["sh", "-c", script], timeout=0.7, on_stdout=took.append)
    assert b"".join(took) == b"ready\ntidied\n"


def test_a_timeout_of_one_run_leaves_the_other_alone(transport: Transport, lasting: str) -> None:
    with ThreadPoolExecutor() as pool:
        other = pool.submit(transport.run, ["sh", "-c", "sleep 1.5; echo whole"])
        with pytest.raises(CommandTimedOut):
            transport.run(["sleep", lasting], timeout=0.5)
        assert other.result().stdout == b"whole\n"


def test_a_sink_that_fails_stops_the_command(
    transport: Transport, lasting: str, running: Callable[[str], list[int]], within: Callable
) -> None:
    def refuse(data: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        transport.run(["sh", "-c", f"echo x; sleep {lasting}"], on_stdout=refuse)
    assert within(4, lambda: not running(lasting))


def test_a_sink_for_errors_that_fails_stops_the_command(
    transport: Transport, lasting: str, running: Callable[[str], list[int]], within: Callable
) -> None:
    def refuse(data: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        transport.run(["sh", "-c", f"echo x >&2; sleep {lasting}"], on_stderr=refuse, timeout=20)
    assert within(4, lambda: not running(lasting))


def test_many_runs_at_once_do_not_mix(transport: Transport) -> None:
    gate = threading.Barrier(8)

    def one(number: int) -> bytes:
        gate.wait()
        return transport.run(["sh", "-c", f"cat; echo {number}"], stdin=b"%d " % number * 20_000).stdout

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert answers == [b"%d " % number * 20_000 + b"%d\n" % number for number in range(8)]


def test_many_commands_that_exit_with_255_at_once_are_no_lost_link(transport: Transport) -> None:
    transport.run(["true"])
    with ThreadPoolExecutor(8) as pool:
        endings = list(pool.map(lambda _: transport.run(["sh", "-c", "exit 255"]).ending, range(16)))
    assert endings == [Ending(255)] * 16


def test_conversations_go_on_side_by_side(transport: Transport) -> None:
    channels = [transport.open(["cat"], on_stderr=lambda data: None) for _ in range(3)]
    for turn in range(20):
        for number, channel in enumerate(channels):
            line = b"%d of %d\n" % (turn, number)
            channel.send(line)
            heard = b""
            while not heard.endswith(b"\n"):
                heard += channel.receive()
            assert heard == line
    for channel in channels:
        channel.end_input()
        assert channel.receive() == b""
        assert channel.finish() == Ending(0)


def test_a_conversation_can_be_sent_and_received_by_two_threads(transport: Transport) -> None:
    data = os.urandom(3_000_000)
    channel = transport.open(["cat"], on_stderr=lambda chunk: None)

    def give() -> None:
        for start in range(0, len(data), 7_000):
            channel.send(data[start : start + 7_000])
        channel.end_input()

    sender = threading.Thread(target=give)
    sender.start()
    heard = []
    while chunk := channel.receive():
        heard.append(chunk)
    sender.join()
    assert b"".join(heard) == data
    assert channel.finish() == Ending(0)


def test_a_conversation_can_be_stopped(
    transport: Transport, lasting: str, running: Callable[[str], list[int]], within: Callable
) -> None:
    channel = transport.open(["sleep", lasting], on_stderr=lambda data: None)
    assert within(3, lambda: running(lasting))
    channel.stop()
    assert channel.receive() == b""
    assert channel.finish().code == 128 + 15
    assert not running(lasting)


def test_what_still_runs_is_stopped_when_the_transport_is_closed(
    kind: str,
    request: pytest.FixtureRequest,
    lasting: str,
    running: Callable[[str], list[int]],
    within: Callable,
) -> None:
    transport = LocalTransport() if kind == "local" else request.getfixturevalue("to_satellite")(kind)
    channel = transport.open(["sh", "-c", f"sleep {lasting}; sleep {lasting}"], on_stderr=lambda data: None)
    assert within(3, lambda: running(lasting))
    transport.close()
    assert within(5, lambda: not running(lasting))
    while channel.receive():
        pass
    with contextlib.suppress(LinkLost):
        assert channel.finish().code == 128 + 15


def test_the_command_sees_no_terminal_and_no_marks_but_one(transport: Transport) -> None:
    result = transport.run(["sh", "-c", "tty; env | grep -c ^MAW_"])
    assert result.stdout == b"not a tty\n1\n"


@pytest.mark.parametrize("kind", ["local", "fabric"], indirect=True)
def test_a_timeout_is_kept_even_by_what_no_guard_can_find(
    transport: Transport, lasting: str, running: Callable[[str], list[int]]
) -> None:
    """Without the environment's mark, and in a session of its own, it is nobody's: sudo does so."""
    started = time.monotonic()
    with pytest.raises(CommandTimedOut):
        transport.run(["setsid", "--wait", "env", "-i", "sleep", lasting], timeout=0.3)
    assert time.monotonic() - started < 7
    for pid in running(lasting):
        os.kill(pid, 9)
