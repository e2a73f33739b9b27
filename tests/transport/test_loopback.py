"""The satellite on this machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from maw.errors import TransportError
from maw.transport.loopback import LoopbackSatellite, find_sshd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maw.transport.base import Transport

pytestmark = pytest.mark.usefixtures("satellite")


def test_it_listens_on_loopback_only(satellite: LoopbackSatellite) -> None:
    assert satellite._process is not None
    listening = [c for c in psutil.Process(satellite._process.pid).net_connections() if c.status == "LISTEN"]
    assert [(c.laddr.ip, c.laddr.port) for c in listening] == [("127.0.0.1", satellite.port)]


def test_its_private_keys_are_private(satellite: LoopbackSatellite) -> None:
    for name in ("client_key", "host_key"):
        assert (satellite.folder / name).stat().st_mode & 0o077 == 0


def test_it_gives_commands_a_home_of_its_own(
    satellite: LoopbackSatellite, ssh_kind: str, to_satellite: Callable[..., Transport]
) -> None:
    result = to_satellite(ssh_kind).run(["sh", "-c", "echo $HOME; cd; pwd"])
    assert result.stdout.decode().split() == [str(satellite.folder / "home")] * 2


def test_it_takes_no_password(satellite: LoopbackSatellite) -> None:
    import paramiko

    with socket.create_connection(("127.0.0.1", satellite.port)) as link:
        transport = paramiko.Transport(link)
        try:
            transport.start_client(timeout=5)
            with pytest.raises(paramiko.BadAuthenticationType) as caught:
                transport.auth_none("root")
            assert caught.value.allowed_types == ["publickey"]
        finally:
            transport.close()


def test_it_starts_again_in_the_same_folder_with_the_same_keys(tmp_path: Path, within: Callable) -> None:
    with LoopbackSatellite(tmp_path / "it") as first:
        keys, port = first.host_keys, first.port
        pid = first._process.pid if first._process else 0
    assert within(3, lambda: not psutil.pid_exists(pid))
    with LoopbackSatellite(tmp_path / "it", port=port) as second:
        assert second.host_keys == keys
        second.stop()
        second.stop()


def test_a_port_that_is_taken_is_said_so(satellite: LoopbackSatellite, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = LoopbackSatellite(tmp_path / "it", port=taken.getsockname()[1])
        with pytest.raises(TransportError, match=r"did not start.*"):
            server.start()
    del satellite


def test_a_folder_with_a_space_and_thai_does(tmp_path: Path) -> None:
    with LoopbackSatellite(tmp_path / "ดาวเทียม with space") as server:
        assert server.port


def test_without_sshd_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maw.transport.loopback._PLACES", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_sshd() is None
    with pytest.raises(TransportError, match="apt install openssh-server"):
        LoopbackSatellite(tmp_path / "it").start()
    assert list(tmp_path.iterdir()) == []
