"""Which of several addresses is taken, how long it is remembered, and how it is forgotten."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from maw.config import SshSettings
from maw.errors import CannotWrite
from maw.topology import Host
from maw.transport import addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LAN, VPN = "127.0.0.8", "127.0.0.9"


@pytest.fixture
def sockets(tmp_path: Path) -> Path:
    folder = tmp_path / "sockets"
    folder.mkdir(mode=0o700)
    addresses.install(folder)
    return folder


@pytest.fixture
def listening(free_port: int) -> Iterator[Callable[[str], socket.socket]]:
    """`listening(address)`: something that takes connections there, on the host's port."""
    opened = []

    def listen(address: str) -> socket.socket:
        server = socket.create_server((address, free_port))
        opened.append(server)
        return server

    yield listen
    for server in opened:
        server.close()


@pytest.fixture
def host(free_port: int) -> Host:
    return Host("mobile", (LAN, VPN), port=free_port)


def _taken(sockets: Path, host: Host, seconds: int = 60) -> str | None:
    """The address that the generated config would take: the first whose probe ends well."""
    settings = SshSettings(remember_seconds=seconds, probe_seconds=1)
    for address in host.addresses:
        command = addresses.probe(addresses.memory(sockets, host), settings, address, host.port)
        if subprocess.run(["sh", "-c", command], check=False).returncode == 0:
            return address
    return None


def test_the_first_address_that_answers_is_taken(sockets: Path, host: Host, listening) -> None:
    listening(VPN)
    assert addresses.chosen(sockets, host, seconds=60) is None
    assert _taken(sockets, host) == VPN
    assert addresses.chosen(sockets, host, seconds=60) == VPN


def test_the_choice_is_kept_for_the_time_set_although_a_better_one_answers_now(
    sockets: Path, host: Host, listening
) -> None:
    listening(VPN)
    assert _taken(sockets, host) == VPN
    listening(LAN)
    assert _taken(sockets, host) == VPN
    memory = addresses.memory(sockets, host)
    memory.write_text(f"{int(time.time()) - 61} {VPN}\n")
    assert addresses.chosen(sockets, host, seconds=60) is None
    assert _taken(sockets, host) == LAN


def test_a_host_that_moved_is_found_again_when_it_is_forgotten(sockets: Path, host: Host, listening) -> None:
    at_home = listening(LAN)
    assert _taken(sockets, host) == LAN
    at_home.close()
    listening(VPN)
    assert _taken(sockets, host) == LAN, "remembered"
    assert addresses.forget(sockets, host)
    assert _taken(sockets, host) == VPN
    assert addresses.forget(sockets, host)
    assert not addresses.forget(sockets, host), "there is nothing to forget"


def test_nobody_answers_and_nothing_is_remembered(sockets: Path, host: Host) -> None:
    assert _taken(sockets, host) is None
    assert addresses.chosen(sockets, host, seconds=60) is None


def test_zero_seconds_look_each_time(sockets: Path, host: Host, listening) -> None:
    listening(VPN)
    assert _taken(sockets, host, seconds=0) == VPN
    assert not addresses.memory(sockets, host).exists()


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"\n",
        b"x",
        b"\xff\xfe\x00",
        b"99999999999 " + LAN.encode(),
        b"-5 " + LAN.encode(),
        b"1 2 3",
        b"$(id) " + LAN.encode(),
        b"0" * 100_000,
    ],
    ids=lambda kept: ascii(kept[:20]),
)
def test_a_damaged_memory_or_one_of_the_future_is_not_believed(
    sockets: Path, host: Host, listening, kept: bytes
) -> None:
    """The future: the clock was ten years ahead when the choice was made."""
    listening(VPN)
    addresses.memory(sockets, host).write_bytes(kept)
    assert addresses.chosen(sockets, host, seconds=60) is None
    assert _taken(sockets, host) == VPN


def test_a_changed_inventory_forgets(sockets: Path, host: Host) -> None:
    other = Host("mobile", (VPN, LAN), port=host.port)
    assert addresses.memory(sockets, host) != addresses.memory(sockets, other)
    addresses.memory(sockets, host).write_text(f"{int(time.time())} 192.0.2.99\n")
    assert addresses.chosen(sockets, host, seconds=60) is None, "no address of this host"


def test_a_host_with_one_address_is_always_there(sockets: Path) -> None:
    one = Host("fixed", (LAN,))
    assert addresses.chosen(sockets, one, seconds=60) == LAN
    assert not addresses.forget(sockets, one)


def test_several_at_once_take_the_same(sockets: Path, host: Host, listening) -> None:
    listening(VPN)
    settings = SshSettings(probe_seconds=1)
    command = addresses.probe(addresses.memory(sockets, host), settings, VPN, host.port)
    started = [subprocess.Popen(["sh", "-c", command]) for _ in range(20)]
    assert [process.wait(timeout=20) for process in started] == [0] * 20
    assert sorted(path.name for path in sockets.iterdir()) == sorted(
        [addresses.PROGRAM, addresses.memory(sockets, host).name]
    )


def test_the_program_is_put_back_when_it_is_missing_or_damaged(sockets: Path) -> None:
    path = sockets / addresses.PROGRAM
    before = path.stat()
    addresses.install(sockets)
    assert path.stat().st_ino == before.st_ino
    for damage in (b"", b"\xff"):
        path.write_bytes(damage)
        addresses.install(sockets)
        assert path.read_text("utf-8") == addresses.SCRIPT


def test_a_folder_that_cannot_be_written_is_said_so(unprivileged: Path) -> None:
    folder = unprivileged / "sockets"
    folder.mkdir(mode=0o500)
    assert os.access(folder, os.W_OK) is False or os.geteuid() != 0
    with pytest.raises(CannotWrite):
        addresses.install(folder)
