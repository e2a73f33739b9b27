"""A command as the line of a systemd unit. Pure. The rules: systemd.service(5), COMMAND LINES."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"core_exec": exec_line}


def exec_line(words: Sequence[Any]) -> str:
    """Given the words of a command, return the line that gives it just these. Raise ValueError.

    >>> exec_line(["/bin/echo", '50% of "$HOME"'])
    '"/bin/echo" "50%% of \\\\"$$HOME\\\\""'
    """
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    if any(character in word for character in "\n\r\0"):
        raise ValueError(f"{word!r} has a line break, which no unit can hold")
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(plain, written)
    return f'"{word}"'
