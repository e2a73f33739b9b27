"""win_regedit."""

from __future__ import annotations

import re

from . import registry
from .ansible_arguments import Module, Option, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NET = {
    "none": "None",
    "binary": "Binary",
    "dword": "DWord",
    "expandstring": "ExpandString",
    "multistring": "MultiString",
    "string": "String",
    "qword": "QWord",
}


def _regedit(module: Module) -> None:
    path, name, kind = module.params["path"], module.params["name"] or "", module.params["type"]
    if not re.match(r"HK(CC|CR|CU|LM|U):\\", path, re.IGNORECASE):
        module.fail(f"path: {path} is not a valid powershell path, see module documentation for examples.")
    if not name and kind != "string":
        module.warnings.append(
            "the data type when name is not specified can only be 'string', "
            "the type has automatically been converted"
        )
        kind = "string"
    module.result.update(data_changed=False, data_type_changed=False)
    try:
        if module.params["state"] == "absent":
            _absent(module, path, name)
        else:
            _present(module, path, name, kind, _data(module, name, kind))
    except registry.NotPlayed as error:
        module.fail(str(error))


def _data(module: Module, name: str, kind: str) -> Any:
    data = module.params["data"]
    if kind in ("dword", "qword"):
        return _number(module, data, 32 if kind == "dword" else 64)
    if kind in ("binary", "none"):
        return _bytes(data)
    if kind == "multistring":
        return [] if data is None else [str(item) for item in (data if isinstance(data, list) else [data])]
    if data is None:
        # A new key needs no default value.
        return "" if name else None
    return str(data)


def _number(module: Module, data: Any, bits: int) -> int:
    try:
        number = int(str(data), 0) if data is not None else 0
    except ValueError:
        module.fail(f'Cannot convert value "{data}" to type "System.UInt64".')
    if number >= 1 << bits:
        module.fail(
            f"data cannot be larger than {hex((1 << bits) - 1)} when type is {'d' if bits == 32 else 'q'}word"
        )
    return number - (1 << bits) if number >= 1 << (bits - 1) else number


def _bytes(data: Any) -> list[int]:
    if data is None:
        return []
    if isinstance(data, list):
        return [int(item) for item in data]
    if isinstance(data, int):
        return [data]
    text = re.sub("[^a-f0-9,:]", "", re.sub("^hex:", "", str(data).lower()))
    words = re.split("[,:]+", text) if re.search("[,:]", text) else re.findall("..", text)
    return [int(word, 16) for word in words if word]


def _shown(kind: str, data: Any) -> dict[str, Any]:
    value = data
    if kind in ("binary", "none"):
        value = [f"0x{byte:02x}" for byte in data]
    elif kind in ("dword", "qword"):
        width = 8 if kind == "dword" else 16
        value = f"0x{data & (16**width - 1):0{width}x}"
    return {"type": _NET[kind], "value": value}


def _absent(module: Module, path: str, name: str) -> None:
    machine = module.machine
    if not registry.exists(machine, path):
        return
    if not name and module.params["delete_key"]:
        module.diff.update(before={path: {}}, after={})
        if module.changed():
            registry.remove_key(machine, path)
        return
    found = registry.get(machine, path, name)
    if found is not None:
        module.diff.update(before={path: {name: _shown(*found)}}, after={path: {}})
        if module.changed():
            registry.remove(machine, path, name)


def _present(module: Module, path: str, name: str, kind: str, data: Any) -> None:
    machine = module.machine
    there = registry.exists(machine, path)
    module.diff.update(before={path: {}} if there else {}, after={path: {}})
    if not there and module.changed():
        registry.make(machine, path)
    if data is None or (not there and module.check):
        return
    found = registry.get(machine, path, name)
    after = module.diff["after"][path]
    after[name] = _shown(kind, data)
    if found is not None:
        module.diff["before"].setdefault(path, {})[name] = _shown(*found)
        module.result["data_type_changed"] = found[0] != kind
        module.result["data_changed"] = found[1] != data
        if found == [kind, data]:
            return
    if module.changed():
        registry.put(machine, path, name, kind, data)


SPECS = {
    "win_regedit": Spec(
        _regedit,
        {
            "path": Option(required=True, aliases=("key",)),
            "name": Option(aliases=("entry", "value")),
            "data": Option("raw"),
            "type": Option(default="string", choices=tuple(_NET), aliases=("datatype",)),
            "state": Option(default="present", choices=("present", "absent")),
            "delete_key": Option("bool", True),
        },
    ),
}
