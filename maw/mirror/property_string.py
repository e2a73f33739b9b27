"""Values of a Proxmox config: single ones, and comma lists of ``name=value`` (property strings)."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import TYPE_CHECKING

from maw.mirror.pct_keys import BOOLEAN, INTEGER, NUMBER, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TRUE = frozenset({"1", "on", "yes", "true"})
_FALSE = frozenset({"0", "off", "no", "false"})
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)", re.ASCII)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAC = re.compile(r"[a-f0-9][02468ace](?::[a-f0-9]{2}){5}", re.IGNORECASE)
_VOLUME = re.compile(r"[a-z][a-z0-9_.-]*[a-z0-9]:.+", re.IGNORECASE)
_TAG = re.compile(r"[a-z0-9_][a-z0-9_\-+.]*", re.IGNORECASE)
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")
_LIST = re.compile(r"[,;\s\0]+", re.ASCII)
_STARTUP = re.compile(r"(?:(order|up|down)=)?(\d+)", re.ASCII)
# Longer numbers mean nothing to a machine, and Python refuses to read very long ones.
_LONGEST_NUMBER = 18
_SHOWN = 60


def parse_boolean(value: str) -> bool | None:
    """Given a value, return it as Proxmox reads a yes or no, or None if it is neither."""
    low = value.lower()
    return True if low in _TRUE else False if low in _FALSE else None


def parse_size(value: str) -> int | None:
    """Given a disk size such as ``8G`` or ``0T``, return its bytes, or None if it is none."""
    match = _SIZE.fullmatch(value)
    if match is None or len(match[1]) > _LONGEST_NUMBER:
        return None
    return int(float(match[1]) * _UNITS[match[2]]) if "." in match[1] else int(match[1]) * _UNITS[match[2]]


def parse_startup(value: str) -> dict[str, int] | None:
    """Given ``order=2,up=10,down=30``, return its numbers by name, or None if it is something else."""
    found: dict[str, int] = {}
    for part in value.split(","):
        if not part.strip():
            continue
        match = _STARTUP.fullmatch(part)
        if match is None or len(match[2]) > _LONGEST_NUMBER:
            return None
        found[match[1] or "order"] = int(match[2])
    return found


def split_list(value: str) -> list[str]:
    """Given a list of Proxmox (parted by comma, semicolon, space or NUL), return its items."""
    return [item for item in _LIST.split(value) if item]


def parse_properties(
    fields: Mapping[str, Field], text: str, group: str = ""
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Given a table of sub-keys and a property string, return its values by name and the unknown names.

    Yes and no become "1" and "0"; the one item without a name goes to the table's default
    key. Raise ValueError, with the reason in words, where Proxmox refuses the string.
    """
    found: dict[str, str] = {}
    default = next((name for name, item in fields.items() if item.default_key), "")
    for part in text.split(","):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        if equals and not (name and value):
            raise ValueError(f"{part[:_SHOWN]} lacks its name or its value")
        if not equals:
            name, value = default, part
        if not name:
            raise ValueError(f"{part[:_SHOWN]} has no name")
        if name in found:
            raise ValueError(f"{name[:_SHOWN]} is given twice")
        if name in fields and fields[name].type == BOOLEAN:
            truth = parse_boolean(value)
            value = value if truth is None else str(int(truth))
        found[name] = value
    for name, item in fields.items():
        if name in found:
            problem = wrong(item, found[name])
            if problem:
                raise ValueError(f"{name} {problem}")
        # The schema calls a device's path optional; Proxmox refuses a device without one all the same.
        elif item.required or (group == "dev" and name == "path"):
            raise ValueError(f"{name} is missing")
    return found, tuple(name for name in found if name not in fields)


def wrong(item: Field, value: str) -> str:
    """Given a key's table entry and a value, return what is wrong with the value, or ""."""
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    if item.type == BOOLEAN:
        return "" if parse_boolean(value) is not None else f"must be yes or no, not {shown}"
    if item.type in (INTEGER, NUMBER):
        return _wrong_number(item, value, shown)
    if item.choices:
        return "" if value in item.choices else f"must be one of {', '.join(item.choices)}, not {shown}"
    if item.max_length is not None and len(value) > item.max_length:
        return f"is longer than {item.max_length} characters"
    if item.pattern and not re.fullmatch(item.pattern, value, re.ASCII):
        return f"has not the form that Proxmox wants: {shown}"
    if item.format and not _FORMATS[item.format](value):
        return f"is no {_WORDS[item.format]}: {shown}"
    return ""


def _wrong_number(item: Field, value: str, shown: str) -> str:
    whole = item.type == INTEGER
    form = r"[+-]?\d+" if whole else r"[+-]?(\d+\.\d+|\d+\.|\.\d+|\d+)([eE][+-]?\d{1,2})?"
    if not re.fullmatch(form, value, re.ASCII) or len(value) > _LONGEST_NUMBER + 8:
        return f"must be a {'whole ' if whole else ''}number, not {shown}"
    number = float(value)
    if item.minimum is not None and number < item.minimum:
        return f"must be at least {item.minimum:g}, not {shown}"
    if item.maximum is not None and number > item.maximum:
        return f"must be at most {item.maximum:g}, not {shown}"
    return ""


def _address(value: str, version: int) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(value).version == version and "%" not in value
    return False


def _network(value: str, version: int, words: tuple[str, ...]) -> bool:
    if value in words:
        return True
    address, slash, prefix = value.partition("/")
    if not slash or not re.fullmatch(r"\d{1,3}", prefix, re.ASCII):
        return False
    # Proxmox takes no network wider than a /8.
    return _address(address, version) and 8 <= int(prefix) <= (32 if version == 4 else 128)


def _nameserver(value: str) -> bool:
    address, _, interface = value.partition("%")
    if interface:
        return address.lower().startswith("fe80:") and _address(address, 6)
    return _address(value, 4) or _address(value, 6)


def _dots(value: str) -> bool:
    return "." in value.split("/") or ".." in value.split("/")


_FORMATS: dict[str, Callable[[str], bool]] = {
    "device": lambda value: value.startswith("/dev/") and not _dots(value),
    "dns-name": lambda value: bool(_DNS_NAME.fullmatch(value)),
    "dns-names": lambda value: all(_DNS_NAME.fullmatch(one) for one in split_list(value)),
    "ipv4": lambda value: _address(value, 4),
    "ipv4-config": lambda value: _network(value, 4, ("dhcp", "manual")),
    "ipv6": lambda value: _address(value, 6),
    "ipv6-config": lambda value: _network(value, 6, ("auto", "dhcp", "manual")),
    "mac": lambda value: bool(_MAC.fullmatch(value)),
    "mount": lambda value: not re.search(r"/\.\.?/|/\.\.?$|^\.\./", value),
    "nameservers": lambda value: all(_nameserver(one) for one in split_list(value)),
    "size": lambda value: parse_size(value) is not None,
    "startup": lambda value: parse_startup(value) is not None,
    "tags": lambda value: all(_TAG.fullmatch(one) for one in split_list(value)),
    "timezone": lambda value: bool(_ZONE.fullmatch(value)),
    "volume-id": lambda value: bool(_VOLUME.fullmatch(value)),
}
_WORDS = {
    "device": "path of a device below /dev",
    "dns-name": "host name",
    "dns-names": "list of domains",
    "ipv4": "IPv4 address",
    "ipv4-config": "IPv4 address with its prefix, dhcp or manual",
    "ipv6": "IPv6 address",
    "ipv6-config": "IPv6 address with its prefix, auto, dhcp or manual",
    "mac": "address of one network card",
    "mount": "volume or path without . and ..",
    "nameservers": "list of addresses",
    "size": "size such as 8G",
    "startup": "startup order such as order=2,up=10,down=30",
    "tags": "list of tags",
    "timezone": "time zone",
    "volume-id": "volume such as local:101/vm-101-disk-0.raw",
}
