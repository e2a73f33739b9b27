"""Windows' .wslconfig: maw's keys put into a person's file, and taken out again. Pure.

Lines that are not maw's keep every byte. As in WSL, names have no case and a `#` begins a comment.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping

Wanted = Mapping[str, Mapping[str, object]]
_MARKS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"))


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters by their names."""
        return {
            "windows_host_text": text_of,
            "windows_host_wslconfig": merged,
            "windows_host_wslconfig_without": without,
        }


def text_of(encoded: str) -> str:
    """Given a file's bytes in base64, return its text, whatever the encoding."""
    data = base64.b64decode(encoded)
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def merged(text: str, wanted: Wanted) -> str:
    """Given the text of a .wslconfig and sections with keys, return the text in which these keys hold."""
    end = "\r\n" if "\r\n" in text else "\n"
    lines = _lines(text)
    for section, keys in wanted.items():
        for key, value in keys.items():
            _put(lines, section, key, f"{key}={value}{end}", str(value), end)
    return "".join(lines)


def without(text: str, before: str, wanted: Wanted) -> str:
    """Given the text now, the text before maw and maw's keys, return the text without what maw made of it.

    What a person has changed since then stays; nothing changed gives `before` itself.
    """
    found = {
        section: {key: value for key in keys if (value := _value(_lines(text), section, key)) is not None}
        for section, keys in wanted.items()
    }
    if merged(before, found) == text:
        return before
    lines, old = _lines(text), _lines(before)
    for section, keys in wanted.items():
        for key in keys:
            was = _places(old, section, key)
            for place in reversed(_places(lines, section, key)):
                if not was:
                    del lines[place]
                else:
                    lines[place] = old[was[-1]].rstrip("\r\n") + _end(lines[place])
        _drop_if_empty(lines, section, there_before=bool(_headers(old, section)))
    return "".join(lines)


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _header(line: str) -> str | None:
    match = re.fullmatch(r"\s*\[([^\]]*)\]\s*(?:#.*)?\s*", line)
    return match.group(1).strip().lower() if match else None


def _headers(lines: list[str], section: str) -> list[int]:
    return [place for place, line in enumerate(lines) if _header(line) == section.lower()]


def _places(lines: list[str], section: str, key: str) -> list[int]:
    """Where a key stands in its section; a file may have both several times."""
    found, inside = [], False
    for place, line in enumerate(lines):
        name = _header(line)
        if name is not None:
            inside = name == section.lower()
        elif inside and line.partition("=")[1] and line.partition("=")[0].strip().lower() == key.lower():
            found.append(place)
    return found


def _value(lines: list[str], section: str, key: str) -> str | None:
    places = _places(lines, section, key)
    return lines[places[-1]].partition("=")[2].partition("#")[0].strip() if places else None


def _with_value(line: str, value: str) -> str:
    name, _, rest = line.partition("=")
    if rest.partition("#")[0].strip() == value:
        return line
    return f"{name.rstrip()}={value}{_end(line)}"


def _end(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]


def _put(lines: list[str], section: str, key: str, line: str, value: str, end: str) -> None:
    places = _places(lines, section, key)
    for place in places:
        lines[place] = _with_value(lines[place], value)
    if places:
        return
    headers = _headers(lines, section)
    if not headers:
        _finish(lines, end)
        lines += [*([end] if lines else []), f"[{section}]{end}", line]
        return
    place = headers[0] + 1
    while place < len(lines) and _header(lines[place]) is None:
        place += 1
    while not lines[place - 1].strip():
        place -= 1
    if place == len(lines):
        _finish(lines, end)
    elif not lines[place - 1].endswith("\n"):
        lines[place - 1] += end
    lines.insert(place, line)


def _finish(lines: list[str], end: str) -> None:
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end


def _drop_if_empty(lines: list[str], section: str, *, there_before: bool) -> None:
    for start in [] if there_before else reversed(_headers(lines, section)):
        stop = start + 1
        while stop < len(lines) and not lines[stop].strip():
            stop += 1
        if stop == len(lines) or _header(lines[stop]) is not None:
            # The blank line that maw put before it, and what is left of the section.
            first = start - 1 if start and not lines[start - 1].strip() else start
            del lines[first:stop]
