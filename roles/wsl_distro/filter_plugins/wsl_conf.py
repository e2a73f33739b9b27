"""The merge of /etc/wsl.conf: our keys are set, all else stays as the user wrote it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECTION = re.compile(r"\s*\[\s*([^\]]*?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=\s*(.*?)\s*$")
_MARK = "\ufeff"


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _section(line: str) -> str | None:
    found = _SECTION.match(line.strip("\r\n").removeprefix(_MARK))
    return found.group(1).lower() if found else None


def _pair(line: str) -> tuple[str, str] | None:
    found = _KEY.match(line.rstrip("\r\n").removeprefix(_MARK))
    return (found.group(1).lower(), found.group(2)) if found else None


def _plain(value: str) -> str:
    """A value without its quotes and the comment behind it; WSL takes True and true for the same."""
    text = re.sub(r"\s+#.*$", "", value).strip()
    text = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    return text.lower() if text.lower() in ("true", "false") else text


def values(text: str) -> dict[tuple[str, str], str]:
    """Given a wsl.conf, return its values by section and key, in lower case; of several the first."""
    found: dict[tuple[str, str], str] = {}
    section = ""
    for line in _lines(text):
        name, pair = _section(line), _pair(line)
        if name is not None:
            section = name
        elif pair is not None:
            found.setdefault((section, pair[0]), _plain(pair[1]))
    return found


def merge(text: str, wanted: Mapping[str, Mapping[str, str]]) -> str:
    """Given a wsl.conf and the keys wanted by section, return it with these set.

    Example: `merge("", {"boot": {"systemd": "true"}})` is `"[boot]\\nsystemd=true\\n"`. Comments, order and
    line ends stay; a key that has the value already stays as it is written.
    """
    lines = _lines(text)
    end = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    for section, keys in wanted.items():
        for key, value in keys.items():
            lines = _set(lines, section.lower(), key, value, end)
    return "".join(lines)


def _set(lines: list[str], section: str, key: str, value: str, end: str) -> list[str]:
    current, last, found = "", None, False
    for place, line in enumerate(lines):
        name, pair = _section(line), _pair(line)
        current = name if name is not None else current
        if current != section:
            continue
        if name is not None and last is None:
            last = place
        if pair is None:
            continue
        last = place
        if pair[0] == key.lower():
            found = True
            if _plain(pair[1]) != _plain(value):
                lines[place] = f"{key}={value}{_end(line) or end}"
    if found:
        return lines
    if lines and not _end(lines[-1]):
        lines[-1] += end
    if last is None:
        gap = [end] if lines and lines[-1].strip() else []
        return [*lines, *gap, f"[{section}]{end}", f"{key}={value}{end}"]
    return [*lines[: last + 1], f"{key}={value}{end}", *lines[last + 1 :]]


def _end(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]


def undo(text: str, before: str, wanted: Mapping[str, Mapping[str, str]]) -> str:
    """Given a wsl.conf, what it was before maw, and the keys that maw set, return it without maw's doing.

    What the user changed since stays. A section that has become empty goes, unless it was there before.
    """
    if merge(before, wanted) == text:
        return before
    was = values(before)
    sections = {section for section, _ in was}
    lines = _lines(text)
    for section, keys in wanted.items():
        for key, value in keys.items():
            old = was.get((section.lower(), key.lower()))
            if values("".join(lines)).get((section.lower(), key.lower())) != _plain(value):
                # The user's own by now.
                continue
            lines = _drop(lines, section.lower(), key) if old is None else _put_back(lines, section, key, old)
        if section.lower() not in sections:
            lines = _drop_section(lines, section.lower())
    return "".join(lines)


def _put_back(lines: list[str], section: str, key: str, value: str) -> list[str]:
    return _set(lines, section.lower(), key, value, "\n")


def _drop(lines: list[str], section: str, key: str) -> list[str]:
    current, kept = "", []
    for line in lines:
        name, pair = _section(line), _pair(line)
        current = name if name is not None else current
        if current != section or pair is None or pair[0] != key.lower():
            kept.append(line)
    return kept


def _drop_section(lines: list[str], section: str) -> list[str]:
    places = [place for place, line in enumerate(lines) if _section(line) is not None]
    for start, end in reversed(list(zip(places, [*places[1:], len(lines)], strict=True))):
        if _section(lines[start]) == section and not "".join(lines[start + 1 : end]).strip():
            lines = [*lines[:start], *lines[end:]]
            # The empty line that was put before it.
            if start and not lines[start - 1].strip():
                del lines[start - 1]
    return lines


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"wsl_distro_conf": merge, "wsl_distro_conf_undo": undo}
