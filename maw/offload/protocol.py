"""The lines between core and worker: JSON, one object a line, each checked field by field.

docs/worker.md describes them for people. Nothing that arrives is ever evaluated, unpickled or
used as a path.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from maw.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

VERSION = 1
# A line may have this many bytes; longer content travels in several parts.
LONGEST_LINE = 4 << 20
# Bytes of content in one part line, before base64; characters in one text line.
PART = 512 << 10
LONGEST_ID = 200

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


def text_lines(identifier: str, text: str) -> Iterator[bytes]:
    """Given a job's id and its text, yield the lines that carry the text."""
    # A control character takes six bytes in JSON, any other at most four.
    step = PART
    for start in range(0, len(text), step):
        yield encode({"type": "text", "id": identifier, "data": text[start : start + step]})
