"""One member of an archive: from its header and its pax records to its line of the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maw.mirror import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_XATTR = b"SCHILY.xattr."
# Of the fields of a header, in their order.
_MODE, _UID, _GID, _MTIME, _LINK = 1, 2, 3, 5, 8


def text(field: bytes) -> bytes:
    """Given a field of a header, return the text in it, up to the first NUL."""
    return field.split(b"\0", 1)[0]


@dataclass(frozen=True)
class Entry:
    """A member as its headers describe it. `refuse` makes the error for what cannot be."""

    path: bytes
    kind: str
    fields: tuple[bytes, ...]
    records: Mapping[bytes, bytes]
    long_link: bytes | None
    refuse: Callable[[str], Exception]

    @property
    def uid(self) -> int:
        """The owner's number inside the container."""
        return self._number(b"uid", _UID)

    @property
    def gid(self) -> int:
        """The group's number inside the container."""
        return self._number(b"gid", _GID)

    def line(self, size: int, content: bytes = b"-") -> bytes:
        """Given the size and the hash of its content, return its line."""
        if self.kind == "l":
            content = self.records.get(b"linkpath") or self.long_link or text(self.fields[_LINK])
        mode = self._octal(_MODE)
        xattrs, acls = self._attributes()
        return entries.line(
            self.path, self.kind, mode, self.uid, self.gid, size, self._mtime(), content, xattrs, acls
        )

    def _number(self, record: bytes, place: int) -> int:
        value = self.records.get(record)
        if value is None:
            return self._octal(place)
        if not value.isdigit() or len(value) > 10:
            raise self.refuse(f"a member whose {record.decode()} is no number")
        return int(value)

    def _octal(self, place: int) -> int:
        field = self.fields[place]
        if field[0] & 0x80:
            return int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        try:
            return int(field.strip(b" \0") or b"0", 8)
        except ValueError:
            raise self.refuse("a header with letters where numbers belong") from None

    def _mtime(self) -> str:
        value = self.records.get(b"mtime")
        if value is None:
            return entries.mtime_of(self._octal(_MTIME), 0)
        whole, _, fraction = value.decode("ascii", "replace").partition(".")
        digits = (fraction or "0").ljust(9, "0")[:9]
        if not whole.lstrip("-").isdigit() or not digits.isdigit() or len(whole) > 20:
            raise self.refuse("a member whose time is no time")
        seconds, nanoseconds = int(whole), int(digits)
        if whole.startswith("-") and nanoseconds:
            seconds, nanoseconds = seconds - 1, 1_000_000_000 - nanoseconds
        return entries.mtime_of(seconds, nanoseconds)

    def _attributes(self) -> tuple[str, str]:
        xattrs, lists = {}, {"access": "", "default": ""}
        for key, value in self.records.items():
            if key.startswith(_XATTR):
                xattrs[key[len(_XATTR) :].decode("utf-8", "surrogateescape")] = value
            elif key in (b"SCHILY.acl.access", b"SCHILY.acl.default"):
                try:
                    lists[key[11:].decode()] = entries.acl_of_text(value.decode("ascii"))
                except ValueError as error:
                    raise self.refuse(f"a member with {error}") from error
        if not xattrs and not lists["access"] and not lists["default"]:
            return "-", "-"
        # A symbolic link has none of its own.
        return entries.xattrs_text(xattrs), entries.acls_text(lists["access"], lists["default"])
