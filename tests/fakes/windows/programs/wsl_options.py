"""What wsl.exe makes of its command line (microsoft/WSL, WslClient.cpp).

Option words are split on blanks only and keep their quotes, except for the folder after --cd.
"""

from __future__ import annotations

from . import command_line
from .command_line import BLANKS, blank_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VALUES = {"-d": "distro", "--distribution": "distro", "-u": "user", "--user": "user"}
MANAGEMENT = {
    *("-l", "--list", "--install", "--import", "--export", "--unregister", "-t", "--terminate", "--shutdown"),
    *("--status", "--version", "-v", "--update", "--set-default", "-s", "--set-version", "--help"),
    *("--set-default-version", "--mount", "--unmount", "--manage"),
}
_SHELLS = ("standard", "login", "none")


class Wrong(Exception):
    """A command line that wsl.exe refuses; its argument is the word."""


def parse(line: str) -> dict[str, Any]:
    """Given the whole command line, return what is asked: {"manage": word, "rest": text} or a request.

    A request's `argv` is None when a shell gets `text`. Raise Wrong.
    """
    _, rest = command_line.program(line)
    word, after = blank_word(rest)
    if word in MANAGEMENT:
        return {"manage": word, "rest": after}
    found: dict[str, Any] = {
        "distro": None,
        "user": "",
        "cd": None,
        "shell": "standard",
        "argv": None,
        "text": "",
    }
    rest = _options(rest.lstrip(BLANKS), found)
    if found["shell"] == "none" and rest:
        found["argv"] = command_line.split(rest)
    else:
        found["text"] = rest
    return found


def _options(rest: str, found: dict[str, Any]) -> str:
    """Take the options off the text; return the command."""
    while rest:
        word, after = blank_word(rest)
        if word in _VALUES:
            if not after:
                raise Wrong(word)
            found[_VALUES[word]], rest = blank_word(after)
        elif word == "--cd":
            found["cd"], rest = _folder(after)
        elif word == "--shell-type":
            found["shell"], rest = blank_word(after)
            if found["shell"] not in _SHELLS:
                raise Wrong(found["shell"])
        elif word == "~":
            found["cd"], rest = "~", after
        elif word in ("-e", "--exec"):
            found["shell"] = "none"
            return after
        elif word == "--":
            return after
        elif word.startswith("-"):
            raise Wrong(word)
        else:
            break
    return rest


def _folder(text: str) -> tuple[str, str]:
    if not text.startswith('"'):
        return blank_word(text)
    end = text.find('"', 1)
    if end < 0:
        return text[1:], ""
    return text[1:end], text[end + 1 :].lstrip(BLANKS)
