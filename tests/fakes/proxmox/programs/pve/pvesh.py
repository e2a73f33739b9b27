"""The program pvesh: the API on the command line, as root."""

from __future__ import annotations

import json
import sys
from typing import Any

from . import access, api, routes_node, tasks, vzdump
from .state import Node, PveError

_METHODS = {"get": "GET", "create": "POST", "set": "PUT", "delete": "DELETE"}
_LIST = "exclude-path"


def main(node: Node, _program: str, arguments: list[str]) -> int:
    """Run pvesh; return its exit code."""
    if len(arguments) < 2 or arguments[0] not in _METHODS:
        print("USAGE: pvesh <COMMAND> <api_path> [OPTIONS] [FORMAT_OPTIONS]", file=sys.stderr)
        return 255
    verb, path = arguments[0], "/" + arguments[1].strip("/")
    params = _params(arguments[2:])
    form = params.pop("output-format", "text")
    who = access.Who(node, access.ROOT)
    try:
        if (verb, path) == ("create", f"/nodes/{node.name}/vzdump"):
            return _backup(node, who, params, form)
        answer = api.call(node, who, _METHODS[verb], path, params)
    except api.NotImplementedHereError:
        print(f"No '{verb}' handler defined for '{path}'", file=sys.stderr)
        return 1
    except api.ParameterError as error:
        lines = [f"{name}: {text}" for name, text in sorted(error.errors.items())]
        print("\n".join(["400 Parameter verification failed.", *lines]), file=sys.stderr)
        return 255
    except PveError as error:
        print(error.text, file=sys.stderr)
        return 2 if error.code in (2, 500) else 255
    _show(answer.data, form)
    return 0


def _params(words: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    position = 0
    while position < len(words):
        name, equals, value = words[position].lstrip("-").partition("=")
        position += 1
        if not equals:
            given = position < len(words) and not words[position].startswith("--")
            value = words[position] if given else "1"
            position += given
        if name == _LIST:
            params.setdefault(name, []).append(value)
        else:
            params[name] = value
    return params


def _backup(node: Node, who: access.Who, params: dict[str, Any], form: str) -> int:
    """A backup runs in the foreground here: its log is shown, then the task's name."""
    import os

    wanted = routes_node.backup_params(api.Call(node, who, {**params, "node": node.name}))
    vmids = wanted["vmid"]
    upid = tasks.new_name(node, "vzdump", vmids[0] if len(vmids) == 1 else "", who.name, os.getpid())
    code = vzdump.as_task(node, upid, wanted, who, lambda line: print(line, flush=True))
    _show(upid, form)
    return code


def _show(data: Any, form: str) -> None:
    if data is None:
        return
    if form == "json":
        print(json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
    elif form == "json-pretty" or not isinstance(data, str):
        print(json.dumps(data, sort_keys=True, ensure_ascii=False, indent=3))
    else:
        print(data)
