"""Writing a Proxmox config: in the order in which Proxmox writes it, and from what its API answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maw.errors import PctConfigError
from maw.mirror.pct import Config, parse
from maw.mirror.pct_lines import PENDING, Section

if TYPE_CHECKING:
    from collections.abc import Mapping

# Keys of the API's answer that are no keys of the file, or are written in another way.
_APART = frozenset({"digest", "description", "env", "lxc", "pending", "snapshots", "vmid"})


def encode_comment(text: str) -> str:
    """Given one line of a description, return it as Proxmox writes it after the ``#``.

    Control characters, what is not ASCII, ``:`` and ``%`` become ``%XX``.
    """
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b":%" else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def render(config: Config) -> str:
    """Given a config, return its text as Proxmox writes it.

    The description first, then keys sorted, environment and raw lines; the pending section
    and the snapshots, sorted, follow. Lines that Proxmox would drop end their section.
    """
    parts = [_section(config.main)]
    if config.pending is not None and _section(config.pending):
        parts.append(f"[{PENDING}]\n{_section(config.pending)}")
    parts += [f"[{name}]\n{_section(one)}" for name, one in sorted(config.snapshots.items())]
    return "\n".join(parts)


def _section(section: Section) -> str:
    lines = [f"#{encode_comment(line)}" for line in section.description.rstrip("\n").split("\n")]
    if not section.description:
        lines = []
    # The state of a snapshot under way is never written for the container itself.
    keys = sorted(key for key in section.values if section.name or key != "snapstate")
    lines += [f"{key}: {section.values[key]}" for key in keys]
    lines += [f"lxc.environment.runtime: {entry}" for entry in section.environment]
    lines += [f"{key}: {value}" for key, value in section.raw]
    lines += [one.text for one in section.unknown if not one.key]
    return "".join(f"{line}\n" for line in lines)


def parse_api(answer: Mapping[str, object], name: str = "the API's answer") -> Config:
    """Given what ``GET /nodes/N/lxc/ID/config`` answers, return it as a config.

    Its `digest` is the one that Proxmox gave. Raise PctConfigError for what no config holds.
    """
    lines: list[str] = []
    description = answer.get("description")
    if description:
        lines += [f"#{encode_comment(line)}" for line in str(description).rstrip("\n").split("\n")]
    for key in sorted(answer):
        if key not in _APART and answer[key] is not None:
            lines.append(_line(key, answer[key], name, len(lines) + 1))
    environment = str(answer.get("env") or "")
    for entry in environment.split("\0"):
        if entry:
            lines.append(_line("lxc.environment.runtime", entry, name, len(lines) + 1))
    for key, value in _pairs(answer.get("lxc"), name, len(lines) + 1):
        lines.append(_line(key, value, name, len(lines) + 1))
    config = parse("".join(f"{line}\n" for line in lines), name)
    digest = answer.get("digest")
    if not isinstance(digest, str):
        return config
    return Config(config.name, config.main, config.pending, config.snapshots, digest, str(config))


def _pairs(raw: object, name: str, line: int) -> list[tuple[str, object]]:
    if raw is None:
        return []
    if not isinstance(raw, list) or not all(isinstance(one, list) and len(one) == 2 for one in raw):
        raise PctConfigError(name=name, line=line, reason="lxc must be a list of pairs")
    return [(str(key), value) for key, value in raw]


def _line(key: str, value: object, name: str, line: int) -> str:
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float):
        raise PctConfigError(name=name, line=line, reason=f"{key} must be a text or a number")
    text = f"{key}: {value}"
    if "\n" in text or "\0" in text:
        raise PctConfigError(name=name, line=line, reason=f"{key} must be one line")
    return text
