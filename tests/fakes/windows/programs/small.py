"""whoami.exe, hostname.exe, reg.exe."""

from __future__ import annotations

from .acl import ADMINISTRATORS
from .state import Machine

_POWERSHELL = "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe"


def main(machine: Machine, name: str, arguments: list[str]) -> int:
    """Given a program's plain name and its arguments, run it; return the exit code."""
    if name == "hostname.exe":
        machine.out(machine.state["name"] + "\r\n")
        return 0
    return _whoami(machine, arguments) if name == "whoami.exe" else _reg(machine, arguments)


def _whoami(machine: Machine, arguments: list[str]) -> int:
    account = f"{machine.state['name']}\\{machine.state['account']}".lower()
    words = [word.lower() for word in arguments]
    if not words:
        machine.out(account + "\r\n")
        return 0
    csv = "csv" in words
    if words[0] == "/user":
        table: list[tuple[str, ...]] = [("User Name", "SID"), (account, machine.state["sid"])]
    elif words[0] == "/groups":
        table = [("Group Name", "Type", "SID", "Attributes"), *_groups(machine)]
    else:
        machine.err(f"ERROR: Invalid argument/option - '{arguments[0]}'.\r\n")
        return 1
    rows = table[1:] if "/nh" in words else table
    for row in rows:
        machine.out((",".join(f'"{cell}"' for cell in row) if csv else " ".join(row)) + "\r\n")
    return 0


def _groups(machine: Machine) -> list[tuple[str, ...]]:
    names = machine.state["names"]
    usual = "Mandatory group, Enabled by default, Enabled group"
    found: list[tuple[str, ...]] = [
        (names["S-1-1-0"], "Well-known group", "S-1-1-0", usual),
        (names["S-1-5-32-545"], "Alias", "S-1-5-32-545", usual),
        (names["S-1-5-11"], "Well-known group", "S-1-5-11", usual),
    ]
    if machine.state["administrator"]:
        found.insert(1, (names[ADMINISTRATORS], "Alias", ADMINISTRATORS, f"{usual}, Group owner"))
    level = ("High", "S-1-16-12288") if machine.state["administrator"] else ("Medium", "S-1-16-8192")
    return [*found, (f"Mandatory Label\\{level[0]} Mandatory Level", "Label", level[1], "")]


def _reg(machine: Machine, arguments: list[str]) -> int:
    words = [word.lower() for word in arguments]
    key = words[1] if len(words) > 1 else ""
    short = key.replace("hkey_local_machine", "hklm")
    value = machine.state["registry_shell"]
    if value is None and machine.state["shell"] == "powershell":
        value = _POWERSHELL
    asked = words[words.index("/v") + 1] if "/v" in words[:-1] else ""
    if words[:1] == ["query"] and short == "hklm\\software\\openssh" and asked == "defaultshell" and value:
        machine.out(
            f"\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\OpenSSH\r\n    DefaultShell    REG_SZ    {value}\r\n\r\n"
        )
        return 0
    machine.err("ERROR: The system was unable to find the specified registry key or value.\r\n")
    return 1
