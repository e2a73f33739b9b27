"""The example of a dynamic inventory, read by the real ansible-inventory from the stand-in's API."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw import topology
from maw.errors import InventoryError
from tests.fakes.proxmox import FakeNode
from tests.fakes.proxmox.api import ApiServer

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = (
    Path(__file__).resolve().parents[2] / "roles" / "proxmox_access" / "files" / "containers.proxmox.yml"
)
PRIVILEGES = {
    "/vms": ["VM.Audit", "VM.Backup"],
    "/storage": ["Datastore.AllocateSpace", "Datastore.Audit"],
}


@dataclass
class Place:
    """A node with its API, and a workspace whose token opens it."""

    api: ApiServer
    workspace: Path
    secret: str

    def listed(self) -> dict[str, Any]:
        argv = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(EXAMPLE), "--list"]
        answer = subprocess.run(argv, capture_output=True, check=False, timeout=120)
        assert answer.returncode == 0, answer.stderr.decode()
        assert self.secret not in (answer.stdout + answer.stderr).decode()
        found: dict[str, Any] = json.loads(answer.stdout, object_hook=topology._plain)
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    reason = FakeNode.available()
    if importlib.util.find_spec("ansible_collections.community.proxmox") is None:
        reason = "the collection community.proxmox is not installed here"
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    node = FakeNode(tmp_path / "node")
    node.add_container(101, running=True, hostname="web", extra=["tags: th;www"])
    node.add_container(102, hostname="store")
    node.add_vm(200)
    node.add_user("maw@pve", PRIVILEGES)
    _, secret = node.add_token("maw@pve", "mirror", PRIVILEGES, privsep=True)
    workspace = tmp_path / "workspace"
    (workspace / "keys").mkdir(parents=True)
    (workspace / "keys" / "proxmox-token").write_text(f"{secret}\n", "ascii")
    (workspace / "inventory").mkdir()
    shutil.copy(EXAMPLE, workspace / "inventory")
    with ApiServer(node) as api:
        monkeypatch.setenv("PROXMOX_URL", api.url.removesuffix("/api2/json"))
        monkeypatch.setenv("MAW_WORKSPACE", str(workspace))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(api.files.authority))
        yield Place(api, workspace, secret)


def test_containers_become_hosts_and_machines_do_not(place: Place) -> None:
    listed = place.listed()
    hosts = listed["_meta"]["hostvars"]
    assert sorted(hosts) == ["store", "web"]
    assert {name: one["ansible_host"] for name, one in hosts.items()} == {
        "web": "10.78.0.101",
        "store": "10.78.0.102",
    }
    assert listed["proxmox_all_running"]["hosts"] == ["web"]
    assert listed["tag_th"]["hosts"] == ["web"]
    assert {one.status for one in place.api.requests} == {200}
    assert {one.who for one in place.api.requests} == {"maw@pve!mirror"}


def test_maw_reads_an_inventory_that_has_the_file(place: Place) -> None:
    (place.workspace / "inventory" / "hosts.yml").write_text(
        "proxmox: {hosts: {pve: {maw_addresses: [192.168.1.129]}}}\n", "utf-8"
    )
    hosts = {host.name: host for host in topology.load(place.workspace / "inventory").hosts}
    assert sorted(hosts) == ["pve", "store", "web"]
    assert (hosts["web"].addresses, hosts["web"].expected) == (("10.78.0.101",), False)
    assert hosts["pve"].roles == ("proxmox",)
    assert not set(hosts["web"].roles) & set(topology.ROLES)


def test_a_certificate_that_is_not_trusted_and_a_secret_that_is_wrong_are_errors(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.workspace / "keys" / "proxmox-token").write_text("wrong\n", "ascii")
    with pytest.raises(InventoryError):
        topology.load(place.workspace / "inventory")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(InventoryError):
        topology.load(place.workspace / "inventory")


def test_the_example_is_not_in_use_by_itself() -> None:
    templates = Path(topology.__file__).parent / "templates"
    assert not [path for path in templates.rglob("*") if path.name.endswith("proxmox.yml")]
