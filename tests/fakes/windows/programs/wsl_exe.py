"""wsl.exe: starts a program in a distro and relays its three streams; or manages distros."""

from __future__ import annotations

import _socket
import os
import sys

from . import command_line, defaults, distro, relay, wsl_options
from .state import Machine, encode, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FAILED = -1
# Exit codes that the Linux side uses for itself, so that wsl.exe takes a program's for its own.
_MANGLED = {
    67: ("User not found.", "Wsl/Service/WSL_E_USER_NOT_FOUND"),
    87: ("The maximum number of terminals has been reached.", "Wsl/Service/WSL_E_TTY_LIMIT"),
}
NO_DISTRO = ("There is no distribution with the supplied name.", "Wsl/Service/WSL_E_DISTRO_NOT_FOUND")
NO_DEFAULT = (
    (
        "Windows Subsystem for Linux has no installed distributions.\r\n"
        "You can resolve this by installing a distribution with the instructions below:\r\n\r\n"
        "Use 'wsl.exe --list --online' to list available distributions\r\n"
        "and 'wsl.exe --install <Distro>' to install."
    ),
    "Wsl/WSL_E_DEFAULT_DISTRO_NOT_FOUND",
)
NO_VIRTUAL_MACHINES = (
    "WSL2 is unable to start since virtualization is not enabled on this machine.\r\n"
    'Please ensure the "Virtual Machine Platform" optional component is enabled and virtualization '
    "is turned on in your computer's firmware settings.\r\n\r\n"
    'Enable "Virtual Machine Platform" by running: wsl.exe --install --no-distribution\r\n\r\n'
    "For information please visit https://aka.ms/enablevirtualization"
)
_LOCAL_SYSTEM = ("Running WSL as local system is not supported.", "Wsl/Service/0x8004032E")


def main(machine: Machine, line: str) -> int:
    """Given the whole command line, do what it asks; return the exit code."""
    machine.log("wsl.exe", line, _words(line))
    return _run(machine, line)


def _words(line: str) -> list[str]:
    try:
        return wsl_options.parse(line).get("argv") or command_line.split(line)
    except wsl_options.Wrong:
        return command_line.split(line)


def _run(machine: Machine, line: str) -> int:
    if machine.state["wsl"] == "local-system":
        return fail(machine, *_LOCAL_SYSTEM)
    try:
        request = wsl_options.parse(line)
    except wsl_options.Wrong as error:
        said = f"Invalid command line argument: {error}\r\n"
        said += "Please use 'wsl.exe --help' to get a list of supported arguments."
        return fail(machine, said, "Wsl/E_INVALIDARG")
    if "manage" in request:
        from . import wsl_management

        return wsl_management.main(machine, request["manage"], request["rest"])
    known = distros(machine)
    if request["distro"] is None:
        if not known:
            return fail(machine, *NO_DEFAULT)
        request["distro"] = next(iter(known))
    elif request["distro"] not in known:
        # WSL finds names whatever their case.
        same = [name for name in known if name.lower() == request["distro"].lower()]
        if not same:
            return fail(machine, *NO_DISTRO)
        request["distro"] = same[0]
    if machine.state["distros"][request["distro"]]["version"] == 2 and not virtual_machines(machine):
        code = "Wsl/Service/CreateInstance/CreateVm/HCS/HCS_E_HYPERV_NOT_INSTALLED"
        return fail(machine, NO_VIRTUAL_MACHINES, code)
    status = _program(machine, request)
    if status in _MANGLED:
        return fail(machine, *_MANGLED[status])
    return status


def distros(machine: Machine) -> dict[str, Any]:
    """Return the distros that this account sees: each belongs to the account that made it."""
    owner = machine.state["distro_account"]
    return machine.state["distros"] if owner in (None, machine.state["account"]) else {}


def virtual_machines(machine: Machine) -> bool:
    """Return whether WSL 2 can start its virtual machine."""
    enabled = machine.state["features"][defaults.VIRTUAL_MACHINES] == "Enabled"
    return bool(machine.state["virtualization"] and enabled)


def say(machine: Machine, text: str) -> None:
    """Write one of wsl.exe's own messages: to standard output, as UTF-16 unless told otherwise."""
    coding = "utf-8" if machine.variable("WSL_UTF8") == "1" else "utf-16-le"
    write_all(1, (text + "\r\n").encode(coding, "surrogatepass"))


def fail(machine: Machine, text: str, code: str) -> int:
    """Say what went wrong; return wsl.exe's exit code for it."""
    say(machine, f"{text}\r\nError code: {code}")
    return FAILED


def _program(machine: Machine, request: dict[str, Any]) -> int:
    pipes = [os.pipe() for _ in range(3)]
    theirs = (pipes[0][0], pipes[1][1], pipes[2][1])
    ours = (pipes[0][1], pipes[1][0], pipes[2][0])
    request["cd"] = _folder(request["cd"] or machine.cwd)
    if machine.state["distros"][request["distro"]]["root"] is None:
        return _direct(machine, request, theirs, ours)
    control = _asked(machine, request, theirs)
    for handle in theirs:
        os.close(handle)
    _pump(ours, control.fileno())
    said = control.recv(16)
    if said:
        return int(said)
    # The instance was stopped beneath its client.
    return fail(machine, "The service was terminated.", "Wsl/Service/0x80072745")


def _pump(ours: tuple[int, int, int], control: int) -> None:
    try:
        relay.pump(ours, control)
    except BrokenPipeError:
        # Nobody takes the output any more: the client has gone.
        os._exit(1)


def _folder(name: str) -> str:
    if name.startswith(("/", "~")):
        return name
    name = name.replace("\\", "/")
    if name[1:2] == ":":
        return f"/mnt/{name[0].lower()}{name[2:]}"
    return name


def _direct(
    machine: Machine, request: dict[str, Any], theirs: tuple[int, int, int], ours: tuple[int, int, int]
) -> int:
    """Without an instance: in the lab the distro is the container itself."""
    pid = os.fork()
    if pid == 0:
        from . import direct

        direct.start(machine, request, theirs)
    for handle in theirs:
        os.close(handle)
    ended = os.pidfd_open(pid)
    _pump(ours, ended)
    return distro.exit_code(os.waitpid(pid, 0)[1])


def _asked(machine: Machine, request: dict[str, Any], theirs: tuple[int, int, int]) -> _socket.socket:
    """Ask the instance to start a program; start it when it does not run, or just now fell idle."""
    name = request["distro"]
    address = f"\0maw-windows-{machine.state['id']}-{name}"
    handles = b"".join(handle.to_bytes(4, sys.byteorder) for handle in theirs)
    data = (encode(request) + "\n").encode("utf-8")
    for _ in range(5):
        client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            client.connect(address)
            sent = client.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, handles)])
            client.sendall(data[sent:])
            if client.recv(1):
                return client
        except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
            pass
        client.close()
        boot(machine.folder, name)
    raise OSError("the instance ended five times while it was being asked")


def boot(folder: str, name: str) -> int:
    """Start the instance of a distro unless it runs."""
    from . import instance

    instance.start(Machine(folder), name)
    return 0
