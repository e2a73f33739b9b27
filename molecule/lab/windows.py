"""A notebook's Windows: the tests' stand-in, with an sshd of its own on port 22."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab import names
from lab.machine import File

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.names import Lab

ACCOUNT = "you"
DISTRO = "Ubuntu"
_SOURCE = Path(__file__).resolve().parents[2] / "tests" / "fakes" / "windows"
_UNIT = "windows-sshd.service"
_PROGRAMS = "opt/windows"
_SSH = "var/lib/windows/drive/ProgramData/ssh"
HOST_KEY = f"/{_SSH}/ssh_host_ed25519_key.pub"
_KINDS = {".py", ".sh", ".c"}


def files(lab: Lab, subnet: str, keys: Mapping[str, str], *, bare: bool = False) -> dict[str, File]:
    """Given the lab, the network and the public keys by purpose, return the files of a notebook's Windows.

    A bare one lets no key in.
    """
    found = {
        f"{_PROGRAMS}/{path.relative_to(_SOURCE)}": File(path.read_bytes(), 0o755)
        for path in sorted(_SOURCE.rglob("*"))
        if path.suffix in _KINDS
    }
    found[f"etc/systemd/system/{_UNIT}"] = File((_SOURCE / _UNIT).read_bytes())
    if bare:
        return found
    core = [machine.address(subnet) for machine in lab.machines if machine.role == names.CORE]
    # This machine plays the core too: `make lab` is run on it.
    allowed = ",".join([names.gateway(subnet), *core])
    command = f"wsl.exe -d {DISTRO} -u root --exec /usr/sbin/sshd -i"
    lines = [f'restrict,command="{command}",from="{allowed}" {keys["bridge"]}', keys["admin"]]
    found[f"{_SSH}/administrators_authorized_keys"] = File("".join(f"{line}\n" for line in lines).encode())
    return found
