"""What wsl.exe does besides starting programs: lists, versions, the end of instances."""

from __future__ import annotations

from . import defaults, direct, instance, wsl_exe
from .command_line import blank_word
from .state import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ELEVATION = (
    "The requested operation requires elevation.\r\nThis operation requires an interactive window station.",
    "Wsl/0x800705b3",
)
_DONE = "The operation completed successfully. "
_REBOOT = "The requested operation is successful. Changes will not be effective until the system is rebooted."


def main(machine: Machine, word: str, rest: str) -> int:
    """Given the first option and what follows it, do it; return the exit code."""
    if word in ("--version", "-v"):
        wsl_exe.say(machine, _versions(machine))
        return 0
    if word == "--status":
        names = list(wsl_exe.distros(machine))
        lines = [f"Default Distribution: {names[0]}"] if names else []
        lines.append("Default Version: 2")
        if not wsl_exe.virtual_machines(machine):
            lines.append(wsl_exe.NO_VIRTUAL_MACHINES)
        wsl_exe.say(machine, "\r\n".join(lines))
        return 0
    if word in ("-l", "--list"):
        return _list(machine, rest.split())
    if word in ("-t", "--terminate"):
        return _terminate(machine, blank_word(rest)[0])
    if word == "--shutdown":
        for name in machine.state["distros"]:
            end(machine, name)
        return 0
    if word == "--install":
        return _install(machine, rest.split())
    if word in ("--import", "--unregister", "--set-default", "-s"):
        from . import wsl_distros

        change = {"--import": wsl_distros.add, "--unregister": wsl_distros.remove}
        return change.get(word, wsl_distros.prefer)(machine, rest)
    wsl_exe.say(machine, f"The stand-in knows no wsl.exe {word}.")
    return wsl_exe.FAILED


def _install(machine: Machine, options: list[str]) -> int:
    """A distro needs a person's window station; the platform alone needs an administrator."""
    known = {"--no-distribution", "--no-launch", "-n", "--web-download"}
    if "--no-distribution" not in options or set(options) - known or not machine.state["administrator"]:
        return wsl_exe.fail(machine, *_ELEVATION)
    feature = defaults.VIRTUAL_MACHINES
    if machine.state["features"][feature] == "Enabled":
        wsl_exe.say(machine, _DONE)
        return 0
    wsl_exe.say(machine, f"Installing Windows optional component: {feature}")

    def change(state: dict[str, Any]) -> None:
        state["features"][feature] = "EnablePending"
        state["reboot_pending"] = True

    machine.change(change)
    wsl_exe.say(machine, _REBOOT)
    return 0


def _versions(machine: Machine) -> str:
    lines = {
        "WSL version": machine.state["wsl_version"],
        "Kernel version": "6.6.114.1-1",
        "WSLg version": "1.0.71",
        "MSRDC version": "1.2.6353",
        "Direct3D version": "1.611.1-81528511",
        "DXCore version": "10.0.26100.1-240331-1435.ge-release",
        "Windows version": machine.version,
    }
    return "\r\n".join(f"{name}: {value}" for name, value in lines.items())


def _list(machine: Machine, options: list[str]) -> int:
    known = wsl_exe.distros(machine)
    if not known:
        return wsl_exe.fail(machine, *wsl_exe.NO_DEFAULT)
    if "-q" in options or "--quiet" in options:
        wsl_exe.say(machine, "\r\n".join(known))
        return 0
    if "-v" not in options and "--verbose" not in options:
        names = [f"{name} (Default)" if not place else name for place, name in enumerate(known)]
        wsl_exe.say(machine, "\r\n".join(["Windows Subsystem for Linux Distributions:", *names]))
        return 0
    width = max(len("NAME"), *map(len, known))
    lines = [f"  {'NAME':<{width}}    {'STATE':<15} VERSION"]
    for place, (name, distro) in enumerate(known.items()):
        alone = distro["root"] is None
        state = "Running" if alone or instance.running(machine, name) else "Stopped"
        lines.append(f"{' ' if place else '*'} {name:<{width}}    {state:<15} {distro.get('version', 2)}")
    wsl_exe.say(machine, "\r\n".join(lines))
    return 0


def end(machine: Machine, name: str) -> None:
    """End the instance of a distro, or what was started in it."""
    if machine.state["distros"][name]["root"] is None:
        direct.terminate(machine, name)
    else:
        instance.terminate(machine, name)


def _terminate(machine: Machine, name: str) -> int:
    if name not in wsl_exe.distros(machine):
        return wsl_exe.fail(machine, *wsl_exe.NO_DISTRO)
    end(machine, name)
    wsl_exe.say(machine, _DONE)
    return 0
