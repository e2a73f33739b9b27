"""A small Proxmox API server that answers from recordings, and the certificates that it shows."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARED = Path(__file__).resolve().parents[3] / "shared"
RECORDINGS = SHARED / "fixtures" / "api"
COMMANDS = SHARED / "fixtures" / "cli"
SCHEMA = SHARED / "reference" / "pve-apidata.json"
SECRET = "12345678-9abc-def0-1234-56789abcdef0"
PREFIX = "/api2/json"

Answer = tuple[int, str, bytes]


def needs(place: Path) -> pytest.MarkDecorator:
    """Skip, with the reason, where the recordings are not."""
    return pytest.mark.skipif(not place.exists(), reason=f"there is no {place.name} in ../shared here")


def recording(path: Path) -> dict[str, Any]:
    """Given a recording's file, return it; one of them has text of the recorder after it."""
    return json.JSONDecoder().raw_decode(path.read_text("utf-8"))[0]


def recordings() -> list[dict[str, Any]]:
    """All recorded exchanges, in order; none where there are no recordings."""
    found = []
    for path in sorted(RECORDINGS.glob("*.json")) if RECORDINGS.exists() else []:
        one = recording(path)
        if "status" in one:
            found.append({**one, "file": path.stem})
    return found


def named(number: int) -> dict[str, Any]:
    """Given a recording's number, return its JSON."""
    (path,) = RECORDINGS.glob(f"{number:03d}-*.json")
    return recording(path)


def as_answer(one: dict[str, Any]) -> Answer:
    return one["status"], one["reason"], one["body"].encode()


def data(content: Any) -> Answer:
    """Given any data, return the answer that gives it."""
    return 200, "OK", json.dumps({"data": content}).encode()


@dataclass
class Certificate:
    """A certificate, its key, and the CA's that signed it, as files."""

    file: Path
    ca_file: Path
    fingerprint: str


def make_certificate(
    folder: Path, *, names: tuple[str, ...] = ("pve1",), days: int = 30, ca: bool = True
) -> Certificate:
    """Make a certificate for 127.0.0.1, signed by a CA of its own or by itself; `days` may be negative."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Proxmox Virtual Environment")])
    begin, end = now - datetime.timedelta(days=60), now + datetime.timedelta(days=60)
    ca_builder = x509.CertificateBuilder(ca_name, ca_name, ca_key.public_key(), 1, begin, end)
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca_certificate = (
        ca_builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
        )
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    issuer, signer = (ca_name, ca_key) if ca else (name, key)
    alternatives: list[x509.GeneralName] = [x509.DNSName(one) for one in names]
    if "elsewhere" not in names:
        alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    end = now + datetime.timedelta(days=days)
    certificate = (
        x509.CertificateBuilder(issuer, name, key.public_key(), 2, begin, end)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + certificate.public_bytes(pem))
    (folder / "ca.pem").write_bytes(ca_certificate.public_bytes(pem))
    digits = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificate(folder / "server.pem", folder / "ca.pem", digits)


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    params: dict[str, str]
    authorization: str


@dataclass
class Server:
    """An HTTPS server whose `answer` decides; `seen` is what was asked."""

    certificate: Certificate
    answer: Callable[[Request], Answer | None]
    seen: list[Request] = field(default_factory=list)
    tls: bool = True

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate.file)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    server_of: Server
    protocol_version = "HTTP/1.1"
    timeout = 10

    def handle_any(self) -> None:
        place = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        pairs = urllib.parse.parse_qsl(place.query) + urllib.parse.parse_qsl(body)
        path = place.path.removeprefix(PREFIX)
        authorization = self.headers.get("Authorization", "")
        request = Request(self.command, path, dict(pairs), authorization)
        self.server_of.seen.append(request)
        answer = self.server_of.answer(request)
        if answer is None:
            # The connection is closed without a word.
            self.close_connection = True
            return
        status, reason, content = answer
        self.send_response(status, reason)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        if 300 <= status < 400:
            self.send_header("Location", "https://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def hanging(seconds: float) -> Callable[[Request], Answer]:
    def answer(_: Request) -> Answer:
        time.sleep(seconds)
        return data(None)

    return answer


class Schema:
    """The API's own description, to check requests against."""

    def __init__(self, path: Path = SCHEMA) -> None:
        self._methods: list[tuple[list[str], dict[str, Any]]] = []
        for node in self._walk(json.loads(path.read_text("utf-8"))):
            self._methods.append((node["path"].strip("/").split("/"), node.get("info", {})))

    def _walk(self, nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for node in nodes:
            yield node
            yield from self._walk(node.get("children") or [])

    def check(self, method: str, path: str, params: dict[str, Any]) -> None:
        """Given a request (its path percent-encoded), assert that the API has it, with these parameters."""
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        for pattern, info in self._methods:
            if len(pattern) == len(parts) and all(
                a == b or a.startswith("{") for a, b in zip(pattern, parts, strict=True)
            ):
                assert method in info, f"{method} {path}"
                taken = {a[1:-1]: b for a, b in zip(pattern, parts, strict=True) if a.startswith("{")}
                self._check_parameters(info[method], {**params, **taken})
                return
        raise AssertionError(f"the API has no {path}")

    def _check_parameters(self, info: dict[str, Any], params: dict[str, Any]) -> None:
        known = info["parameters"].get("properties", {})
        for name, value in params.items():
            assert name in known, f"{info['name']} knows no {name}"
            kind, text = known[name], str(value)
            if kind.get("type") == "integer":
                assert text.lstrip("-").isdecimal()
                assert int(kind.get("minimum", 0)) <= int(text) <= int(kind.get("maximum", 10**12))
            if kind.get("type") == "boolean":
                assert text in ("0", "1")
            if "enum" in kind:
                assert text in kind["enum"]
        missing = {name for name, kind in known.items() if not kind.get("optional")} - set(params)
        assert not missing, f"{info['name']} wants {missing}"
