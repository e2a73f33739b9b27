"""Which of a host's addresses is taken: the first that answers, remembered for a while.

The generated config asks a small shell program of ours for each address, so that Ansible, rsync
and a person with ``ssh -F`` get the same address as maw, and share the memory.
"""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from maw import files

if TYPE_CHECKING:
    from pathlib import Path

    from maw.config import SshSettings
    from maw.topology import Host

PROGRAM = "address"
# The file holds the time of the choice and the address. A time that lies ahead (the clock was set
# back since) is not believed.
SCRIPT = r"""#!/bin/sh
# Ends with 0 if this address is the one to take.
# Usage: address MEMORY SECONDS LIMIT ADDRESS PORT
memory=$1 seconds=$2 limit=$3 address=$4 port=$5
now=$(date +%s)
chosen_at= chosen=
[ -r "$memory" ] && read -r chosen_at chosen < "$memory"
case $chosen_at in '' | *[!0-9]*) chosen= ;; esac
if [ -n "$chosen" ]; then
  age=$((now - chosen_at))
  if [ "$age" -ge 0 ] && [ "$age" -lt "$seconds" ]; then [ "$chosen" = "$address" ]; exit; fi
fi
timeout "$limit" bash -c '</dev/tcp/$0/$1' "$address" "$port" 2>/dev/null || exit 1
[ "$seconds" -gt 0 ] || exit 0
printf '%s %s\n' "$now" "$address" > "$memory.$$" && mv -f "$memory.$$" "$memory"
exit 0
"""


def memory(sockets: Path, host: Host) -> Path:
    """Given the folder of sockets and a host, return the file that remembers its address.

    The name stands for the addresses, so that a changed inventory forgets.
    """
    mark = files.sha256_of(" ".join((*host.addresses, str(host.port))).encode("utf-8"))[:16]
    return sockets / f"at-{mark}"


def probe(memory: Path, settings: SshSettings, address: str, port: int) -> str:
    """Given where the choice is remembered and an address, return the text for ``Match exec``."""
    argv = [
        "sh",
        str(memory.parent / PROGRAM),
        str(memory),
        str(settings.remember_seconds),
        str(settings.probe_seconds),
        address,
        str(port),
    ]
    return shlex.join(argv)


def install(sockets: Path) -> None:
    """Given the folder of sockets, put the program there. Raise FileError."""
    path = sockets / PROGRAM
    try:
        if path.read_text("utf-8") == SCRIPT:
            return
    except (OSError, UnicodeDecodeError):
        # Missing or damaged: written anew below, which reports what is wrong.
        pass
    files.write_atomically(path, SCRIPT, mode=0o700)


def chosen(sockets: Path, host: Host, *, seconds: float) -> str | None:
    """Given a host, return the address that was taken in the last `seconds`, None if none was."""
    if len(host.addresses) == 1:
        return host.addresses[0]
    try:
        when, _, address = memory(sockets, host).read_text("utf-8").strip().partition(" ")
        age = time.time() - int(when)
    except (OSError, ValueError):
        return None
    return address if 0 <= age < seconds + 1 and address in host.addresses else None


def forget(sockets: Path, host: Host) -> bool:
    """Given a host, forget the address that was taken; return whether one was remembered."""
    if len(host.addresses) == 1:
        return False
    try:
        memory(sockets, host).unlink()
    except OSError:
        return False
    return True
