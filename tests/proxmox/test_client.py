"""What the client makes of recorded answers; and that the API has every request that it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from maw.errors import (
    ContainerLocked,
    Misuse,
    NoSuchContainer,
    ProxmoxError,
    ProxmoxPermission,
    ProxmoxUnreachable,
)
from maw.proxmox import messages
from maw.proxmox.client import Proxmox, allows
from maw.proxmox.messages import Asked
from maw.proxmox.model import check_vmid
from tests.proxmox.replay import RECORDINGS, SCHEMA, Schema, named, needs

if TYPE_CHECKING:
    from collections.abc import Iterator

UPID = "UPID:pve1:00001FA7:00077F8D:6B0392A3:vzdump:101:root@pam!lab:"
NODES = [{"node": "pve1"}]


@pytest.fixture(scope="session")
def schema() -> Schema | None:
    """The API's description, where it is."""
    return Schema() if SCHEMA.exists() else None


class Table:
    """An API that answers from a table, and checks each request against the API's own description."""

    host = "pve"
    token = "maw@pve!mirror"

    def __init__(self, schema: Schema | None, answers: dict[str, Any]) -> None:
        self.schema = schema
        self.answers = {"/nodes": NODES, "/nodes/pve1/qemu": [], **answers}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def _answer(self, method: str, path: str, params: dict[str, Any]) -> Any:
        self.asked.append((method, path, params))
        if self.schema is not None:
            self.schema.check(method, path, params)
        found = self.answers[path]
        if isinstance(found, int):
            one = named(found)
            if one["status"] >= 400:
                asked = Asked(self.host, self.token, method, path)
                raise messages.explain(one["status"], one["reason"], one["body"], asked)
            return one["json"]["data"]
        if isinstance(found, Exception):
            raise found
        return found

    def get(self, path: str, /, **params: Any) -> Any:
        return self._answer("GET", path, params)

    def post(self, path: str, /, **params: Any) -> Any:
        return self._answer("POST", path, params)

    def delete(self, path: str, /, **params: Any) -> Any:
        return self._answer("DELETE", path, params)


@pytest.fixture
def make(schema: Schema | None) -> Iterator[Any]:
    def build(answers: dict[str, Any], **options: Any) -> tuple[Proxmox, Table]:
        table = Table(schema, answers)
        return Proxmox(table, **options), table

    return build


@needs(SCHEMA)
def test_the_check_against_the_apis_description_finds_what_is_wrong(schema: Schema) -> None:
    schema.check("POST", "/nodes/pve1/vzdump", {"vmid": 101, "remove": 0})
    for method, path, params in [
        ("POST", "/nodes/pve1/vzdumps", {}),
        ("DELETE", "/version", {}),
        ("POST", "/nodes/pve1/vzdump", {"remove": True}),
        ("POST", "/nodes/pve1/vzdump", {"vmids": 1}),
        ("POST", "/nodes/pve1/vzdump", {"mode": "fast"}),
        ("GET", "/nodes/pve1/lxc/99/config", {}),
        ("GET", "/nodes/pve1/lxc/101/feature", {}),
    ]:
        with pytest.raises(AssertionError):
            schema.check(method, path, params)


@needs(RECORDINGS)
def test_containers_come_by_number_with_what_is_known_of_them(make: Any) -> None:
    client, _ = make({"/nodes": 15, "/nodes/pve1/lxc": 31})
    found = client.containers()
    assert [one.vmid for one in found] == [101, 102, 103, 104]
    assert (found[0].name, found[0].status, found[0].lock) == ("tiny-unpriv", "running", None)
    assert found[0].tags == ("lab", "mirror", "tiny")
    assert found[2].maxdisk == 57381888


@needs(RECORDINGS)
def test_a_locked_container_shows_its_lock_everywhere(make: Any) -> None:
    client, _ = make(
        {
            "/nodes/pve1/lxc": 146,
            "/nodes/pve1/lxc/104/config": 144,
            "/nodes/pve1/lxc/104/status/current": 145,
        }
    )
    assert next(one for one in client.containers() if one.vmid == 104).lock == "migrate"
    assert client.config(104).lock == "migrate"
    assert client.status(104).lock == "migrate"
    assert "lock" not in client.config(104).values


@needs(RECORDINGS)
def test_an_empty_list_without_the_privilege_is_an_error_that_names_it(make: Any) -> None:
    client, _ = make({"/nodes/pve1/lxc": 34, "/access/permissions": 27})
    with pytest.raises(ProxmoxPermission, match=r"VM\.Audit on /vms"):
        client.containers()


@needs(RECORDINGS)
def test_an_empty_list_with_the_privilege_is_an_empty_list(make: Any) -> None:
    client, _ = make({"/nodes/pve1/lxc": [], "/access/permissions": 25})
    assert client.containers() == ()


@needs(RECORDINGS)
def test_a_config_is_the_current_one_and_its_digest_stands_apart(make: Any) -> None:
    client, table = make({"/nodes/pve1/lxc/101/config": 45})
    config = client.config(101)
    assert config.digest == "0703bdbbd5c2cf54e8a1267085bfd004116bdb87"
    assert config.lock is None
    assert "digest" not in config.values
    assert config.values["hostname"] == "tiny-unpriv"
    assert table.asked[-1] == ("GET", "/nodes/pve1/lxc/101/config", {"current": 1})


@needs(RECORDINGS)
@pytest.mark.parametrize(("number", "running"), [(37, True), (247, False)])
def test_a_status_says_whether_it_runs(make: Any, number: int, running: bool) -> None:
    client, _ = make({"/nodes/pve1/lxc/101/status/current": number})
    assert client.status(101).running is running
    assert client.status(101).lock is None


@needs(RECORDINGS)
def test_a_missing_container_is_said_with_those_that_are_there(make: Any) -> None:
    client, _ = make({"/nodes/pve1/lxc": 31, "/nodes/pve1/lxc/999/config": 67})
    with pytest.raises(NoSuchContainer) as caught:
        client.config(999)
    assert str(caught.value) == (
        "There is no container 999 on pve. The containers there: 101 (tiny-unpriv), 102 (tiny-priv), "
        "103 (tiny-snap), 104 (tiny-raw)."
    )


@needs(RECORDINGS)
def test_a_virtual_machine_is_said_to_be_one(make: Any) -> None:
    missing = {"/nodes/pve1/lxc": [], "/nodes/pve1/lxc/200/config": NoSuchContainer(vmid=200, host="pve")}
    client, _ = make({**missing, "/nodes/pve1/qemu": [{"vmid": 200, "name": "windows"}]})
    with pytest.raises(NoSuchContainer, match=r"200 on pve \(200 is a virtual machine, not a container\)"):
        client.config(200)


def test_a_container_of_another_node_is_said_to_be_there(make: Any) -> None:
    client, _ = make(
        {
            "/nodes": [{"node": "pve1"}, {"node": "pve2"}],
            "/nodes/pve1/lxc": [],
            "/nodes/pve1/lxc/200/config": NoSuchContainer(vmid=200, host="pve"),
            "/cluster/resources": [{"vmid": 200, "node": "pve2", "type": "lxc"}],
        },
        node="pve1",
    )
    with pytest.raises(NoSuchContainer, match="it is on pve2"):
        client.config(200)


def test_the_only_node_is_the_node(make: Any) -> None:
    client, table = make({})
    assert [client.node(), client.node()] == ["pve1", "pve1"]
    assert len(table.asked) == 1


def test_of_several_nodes_the_one_that_answers_is_taken_or_a_name_is_asked_for(make: Any) -> None:
    several = [{"node": "pve2"}, {"node": "pve1"}]
    status = [{"type": "node", "name": "pve1", "local": 0}, {"type": "node", "name": "pve2", "local": 1}]
    assert make({"/nodes": several, "/cluster/status": status})[0].node() == "pve2"
    refused = ProxmoxPermission(host="pve", token="t", privilege="Sys.Audit", path="/")
    with pytest.raises(Misuse, match=r"proxmox\.node in maw\.toml: pve1, pve2"):
        make({"/nodes": several, "/cluster/status": refused})[0].node()


@needs(RECORDINGS)
def test_a_node_that_is_named_is_not_asked_for_and_a_wrong_name_is_said(make: Any) -> None:
    client, _ = make({"/nodes/nosuchnode/lxc": 74}, node="nosuchnode")
    with pytest.raises(ProxmoxError, match=r"knows no node nosuchnode.*proxmox\.node"):
        client.containers()
    client, _ = make({"/nodes/pve2/lxc": 76}, node="pve2")
    with pytest.raises(ProxmoxUnreachable, match="node pve2, asked through pve"):
        client.containers()


@needs(RECORDINGS)
def test_archives_are_the_newest_first_and_only_of_containers(make: Any) -> None:
    client, table = make({"/nodes/pve1/storage": 57, "/nodes/pve1/storage/backup/content": 174,
                          "/nodes/pve1/storage/local/content": []})  # fmt: skip
    found = client.archives(101)
    assert [one.created for one in found] == sorted((one.created for one in found), reverse=True)
    assert found[0].volid == "backup:backup/vzdump-lxc-101-2026_11_23-01_11_06.tar"
    assert (found[0].storage, found[0].vmid, found[0].format, found[0].size) == (
        "backup",
        101,
        "tar",
        2232320,
    )
    assert found[1].notes == "tiny-unpriv on pve1 (101) standalone node"
    assert {path for _, path, _ in table.asked} >= {
        f"/nodes/pve1/storage/{s}/content" for s in ("backup", "local")
    }
    assert "/nodes/pve1/storage/snap/content" not in {path for _, path, _ in table.asked}


def test_a_protected_archive_is_said_to_be_and_virtual_machines_are_left_out(make: Any) -> None:
    rows = [
        {"volid": "b:backup/vzdump-lxc-1.tar", "vmid": 101, "ctime": 1, "protected": 1},
        {"volid": "b:backup/vzdump-qemu-1.vma", "vmid": 101, "ctime": 2},
        {"volid": "b:backup/x", "vmid": 101, "ctime": 3, "subtype": "qemu"},
        {"volid": "p:backup/ct/101/2026", "vmid": 101, "ctime": 4},
    ]
    client, _ = make({"/nodes/pve1/storage/b/content": rows})
    assert [(one.created, one.protected) for one in client.archives(storage="b")] == [(4, False), (1, True)]


@needs(RECORDINGS)
def test_no_archives_without_the_privilege_is_an_error(make: Any) -> None:
    client, _ = make({"/nodes/pve1/storage/backup/content": [], "/access/permissions": 26})
    with pytest.raises(ProxmoxPermission, match=r"VM\.Backup on /vms/101"):
        client.archives(101, "backup")
    client, _ = make({"/nodes/pve1/storage": [], "/access/permissions": {}})
    with pytest.raises(ProxmoxPermission, match=r"Datastore\.Audit on /storage"):
        client.archives()
    client, _ = make({"/nodes/pve1/storage/backup/content": 83})
    with pytest.raises(ProxmoxPermission, match=r"Datastore\.Audit or Datastore\.AllocateSpace"):
        client.archives(101, "backup")


VOLID = "backup:backup/vzdump-lxc-101-2026_11_23-01_03_53.tar"
CONTENT = "/nodes/pve1/storage/backup/content/backup%3Abackup%2Fvzdump-lxc-101-2026_11_23-01_03_53.tar"


@needs(RECORDINGS)
def test_an_archives_path_on_the_node_is_asked_for_as_recorded(make: Any) -> None:
    client, _ = make({CONTENT: 176})
    assert client.archive_path(VOLID) == "/mnt/backup/dump/vzdump-lxc-101-2026_11_23-01_03_53.tar"
    client, _ = make({CONTENT: 177})
    with pytest.raises(ProxmoxError, match="pvesm list backup --content backup"):
        client.archive_path(VOLID)


def test_an_archive_that_is_no_file_is_said_to_be_none(make: Any) -> None:
    client, _ = make({CONTENT: {"path": "pbs@host:store:ct/101"}})
    with pytest.raises(ProxmoxError, match="is no file there"):
        client.archive_path(VOLID)


@pytest.mark.parametrize("volid", ["", "x", "/etc/passwd", "a:", "a:b\n", "../x:y"])
def test_what_is_no_archive_of_a_storage_is_misuse(make: Any, volid: str) -> None:
    with pytest.raises(Misuse, match="STORAGE:backup/NAME"):
        make({})[0].archive_path(volid)


@needs(RECORDINGS)
def test_a_backup_never_prunes_and_protects_nothing(make: Any) -> None:
    client, table = make({"/nodes/pve1/vzdump": 88})
    assert client.start_backup(101, "backup", "stop", "zstd") == UPID
    wanted = {"vmid": 101, "storage": "backup", "mode": "stop", "compress": "zstd", "remove": 0}
    assert table.asked[-1] == ("POST", "/nodes/pve1/vzdump", wanted)


@needs(RECORDINGS)
def test_a_backup_that_is_refused_at_once_names_the_privilege(make: Any) -> None:
    client, _ = make({"/nodes/pve1/vzdump": 142})
    with pytest.raises(ProxmoxPermission, match=r"Datastore\.AllocateSpace on /storage/backup"):
        client.start_backup(101, "backup", "stop", "0")


@pytest.mark.parametrize("answer", ["OK", None, {}, "UPID:xxx", UPID + "\n"])
def test_a_backup_without_a_task_has_not_begun(make: Any, answer: Any) -> None:
    with pytest.raises(ProxmoxError, match="UPID"):
        make({"/nodes/pve1/vzdump": answer})[0].start_backup(101, "backup", "stop", "0")


@pytest.mark.parametrize(("mode", "compress"), [("fast", "0"), ("", "0"), ("stop", "xz"), ("stop", "")])
def test_a_mode_or_compression_that_vzdump_has_not_is_misuse(make: Any, mode: str, compress: str) -> None:
    with pytest.raises(Misuse, match="Give one of"):
        make({})[0].start_backup(101, "backup", mode, compress)


def test_a_lock_is_an_error_of_its_own(make: Any) -> None:
    locked = messages.explain(
        500, "CT is locked (backup)", b"", Asked("pve", "t", path="/nodes/pve1/lxc/101")
    )
    with pytest.raises(ContainerLocked, match=r"Container 101 on pve is locked \(backup\)"):
        make({"/nodes/pve1/lxc/101/config": locked})[0].config(101)


@pytest.mark.parametrize(
    "word",
    [
        "0",
        "99",
        "101; rm",
        "abc",
        "",
        "-101",
        "+101",
        "1e3",
        "0101",
        " 101",
        "101\n",
        "1" * 10,
        "١٠١",
        "10.1",
        None,
    ],
    ids=ascii,
)
def test_what_is_no_containers_number_is_misuse_with_the_next_step(make: Any, word: Any) -> None:
    for ask in (check_vmid, make({})[0].config):
        with pytest.raises(Misuse, match="from 100 to 999999999"):
            ask(word)


@pytest.mark.parametrize("word", ["100", "101", "999999999", 101])
def test_a_containers_number_is_one(word: Any) -> None:
    assert check_vmid(word) == int(word)


@needs(RECORDINGS)
@pytest.mark.parametrize(("vmid", "feature", "wanted"), [(103, 52, (True, "")), (101, 51, None)])
def test_whether_a_snapshot_can_be_taken_names_what_cannot(
    make: Any, vmid: int, feature: int, wanted: Any
) -> None:
    base = f"/nodes/pve1/lxc/{vmid}"
    config = {103: 40, 101: 45}[vmid]
    client, _ = make({f"{base}/config": config, f"{base}/feature": feature, "/nodes/pve1/storage": 57})
    found = client.supports_snapshot(vmid)
    why = "volume local:101/vm-101-disk-1.raw (mp0) lies on storage local (dir), which has no snapshots"
    assert found == (wanted or (False, why))


@pytest.mark.parametrize(
    ("granted", "path", "wanted"),
    [
        ({}, "/vms", False),
        ({"/": {"VM.Audit": 1}}, "/vms/101", True),
        ({"/": {"VM.Audit": 0}}, "/vms/101", False),
        ({"/": {"VM.Audit": 0}}, "/", True),
        ({"/": {"VM.Audit": 1}, "/vms": {"VM.Backup": 1}}, "/vms/101", False),
        ({"/vms/102": {"VM.Audit": 1}}, "/vms/101", False),
        ({"/vms/101": {"VM.Audit": 0}}, "/vms/101", True),
    ],
)
def test_rights_are_inherited_from_the_nearest_path_above(granted: Any, path: str, wanted: bool) -> None:
    assert allows(granted, "VM.Audit", path) is wanted
