"""Which way is taken to the server; and the client against the stand-in, over HTTPS and through pvesh."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw.config import ProxmoxSettings
from maw.errors import (
    ContainerLocked,
    Misuse,
    NoSuchContainer,
    ProxmoxAuthentication,
    ProxmoxError,
    ProxmoxPermission,
    ProxmoxUnreachable,
    TokenUnusable,
    UnknownHost,
)
from maw.proxmox.client import Proxmox
from maw.proxmox.connect import open_api, over_https, server_of
from maw.proxmox.https import HttpsApi
from maw.proxmox.shell import ShellApi
from maw.topology import Host, Topology
from maw.transport.local import LocalTransport
from tests.fakes.proxmox import FakeNode
from tests.fakes.proxmox.api import ApiServer
from tests.proxmox.replay import SECRET, Certificate, Server, data

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Host("pve", ("127.0.0.1",), roles=("proxmox",))
NEEDED = {"/vms": ["VM.Audit", "VM.Backup"], "/storage": ["Datastore.Audit", "Datastore.AllocateSpace"]}
needs_node = pytest.mark.skipif(FakeNode.available() is not None, reason=FakeNode.available() or "")


def topology(*hosts: Host) -> Topology:
    return Topology(Path("inventory"), hosts)


def test_the_server_is_the_one_named_or_the_only_one_of_its_group() -> None:
    other = dataclasses.replace(HERE, name="other")
    assert server_of(topology(HERE, Host("x", ("x",))), ProxmoxSettings()) is HERE
    assert server_of(topology(HERE, other), ProxmoxSettings(host="other")) is other
    with pytest.raises(Misuse, match=r"pve, other\. Name one in proxmox\.host"):
        server_of(topology(HERE, other), ProxmoxSettings())
    with pytest.raises(Misuse, match="No host of inventory is in group proxmox"):
        server_of(topology(), ProxmoxSettings())
    with pytest.raises(UnknownHost):
        server_of(topology(HERE), ProxmoxSettings(host="nobody"))


def never() -> Any:
    raise AssertionError("no way over SSH is wanted")


def test_the_tokens_file_decides_which_way_is_taken(certificate: Certificate, tmp_path: Path) -> None:
    with Server(certificate, lambda _: data({})) as server, LocalTransport() as transport:
        settings = ProxmoxSettings(
            api_port=server.port, fingerprint=certificate.fingerprint, token_file="token"
        )
        assert isinstance(open_api(HERE, settings, tmp_path, lambda: transport), ShellApi)
        (tmp_path / "token").write_text(SECRET)
        with pytest.raises(TokenUnusable, match="others may read it"):
            open_api(HERE, settings, tmp_path, never)
        (tmp_path / "token").chmod(0o600)
        api = open_api(HERE, settings, tmp_path, never)
        assert isinstance(api, HttpsApi)
        api.close()


def test_the_first_address_that_answers_is_taken(certificate: Certificate, free_port: int) -> None:
    with Server(certificate, lambda _: data({})) as server:
        settings = ProxmoxSettings(api_port=server.port, fingerprint=certificate.fingerprint)
        host = dataclasses.replace(HERE, addresses=("no-such-host.invalid", "127.0.0.1"))
        over_https(host, settings, Path(), SECRET).close()
    settings = dataclasses.replace(settings, api_port=free_port)
    with pytest.raises(ProxmoxUnreachable, match=r"no-such-host.*; 127\.0\.0\.1: Connection refused"):
        over_https(host, settings, Path(), SECRET)


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    node = FakeNode(tmp_path / "node")
    node.add_storage("snap", "btrfs", "rootdir,images", snapshots=True)
    node.add_container(101, running=True, hostname="web", files={"etc/hostname": "web\n"})
    node.add_container(103, storage="snap", hostname="snappy", files={"etc/hostname": "snappy\n"})
    node.add_vm(200)
    return node


@pytest.fixture
def server(node: FakeNode) -> Iterator[ApiServer]:
    with ApiServer(node) as server:
        yield server


def connected(server: ApiServer, rights: dict[str, list[str]]) -> Proxmox:
    server.node.add_user("maw@pve", rights)
    token, secret = server.node.add_token("maw@pve", "mirror", rights, privsep=True)
    settings = ProxmoxSettings(
        api_port=server.port, ca_file=str(server.files.authority), token_id=token, answer_seconds=20
    )
    return Proxmox(over_https(HERE, settings, Path(), secret), sleep=lambda _: None)


@pytest.fixture
def https(server: ApiServer) -> Proxmox:
    return connected(server, NEEDED)


@pytest.fixture
def shell(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxmox]:
    monkeypatch.setenv("PATH", f"{node.programs}:{os.environ['PATH']}")
    with LocalTransport() as transport:
        yield Proxmox(ShellApi(transport))


@needs_node
@pytest.mark.parametrize("way", ["https", "shell"])
def test_a_node_is_asked_and_a_backup_made_and_found(
    way: str, node: FakeNode, request: pytest.FixtureRequest
) -> None:
    client: Proxmox = request.getfixturevalue(way)
    assert client.node() == "pve1"
    assert [(one.vmid, one.name, one.status) for one in client.containers()] == [
        (101, "web", "running"),
        (103, "snappy", "stopped"),
    ]
    assert client.config(101).values["hostname"] == "web"
    assert client.status(101).running
    assert client.supports_snapshot(101)[0] is False
    able, why = client.supports_snapshot(103)
    assert not able
    assert "as a btrfs subvolume" in why
    assert [one.name for one in client.storages()] == ["local", "snap"]
    assert client.archives(101) == ()
    lines: list[str] = []
    end = client.wait(client.start_backup(101, "local", "stop", "zstd"), lines.append)
    assert (end.status, end.mode) == ("OK", "stop")
    assert "INFO: Backup job finished successfully" in lines
    (archive,) = client.archives(101)
    assert (archive.storage, archive.vmid, archive.protected) == ("local", 101, False)
    assert client.archive_path(archive.volid) == end.archive == str(node.archives()[0])


@needs_node
@pytest.mark.parametrize("way", ["https", "shell"])
def test_what_is_missing_locked_or_no_container_is_said(
    way: str, node: FakeNode, request: pytest.FixtureRequest
) -> None:
    client: Proxmox = request.getfixturevalue(way)
    with pytest.raises(NoSuchContainer, match="200 is a virtual machine"):
        client.config(200)
    with pytest.raises(NoSuchContainer, match=r"101 \(web\), 103 \(snappy\)"):
        client.status(999)
    with pytest.raises(NoSuchContainer, match="999"):
        client.wait(client.start_backup(999, "local", "stop", "0"))
    node.state.set_key(101, "lock", "migrate")
    assert client.config(101).lock == "migrate"
    with pytest.raises(ContainerLocked, match="migrate"):
        client.wait(client.start_backup(101, "local", "stop", "0"))


@needs_node
@pytest.mark.parametrize("missing", ["VM.Audit", "VM.Backup", "Datastore.AllocateSpace"])
def test_a_token_without_a_privilege_is_told_which(server: ApiServer, missing: str) -> None:
    rights = {path: [one for one in held if one != missing] for path, held in NEEDED.items()}
    client = connected(server, rights)
    with pytest.raises(ProxmoxPermission, match=missing.replace(".", r"\.")):
        if missing == "VM.Audit":
            client.containers()
        client.wait(client.start_backup(101, "local", "stop", "0"))


@needs_node
def test_a_wrong_secret_is_said_before_anything_else(server: ApiServer) -> None:
    settings = ProxmoxSettings(api_port=server.port, fingerprint=server.files.fingerprint)
    with pytest.raises(ProxmoxAuthentication, match="Authentication failed"):
        over_https(HERE, settings, Path(), SECRET)


@needs_node
def test_a_cancelled_backup_is_stopped_on_the_node(https: Proxmox, node: FakeNode) -> None:
    node.fault("slow", 2000)
    upid = https.start_backup(101, "local", "stop", "0")
    https.stop(upid)
    with pytest.raises(ProxmoxError, match=upid):
        https.wait(upid)
    assert node.archives() == []
