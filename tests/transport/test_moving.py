"""A satellite that moves between networks is found again without editing anything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from maw.config import SshSettings
from maw.errors import HostUnreachable, TransportError
from maw.topology import Host
from maw.transport import addresses, keys, ssh_config
from maw.transport.loopback import LoopbackSatellite
from maw.transport.openssh import OpenSshTransport
from maw.transport.ssh import FabricTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from maw.transport.base import Transport

LAN, VPN = "127.0.0.8", "127.0.0.9"


class Traveller:
    """A satellite that listens at one of its two addresses."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._at: LoopbackSatellite | None = None
        self.go(LAN)

    def go(self, address: str | None) -> None:
        if self._at is not None:
            self._at.stop()
        self._at = None
        if address is not None:
            self._at = LoopbackSatellite(self._folder, name="mobile", address=address, port=self._port)
            self._at.start()

    @property
    def host(self) -> Host:
        key = str(self._folder / "client_key")
        return Host("mobile", (LAN, VPN), port=self._port, identity_file=key)


@pytest.fixture
def traveller(tmp_path: Path, free_port: int) -> Iterator[Traveller]:
    one = Traveller(tmp_path / "mobile", free_port)
    yield one
    one.go(None)


@pytest.fixture
def where(traveller: Traveller, home: Path) -> ssh_config.Paths:
    folder = home.parent / "w"
    folder.mkdir(mode=0o700)
    paths = ssh_config.Paths(folder / "ssh_config", folder / "known_hosts", folder / "s")
    assert traveller._at is not None
    keys.pin(paths.known_hosts, "mobile", traveller._at.host_keys)
    settings = SshSettings(probe_seconds=1, persist_seconds=0, keepalive_seconds=1)
    ssh_config.write([traveller.host], settings, paths)
    return paths


@pytest.fixture
def connect(ssh_kind: str, traveller: Traveller, where: ssh_config.Paths) -> Callable[[], Transport]:
    kind = {"openssh": OpenSshTransport, "fabric": FabricTransport}[ssh_kind]
    return lambda: kind(traveller.host, where)


def _address(transport: Transport) -> str:
    said = transport.run(["sh", "-c", "echo $SSH_CONNECTION"]).stdout.decode("ascii")
    return said.split()[2]


def test_it_is_found_at_the_other_address_although_the_first_is_remembered(
    traveller: Traveller, where: ssh_config.Paths, connect: Callable[[], Transport]
) -> None:
    with connect() as transport:
        assert _address(transport) == LAN
    assert addresses.chosen(where.sockets, traveller.host, seconds=60) == LAN
    traveller.go(VPN)
    with connect() as transport:
        assert _address(transport) == VPN
    assert addresses.chosen(where.sockets, traveller.host, seconds=60) == VPN


def test_a_transport_that_stays_open_finds_it_again(
    traveller: Traveller, connect: Callable[[], Transport]
) -> None:
    with connect() as transport:
        assert _address(transport) == LAN
        traveller.go(VPN)
        for _ in range(3):
            try:
                found = _address(transport)
                break
            except TransportError:
                time.sleep(0.2)
        assert found == VPN


def test_the_first_address_is_taken_again_when_the_memory_is_old(
    traveller: Traveller, where: ssh_config.Paths, connect: Callable[[], Transport]
) -> None:
    traveller.go(VPN)
    with connect() as transport:
        assert _address(transport) == VPN
    traveller.go(LAN)
    memory = addresses.memory(where.sockets, traveller.host)
    memory.write_text(f"{int(time.time()) - 61} {VPN}\n")
    with connect() as transport:
        assert _address(transport) == LAN


def test_nowhere_names_every_address_that_was_tried(
    traveller: Traveller, connect: Callable[[], Transport]
) -> None:
    with connect() as transport:
        assert _address(transport) == LAN
    traveller.go(None)
    with connect() as transport, pytest.raises(HostUnreachable, match=f"at {LAN}, {VPN}"):
        transport.run(["true"])
