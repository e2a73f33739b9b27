"""The program pct: configs, snapshots, start and stop. Nothing runs inside of a container."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from . import config, guests, snapshots
from .state import Node, PveError

if TYPE_CHECKING:
    from collections.abc import Callable

_USAGE = "USAGE: pct <COMMAND> [ARGS] [OPTIONS]"


def main(node: Node, _program: str, arguments: list[str]) -> int:
    """Run pct; return its exit code."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    found = _COMMANDS.get(command)
    if found is None:
        print(f"ERROR: unknown command 'pct {command}'\n{_USAGE}", file=sys.stderr)
        return 255
    words, options = _options(rest)
    try:
        if command != "list":
            _check_number(command, words)
        return found(node, words, options) or 0
    except PveError as error:
        print(error.text, file=sys.stderr)
        return error.code


def _options(rest: list[str]) -> tuple[list[str], dict[str, str]]:
    words, options = [], {}
    position = 0
    while position < len(rest):
        word = rest[position]
        position += 1
        if word == "--":
            words += rest[position:]
            break
        if not word.startswith("--"):
            words.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            given = position < len(rest) and not rest[position].startswith("--")
            value = rest[position] if given else "1"
            position += given
        options[name] = value
    return words, options


def _check_number(command: str, words: list[str]) -> None:
    if not words:
        raise PveError(f"400 not enough arguments\npct {command} <vmid> [OPTIONS]")
    vmid, problem = words[0], ""
    if not vmid.isdigit():
        problem = f"type check ('integer') failed - got '{vmid}'"
    elif not 100 <= int(vmid) <= 999999999 or vmid.startswith("0"):
        problem = "invalid format - value does not look like a valid VM ID\n"
    if problem:
        raise PveError(f"400 Parameter verification failed.\nvmid: {problem}\npct {command} <vmid> [OPTIONS]")


def _list(node: Node, _words: list[str], _options: dict[str, str]) -> None:
    rows = [("VMID", "Status", "Lock", "Name")]
    for vmid in node.guests():
        current = node.current(vmid)
        status = "running" if node.pid(vmid) else "stopped"
        rows.append((str(vmid), status, current.get("lock") or "", current.get("hostname") or f"CT{vmid}"))
    for row in rows if len(rows) > 1 else []:
        print(f"{row[0]:<10} {row[1]:<10} {row[2]:<12} {row[3]:<20}")


def _config(node: Node, words: list[str], options: dict[str, str]) -> None:
    section = node.current(words[0])
    if "snapshot" in options:
        wanted = options["snapshot"]
        named = [found for found in node.sections(words[0])[1:] if found.name == wanted]
        if not named:
            raise PveError(f"snapshot '{wanted}' does not exist")
        section = named[0]
    data = section.data()
    raw = data.pop("lxc", [])
    for key, value in sorted(data.items()):
        text = config.encode_description(str(value)) if key == "description" else value
        print(f"{key}: {text}")
    for key, value in raw if isinstance(raw, list) else []:
        print(f"{key}: {value}")


def _status(node: Node, words: list[str], options: dict[str, str]) -> None:
    if "verbose" not in options:
        node.text(words[0])
        print(f"status: {'running' if node.pid(words[0]) else 'stopped'}")
        return
    found = guests.status(node, int(words[0]))
    for key in ("cpu", "ha"):
        found.pop(key, None)
    for key, value in sorted(found.items()):
        print(f"{key}: {value}")


def _start(node: Node, words: list[str], _options: dict[str, str]) -> None:
    guests.start(node, words[0])


def _stop(node: Node, words: list[str], _options: dict[str, str]) -> None:
    guests.stop(node, words[0])


def _unlock(node: Node, words: list[str], _options: dict[str, str]) -> None:
    if not node.current(words[0]).get("lock"):
        print("no lock found trying to remove any lock", file=sys.stderr)
    node.set_key(words[0], "lock", None)


def _snapshot(node: Node, words: list[str], options: dict[str, str]) -> None:
    snapshots.take(node, words[0], words[1], options.get("description", ""))


def _delsnapshot(node: Node, words: list[str], _options: dict[str, str]) -> None:
    snapshots.remove(node, words[0], words[1])


def _listsnapshot(node: Node, words: list[str], _options: dict[str, str]) -> None:
    node.text(words[0])
    print(snapshots.drawn(node, words[0]))


def _set(node: Node, words: list[str], options: dict[str, str]) -> None:
    node.check_lock(words[0])
    for key in options.pop("delete", "").split(","):
        if key:
            node.set_key(words[0], key, None)
    for key, value in options.items():
        node.set_key(words[0], key, value)


def _exec(node: Node, words: list[str], _options: dict[str, str]) -> int:
    """Play the few commands that tests ask for; no program of this machine or of the container runs."""
    vmid, command = words[0], words[1:]
    node.text(vmid)
    if not node.pid(vmid):
        raise PveError(f"CT {vmid} not running")
    if command == ["cat"]:
        shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)
        return 0
    if command[:1] == ["cat"]:
        return max([_cat(node, vmid, path) for path in command[1:]])
    if command[:2] == ["sh", "-c"] and len(command) == 3:
        return _script(vmid, command[2])
    return _script(vmid, " ".join(command))


def _cat(node: Node, vmid: str, path: str) -> int:
    root = node.rootfs(vmid).resolve()
    found = (root / os.path.normpath(f"/{path}").lstrip("/")).resolve()
    if root not in found.parents or not found.is_file():
        print(f"cat: can't open '{path}': No such file or directory", file=sys.stderr)
        return 1
    sys.stdout.flush()
    sys.stdout.buffer.write(found.read_bytes())
    return 0


def _script(vmid: str, text: str) -> int:
    """Play `echo`, `true`, `false` and `exit`, one after the other."""
    code = 0
    for statement in text.split(";"):
        words = statement.split()
        stream = sys.stdout
        if words[-1:] == [">&2"]:
            stream = sys.stderr
            words.pop()
        if words[:1] == ["exit"]:
            return int(words[1])
        if words[:1] == ["echo"]:
            print(*words[1:], file=stream, flush=True)
            code = 0
        elif words[:1] in (["true"], ["false"]):
            code = int(words == ["false"])
        else:
            where = "lxc-attach: ../src/lxc/attach.c: lxc_attach_run_command: 1841".replace(
                ":", f": {vmid}:", 1
            )
            what = f'No such file or directory - Failed to exec "{words[0] if words else ""}"'
            print(f"{where} {what}", file=sys.stderr)
            return 127
    return code


_COMMANDS: dict[str, Callable[[Node, list[str], dict[str, str]], int | None]] = {
    "config": _config,
    "delsnapshot": _delsnapshot,
    "exec": _exec,
    "list": _list,
    "listsnapshot": _listsnapshot,
    "set": _set,
    "shutdown": _stop,
    "snapshot": _snapshot,
    "start": _start,
    "status": _status,
    "stop": _stop,
    "unlock": _unlock,
}
