"""A plain client of the API, and the users that the recordings were made with."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.proxmox.api import ApiServer
    from tests.fakes.proxmox.node import FakeNode

MIRROR = ["VM.Audit", "VM.Backup", "Datastore.AllocateSpace", "Datastore.Audit", "Sys.Audit"]


@dataclass
class Client:
    """Who asks the server: by a token, by a ticket, or without."""

    server: ApiServer
    headers: dict[str, dict[str, str]]
    upids: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        params: dict[str, Any] | None = None,
        who: str = "root",
        body: str | None = None,
    ) -> tuple[int, str, str]:
        """Return status, reason and body."""
        context = ssl.create_default_context(cafile=str(self.server.files.authority))
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, context=context, timeout=30)
        headers = dict(self.headers[who])
        query = urllib.parse.urlencode(params or {}, doseq=True)
        if method in ("GET", "DELETE") and query:
            path += f"?{query}"
        elif params and body is None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = query
        if who.startswith("json"):
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.reason, answer.read().decode("utf-8")
        finally:
            connection.close()

    def data(self, path: str, who: str = "root", **params: Any) -> Any:
        status, reason, body = self.ask("GET", f"/api2/json{path}", params, who)
        assert (status, reason) == (200, "OK"), body
        return json.loads(body)["data"]

    def ended(self, upid: str) -> dict[str, Any]:
        """Wait for the end of a task; return its status."""
        deadline = time.monotonic() + 20
        while True:
            found = self.data(f"/nodes/pve1/tasks/{urllib.parse.quote(upid)}/status")
            if found["status"] == "stopped" or time.monotonic() > deadline:
                return found
            time.sleep(0.02)


def make_client(node: FakeNode, server: ApiServer) -> Client:
    """Given a node and its server, return who asks: root, mirrors, strangers."""
    node.add_user("root@pam", password="secret")
    node.add_user("mirror@pve", {"/": MIRROR})
    node.add_user("nobody@pve")
    node.add_user("noback@pve", {"/": ["VM.Audit", "Datastore.AllocateSpace"], "/vms/103": MIRROR})
    tokens = {
        "root": node.add_token("root@pam", "lab"),
        "mirror-full": node.add_token("mirror@pve", "full"),
        "mirror-sep": node.add_token("mirror@pve", "sep", privsep=True),
    }
    headers = {
        who: {"Authorization": f"PVEAPIToken={name}={secret}"} for who, (name, secret) in tokens.items()
    }
    for user in ("root@pam", "nobody@pve", "noback@pve"):
        cookie = f"PVEAuthCookie={urllib.parse.quote(server.ticket(user))}"
        headers[f"ticket {user}"] = {"Cookie": cookie, "CSRFPreventionToken": server.csrf(user)}
    cookie = headers["ticket root@pam"]["Cookie"]
    headers["ticket root@pam, no CSRF header"] = {"Cookie": cookie}
    headers["ticket root@pam, bad CSRF header"] = {"Cookie": cookie, "CSRFPreventionToken": "0:bad"}
    headers["garbage ticket"] = {"Cookie": "PVEAuthCookie=garbage"}
    old = urllib.parse.quote(server.ticket("root@pam", time.time() - 10000))
    headers["ticket with an old timestamp"] = {"Cookie": f"PVEAuthCookie={old}"}
    headers["none"] = {}
    headers["json root"] = headers["root"]
    headers["bad token"] = {"Authorization": "PVEAPIToken=root@pam!lab=00000000-0000-0000-0000-000000000000"}
    return Client(server, headers)
