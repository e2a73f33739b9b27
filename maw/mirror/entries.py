"""One line of a manifest for each member of an archive, or each file of a tree.

Standard library only: this module also runs on the satellite, where maw may not be installed. A line
has eleven fields, separated by tabs: path, kind, mode, uid, gid, size, mtime, content, xattrs, acls,
group. Lines of equal trees are equal, whether they come from a tar stream or from a file system.

- path: relative, without "./", "." is the root; backslash, tab, line break are escaped.
- kind: f file, d folder, l symbolic link, p fifo, s socket, c and b devices.
- mtime: seconds, a point, nine digits.
- content: SHA-256 of a file, target of a symbolic link, "-" of others.
- group: of a file with several names, a word that all names share; else "-".
"""

from __future__ import annotations

import struct

# Of the names of extended attributes: what vzdump puts into an archive (its --xattrs-include).
CAPABILITY = "security.capability"
USER = "user."
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_TAGS = {1: "user", 2: "user", 4: "group", 8: "group", 16: "mask", 32: "other"}
_NAMED = (2, 8)
# Debian's base-passwd: /usr/share/base-passwd/passwd.master and group.master.
_USERS = {
    "root": 0,
    "daemon": 1,
    "bin": 2,
    "sys": 3,
    "sync": 4,
    "games": 5,
    "man": 6,
    "lp": 7,
    "mail": 8,
    "news": 9,
    "uucp": 10,
    "proxy": 13,
    "www-data": 33,
    "backup": 34,
    "list": 38,
    "irc": 39,
    "nobody": 65534,
}
_GROUPS = {
    "root": 0,
    "daemon": 1,
    "bin": 2,
    "sys": 3,
    "adm": 4,
    "tty": 5,
    "disk": 6,
    "lp": 7,
    "mail": 8,
    "news": 9,
    "uucp": 10,
    "man": 12,
    "proxy": 13,
    "kmem": 15,
    "dialout": 20,
    "cdrom": 24,
    "sudo": 27,
    "audio": 29,
    "dip": 30,
    "www-data": 33,
    "backup": 34,
    "list": 38,
    "irc": 39,
    "shadow": 42,
    "utmp": 43,
    "video": 44,
    "plugdev": 46,
    "staff": 50,
    "games": 60,
    "users": 100,
    "nogroup": 65534,
}
_ESCAPES = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\0": b"\\0", b"\r": b"\\r"}
_REVISION_2, _REVISION_3, _REVISION_MASK = 0x02000000, 0x03000000, 0xFF000000


def escaped(path: bytes) -> bytes:
    """Given any bytes, return them without a tab or line break; `unescaped` gives them back."""
    for character, escape in _ESCAPES.items():
        if character in path:
            path = path.replace(character, escape)
    return path


def unescaped(text: bytes) -> bytes:
    """Given what `escaped` returned, return the bytes as they were."""
    if b"\\" not in text:
        return text
    back = {escape[1:]: character for character, escape in _ESCAPES.items()}
    parts = text.split(b"\\\\")
    for number, part in enumerate(parts):
        for letter, character in back.items():
            if letter != b"\\":
                part = part.replace(b"\\" + letter, character)
        parts[number] = part
    return b"\\".join(parts)


def line(
    path: bytes,
    kind: str,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: str,
    content: bytes = b"-",
    xattrs: str = "-",
    acls: str = "-",
    group: bytes = b"-",
) -> bytes:
    """Given what is known of one path, return its line of the manifest, with a line break."""
    # A symbolic link's mode means nothing, and a folder's size depends on the file system.
    shown = "-" if kind == "l" else f"{mode & 0o7777:o}"
    length = str(size) if kind == "f" else "-"
    facts = f"\t{kind}\t{shown}\t{uid}\t{gid}\t{length}\t{mtime}\t".encode("ascii")
    tail = f"\t{xattrs}\t{acls}\t".encode("ascii")
    return escaped(path) + facts + escaped(content) + tail + escaped(group) + b"\n"


def mtime_of(seconds: int, nanoseconds: int) -> str:
    """Given a time of change, return it as it stands in a line."""
    return f"{seconds}.{nanoseconds:09d}"


def xattrs_text(found: dict[str, bytes]) -> str:
    """Given extended attributes by name, return them as one word, sorted."""
    kept = {name: value for name, value in found.items() if name.startswith(USER) or name == CAPABILITY}
    if not kept:
        return "-"
    words = []
    for name in sorted(kept):
        shown = name.encode("utf-8", "surrogateescape").hex() if not name.isascii() else name
        words.append(f"{shown.replace(',', '%2C').replace('=', '%3D')}={kept[name].hex()}")
    return ",".join(words).replace("\t", "%09").replace("\n", "%0A").replace(" ", "%20")


def acls_text(access: str, default: str) -> str:
    """Given both lists as words ("" if there is none), return them as one word."""
    words = [f"{letter}[{text}]" for letter, text in (("a", access), ("d", default)) if text]
    return "".join(words) or "-"


def acl_of_text(text: str) -> str:
    """Given the text of an access list in an archive, return it as one word, "" for a minimal one.

    Raise ValueError if it is none.
    """
    found = []
    for part in text.replace(",", "\n").split("\n"):
        words = part.split("#")[0].strip().split(":")
        if words == [""]:
            continue
        tag = {"u": "user", "g": "group", "m": "mask", "o": "other"}.get(words[0], words[0])
        if len(words) < 3 or tag not in _TAGS.values():
            raise ValueError(f"no access list: {part!r}")
        # Where a name was known, GNU tar appends the number as a fourth field.
        named = words[3] if len(words) > 3 and words[3] else words[1]
        bits = sum(bit for letter, bit in (("r", 4), ("w", 2), ("x", 1)) if letter in words[2])
        found.append((tag, _number(tag, named) if named else -1, bits))
    return _acl(found)


def _number(tag: str, name: str) -> int:
    """GNU tar 1.34, of Proxmox VE 8, writes names: those that Debian gave a number for good are known."""
    known = _USERS if tag == "user" else _GROUPS
    if not name.isdigit() and name not in known:
        raise ValueError(f"an access list that names {tag} {name!r} and not its number; update tar there")
    return known[name] if name in known else int(name)


def acl_of_bytes(data: bytes, uids: Ids, gids: Ids) -> str:
    """Given an access list as the kernel shows it, return it as one word, "" for a minimal one."""
    found = []
    for tag, bits, number in struct.iter_unpack("<HHI", data[4:]):
        named = -1
        if tag in _NAMED:
            named = (uids if tag == 2 else gids).inside(number)
        found.append((_TAGS[tag], named, bits))
    return _acl(found)


def _acl(found: list[tuple[str, int, int]]) -> str:
    if all(number < 0 for _, number, _ in found) and not any(tag == "mask" for tag, _, _ in found):
        # It says no more than the mode.
        return ""
    return ",".join(f"{tag}:{number if number >= 0 else ''}:{bits}" for tag, number, bits in sorted(found))


def capability(value: bytes, uids: Ids) -> bytes:
    """Given a file's capabilities as the kernel shows them, return them as the container sees them."""
    if len(value) == 24 and struct.unpack_from("<I", value)[0] & _REVISION_MASK == _REVISION_3:
        (magic,) = struct.unpack_from("<I", value)
        (root,) = struct.unpack_from("<I", value, 20)
        if uids.inside(root) == 0:
            return struct.pack("<I", magic & ~_REVISION_MASK | _REVISION_2) + value[4:20]
    return value


class Ids:
    """Numbers of users, or of groups, on disk and inside the container.

    `ranges` are (inside, on disk, how many); none means that both are the same.
    """

    def __init__(self, ranges: list[tuple[int, int, int]]) -> None:
        self._ranges = ranges

    def inside(self, number: int) -> int:
        """Given a number on disk, return that inside; one outside all ranges stays as it is."""
        for first, disk, count in self._ranges:
            if disk <= number < disk + count:
                return first + number - disk
        return number

    def on_disk(self, number: int) -> int:
        """Given a number inside, return that on disk; one outside all ranges stays as it is."""
        for first, disk, count in self._ranges:
            if first <= number < first + count:
                return disk + number - first
        return number
