"""The lines between core and worker are checked field by field, whatever arrives."""

from __future__ import annotations

import base64
import io
import json
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import ProtocolError
from maw.offload import protocol


def decode(line: bytes) -> dict:
    return protocol.decode(line, protocol.JOB_LINES, host="there")


def test_a_message_survives_the_line_whatever_its_text():
    message = {"type": "job", "id": "1", "text": 'ไทย 😀 \n \u2028 \x00 \ud800 "quote"'}
    line = protocol.encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(data):
    try:
        decode(data)
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "not an object with a type"),
        (b'{"type": 5}', "not an object with a type"),
        (b'{"type": "shell"}', "no line of type"),
        (b'{"type": "job"}', "lacks id"),
        (b'{"type": "job", "id": 7}', "id of job is a int"),
        (b'{"type": "job", "id": "1", "path": "/etc/passwd"}', "no field 'path'"),
        (b'{"type": "job", "id": "1", "sentences": true}', "sentences of job is a bool"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_not_a_line_of_the_protocol_is_refused_with_the_reason(line, reason):
    with pytest.raises(ProtocolError, match=reason):
        decode(line)


def test_an_overlong_id_is_refused():
    with pytest.raises(ProtocolError, match="longer than 200"):
        decode(json.dumps({"type": "job", "id": "x" * 201}).encode())


def test_a_line_that_is_too_long_is_an_error_and_the_next_one_is_read():
    stream = io.BytesIO(b"x" * (protocol.LONGEST_LINE * 2 + 5) + b"\n" + b'{"type":"ping"}\n\n')
    first, second = list(protocol.lines(stream, host="there"))
    assert isinstance(first, ProtocolError)
    assert second == b'{"type":"ping"}\n'


def test_text_travels_packed_in_lines_that_are_short_enough():
    text = "\x01ไ😀\ud800" * 400_000 + os.urandom(2_000_000).hex()
    lines = list(protocol.text_lines("1", text))
    assert len(lines) > 1
    assert all(len(line) <= protocol.LONGEST_LINE for line in lines)
    pieces = [protocol.decode(line, protocol.WORKER_LINES, host="x")["data"] for line in lines]
    assert protocol.unpack_text(pieces)[0] == text


def test_a_text_that_unpacks_to_more_than_may_be_is_refused():
    bomb = base64.b64encode(zlib.compress(b"x" * 50_000_000)).decode()
    with pytest.raises(ValueError, match="larger than a document"):
        protocol.unpack_text([bomb], most=1_000_000)


@pytest.mark.parametrize(
    "pieces", [[], ["***"], ["AAAA"], [base64.b64encode(zlib.compress(b"x") + b"more").decode()]]
)
def test_what_is_no_packed_text_is_refused(pieces):
    with pytest.raises(ValueError):
        protocol.unpack_text(pieces)


def test_bytes_travel_as_the_field_data():
    data = os.urandom(1000)
    message = decode(protocol.data_line({"type": "part", "id": 'an "id"\n'}, data))
    assert (message["id"], protocol.data_of(message)) == ('an "id"\n', data)
