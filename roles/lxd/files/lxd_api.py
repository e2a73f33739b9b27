"""Speaks with LXD through its socket: looks, does what was decided, starts a tiny container as a probe.

Standard library only, Python 3.9. Sent on standard input; `main` gets a verb and one JSON object and prints
one JSON line. `lxc` is not used: it leaves files in root's home, and the snap's is slow to start.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

# In the order in which maw itself looks.
_FOLDERS = ("/var/lib/lxd", "/var/snap/lxd/common/lxd")
PROBE = "user.maw.probe"
_PROPERTY = "maw.probe"
_SECONDS = 300
_MOST_LOG = 1 << 16
_INIT = "#!/bin/sh\n# It ends by itself, should nobody be left to remove it.\nexec sleep 600\n"
_LEASE = (
    '#!/bin/sh\n[ "$1" = bound ] || exit 0\n'
    'ip addr add "$ip/$mask" dev "$interface"\necho "$ip/$mask $router"\n'
)
_APPLETS = ("sh", "sleep", "cat", "ip", "ping", "udhcpc")


class Refused(Exception):
    """LXD said no."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("lxd", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Lxd:
    """One LXD. `folder` holds its socket."""

    def __init__(self, folder: str, seconds: float = _SECONDS) -> None:
        self.folder = folder
        self._socket = f"{folder}/unix.socket"
        self._seconds = seconds

    def send(self, method: str, path: str, body: object = None, kind: dict[str, str] | None = None) -> bytes:
        """Send one request, return the answer's bytes. Raise Refused or OSError."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection = _Connection(self._socket, self._seconds)
        try:
            connection.request(method, path, body=data, headers=kind or {})
            response = connection.getresponse()
            answer = response.read()
        except http.client.HTTPException as error:
            raise Refused(f"it broke off ({error!r})") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise Refused(_reason(answer) or f"status {response.status}")
        return answer

    def ask(self, method: str, path: str, body: object = None, kind: dict[str, str] | None = None) -> Any:
        """Send one request, wait for its end, return what it is about. Raise Refused or OSError."""
        answer = json.loads(self.send(method, path, body, kind))
        if answer.get("type") != "async":
            return answer.get("metadata")
        wait = f"{answer['operation']}/wait?timeout={int(self._seconds)}"
        done = json.loads(self.send("GET", wait))["metadata"]
        if done.get("status_code") != 200:
            raise Refused(done.get("err") or f"it is {done.get('status')} after {self._seconds} s")
        return done.get("metadata")


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer).get("error", ""))
    except (ValueError, AttributeError):
        return answer[:500].decode("utf-8", "replace")


def main(verb: str, text: str) -> int:
    """Given a verb and its facts, do it and print the answer."""
    facts = json.loads(text)
    verbs = {"look": look, "do": do, "probe": probe}
    print(json.dumps(verbs[verb](facts)))
    return 0


def _folder(facts: dict[str, Any]) -> str:
    folders = [facts["dir"]] if facts.get("dir") else list(_FOLDERS)
    return next((folder for folder in folders if Path(f"{folder}/unix.socket").exists()), "")


def look(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what LXD has. Without LXD `dir` is empty; of one that does not answer `error` says why."""
    folder = _folder(facts)
    answer: dict[str, Any] = {"schema": "maw.lxd_look/1", "dir": folder, "error": "", "down": False}
    if not folder:
        return answer
    lxd = Lxd(folder, float(facts.get("seconds", 60)))
    try:
        server = lxd.ask("GET", "/1.0")
        answer.update(_server(server))
        if answer["trusted"]:
            for key, path in (
                ("pools", "storage-pools"),
                ("networks", "networks"),
                ("profiles", "profiles"),
                ("projects", "projects"),
                ("images", "images"),
            ):
                answer[key] = lxd.ask("GET", f"/1.0/{path}?recursion=1") or []
            answer["images"] = [
                {"fingerprint": one["fingerprint"], "properties": one.get("properties") or {}}
                for one in answer["images"]
            ]
            found = lxd.ask("GET", "/1.0/instances?recursion=1&all-projects=true") or []
            answer["instances"] = [_instance(one) for one in found]
    except (OSError, Refused, ValueError) as error:
        answer["error"] = str(error) or type(error).__name__
        # A socket that nobody listens on: LXD was stopped.
        answer["down"] = isinstance(error, ConnectionRefusedError)
    return answer


def _server(server: dict[str, Any]) -> dict[str, Any]:
    environment = server.get("environment") or {}
    # LXD 5.0 writes the keys of the drivers with a capital.
    drivers = [
        {key.lower(): value for key, value in one.items()}.get("name", "")
        for one in environment.get("storage_supported_drivers") or ()
    ]
    return {
        "trusted": server.get("auth") == "trusted",
        "server": environment.get("server", "lxd"),
        "version": environment.get("server_version", ""),
        "firewall": environment.get("firewall", ""),
        "features": environment.get("kernel_features") or {},
        "config": server.get("config") or {},
        "clustered": bool(environment.get("server_clustered")),
        "drivers": drivers,
    }


def _instance(one: dict[str, Any]) -> dict[str, Any]:
    devices, config = one.get("expanded_devices") or one.get("devices") or {}, one.get("config") or {}
    return {
        "name": one["name"],
        "project": one.get("project", "default"),
        "status": one.get("status", ""),
        "marks": {key: value for key, value in config.items() if key.startswith("user.maw.")},
        "pools": sorted({str(device["pool"]) for device in devices.values() if "pool" in device}),
    }


def do(facts: dict[str, Any]) -> dict[str, Any]:
    """Send requests in their order, stop at the first that is refused; return how many were done."""
    lxd = Lxd(_folder(facts))
    done = 0
    for step in facts["steps"]:
        try:
            lxd.ask(step["method"], step["path"], step.get("body"))
        except (OSError, Refused) as error:
            return {"done": done, "error": str(error) or type(error).__name__, "step": step["reason"]}
        done += 1
    return {"done": done, "error": "", "step": ""}


def probe(facts: dict[str, Any]) -> dict[str, Any]:
    """Start a tiny container with the profile, ask it and its network, remove it; return what was seen.

    `stage` is the one that was reached; `error` says why it went no further.
    """
    lxd = Lxd(_folder(facts), float(facts.get("seconds", 120)))
    name = f"maw-probe-{secrets.token_hex(4)}"
    seen: dict[str, Any] = {"stage": "image", "error": "", "log": "", "took": 0.0}
    began = time.monotonic()
    try:
        sweep(lxd)
        _run(lxd, name, str(facts["profile"]), str(facts["nic"]), seen)
    except (OSError, Refused, ValueError) as error:
        seen["error"] = str(error) or type(error).__name__
        seen["log"] = _log(lxd, name)
    finally:
        try:
            sweep(lxd)
        except (OSError, Refused) as error:
            seen["left"] = str(error) or type(error).__name__
    seen["took"] = round(time.monotonic() - began, 2)
    return seen


def _run(lxd: Lxd, name: str, profile: str, nic: str, seen: dict[str, Any]) -> None:
    archive, seen["program"], knows_dhcp = image(name)
    properties = urllib.parse.urlencode({_PROPERTY: "1", "description": name})
    headers = {"Content-Type": "application/octet-stream", "X-LXD-properties": properties}
    fingerprint = lxd.ask("POST", "/1.0/images", archive, headers)["fingerprint"]
    seen["stage"] = "create"
    config = {PROBE: "1", "boot.autostart": "false"}
    source = {"type": "image", "fingerprint": fingerprint}
    body = {"name": name, "type": "container", "profiles": [profile], "config": config, "source": source}
    lxd.ask("POST", "/1.0/instances", body)
    seen["stage"] = "start"
    lxd.ask("PUT", f"/1.0/instances/{name}/state", {"action": "start", "timeout": 60})
    seen["stage"] = "command"
    seen["uid_map"] = execute(lxd, name, ["/bin/cat", "/proc/self/uid_map"])
    seen["stage"] = "bridge"
    seen["bridge"] = bridge(lxd, name, nic)
    seen["stage"] = "address"
    if knows_dhcp:
        execute(lxd, name, ["/bin/ip", "link", "set", nic, "up"])
        words = ["/bin/udhcpc", "-f", "-q", "-n", "-i", nic, "-t", "8", "-T", "1", "-s", "/bin/lease"]
        address, _, router = execute(lxd, name, words).strip().splitlines()[-1].partition(" ")
        seen["address"], seen["router"] = address, router.split(" ")[0]
        seen["stage"] = "ping"
        execute(lxd, name, ["/bin/ping", "-c", "1", "-W", "3", seen["router"]])
    seen["stage"] = "done"


def execute(lxd: Lxd, name: str, words: list[str]) -> str:
    """Run a command in a container, return its output. Raise Refused with its words if it fails."""
    body = {"command": words, "wait-for-websocket": False, "record-output": True, "interactive": False}
    done = lxd.ask("POST", f"/1.0/instances/{name}/exec", body)
    paths = [path for _, path in sorted((done.get("output") or {}).items())]
    texts = [lxd.send("GET", path).decode("utf-8", "replace") for path in paths]
    if done.get("return") != 0:
        said = " ".join(" ".join(texts).split())
        raise Refused(f"{' '.join(words)} ended with {done.get('return')}: {said[-300:]}")
    return texts[0] if texts else ""


def bridge(lxd: Lxd, name: str, nic: str) -> str:
    """Given a running container and its card, return the bridge that the card's other end is part of."""
    state = lxd.ask("GET", f"/1.0/instances/{name}/state")
    other = ((state.get("network") or {}).get(nic) or {}).get("host_name", "")
    master = Path(f"/sys/class/net/{other}/master")
    return master.resolve().name if other and master.exists() else ""


def sweep(lxd: Lxd) -> None:
    """Remove what probes have made, this one and any that was killed."""
    for one in lxd.ask("GET", "/1.0/instances?recursion=1") or []:
        if (one.get("config") or {}).get(PROBE) == "1":
            path = f"/1.0/instances/{one['name']}"
            if one.get("status") != "Stopped":
                lxd.ask("PUT", f"{path}/state", {"action": "stop", "force": True, "timeout": 30})
            lxd.ask("DELETE", path)
    for one in lxd.ask("GET", "/1.0/images?recursion=1") or []:
        if (one.get("properties") or {}).get(_PROPERTY) == "1":
            lxd.ask("DELETE", f"/1.0/images/{one['fingerprint']}")
    # LXD keeps what commands in a container have said, for two days after the container is gone.
    for folder in ("/var/log/lxd", f"{lxd.folder}/logs"):
        for left in Path(folder).glob("maw-probe-????????"):
            shutil.rmtree(left)


def _log(lxd: Lxd, name: str) -> str:
    try:
        return lxd.send("GET", f"/1.0/instances/{name}/logs/lxc.log")[-_MOST_LOG:].decode("utf-8", "replace")
    except (OSError, Refused):
        # It did not come so far as to have one.
        return ""


def image(name: str) -> tuple[bytes, str, bool]:
    """Return an image of own programs of this machine, which, and whether they can ask for an address."""
    files: dict[str, bytes] = {"sbin/init": _INIT.encode(), "bin/lease": _LEASE.encode()}
    links: dict[str, str] = {}
    program = shutil.which("busybox") or ""
    applets = _applets(program) if program and not libraries(program) else frozenset()
    small = {"sh", "sleep", "cat"} <= applets
    if small:
        files["bin/busybox"] = Path(program).read_bytes()
        links = {f"bin/{applet}": "busybox" for applet in _APPLETS if applet in applets}
    else:
        for word in ("sh", "sleep", "cat"):
            place = os.path.realpath(f"/bin/{word}")
            files[f"bin/{word}"] = Path(place).read_bytes()
            files.update({path.lstrip("/"): Path(path).read_bytes() for path in libraries(place)})
    properties = {_PROPERTY: "1", "name": name}
    metadata = {"architecture": os.uname().machine, "creation_date": 1, "properties": properties}
    # JSON is YAML, which is what LXD reads.
    return (
        _tar(json.dumps(metadata).encode(), files, links),
        "busybox" if small else "sh",
        small and set(_APPLETS) <= applets,
    )


def _applets(program: str) -> frozenset[str]:
    done = subprocess.run([program, "--list"], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return frozenset(done.stdout.decode().split())


def libraries(program: str) -> list[str]:
    """Given a program, return the paths of what it loads; none if it stands alone."""
    done = subprocess.run(["ldd", program], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    words = [word for line in done.stdout.decode().splitlines() for word in line.split()]
    return sorted({word for word in words if word.startswith("/")}) if done.returncode == 0 else []


def _tar(metadata: bytes, files: dict[str, bytes], links: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, "metadata.yaml", tarfile.REGTYPE, 0o644, metadata)
        folders = {"", "dev", "proc", "sys", "run", "tmp", "root", "etc"}
        for path in [*files, *links]:
            parts = path.split("/")[:-1]
            folders |= {"/".join(parts[: count + 1]) for count in range(len(parts))}
        for folder in sorted(folders):
            _add(tar, f"rootfs/{folder}".rstrip("/"), tarfile.DIRTYPE, 0o755)
        for path, data in sorted(files.items()):
            _add(tar, f"rootfs/{path}", tarfile.REGTYPE, 0o755, data)
        for path, target in sorted(links.items()):
            _add(tar, f"rootfs/{path}", tarfile.SYMTYPE, 0o777, link=target)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, path: str, kind: bytes, mode: int, data: bytes = b"", link: str = "") -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(data), link
    tar.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
