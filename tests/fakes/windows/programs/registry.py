"""The registry: keys and values by name, whatever their case; and reg.exe.

`DefaultShell` of OpenSSH is the setting `shell`: a connection that is open keeps the shell it began with.
"""

from __future__ import annotations

import time

from .state import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SSH_KEY = "HKLM\\SOFTWARE\\OpenSSH"
_SHELL_VALUE = "defaultshell"
_POWERSHELL = "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe"
_HIVES = {
    "hkey_local_machine": "HKLM",
    "hkey_current_user": "HKCU",
    "hkey_users": "HKU",
    "hkey_classes_root": "HKCR",
    "hkey_current_config": "HKCC",
}
_LONG = {short: long.upper() for long, short in _HIVES.items()}
REG_TYPES = {
    "none": "REG_NONE",
    "binary": "REG_BINARY",
    "dword": "REG_DWORD",
    "expandstring": "REG_EXPAND_SZ",
    "multistring": "REG_MULTI_SZ",
    "string": "REG_SZ",
    "qword": "REG_QWORD",
}


class NotPlayed(Exception):
    """A value with a meaning that the stand-in does not have."""


def canonical(key: str) -> str:
    """Given a key as anybody writes it (`HKLM:\\…`, `HKEY_LOCAL_MACHINE\\…`), return `HKLM\\…`."""
    hive, _, rest = key.rstrip("\\").partition("\\")
    hive = hive.rstrip(":")
    hive = _HIVES.get(hive.lower(), hive.upper())
    return f"{hive}\\{rest}" if rest else hive


def _stored(state: dict[str, Any], key: str) -> str:
    """Return the key as it is stored, or as it was asked for."""
    key = canonical(key)
    return next((known for known in state["registry"] if known.lower() == key.lower()), key)


def exists(machine: Machine, key: str) -> bool:
    """Return whether a key is there; a key has all keys above it."""
    low = canonical(key).lower()
    return any(
        known.lower() == low or known.lower().startswith(low + "\\") for known in machine.state["registry"]
    )


def values(machine: Machine, key: str) -> dict[str, list[Any]]:
    """Return the values of a key: name to [kind, data]. The default value's name is empty."""
    found = dict(machine.state["registry"].get(_stored(machine.state, key), {}))
    if canonical(key).lower() == SSH_KEY.lower():
        shell = machine.state["registry_shell"]
        if shell is None and machine.state["shell"] == "powershell":
            shell = _POWERSHELL
        if shell:
            found["DefaultShell"] = ["string", shell]
    return found


def get(machine: Machine, key: str, name: str) -> list[Any] | None:
    """Return a value as [kind, data], or None."""
    return next(
        (found for known, found in values(machine, key).items() if known.lower() == name.lower()), None
    )


def make(machine: Machine, key: str) -> None:
    """Make a key; one that is there stays."""
    machine.change(lambda state: state["registry"].setdefault(_stored(state, key), {}))


def put(machine: Machine, key: str, name: str, kind: str, data: object) -> None:
    """Set a value, and make its key if it is missing. Raise NotPlayed."""
    if _is_shell(key, name):
        _set_shell(machine, str(data))
        return

    def change(state: dict[str, Any]) -> None:
        found = state["registry"].setdefault(_stored(state, key), {})
        same = next((known for known in found if known.lower() == name.lower()), name)
        found[same] = [kind, data]

    machine.change(change)


def remove(machine: Machine, key: str, name: str) -> None:
    """Remove a value; one that is not there is no error."""
    if _is_shell(key, name):
        _set_shell(machine, None)
        return

    def change(state: dict[str, Any]) -> None:
        found = state["registry"].get(_stored(state, key), {})
        for known in [known for known in found if known.lower() == name.lower()]:
            del found[known]

    machine.change(change)


def remove_key(machine: Machine, key: str) -> None:
    """Remove a key with all below it."""
    low = canonical(key).lower()
    if SSH_KEY.lower() == low or SSH_KEY.lower().startswith(low + "\\"):
        _set_shell(machine, None)

    def change(state: dict[str, Any]) -> None:
        for known in list(state["registry"]):
            if known.lower() == low or known.lower().startswith(low + "\\"):
                del state["registry"][known]

    machine.change(change)


def _is_shell(key: str, name: str) -> bool:
    return canonical(key).lower() == SSH_KEY.lower() and name.lower() == _SHELL_VALUE


def _set_shell(machine: Machine, path: str | None) -> None:
    base = (path or "cmd.exe").replace("/", "\\").rpartition("\\")[2].lower().removesuffix(".exe")
    if base not in ("cmd", "powershell"):
        raise NotPlayed(
            f"The stand-in's sshd has no default shell {path}: it plays cmd.exe and powershell.exe"
        )

    def change(state: dict[str, Any]) -> None:
        state["shell_changes"].append([time.clock_gettime(time.CLOCK_BOOTTIME), state["shell"]])
        state["shell"], state["registry_shell"] = base, path

    machine.change(change)


def reg(machine: Machine, arguments: list[str]) -> int:
    """Do what reg.exe does with `query`, `add` and `delete`; return the exit code."""
    words = [word.lower() for word in arguments]
    action, key = (words[:1] or [""])[0], arguments[1] if len(arguments) > 1 else ""
    options = {
        word: arguments[place + 1] if place + 1 < len(words) else ""
        for place, word in enumerate(words)
        if word in ("/v", "/t", "/d")
    }
    name = "" if "/ve" in words else options.get("/v")
    try:
        if action == "query":
            return _query(machine, key, name)
        if action == "add":
            return _add(machine, key, name, options)
        if action == "delete" and "/f" in words:
            return _delete(machine, key, name)
    except NotPlayed as error:
        machine.err(f"ERROR: {error}\r\n")
        return 1
    machine.err(f"ERROR: The stand-in's reg.exe does not play: reg {' '.join(arguments)}\r\n")
    return 1


def _missing(machine: Machine) -> int:
    machine.err("ERROR: The system was unable to find the specified registry key or value.\r\n")
    return 1


def _query(machine: Machine, key: str, name: str | None) -> int:
    found = values(machine, key)
    if name is not None:
        found = {known: value for known, value in found.items() if known.lower() == name.lower()}
    if not exists(machine, key) or (name is not None and not found):
        return _missing(machine)
    hive, _, rest = _stored(machine.state, key).partition("\\")
    lines = [f"{_LONG.get(hive, hive)}\\{rest}"]
    for known, (kind, data) in found.items():
        lines.append(f"    {known or '(Default)'}    {REG_TYPES[kind]}    {_written(kind, data)}")
    machine.out("\r\n" + "\r\n".join(lines) + "\r\n\r\n")
    return 0


def _written(kind: str, data: Any) -> str:
    if kind in ("dword", "qword"):
        return hex(data & (0xFFFFFFFF if kind == "dword" else 0xFFFFFFFFFFFFFFFF))
    if kind == "multistring":
        return "\\0".join(data)
    return "".join(f"{byte:02X}" for byte in data) if kind in ("binary", "none") else str(data)


def _add(machine: Machine, key: str, name: str | None, options: dict[str, str]) -> int:
    if name is None:
        make(machine, key)
    else:
        written = options.get("/t", "REG_SZ").upper()
        kind = next((kind for kind, known in REG_TYPES.items() if known == written), None)
        if kind not in ("string", "expandstring", "dword", "qword"):
            raise NotPlayed(f"The stand-in's reg.exe adds no {written}")
        data: object = options.get("/d", "")
        put(machine, key, name, kind, int(str(data) or "0", 0) if kind in ("dword", "qword") else data)
    machine.out("The operation completed successfully.\r\n")
    return 0


def _delete(machine: Machine, key: str, name: str | None) -> int:
    if (name is None and not exists(machine, key)) or (name is not None and get(machine, key, name) is None):
        return _missing(machine)
    if name is None:
        remove_key(machine, key)
    else:
        remove(machine, key, name)
    machine.out("The operation completed successfully.\r\n")
    return 0
