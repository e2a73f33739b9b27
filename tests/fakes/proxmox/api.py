"""The API server of the stand-in: HTTPS, tokens and tickets, the words of the real one."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import socket
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tests.fakes.proxmox import certificates, schema
from tests.fakes.proxmox.programs.pve import access, api, tasks
from tests.fakes.proxmox.programs.pve.state import PveError

if TYPE_CHECKING:
    from tests.fakes.proxmox.node import FakeNode

_METHODS = ("GET", "POST", "PUT", "DELETE")
_OPEN = {("POST", "/access/ticket"), ("GET", "/access/ticket"), ("GET", "/access/domains"), ("GET", "/")}
_TICKET_SECONDS = 7200
_BAD_JSON = (
    '\'"\' expected, at character offset 1 (before "(end of string)") '
    "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934."
)
_CAPABILITIES = {
    "access": ("/access", ("User.", "Group.", "Permissions.")),
    "dc": ("/", ("Sys.Audit", "Sys.Modify", "SDN.")),
    "mapping": ("/mapping", ("Mapping.", "Permissions.")),
    "nodes": ("/nodes", ("Sys.", "Permissions.")),
    "sdn": ("/sdn", ("SDN.", "Permissions.")),
    "storage": ("/storage", ("Datastore.", "Permissions.")),
    "vms": ("/vms", ("VM.", "Permissions.")),
}


class _RefusedError(Exception):
    """A request that is answered by its status line alone."""

    def __init__(self, status: int, reason: str, body: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.body = status, reason, body


@dataclass(frozen=True)
class Request:
    """A request that was answered."""

    method: str
    path: str
    params: dict[str, Any]
    who: str
    status: int


@dataclass
class ApiServer:
    """The HTTPS server of a node's API, from `with` to its end, at `place`."""

    node: FakeNode
    expired: bool = False
    place: tuple[str, int] = ("127.0.0.1", 0)
    login_seconds: float = 0.0
    requests: list[Request] = field(default_factory=list)
    asking: threading.local = field(default_factory=threading.local)

    def __enter__(self) -> Self:
        """Start to listen."""
        self.files = certificates.make(self.node.folder / "certificates", expired=self.expired)
        self.node.configure(fingerprint=self.files.fingerprint)
        self._secret = random.randbytes(32)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.files.certificate, self.files.key)
        self._server = _Server(self.place, self, context)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, and the backups that still run."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for task in tasks.listed(self.node.state):
            if task["status"] == "RUNNING":
                tasks.stop(self.node.state, task["upid"])

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where the API begins."""
        return f"https://127.0.0.1:{self.port}/api2/json"

    # Who asks

    def ticket(self, user: str, when: float | None = None) -> str:
        """Return a ticket of a user, as of now or another time."""
        text = f"PVE:{user}:{int(when or time.time()):08X}"
        return f"{text}::{self._sign(text)}"

    def csrf(self, user: str) -> str:
        """Return what a user's ticket needs beside it to change something."""
        text = f"{int(time.time()):08X}:{user}"
        return f"{text.partition(':')[0]}:{self._sign(text)}"

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def identify(self, method: str, path: str, headers: dict[str, str]) -> tuple[access.Who, bool]:
        """Return who asks, and whether by token. Raise what the server answers to strangers."""
        given = headers.get("authorization", "")
        if given.startswith("PVEAPIToken"):
            return self._by_token(given), True
        cookie = dict(part.strip().partition("=")[::2] for part in headers.get("cookie", "").split(";"))
        ticket = urllib.parse.unquote(cookie.get("PVEAuthCookie", ""))
        if not ticket:
            raise _RefusedError(401, "No ticket")
        text, _, signature = ticket.partition("::")
        _, _, rest = text.partition(":")
        user, _, stamp = rest.rpartition(":")
        known = hmac.compare_digest(self._sign(text), signature)
        if not known or time.time() - int(stamp, 16) > _TICKET_SECONDS:
            raise _RefusedError(401, "Authentication failed!")
        if method != "GET" and not self._csrf_holds(user, headers.get("csrfpreventiontoken", "")):
            raise _RefusedError(401, "Permission denied - invalid csrf token")
        return access.Who(self.node.state, user), False

    def _csrf_holds(self, user: str, given: str) -> bool:
        stamp, _, signature = given.partition(":")
        return hmac.compare_digest(self._sign(f"{stamp}:{user}"), signature)

    def _by_token(self, header: str) -> access.Who:
        full, _, secret = header.partition("=")[2].rpartition("=")
        user, _, name = full.partition("!")
        token = access.load(self.node.state)["tokens"].get(full)
        if token is None or not hmac.compare_digest(token["value"].encode(), secret.encode()):
            raise _RefusedError(401, "Authentication failed!")
        return access.Who(self.node.state, user, name)

    def log_in(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the ticket for a user's password."""
        if "password" not in params:
            raise api.ParameterError({"password": "property is missing and it is not optional"})
        user = str(params.get("username"))
        known = access.load(self.node.state)["users"].get(user, {})
        if known.get("password") is None or known["password"] != params["password"]:
            time.sleep(self.login_seconds)
            raise PveError("authentication failure\n", 401)
        who = access.Who(self.node.state, user)
        cap = {}
        for name, (path, prefixes) in _CAPABILITIES.items():
            held = sorted(one for one in who.privileges(path) if one.startswith(prefixes))
            cap[name] = dict.fromkeys(held, 1)
        answer = {"username": user, "ticket": self.ticket(user), "CSRFPreventionToken": self.csrf(user)}
        return {**answer, "cap": cap}

    # What is asked

    def answer(self, method: str, path: str, headers: dict[str, str], params: dict[str, Any]) -> api.Answer:
        """Return the answer to a request. Raise what it is refused with."""
        node = self.node.state
        if (method, path) in _OPEN and "authorization" not in headers and "cookie" not in headers:
            who, by_token = access.Who(node, "nobody@none"), False
        else:
            who, by_token = self.identify(method, path, headers)
        self.asking.who = who.name
        if schema.available():
            problems = schema.errors(method, path, params)
            if problems is None and path != "/":
                raise api.NotImplementedHereError(method, path)
            if problems:
                raise api.ParameterError(problems)
        if (method, path) == ("POST", "/access/ticket"):
            return api.Answer(self.log_in(params))
        return api.call(node, who, method, path, params, by_token=by_token)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], api_server: ApiServer, context: ssl.SSLContext) -> None:
        self.api = api_server
        self._context = context
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(30)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust the certificate, or goes away, is none of the server's business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Requests are kept in `ApiServer.requests`."""

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        fault = self.server.api.node.state.fault("api-drop")
        params: dict[str, Any] = {}
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urllib.parse.unquote(path.removeprefix("/api2/json"))
        path = "/" + "/".join(part for part in path.split("/") if part)
        if fault and fault in path:
            self.close_connection = True
            return
        status, reason, text, kind = 500, "", "", "application/json;charset=UTF-8"
        try:
            params = self._params(query, body)
            found = self.server.api.answer(self.command, path, self._lower(), params)
            status, reason = 200, "OK"
            if found.text is None:
                total = {} if found.total is None else {"total": found.total}
                text = _json({"data": found.data, **total})
            else:
                text, kind = found.text, "text/plain"
        except _RefusedError as error:
            status, reason, text = error.status, error.reason, error.body
        except api.ParameterError as error:
            status, reason = 400, "Parameter verification failed."
            text = _json({"data": None, "message": error.text, "errors": error.errors})
        except PveError as error:
            status = error.code if error.code >= 400 else 500
            reason = error.text.replace("\n", " ").strip()
            end = "" if status == 501 or error.text.endswith("\n") else "\n"
            text = "" if status == 595 else _json({"data": None, "message": error.text + end})
        who = self.server.api.asking.__dict__.pop("who", "")
        self.server.api.requests.append(Request(self.command, path, params, who, status))
        self._send(status, reason, text, kind)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815  - http.server looks for these

    def _lower(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _params(self, query: str, body: bytes) -> dict[str, Any]:
        if self.command not in _METHODS:
            raise _RefusedError(501, f"method '{self.command}' not available")
        params = _form(query)
        kind = (self.headers.get("content-type") or "").partition(";")[0]
        if self.command in ("GET", "DELETE") or not body:
            return params
        if kind == "application/json":
            try:
                return {**params, **json.loads(body)}
            except ValueError:
                raise _RefusedError(500, _BAD_JSON, _BAD_JSON + "\n") from None
        if kind != "application/x-www-form-urlencoded":
            problem = f"upload 'Content-Type '{kind}' not implemented"
            raise _RefusedError(506, problem, problem)
        return {**params, **_form(body.decode("utf-8"))}

    def _send(self, status: int, reason: str, text: str, kind: str) -> None:
        data = text.encode("utf-8")
        self.send_response_only(status, reason)
        self.send_header("Cache-Control", "max-age=0")
        self.send_header("Server", "pve-api-daemon/3.0")
        self.send_header("Content-Length", str(len(data)))
        if data:
            self.send_header("Content-Type", kind)
        if status in (401, 501, 506):
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)


def _form(text: str) -> dict[str, Any]:
    """Return a form's fields; one that is given several times is a list."""
    params: dict[str, Any] = {}
    for name, value in urllib.parse.parse_qsl(text, keep_blank_values=True):
        if name not in params:
            params[name] = value
        elif isinstance(params[name], list):
            params[name].append(value)
        else:
            params[name] = [params[name], value]
    return params


def _json(value: Any) -> str:
    """Return JSON whose keys are in no order, as Perl gives them."""
    return json.dumps(_shuffled(value), ensure_ascii=False, separators=(",", ":"))


def _shuffled(value: Any) -> Any:
    if isinstance(value, list):
        return [_shuffled(item) for item in value]
    if isinstance(value, dict):
        items = list(value.items())
        random.shuffle(items)
        return {key: _shuffled(item) for key, item in items}
    return value
