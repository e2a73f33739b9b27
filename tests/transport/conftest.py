"""Ways to the loopback satellite, and to this machine."""

from __future__ import annotations

import dataclasses
import subprocess
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from maw import config
from maw.cli.workspace import Context
from maw.config import SshSettings
from maw.transport import keys, ssh_config
from maw.transport.local import LocalTransport
from maw.transport.openssh import OpenSshTransport
from maw.transport.ssh import FabricTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from maw.config import Workspace
    from maw.topology import Host
    from maw.transport.base import Transport
    from maw.transport.loopback import LoopbackSatellite

SSH = {"openssh": OpenSshTransport, "fabric": FabricTransport}


@pytest.fixture
def context(workspace: Workspace) -> Context:
    return Context(workspace, config.load(workspace.config_file))


@pytest.fixture
def to_satellite(context: Context) -> Iterator[Callable[..., Transport]]:
    """`to_satellite("openssh" or "fabric", **changes of the host)`: a new transport, closed at the end."""
    opened: list[Transport] = []

    def make(kind: str, **changes: Any) -> Transport:
        host = dataclasses.replace(context.topology.host("loopback"), **changes)
        where = context.ssh_paths
        ssh_config.write([host], context.settings.ssh, where)
        transport = SSH[kind](host, where)
        opened.append(transport)
        return transport

    yield make
    for transport in opened:
        transport.close()


@pytest.fixture(params=["local", "openssh", "fabric"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["openssh", "fabric"])
def ssh_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def _kept(
    satellite: LoopbackSatellite, hosts_of_inventory: tuple[Host, ...], runtime_root: Path
) -> Iterator[dict[str, Transport]]:
    """The three transports, opened once: that they go on after every test is part of the test."""
    folder = runtime_root / "kept"
    folder.mkdir(mode=0o700)
    where = ssh_config.Paths(folder / "ssh_config", folder / "known_hosts", folder / "s")
    (host,) = hosts_of_inventory
    ssh_config.write([host], SshSettings(), where)
    keys.pin(where.known_hosts, host.name, satellite.host_keys)
    made: dict[str, Transport] = {"local": LocalTransport()}
    for name, kind in SSH.items():
        made[name] = kind(host, where)
    yield made
    for transport in made.values():
        transport.close()
    argv = ["ssh", "-F", str(where.config), "-O", "exit", host.name]
    subprocess.run(argv, capture_output=True, check=False, timeout=10)


@pytest.fixture
def transport(kind: str, _kept: dict[str, Transport]) -> Transport:
    """Each of the three transports."""
    return _kept[kind]


@pytest.fixture
def connections(satellite: LoopbackSatellite) -> Callable[[], list[psutil.Process]]:
    """The sshd processes that serve a connection which this test made."""
    assert satellite._process is not None
    server = psutil.Process(satellite._process.pid)
    before = {process.pid for process in server.children()}
    return lambda: [process for process in server.children() if process.pid not in before]
