"""win_stat and win_file."""

from __future__ import annotations

import hashlib
import os

from . import accounts, drive, tree
from .acl import Store
from .ansible_arguments import ALGORITHMS, Module, Option, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATH = Option("path", required=True, aliases=("dest", "name"))


def checksum(path: str, algorithm: str = "sha1") -> str:
    """Return a file's checksum in hexadecimal."""
    found = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def _stat(module: Module) -> None:
    path = drive.full(module.machine, module.params["path"])
    real = module.real(path)
    module.result["stat"] = {"exists": False}
    if real is None:
        return
    found = os.stat(real)
    folder = os.path.isdir(real)
    answer: dict[str, Any] = {
        "exists": True,
        "attributes": "Directory" if folder else "Archive",
        "isarchive": not folder,
        "isdir": folder,
        "ishidden": False,
        "isjunction": False,
        "islnk": False,
        "isreadonly": False,
        "isreg": not folder,
        "isshared": False,
        "nlink": 1,
        "hlnk_targets": [],
        "creationtime": found.st_ctime,
        "lastaccesstime": found.st_atime,
        "lastwritetime": found.st_mtime,
        "path": path,
        "filename": path.rpartition("\\")[2],
        "owner": accounts.name(module.machine, Store(module.machine).get(path).owner),
    }
    if not folder:
        dot = answer["filename"].rfind(".")
        answer["extension"] = answer["filename"][dot:] if dot >= 0 else ""
        if module.params["get_checksum"]:
            answer["checksum"] = checksum(real, module.params["checksum_algorithm"])
    if module.params["get_size"]:
        answer["size"] = size(module.machine, path)
    module.result["stat"] = answer


def size(machine: Any, path: str) -> int:
    """Return a file's size, or that of all files in a folder."""
    real = tree.place(machine, path)
    if not os.path.isdir(real):
        return os.path.getsize(real)
    found = [tree.place(machine, each) for each in tree.below(machine, path)]
    return sum(os.path.getsize(each) for each in found if not os.path.isdir(each))


def _file(module: Module) -> None:
    path, state = module.params["path"], module.params["state"]
    real = module.real(path)
    try:
        if state == "touch":
            if module.changed():
                tree.write(module.machine, path, b"") if real is None else os.utime(real)
        elif real is None:
            _missing(module, path, state)
        elif state == "absent":
            if module.changed():
                tree.remove(module.machine, path)
        elif state in ("directory", "file") and os.path.isdir(real) is not (state == "directory"):
            module.fail(f"path {path} is not a {state}")
    except OSError as error:
        module.fail(error.strerror or str(error))


def _missing(module: Module, path: str, state: str | None) -> None:
    if state is None and path.endswith(("\\", "/")):
        module.unplayed("a folder without state=directory")
    if state in (None, "file"):
        module.fail(f"path {path} will not be created")
    if state == "directory":
        tree.place(module.machine, path)
        if module.changed():
            tree.make(module.machine, path)


SPECS = {
    "win_stat": Spec(
        _stat,
        {
            "path": _PATH,
            "get_checksum": Option("bool", True),
            "get_size": Option("bool", True),
            "checksum_algorithm": Option("str", "sha1", choices=ALGORITHMS),
        },
    ),
    "win_file": Spec(
        _file,
        {"path": _PATH, "state": Option(choices=("absent", "directory", "file", "touch"))},
    ),
}
