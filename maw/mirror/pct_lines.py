"""The lines of a Proxmox config, in the order in which Proxmox tries what they may be."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field

from maw.errors import PctConfigError
from maw.mirror.pct_keys import BOOLEAN, INTEGER, KEYS, PROPERTIES, group_of, raw_allowed
from maw.mirror.property_string import parse_boolean, parse_properties, wrong

PENDING = "pve:pending"
# Each line is tried against these from top to bottom, ASCII only, as Proxmox's Perl does on bytes.
_PENDING = re.compile(r"\[pve:pending\]\s*", re.ASCII | re.IGNORECASE)
_SNAPSHOT = re.compile(r"\[([a-z][a-z0-9_\-]+)\]\s*", re.ASCII | re.IGNORECASE)
_RAW = re.compile(r"(lxc\.[a-z0-9_\-.]+)(?::|\s*=)", re.ASCII)
_SNAPSTATE = re.compile(r"snapstate:\s*(prepare|delete)\s*\Z", re.ASCII)
_KEY = re.compile(r"([a-z][a-z_]*\d*):", re.ASCII)
# What Proxmox takes for white space at a value's ends. A lazy pattern instead of strip() would take hours
# for a line of a million spaces.
_SPACE = " \t\r\f\v"
# Proxmox dies when it uses such a value, so that the container cannot run or be backed up there.
_REFUSED = frozenset({"rootfs", "mp", "net", "dev", "features"})


@dataclass(frozen=True)
class Unknown:
    """A key, sub-key (``net0.colour``) or line (key "") that Proxmox does not know."""

    section: str
    line: int
    key: str
    text: str


@dataclass(frozen=True)
class Section:
    """One section: the container's own (name ""), the pending one, or a snapshot.

    `values` holds each key's last value; `properties` the sub-keys of those that are property
    strings; `lines` where each key stands.
    """

    name: str
    values: dict[str, str] = field(default_factory=dict)
    properties: dict[str, dict[str, str]] = field(default_factory=dict)
    raw: tuple[tuple[str, str], ...] = ()
    environment: tuple[str, ...] = ()
    description: str = ""
    unknown: tuple[Unknown, ...] = ()
    notes: tuple[str, ...] = ()
    lines: dict[str, int] = field(default_factory=dict)


def decode_comment(text: str) -> str:
    """Given a description's line as it stands in the file, return it decoded."""
    data = text.encode("utf-8", "surrogateescape")
    return urllib.parse.unquote_to_bytes(data).decode("utf-8", "replace")


def read_sections(text: str, name: str) -> dict[str, Section]:
    """Given a config's text, return its sections by name. Raise PctConfigError."""
    sections = {}
    reader = _Reader("", name)
    # Nothing but a line feed ends a line for Proxmox: neither U+2028 nor a form feed does.
    for number, line in enumerate(text.split("\n"), 1):
        header = PENDING if _PENDING.fullmatch(line) else ""
        snapshot = None if header else _SNAPSHOT.fullmatch(line)
        if header or snapshot:
            sections[reader.section] = reader.finish()
            reader = _Reader(header or (snapshot[1] if snapshot else ""), name)
        else:
            reader.take(number, line)
    sections[reader.section] = reader.finish()
    return sections


class _Reader:
    """What was read of one section so far."""

    def __init__(self, section: str, name: str) -> None:
        self.section, self.name = section, name
        self.values: dict[str, str] = {}
        self.lines: dict[str, int] = {}
        self.raw: list[tuple[str, str]] = []
        self.environment: list[str] = []
        self.description: list[str] = []
        self.unknown: list[Unknown] = []
        self.notes: list[str] = []

    def take(self, number: int, line: str) -> None:
        """Given a line and its number, put it where it belongs."""
        if not line.strip(_SPACE):
            return
        if line.startswith("#"):
            self.description.append(decode_comment(line[1:].rstrip("\r")) + "\n")
        elif match := _RAW.match(line):
            self._take_raw(number, line, match[1], line[match.end() :].strip(_SPACE))
        else:
            match = _KEY.match(line)
            self._take_named(number, line, match[1] if match else "", line[match.end() :] if match else "")

    def _take_named(self, number: int, line: str, key: str, rest: str) -> None:
        value = rest.strip(_SPACE)
        if key == "description" and value:
            self.description.append(decode_comment(value))
        elif match := _SNAPSTATE.search(line):
            self._take_key(number, "snapstate", match[1])
        elif key == "delete" and value and self.section != PENDING:
            self._take_unknown(number, "", line, "delete stands outside of [pve:pending]")
        elif key and value:
            self._take_key(number, key, value)
        else:
            self._take_unknown(number, "", line, "Proxmox cannot read it")

    def _take_raw(self, number: int, line: str, key: str, value: str) -> None:
        if key == "lxc.environment.runtime":
            self.environment.append(value)
        elif raw_allowed(key):
            self.raw.append((key, value))
        else:
            self._take_unknown(number, "", line, f"Proxmox does not take {key}")

    def _take_key(self, number: int, key: str, value: str) -> None:
        if key in self.values:
            self.notes.append(f"line {self.lines[key]}: {key} is given again in line {number}, which counts")
        self.values[key], self.lines[key] = value, number

    def _take_unknown(self, number: int, key: str, text: str, why: str) -> None:
        self.unknown.append(Unknown(self.section, number, key, text))
        self.notes.append(f"line {number}: {why}")

    def finish(self) -> Section:
        """Return the section, with its values checked. Raise PctConfigError."""
        properties: dict[str, dict[str, str]] = {}
        for key, value in self.values.items():
            if group := group_of(key):
                self._check_properties(key, group, value, properties)
            elif key in KEYS:
                self._check_value(key, value)
            elif not (key == "delete" and self.section == PENDING):
                self._take_unknown(self.lines[key], key, value, f"there is no key {key}")
        self.unknown.sort(key=lambda one: one.line)
        return Section(
            self.section,
            self.values,
            properties,
            tuple(self.raw),
            tuple(self.environment),
            "".join(self.description),
            tuple(self.unknown),
            tuple(self.notes),
            self.lines,
        )

    def _check_value(self, key: str, value: str) -> None:
        kind = KEYS[key]
        problem = wrong(kind, value)
        if problem:
            self.notes.append(f"line {self.lines[key]}: {key} {problem}")
        truth = parse_boolean(value) if kind.type == BOOLEAN else None
        if truth is not None:
            self.values[key] = str(int(truth))
        elif kind.type == INTEGER and not problem and value.isdigit():
            self.values[key] = str(int(value))

    def _check_properties(self, key: str, group: str, value: str, found: dict[str, dict[str, str]]) -> None:
        line = self.lines[key]
        try:
            options, unknown = parse_properties(PROPERTIES[group], value, group)
        except ValueError as error:
            if group in _REFUSED and not self.section:
                raise PctConfigError(name=self.name, line=line, reason=f"{key}: {error}") from error
            self.notes.append(f"line {line}: {key}: {error}")
            return
        found[key] = options
        for one in unknown:
            self._take_unknown(line, f"{key}.{one}", options[one], f"{key} has no {one}")
