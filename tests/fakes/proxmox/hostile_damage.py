"""Archives that are not whole, or lie about what they hold."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.fakes.proxmox.hostile_members import body, head, honest, member, record, tar

BLOCK = tarfile.BLOCKSIZE
PAX_BOMB = 20_000_000
_PAYLOAD = bytes(range(256)) * 40


def _parts() -> tuple[bytes, int]:
    """Return an archive whose last member has data, and where that member's header is."""
    before = tar([*head(), *body()])
    data = tar([*head(), *body(), member("./opt/payload.bin", content=_PAYLOAD)])
    return data, len(before.rstrip(b"\0")) // BLOCK * BLOCK + BLOCK


def _end(data: bytes) -> int:
    """Return where the blocks of zeros begin that end an archive."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        last = archive.getmembers()[-1]
    return last.offset_data + -(-last.size // BLOCK) * BLOCK


def _bytes(make: Callable[[], bytes]) -> Callable[[Path], None]:
    """Return what writes a tar's bytes, compressed as the path's suffix says."""

    def write_to(path: Path) -> None:
        from tests.fakes.proxmox.archives import write

        write(path, make())

    return write_to


def _raw(make: Callable[[Path], bytes]) -> Callable[[Path], None]:
    """Return what writes bytes as they are."""

    def write_to(path: Path) -> None:
        path.write_bytes(make(path))

    return write_to


def _compressed(path: Path, data: bytes) -> bytes:
    from tests.fakes.proxmox.archives import compressed, compression

    return compressed(data, compression(path))


def _cut(distance: int) -> Callable[[], bytes]:
    """Return what makes an archive that ends so many bytes after its last header begins."""

    def make() -> bytes:
        data, header = _parts()
        return data[: header + distance]

    return make


def _without_end(blocks: int) -> Callable[[], bytes]:
    def make() -> bytes:
        data, _ = _parts()
        return data[: _end(data) + blocks * BLOCK]

    return make


def _header(name: str, **values: object) -> bytearray:
    info, _ = member(name, **values)  # type: ignore[arg-type]
    return bytearray(info.tobuf(tarfile.USTAR_FORMAT))


def _sealed(header: bytearray) -> bytes:
    """Return a header with the checksum that its bytes ask for."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:BLOCK])
    return bytes(header)


def _with_block(header: bytes, content: bytes = b"") -> bytes:
    """Return an honest archive with a header of one's own before its end."""
    data = honest()
    padded = content + b"\0" * (-len(content) % BLOCK)
    return data[: _end(data)] + header + padded + b"\0" * 2 * BLOCK


def _bad_checksum() -> bytes:
    data, header = _parts()
    damaged = bytearray(data)
    damaged[header + 148 : header + 154] = b"000001"
    return bytes(damaged)


def _size_lie() -> bytes:
    header = _header("./opt/lie", size=0)
    header[124:136] = b"00777777777\0"
    return _with_block(_sealed(header), b"short")


def _negative_size() -> bytes:
    header = _header("./opt/lie", size=0)
    header[124:136] = b"\xff" * 12
    return _with_block(_sealed(header), b"short")


def _huge_size() -> bytes:
    header = _header("./opt/lie", size=0)
    header[124:136] = b"\x80" + b"\0" * 3 + (2**63 - 512).to_bytes(8, "big")
    return _with_block(_sealed(header), b"short")


def _pax_block(records: bytes) -> bytes:
    header = _header("./PaxHeaders/lie", type=tarfile.XHDTYPE, size=len(records))
    padded = records + b"\0" * (-len(records) % BLOCK)
    return _sealed(header) + padded


def _sparse(real_size: int, mapping: str, content: bytes = b"data") -> Callable[[], bytes]:
    """Return what makes an archive with a sparse file (format 1.0) whose map is this text."""

    def make() -> bytes:
        records = b"".join(
            record(key, value)
            for key, value in {
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": "./opt/sparse.bin",
                "GNU.sparse.realsize": str(real_size),
            }.items()
        )
        data = mapping.encode().ljust(BLOCK, b"\0") + content
        header = _header("./opt/GNUSparseFile.0/sparse.bin", size=len(data))
        return _with_block(_pax_block(records) + _sealed(header), data)

    return make


def _pax_bomb() -> bytes:
    records = record("comment", "x" * PAX_BOMB)
    return _with_block(_pax_block(records) + _sealed(_header("./opt/commented")))


def _pax_length_lie() -> bytes:
    return _with_block(_pax_block(b"999999999 path=./opt/lie\n") + _sealed(_header("./opt/honest")))


def _pax_no_number() -> bytes:
    return _with_block(_pax_block(b"abc path=./opt/lie\n") + _sealed(_header("./opt/honest")))


def _pax_size_lie() -> bytes:
    records = record("size", "99999999999")
    return _with_block(_pax_block(records) + _sealed(_header("./opt/lie", size=4)), b"data")


def _pax_chain() -> bytes:
    """Ten thousand pax headers before one file."""
    block = _pax_block(record("comment", "again"))
    return _with_block(block * 10_000 + _sealed(_header("./opt/commented")))


def _noise(size: int) -> bytes:
    return random.Random(20261123).randbytes(size)


def _other(path: Path) -> bytes:
    """The bytes of another compression than the path's suffix says."""
    from tests.fakes.proxmox.archives import compressed, compression

    return compressed(honest(), "gzip" if compression(path) != "gzip" else "zstd")


def _half(path: Path) -> bytes:
    """A compressed stream that ends in its middle; uncompressed, an archive that does."""
    data = tar([*head(), *body(), member("./opt/noise.bin", content=_noise(100_000))])
    whole = _compressed(path, data)
    return whole[: len(whole) // 2]


def _flipped(path: Path) -> bytes:
    """One bit of the compressed stream is wrong; uncompressed, one byte of a file: nobody can tell."""
    data, _ = _parts()
    whole = bytearray(_compressed(path, data))
    whole[len(whole) * 2 // 3] ^= 0xFF
    return bytes(whole)


ARCHIVES: dict[str, Callable[[Path], None]] = {
    "size 0": _raw(lambda _: b""),
    "one byte": _raw(lambda _: b"\0"),
    "only zeros": _bytes(lambda: b"\0" * 10240),
    "random bytes": _raw(lambda _: _noise(100_000)),
    "random bytes, compressed": _bytes(lambda: _noise(100_000)),
    "text": _raw(lambda _: b"stdout is not a terminal\n"),
    "wrong suffix": _raw(_other),
    "truncated in a header": _bytes(_cut(200)),
    "truncated after a header": _bytes(_cut(BLOCK)),
    "truncated in data": _bytes(_cut(BLOCK + 1000)),
    "truncated in padding": _bytes(_cut(BLOCK + len(_PAYLOAD) - 1)),
    "no end blocks": _bytes(_without_end(0)),
    "one end block": _bytes(_without_end(1)),
    "truncated stream": _raw(_half),
    "damaged stream": _raw(_flipped),
    "garbage after the end": _bytes(lambda: honest() + _noise(20_000)),
    "garbage after the stream": _raw(lambda path: _compressed(path, honest()) + _noise(20_000)),
    "second archive after the end": _bytes(
        lambda: honest() + tar([member("./opt/hidden", content=b"hidden\n")])
    ),
    "bad checksum": _bytes(_bad_checksum),
    "size larger than the rest": _bytes(_size_lie),
    "size below zero": _bytes(_negative_size),
    "size of 8 EiB": _bytes(_huge_size),
    "sparse map beyond the file": _bytes(_sparse(1000, "1\n999999\n4\n")),
    "sparse map larger than the data": _bytes(_sparse(10**7, "1\n0\n1000000\n")),
    "sparse map of words": _bytes(_sparse(1000, "one\ntwo\nthree\n")),
    "sparse map that never ends": _bytes(_sparse(1000, "999999999\n0\n4\n")),
    "sparse file of 8 EiB": _bytes(_sparse(2**63 - 1, "1\n0\n4\n")),
    "pax header of 20 MB": _bytes(_pax_bomb),
    "pax header with a false length": _bytes(_pax_length_lie),
    "pax header without a length": _bytes(_pax_no_number),
    "pax header with a false size": _bytes(_pax_size_lie),
    "ten thousand pax headers": _bytes(_pax_chain),
}

# What no reader may call a whole backup.
NOT_WHOLE = frozenset(
    {
        "size 0",
        "one byte",
        "only zeros",
        "random bytes",
        "random bytes, compressed",
        "text",
        "truncated in a header",
        "truncated after a header",
        "truncated in data",
        "truncated in padding",
        "no end blocks",
        "one end block",
        "truncated stream",
        "bad checksum",
        "size larger than the rest",
        "size below zero",
        "size of 8 EiB",
        "pax header with a false size",
    }
)
