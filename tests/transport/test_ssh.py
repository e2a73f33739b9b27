"""Fabric and paramiko stop at this room: their errors, their defaults, their remarks."""

from __future__ import annotations

import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import psutil
import pytest
from paramiko import ssh_exception

from maw import topology
from maw.config import SshSettings
from maw.errors import AuthenticationRefused, CommandTimedOut, HostKeyChanged, HostUnreachable, MawError
from maw.topology import Host
from maw.transport import ssh_config
from maw.transport.ssh import FabricTransport, translate

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.transport.base import Transport

HOST = Host("notebook", ("192.0.2.7", "10.0.0.7"))
FOREIGN = [
    kind
    for name, kind in inspect.getmembers(ssh_exception, inspect.isclass)
    if issubclass(kind, Exception) and not name.startswith("_")
]


def _example(kind: type[Exception]) -> Exception:
    arguments = {
        "BadAuthenticationType": ("bad type", ["publickey"]),
        "BadHostKeyException": ("notebook", paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()),
        "ChannelException": (1, "administratively prohibited"),
        "NoValidConnectionsError": ({("192.0.2.7", 22): ConnectionRefusedError()},),
        "PartialAuthentication": (["password"],),
        "ProxyCommandFailure": ("nc", "no such file"),
    }
    return kind(*arguments.get(kind.__name__, ("some words",)))


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
def test_every_error_of_paramiko_has_a_translation(kind: type[Exception], tmp_path: Path) -> None:
    error = translate(_example(kind), HOST, user="root", known_hosts=tmp_path / "known_hosts")
    assert isinstance(error, MawError), kind
    assert "notebook" in str(error)
    if issubclass(kind, ssh_exception.AuthenticationException):
        assert type(error) is AuthenticationRefused
    if kind is ssh_exception.BadHostKeyException:
        assert type(error) is HostKeyChanged


def test_there_are_errors_of_paramiko_to_translate() -> None:
    assert len(FOREIGN) >= 12


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError("timed out"),
        socket.gaierror(-2, "Name or service not known"),
        EOFError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_system_mean_that_the_host_is_unreachable(error: Exception, tmp_path: Path) -> None:
    translated = translate(error, HOST, user="root", known_hosts=tmp_path / "known_hosts")
    assert type(translated) is HostUnreachable
    assert "192.0.2.7, 10.0.0.7" in str(translated)


def test_what_is_unknown_stays_as_it_is(tmp_path: Path) -> None:
    bug = ZeroDivisionError()
    assert translate(bug, HOST, user="root", known_hosts=tmp_path / "known_hosts") is bug


SPEAKING = """
import sys
import threading
from maw.cli.workspace import current
from maw.errors import MawError
context = current()
import dataclasses, socket, threading
server = socket.create_server(("127.0.0.1", 0))
def slam():
    while True:
        connection, _ = server.accept()
        connection.sendall(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")
        connection.close()
threading.Thread(target=slam, daemon=True).start()
from maw.transport import ssh_config
from maw.transport.ssh import FabricTransport
host = dataclasses.replace(context.topology.host("loopback"), port=server.getsockname()[1])
where = context.ssh_paths
ssh_config.write([host], context.settings.ssh, where)
try:
    FabricTransport(host, where).run(["true"])
except MawError as error:
    print(type(error).__name__)
"""


@pytest.mark.usefixtures("workspace")
def test_paramiko_prints_nothing_of_its_own() -> None:
    answer = subprocess.run([sys.executable, "-c", SPEAKING], capture_output=True, check=False, timeout=30)
    assert (answer.stdout, answer.stderr) == (b"HostUnreachable\n", b"")


def test_no_connection_is_left_after_a_refusal(
    to_satellite: Callable[..., Transport], connections: Callable[[], list], within: Callable, tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    transport = to_satellite("fabric", identity_file=str(tmp_path / "other"))
    with pytest.raises(AuthenticationRefused):
        transport.run(["true"])
    assert within(3, lambda: not connections())


def test_the_keys_and_agents_of_the_user_are_not_tried_when_one_key_is_named(
    to_satellite: Callable[..., Transport], tmp_path: Path, home: Path, satellite: object
) -> None:
    folder = home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "id_ed25519").write_bytes(satellite.identity.read_bytes())
    (folder / "id_ed25519").chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    with pytest.raises(AuthenticationRefused):
        to_satellite("fabric", identity_file=str(tmp_path / "other")).run(["true"])
    assert to_satellite("fabric", identity_file=str(folder / "id_ed25519")).run(["true"]).ok


def test_fabric_files_of_the_user_play_no_part(to_satellite: Callable[..., Transport], home: Path) -> None:
    (home / ".fabric.yaml").write_text("user: nobody\nport: 1\nconnect_kwargs: {password: x}\n")
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Host *\n  User nobody\n  Port 1\n")
    assert to_satellite("fabric").run(["true"]).ok


@pytest.mark.sshd
def test_a_timeout_says_stopped_only_of_what_was_seen_to_end(workspace, satellite, lasting):
    where = ssh_config.paths(workspace)
    host = topology.load(workspace.inventory).host(satellite.name)
    ssh_config.write([host], SshSettings(), where)
    with FabricTransport(host, where) as transport:
        with pytest.raises(CommandTimedOut, match="was stopped there"):
            transport.run(["sleep", lasting], timeout=0.3)
        # Without its environment the guard cannot find it.
        hidden = ["env", "-i", "sh", "-c", f"echo $$; exec sleep {lasting}"]
        said: list[bytes] = []
        with pytest.raises(CommandTimedOut, match="may still run there"):
            transport.run(hidden, timeout=0.3, on_stdout=said.append)
        os.kill(int(b"".join(said)), signal.SIGKILL)


def test_more_commands_than_sshd_takes_at_once_wait_for_each_other(
    to_satellite: Callable[..., Transport], connections: Callable[[], list[psutil.Process]]
) -> None:
    """The satellite's sshd takes 50 sessions a connection; a fresh one, as installed, takes 10."""
    transport = to_satellite("fabric")
    results: list[int] = []

    def one(number: int) -> None:
        results.append(int(transport.run(["sh", "-c", f"sleep 0.5; echo {number}"]).stdout))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(120)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(120))
    assert len(connections()) == 1
