"""The parser "wine": Wine's cmd.exe reads the text, small Windows programs hand command lines back."""

from __future__ import annotations

import os

from .cmd_read import LONGEST, TOO_LONG
from .state import Machine

# Wine's own of these would be taken otherwise.
NATIVE = ("wsl", "icacls", "whoami", "hostname", "reg")
# Wine needs its own values of these to work.
_KEPT = ("path", "comspec", "systemroot", "windir", "systemdrive", "temp", "pathext")


def environment(prefix: str) -> dict[str, str]:
    """Return the environment in which Wine runs: no screen, no words of its own."""
    return {
        "WINEPREFIX": prefix,
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": ";".join(
            ["mscoree,mshtml=", "winemenubuilder.exe=d", *(f"{n}.exe=n" for n in NATIVE)]
        ),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": prefix,
    }


def run(machine: Machine, text: str) -> int:
    """Do what `cmd.exe /c "TEXT"` does in Wine; return its exit code."""
    if len(text) > LONGEST:
        machine.err(TOO_LONG)
        return 1
    answers = machine.folder + "/answers"
    os.makedirs(answers, exist_ok=True)
    state = machine.state
    start = [state["python"], "-I", "-S", state["programs"] + "/start.py", "wine", machine.folder]
    changed = {key: value for key, value in machine.variables.items() if key.lower() not in _KEPT}
    variables = {
        **environment(state["wine_prefix"]),
        "MAW_RAW": text,
        "MAW_ASKED": text.encode("utf-8", "surrogateescape").hex(),
        "MAW_FORCED": "1" if machine.forced else "",
        "MAW_FOLDER": machine.folder,
        "MAW_PROGRAM": _windows(os.path.realpath(state["python"])),
        "MAW_START": " ".join(f'"{word}"' for word in start),
        "MAW_ANSWERS": _windows(answers),
        "MAW_SET": "".join(f"{key}={value}\n" for key, value in changed.items()),
    }
    pid = os.fork()
    if pid == 0:
        os.execve("/usr/bin/wine", ["wine", "C:\\windows\\sshd-run.exe"], variables)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _windows(path: str) -> str:
    return "Z:" + path.replace("/", "\\")


def answer(folder: str, program: str, name: str, line: str) -> int:
    """Called from Wine: run a program of the stand-in and leave its exit code in a file."""
    from . import programs

    machine = Machine(folder)
    machine.raw = bytes.fromhex(os.environ["MAW_ASKED"]).decode("utf-8", "surrogateescape")
    machine.forced = bool(os.environ["MAW_FORCED"])
    machine.set_variable("WSL_UTF8", os.environ.get("WSL_UTF8", ""))
    code = 1
    try:
        code = _program(machine, programs.find(program) or "", bytes.fromhex(line).decode("utf-8"))
    finally:
        beside = f"{folder}/answers/.{name}"
        with open(beside, "w", encoding="ascii") as file:
            file.write(str(code))
        os.rename(beside, f"{folder}/answers/{name}")
    return 0


def _program(machine: Machine, found: str, line: str) -> int:
    from . import programs

    refused = programs.refusal(machine, found)
    if refused:
        machine.err(f"{refused}\r\n")
        return 1
    if found == "wsl.exe" and machine.state["wsl"] == "missing":
        from .cmd_run import NOT_FOUND

        machine.err(NOT_FOUND.format(line.split(" ", 1)[0]))
        return 1
    return programs.run(machine, found, line)
