"""The programs that the stand-in's Windows has."""

from __future__ import annotations

import os

from . import command_line
from .state import Machine

_FOLDERS = (
    "",
    "c:\\windows\\system32\\",
    "c:\\windows\\",
    "c:\\program files\\wsl\\",
    "c:\\windows\\system32\\openssh\\",
    "c:\\windows\\system32\\windowspowershell\\v1.0\\",
)
NAMES = (
    "wsl",
    "icacls",
    "whoami",
    "hostname",
    "reg",
    "cmd",
    "powershell",
    "sftp-server",
    "shutdown",
    "powercfg",
)
_REFUSALS = {
    "access-denied": "Access is denied.",
    "store-0x80070780": "The file cannot be accessed by the system.",
}


def find(name: str) -> str | None:
    """Given a program's name as written, with or without folder and .exe, return its plain name."""
    name = name.lower().replace("/", "\\")
    for folder in _FOLDERS:
        base = name[len(folder) :] if name.startswith(folder) else ""
        base = base.removesuffix(".exe")
        if base in NAMES:
            return base + ".exe"
    return None


def known(machine: Machine, name: str) -> str | None:
    """Return the plain name of a program that this machine has, or None."""
    found = find(name)
    return None if found == "wsl.exe" and machine.state["wsl"] == "missing" else found


def refusal(machine: Machine, name: str) -> str | None:
    """Return what Windows says instead of starting the program: a packaged WSL fails in session 0."""
    return _REFUSALS.get(machine.state["wsl"]) if name == "wsl.exe" else None


def run(machine: Machine, name: str, line: str) -> int:
    """Given a program's plain name and its whole command line, run it; return its exit code."""
    if name == "wsl.exe":
        return _apart(machine, line)
    if name == "cmd.exe":
        return _cmd(machine, line)
    machine.log(name, line, command_line.split(line))
    if name == "icacls.exe":
        from . import icacls

        return icacls.main(machine, command_line.split(line)[1:])
    if name == "sftp-server.exe":
        from . import sftp_server

        return sftp_server.main(machine)
    if name == "powershell.exe":
        from . import powershell

        return powershell.program(machine, command_line.split(line)[1:])
    from . import small

    return small.main(machine, name, command_line.split(line)[1:])


def _apart(machine: Machine, line: str) -> int:
    """wsl.exe is a process of its own."""
    pid = os.fork()
    if pid == 0:
        os._exit(_run_apart(machine, "wsl.exe", line) & 0xFF)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run_apart(machine: Machine, name: str, line: str) -> int:
    """In a forked process, which never goes on: run a program, or say why it cannot be run."""
    try:
        if name == "wsl.exe":
            from . import wsl_exe

            return wsl_exe.main(machine, line)
        return run(machine, name, line)
    except BaseException:  # noqa: BLE001  - whatever it is: this process says why and ends
        import traceback

        traceback.print_exc()
        return 1


def captured(machine: Machine, name: str, line: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run a program as a process of its own; return its exit code (-1 stays -1), output and errors."""
    import tempfile

    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            for place, file in enumerate((given, out, err)):
                os.dup2(file.fileno(), place)
            os.write(theirs, str(_run_apart(machine, name, line)).encode())
            os._exit(0)
        os.close(theirs)
        said = os.read(ours, 32)
        os.close(ours)
        os.waitpid(pid, 0)
        found = []
        for file in (out, err):
            file.seek(0)
            found.append(file.read())
    return int(said or b"1"), found[0], found[1]


def _cmd(machine: Machine, line: str) -> int:
    from . import cmd_run

    _, rest = command_line.program(line)
    rest = rest.strip(" \t")
    if rest[:2].lower() != "/c":
        return 0
    text = rest[2:].strip(" \t")
    if text.startswith('"') and text.count('"') >= 2:
        last = text.rindex('"')
        text = text[1:last] + text[last + 1 :]
    return cmd_run.run(machine, text)
