from __future__ import annotations

import contextlib
import gzip
import io
import socket
import ssl
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from maw import __version__
from maw.errors import DiskFull, DocumentTooLarge, FetchFailed, MawError
from maw.text.document import Limits
from maw.text.fetch import fetch, without_credentials
from maw.text.read import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

QUICK = Limits(fetch_seconds=1.0, fetch_stall_seconds=0.4, document_bytes=1 << 20, redirects=3)
THAI = "ระบบคลัสเตอร์ที่บ้านประกอบด้วยเซิร์ฟเวอร์หนึ่งเครื่อง"


def _failure(url: str, limits: Limits = QUICK, within: float = 2.5) -> MawError:
    started = time.monotonic()
    with pytest.raises((FetchFailed, DocumentTooLarge)) as caught:
        fetch(url, io.BytesIO(), limits=limits)
    assert time.monotonic() - started < within
    found: MawError = caught.value
    return found


def test_a_page_is_fetched_as_it_is(server: Any) -> None:
    server.answer("/page?x=1", b"<html>ok", Content_Type="text/html; charset=utf-8")
    destination = io.BytesIO()
    fetched = fetch(server.url("/page?x=1#part"), destination, limits=QUICK)
    assert destination.getvalue() == b"<html>ok"
    assert fetched.url == server.url("/page?x=1")
    assert (fetched.media_type, fetched.bytes) == ("text/html; charset=utf-8", 8)
    assert server.requests[0][1]["User-Agent"] == f"maw/{__version__}"


def test_an_empty_page_is_fetched(server: Any) -> None:
    server.answer("/", b"")
    assert fetch(server.url(), io.BytesIO(), limits=QUICK).bytes == 0


def test_a_thai_address_is_fetched(server: Any) -> None:
    server.answer("/%E0%B8%81", b"ok")
    assert fetch(server.url("/ก"), io.BytesIO(), limits=QUICK).bytes == 2


def test_a_page_in_a_wrong_charset_is_read_all_the_same(server: Any) -> None:
    page = f"<html><meta charset=utf-8><p>{THAI}</p></html>".encode("cp874")
    server.answer("/", page, Content_Type="text/html; charset=iso-8859-1")
    destination = io.BytesIO()
    fetched = fetch(server.url(), destination, limits=QUICK)
    assert read(destination.getvalue(), fetched.url, media_type=fetched.media_type).text == THAI


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_packed_page_is_unpacked(server: Any, coding: str) -> None:
    packed = gzip.compress(b"words " * 999) if coding == "gzip" else zlib.compress(b"words " * 999)
    server.answer("/", packed, Content_Encoding=coding)
    destination = io.BytesIO()
    assert fetch(server.url(), destination, limits=QUICK).bytes == 6 * 999
    assert destination.getvalue() == b"words " * 999


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (500, "500 Internal Server Error")])
def test_an_error_of_the_server_is_named(server: Any, status: int, words: str) -> None:
    server.answer("/", b"<html>sorry", status=status)
    assert words in str(_failure(server.url()))
    assert len(server.requests) == 1


def test_a_redirect_is_followed(server: Any) -> None:
    server.answer("/a", status=302, Location="/b?q=1")
    server.answer("/b?q=1", b"there")
    assert fetch(server.url("/a"), io.BytesIO(), limits=QUICK).url == server.url("/b?q=1")


def test_a_redirect_in_a_circle_is_seen(server: Any) -> None:
    server.answer("/a", status=301, Location="/b")
    server.answer("/b", status=307, Location="/a")
    assert "circle" in str(_failure(server.url("/a")))
    assert len(server.requests) == 2


def test_redirects_without_end_are_counted(server: Any) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", handler.path + "x")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.pages["*"] = page
    assert "more than 3 times" in str(_failure(server.url("/a")))
    assert len(server.requests) == 4


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://x/y", "gopher://127.0.0.1/", "javascript:1"])
def test_a_redirect_out_of_the_web_is_not_followed(server: Any, where: str) -> None:
    server.answer("/", status=302, Location=where)
    message = str(_failure(server.url()))
    assert "only http and https" in message
    assert "redirects" in message


def test_a_redirect_to_nowhere_is_named(server: Any) -> None:
    server.answer("/", status=302)
    assert "without saying where" in str(_failure(server.url()))
    server.answer("/", status=302, Location="http://[bad")
    assert "not valid" in str(_failure(server.url()))


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.org/x", "data:text/plain,x", "/etc/passwd", ""]
)
def test_only_the_web_is_fetched(url: str) -> None:
    assert "only http and https" in str(_failure(url))


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "http://a b/", "http://127.0.0.1:99999/", f"http://{'ก' * 80}.com"]
)
def test_an_address_that_is_none_is_named(url: str) -> None:
    assert isinstance(_failure(url), FetchFailed)


def _hang(server: Any) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: server.closing.wait(10) and None


def test_a_server_that_never_answers_is_left(server: Any) -> None:
    server.pages["/"] = _hang(server)
    assert "silent for 0.4 s" in str(_failure(server.url()))


def test_a_server_that_stops_in_the_middle_is_left(server: Any) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        server.closing.wait(10)

    server.pages["/"] = page
    assert "silent" in str(_failure(server.url()))


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nX-Drip: ",
        b"HTTP/1.1 3",
    ],
    ids=["length", "close", "chunk", "header", "status"],
)
def test_a_server_that_drips_is_left_at_the_deadline(server: Any, start: bytes) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        while not server.closing.wait(0.1):
            handler.wfile.write(b"0")

    server.pages["/"] = page
    assert "longer than 1 s" in str(_failure(server.url(), within=1.8))


def test_a_declared_gigabyte_is_refused_at_once(server: Any) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        server.closing.wait(10)

    server.pages["/"] = page
    error = _failure(server.url(), within=0.4)
    assert isinstance(error, DocumentTooLarge)
    assert "1 MiB" in str(error)


def test_a_body_without_end_is_cut_at_the_limit(server: Any) -> None:
    sent = 0

    def page(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not server.closing.is_set():
            handler.wfile.write(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
            sent += 0x2000

    server.pages["/"] = page
    destination = io.BytesIO()
    with pytest.raises(DocumentTooLarge):
        fetch(server.url(), destination, limits=QUICK)
    assert len(destination.getvalue()) <= 1 << 20
    assert sent < 30 << 20


def test_a_gzip_bomb_is_cut_at_the_limit(server: Any) -> None:
    bomb = gzip.compress(bytes(50_000_000), 9)
    assert len(bomb) < 100_000
    server.answer("/", bomb, Content_Encoding="gzip")
    destination = io.BytesIO()
    with pytest.raises(DocumentTooLarge):
        fetch(server.url(), destination, limits=QUICK)
    assert len(destination.getvalue()) <= 1 << 20


def test_a_bomb_in_several_layers_is_not_opened(server: Any) -> None:
    server.answer("/", gzip.compress(gzip.compress(b"x")), Content_Encoding="gzip, gzip")
    assert "gzip, gzip" in str(_failure(server.url()))


def test_what_is_packed_wrongly_is_named(server: Any) -> None:
    server.answer("/", b"no gzip at all", Content_Encoding="gzip")
    assert "packed wrongly" in str(_failure(server.url()))


def test_an_answer_that_breaks_off_is_no_success(server: Any) -> None:
    server.answer("/", b"half", Content_Length="100")
    assert "broke off" in str(_failure(server.url()))
    server.answer("/", b"5\r\nhal", length=False, Transfer_Encoding="chunked")
    assert "broke" in str(_failure(server.url()))


def test_a_server_that_speaks_no_http_is_named(server: Any) -> None:
    server.pages["/"] = lambda handler: handler.wfile.write(b"220 mail.example.org ESMTP\r\n")
    assert "does not speak HTTP" in str(_failure(server.url()))


def test_a_refused_connection_is_named() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        assert "refuses the connection" in str(_failure(f"http://127.0.0.1:{port}/"))


def test_an_unknown_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **more: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "nowhere.invalid is not known (DNS)" in str(_failure("http://nowhere.invalid/"))


def test_a_name_lookup_that_hangs_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def slow(*arguments: object, **more: object) -> list[Any]:
        over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    assert "longer than 1 s" in str(_failure("http://slow.invalid/", within=1.8))
    over.set()


def test_a_server_without_tls_on_a_secure_address_is_named(server: Any) -> None:
    error = str(_failure(server.url().replace("http:", "https:")))
    assert "TLS" in error or "broke the connection off" in error


def test_a_silent_secure_server_is_left_at_the_deadline() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        error = str(_failure(f"https://127.0.0.1:{listening.getsockname()[1]}/"))
    assert "silent" in error or "longer" in error


def test_credentials_stay_with_their_server_and_are_never_shown(server: Any) -> None:
    server.answer("/", status=302, Location="/same")
    server.answer("/same", status=302, Location=server.url("/other").replace("127.0.0.1", "localhost"))
    server.answer("/other", b"ok")
    url = server.url().replace("//", "//user:s3cret@")
    fetched = fetch(url, io.BytesIO(), limits=QUICK)
    assert fetched.url == server.url("/other").replace("127.0.0.1", "localhost")
    sent = [{key.lower(): value for key, value in headers.items()} for _, headers in server.requests]
    assert sent[0]["authorization"] == sent[1]["authorization"] == "Basic dXNlcjpzM2NyZXQ="
    assert "authorization" not in sent[2]
    server.answer("/other", status=404)
    error = _failure(url)
    assert "s3cret" not in str(error)
    assert "s3cret" not in repr(error.facts)


def test_a_full_disk_is_not_told_as_a_failure_of_the_network(server: Any) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    server.answer("/", b"words")
    with pytest.raises(DiskFull):
        fetch(server.url(), Full(), limits=QUICK)


def _self_signed(folder: Path) -> ssl.SSLContext:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    context = _self_signed(tmp_path)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def shake_hands() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=shake_hands)
        thread.start()
        error = str(_failure(f"https://localhost:{listening.getsockname()[1]}/"))
        thread.join(5)
    assert "certificate is not trusted (self-signed certificate)" in error


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a:b@host/x@y", "https://host/x@y"),
        ("http://a:b@c@host:80/", "http://host:80/"),
        ("http://host/?q=a@b", "http://host/?q=a@b"),
        ("no url", "no url"),
    ],
)
def test_credentials_are_cut_out_of_a_url(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_no_thread_is_left_behind(server: Any) -> None:
    server.answer("/", b"ok")
    fetch(server.url(), io.BytesIO(), limits=QUICK)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and any(
        isinstance(one, threading.Timer) for one in threading.enumerate()
    ):
        time.sleep(0.01)
    assert not any(isinstance(one, threading.Timer) for one in threading.enumerate())
