"""The played hub's HTTP: the API, the redirect to another machine for large files, ranges, refusals.

Error codes are those that huggingface_hub reads (X-Error-Code); trouble is planted with `Trouble`.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.hub.content import LFS, Repository, etag


@dataclass
class Trouble:
    """What goes wrong with one file: each is done so many times (`times`), then all is well."""

    # Cut the connection after so many bytes of the answer.
    cut_after: int | None = None
    # Send so many bytes, then wait so long (seconds) before each further piece.
    pause_after: int | None = None
    pause: float = 0.0
    # After the first piece, wait for this.
    hold: threading.Event | None = None
    # Answer with this status.
    status: int | None = None
    # Send other bytes of the same length.
    tamper: bool = False
    # Pretend not to know ranges.
    whole: bool = False
    times: int = 1_000_000


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Hub:
    """The hub and, on a second port, the store of large files. Use it as a context manager."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=lambda: {"hf_of_the_owner"})
    troubles: dict[str, Trouble] = field(default_factory=dict)
    busy: int = 0
    listed: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Hub:
        self._stopped = threading.Event()
        self.used: Counter[str] = Counter()
        self._servers = [self._serve(_HubHandler, self.port), self._serve(_StoreHandler, 0)]
        self.port = self._servers[0].server_address[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serve(self, handler: type[BaseHTTPRequestHandler], port: int) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (handler,), {"hub": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    @property
    def url(self) -> str:
        """The hub's address, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store_url(self) -> str:
        """The address of the store that large files are redirected to: another machine to a client."""
        return f"http://127.0.0.1:{self._servers[1].server_address[1]}"

    def repository(self, name: str, **options: Any) -> Repository:
        """Make a repository."""
        self.repositories[name] = Repository(name, **options)
        return self.repositories[name]

    def requests_for(self, path: str) -> list[Asked]:
        """The GET requests for a file's bytes."""
        return [one for one in self.asked if one.method == "GET" and one.path.endswith(path)]

    def trouble_for(self, path: str) -> Trouble | None:
        """The trouble that is due for a file, None if there is none (any more)."""
        planned = self.troubles.get(path)
        if planned is None or self.used[path] >= planned.times:
            return None
        self.used[path] += 1
        return planned

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the hub runs."""
        self._stopped.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's signature
        pass

    def do_HEAD(self) -> None:
        self._note()

    def do_GET(self) -> None:
        self._note()

    def _note(self) -> None:
        self.hub.asked.append(
            Asked(
                self.command,
                unquote(urlsplit(self.path).path),
                {k.lower(): v for k, v in self.headers.items()},
            )
        )
        try:
            self.answer(unquote(urlsplit(self.path).path))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, path: str) -> None:
        raise NotImplementedError

    def say(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str = "", message: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"}
        body = json.dumps({"error": message or code}).encode()
        self.say(status, {name: value for name, value in headers.items() if value}, body)

    def send_file(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        trouble = self.hub.trouble_for(path) if self.command == "GET" else None
        if trouble and trouble.status:
            self.refuse(trouble.status)
            return
        start = 0
        ranged = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if ranged and not (trouble and trouble.whole):
            start = int(ranged[1])
            if start >= len(content):
                self.say(416, {"Content-Range": f"bytes */{len(content)}"})
                return
            headers = {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        data = bytes(byte ^ 1 for byte in content) if trouble and trouble.tamper else content
        self.send_response(206 if "Content-Range" in headers else 200)
        for name, value in {**headers, "Content-Length": str(len(data) - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(data[start:], trouble or Trouble())

    def _send(self, data: bytes, trouble: Trouble) -> None:
        if trouble.cut_after is not None:
            self.wfile.write(data[: trouble.cut_after])
            self.wfile.flush()
            self.close_connection = True
            return
        if trouble.pause_after is None:
            self.wfile.write(data)
            return
        step = max(trouble.pause_after, 1)
        for at in range(0, len(data), step):
            self.wfile.write(data[at : at + step])
            self.wfile.flush()
            if trouble.hold is not None:
                trouble.hold.wait(120)
            self.hub.sleep(trouble.pause)


class _HubHandler(_Handler):
    """The hub itself."""

    def answer(self, path: str) -> None:
        if self.hub.busy:
            self.hub.busy -= 1
            self.refuse(503, message="Service Unavailable")
            return
        word = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if word and word not in self.hub.tokens:
            self.refuse(401, message="Invalid credentials in Authorization header")
            return
        api = re.fullmatch(r"/api/models/(.+?)(?:/revision/(.+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if api:
            self._describe(api[1], api[2] or "main", word)
        elif file:
            self._resolve(file[1], file[2], file[3], word)
        else:
            self.refuse(404)

    def _known(self, name: str, revision: str, word: str) -> tuple[Repository, str] | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            # The real hub tells a stranger neither that a name is free nor that it is not.
            self.refuse(404 if word else 401, "RepoNotFound", "Repository not found")
            return None
        commit = repository.resolve(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository, commit

    def _describe(self, name: str, revision: str, word: str) -> None:
        known = self._known(name, revision, word)
        if known is None:
            return
        repository, commit = known
        blobs = "blobs" in parse_qs(urlsplit(self.path).query)
        told = {**repository.describe(commit, blobs=blobs), **self.hub.listed}
        self.say(200, {"Content-Type": "application/json"}, json.dumps(told).encode())

    def _resolve(self, name: str, revision: str, path: str, word: str) -> None:
        known = self._known(name, revision, word)
        if known is None:
            return
        repository, commit = known
        if repository.gated and not word:
            message = (
                f"Access to model {name} is restricted. You must have access to it and be authenticated."
            )
            self.refuse(401, "GatedRepo", message)
            return
        if repository.gated and word not in repository.allowed:
            self.refuse(
                403, "GatedRepo", f"Access to model {name} is restricted and you are not in the list."
            )
            return
        content = repository.commits[commit].get(path)
        if content is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag(path, content)}"', "Accept-Ranges": "bytes"}
        if path.endswith(LFS):
            linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": headers["ETag"]}
            place = {"Location": f"{self.hub.store_url}/{name}/{commit}/{path}"}
            self.say(302, {**headers, **linked, **place})
            return
        self.send_file(path, content, headers)


class _StoreHandler(_Handler):
    """The store of large files. It never sees a token; it would not know what to do with it."""

    def answer(self, path: str) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/([0-9a-f]{40})/(.+)", path)
        assert match is not None, path
        content = self.hub.repositories[match[1]].commits[match[2]][match[3]]
        self.send_file(match[3], content, {"ETag": f'"{etag(match[3], content)}"'})


def wait_for(condition: Any, seconds: float = 20.0) -> bool:
    """Wait until a condition holds; return whether it does."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())
