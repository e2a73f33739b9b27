"""wsl.exe's import, unregister and set-default: which distros there are."""

from __future__ import annotations

import os
import re

from . import command_line, defaults, drive, tree, wsl_exe
from .state import Machine, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DONE = "The operation completed successfully. "
_TAKEN = (
    "A distribution with the supplied name already exists. Use --name to choose a different name.",
    "Wsl/Service/RegisterDistro/ERROR_ALREADY_EXISTS",
)
_PLACE = ("The supplied install location is already in use.", "Wsl/Service/RegisterDistro/ERROR_FILE_EXISTS")
_NO_FILE = ("The system cannot find the file specified. ", "Wsl/ERROR_FILE_NOT_FOUND")
_NO_PATH = ("The system cannot find the path specified. ", "Wsl/ERROR_PATH_NOT_FOUND")
_WRONG = ("The parameter is incorrect. ", "Wsl/Service/RegisterDistro/E_INVALIDARG")
_NO_TAR = ("Importing the distribution failed.", "Wsl/Service/RegisterDistro/WSL_E_IMPORT_FAILED")
_BSDTAR = b"bsdtar: Error opening archive: Unrecognized archive format\n"
_NO_WSL1 = (
    (
        "WSL1 is not supported with your current machine configuration.\r\n"
        'Please enable the "Windows Subsystem for Linux" optional component to use WSL1.'
    ),
    "Wsl/Service/RegisterDistro/WSL_E_WSL1_NOT_SUPPORTED",
)
_BLOCK = 512
_GZIP, _XZ, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"


def _usage(machine: Machine, word: str) -> int:
    said = f"Invalid command line argument: {word}\r\n"
    return wsl_exe.fail(
        machine,
        said + "Please use 'wsl.exe --help' to get a list of supported arguments.",
        "Wsl/E_INVALIDARG",
    )


def add(machine: Machine, rest: str) -> int:
    """Do `--import NAME FOLDER FILE [--version N]`; return the exit code."""
    words = command_line.split("wsl.exe " + rest)[1:]
    version = 2
    if "--version" in words[:-1]:
        place = words.index("--version")
        if words[place + 1] not in ("1", "2"):
            return _usage(machine, words[place + 1])
        version = int(words[place + 1])
        del words[place : place + 2]
    options = [word for word in words if word.startswith("--")]
    if options or len(words) != 3:
        return _usage(machine, options[0] if options else "--import")
    name, folder, file = words
    if not re.fullmatch("[A-Za-z0-9._-]+", name):
        return wsl_exe.fail(machine, *_WRONG)
    refused = _refused(machine, name, folder, version)
    if refused is not None:
        return wsl_exe.fail(machine, *refused)
    if file == "-":
        head = _standard_input()
    else:
        real = drive.resolve(machine, file)
        if real is None or not os.path.isfile(real):
            return wsl_exe.fail(machine, *_NO_FILE)
        with open(real, "rb") as opened:
            head = opened.read(1 << 16)
    if not is_tar(head):
        write_all(2, _BSDTAR)
        return wsl_exe.fail(machine, *_NO_TAR)
    return _register(machine, name, folder, version)


def _refused(machine: Machine, name: str, folder: str, version: int) -> tuple[str, str] | None:
    """Return why a distro cannot be made, or None."""
    state = machine.state
    if version == 1 and state["features"][defaults.LINUX_FEATURE] != "Enabled":
        return _NO_WSL1
    if version == 2 and not wsl_exe.virtual_machines(machine):
        return (
            wsl_exe.NO_VIRTUAL_MACHINES,
            "Wsl/Service/RegisterDistro/CreateVm/HCS/HCS_E_HYPERV_NOT_INSTALLED",
        )
    if any(known.lower() == name.lower() for known in wsl_exe.distros(machine)):
        return _TAKEN
    real = drive.resolve(machine, folder)
    if real is None:
        return _NO_PATH
    return _PLACE if os.path.exists(f"{real}/ext4.vhdx") else None


def _standard_input() -> bytes:
    head = b""
    while piece := os.read(0, 1 << 16):
        if len(head) < 1 << 16:
            head += piece
    return head


def is_tar(head: bytes) -> bool:
    """Given the begin of a file, return whether it is a tar archive, perhaps compressed."""
    if head.startswith((_XZ, _ZSTD)):
        return True
    if head.startswith(_GZIP):
        import zlib

        try:
            head = zlib.decompressobj(31).decompress(head, _BLOCK)
        except zlib.error:
            return False
    block = head[:_BLOCK]
    try:
        written = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return len(block) == _BLOCK and written == sum(block[:148]) + 8 * 32 + sum(block[156:])


def _register(machine: Machine, name: str, folder: str, version: int) -> int:
    root = None
    if not machine.state["container"]:
        root = f"{machine.folder}/distros/{os.urandom(4).hex()}-{name}"

    def change(state: dict[str, Any]) -> tuple[str, str] | None:
        known = state["distros"]
        if any(each.lower() == name.lower() for each in known):
            return _TAKEN
        alone = [each for each, found in known.items() if found["root"] is None]
        if root is None and alone:
            raise OSError(f"The stand-in's container plays {alone[0]} already, it cannot be two distros")
        whole = tree.make(machine, folder)
        tree.write(machine, f"{whole}\\ext4.vhdx", b"")
        if root is not None:
            from pathlib import Path

            from . import machine as machines

            machines.make_distro(Path(root), fresh=True)
        known[name] = {"root": root, "version": version, "folder": whole}
        return None

    refused = machine.change(change)
    if refused is not None:
        return wsl_exe.fail(machine, *refused)
    wsl_exe.say(machine, DONE)
    return 0


def remove(machine: Machine, rest: str) -> int:
    """Do `--unregister NAME`; return the exit code. In a container the system itself stays, of course."""
    from . import wsl_management

    name = _known(machine, rest)
    if name is None:
        return wsl_exe.fail(machine, *wsl_exe.NO_DISTRO)
    wsl_management.end(machine, name)
    found = machine.change(lambda state: state["distros"].pop(name))
    if found.get("folder") and tree.real(machine, found["folder"] + "\\ext4.vhdx") is not None:
        tree.remove(machine, found["folder"] + "\\ext4.vhdx")
    if found["root"] is not None:
        _delete(found["root"])
    wsl_exe.say(machine, "Unregistering.")
    wsl_exe.say(machine, DONE)
    return 0


def _delete(folder: str) -> None:
    for base, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(f"{base}/{name}")
        for name in folders:
            path = f"{base}/{name}"
            os.unlink(path) if os.path.islink(path) else os.rmdir(path)
    os.rmdir(folder)


def _known(machine: Machine, rest: str) -> str | None:
    words = command_line.split("wsl.exe " + rest)[1:]
    asked = (words or [""])[0].lower()
    return next((name for name in wsl_exe.distros(machine) if name.lower() == asked), None)


def prefer(machine: Machine, rest: str) -> int:
    """Do `--set-default NAME`; return the exit code."""
    name = _known(machine, rest)
    if name is None:
        return wsl_exe.fail(machine, *wsl_exe.NO_DISTRO)

    def change(state: dict[str, Any]) -> None:
        found = state["distros"]
        state["distros"] = {name: found[name], **{key: value for key, value in found.items() if key != name}}

    machine.change(change)
    wsl_exe.say(machine, DONE)
    return 0
