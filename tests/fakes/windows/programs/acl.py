"""Access control lists of the drive's files, kept beside it; a new file inherits its folder's.

An entry is a list: kind ("A" allows, "D" denies), flags ("OICI…"), mask, SID.
"""

from __future__ import annotations

import fcntl
import os

from . import drive
from .state import Machine, load_file, save_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ADMINISTRATORS, SYSTEM = "S-1-5-32-544", "S-1-5-18"
TRUSTED_INSTALLER = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
_SHORT = {
    "BA": ADMINISTRATORS,
    "SY": SYSTEM,
    "BU": "S-1-5-32-545",
    "AU": "S-1-5-11",
    "WD": "S-1-1-0",
    "CO": "S-1-3-0",
    "OW": "S-1-3-4",
    "NS": "S-1-5-20",
    "LS": "S-1-5-19",
}
_LONG = {sid: short for short, sid in _SHORT.items()}
FULL, MODIFY, READ_RUN, READ, WRITE = 0x1F01FF, 0x1301BF, 0x1200A9, 0x120089, 0x120116
_MASKS = {"FA": FULL, "FR": READ, "FW": WRITE, "FX": 0x1200A0, "GA": FULL, "GR": READ, "GW": WRITE}
_MASKS["GX"] = 0x1200A0
_MASKS["SD"] = 0x10000
_WRITTEN = {FULL: "FA", READ: "FR", WRITE: "FW"}
# Write or append data and attributes, delete children, delete, change the list or the owner; generic
# write and all.
_CHANGING = 0x2 | 0x4 | 0x10 | 0x40 | 0x100 | 0x10000 | 0x40000 | 0x80000 | 0x50000000
_ROOT = (
    TRUSTED_INSTALLER,
    "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)(A;OICI;0x1301bf;;;AU)",
)
HOME = "O:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;{})"
SSH_FOLDER = (SYSTEM, "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;AU)")


class Acl:
    """The owner and the list of one file."""

    def __init__(self, owner: str, flags: str, entries: list[list[Any]]) -> None:
        self.owner = owner
        self.flags = flags
        self.entries = entries

    @property
    def dacl(self) -> str:
        """The list as SDDL writes it, without the owner."""
        written = (
            f"({kind};{flags};{_WRITTEN.get(mask, hex(mask))};;;{_LONG.get(sid, sid)})"
            for kind, flags, mask, sid in self.entries
        )
        return f"D:{self.flags}{''.join(written)}"

    @property
    def sddl(self) -> str:
        """Owner and list as SDDL."""
        return f"O:{_LONG.get(self.owner, self.owner)}{self.dacl}"


def parse(sddl: str, owner: str = ADMINISTRATORS) -> Acl:
    """Given SDDL with or without an owner, return the list. Raise ValueError."""
    if "D:" not in sddl:
        raise ValueError(f"no D: in {sddl!r}")
    before, _, after = sddl.partition("D:")
    if before.startswith("O:"):
        owner = before[2:].partition("G:")[0]
    flags, *rest = after.partition("S:")[0].split("(")
    entries = []
    for text in rest:
        kind, inherit, rights, _, _, sid = text.rstrip(")").split(";")
        entries.append([kind, inherit, _mask(rights), _SHORT.get(sid, sid)])
    return Acl(_SHORT.get(owner, owner), flags, entries)


def _mask(rights: str) -> int:
    if rights.startswith("0x"):
        return int(rights, 16)
    mask = 0
    for place in range(0, len(rights), 2):
        mask |= _MASKS[rights[place : place + 2]]
    return mask


class Store:
    """All lists of a machine. Files without one of their own inherit; the file's name has no case."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.path = machine.folder + "/acl.json"
        self.kept: dict[str, list[str]] = {}
        self._load()

    def _load(self) -> None:
        self.kept = load_file(self.path) if os.path.exists(self.path) else {}

    def _change(self, change: Callable[[], object]) -> None:
        # Two at once: each changes what the other left.
        with open(self.path + ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._load()
            change()
            save_file(self.path, self.kept)

    def get(self, path: str) -> Acl:
        """Return the list that holds for a path."""
        return self._get(drive.key(self.machine, path), leaf=True)

    def _get(self, key: str, leaf: bool) -> Acl:
        if key in self.kept:
            owner, sddl = self.kept[key]
            return parse(sddl, owner)
        if len(key) <= 2:
            return parse(_ROOT[1], _ROOT[0])
        real = drive.resolve(self.machine, key)
        folder = not leaf or (real is not None and os.path.isdir(real))
        return Acl(ADMINISTRATORS, "AI", inherited(self._get(key.rpartition("\\")[0], leaf=False), folder))

    def set(self, path: str, acl: Acl) -> None:
        """Give a path a list of its own."""
        key = drive.key(self.machine, path)
        self._change(lambda: self.kept.__setitem__(key, [acl.owner, acl.dacl]))

    def remove(self, path: str) -> None:
        """Forget a file that is gone."""
        key = drive.key(self.machine, path)
        if key in self.kept:
            self._change(lambda: self.kept.pop(key, None))

    def move(self, old: str, new: str) -> None:
        """A renamed file keeps its list: inherited entries too, until somebody sets it anew."""
        before, after = drive.key(self.machine, old), drive.key(self.machine, new)
        acl = self.get(old)

        def change() -> None:
            for key in [key for key in self.kept if key.startswith(before + "\\")]:
                self.kept[after + key[len(before) :]] = self.kept.pop(key)
            self.kept.pop(before, None)
            self.kept[after] = [acl.owner, acl.dacl]

        self._change(change)


def inherited(parent: Acl, folder: bool) -> list[list[Any]]:
    """Given a folder's list, return the entries of a new file or folder in it."""
    entries = []
    for kind, flags, mask, sid in parent.entries:
        passed = ("CI" if folder else "OI") in _pairs(flags)
        if passed:
            kept = "".join(pair for pair in _pairs(flags) if pair in ("OI", "CI")) if folder else ""
            entries.append([kind, kept + "ID", mask, sid])
    return entries


def _pairs(flags: str) -> list[str]:
    return [flags[place : place + 2] for place in range(0, len(flags), 2)]


def trusted(acl: Acl, user: str) -> bool:
    """Return whether Windows' sshd takes a file of keys (its check_secure_file_permission).

    The owner is Administrators, SYSTEM, TrustedInstaller or the user; any other may at most read.
    """
    known = (ADMINISTRATORS, SYSTEM, TRUSTED_INSTALLER, user)
    if acl.owner not in known:
        return False
    return not any(
        kind == "A" and "IO" not in _pairs(flags) and sid not in known and mask & _CHANGING
        for kind, flags, mask, sid in acl.entries
    )
