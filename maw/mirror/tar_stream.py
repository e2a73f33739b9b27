"""Reads a tar stream as it passes: what may go on, the manifest, and whether it is whole.

Nothing of a member goes on before its header was read and found harmless. The format is that of GNU
tar's `--format=posix`, which vzdump makes (pax records, sparse files of version 1.0); source: GNU
tar's manual, "Basic Tar Format" and "Storing Sparse Files", and POSIX.1-2017, pax.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maw.errors import ArchiveIncomplete, NotAnArchive, UnsafeArchive
from maw.mirror.content import Content
from maw.mirror.sparse import BLOCK, Sparse
from maw.mirror.tar_entry import Entry, text

if TYPE_CHECKING:
    from collections.abc import Callable

_ZERO = bytes(BLOCK)
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12s")
_KINDS = {b"1": "h", b"0": "f", b"\0": "f", b"7": "f", b"2": "l", b"3": "c", b"4": "b", b"5": "d", b"6": "p"}
# Bytes of one member's pax records: 64 KiB for each of a dozen attributes is more than any has.
_MOST_RECORDS = 1 << 20
# Bytes of a path as Linux takes it, and of one name in it.
_LONGEST_PATH, _LONGEST_NAME = 4093, 255
_MOST_CONFIG = 1 << 20
# Device nodes that a report names.
_MOST_DEVICES = 100
CONFIG, FIREWALL = b"etc/vzdump/pct.conf", b"etc/vzdump/pct.fw"


@dataclass
class Found:
    """What the stream held beside files."""

    config: bytes | None = None
    devices: list[tuple[bytes, str, int, int]] = field(default_factory=list)
    device_count: int = 0
    members: int = 0
    first: bytes = b""
    data_bytes: int = 0
    links: dict[bytes, list[bytes]] = field(default_factory=dict)
    sparse: dict[bytes, int] = field(default_factory=dict)
    highest_id: int = 0
    highest_path: bytes = b""


@dataclass
class _Group:
    """The pax records that stand before a header."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    path: bytes | None = None
    link: bytes | None = None


class TarStream:
    """Feed it the stream in pieces of any size; it returns what may go on.

    `emit` gets each line of the manifest. Raise UnsafeArchive, NotAnArchive or ArchiveIncomplete,
    with `name` in the message.
    """

    def __init__(self, name: str, emit: Callable[[bytes], object]) -> None:
        self.found = Found()
        self.total = 0
        self._name = name
        self._emit = emit
        self._carry = b""
        self._left = 0
        self._padding = 0
        self._take: Callable[[memoryview], None] | None = None
        self._done: Callable[[], object] | None = None
        self._dropping = False
        self._zeros = 0
        self._records: dict[bytes, bytes] = {}
        self._links: set[bytes] = set()
        self._last_parent: bytes | None = None

    @property
    def ended(self) -> bool:
        """Whether the two blocks of zeros that end an archive were seen."""
        return self._zeros >= 2

    def feed(self, chunk: bytes) -> list[memoryview]:
        """Given the next bytes, return the pieces that may go on."""
        self.total += len(chunk)
        buffer = self._carry + chunk if self._carry else chunk
        self._carry = b""
        view = memoryview(buffer)
        out: list[memoryview] = []
        position, start = 0, 0
        while True:
            if self._left or self._padding:
                begun = position
                position = self._data(view, position)
                if self._dropping:
                    start = position
                if self._left or self._padding or position == begun:
                    break
                continue
            self._dropping = False
            after = self._member(buffer, position)
            if after is None:
                break
            if self._dropping:
                if position > start:
                    out.append(view[start:position])
                start = after
            position = after
        if position > start:
            out.append(view[start:position])
        if position < len(buffer):
            self._carry = bytes(view[position:])
        return out

    def finish(self) -> None:
        """Say that the stream has ended. Raise ArchiveIncomplete if the archive had not."""
        if not self.ended:
            reason = f"it ends after {self.total} bytes without the blocks that end an archive"
            if self.total == 0:
                reason = "it is empty"
            raise ArchiveIncomplete(
                name=self._name, reason=reason, step="Run it again; if it stays so, make a new backup"
            )

    def _data(self, view: memoryview, position: int) -> int:
        count = min(self._left, len(view) - position)
        if count:
            if self._take is not None:
                self._take(view[position : position + count])
            self._left -= count
            position += count
            if self._left == 0 and self._done is not None:
                self._done()
                self._done = None
        if self._left == 0 and self._padding:
            count = min(self._padding, len(view) - position)
            self._padding -= count
            position += count
        return position

    def _expect(
        self, size: int, take: Callable[[memoryview], None] | None, done: Callable[[], object] | None
    ) -> None:
        self._take, self._done = take, done
        self._left = size
        self._padding = -size % BLOCK
        if size == 0 and done is not None:
            done()
            self._done = None

    def _member(self, buffer: bytes, position: int) -> int | None:
        """Read the headers of one member, which begin at `position`; return where they end.

        None if they are not all there yet.
        """
        group = _Group(dict(self._records))
        while True:
            if len(buffer) - position < BLOCK:
                return None
            header = buffer[position : position + BLOCK]
            if self._zeros or header == _ZERO:
                self._end(header)
                position += BLOCK
                if len(buffer) - position < BLOCK:
                    return position
                continue
            fields = self._checked(header)
            kind, size = fields[7], self._number(fields[4], "size")
            position += BLOCK
            if kind not in b"xgLK" or kind == b"\0":
                self._begin(fields, group, size)
                return position
            if size > _MOST_RECORDS:
                raise self._unsafe(f"a header of {size} bytes")
            end = position + size + -size % BLOCK
            if len(buffer) < end:
                return None
            self._extended(kind, buffer[position : position + size], group)
            position = end

    def _end(self, header: bytes) -> None:
        if header != _ZERO:
            if self.ended:
                raise self._unsafe("bytes after the archive's end")
            raise ArchiveIncomplete(
                name=self._name,
                reason="a block of zeros stands in its middle",
                step="Make a new backup, and check that disk",
            )
        self._zeros += 1

    def _checked(self, header: bytes) -> tuple[bytes, ...]:
        fields = _HEADER.unpack(header)
        try:
            stated = int(fields[6].strip(b" \0") or b"0", 8)
        except ValueError:
            stated = -1
        if sum(header) - sum(fields[6]) + 8 * 32 != stated:
            if self.found.members == 0:
                raise NotAnArchive(name=self._name, reason="it does not begin as a tar archive does")
            raise ArchiveIncomplete(
                name=self._name,
                reason=f"the header of member {self.found.members + 1} is damaged",
                step="Make a new backup, and check the disk and the memory of the server",
            )
        return fields

    def _number(self, text: bytes, what: str) -> int:
        if text[0] & 0x80:
            value = int.from_bytes(text, "big", signed=False) - (0x80 << 8 * (len(text) - 1))
            if text[0] == 0xFF:
                value = int.from_bytes(text, "big", signed=True)
        else:
            try:
                value = int(text.strip(b" \0") or b"0", 8)
            except ValueError:
                raise self._unsafe(f"a member whose {what} is no number") from None
        if what == "size" and not 0 <= value < 1 << 62:
            raise self._unsafe(f"a member of {value} bytes")
        return value

    def _extended(self, kind: bytes, data: bytes, group: _Group) -> None:
        if kind == b"L":
            group.path = data.rstrip(b"\0")
        elif kind == b"K":
            group.link = data.rstrip(b"\0")
        else:
            records = self._pax(data)
            group.records.update(records)
            if kind == b"g":
                self._records.update(records)

    def _pax(self, data: bytes) -> dict[bytes, bytes]:
        records: dict[bytes, bytes] = {}
        position = 0
        while position < len(data):
            blank = data.find(b" ", position, position + 12)
            try:
                length = int(data[position:blank]) if blank > 0 else 0
            except ValueError:
                length = 0
            end = position + length
            if length < 5 or end > len(data) or data[end - 1] != 0x0A:
                raise self._unsafe("records that are none")
            key, _, value = data[blank + 1 : end - 1].partition(b"=")
            records[key] = value
            position = end
        return records

    def _unsafe(self, reason: str) -> UnsafeArchive:
        return UnsafeArchive(name=self._name, reason=reason)

    def _path(self, raw: bytes, what: str = "member") -> bytes:
        """Given a name in the archive, return it relative to the root. Raise UnsafeArchive."""
        shown = raw[:80].decode("utf-8", "replace")
        path = raw.removeprefix(b"./").rstrip(b"/")
        if path in (b"", b"."):
            return b"."
        if raw.startswith(b"/"):
            raise self._unsafe(f"a {what} with an absolute path, {shown}")
        if b"\0" in path or len(path) > _LONGEST_PATH:
            raise self._unsafe(f"a {what} whose path no Linux takes, {len(path)} bytes: {shown}…")
        parts = path.split(b"/")
        if b".." in parts or b"." in parts or b"" in parts:
            raise self._unsafe(f"a {what} that leaves its folder, {shown}")
        if max(map(len, parts)) > _LONGEST_NAME:
            raise self._unsafe(f"a {what} whose name no Linux takes: {shown}…")
        parent = path.rpartition(b"/")[0]
        if parent != self._last_parent:
            above = b""
            for part in parts[:-1]:
                above = above + b"/" + part if above else part
                if above in self._links:
                    raise self._unsafe(f"a {what} behind a symbolic link, {shown}")
            self._last_parent = parent
        return path

    def _begin(self, fields: tuple[bytes, ...], group: _Group, size: int) -> None:
        """Decide on one member by its header."""
        records, found = group.records, self.found
        found.members += 1
        if b"size" in records:
            size = self._number_of(records[b"size"], "size")
        sparse = records.get(b"GNU.sparse.major")
        raw = records.get(b"GNU.sparse.name") if sparse else None
        raw = raw or records.get(b"path") or group.path or self._ustar_path(fields)
        if not raw:
            raise self._unsafe("a member without a name")
        path, kind = self._path(raw), fields[7]
        found.first = found.first or path
        letter = "d" if kind == b"\0" and raw.endswith(b"/") else _KINDS.get(kind)
        if letter is None:
            raise self._unsafe(f"a member of a kind that vzdump does not make, {kind!r}")
        if size and letter != "f":
            # tar would read what follows as the next member.
            raise self._unsafe("bytes of a member that has none, such as a link")
        if path == b"." and letter != "d":
            raise self._unsafe("a root that is no folder")
        if letter == "h":
            self._link(path, records.get(b"linkpath") or group.link or text(fields[8]))
        elif path in (CONFIG, FIREWALL):
            if letter != "f":
                raise self._unsafe("a container's config that is no file")
            self._dropping = True
            self._capture(path, size)
        else:
            entry = Entry(path, letter, fields, records, group.link, self._unsafe)
            if (highest := max(entry.uid, entry.gid)) > found.highest_id:
                found.highest_id, found.highest_path = highest, path
            self._entry(entry, size, sparse)

    def _link(self, path: bytes, raw: bytes) -> None:
        target = self._path(raw, "hard link")
        if path in (CONFIG, FIREWALL):
            # In mode suspend they stand there twice, the second time as a link to the first.
            self._dropping = True
        else:
            self.found.links.setdefault(target, []).append(path)

    def _entry(self, entry: Entry, size: int, sparse: bytes | None) -> None:
        if entry.kind == "f":
            self._file(entry, size, sparse)
        elif entry.kind in "cb":
            self._dropping = True
            self.found.device_count += 1
            if len(self.found.devices) < _MOST_DEVICES:
                major, minor = (self._number(entry.fields[at], "device") for at in (13, 14))
                self.found.devices.append((entry.path, entry.kind, major, minor))
        else:
            if entry.kind == "l":
                self._links.add(entry.path)
                self._last_parent = None
            self._emit(entry.line(0))

    def _number_of(self, text: bytes, what: str) -> int:
        if not text.isdigit() or len(text) > 19:
            raise self._unsafe(f"a member whose {what} is no number")
        return int(text)

    def _ustar_path(self, fields: tuple[bytes, ...]) -> bytes:
        name, prefix = text(fields[0]), text(fields[15])
        return prefix + b"/" + name if prefix and fields[9].startswith(b"ustar\0") else name

    def _capture(self, path: bytes, size: int) -> None:
        if size > _MOST_CONFIG:
            raise self._unsafe(f"a container's config of {size} bytes")
        data = bytearray()

        def done() -> None:
            if path != CONFIG:
                return
            # In mode suspend it stands there twice.
            if self.found.config not in (None, bytes(data)):
                raise self._unsafe("two different configs of the container")
            self.found.config = bytes(data)

        self._expect(size, data.extend, done)

    def _file(self, entry: Entry, size: int, sparse: bytes | None) -> None:
        digest = Content()
        if sparse is None:
            self.found.data_bytes += size
            self._expect(
                size, digest.update, lambda: self._emit(entry.line(size, digest.hexdigest().encode()))
            )
            return
        if sparse != b"1":
            raise self._unsafe("a sparse file of a version that vzdump does not make")
        real = self._number_of(entry.records.get(b"GNU.sparse.realsize", b"0"), "size")
        content = Sparse(digest, real)

        def done() -> None:
            if not content.whole():
                raise self._unsafe("a sparse file whose map is no map")
            self.found.data_bytes += content.data
            self.found.sparse[entry.path] = content.data
            self._emit(entry.line(real, digest.hexdigest().encode()))

        self._expect(size, content.take, done)
