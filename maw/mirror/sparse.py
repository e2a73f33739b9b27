"""The content of a sparse file as it stands in an archive: a map of what is data, then the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maw.mirror.content import Content

BLOCK = 512
_MOST_MAP = 16 << 20


class Sparse:
    """The content of a sparse file: a map of what is data, then the data; hashed with its holes."""

    def __init__(self, content: Content, real: int) -> None:
        self.data = 0
        self._content = content
        self._real = real
        self._map = bytearray()
        self._segments: list[tuple[int, int]] | None = None
        self._at = 0
        self._index = 0
        self._inside = 0

    def take(self, view: memoryview) -> None:
        """Given the next bytes of the member, count and hash them."""
        if self._segments is None:
            self._map += view
            rest = self._read_map()
            if rest is None:
                return
            view = memoryview(rest)
        while view and self._segments and self._index < len(self._segments):
            offset, length = self._segments[self._index]
            if self._inside == 0:
                self._hole(offset - self._at)
            part = view[: length - self._inside]
            self._content.update(part)
            self._inside += len(part)
            self._at += len(part)
            view = view[len(part) :]
            if self._inside == length:
                self._index += 1
                self._inside = 0

    def whole(self) -> bool:
        """Whether all the data came; the last hole is hashed."""
        if self._segments is None or self.data != sum(length for _, length in self._segments):
            return False
        while self._index < len(self._segments) and self._segments[self._index][1] == 0:
            self._index += 1
        if self._index != len(self._segments):
            return False
        self._hole(self._real - self._at)
        return True

    def _hole(self, count: int) -> None:
        self._at += count
        self._content.hole(count)

    def _read_map(self) -> bytes | None:
        """Return what stands behind the map, None if not all of the map is there."""
        words = bytes(self._map).split(b"\n")
        if len(self._map) > _MOST_MAP or (not words[0].isdigit() and len(words) > 1):
            self._segments = []
            self.data = -1
            return b""
        if len(words) < 2 or len(words) < 2 + 2 * int(words[0]):
            return None
        count = int(words[0])
        numbers = words[1 : 1 + 2 * count]
        used = sum(len(word) + 1 for word in words[: 1 + 2 * count])
        used += -used % BLOCK
        if len(self._map) < used:
            return None
        values = [int(word) if word.isdigit() else -1 for word in numbers]
        segments = [(offset, length) for offset, length in zip(values[::2], values[1::2], strict=True)]
        at = 0
        for offset, length in segments:
            if offset < at or length < 0 or offset + length > self._real:
                self._segments, self.data = [], -1
                return b""
            at = offset + length
        self._segments = [one for one in segments if one[1]]
        self.data = sum(length for _, length in self._segments)
        rest = bytes(self._map[used:])
        self._map.clear()
        return rest
