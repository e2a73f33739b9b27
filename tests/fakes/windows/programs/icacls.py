"""icacls.exe: shows, saves and changes access control lists.

Groups have translated names here, so that only SIDs (`*S-1-5-32-544`) work everywhere. As the
real one, it takes one kind of task at a time: /save, /setowner and /reset go with no other.
"""

from __future__ import annotations

import os

from . import acl, drive
from .state import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MASKS = {"F": acl.FULL, "M": acl.MODIFY, "RX": acl.READ_RUN, "R": acl.READ, "W": acl.WRITE, "D": 0x110000}
_SHOWN = {mask: name for name, mask in _MASKS.items()}
_CHANGES = ("/grant", "/grant:r", "/deny", "/remove", "/remove:g", "/remove:d", "/inheritance")
_NO_MAPPING = "No mapping between account names and security IDs was done."
_IGNORED = ("/t", "/c", "/l", "/q")


class Refused(Exception):
    """Arguments or a file that icacls refuses: message and exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def main(machine: Machine, arguments: list[str]) -> int:
    """Do what the arguments ask; return the exit code."""
    try:
        return _run(machine, arguments)
    except Refused as error:
        machine.err(f"{error}\r\n")
        return _summary(machine, 0, 1, error.code)


def _summary(machine: Machine, done: int, failed: int, code: int) -> int:
    machine.out(f"Successfully processed {done} files; Failed processing {failed} files\r\n")
    return code


def _run(machine: Machine, arguments: list[str]) -> int:
    if not arguments:
        raise Refused('Invalid parameter ""', 87)
    path, *words = arguments
    real = drive.resolve(machine, path)
    if real is None or not os.path.exists(real):
        raise Refused(f"{path}: The system cannot find the file specified.", 2)
    options = _options(words)
    alone = [word for word, _ in options if word in ("/save", "/setowner", "/reset")]
    if alone and len(options) > 1:
        raise Refused(f'Invalid parameter "{options[1][0]}"', 87)
    store = acl.Store(machine)
    if not options:
        return _show(machine, path, store.get(path))
    word, values = options[0]
    if word == "/save":
        return _save(machine, path, values[0], store.get(path))
    found = store.get(path)
    for word, values in options:
        found = _changed(machine, found, word, values, store, path, os.path.isdir(real))
    store.set(path, found)
    machine.out(f"processed file: {path}\r\n")
    return _summary(machine, 1, 0, 0)


def _options(words: list[str]) -> list[tuple[str, list[str]]]:
    options: list[tuple[str, list[str]]] = []
    for word in words:
        low = word.lower()
        if low in _IGNORED:
            continue
        if low.startswith("/inheritance:"):
            options.append(("/inheritance", [low.partition(":")[2]]))
        elif low in (*_CHANGES, "/save", "/setowner", "/reset"):
            options.append((low, []))
        elif low.startswith("/") or not options:
            raise Refused(f'Invalid parameter "{word}"', 87)
        else:
            options[-1][1].append(word)
    for name, values in options:
        if not values and name != "/reset":
            raise Refused(f'Invalid parameter "{name}"', 87)
    return options


def _sid(machine: Machine, name: str) -> str:
    if name.startswith("*"):
        if not name.upper().startswith("*S-1-"):
            raise Refused(f"{name[1:]}: {_NO_MAPPING}", 1332)
        return name[1:].upper()
    own = {machine.state["sid"]: f"{machine.state['name'].upper()}\\{machine.state['account']}"}
    sid: str
    for sid, known in {**machine.state["names"], **own}.items():
        if name.lower() in (known.lower(), known.lower().rpartition("\\")[2]):
            return sid
    raise Refused(f"{name}: {_NO_MAPPING}", 1332)


def _changed(
    machine: Machine, found: acl.Acl, word: str, values: list[str], store: acl.Store, path: str, folder: bool
) -> acl.Acl:
    if word == "/setowner":
        return acl.Acl(_sid(machine, values[0]), found.flags, found.entries)
    own = [entry for entry in found.entries if "ID" not in entry[1]]
    passed = [entry for entry in found.entries if "ID" in entry[1]]
    above = drive.full(machine, path).rpartition("\\")[0]
    if word == "/reset":
        return acl.Acl(found.owner, "AI", acl.inherited(store.get(above + "\\"), folder))
    if word == "/inheritance":
        if values[0] == "e":
            return acl.Acl(found.owner, "AI", [*own, *acl.inherited(store.get(above + "\\"), folder)])
        if values[0] == "d":
            own += [[kind, flags.replace("ID", ""), mask, sid] for kind, flags, mask, sid in passed]
        elif values[0] != "r":
            raise Refused(f'Invalid parameter "/inheritance:{values[0]}"', 87)
        return acl.Acl(found.owner, "PAI", own)
    if word.startswith("/remove"):
        gone = [_sid(machine, value) for value in values]
        kinds = {"/remove:g": "A", "/remove:d": "D"}.get(word, "AD")
        own = [entry for entry in own if entry[3] not in gone or entry[0] not in kinds]
    else:
        for value in values:
            own = _granted(machine, own, word, value)
    own.sort(key=lambda entry: entry[0] != "D")
    return acl.Acl(found.owner, found.flags, [*own, *passed])


def _granted(machine: Machine, own: list[list[Any]], word: str, value: str) -> list[list[Any]]:
    name, colon, rights = value.rpartition(":")
    if not colon:
        raise Refused(f'Invalid parameter "{value}"', 87)
    kind = "D" if word == "/deny" else "A"
    flags = ""
    while rights.startswith("(") and rights[1:3] in ("OI", "CI", "IO", "NP"):
        flags += rights[1:3]
        rights = rights[rights.index(")") + 1 :]
    mask = 0
    for right in rights.strip("()").split(","):
        if right.upper() not in _MASKS:
            raise Refused(f'Invalid parameter "{value}"', 87)
        mask |= _MASKS[right.upper()]
    sid = _sid(machine, name)
    same = [entry for entry in own if entry[0] == kind and entry[3] == sid]
    if word == "/grant:r":
        own = [entry for entry in own if entry not in same]
    else:
        for entry in same:
            if entry[1] == flags:
                entry[2] |= mask
                return own
    return [*own, [kind, flags, mask, sid]]


def _show(machine: Machine, path: str, found: acl.Acl) -> int:
    own = {machine.state["sid"]: f"{machine.state['name'].upper()}\\{machine.state['account']}"}
    names = {**machine.state["names"], **own}
    lines = []
    for kind, flags, mask, sid in found.entries:
        pairs = "".join(f"({flags[place : place + 2]})" for place in range(0, len(flags), 2))
        shown = pairs.replace("(ID)", "(I)") + ("(DENY)" if kind == "D" else "")
        lines.append(f"{names.get(sid, sid)}:{shown}({_SHOWN.get(mask, hex(mask))})")
    indent = " " * (len(path) + 1)
    machine.out(path + " " + f"\r\n{indent}".join(lines) + "\r\n\r\n")
    return _summary(machine, 1, 0, 0)


def _save(machine: Machine, path: str, target: str, found: acl.Acl) -> int:
    """Write name and list as the real one: UTF-16 without a mark, no owner."""
    real = drive.resolve(machine, target)
    name = drive.full(machine, path).rpartition("\\")[2]
    try:
        with open(str(real), "wb") as file:
            file.write(f"{name}\r\n{found.dacl}\r\n".encode("utf-16-le"))
    except OSError as error:
        raise Refused(f"{target}: The system cannot find the path specified.", 3) from error
    machine.out(f"processed file: {path}\r\n")
    return _summary(machine, 1, 0, 0)
