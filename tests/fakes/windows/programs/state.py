"""The folder of a machine: its state, its variables, its log of what was asked of it.

No `json`: it takes as long to import as Python to start, and python3-minimal lacks it. What JSON
writes is Python too, but for three names.
"""

from __future__ import annotations

import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

_NAMES: dict[str, Any] = {"true": True, "false": False, "null": None, "__builtins__": {}}
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def load_file(path: str) -> dict[str, Any]:
    """Given the path of a JSON file that the stand-in wrote, return its object."""
    with open(path, encoding="utf-8", errors="surrogatepass") as file:
        return decode(file.read())


def decode(text: str) -> dict[str, Any]:
    """Given JSON of an object that the stand-in itself wrote, return the object."""
    found: dict[str, Any] = eval(text, dict(_NAMES))
    return found


def encode(value: object) -> str:
    """Return a value as JSON. Lone surrogates (bytes that are no UTF-8) are kept as escapes."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(encode(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{encode(str(key))}: {encode(item)}" for key, item in value.items()) + "}"
    return '"' + "".join(_character(character) for character in str(value)) + '"'


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character < " " or "\ud800" <= character <= "\udfff":
        return f"\\u{ord(character):04x}"
    return character


def save_file(path: str, value: object) -> None:
    """Replace a file by a value as JSON, at once."""
    beside = f"{path}.{os.getpid()}"
    with open(beside, "w", encoding="utf-8") as file:
        file.write(encode(value) + "\n")
    os.replace(beside, path)


class Machine:
    """A machine as one log-in sees it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.state = load_file(folder + "/state.json")
        self.own: dict[str, Any] = {}
        self.raw = ""
        self.forced = False
        account = self.state["account"]
        self.cwd = f"C:\\Users\\{account}"
        self.variables: dict[str, str] = {
            "ALLUSERSPROFILE": "C:\\ProgramData",
            "COMPUTERNAME": self.state["name"].upper(),
            "ComSpec": "C:\\Windows\\system32\\cmd.exe",
            "HOMEDRIVE": "C:",
            "HOMEPATH": f"\\Users\\{account}",
            "OS": "Windows_NT",
            "PATH": "C:\\Windows\\system32;C:\\Windows;C:\\Program Files\\WSL",
            "PATHEXT": ".COM;.EXE;.BAT;.CMD",
            "ProgramData": "C:\\ProgramData",
            "ProgramFiles": "C:\\Program Files",
            "PROMPT": "$P$G",
            "SystemDrive": "C:",
            "SystemRoot": "C:\\Windows",
            "TEMP": f"C:\\Users\\{account}\\AppData\\Local\\Temp",
            "USERNAME": account,
            "USERPROFILE": self.cwd,
            "windir": "C:\\Windows",
            **self.state["environment"],
        }

    @property
    def version(self) -> str:
        """Windows' version."""
        return f"10.0.{self.state['build']}.6899"

    def change(self, change: Callable[[dict[str, Any]], T]) -> T:
        """Change the state in one step: two at once do not lose what the other did.

        `change` gets the newest state; what it returns is returned. It must not call `change` itself.
        """
        path = self.folder + "/state.json"
        with open(path + ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = load_file(path)
            answer = change(state)
            save_file(path, state)
        # What is true of this log-in only stays.
        self.state = {**state, **self.own}
        return answer

    def variable(self, name: str) -> str | None:
        """Return a variable's value; names have no case."""
        for known, value in self.variables.items():
            if known.lower() == name.lower():
                return value
        return None

    def set_variable(self, name: str, value: str) -> None:
        """Set a variable, or remove it when the value is empty."""
        for known in list(self.variables):
            if known.lower() == name.lower():
                del self.variables[known]
        if value:
            self.variables[name] = value

    def out(self, text: str) -> None:
        """Write to standard output in the machine's code page, as console programs do to a pipe."""
        write_all(1, self._coded(text))

    def err(self, text: str) -> None:
        """Write to standard error in the machine's code page."""
        write_all(2, self._coded(text))

    def _coded(self, text: str) -> bytes:
        if self.state["codepage"] == "utf-8":
            return text.encode("utf-8", "surrogateescape")
        return text.encode(self.state["codepage"], "replace")

    def log(self, program: str, line: str, argv: list[str]) -> None:
        """Note that a program was started: all in one write, for several machines' log-ins write at once."""
        record = {
            "time": time.time(),
            "raw": self.raw,
            "forced": self.forced,
            "shell": self.state["shell"],
            "program": program,
            "line": line,
            "argv": argv,
        }
        data = (encode(record) + "\n").encode("utf-8")
        handle = os.open(self.folder + "/calls.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write all of the data to a file handle."""
    while data:
        data = data[os.write(handle, data) :]
