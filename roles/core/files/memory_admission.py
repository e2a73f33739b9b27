#!/usr/bin/python3
"""Whether a model fits into the memory that is free now; what systemd asks before it starts the Oracle.

Standard library only. Prints the figures, exit status 0 if it fits, 1 if not, 2 if FILE is no whole GGUF.
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import BinaryIO

MEGABYTE = 1_000_000
# Sizes of GGUF's plain value types by their number; 8 is a string, 9 a list.
_PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _LIST = 8, 9
# A header's strings and lists are far shorter; more is a damaged file.
_LONGEST = 64 * MEGABYTE
# Keys and values of the cache are 16-bit numbers, llama.cpp's default.
_CACHE_BYTES = 2


class NotGguf(Exception):
    """The file is no GGUF, or not a whole one."""


def _take(stream: BinaryIO, size: int) -> bytes:
    if size > _LONGEST:
        raise NotGguf(f"its header names {size} bytes at once: it is damaged")
    data = stream.read(size)
    if len(data) != size:
        raise NotGguf("it ends within its header: it was cut short, fetch it again")
    return data


def _number(stream: BinaryIO, letter: str) -> int | float | bool:
    (value,) = struct.unpack(f"<{letter}", _take(stream, struct.calcsize(letter)))
    return value  # type: ignore[no-any-return]  # what struct gives is untyped


def _text(stream: BinaryIO) -> str:
    return _take(stream, int(_number(stream, "Q"))).decode("utf-8", "replace")


def _value(stream: BinaryIO, kind: int) -> object:
    if kind in _PLAIN:
        return _number(stream, _PLAIN[kind])
    if kind == _STRING:
        return _text(stream)
    if kind != _LIST:
        raise NotGguf(f"its header has a value of the unknown type {kind}")
    inner, count = int(_number(stream, "I")), int(_number(stream, "Q"))
    if inner in _PLAIN:
        size = struct.calcsize(_PLAIN[inner])
        data = _take(stream, size * count)
        return [value for (value,) in struct.iter_unpack(f"<{_PLAIN[inner]}", data)]
    if count > _LONGEST:
        raise NotGguf(f"its header has a list of {count} values: it is damaged")
    return [_value(stream, inner) for _ in range(count)]


def metadata(path: Path) -> dict[str, object]:
    """Given a GGUF file, return its metadata by key. Raise NotGguf or OSError."""
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise NotGguf("it does not begin with GGUF")
        version = int(_number(stream, "I"))
        if version not in (2, 3):
            raise NotGguf(f"it is of version {version}, this program knows 2 and 3")
        _number(stream, "Q")  # the number of tensors
        count = int(_number(stream, "Q"))
        found: dict[str, object] = {}
        for _ in range(count):
            name = _text(stream)
            found[name] = _value(stream, int(_number(stream, "I")))
        return found


def _whole(found: dict[str, object], name: str) -> int | None:
    value = found.get(name)
    # Some models have another number of heads in each layer.
    if isinstance(value, list):
        value = max((one for one in value if isinstance(one, int)), default=None)
    return value if isinstance(value, int) else None


def cache_bytes(found: dict[str, object], context: int) -> int:
    """Given a model's metadata and a number of tokens, return the bytes of keys and values. Raise NotGguf."""
    architecture = found.get("general.architecture")
    layers = _whole(found, f"{architecture}.block_count")
    heads = _whole(found, f"{architecture}.attention.head_count")
    width = _whole(found, f"{architecture}.embedding_length")
    if not isinstance(architecture, str) or not layers or not heads or not width:
        raise NotGguf("its header lacks what the size of the cache follows from")
    shared = _whole(found, f"{architecture}.attention.head_count_kv") or heads
    key = _whole(found, f"{architecture}.attention.key_length") or width // heads
    value = _whole(found, f"{architecture}.attention.value_length") or width // heads
    return layers * context * shared * (key + value) * _CACHE_BYTES


def available_bytes(meminfo: Path, cgroup: Path) -> int:
    """Return the bytes that can be had now, from the kernel and within the limit of the own group."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text("ascii").splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        limit = (cgroup / "memory.max").read_text("ascii").strip()
        used = int((cgroup / "memory.current").read_text("ascii"))
    except (FileNotFoundError, NotADirectoryError):
        # The top group has no limit, and another version of groups no such files.
        return free
    return free if limit == "max" else min(free, int(limit) - used)


def main(argv: list[str] | None = None) -> int:
    """Given the command line, print the figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="memory_admission", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="a GGUF file")
    parser.add_argument("--context", type=int, required=True, help="tokens of context")
    parser.add_argument("--reserve-megabytes", type=int, default=1024, help="for computing, and for others")
    parser.add_argument("--meminfo", type=Path, default=Path("/proc/meminfo"))
    parser.add_argument("--cgroup", type=Path, default=Path("/sys/fs/cgroup"))
    given = parser.parse_args(argv)
    try:
        size = given.model.stat().st_size
        cache = cache_bytes(metadata(given.model), given.context)
    except (NotGguf, OSError, struct.error) as error:
        print(f"{given.model} cannot be the Oracle's model: {error}", file=sys.stderr)
        return 2
    wanted = size + cache + given.reserve_megabytes * MEGABYTE
    free = available_bytes(given.meminfo, given.cgroup)
    figures = (
        f"{wanted / MEGABYTE:.0f} MB are needed (model {size / MEGABYTE:.0f}, {given.context} tokens of "
        f"context {cache / MEGABYTE:.0f}, reserve {given.reserve_megabytes}), "
        f"{free / MEGABYTE:.0f} MB are free"
    )
    if wanted > free:
        print(
            f"the Oracle is not started: {figures}. Stop what else runs here, take a smaller model or "
            "context (core_oracle_model, core_oracle_context), or give this machine more memory.",
            file=sys.stderr,
        )
        return 1
    print(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
