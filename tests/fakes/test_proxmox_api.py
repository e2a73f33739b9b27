"""The stand-in's API answers what the genuine one was recorded to answer."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
import sys
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.proxmox import FakeNode, archives, recorded, schema
from tests.fakes.proxmox.api import ApiServer
from tests.fakes.proxmox.client import Client, make_client

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(FakeNode.available() is not None, reason=FakeNode.available() or "")
needs_recordings = pytest.mark.skipif(recorded.MISSING is not None, reason=recorded.MISSING or "")
API = recorded.FIXTURES / "api"
NOT_PLAYED = {
    r"002-": "its recording is no JSON: a test of its own, below",
    r"01[67]-": "what a node has besides",
    r"023-|242-": "the cluster's log",
    r"030-|243-": "roles and other users' tokens are made with pveum",
    r"05[45]-": "statistics and firewall",
    r"063-": "which guests no job backs up",
    r"089-|09[0-7]-": "while a backup runs: a test of its own, below",
    r"159-": "the lock of a config's file",
    r"163-|164-|165-": "waiting for the lock: in the test of the programs",
    r"16[6-9]-|17[0-2]-": "stopping a task: a test of its own, below",
    r"18[6-9]-|19[0-2]-": "suspend, resume and reboot",
    r"17[6-9]-|18[0-5]-|23[45]-": "volumes of that day: a test of its own, below",
    r"158-": "containers are not deleted",
    r"23[6-8]-": "a folder of that machine",
    r"239-|240-": "network and options of the cluster",
    r"254-": "its task is of the test before",
    r"900-": "plain HTTP on the TLS port",
}


def reason_for(name: str) -> str | None:
    return next((why for pattern, why in NOT_PLAYED.items() if re.match(pattern, name)), None)


def _load(path: Path) -> dict[str, Any]:
    found, _ = json.JSONDecoder().raw_decode(path.read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The recorded node's API."""
    node = recorded.recorded_node(tmp_path_factory.mktemp("api"))
    node.add_user("root@pam", password="secret")
    with ApiServer(node) as server:
        yield make_client(node, server)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The API of a node with one small container, for what no recording is replayed for."""
    node = FakeNode(tmp_path_factory.mktemp("small"))
    node.add_container(101, running=True, mounts=archives.MOUNTS, volumes=archives.VOLUMES)
    with ApiServer(node) as server:
        yield make_client(node, server)


def _form(value: Any) -> Any:
    """The form of an answer: keys and types; of a list, what its items have in common."""
    if isinstance(value, dict):
        return {key: _form(item) for key, item in value.items()}
    if isinstance(value, list):
        keys = [set(item) for item in value if isinstance(item, dict)]
        return sorted(set.intersection(*keys)) if keys else type(value[0]).__name__ if value else []
    return "number" if isinstance(value, int | float) else type(value).__name__


def _who(exchange: dict[str, Any]) -> str:
    name = exchange["name"]
    if name.startswith("token-") and name != "token-list-self":
        return "bad token"
    if name.startswith("json-body"):
        return "json root"
    return str(exchange["auth"]).partition(" (")[0]


def _prepare(number: int, node: FakeNode) -> None:
    """The state that the recorded node had at that time."""
    node.state.set_key(104, "lock", "migrate" if 144 <= number <= 158 else None)
    node.mend()
    if number in (160, 161, 162):
        node.fault("lock-held")
    stopped = (196, 202, 255, *range(247, 254))
    if number not in (198, 204):
        node.state.set_running(102, number not in stopped)


def _upids(client: Client, text: str) -> str:
    for theirs, ours in client.upids.items():
        text = text.replace(theirs, ours).replace(
            urllib.parse.quote(theirs, safe=""), urllib.parse.quote(ours, safe="")
        )
    return text


EXCHANGES = sorted(path.stem for path in API.glob("*.json")) if API.is_dir() else []
PLAYED = [name for name in EXCHANGES if reason_for(name) is None]


@needs_recordings
def test_what_is_not_played_is_listed() -> None:
    for name in EXCHANGES:
        if reason_for(name):
            print(f"not played: {name}: {reason_for(name)}")
    assert len(PLAYED) > 150


@needs_recordings
@pytest.mark.parametrize("name", PLAYED)
def test_an_exchange_is_answered_as_it_was_recorded(name: str, recording: Client) -> None:
    exchange = _load(API / f"{name}.json")
    node = recording.server.node
    _prepare(int(name[:3]), node)
    body = {"json-body": "{}", "json-body-bad": "{"}.get(exchange["name"])
    who = _who(exchange)
    if exchange["name"] == "bad-content-type":
        recording.headers["plain"] = {**recording.headers["root"], "Content-Type": "text/plain"}
        who, body = "plain", "x"
    path = _upids(recording, exchange["path"])
    asked = re.search(r"/tasks/([^/]+)/", path)
    if asked and urllib.parse.unquote(asked[1]) in recording.upids.values():
        recording.ended(urllib.parse.unquote(asked[1]))
    params = dict(exchange["params"] or {})
    if exchange["name"] == "ticket-wrong-password":
        params["password"] = "wrong"
    status, reason, text = recording.ask(exchange["method"], path, params, who, body)
    assert (status, reason) == (exchange["status"], exchange["reason"])
    found, expected = json.loads(text) if text.startswith("{") else None, exchange["json"]
    if expected is None:
        assert text == exchange["body"] or exchange["name"].endswith("download")
        return
    theirs, ours = expected.get("data"), found["data"]
    if isinstance(theirs, str) and theirs.startswith("UPID:"):
        recording.upids[theirs] = ours
        assert ours.split(":")[5:] == theirs.split(":")[5:]
        recording.ended(ours)
        return
    assert set(found) == set(expected)
    assert found.get("message") == expected.get("message")
    if exchange["name"] != "ticket-missing-password":  # its recording has "secret" in place of the text
        assert found.get("errors") == expected.get("errors")
    _compare_data(exchange["name"], ours, theirs)


EXACT = ("-config", "feature", "version", "domains")
CHANGING = ("resources", "nodes", "content", "tasks-", "interfaces", "nextid")


def _compare_data(name: str, ours: Any, theirs: Any) -> None:
    if name.endswith("-task-log") and theirs:
        texts = ["\n".join(line["t"] for line in lines) for lines in (ours, theirs)]
        assert _lines(texts[0]) == _lines(texts[1])
        assert [line["n"] for line in ours] == list(range(1, len(ours) + 1))
    elif any(part in name for part in EXACT) and "volume" not in name:
        if "locked" in name and theirs:  # the line was added by hand, at another place
            ours, theirs = ({**data, "digest": ""} for data in (ours, theirs))
        assert ours == theirs
    elif name.endswith("-task-status"):
        names = ("status", "exitstatus", "type", "id", "user", "tokenid")
        kept = [{name: data.get(name) for name in names} for data in (ours, theirs)]
        assert kept[0] == kept[1]
        assert _form(ours) == _form(theirs)
    elif isinstance(theirs, list) and any(part in name for part in CHANGING):
        if ours and theirs:
            missing = set(_form(theirs)) - set(_form(ours))
            assert not missing, missing
    else:
        assert _form(ours) == _form(theirs)


def _lines(text: str) -> list[str]:
    text = re.sub(r"(/root/ to |archive '|directory=)\S*/", r"\1", text)
    return recorded.mask(text).splitlines()


def test_a_backup_is_seen_while_it_runs_and_afterwards(client: Client) -> None:
    client.server.node.fault("slow", 1_500_000)
    params = {"vmid": 101, "mode": "stop", "storage": "local", "compress": "zstd", "remove": 0}
    _, _, body = client.ask("POST", "/api2/json/nodes/pve1/vzdump", params)
    upid = json.loads(body)["data"]
    quoted = urllib.parse.quote(upid)
    running = client.data(f"/nodes/pve1/tasks/{quoted}/status")
    assert running["status"] == "running"
    assert "exitstatus" not in running
    deadline = time.monotonic() + 5
    while "lock" not in client.data("/nodes/pve1/lxc/101/config") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert client.data("/nodes/pve1/lxc/101/status/current")["lock"] == "backup"
    assert client.data("/nodes/pve1/lxc")[0]["lock"] == "backup"
    (active,) = client.data("/nodes/pve1/tasks", source="active")
    assert active["status"] == "RUNNING"
    put = client.ask("PUT", "/api2/json/nodes/pve1/lxc/101/config", {"description": "x"})
    assert put[:2] == (500, "CT is locked (backup)")
    assert client.ended(upid)["exitstatus"] == "OK"
    client.server.node.mend()
    lines = client.data(f"/nodes/pve1/tasks/{quoted}/log", limit=500)
    assert lines[-1]["t"] == "TASK OK"
    assert len(client.data(f"/nodes/pve1/tasks/{quoted}/log", start=5, limit=3)) == 3
    assert client.data("/nodes/pve1/tasks", vmid=101)[0]["status"] == "OK"


def test_a_backup_is_listed_described_and_removed(client: Client) -> None:
    params = {"vmid": 101, "mode": "stop", "storage": "local", "compress": "zstd"}
    upid = json.loads(client.ask("POST", "/api2/json/nodes/pve1/vzdump", params)[2])["data"]
    assert client.ended(upid)["exitstatus"] == "OK"
    entry = client.data("/nodes/pve1/storage/local/content", content="backup")[-1]
    assert set(entry) == {"volid", "vmid", "size", "format", "subtype", "ctime", "content"}
    for quoted in (urllib.parse.quote(entry["volid"], safe=""), entry["volid"]):
        volume = client.data(f"/nodes/pve1/storage/local/content/{quoted}")
        assert Path(volume["path"]).stat().st_size == volume["size"] == entry["size"]
    config = client.data("/nodes/pve1/vzdump/extractconfig", volume=entry["volid"])
    assert config == client.server.node.state.text(101)
    missing = client.ask("GET", "/api2/json/nodes/pve1/storage/local/content/local:backup/vzdump-lxc-9-x.tar")
    assert missing[1].startswith("volume_size_info on 'local:backup/vzdump-lxc-9-x.tar' failed")
    gone = client.ask("DELETE", f"/api2/json/nodes/pve1/storage/local/content/{entry['volid']}")
    assert client.ended(json.loads(gone[2])["data"])["exitstatus"] == "OK"
    assert not Path(volume["path"]).exists()


def test_a_task_is_stopped_by_who_may(client: Client) -> None:
    client.server.node.fault("slow", 100_000)
    params = {"vmid": 101, "mode": "stop", "storage": "local"}
    upid = json.loads(client.ask("POST", "/api2/json/nodes/pve1/vzdump", params)[2])["data"]
    path = f"/api2/json/nodes/pve1/tasks/{urllib.parse.quote(upid)}"
    refused = client.ask("DELETE", path, who="ticket nobody@pve")
    assert refused[:2] == (403, "Permission check failed (/nodes/pve1, Sys.Modify)")
    time.sleep(0.3)
    assert client.ask("DELETE", path)[0] == 200
    assert client.ended(upid)["exitstatus"] == "job errors"
    client.server.node.mend()
    assert client.server.node.state.current(101).get("lock") is None


def test_a_password_gets_a_ticket_that_opens_the_api(client: Client) -> None:
    client.server.node.add_user("root@pam", password="secret")
    params = {"username": "root@pam", "password": "secret"}
    status, _, body = client.ask("POST", "/api2/json/access/ticket", params, who="none")
    data = json.loads(body)["data"]
    assert status == 200
    assert set(data) == {"CSRFPreventionToken", "cap", "ticket", "username"}
    assert set(data["cap"]) == {"access", "dc", "mapping", "nodes", "sdn", "storage", "vms"}
    client.headers["new"] = {"Cookie": f"PVEAuthCookie={urllib.parse.quote(data['ticket'])}"}
    assert client.data("/version", who="new")["release"] == "9.2"


def test_a_killed_backup_ends_with_no_word(client: Client) -> None:
    client.server.node.fault("lock-held")
    params = {"vmid": 101, "storage": "local", "lockwait": 0}
    upid = json.loads(client.ask("POST", "/api2/json/nodes/pve1/vzdump", params)[2])["data"]
    assert client.ended(upid)["exitstatus"] == "unexpected status"
    client.server.node.mend()


def test_a_call_without_an_answer_is_cut(client: Client) -> None:
    client.server.node.fault("api-drop", "/version")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        client.ask("GET", "/api2/json/version")
    client.server.node.mend()
    assert client.ask("GET", "/api2/json/version")[0] == 200


def test_requests_are_kept_for_tests_to_look_at(client: Client) -> None:
    client.ask("GET", "/api2/json/version", who="mirror-full")
    last = client.server.requests[-1]
    assert (last.method, last.path, last.who, last.status) == ("GET", "/version", "mirror@pve!full", 200)


def test_the_certificate_is_signed_by_the_nodes_own_authority(client: Client) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection("127.0.0.1", client.server.port, timeout=5).request("GET", "/")
    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", client.server.port)))
    digest = hashlib.sha256(der).hexdigest().upper()
    assert client.server.files.fingerprint.replace(":", "") == digest


@pytest.mark.parametrize("way", ["cryptography", "openssl"])
def test_an_expired_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way == "openssl":
        monkeypatch.setitem(sys.modules, "cryptography", None)
    with ApiServer(FakeNode(tmp_path), expired=True) as server:
        context = ssl.create_default_context(cafile=str(server.files.authority))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=5)
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            connection.request("GET", "/")


@pytest.mark.skipif(not schema.available(), reason="the API's description is not here (../shared/reference)")
def test_every_call_that_is_played_is_in_the_apis_description() -> None:
    from tests.fakes.proxmox.programs.pve import api

    for route in api.routes():
        path = re.sub(r"\{vmid\}", "101", route.path).replace("{node}", "pve1")
        path = re.sub(r"\{\w+\}", "x1", path)
        if path != "/":
            assert schema.errors(route.method, path, {}) is not None, route.path
        problems = schema.errors(route.method, path, dict.fromkeys(route.params - {"*"}, "1")) or {}
        unknown = {name for name, text in problems.items() if text == schema.UNKNOWN}
        assert not unknown, (route.path, unknown)


def test_without_the_apis_description_the_words_are_the_same(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "PATH", Path("not/here.json"))
    answers = {
        "/api2/json/nosuch": (501, "Method 'GET /nosuch' not implemented"),
        "/api2/json/version?foo=1": (400, "Parameter verification failed."),
        "/api2/json/nodes/pve1/lxc/99/config": (400, "Parameter verification failed."),
        "/api2/json/nodes/pve1/lxc/abc/config": (400, "Parameter verification failed."),
        "/api2/json/nodes/pve1/lxc/101/feature": (400, "Parameter verification failed."),
        "/api2/json/nodes/pve1/lxc/101/config": (200, "OK"),
    }
    for path, expected in answers.items():
        assert client.ask("GET", path)[:2] == expected


def test_proxmoxer_talks_to_it(client: Client) -> None:
    from proxmoxer import ProxmoxAPI

    name, secret = client.server.node.add_token("mirror@pve", "library")
    user, _, token = name.partition("!")
    proxmox = ProxmoxAPI(
        "127.0.0.1",
        port=client.server.port,
        user=user,
        token_name=token,
        token_value=secret,
        verify_ssl=str(client.server.files.authority),
    )
    assert proxmox.version.get()["release"] == "9.2"
    assert [guest["vmid"] for guest in proxmox.nodes("pve1").lxc.get()] == [101]
    upid = proxmox.nodes("pve1").vzdump.post(vmid=101, storage="local", mode="stop", remove=0)
    assert client.ended(upid)["exitstatus"] == "OK"
