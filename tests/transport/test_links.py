"""Links that cannot be made, that are cut, and what is left on the other side."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from maw.errors import (
    AuthenticationRefused,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    LinkLost,
    TransportError,
)
from maw.transport import keys
from maw.transport.base import Ending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maw.cli.workspace import Context
    from maw.transport.base import Transport
    from maw.transport.loopback import LoopbackSatellite

# A process that holds a transport and waits for a sleep, to be killed.
HOLDER = """
import sys
from pathlib import Path
from maw.cli.workspace import current
from maw.transport.local import LocalTransport
kind, seconds = sys.argv[1:]
context = current()
if kind == "local":
    transport = LocalTransport()
else:
    transport = context.transport(context.pick("loopback"), warm=kind == "fabric")
transport.run(["sh", "-c", f"trap '' HUP; sleep {seconds} & sleep {seconds}; sleep {seconds}"])
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.usefixtures("workspace")
def test_nothing_is_left_there_when_the_process_that_holds_the_transport_is_killed(
    kind: str, lasting: str, running: Callable[[str], list[int]], within: Callable
) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, kind, lasting], stdin=subprocess.DEVNULL)
    assert within(10, lambda: len(running(lasting)) >= 2)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert within(5, lambda: not running(lasting)), running(lasting)


def test_a_cut_connection_is_a_lost_link_and_stops_what_runs_there(
    ssh_kind: str,
    to_satellite: Callable[..., Transport],
    connections: Callable[[], list[psutil.Process]],
    lasting: str,
    running: Callable[[str], list[int]],
    within: Callable,
) -> None:
    transport = to_satellite(ssh_kind)

    def cut() -> None:
        within(10, lambda: running(lasting))
        for process in connections():
            process.kill()

    cutter = threading.Thread(target=cut)
    cutter.start()
    started = time.monotonic()
    with pytest.raises(LinkLost) as caught:
        transport.run(["sh", "-c", f"sleep {lasting}; sleep {lasting}"])
    assert time.monotonic() - started < 10
    assert "loopback" in str(caught.value)
    cutter.join()
    assert within(5, lambda: not running(lasting))
    assert transport.run(["echo", "again"]).stdout == b"again\n", "the transport connects anew"


def test_a_conversation_over_a_cut_connection_ends_with_a_lost_link(
    ssh_kind: str, to_satellite: Callable[..., Transport], connections: Callable[[], list[psutil.Process]]
) -> None:
    channel = to_satellite(ssh_kind).open(["cat"], on_stderr=lambda data: None)
    channel.send(b"hello")
    assert channel.receive() == b"hello"
    for process in connections():
        process.kill()
    assert channel.receive() == b""
    with contextlib.suppress(LinkLost, BrokenPipeError):
        for _ in range(50):
            channel.send(bytes(100_000))
            time.sleep(0.02)
        pytest.fail("a lost link takes no more input")
    with pytest.raises(LinkLost):
        channel.finish()


def test_a_link_that_is_cut_between_two_commands_is_made_anew(
    ssh_kind: str,
    to_satellite: Callable[..., Transport],
    connections: Callable[[], list[psutil.Process]],
    within: Callable,
) -> None:
    transport = to_satellite(ssh_kind)
    assert transport.run(["true"]).ok
    for process in connections():
        process.kill()
    assert within(5, lambda: not connections())
    with contextlib.suppress(LinkLost):  # noticed at the next command, or before it
        transport.run(["true"])
    assert transport.run(["echo", "again"]).stdout == b"again\n"


def test_a_killed_ssh_program_is_a_lost_link_and_no_killed_command(
    to_satellite: Callable[..., Transport],
    lasting: str,
    running: Callable[[str], list[int]],
    within: Callable,
) -> None:
    transport = to_satellite("openssh")

    def kill() -> None:
        within(10, lambda: running(lasting))
        for child in psutil.Process().children():
            if child.name() == "ssh" and lasting in " ".join(child.cmdline()):
                child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(LinkLost):
        transport.run(["sleep", lasting])
    killer.join()
    assert within(5, lambda: not running(lasting))


def test_the_guard_here_may_die_without_a_command_being_lost(within: Callable) -> None:
    from maw.transport.local import LocalTransport

    before = _guards()
    with LocalTransport() as transport:
        transport.run(["true"])
        (guard,) = _guards() - before
        guard.kill()
        guard.wait()
        assert transport.run(["echo", "here"]).stdout == b"here\n"


def test_two_first_commands_at_once_share_one_guard(
    kind: str, request: pytest.FixtureRequest, within: Callable
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from maw.transport.local import LocalTransport

    make = LocalTransport if kind == "local" else lambda: request.getfixturevalue("to_satellite")(kind)
    gate = threading.Barrier(6)
    before = _guards()
    with make() as transport:

        def one(_: int) -> Ending:
            gate.wait()
            return transport.run(["true"]).ending

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(one, range(6))) == {Ending(0)}
        # Of ssh, the program here carries the script in its arguments as well.
        assert len([process for process in _guards() - before if process.name() == "sh"]) == 1
    assert within(2, lambda: not _guards() - before)


def _guards() -> set[psutil.Process]:
    return {process for process in psutil.Process().children(recursive=True) if _is_guard(process)}


def _is_guard(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return "echo ready" in " ".join(process.cmdline())
    return False


@pytest.mark.parametrize("prepare", ["closed port", "silent port", "no such name"])
def test_a_host_that_does_not_answer_is_unreachable(
    ssh_kind: str, prepare: str, context: Context, to_satellite: Callable[..., Transport]
) -> None:
    fast = dataclasses.replace(context.settings.ssh, connect_seconds=1)
    object.__setattr__(context.settings, "ssh", fast)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        changes = {
            "closed port": {"port": _free_port()},
            "silent port": {"port": silent.getsockname()[1]},
            "no such name": {"addresses": ("no-such-host.invalid",)},
        }[prepare]
        started = time.monotonic()
        with pytest.raises(HostUnreachable) as caught:
            to_satellite(ssh_kind, **changes).run(["true"])
    assert time.monotonic() - started < 8
    assert "loopback cannot be reached at " + changes.get("addresses", ("127.0.0.1",))[0] in str(caught.value)


def test_a_port_that_is_no_ssh_server_is_unreachable(
    ssh_kind: str, to_satellite: Callable[..., Transport]
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(5)

        def slam() -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()

        thread = threading.Thread(target=slam)
        thread.start()
        try:
            with pytest.raises(HostUnreachable):
                to_satellite(ssh_kind, port=server.getsockname()[1]).run(["true"])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_host_without_a_pinned_key_is_not_spoken_to(
    ssh_kind: str, context: Context, tmp_path: Path, to_satellite: Callable[..., Transport]
) -> None:
    context.workspace.known_hosts.unlink()
    with pytest.raises(HostKeyUnknown) as caught:
        to_satellite(ssh_kind).run(["touch", str(tmp_path / "executed")])
    assert "cutter trust loopback --fingerprint" in str(caught.value)
    assert not (tmp_path / "executed").exists()


def _other_key(folder: Path, kind: str = "ed25519") -> keys.HostKey:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(folder / "other")], check=True)
    words = (folder / "other.pub").read_text("ascii").split()
    return keys.HostKey(words[0], words[1])


@pytest.mark.parametrize("key_kind", ["ed25519", "ecdsa"])
def test_a_changed_host_key_stops_everything_and_shows_both_fingerprints(
    ssh_kind: str,
    key_kind: str,
    context: Context,
    satellite: LoopbackSatellite,
    tmp_path: Path,
    to_satellite: Callable[..., Transport],
) -> None:
    pinned = _other_key(tmp_path, key_kind)
    keys.pin(context.workspace.known_hosts, "loopback", [pinned])
    with pytest.raises(HostKeyChanged) as caught:
        to_satellite(ssh_kind).run(["touch", str(tmp_path / "executed")])
    assert pinned.fingerprint in str(caught.value)
    assert satellite.host_keys[0].fingerprint in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_a_key_that_may_not_log_in_is_refused(
    ssh_kind: str, context: Context, tmp_path: Path, to_satellite: Callable[..., Transport]
) -> None:
    _other_key(tmp_path)
    with pytest.raises(AuthenticationRefused) as caught:
        to_satellite(ssh_kind, identity_file=str(tmp_path / "other")).run(
            ["touch", str(tmp_path / "executed")]
        )
    assert "loopback refused to log in root" in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_a_key_file_that_is_missing_is_refused(
    ssh_kind: str, tmp_path: Path, to_satellite: Callable[..., Transport]
) -> None:
    with pytest.raises(AuthenticationRefused):
        to_satellite(ssh_kind, identity_file=str(tmp_path / "missing")).run(["true"])


def test_a_key_with_a_password_is_refused_without_asking(
    ssh_kind: str, tmp_path: Path, to_satellite: Callable[..., Transport]
) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(tmp_path / "locked")], check=True
    )
    with pytest.raises(AuthenticationRefused):
        to_satellite(ssh_kind, identity_file=str(tmp_path / "locked")).run(["true"])


@pytest.mark.parametrize(
    "text", ["loopback ssh-ed25519 !!!\n", "loopback ssh-ed25519 AAAA\n", "loopback\n", "\0\xff"]
)
def test_a_damaged_file_of_pinned_keys_is_an_error_of_ours(
    ssh_kind: str, text: str, context: Context, tmp_path: Path, to_satellite: Callable[..., Transport]
) -> None:
    from maw.errors import MawError

    context.workspace.known_hosts.write_text(text, "latin-1")
    with pytest.raises(MawError):
        to_satellite(ssh_kind).run(["touch", str(tmp_path / "executed")])
    assert not (tmp_path / "executed").exists()


def test_a_login_shell_that_prints_is_said_so(
    ssh_kind: str, satellite: LoopbackSatellite, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    start_up = satellite.folder / "home" / ".bashrc"
    import getpass
    import pwd

    if not pwd.getpwnam(getpass.getuser()).pw_shell.endswith("bash"):
        pytest.skip("the login shell of this user is not bash")
    start_up.write_text("echo Welcome home\n")
    try:
        with pytest.raises(TransportError) as caught:
            request.getfixturevalue("to_satellite")(ssh_kind).run(["true"])
    finally:
        start_up.unlink()
    assert "Welcome home" in str(caught.value)


@pytest.mark.usefixtures("workspace")
def test_the_warm_link_sends_small_packets_at_once(to_satellite: Callable[..., Transport]) -> None:
    transport = to_satellite("fabric")
    link = transport.connection.transport.sock
    assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def _blackhole() -> tuple[socket.socket, list[socket.socket]]:
    """A port that never answers: its queue of connections is full, so that the kernel drops more."""
    server = socket.socket()
    server.bind(("127.0.0.9", 0))
    server.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(server.getsockname())
        fillers.append(filler)
    return server, fillers


@pytest.mark.parametrize("first", ["refuses", "drops"])
def test_the_second_address_is_used_when_the_first_is_dead(
    ssh_kind: str,
    first: str,
    satellite: LoopbackSatellite,
    tmp_path: Path,
    to_satellite: Callable[..., Transport],
) -> None:
    import shutil

    from maw.transport.loopback import LoopbackSatellite as Server

    hole, fillers = _blackhole()
    # Both addresses have one port, as they are of one host.
    port = hole.getsockname()[1]
    folder = tmp_path / "second"
    shutil.copytree(satellite.folder, folder)
    dead = "127.0.0.9" if first == "drops" else "127.0.0.8"
    try:
        with Server(folder, port=port, address="127.0.0.10"):
            started = time.monotonic()
            transport = to_satellite(ssh_kind, addresses=(dead, "127.0.0.10"), port=port)
            result = transport.run(["sh", "-c", "echo $SSH_CONNECTION"])
            taken = time.monotonic() - started
            transport.close()
    finally:
        for one in (hole, *fillers):
            one.close()
    assert result.stdout.split()[2] == b"127.0.0.10"
    assert taken < (2 if first == "drops" else 0) + 1.5


def test_no_address_that_answers_names_all_of_them(
    ssh_kind: str, to_satellite: Callable[..., Transport]
) -> None:
    with pytest.raises(HostUnreachable) as caught:
        to_satellite(ssh_kind, addresses=("127.0.0.8", "127.0.0.9"), port=_free_port()).run(["true"])
    assert "127.0.0.8, 127.0.0.9" in str(caught.value)


@pytest.mark.parametrize("persist", [0, 1])
def test_the_shared_connection_stays_no_longer_than_asked(
    persist: int,
    context: Context,
    to_satellite: Callable[..., Transport],
    connections: Callable[[], list[psutil.Process]],
    within: Callable,
) -> None:
    object.__setattr__(
        context.settings, "ssh", dataclasses.replace(context.settings.ssh, persist_seconds=persist)
    )
    with to_satellite("openssh") as transport:
        assert transport.run(["true"]).ok
        assert len(connections()) == 1
    assert within(3, lambda: not connections())


def test_the_second_transport_uses_the_shared_connection(
    to_satellite: Callable[..., Transport], connections: Callable[[], list[psutil.Process]]
) -> None:
    with to_satellite("openssh") as transport:
        assert transport.run(["true"]).ok
    before = [process.pid for process in connections()]
    with to_satellite("openssh") as transport:
        assert transport.run(["true"]).ok
        assert [process.pid for process in connections()] == before


@pytest.mark.parametrize("user", ["สมชาย", "วิชัย ใจดี"])
def test_a_user_with_a_thai_name_is_refused_by_name_and_not_by_accident(
    to_satellite: Callable[..., Transport], ssh_kind: str, user: str
) -> None:
    """No Unix has such a user, a Windows may."""
    with pytest.raises(AuthenticationRefused, match=user):
        to_satellite(ssh_kind, user=user).run(["true"])
