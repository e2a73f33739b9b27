"""whoami.exe, hostname.exe, powercfg.exe; and the way to reg.exe and shutdown.exe."""

from __future__ import annotations

from .acl import ADMINISTRATORS
from .state import Machine


def main(machine: Machine, name: str, arguments: list[str]) -> int:
    """Given a program's plain name and its arguments, run it; return the exit code."""
    if name == "hostname.exe":
        machine.out(machine.state["name"] + "\r\n")
        return 0
    if name == "reg.exe":
        from . import registry

        return registry.reg(machine, arguments)
    if name == "shutdown.exe":
        from . import reboot

        return reboot.shutdown(machine, arguments)
    if name == "powercfg.exe":
        return _power(machine, arguments)
    return _whoami(machine, arguments)


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


def _power(machine: Machine, arguments: list[str]) -> int:
    """`powercfg /change SETTING MINUTES` and `powercfg /setactive GUID`."""
    words = [word.lower() for word in arguments]
    action = words[0].replace("-", "/") if words else ""
    if action in ("/change", "/x") and len(words) == 3 and words[1] in machine.state["power"]["timeouts"]:
        minutes = int(words[2])
        machine.change(lambda state: state["power"]["timeouts"].update({words[1]: minutes}))
        return 0
    if action in ("/setactive", "/s") and len(words) == 2 and words[1] in machine.state["power"]["plans"]:
        machine.change(lambda state: state["power"].update(active=words[1]))
        return 0
    machine.err(f"The stand-in's powercfg.exe does not play: powercfg {' '.join(arguments)}\r\n")
    return 1
