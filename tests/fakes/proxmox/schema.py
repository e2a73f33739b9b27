"""What Proxmox VE's own description of its API allows, where that description is here."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parents[4] / "shared" / "reference" / "pve-apidata.json"
UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
_BOOLEANS = ("0", "1", "on", "off", "yes", "no", "true", "false")


def available() -> bool:
    """Whether the description is here."""
    return PATH.is_file()


@functools.cache
def _calls() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    found: list[tuple[re.Pattern[str], dict[str, Any]]] = []

    def walk(entry: dict[str, Any]) -> None:
        pattern = re.sub(r"\\\{(\w[\w\\-]*?)\\\}", _part, re.escape(entry["path"]))
        found.append((re.compile(pattern), entry.get("info", {})))
        for child in entry.get("children", []):
            walk(child)

    for entry in json.loads(PATH.read_text("utf-8")):
        walk(entry)
    return sorted(found, key=lambda pair: pair[0].groups)


def _part(match: re.Match[str]) -> str:
    """A part of a path ends at a slash; only a volume's name has some."""
    name = re.sub(r"\W+", "_", match[1])
    return f"(?P<{name}>.+)" if name == "volume" else f"(?P<{name}>[^/]+)"


def errors(method: str, path: str, params: dict[str, Any]) -> dict[str, str] | None:
    """Return what is wrong with the parameters of a call, or None where there is no such call."""
    for pattern, info in _calls():
        match = pattern.fullmatch(path)
        if match and method in info:
            properties = info[method].get("parameters", {}).get("properties", {})
            return _check(properties, {**match.groupdict(), **params})
    return None


def _check(properties: dict[str, Any], given: dict[str, Any]) -> dict[str, str]:
    found = {}
    for name, value in given.items():
        known = properties.get(name) or properties.get(re.sub(r"\d+$", "[n]", name))
        known = known or properties.get(name.replace("_", "-"))
        if known is None:
            found[name] = UNKNOWN
            continue
        for item in value if isinstance(value, list) else [value]:
            problem = _problem(
                known.get("items", known) if known.get("type") == "array" else known, str(item)
            )
            if problem:
                found[name] = problem
    for name, known in properties.items():
        if not known.get("optional") and name not in given and "[n]" not in name:
            found[name] = "property is missing and it is not optional"
    return found


def _problem(known: dict[str, Any], value: str) -> str | None:
    kind = known.get("type", "string")
    if kind == "integer" and not re.fullmatch(r"[+-]?\d+", value):
        return f"type check ('integer') failed - got '{value}'"
    if kind == "number" and not re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", value):
        return f"type check ('number') failed - got '{value}'"
    if kind == "boolean" and value.lower() not in _BOOLEANS:
        return f"type check ('boolean') failed - got '{value}'"
    if known.get("format") == "pve-vmid" and not 100 <= int(value) <= 999999999:
        return "invalid format - value does not look like a valid VM ID\n"
    if "enum" in known and value not in map(str, known["enum"]):
        return (
            f"value '{value}' does not have a value in the enumeration '{', '.join(map(str, known['enum']))}'"
        )
    if kind in ("integer", "number"):
        return _range(known, float(value))
    if "maxLength" in known and len(value) > known["maxLength"]:
        return f"value may only be {known['maxLength']} characters long"
    if "pattern" in known and not re.fullmatch(_from_perl(known["pattern"]), value):
        return "value does not match the regex pattern"
    return None


def _from_perl(pattern: str) -> str:
    """Perl shows a compiled pattern as `(?^i:…)`."""
    return re.sub(r"\(\?\^(\w*):", lambda match: f"(?{match[1]}:", pattern)


def _range(known: dict[str, Any], value: float) -> str | None:
    if "minimum" in known and value < float(known["minimum"]):
        return f"value must have a minimum value of {known['minimum']}"
    if "maximum" in known and value > float(known["maximum"]):
        return f"value must have a maximum value of {known['maximum']}"
    return None
