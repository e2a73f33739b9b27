"""What was left as it stood in an example, in the inventory. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WORDS = re.compile(r"(?i)(?<![a-z0-9])(?:change|replace)[ _-]?me(?![a-z0-9])")
_WHOLE = re.compile(
    r"<[^<>]*>|\[\[[^\]]*\]\]|(?:YOUR|MY)[ _-][A-Z0-9 _-]+|ADDRESS|PASSWORD|TOKEN|HOST|USER|X{3,}"
)
_NAMES = re.compile(
    r"(?i)(?:[a-z0-9-]+\.)*example(?:\.(?:com|net|org))?\.?|(?:[a-z0-9-]+\.)+(?:example|invalid)\.?"
)
# RFC 5737 and 3849: no machine has such an address.
_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
_ADDRESSES = ("maw_addresses", "ansible_host")
# The shown part of a value; a longer one is no placeholder that people read.
_SHOWN = 60


@dataclass(frozen=True)
class Left:
    """A placeholder: the host's, in the variable of that name."""

    host: str
    name: str
    value: str


def left(variables: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]) -> list[Left]:
    """Given each host's variables and the hosts that are meant, return the placeholders among them."""
    found = []
    for host in hosts:
        own = variables.get(host, {})
        if own.get("maw_example") is True:
            found.append(Left(host, "maw_example", "true (its address is an example's)"))
        for name, value in sorted(own.items()):
            for path, text in _texts(name, value):
                if _is_placeholder(name, text):
                    found.append(Left(host, path, text[:_SHOWN]))
    return found


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        # What is encrypted looks like nothing.
        for key, inner in value.items() if "__ansible_vault" not in value else ():
            yield from _texts(f"{path}.{key}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(f"{path}[{number}]", inner)


def _is_placeholder(name: str, text: str) -> bool:
    stripped = text.strip()
    if _WORDS.search(stripped) or _WHOLE.fullmatch(stripped):
        return True
    return name in _ADDRESSES and (bool(_NAMES.fullmatch(stripped)) or _is_documentation(stripped))


def _is_documentation(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in _NETWORKS)
