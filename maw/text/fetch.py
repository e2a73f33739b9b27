"""A URL's bytes, within a deadline, a size and a number of redirects."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urljoin

from maw import __version__
from maw.errors import CannotWrite, DiskFull, DocumentTooLarge, FetchFailed
from maw.text.document import size_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3.connection import HTTPConnection
    from urllib3.response import BaseHTTPResponse
    from urllib3.util import Url

    from maw.text.document import Limits

_CHUNK = 1 << 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_LONGEST_URL = 8192


@dataclass(frozen=True)
class Fetched:
    """What came: the final URL (without credentials), the Content-Type header's value, the size in bytes."""

    url: str
    media_type: str | None
    bytes: int


def fetch(url: str, destination: BinaryIO, *, limits: Limits) -> Fetched:
    """Given an http or https URL, write what it holds to `destination` and return what came.

    Nothing is tried twice. Raise FetchFailed if it cannot be had in `limits.fetch_seconds`, and
    DocumentTooLarge as soon as it is more than `limits.document_bytes`, also when unpacked; DiskFull or
    CannotWrite if `destination` takes no more.
    """
    deadline = time.monotonic() + limits.fetch_seconds
    seen: set[str] = set()
    name = without_credentials(url)
    while True:
        target = _parsed(url, name)
        if target.url in seen:
            raise FetchFailed(name=name, reason="its redirects go in a circle")
        if len(seen) > limits.redirects:
            raise FetchFailed(name=name, reason=f"it redirects more than {limits.redirects} times")
        seen.add(target.url)
        hop = _Hop(target, name, limits, deadline)
        with hop.translated(), hop.answer() as response:
            if response.status in _REDIRECTS:
                url = _next(target.url, response, name)
                continue
            size = hop.save(response, destination)
            shown = without_credentials(target.url)
            return Fetched(shown, response.headers.get("Content-Type"), size)


def without_credentials(url: str) -> str:
    """Given a URL, return it without the user name and password it may hold."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    cut = min((rest.find(mark) for mark in "/?#\\" if mark in rest), default=len(rest))
    return scheme + separator + rest[:cut].rpartition("@")[2] + rest[cut:]


def _parsed(url: str, name: str) -> Url:
    from urllib3.exceptions import HTTPError
    from urllib3.util import parse_url

    scheme = url.strip().partition(":")[0].lower()
    if scheme not in ("http", "https"):
        where = "" if without_credentials(url) == name else " (where it redirects to)"
        reason = f"only http and https addresses are fetched, not {scheme[:20] or 'this'}{where}"
        raise FetchFailed(name=name, reason=reason)
    try:
        scheme, separator, rest = url.strip().partition("://")
        cut = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
        user, at, host = rest[:cut].rpartition("@")
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        parsed = parse_url(scheme + separator + user + at + host + rest[cut:])
    except (HTTPError, ValueError) as error:
        raise FetchFailed(name=name, reason="its address is not valid") from error
    if not parsed.host or len(parsed.url) > _LONGEST_URL:
        raise FetchFailed(name=name, reason="its address is not valid")
    return parsed._replace(fragment=None)


def _next(url: str, response: BaseHTTPResponse, name: str) -> str:
    location = response.headers.get("Location")
    if not location:
        raise FetchFailed(name=name, reason=f"it redirects ({response.status}) without saying where")
    try:
        # Header bytes are read as Latin-1; servers that send letters mean UTF-8.
        location = location.encode("latin-1").decode("utf-8")
        return urljoin(url, location.strip())
    except ValueError as error:
        raise FetchFailed(name=name, reason="it redirects to an address that is not valid") from error


class _Hop:
    """One request to one server. All of it, name lookup and headers included, ends by the deadline."""

    def __init__(self, url: Url, name: str, limits: Limits, deadline: float) -> None:
        self._url = url
        self._name = name
        self._limits = limits
        self._deadline = deadline
        self._expired = False
        self._socket: socket.socket | None = None

    @contextmanager
    def answer(self) -> Iterator[BaseHTTPResponse]:
        """Yield the server's answer: its headers are read, its body is not."""
        connection = self._connection()
        # Each read has a timeout of its own, but a byte now and then would go on for ever: at the deadline
        # the socket is shut down under the reader.
        timer = threading.Timer(self._left(), self._expire)
        timer.daemon = True
        timer.start()
        try:
            connection.request("GET", self._url.request_uri, headers=self._headers(), preload_content=False)
            response = connection.getresponse()
            try:
                yield response
            finally:
                response.close()
        finally:
            timer.cancel()
            connection.close()
            if self._socket is not None:
                self._socket.close()

    def save(self, response: BaseHTTPResponse, destination: BinaryIO) -> int:
        """Write the body to `destination` and return its size in bytes."""
        if not 200 <= response.status < 300:
            words = f"{response.status} {response.reason or ''}".strip()
            raise FetchFailed(name=self._name, reason=f"the server answered {words}")
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        # Of several layers, each multiplies by a thousand what one read may unpack to.
        if coding not in _ENCODINGS:
            raise FetchFailed(
                name=self._name, reason=f"it is packed in a way that was not asked for ({coding[:40]})"
            )
        if (declared := response.headers.get("Content-Length", "")).isdecimal():
            self._check_size(int(declared[:20]))
        size = 0
        for data in response.stream(_CHUNK, decode_content=True):
            if self._left() <= 0 or self._expired:
                raise self._too_late()
            size += len(data)
            self._check_size(size)
            self._write(data, destination)
        if self._expired:
            raise self._too_late()
        return size

    def _write(self, data: bytes, destination: BinaryIO) -> None:
        try:
            destination.write(data)
        except OSError as error:
            # Not the network's fault, and not to be told as such.
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(path=self._name, where="this machine") from error
            raise CannotWrite(path=self._name, reason=error.strerror or str(error)) from error

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the errors of the network into FetchFailed."""
        from urllib3 import exceptions

        try:
            yield
        except (exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            if self._expired or self._left() <= 0:
                raise self._too_late() from error
            raise FetchFailed(name=self._name, reason=_words(error, self._limits)) from error

    def _connection(self) -> HTTPConnection:
        from urllib3.connection import HTTPConnection, HTTPSConnection

        secure = self._url.scheme == "https"
        base: Any = HTTPSConnection if secure else HTTPConnection
        hop = self

        class Connection(base):  # type: ignore[misc]
            def _new_conn(self) -> socket.socket:
                return hop.connect()

        assert self._url.host is not None
        host = self._url.host.strip("[]")
        made: HTTPConnection = Connection(host, self._url.port, timeout=self._limits.fetch_stall_seconds)
        return made

    def connect(self) -> socket.socket:
        """Return a socket connected to the server, tried at each of its addresses in turn."""
        assert self._url.host is not None
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        last: OSError | None = None
        for family, kind, protocol, _, address in self._addresses(self._url.host.strip("[]"), port):
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(max(0.001, min(self._limits.fetch_stall_seconds, self._left())))
                made.connect(address)
                made.settimeout(self._limits.fetch_stall_seconds)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # TLS takes the socket over: the copy stays, for the timer to shut down.
                self._socket = made.dup()
            except OSError as error:
                made.close()
                last = error
            else:
                return made
        raise last or OSError("the name has no address")

    def _addresses(self, host: str, port: int) -> list[Any]:
        # The resolver has no timeout of its own: it is left behind at the deadline.
        outcome: list[Any] = []

        def look_up() -> None:
            try:
                outcome.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                outcome.append(error)

        thread = threading.Thread(target=look_up, name="maw-lookup", daemon=True)
        thread.start()
        thread.join(max(0.0, self._left()))
        if not outcome:
            raise self._too_late()
        if isinstance(outcome[0], Exception):
            raise FetchFailed(name=self._name, reason=f"the name {host} is not known (DNS)") from outcome[0]
        found: list[Any] = outcome[0]
        return found

    def _headers(self) -> dict[str, str]:
        from urllib3.util import make_headers

        headers = {
            "User-Agent": f"maw/{__version__}",
            "Accept": "text/html, application/xhtml+xml, text/plain, application/pdf, */*;q=0.5",
            "Accept-Encoding": "gzip, deflate",
        }
        if self._url.auth:
            from urllib.parse import unquote

            headers.update(make_headers(basic_auth=unquote(self._url.auth, encoding="latin-1")))
        return headers

    def _expire(self) -> None:
        self._expired = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                # The other side was faster: the connection is down already.
                return

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _too_late(self) -> FetchFailed:
        return FetchFailed(name=self._name, reason=f"it took longer than {self._limits.fetch_seconds:g} s")

    def _check_size(self, size: int) -> None:
        if size > self._limits.document_bytes:
            limit = size_in_words(self._limits.document_bytes)
            raise DocumentTooLarge(name=self._name, limit=limit, setting="text.document_megabytes")


def _words(error: BaseException, limits: Limits) -> str:
    from urllib3 import exceptions

    chain = [error, error.__cause__, error.__context__, *error.args]
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in chain):
        found = next(one for one in chain if isinstance(one, ssl.SSLCertVerificationError))
        return f"its certificate is not trusted ({found.verify_message})"
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return f"the server was silent for {limits.fetch_stall_seconds:g} s"
    if isinstance(error, (ssl.SSLError, exceptions.SSLError)):
        return "no secure connection (TLS) could be made"
    if isinstance(error, ConnectionRefusedError):
        return "the server refuses the connection"
    if isinstance(error, exceptions.DecodeError):
        return "what the server sent is packed wrongly"
    if any(isinstance(one, http.client.IncompleteRead) for one in chain):
        return "the server broke off in the middle of its answer"
    if isinstance(error, (exceptions.ProtocolError, http.client.HTTPException, ConnectionError)):
        return "the server broke the connection off, or does not speak HTTP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"the exchange with the server failed ({type(error).__name__})"
