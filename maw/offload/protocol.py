"""The lines between core and worker: JSON, one object a line, each checked field by field.

docs/worker.md describes them for people. Nothing that arrives is ever evaluated, unpickled or
used as a path.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

from maw.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

VERSION = 1
# A line may have this many bytes; longer content travels in several parts.
LONGEST_LINE = 4 << 20
# Bytes of content in one part or text line, before base64.
PART = 512 << 10
LONGEST_ID = 200
# A document of up to this many bytes travels in its job line.
SMALL = 256 << 10
# Bytes that the text of one document may have on the core.
MOST_TEXT = 512 << 20

_TEXT: tuple[type, ...] = (str,)
_MAYBE_TEXT: tuple[type, ...] = (str, type(None))
_WHOLE: tuple[type, ...] = (int,)
_NUMBER: tuple[type, ...] = (int, float)
_LIST: tuple[type, ...] = (list,)
_OBJECT: tuple[type, ...] = (dict,)

# type -> field -> (JSON types, required). Unknown fields are refused.
JOB_LINES: dict[str, dict[str, tuple[tuple[type, ...], bool]]] = {
    "job": {
        "id": (_TEXT, True),
        "name": (_TEXT, False),
        "engine": (_TEXT, False),
        "sentences": (_WHOLE, False),
        "question": (_MAYBE_TEXT, False),
        "media_type": (_MAYBE_TEXT, False),
        "timeout": (_NUMBER, False),
        "return_text": ((bool,), False),
        "text": (_TEXT, False),
        "data": (_TEXT, False),
        "url": (_TEXT, False),
        "parts": (_WHOLE, False),
    },
    "part": {"id": (_TEXT, True), "data": (_TEXT, True)},
    "ping": {},
}
WORKER_LINES: dict[str, dict[str, tuple[tuple[type, ...], bool]]] = {
    "hello": {
        "protocol": (_WHOLE, True),
        "version": (_TEXT, True),
        "host": (_TEXT, True),
        "engines": (_OBJECT, True),
        "processes": (_WHOLE, True),
    },
    "text": {"id": (_TEXT, True), "data": (_TEXT, True)},
    "result": {
        "id": (_TEXT, True),
        "engine": (_TEXT, True),
        "model": (_TEXT, True),
        "seconds": (_NUMBER, True),
        "cpu_seconds": (_NUMBER, True),
        "sha256": (_TEXT, True),
        "kind": (_TEXT, True),
        "characters": (_WHOLE, True),
        "text_sha256": (_TEXT, True),
        "notes": (_LIST, True),
        "summary": (_LIST, True),
    },
    "error": {"id": (_MAYBE_TEXT, True), "kind": (_TEXT, True), "message": (_TEXT, True)},
    "pong": {},
}


def encode(message: dict[str, Any]) -> bytes:
    """Given a message, return its line. Any Python text passes, lone surrogates too."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def decode(
    line: bytes, known: dict[str, dict[str, tuple[tuple[type, ...], bool]]], *, host: str
) -> dict[str, Any]:
    """Given a line and the lines that may come, return the message.

    `host` names the sender in errors. Raise ProtocolError for anything else than one of them.
    """

    def refuse(reason: str) -> ProtocolError:
        return ProtocolError(host=host, reason=reason)

    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        start = line[:60].decode("utf-8", "replace")
        raise refuse(f"{start!r} is not JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise refuse("a line is not an object with a type")
    kind = message.pop("type")
    if kind not in known:
        raise refuse(f"there is no line of type {kind[:40]!r}")
    fields = known[kind]
    for name, value in message.items():
        if name not in fields:
            raise refuse(f"{kind} has no field {name[:40]!r}")
        types = fields[name][0]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise refuse(f"{name} of {kind} is a {type(value).__name__}")
    for name, (_, required) in fields.items():
        if required and name not in message:
            raise refuse(f"{kind} lacks {name}")
    if len(message.get("id") or "") > LONGEST_ID:
        raise refuse(f"the id of a {kind} is longer than {LONGEST_ID} characters")
    return {"type": kind, **message}


def lines(stream: BinaryIO, *, host: str) -> Iterator[bytes | ProtocolError]:
    """Given a binary stream, yield its lines; a line over LONGEST_LINE is yielded as an error.

    What is left of a line that is too long is read past, never kept.
    """
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) <= LONGEST_LINE or line.endswith(b"\n"):
            if line.strip():
                yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_LINE)
        yield ProtocolError(
            host=host, reason=f"a line is longer than {LONGEST_LINE} bytes (send it in parts)"
        )


def data_line(message: dict[str, Any], content: bytes) -> bytes:
    """Given a message and bytes, return its line with the bytes as its field `data`."""
    # Base64 needs no escapes, so only the rest goes through JSON.
    return b'%s,"data":"%s"}\n' % (encode(message)[:-2], base64.b64encode(content))


def data_of(message: dict[str, Any]) -> bytes:
    """Given a message with data, return its bytes. Raise ValueError if they are not base64."""
    return base64.b64decode(message["data"], validate=True)


def text_lines(identifier: str, text: str) -> Iterator[bytes]:
    """Given a job's id and its text, yield the lines that carry the text, compressed."""
    packed = zlib.compress(text.encode("utf-8", "surrogatepass"), 1)
    for start in range(0, len(packed), PART):
        data = base64.b64encode(packed[start : start + PART]).decode("ascii")
        yield encode({"type": "text", "id": identifier, "data": data})


def unpack_text(pieces: Sequence[str], most: int = MOST_TEXT) -> tuple[str, bytes]:
    """Given the data of text lines, return the text and its compressed bytes.

    Raise ValueError if they are not what `text_lines` makes, or unpack to more than `most` bytes.
    """
    packed = b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, most)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("the text is cut short, or larger than a document may be")
    return content.decode("utf-8", "surrogatepass"), packed
