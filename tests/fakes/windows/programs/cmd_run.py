"""How cmd.exe runs what it has read: built-in commands, programs, pipes."""

from __future__ import annotations

import os

from . import command_line, programs
from .cmd_read import LONGEST, TOO_LONG, Both, Command, Unexpected, parse
from .state import Machine, write_all

NOT_FOUND = (
    "'{}' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n"
)
_AFTER_NAME = ' \t,;=./\\:([+"'


class Exit(Exception):
    """The command `exit`, with its code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run(machine: Machine, text: str) -> int:
    """Do what `cmd.exe /c "TEXT"` does; return its exit code."""
    if len(text) > LONGEST:
        machine.err(TOO_LONG)
        return 1
    try:
        tree = parse(text, machine)
        return 0 if tree is None else _node(machine, tree)
    except Unexpected as error:
        machine.err(f"{error} was unexpected at this time.\r\n")
        return 255
    except Exit as error:
        return error.code


def _node(machine: Machine, node: object) -> int:
    if isinstance(node, Command):
        return _command(machine, node)
    assert isinstance(node, Both)
    if node.operator == "|":
        return _pipe(machine, node)
    code = _node(machine, node.left)
    if (node.operator == "&&" and code != 0) or (node.operator == "||" and code == 0):
        return code
    return _node(machine, node.right)


def _pipe(machine: Machine, node: Both) -> int:
    ends = os.pipe()
    children = []
    for place, part in ((1, node.left), (0, node.right)):
        pid = os.fork()
        if pid == 0:
            os.dup2(ends[place], place)
            for end in ends:
                os.close(end)
            code = 1
            try:
                code = _node(machine, part)
            except Exit as error:
                code = error.code
            except BrokenPipeError:
                code = 1
            finally:
                os._exit(code & 0xFF)
        children.append(pid)
    for end in ends:
        os.close(end)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    return codes[-1]


def _command(machine: Machine, command: Command) -> int:
    kept: list[tuple[int, int]] = []
    try:
        for handle, operator, target in command.redirections:
            opened = _opened(machine, operator, target)
            if opened is None:
                machine.err("The system cannot find the path specified.\r\n")
                return 1
            kept.append((handle, os.dup(handle)))
            os.dup2(opened, handle)
            if not target.startswith("&"):
                os.close(opened)
        return _bare(machine, command.text)
    finally:
        for handle, copy in reversed(kept):
            os.dup2(copy, handle)
            os.close(copy)


def _opened(machine: Machine, operator: str, target: str) -> int | None:
    from . import drive

    if target.startswith("&"):
        return int(target[1:])
    path = "/dev/null" if target.lower() == "nul" else drive.resolve(machine, target)
    flags = {"<": os.O_RDONLY, ">": os.O_WRONLY | os.O_CREAT | os.O_TRUNC}
    flags[">>"] = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return None if path is None else os.open(path, flags[operator], 0o666)
    except OSError:
        return None


def _bare(machine: Machine, text: str) -> int:
    text = text.lstrip(" \t,;=@")
    end = next((i for i, character in enumerate(text) if character in _AFTER_NAME), len(text))
    known = _BUILT_IN.get(text[:end].lower())
    if known is not None:
        return known(machine, text[end:])
    name, rest = command_line.program(text)
    if not text.startswith('"'):
        end = next((i for i, character in enumerate(text) if character in " \t,;="), len(text))
        name, rest = text[:end], text[end:]
    if not name:
        return 0
    found = programs.known(machine, name)
    if found is None:
        machine.err(NOT_FOUND.format(f'"{name}"' if text.startswith('"') else name))
        return 1
    refused = programs.refusal(machine, found)
    if refused:
        machine.err(f"{refused}\r\n")
        return 1
    return programs.run(machine, found, text[: len(text) - len(rest)] + rest)


def _echo(machine: Machine, rest: str) -> int:
    if not rest.strip():
        machine.out("ECHO is on.\r\n")
    elif rest.strip().lower() not in ("on", "off"):
        machine.out(rest[1:] + "\r\n")
    return 0


def _exit(machine: Machine, rest: str) -> int:
    words = [word for word in rest.split() if word.lower() != "/b"]
    try:
        raise Exit(int(words[0]) if words else 0)
    except ValueError:
        raise Exit(0) from None


def _set(machine: Machine, rest: str) -> int:
    text = rest.lstrip(" \t")
    if text.startswith('"'):
        text = text[1:].rpartition('"')[0] or text[1:]
    name, equals, value = text.partition("=")
    if equals:
        machine.set_variable(name, value)
        return 0
    found = [f"{key}={value}" for key, value in sorted(machine.variables.items(), key=_no_case)]
    found = [line for line in found if line.lower().startswith(text.lower().strip())]
    if not found:
        machine.err(f"Environment variable {text.strip()} not defined\r\n")
        return 1
    machine.out("\r\n".join(found) + "\r\n")
    return 0


def _no_case(item: tuple[str, str]) -> str:
    return item[0].lower()


def _version(machine: Machine, rest: str) -> int:
    machine.out(f"\r\nMicrosoft Windows [Version {machine.version}]\r\n")
    return 0


def _folder(machine: Machine, rest: str) -> int:
    if not rest.strip():
        machine.out(machine.cwd + "\r\n")
        return 0
    from . import drive

    words = [word for word in rest.split() if word.lower() != "/d"]
    path = drive.full(machine, " ".join(words).strip('"'))
    real = drive.resolve(machine, path)
    if real is None or not os.path.isdir(real):
        machine.err("The system cannot find the path specified.\r\n")
        return 1
    machine.cwd = path
    return 0


def _type(machine: Machine, rest: str) -> int:
    from . import drive

    path = drive.resolve(machine, rest.strip().strip('"'))
    if path is None or not os.path.isfile(path):
        machine.err("The system cannot find the file specified.\r\n")
        return 1
    with open(path, "rb") as file:
        write_all(1, file.read())
    return 0


def _code_page(machine: Machine, rest: str) -> int:
    page = machine.state["codepage"]
    machine.out(f"Active code page: {'65001' if page == 'utf-8' else page[2:]}\r\n")
    return 0


_BUILT_IN = {
    "echo": _echo,
    "exit": _exit,
    "set": _set,
    "ver": _version,
    "cd": _folder,
    "chdir": _folder,
    "type": _type,
    "rem": lambda machine, rest: 0,
    "chcp": _code_page,
}
