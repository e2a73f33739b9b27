"""Pinned host keys, and what a host shows."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from maw.errors import CannotRead, CannotWrite, HostUnreachable
from maw.topology import Host
from maw.transport.keys import HostKey, pin, pinned, shown

if TYPE_CHECKING:
    from pathlib import Path

    from maw.transport.loopback import LoopbackSatellite

FIRST = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
SECOND = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIJKYNXvO7rA2vBvFQXj5WZ6TAMmQKp4mDyQx+aXjXFnU")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_the_fingerprint_is_the_one_of_ssh_keygen(tmp_path: Path, kind: str) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / "key")], check=True)
    words = (tmp_path / "key.pub").read_text("ascii").split()
    answer = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, check=True)
    assert HostKey(words[0], words[1]).fingerprint == answer.stdout.decode().split()[1]


def test_nothing_is_pinned_without_a_file(tmp_path: Path) -> None:
    assert pinned(tmp_path / "known_hosts", "notebook") == ()


def test_a_key_is_pinned_and_replaced_and_others_stay(tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    foreign = (
        f"# a remark\n\nserver,192.0.2.1 {SECOND.kind} {SECOND.base64} of another\n|1|a=|b= ssh-rsa AAAA\n"
    )
    known_hosts.write_text(foreign + f"notebook2 {SECOND.kind} {SECOND.base64}\n", "utf-8")
    pin(known_hosts, "notebook", [FIRST])
    assert pinned(known_hosts, "notebook") == (FIRST,)
    pin(known_hosts, "notebook", [SECOND])
    assert pinned(known_hosts, "notebook") == (SECOND,)
    assert pinned(known_hosts, "notebook2") == (SECOND,)
    assert pinned(known_hosts, "server") == (SECOND,)
    assert pinned(known_hosts, "192.0.2.1") == (SECOND,)
    text = known_hosts.read_text("utf-8")
    assert text.startswith(foreign)
    assert text.count("\nnotebook ") == 1


def test_several_keys_of_one_host_are_pinned_together_and_can_be_removed(tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    pin(known_hosts, "notebook", [FIRST, SECOND])
    assert pinned(known_hosts, "notebook") == (FIRST, SECOND)
    pin(known_hosts, "notebook", [])
    assert pinned(known_hosts, "notebook") == ()


def test_openssh_finds_the_pinned_key(tmp_path: Path) -> None:
    pin(tmp_path / "known_hosts", "notebook", [FIRST])
    answer = subprocess.run(
        ["ssh-keygen", "-l", "-F", "notebook", "-f", str(tmp_path / "known_hosts")],
        capture_output=True,
        check=True,
    )
    assert FIRST.fingerprint in answer.stdout.decode()


def test_a_file_that_cannot_be_read_or_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(CannotRead):
        pinned(tmp_path / "bytes", "notebook")
    with pytest.raises(CannotRead):
        pin(tmp_path, "notebook", [FIRST])
    (tmp_path / "file").write_text("")
    with pytest.raises((CannotWrite, CannotRead)):
        pin(tmp_path / "file" / "known_hosts", "notebook", [FIRST])


def test_what_the_satellite_shows_is_its_key(satellite: LoopbackSatellite) -> None:
    host = Host("loopback", ("127.0.0.1",), port=satellite.port)
    assert shown(host, seconds=2) == satellite.host_keys


def test_the_first_address_that_answers_is_asked(satellite: LoopbackSatellite) -> None:
    host = Host("loopback", ("127.0.0.77", "127.0.0.1"), port=satellite.port)
    assert shown(host, seconds=2) == satellite.host_keys


def test_a_host_that_shows_no_key_is_unreachable() -> None:
    with pytest.raises(HostUnreachable, match=r"127\.0\.0\.77"):
        shown(Host("loopback", ("127.0.0.77",), port=1), seconds=1)


@pytest.mark.sshd
def test_a_shared_connection_is_not_used_under_other_pins(workspace, satellite, cutter_command):
    command = ("offload", "--on", satellite.name, "--", "true")
    assert cutter_command(*command).returncode == 0
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    pin(workspace.known_hosts, satellite.name, [HostKey("ssh-ed25519", other)])
    answer = cutter_command(*command)
    assert answer.returncode == 243, answer.stderr
    assert b"CHANGED" in answer.stderr
