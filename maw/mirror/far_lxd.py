"""A few words to LXD's socket. Standard library only: it runs on the satellite, beside LXD.

Steps that belong together are done here, by a process that goes on when the link is cut.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds that one answer may take: deleting a large tree takes its time.
_SECONDS = 1800


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("lxd", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, method: str, url: str, body: Any = None, *, seconds: float = _SECONDS) -> Any:
    """Given LXD's socket and a request, return the answer's metadata, an operation waited for.

    Raise OSError with LXD's own words if it refuses.
    """
    answer = _once(path, method, url, body, seconds)
    if answer.get("type") == "async":
        answer = _once(path, "GET", f"{answer['operation']}/wait", None, seconds)
        operation = answer.get("metadata") or {}
        if operation.get("status_code") != 200:
            raise OSError(f"{operation.get('err') or operation.get('status')}")
    return answer.get("metadata")


def _once(path: str, method: str, url: str, body: Any, seconds: float) -> dict[str, Any]:
    connection = _Connection(path, seconds)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, url, text, {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if answer.get("type") == "error":
        raise OSError(str(answer.get("error")))
    return answer


def do(path: str, steps: Sequence[Sequence[Any]]) -> int:
    """Given LXD's socket and steps, do them in order; return how many were done.

    A step is ["rename", from, to] or ["delete", name].
    Raise OSError at the first that fails.
    """
    for step in steps:
        verb, name = step[0], f"/1.0/instances/{quote(step[1], safe='')}"
        if verb == "rename":
            ask(path, "POST", name, {"name": step[2]})
        else:
            ask(path, "DELETE", name)
    return len(steps)
