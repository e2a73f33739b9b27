"""A Proxmox container's config: read whole, kept byte for byte, asked by type.

`parse` takes what Proxmox takes: keys, raw ``lxc.*`` lines, descriptions, snapshot and pending
sections. What Proxmox only warns of is kept and listed; what it refuses is a PctConfigError
that names the line.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maw.errors import PctConfigError
from maw.mirror.pct_keys import KEYS, group_of
from maw.mirror.pct_lines import PENDING, Section, Unknown, read_sections
from maw.mirror.property_string import parse_boolean, parse_size, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A file of Proxmox's cluster file system holds at most 1 MiB; what is far larger is no config.
LARGEST = 4 * 2**20


@dataclass(frozen=True)
class Mount:
    """The root file system or a mount point; `kind` is volume, bind or device, as vzdump sorts them."""

    key: str
    volume: str
    path: str
    kind: str
    size: int | None
    backup: bool
    options: Mapping[str, str]

    @property
    def included(self) -> bool:
        """Whether vzdump puts it into the archive."""
        return self.key == "rootfs" or (self.kind == "volume" and self.backup)


@dataclass(frozen=True)
class Net:
    """One network card; `options` holds every sub-key as it is written."""

    key: str
    name: str
    options: Mapping[str, str]

    def get(self, option: str) -> str | None:
        """Given a sub-key, return its value or None."""
        return self.options.get(option)

    def flag(self, option: str) -> bool:
        """Given a yes-or-no sub-key, return whether it is on."""
        return self.options.get(option) == "1"


@dataclass(frozen=True)
class Device:
    """One device that is passed through."""

    key: str
    path: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Config:
    """A container's config as it was read; `str()` and `bytes()` give back exactly that."""

    name: str
    main: Section
    pending: Section | None
    snapshots: Mapping[str, Section]
    digest: str
    _text: str = field(repr=False)

    def __str__(self) -> str:
        return self._text

    def __bytes__(self) -> bytes:
        return self._text.encode("utf-8", "surrogateescape")

    def text(self) -> str:
        """Return the config exactly as it was read."""
        return self._text

    @property
    def sections(self) -> Iterator[Section]:
        """Every section: the container's own, the pending one, the snapshots by name."""
        yield self.main
        if self.pending is not None:
            yield self.pending
        for name in sorted(self.snapshots):
            yield self.snapshots[name]

    @property
    def unknown(self) -> tuple[Unknown, ...]:
        """Every key, sub-key and line that Proxmox does not know, of all sections."""
        return tuple(one for section in self.sections for one in section.unknown)

    @property
    def notes(self) -> tuple[str, ...]:
        """What Proxmox would warn of, one sentence each."""
        return tuple(one for section in self.sections for one in section.notes)

    def get(self, key: str, default: str | None = None) -> str | None:
        """Given a key of the container's own section, return its value as text, or the default."""
        return self.main.values.get(key, default)

    def integer(self, key: str) -> int | None:
        """Given a key, return its whole number, or None if it is absent or no such number."""
        value = self.main.values.get(key, "")
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None

    def number(self, key: str) -> float | None:
        """Given a key, return its number, or None if it is absent or none."""
        value = self.main.values.get(key)
        return None if value is None or wrong(KEYS[key], value) else float(value)

    def boolean(self, key: str) -> bool:
        """Given a yes-or-no key, return it, or Proxmox's default if it is absent or neither."""
        truth = parse_boolean(self.main.values.get(key, ""))
        return bool(KEYS[key].default) if truth is None else truth

    @property
    def description(self) -> str:
        """The description, decoded, each line with its end."""
        return self.main.description

    @property
    def hostname(self) -> str | None:
        """The host name."""
        return self.get("hostname")

    @property
    def lock(self) -> str | None:
        """What Proxmox is doing with the container, such as backup."""
        return self.get("lock")

    @property
    def unprivileged(self) -> bool:
        """Whether its root is nobody on the server; a config without the key is privileged."""
        return self.boolean("unprivileged")

    @property
    def environment(self) -> tuple[str, ...]:
        """The ``NAME=value`` entries of its environment, in order."""
        return self.main.environment

    def raw(self) -> tuple[tuple[str, str], ...]:
        """Return the raw ``lxc.*`` lines as pairs, in order."""
        return self.main.raw

    def mounts(self) -> tuple[Mount, ...]:
        """Return the root file system and the mount points, by number."""
        found = []
        for key, options in self._grouped("rootfs", "mp"):
            volume = options["volume"]
            kind = "device" if volume.startswith("/dev/") else "bind" if volume.startswith("/") else "volume"
            found.append(
                Mount(
                    key=key,
                    volume=volume,
                    path="/" if key == "rootfs" else options["mp"],
                    kind=kind,
                    size=parse_size(options.get("size", "")),
                    backup=options.get("backup") == "1",
                    options=options,
                )
            )
        return tuple(found)

    def networks(self) -> tuple[Net, ...]:
        """Return the network cards, by number."""
        return tuple(Net(key, options["name"], options) for key, options in self._grouped("net"))

    def devices(self) -> tuple[Device, ...]:
        """Return the devices that are passed through, by number."""
        return tuple(Device(key, options["path"], options) for key, options in self._grouped("dev"))

    def features(self) -> Mapping[str, str]:
        """Return the sub-keys of ``features``, empty if there are none."""
        return self.main.properties.get("features", {})

    def _grouped(self, *groups: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        for group in groups:
            for key in sorted(self.main.properties, key=natural):
                if group_of(key) == group:
                    yield key, self.main.properties[key]


def natural(key: str) -> tuple[str, int, str]:
    """Given a key such as ``mp10``, return what sorts it after ``mp9``."""
    letters = key.rstrip("0123456789")
    return letters, int(key[len(letters) :][:9] or -1), key


def parse(text: bytes | str, name: str = "pct.conf") -> Config:
    """Given a config's text and the name to call it by in errors, return it.

    Raise PctConfigError where it is no text, or where Proxmox refuses a value.
    """
    content = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    try:
        data = content.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        line = content.count("\n", 0, error.start) + 1
        raise PctConfigError(name=name, line=line, reason="it holds what no file can hold") from error
    if len(data) > LARGEST:
        raise PctConfigError(name=name, line=1, reason="it is larger than any config of Proxmox")
    nul = content.find("\0")
    if nul >= 0:
        line = content.count("\n", 0, nul) + 1
        raise PctConfigError(name=name, line=line, reason="it holds a NUL byte, so that it is no text")
    sections = read_sections(content, name)
    return Config(
        name=name,
        main=sections[""],
        pending=sections.get(PENDING),
        snapshots={key: one for key, one in sections.items() if key not in ("", PENDING)},
        # Proxmox's own digest, which its API answers too, is the SHA-1 of the file.
        digest=hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        _text=content,
    )
