"""The text of a container's config: sections of lines, read and changed as Proxmox VE does."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field

_SECTION = re.compile(r"^\[([a-z][a-z0-9_\-]+)\]\s*$", re.IGNORECASE)
_KEY = re.compile(r"^([a-z][a-z_]*\d*):\s*(.+?)\s*$")
_RAW = re.compile(r"^(lxc\.[a-z0-9_\-.]+)(?::|\s*=)\s*(.*?)\s*$")
_INTEGERS = frozenset(
    [
        "cores",
        "cpuunits",
        "console",
        "debug",
        "memory",
        "onboot",
        "protection",
        "snaptime",
        "swap",
        "template",
        "tty",
        "unprivileged",
    ]
)
_LEFT_OUT_OF_BACKUPS = ("lock", "parent", "snaptime", "snapstate")


@dataclass
class Section:
    """The lines of the config itself (its name is empty), or of a snapshot."""

    name: str
    lines: list[str] = field(default_factory=list)

    def get(self, key: str) -> str | None:
        """Return the value of a key; the last line of a key counts."""
        return self.values().get(key)

    def values(self) -> dict[str, str]:
        """Return all keys and their values, without raw lines and comments."""
        matches = (_KEY.match(line) for line in self.lines)
        return {match[1]: match[2] for match in matches if match}

    def set(self, key: str, value: str | None) -> None:
        """Set a key, at its place in the order of names, or remove it."""
        self.lines = [line for line in self.lines if not line.startswith(f"{key}:")]
        if value is None:
            return
        place = 0
        for number, line in enumerate(self.lines):
            match = _KEY.match(line)
            if line.startswith("#") or (match and match[1] < key):
                place = number + 1
        self.lines.insert(place, f"{key}: {value}")

    @property
    def description(self) -> str:
        """The comments, decoded: each ends with a newline."""
        lines = [line[1:] for line in self.lines if line.startswith("#")]
        return "".join(urllib.parse.unquote(line) + "\n" for line in lines)

    def data(self) -> dict[str, object]:
        """Return the section as the API shows it."""
        found: dict[str, object] = {
            key: int(value) if key in _INTEGERS and value.lstrip("-").isdigit() else value
            for key, value in self.values().items()
        }
        if self.description:
            found["description"] = self.description
        raw = [[match[1], match[2]] for match in map(_RAW.match, self.lines) if match]
        if raw:
            found["lxc"] = raw
        return found


def split(text: str) -> list[Section]:
    """Given a config's text, return its sections; the first is the config itself."""
    sections = [Section("")]
    for line in text.splitlines():
        match = _SECTION.match(line) or re.match(r"^\[(pve:pending)\]\s*$", line, re.IGNORECASE)
        if match:
            sections.append(Section(match[1]))
        elif line.strip():
            sections[-1].lines.append(line)
    return sections


def join(sections: list[Section]) -> str:
    """Return the text of sections: the inverse of `split`."""
    parts = []
    for section in sections:
        head = [f"[{section.name}]"] if section.name else []
        parts.append("".join(line + "\n" for line in [*head, *section.lines]))
    return "\n".join(parts)


def for_backup(text: str) -> str:
    """Return what a backup holds of a config: the current state, without what belongs to this node."""
    current = split(text)[0]
    for key in _LEFT_OUT_OF_BACKUPS:
        current.set(key, None)
    return join([current])


def encode_description(text: str) -> str:
    """Return a description as `pct config` shows it: percent-encoded, in one line."""
    return "".join(_encoded(character) for character in text)


def _encoded(character: str) -> str:
    if character in "%:" or character < " " or character > "~":
        return "".join(f"%{byte:02X}" for byte in character.encode("utf-8"))
    return character


@dataclass(frozen=True)
class Mount:
    """The root volume or a mount point of a container."""

    key: str
    volume: str
    path: str
    backup: bool

    @property
    def kind(self) -> str:
        """`volume`, `bind` or `device`."""
        if self.volume.startswith("/dev/"):
            return "device"
        return "bind" if self.volume.startswith("/") else "volume"

    @property
    def storage(self) -> str:
        """The storage that the volume is on."""
        return self.volume.partition(":")[0]

    @property
    def included(self) -> bool:
        """Whether a backup holds it."""
        return self.key == "rootfs" or (self.kind == "volume" and self.backup)

    @property
    def folder(self) -> str:
        """The name of the volume's folder in the state."""
        return self.volume.replace("/", "_")


def mounts(section: Section) -> list[Mount]:
    """Return a container's volumes, root first, then mount points by number."""
    values = section.values()
    keys = [key for key in values if re.fullmatch(r"mp\d+", key)]
    found = []
    for key in ["rootfs", *sorted(keys, key=lambda name: int(name[2:]))]:
        items = [item.partition("=") for item in values.get(key, "").split(",")]
        options = {name: value for name, equals, value in items if equals}
        volume = options.get("volume") or next((name for name, equals, _ in items if not equals), "")
        path = "/" if key == "rootfs" else options.get("mp", "")
        found.append(Mount(key, volume, path, options.get("backup", "0") in ("1", "on", "yes", "true")))
    return found
