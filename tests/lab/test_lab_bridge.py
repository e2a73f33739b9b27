"""The bridge between real machines: byte for byte, whatever is sent."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maw.cli.workspace import current

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maw.transport.base import Transport

pytestmark = pytest.mark.lab

# Says its arguments and its input, byte for byte, with nothing but the shell's own words.
ECHO = ["sh", "-c", 'for word; do printf "%s\\0" "$word"; done; printf "\\0"; exec cat', "echo"]
ALL_BYTES = bytes(range(256))
HOSTILE = ["", " ", "$(id)", "%PATH%", "^", "!", "a\nb", "'", '"', "\\", "`", "&|<>;*?", "สวัสดี", "🙂", "\x1a"]


@pytest.fixture
def transports(lab_workspace: Path) -> Iterator[list[Transport]]:
    """Fabric, and ssh with the generated config, to the notebook's WSL."""
    context = current()
    host = context.topology.host("notebook-wsl")
    with context.transport(host, warm=True) as fabric, context.transport(host, warm=False) as openssh:
        yield [fabric, openssh]


def _said(arguments: list[str], data: bytes) -> bytes:
    words = [argument.encode("utf-8", "surrogateescape") for argument in arguments]
    return b"".join(word + b"\0" for word in words) + b"\0" + data


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_thousand_random_argument_lists_and_inputs_arrive_byte_for_byte(
    transports: list[Transport],
) -> None:
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
    raw = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
    arguments = st.lists(text | raw | st.sampled_from(HOSTILE), max_size=8)
    inputs = st.binary(max_size=3000) | st.sampled_from([b"", ALL_BYTES, b"\r\n", b"\x1a", b"\xff\xfe"])
    seen = 0

    @settings(max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(arguments, inputs)
    def check(words: list[str], data: bytes) -> None:
        nonlocal seen
        seen += 1
        for transport in transports:
            assert transport.run([*ECHO, *words], stdin=data).stdout == _said(words, data)

    check()
    assert seen >= 2000


def test_megabytes_of_all_bytes_come_back_as_they_went(transports: list[Transport]) -> None:
    data = random.Random(3).randbytes((1 << 20) - 256) + ALL_BYTES
    for transport in transports:
        assert transport.run([*ECHO, *HOSTILE], stdin=data).stdout == _said(HOSTILE, data)


@pytest.mark.parametrize("status", [0, 1, 67, 87, 255])
def test_exit_codes_pass(transports: list[Transport], status: int) -> None:
    for transport in transports:
        assert transport.run(["sh", "-c", f"exit {status}"]).ending.exit_status == status
