"""win_copy: its four modes, which the action plugins of win_copy and win_template choose."""

from __future__ import annotations

import base64
import os
import time

from . import drive, tree
from .ansible_arguments import Module, Option, Spec
from .ansible_files import checksum, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _copy(module: Module) -> None:
    mode = {"query": _query, "single": _single, "explode": _explode, "remote": _remote}
    try:
        mode[module.params["_copy_mode"]](module)
    except OSError as error:
        module.fail(error.strerror or str(error))


def _join(folder: str, name: str) -> str:
    return folder.rstrip("\\/") + "\\" + name.replace("/", "\\")


def _is(module: Module, path: str, folder: bool) -> bool:
    real = module.real(path)
    return real is not None and os.path.isdir(real) is folder


def _query(module: Module) -> None:
    """Return which files and folders have to be sent."""
    dest = module.params["dest"]
    files, folders = [], []
    for file in module.params["files"] or []:
        path = _join(dest, file["dest"])
        if _is(module, path, folder=True):
            path = _join(path, file["src"].rpartition("/")[2])
        if _is(module, path, folder=True):
            module.fail(f"cannot copy file to dest '{path}': object at path is already a directory")
        real = module.real(path)
        if real is None or (module.params["force"] and checksum(real) != file["checksum"]):
            files.append(file)
    for folder in module.params["directories"] or []:
        path = _join(dest, folder["dest"])
        if _is(module, path, folder=False):
            module.fail(f"cannot copy folder to dest '{path}': object at path is already a file")
        if module.real(path) is None:
            folders.append(folder)
    module.result.update(files=files, directories=folders, symlinks=[])


def _source(module: Module) -> str:
    source = module.params["src"]
    if not source or module.real(source) is None:
        module.fail(f"Cannot copy src file: '{source}' as it does not exist")
    return str(source)


def _target(module: Module, name: str) -> str:
    """Return the file that is to be written; make its folder if `dest` names one that is missing."""
    dest = module.params["dest"]
    target = dest
    if dest.endswith(("\\", "/")) or _is(module, dest, folder=True):
        target = _join(dest, name)
    above = drive.full(module.machine, target).rpartition("\\")[0]
    if _is(module, above, folder=False):
        module.fail(f"object at destination parent dir '{above}' is currently a file")
    if module.real(above + "\\") is None:
        if dest == target:
            module.fail(f"Destination directory '{above}' does not exist")
        tree.make(module.machine, above)
    return str(target)


def _backup(module: Module, path: str) -> None:
    if module.params["backup"] and module.real(path) is not None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = f"{path}.{os.getpid()}.{stamp}.bak"
        if not module.check:
            tree.write(module.machine, name, tree.read(module.machine, path))
        module.result["backup_file"] = name


def _single(module: Module) -> None:
    """Put the one file that was sent into its place; it was compared before."""
    source = _source(module)
    target = _target(module, module.params["_original_basename"] or "")
    _backup(module, target)
    if module.changed():
        tree.write(module.machine, target, tree.read(module.machine, source))


def _explode(module: Module) -> None:
    """Unpack the files that were sent; their names in the archive are in base 64."""
    import zipfile

    source = _source(module)
    dest = module.params["dest"]
    with zipfile.ZipFile(tree.place(module.machine, source)) as archive:
        for entry in archive.infolist():
            name = base64.b64decode(entry.filename.rstrip("/")).decode("utf-8")
            path = _join(dest, name)
            if entry.is_dir():
                tree.make(module.machine, path)
                continue
            tree.make(module.machine, drive.full(module.machine, path).rpartition("\\")[0])
            tree.write(module.machine, path, archive.read(entry))
    module.result["changed"] = True


def _remote(module: Module) -> None:
    """Copy a file that lies on this machine."""
    source = _source(module)
    if _is(module, source, folder=True):
        module.unplayed("remote_src with a folder")
    name = drive.full(module.machine, source).rpartition("\\")[2]
    module.result.update(src=source, operation="file_copy", original_basename=name)
    target = _target(module, name)
    found = checksum(tree.place(module.machine, source))
    module.result.update(dest=target, checksum=found if module.params["force"] else None)
    if _is(module, target, folder=True):
        module.fail(f"cannot copy file from '{source}' to '{target}': dest is already a folder")
    real = module.real(target)
    if real is None or (module.params["force"] and checksum(real) != found):
        _backup(module, target)
        if module.changed():
            tree.write(module.machine, target, tree.read(module.machine, source))
    module.result["size"] = size(module.machine, target) if module.real(target) is not None else None


_OPTIONS: dict[str, Any] = {
    "src": Option("path"),
    "dest": Option("path", required=True),
    "backup": Option("bool", False),
    "force": Option("bool", True),
    "remote_src": Option("bool", False),
    "decrypt": Option("bool", True),
    "local_follow": Option("bool", True),
    "_copy_mode": Option(default="single", choices=("explode", "query", "remote", "single"), internal=True),
    "_original_basename": Option(internal=True),
    "files": Option("list", internal=True),
    "directories": Option("list", internal=True),
    "symlinks": Option("list", internal=True),
}
SPECS = {"win_copy": Spec(_copy, _OPTIONS)}
