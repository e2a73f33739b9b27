"""What the tests of text share: makers of PDF and Word documents, and a small HTTP server."""

from __future__ import annotations

import io
import socketserver
import threading
import zipfile
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_CMAP = b"""/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def
1 begincodespacerange <0000> <FFFF> endcodespacerange
1 beginbfrange <0E00> <0EFF> <0E00> endbfrange
1 beginbfrange <0020> <007E> <0020> endbfrange
endcmap end end"""


class _Pdf:
    """A PDF in raw bytes: no font is inside, the text is what counts."""

    def __init__(self) -> None:
        self.objects: list[bytes] = [b"", b""]

    def add(self, body: bytes) -> int:
        self.objects.append(body)
        return len(self.objects)

    def stream(self, body: bytes) -> int:
        return self.add(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(body), body))

    def font(self, thai: bool) -> int:
        if not thai:
            return self.add(
                b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            )
        unicode_map = self.stream(_CMAP)
        descriptor = self.add(
            b"<< /Type /FontDescriptor /FontName /X /Flags 4 /FontBBox [0 0 1000 1000] /ItalicAngle 0"
            b" /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >>"
        )
        inner = self.add(
            b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /CIDSystemInfo << /Registry (Adobe)"
            b" /Ordering (Identity) /Supplement 0 >> /FontDescriptor %d 0 R /DW 600 >>" % descriptor
        )
        return self.add(
            b"<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H"
            b" /DescendantFonts [%d 0 R] /ToUnicode %d 0 R >>" % (inner, unicode_map)
        )

    def bytes(self, pages: list[int], extra: bytes = b"") -> bytes:
        self.objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
        kids = b" ".join(b"%d 0 R" % page for page in pages)
        self.objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages))
        out = bytearray(b"%PDF-1.7\n")
        offsets = []
        for number, body in enumerate(self.objects, 1):
            offsets.append(len(out))
            out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
        start = len(out)
        out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(self.objects) + 1)
        for offset in offsets:
            out += b"%010d 00000 n \n" % offset
        size = len(self.objects) + 1
        out += b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, extra, start)
        return bytes(out)


@pytest.fixture
def make_pdf() -> Callable[..., bytes]:
    """Make a PDF of pages, each a list of lines; an empty line leaves a gap."""

    def make(pages: Sequence[Sequence[str]], *, thai: bool = False, encrypted: bool = False) -> bytes:
        pdf = _Pdf()
        font = pdf.font(thai)
        numbers = []
        for lines in pages:
            shown = []
            for line in lines:
                if thai:
                    shown.append(b"<%s> Tj T*" % line.encode("utf-16-be").hex().encode())
                else:
                    escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
                    shown.append(b"(%s) Tj T*" % escaped.encode("cp1252"))
            body = pdf.stream(b"BT /F1 11 Tf 14 TL 40 780 Td %s ET" % b" ".join(shown))
            numbers.append(
                pdf.add(
                    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R"
                    b" /Resources << /Font << /F1 %d 0 R >> >> >>" % (body, font)
                )
            )
        extra = b""
        if encrypted:
            lock = pdf.add(
                b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"41" * 32, b"42" * 32)
            )
            extra = b"/Encrypt %d 0 R /ID [<00> <00>]" % lock
        return pdf.bytes(numbers, extra)

    return make


@pytest.fixture
def word_bytes() -> Callable[[Any], bytes]:
    """Save a python-docx document to bytes."""

    def save(document: Any) -> bytes:
        buffer = io.BytesIO()
        document.save(buffer)
        return buffer.getvalue()

    return save


@pytest.fixture
def make_zip() -> Callable[..., bytes]:
    """Make a zip file of names and contents."""

    def make(**parts: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
        return buffer.getvalue()

    return make


class Server:
    """A loopback HTTP server: `pages` maps a path to what answers it."""

    def __init__(self) -> None:
        self.pages: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers)))
                page = outer.pages.get(self.path) or outer.pages.get("*")
                self.close_connection = True
                try:
                    if page is None:
                        self.send_error(404, "Not Found")
                    else:
                        page(self)
                except OSError:
                    return  # the client under test hung up, as it should

            def log_message(self, *arguments: object) -> None:
                return

        class Threads(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = False
            block_on_close = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # a reset by the client is what these tests provoke

        self._server = Threads(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(
        self, path: str, body: bytes = b"", *, status: int = 200, length: bool = True, **headers: str
    ) -> None:
        def page(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            if length and "Content_Length" not in headers:
                handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.pages[path] = page

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()
