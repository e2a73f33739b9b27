"""What Windows' sshd does with a command: it gives the text to the default shell."""

from __future__ import annotations

import os

from .state import Machine

SUBSYSTEM = "sftp-server.exe"


def main(folder: str, forced: list[str]) -> int:
    """Run what the client asked, or the key's own command, which is given in hexadecimal."""
    machine = Machine(folder)
    asked = os.environ.get("SSH_ORIGINAL_COMMAND")
    machine.forced = bool(forced)
    text = bytes.fromhex(forced[0]).decode("utf-8", "surrogateescape") if forced else asked
    if text is None:
        _keep_shell(machine)
        return _interactive(machine)
    machine.raw = text
    _keep_shell(machine)
    if text == SUBSYSTEM:
        from . import programs

        return programs.run(machine, SUBSYSTEM, SUBSYSTEM)
    return shell(machine, text) & 0xFF


def _keep_shell(machine: Machine) -> None:
    """Give an older connection the shell that was the default one when it began."""
    if not machine.state["shell_changes"]:
        return
    with open(f"/proc/{os.getppid()}/stat", "rb") as file:
        ticks = int(file.read().rpartition(b") ")[2].split()[19])
    began = ticks / os.sysconf("SC_CLK_TCK")
    before = [shell for changed, shell in machine.state["shell_changes"] if changed > began]
    if before:
        machine.own = {"shell": before[0]}
        machine.state["shell"] = before[0]


def shell(machine: Machine, text: str) -> int:
    """Given a command's text, run it through the default shell; return the exit code."""
    if machine.state["shell"] == "powershell":
        from . import powershell

        return powershell.run(machine, text)
    if machine.state["parser"] == "wine":
        from . import wine_run

        return wine_run.run(machine, text)
    from . import cmd_run

    return cmd_run.run(machine, text)


def _line() -> bytes:
    """Read to the end of the line and no further: what follows belongs to the command."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line


def _interactive(machine: Machine) -> int:
    """No command: a prompt, and each line of the input is a command."""
    banner = f"Microsoft Windows [Version {machine.version}]\r\n"
    banner += "(c) Microsoft Corporation. All rights reserved.\r\n\r\n"
    powershell = machine.state["shell"] == "powershell"
    machine.out("Windows PowerShell\r\n\r\n" if powershell else banner)
    code = 0
    while True:
        machine.out(f"PS {machine.cwd}> " if powershell else f"{machine.cwd}>")
        line = _line()
        if not line:
            return code & 0xFF
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if text.split()[:1] == ["exit"]:
            return int((text.split()[1:] or ["0"])[0]) & 0xFF
        machine.raw = text
        code = shell(machine, text)
