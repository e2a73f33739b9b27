"""Asking one machine within a limit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from maw import files
from maw.errors import CommandNotFound, DiskFull, HostSilent, LinkLost
from maw.transport import ssh_config
from maw.transport.local import LocalTransport
from maw.transport.openssh import OpenSshTransport
from maw.transport.survey import HEAD_START, Survey, accepts, race

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from maw.cli.workspace import Context
    from maw.transport.loopback import LoopbackSatellite


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of every address of loopback that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen(50)
        yield server.getsockname()[1]


@pytest.fixture
def dropping() -> Iterator[int]:
    """A port of 127.0.0.9 that drops what comes, as a firewall does: its queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.9", 0))
        server.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def _soon(seconds: float) -> float:
    return time.monotonic() + seconds


def test_the_first_address_that_answers_is_taken(listening: int) -> None:
    begun = time.monotonic()
    assert race(("127.0.0.2", "127.0.0.3"), listening, _soon(5)) == (
        "127.0.0.2",
        {"127.0.0.2": "no answer", "127.0.0.3": "no answer"},
    )
    assert time.monotonic() - begun < 0.2


def test_an_address_that_refuses_costs_no_time(free_port: int, listening: int) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.5", 0))
        server.listen()
        begun = time.monotonic()
        chosen, reasons = race(("127.0.0.4", "127.0.0.5"), server.getsockname()[1], _soon(5))
    assert chosen == "127.0.0.5"
    assert reasons["127.0.0.4"] == "Connection refused"
    assert time.monotonic() - begun < 0.2


def test_an_address_that_drops_costs_a_moment_only(dropping: int) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.10", dropping))
        server.listen()
        begun = time.monotonic()
        chosen, _ = race(("127.0.0.9", "127.0.0.10"), dropping, _soon(5))
    assert chosen == "127.0.0.10"
    assert HEAD_START - 0.05 < time.monotonic() - begun < HEAD_START + 0.3


def test_none_that_answers_is_none_at_the_deadline(dropping: int) -> None:
    begun = time.monotonic()
    chosen, reasons = race(("127.0.0.9", "192.0.2.1.invalid"), dropping, _soon(0.5))
    assert chosen is None
    assert set(reasons) == {"127.0.0.9", "192.0.2.1.invalid"}
    assert all(reasons.values())
    assert time.monotonic() - begun < 1


def test_why_no_connection_is_taken_is_told(listening: int, dropping: int, free_port: int) -> None:
    assert accepts("127.0.0.1", listening, 1) is None
    assert accepts("127.0.0.1", free_port, 1) == "Connection refused"
    assert accepts("127.0.0.9", dropping, 0.2) == "timed out"


def _ssh_processes(config: Path) -> list[list[str]]:
    # The background master of a shared connection ([mux]) is meant to stay.
    found = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in found if str(config) in line and line[0] == "ssh"]


@pytest.mark.parametrize("shell", ["exec sleep {}", "sleep {} & wait", "trap '' TERM; sleep {}; :"])
def test_a_command_is_let_go_of_at_the_deadline_and_stopped_there(
    context: Context,
    shell: str,
    lasting: str,
    running: Callable[[str], list[int]],
    within: Callable[..., bool],
) -> None:
    begun = time.monotonic()
    host = context.topology.host("loopback")
    said: list[bytes] = []
    with (
        pytest.raises(LinkLost),
        OpenSshTransport(host, context.ssh_paths, deadline=begun + 1.5) as transport,
    ):
        transport.run(["sh", "-c", "echo begun; " + shell.format(lasting)], on_stdout=said.append)
    assert 1.4 < time.monotonic() - begun < 2.0
    assert said == [b"begun\n"], "what it said until then is there"
    assert _ssh_processes(context.ssh_paths.config) == []
    assert within(5, lambda: not running(lasting))


def test_one_that_never_stops_talking_is_late_all_the_same(context: Context) -> None:
    begun = time.monotonic()
    host, size = context.topology.host("loopback"), 0

    def count(data: bytes) -> None:
        nonlocal size
        size += len(data)

    with pytest.raises(LinkLost), OpenSshTransport(host, context.ssh_paths, deadline=begun + 1) as transport:
        transport.run(["yes"], on_stdout=count)
    assert time.monotonic() - begun < 2
    assert size > 0


def test_here_too_a_command_is_stopped_at_the_deadline(
    lasting: str, running: Callable[[str], list[int]], within: Callable[..., bool]
) -> None:
    begun = time.monotonic()
    with LocalTransport(deadline=begun + 0.5) as transport:
        result = transport.run(["sh", "-c", f"trap '' TERM; sleep {lasting}; sleep {lasting}"])
    assert not result.ok
    assert time.monotonic() - begun < 1.2
    assert within(5, lambda: not running(lasting))


def test_a_host_that_never_greets_is_silent_at_the_deadline(context: Context, listening: int) -> None:
    host = dataclasses.replace(context.topology.host("loopback"), port=listening)
    where = context.ssh_paths
    ssh_config.write([host], context.settings.ssh, where)
    begun = time.monotonic()
    with (
        pytest.raises(HostSilent, match="did not answer within 1 s"),
        OpenSshTransport(host, where, deadline=begun + 1) as transport,
    ):
        transport.run(["true"])
    assert 0.9 < time.monotonic() - begun < 1.5
    assert _ssh_processes(where.config) == []


def test_within_the_deadline_everything_is_as_without(context: Context) -> None:
    host = context.topology.host("loopback")
    with OpenSshTransport(host, context.ssh_paths, deadline=_soon(20)) as transport:
        assert transport.run(["echo", "สวัสดี"]).stdout.decode() == "สวัสดี\n"
        assert transport.run(["sh", "-c", "exit 9"]).ending.code == 9
    with LocalTransport(deadline=_soon(20)) as here:
        assert here.run(["echo", "a"]).stdout == b"a\n"
        with pytest.raises(CommandNotFound):
            here.run(["maw-no-such-program"])


def test_what_was_begun_on_the_way_is_ended_with_it(
    context: Context,
    tmp_path: Path,
    lasting: str,
    running: Callable[[str], list[int]],
    within: Callable[..., bool],
) -> None:
    # A proxy that cannot connect would stay until its own limit.
    config = tmp_path / "config"
    config.write_text(f"Host *\n  ProxyCommand sh -c 'sleep {lasting}; :'\n  ConnectTimeout 60\n")
    where = dataclasses.replace(context.ssh_paths, config=config)
    transport = OpenSshTransport(context.topology.host("loopback"), where, deadline=_soon(0.7))
    with pytest.raises(HostSilent), transport:
        transport.run(["true"])
    assert within(1, lambda: not running(lasting))


@pytest.mark.usefixtures("satellite")
def test_a_machine_that_falls_asleep_meanwhile_is_let_go_of(
    context: Context, satellite: LoopbackSatellite, connections: Callable[[], list[psutil.Process]]
) -> None:
    host = context.topology.host("loopback")
    with OpenSshTransport(host, context.ssh_paths) as transport:
        transport.run(["true"])
    asleep = [each for one in connections() for each in (one, *one.children(recursive=True))]
    assert asleep
    for process in asleep:
        process.suspend()
    try:
        begun = time.monotonic()
        with (
            pytest.raises(HostSilent),
            OpenSshTransport(host, context.ssh_paths, deadline=begun + 1) as late,
        ):
            late.run(["true"])
        assert time.monotonic() - begun < 1.5
        assert _ssh_processes(context.ssh_paths.config) == []
    finally:
        for process in asleep:
            process.resume()
    argv = ["ssh", "-F", str(context.ssh_paths.config), "-O", "exit", host.name]
    subprocess.run(argv, capture_output=True, check=False, env=os.environ)


def test_what_is_wrong_here_is_told_of_the_one_machine(
    context: Context, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = dataclasses.replace(
        context.topology.host("loopback"), addresses=("127.0.0.2", "127.0.0.3"), port=listening
    )
    survey = Survey(context.ssh_paths, context.settings.ssh, 2)
    alone = dataclasses.replace(host, addresses=("127.0.0.2",))
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", _no_space)
        assert isinstance(survey.ask(host).error, DiskFull)
        patch.setattr(subprocess, "Popen", _no_process)
        assert "Resource temporarily unavailable" in str(survey.ask(alone).error)
        assert "Resource temporarily unavailable" in str(survey.ask(None).error)


def _no_space(*_: object, **__: object) -> None:
    raise DiskFull(path="at-x", where="a disk")


def _no_process(*_: object, **__: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")
