"""win_acl, win_acl_inheritance and win_owner for files and folders; a registry key's list is not played."""

from __future__ import annotations

import os

from . import accounts, acl, drive, tree
from .ansible_arguments import Module, Option, Spec, expanded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SYNCHRONIZE = 0x100000
# System.Security.AccessControl.FileSystemRights.
_RIGHTS = {
    "fullcontrol": 0x1F01FF,
    "modify": 0x301BF,
    "readandexecute": 0x200A9,
    "read": 0x20089,
    "write": 0x116,
    "listdirectory": 0x1,
    "readdata": 0x1,
    "createfiles": 0x2,
    "writedata": 0x2,
    "appenddata": 0x4,
    "createdirectories": 0x4,
    "readextendedattributes": 0x8,
    "writeextendedattributes": 0x10,
    "executefile": 0x20,
    "traverse": 0x20,
    "deletesubdirectoriesandfiles": 0x40,
    "readattributes": 0x80,
    "writeattributes": 0x100,
    "delete": 0x10000,
    "readpermissions": 0x20000,
    "changepermissions": 0x40000,
    "takeownership": 0x80000,
    "synchronize": _SYNCHRONIZE,
}
_INHERIT = {"none": "", "containerinherit": "CI", "objectinherit": "OI"}
_PROPAGATION = {"None": "", "InheritOnly": "IO", "NoPropagateInherit": "NP"}


def _found(module: Module, message: str) -> str:
    path = expanded(module.machine, module.params["path"])
    if path.upper().startswith(("HKLM:", "HKCU:", "HKU:", "HKCR:", "HKCC:", "CERT:")):
        module.unplayed("the list of a registry key or certificate")
    if module.real(path) is None:
        module.fail(message.format(path))
    return path


def _sid(module: Module, message: str) -> str:
    found = accounts.sid(module.machine, module.params["user"])
    if found is None:
        module.fail(message.format(module.params["user"]))
    return found


def _mask(module: Module) -> int:
    mask = 0
    for word in module.params["rights"].split(","):
        if word.strip().lower() not in _RIGHTS:
            doing = "an error occurred when attempting to {state} {rights} permission(s) on {path} for {user}"
            kind = "System.Security.AccessControl.FileSystemRights"
            said = f'Cannot convert value "{word.strip()}" to type "{kind}".'
            module.fail(f"{doing.format(**module.params)} - {said}")
        mask |= _RIGHTS[word.strip().lower()]
    # An entry that allows always allows to wait for the file too.
    return mask | _SYNCHRONIZE if module.params["type"] == "allow" else mask


def _flags(module: Module, folder: bool) -> str:
    if not folder:
        return ""
    written = module.params["inherit"]
    words = ["containerinherit", "objectinherit"] if written is None else written.lower().split(",")
    flags = [_INHERIT.get(word.strip(), "?") for word in words]
    if "?" in flags:
        module.fail(f"inherit: {written} is no InheritanceFlags")
    return "".join(sorted(flags, reverse=True)) + _PROPAGATION[module.params["propagation"]]


def _acl(module: Module) -> None:
    path = _found(module, "{} file or directory does not exist on the host")
    sid = _sid(module, "{} is not a valid user or group on the host machine or domain")
    folder = os.path.isdir(tree.place(module.machine, path))
    kind = "A" if module.params["type"] == "allow" else "D"
    entry = [kind, _flags(module, folder), _mask(module), sid]
    store = acl.Store(module.machine)
    found = store.get(path)
    present = module.params["state"] == "present"
    if (entry in found.entries) is present:
        does = "rule already exists" if present else "rule does not exist"
        module.result["msg"] = f"the specified {does}"
        return
    if not module.changed():
        return
    own = [each for each in found.entries if "ID" not in each[1]]
    passed = [each for each in found.entries if "ID" in each[1]]
    own = _with(own, entry) if present else [each for each in own if each != entry]
    own.sort(key=lambda each: each[0] != "D")
    store.set(path, acl.Acl(found.owner, found.flags, [*own, *passed]))


def _with(own: list[list[Any]], entry: list[Any]) -> list[list[Any]]:
    """Add an entry; one of the same account with the same flags takes the rights."""
    for each in own:
        if (each[0], each[1], each[3]) == (entry[0], entry[1], entry[3]):
            each[2] |= entry[2]
            return own
    return [*own, entry]


def _inheritance(module: Module) -> None:
    path = _found(module, "{} does not exist")
    store = acl.Store(module.machine)
    found = store.get(path)
    before = "absent" if found.flags.startswith("P") else "present"
    wanted = module.params["state"]
    module.diff.update(before={"state": before}, after={"state": wanted})
    if before == wanted or not module.changed():
        return
    own = [entry for entry in found.entries if "ID" not in entry[1]]
    if wanted == "absent":
        if module.params["reorganize"]:
            passed = [entry for entry in found.entries if "ID" in entry[1]]
            own += [[kind, flags.replace("ID", ""), mask, sid] for kind, flags, mask, sid in passed]
        store.set(path, acl.Acl(found.owner, "PAI", own))
        return
    above = drive.full(module.machine, path).rpartition("\\")[0]
    passed = acl.inherited(store.get(above + "\\"), os.path.isdir(tree.place(module.machine, path)))
    if module.params["reorganize"]:
        plain = [[kind, flags.replace("ID", ""), mask, sid] for kind, flags, mask, sid in passed]
        own = [entry for entry in own if entry not in plain]
    store.set(path, acl.Acl(found.owner, "AI", [*own, *passed]))


def _owner(module: Module) -> None:
    path = _found(module, "{} file or directory does not exist on the host")
    sid = _sid(module, "Failed to translate the account '{}' to a SID")
    paths = [path]
    if module.params["recurse"] and os.path.isdir(tree.place(module.machine, path)):
        paths += tree.below(module.machine, drive.full(module.machine, path))
    store = acl.Store(module.machine)
    for each in paths:
        found = store.get(each)
        if found.owner != sid and module.changed():
            store.set(each, acl.Acl(sid, found.flags, found.entries))


SPECS = {
    "win_acl": Spec(
        _acl,
        {
            "path": Option(required=True),
            "user": Option(required=True),
            "rights": Option(required=True),
            "type": Option(required=True, choices=("allow", "deny")),
            "state": Option(default="present", choices=("absent", "present")),
            # Written by hand as "ContainerInherit, ObjectInherit": not one choice of two.
            "inherit": Option(),
            "propagation": Option(default="None", choices=("InheritOnly", "None", "NoPropagateInherit")),
        },
        check_mode=False,
    ),
    "win_acl_inheritance": Spec(
        _inheritance,
        {
            "path": Option(required=True),
            "reorganize": Option("bool", False),
            "state": Option(default="absent", choices=("absent", "present")),
        },
    ),
    "win_owner": Spec(
        _owner,
        {
            "path": Option("path", required=True),
            "user": Option(required=True),
            "recurse": Option("bool", False),
        },
    ),
}
