"""What a mapping says: the target, the instance, and of every key where it went."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bridge:
    """The network that the mirrors of a host lie on; `taken` holds the addresses in use there."""

    name: str
    managed: bool
    address: str | None
    dhcp: bool
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Target:
    """The machine that takes the mirror, and its LXD."""

    host: str
    architecture: str
    cores: int
    memory_bytes: int
    extensions: frozenset[str]
    pool: str
    pool_driver: str
    bridge: Bridge | None


@dataclass(frozen=True)
class Loss:
    """A key, or a sub-key such as ``mp1.backup``, that the mirror does not have, and why."""

    key: str
    value: str
    why: str


@dataclass(frozen=True)
class Note:
    """What was changed on the way, and is worth saying."""

    key: str
    text: str


@dataclass(frozen=True)
class Row:
    """One line of the table that `--dry-run` shows; `becomes` is "" for what is lost."""

    key: str
    value: str
    becomes: str
    why: str


@dataclass(frozen=True)
class Interface:
    """One network card of the source, and what the mirror has of it.

    `device` is the LXD device, "" where the mirror has none; `address` and `address6` say what
    the source had: an address with its prefix, dhcp, auto, manual or None.
    """

    key: str
    name: str
    device: str
    hwaddr: str | None
    address: str | None
    address6: str | None
    host_managed: bool = False


@dataclass(frozen=True)
class Mapped:
    """A container's config as an LXD instance, and where each of its keys went."""

    architecture: str
    description: str
    config: dict[str, str]
    devices: dict[str, dict[str, str]]
    interfaces: tuple[Interface, ...]
    losses: tuple[Loss, ...]
    notes: tuple[Note, ...]
    rows: tuple[Row, ...]
    name: str = ""


@dataclass
class Draft:
    """A mapping under way: each key passes through one of its methods, so that none is forgotten."""

    name: str
    target: Target
    config: dict[str, str] = field(default_factory=dict)
    devices: dict[str, dict[str, str]] = field(default_factory=dict)
    interfaces: list[Interface] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def carry(self, key: str, value: str, becomes: str, why: str = "") -> None:
        """Given a key and what it becomes, put that down."""
        self.rows.append(Row(key, safe(value), becomes, why))

    def set(self, key: str, value: str, setting: str, content: str, why: str = "") -> None:
        """Given a key and the LXD setting that it becomes, set that and put it down."""
        self.config[setting] = safe(content)
        self.carry(key, value, f"{setting}={safe(content)}", why)

    def keep(self, key: str, value: str, why: str) -> None:
        """Given a key without counterpart in LXD, keep it as ``user.pve.KEY``."""
        self.set(key, value, f"user.pve.{key}", value, why)

    def lose(self, key: str, value: str, why: str) -> None:
        """Given a key that the mirror does not have, put down why."""
        self.losses.append(Loss(key, safe(value), why))
        self.rows.append(Row(key, safe(value), "", why))

    def note(self, key: str, text: str) -> None:
        """Given a key, put down what is worth saying of it."""
        self.notes.append(Note(key, text))

    def has(self, extension: str) -> bool:
        """Given the name of an API extension, return whether the target's LXD has it."""
        return extension in self.target.extensions


def safe(text: str) -> str:
    """Given a value of a config, return it as LXD can hold it: bytes that are no UTF-8 become ``\\xNN``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
