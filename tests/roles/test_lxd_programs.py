"""The two programs that the role sends along: one looks at the machine, one speaks with LXD."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import socketserver
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.roles.loading import load

FILES = Path(__file__).resolve().parents[2] / "roles" / "lxd" / "files"


look, api = load(FILES / "look.py", "lxd_look"), load(FILES / "lxd_api.py", "lxd_lxd_api")


class FakeLxd:
    """An LXD that keeps instances and images, and refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.instances: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}
        self.archives: list[bytes] = []
        self.refused: dict[str, str] = {}
        self.outputs: dict[str, tuple[int, str]] = {
            "cat": (0, "0 1000000 65536\n"),
            "udhcpc": (0, "10.119.0.7/24 10.119.0.1\n"),
        }
        self.seen: list[str] = []

    def answer(self, method: str, path: str, headers: Any, data: bytes) -> tuple[int, Any]:
        """Given a request, return status and answer."""
        self.seen.append(f"{method} {path}")
        for word, reason in self.refused.items():
            if f"{method} {path}".startswith(word):
                return 400, {"type": "error", "error": reason}
        place = path.partition("?")[0].removeprefix("/1.0").strip("/").split("/")
        if "logs" in place:
            return 200, b"lxc ERROR something\n" if place[-1] == "lxc.log" else self._output.encode()
        return 200, self._object(method, place, headers, data)

    def _object(self, method: str, place: list[str], headers: Any, data: bytes) -> Any:
        if place == [""]:
            environment = {
                "server": "lxd",
                "server_version": "5.0.2",
                "storage_supported_drivers": [{"Name": "dir"}],
            }
            return _sync({"auth": "trusted", "config": {}, "environment": environment})
        if place[0] == "operations":
            return _sync(self._operation)
        if place[0] == "images" and method == "POST":
            self.archives.append(data)
            self.images["ab"] = {"fingerprint": "ab", "properties": {"maw.probe": "1"}}
            return self._async({"fingerprint": "ab"})
        if place == ["instances"] and method == "POST":
            body = json.loads(data)
            self.instances[body["name"]] = {**body, "status": "Stopped"}
            return self._async({})
        if method == "GET":
            return _sync(self._get(place))
        return self._change(method, place, data)

    def _get(self, place: list[str]) -> Any:
        if place[-1] == "state":
            return {"network": {"eth0": {"host_name": "lo"}}}
        kept = {"instances": self.instances, "images": self.images}.get(place[0], {})
        return list(kept.values())

    def _change(self, method: str, place: list[str], data: bytes) -> Any:
        if method == "DELETE":
            kept: dict[str, Any] = {"instances": self.instances, "images": self.images}[place[0]]
            del kept[place[1]]
        elif place[-1] == "state":
            self.instances[place[1]]["status"] = {"start": "Running", "stop": "Stopped"}[
                json.loads(data)["action"]
            ]
        elif place[-1] == "exec":
            word = json.loads(data)["command"][0].rpartition("/")[2]
            code, self._output = self.outputs.get(word, (0, ""))
            return self._async(
                {"return": code, "output": {"1": f"/1.0/instances/{place[1]}/logs/exec_1.stdout"}}
            )
        return self._async({})

    def _async(self, metadata: dict[str, Any]) -> dict[str, Any]:
        self._operation = {"status_code": 200, "metadata": metadata}
        return {"type": "async", "operation": "/1.0/operations/1"}


def _sync(metadata: Any) -> dict[str, Any]:
    return {"type": "sync", "metadata": metadata}


class _Handler(http.server.BaseHTTPRequestHandler):
    def _do(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.server.lxd.answer(self.command, self.path, self.headers, data)  # type: ignore[attr-defined]
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


for _method in ("GET", "POST", "PUT", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._do)


@pytest.fixture
def lxd(tmp_path: Path) -> Iterator[FakeLxd]:
    """A fake LXD on a socket in the test's folder."""
    fake = FakeLxd()
    with socketserver.UnixStreamServer(str(tmp_path / "unix.socket"), _Handler) as server:
        server.lxd = fake  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


def _run(verb: str, **facts: Any) -> dict[str, Any]:
    """As Ansible runs it: the program comes on standard input."""
    argv = [sys.executable, "-I", "-", verb, json.dumps(facts)]
    source = (FILES / "lxd_api.py").read_bytes()
    done = subprocess.run(argv, input=source, capture_output=True, check=True, timeout=30)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _probe(folder: Path) -> dict[str, Any]:
    return _run("probe", dir=str(folder), profile="maw", nic="eth0")


def test_lxd_is_looked_at_without_a_change(lxd: FakeLxd, tmp_path: Path) -> None:
    answer = _run("look", dir=str(tmp_path))
    assert (answer["error"], answer["version"], answer["drivers"]) == ("", "5.0.2", ["dir"])
    assert all(one.startswith("GET ") for one in lxd.seen)


def test_no_lxd_and_one_that_was_stopped_are_told_apart(tmp_path: Path) -> None:
    assert _run("look", dir=str(tmp_path))["dir"] == ""
    with socketserver.UnixStreamServer(str(tmp_path / "unix.socket"), _Handler):
        # Bound, and nobody listens any more once it is closed: the file stays.
        pass
    answer = _run("look", dir=str(tmp_path))
    assert (answer["down"], answer["dir"]) == (True, str(tmp_path))
    assert answer["error"]


def test_a_probe_asks_all_it_should_and_leaves_nothing(lxd: FakeLxd, tmp_path: Path) -> None:
    answer = _probe(tmp_path)
    assert (answer["stage"], answer["error"]) == ("done", "")
    assert answer["uid_map"] == "0 1000000 65536\n"
    if answer["program"] == "busybox":
        assert (answer["address"], answer["router"]) == ("10.119.0.7/24", "10.119.0.1")
    assert (lxd.instances, lxd.images) == ({}, {})


def test_a_probe_removes_what_a_killed_one_left_and_nothing_else(lxd: FakeLxd, tmp_path: Path) -> None:
    lxd.instances["maw-probe-0"] = {
        "name": "maw-probe-0",
        "status": "Running",
        "config": {"user.maw.probe": "1"},
    }
    lxd.instances["maw-probe-theirs"] = {"name": "maw-probe-theirs", "status": "Running", "config": {}}
    lxd.images["cd"] = {"fingerprint": "cd", "properties": {"description": "theirs"}}
    _probe(tmp_path)
    assert list(lxd.instances) == ["maw-probe-theirs"]
    assert list(lxd.images) == ["cd"]


@pytest.mark.parametrize(
    ("refused", "stage"),
    [
        ("POST /1.0/images", "image"),
        ("POST /1.0/instances", "create"),
        ("PUT /1.0/instances", "start"),
    ],
)
def test_a_probe_says_how_far_it_came_and_why(lxd: FakeLxd, tmp_path: Path, refused: str, stage: str) -> None:
    lxd.refused[refused] = "the kernel cannot"
    answer = _probe(tmp_path)
    assert (answer["stage"], answer["error"]) == (stage, "the kernel cannot")
    assert stage == "image" or answer["log"] == "lxc ERROR something\n"
    assert (lxd.instances, lxd.images) == ({}, {})


def test_a_command_that_fails_is_told_with_its_words(lxd: FakeLxd, tmp_path: Path) -> None:
    lxd.outputs["cat"] = (127, "no such\nfile")
    answer = _probe(tmp_path)
    assert answer["stage"] == "command"
    assert "ended with 127: no such file" in answer["error"]


def test_the_image_is_one_that_has_all_it_names() -> None:
    data, program, knows_dhcp = api.image("maw-probe-x")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {one.name: one for one in tar}
        metadata = tar.extractfile("metadata.yaml")
        assert metadata is not None
        assert json.load(metadata)["architecture"] == os.uname().machine
    assert all(
        f"rootfs/{name}" in members for name in ("sbin/init", "bin/sh", "bin/sleep", "bin/cat", "proc", "dev")
    )
    assert all((one.uid, one.gid) == (0, 0) for one in members.values())
    folders = {name for name, one in members.items() if one.isdir()}
    assert all(str(Path(name).parent) in folders for name in members if name.startswith("rootfs/"))
    assert knows_dhcp <= (program == "busybox")


def test_without_a_busybox_the_image_has_the_machines_own_sh_with_what_it_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api.shutil, "which", lambda _: None)
    data, program, knows_dhcp = api.image("maw-probe-x")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert (program, knows_dhcp) == ("sh", False)
    assert any("libc.so" in name or "musl" in name for name in names)


def test_requests_are_sent_in_their_order_up_to_the_first_refusal(lxd: FakeLxd, tmp_path: Path) -> None:
    lxd.refused["DELETE"] = "it is in use"
    steps = [
        {"method": "GET", "path": "/1.0", "body": None, "reason": "look"},
        {"method": "DELETE", "path": "/1.0/storage-pools/maw", "body": None, "reason": "remove pool maw"},
        {"method": "GET", "path": "/1.0/never", "body": None, "reason": "never"},
    ]
    answer = _run("do", dir=str(tmp_path), steps=steps)
    assert answer == {"done": 1, "error": "it is in use", "step": "remove pool maw"}
    assert lxd.seen == ["GET /1.0", "DELETE /1.0/storage-pools/maw"]


def test_the_machine_is_looked_at_here_too() -> None:
    source = (FILES / "look.py").read_bytes()
    argv = [sys.executable, "-I", "-", json.dumps({"path": "/srv/not/there"})]
    done = subprocess.run(argv, input=source, capture_output=True, check=True, timeout=60)
    answer = json.loads(done.stdout)
    assert answer["memory"] > 0
    assert answer["disk"]["free"] > 0
    assert not answer["disk"]["exists"]


def test_a_machine_without_any_of_its_files_is_looked_at_too(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        answer = look.look("", f"{tmp_path}/")
    assert (answer["cgroup"], answer["memory"], answer["user_namespaces"]) == ("none", 0, -1)
    assert answer["uid_map"] == []


@pytest.mark.parametrize(
    ("release", "number"),
    [
        ("6.6.87.2-microsoft-standard-WSL2", 2),
        ("4.19.84-microsoft-standard", 2),
        ("4.4.0-19041-Microsoft", 1),
        ("6.1.0-40-amd64", 0),
    ],
)
def test_a_wsl_is_known_by_its_kernel(release: str, number: int) -> None:
    assert look.wsl(release, f"Linux version {release}") == number


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["25 1 0:22 / /sys/fs/cgroup rw - cgroup2 none rw"], "unified"),
        (
            [
                "25 1 0:22 / /sys/fs/cgroup rw - tmpfs none rw",
                "26 1 0:3 / /sys/fs/cgroup/cpu rw - cgroup none rw",
            ],
            "v1",
        ),
        (
            [
                "26 1 0:3 / /sys/fs/cgroup/cpu rw - cgroup c rw",
                "27 1 0:4 / /sys/fs/cgroup/unified rw - cgroup2 c rw",
            ],
            "hybrid",
        ),
        (["25 1 0:22 / / rw - ext4 /dev/sdc rw"], "none"),
    ],
)
def test_the_control_groups_are_told_apart(lines: list[str], kind: str) -> None:
    assert look.cgroup("\n".join(lines)) == kind


def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount() -> None:
    lines = ["1 0 8:1 / / rw - ext4 /dev/sdc rw", "2 1 8:2 / /srv rw - btrfs /dev/sdd rw"]
    mounts = "\n".join([*lines, "3 1 0:9 / /srv/a\\040b rw - xfs x rw"])
    for path, kind in (("/var/lib", "ext4"), ("/srv", "btrfs"), ("/srvx", "ext4"), ("/srv/a b/c", "xfs")):
        assert look.filesystem(path, mounts) == kind


def test_networks_are_those_of_addresses_and_routes() -> None:
    addresses = [
        {
            "ifname": "eth0",
            "addr_info": [{"family": "inet", "local": "172.20.1.5", "prefixlen": 20}, {"family": "inet6"}],
        },
        {"ifname": "lo", "addr_info": [{"family": "inet", "local": "10.255.255.254", "prefixlen": 32}]},
    ]
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "192.168.7.0/24", "dev": "wg0"},
        {"dst": "10.0.0.0/8", "type": "blackhole"},
        {"dst": "172.20.1.5", "dev": "eth0", "type": "local"},
    ]
    assert look.networks(addresses, routes) == [
        {"network": "10.0.0.0/8", "interface": ""},
        {"network": "10.255.255.254/32", "interface": "lo"},
        {"network": "172.20.1.5/20", "interface": "eth0"},
        {"network": "192.168.7.0/24", "interface": "wg0"},
    ]
