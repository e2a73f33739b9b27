"""Which keys may log in, as Windows' sshd sees it; each with our login shell as its command.

The command goes into the key's line, for ForceCommand would override a key's own command.
"""

from __future__ import annotations

import os
import time

from . import acl, drive
from .state import Machine

ADMINISTRATORS_FILE = "C:\\ProgramData\\ssh\\administrators_authorized_keys"
_SETTLED = 0.05


def main(folder: str, files: list[str]) -> int:
    """Print the lines for sshd; keep them for `keys.sh` under the mark of the files that they depend on."""
    machine = Machine(folder)
    path = ADMINISTRATORS_FILE
    if not machine.state["administrator"]:
        path = f"C:\\Users\\{machine.state['account']}\\.ssh\\authorized_keys"
    real = drive.resolve(machine, path)
    assert real is not None
    mark, settled = _mark([f"{folder}/state.json", f"{folder}/acl.json", *files])
    lines = _lines(machine, path, real)
    text = "".join(line + "\n" for line in lines)
    os.write(1, text.encode("utf-8", "surrogateescape"))
    if settled:
        beside = f"{folder}/keys.known.{os.getpid()}"
        with open(beside, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"mark={_quoted(mark)}\nlines={_quoted(text)}\n")
        os.replace(beside, f"{folder}/keys.known")
    return 0


def _mark(paths: list[str]) -> tuple[str, bool]:
    """Return what `stat -c '%i %s %Z.…'` would, and whether no file changed a moment ago."""
    newest = 0.0
    lines = []
    for path in paths:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            continue
        newest = max(newest, found.st_ctime)
        seconds, fraction = divmod(found.st_ctime_ns, 10**9)
        lines.append(f"{found.st_ino} {found.st_size} {seconds}.{fraction:09}")
    return "\n".join(lines), time.time() - newest > _SETTLED


def _lines(machine: Machine, path: str, real: str) -> list[str]:
    # A file that the check refuses is as good as none: nothing tells the client.
    if not acl.trusted(acl.Store(machine).get(path), machine.state["sid"]):
        return []
    try:
        with open(real, encoding="utf-8", errors="surrogateescape") as file:
            written = file.read().splitlines()
    except OSError:
        return []
    lines = [line.strip() for line in written if "\0" not in line]
    return [changed(line, machine) for line in lines if line and line[0] != "#"]


def changed(line: str, machine: Machine) -> str:
    """Given a line, return it with the login shell as its command; the key's own is an argument of that."""
    options, key = split(line)
    kept = [option for option in options if not option.lower().startswith("command=")]
    own = [option for option in options if option.lower().startswith("command=")]
    words = [
        machine.state["python"],
        "-I",
        "-S",
        machine.state["programs"] + "/start.py",
        "login",
        machine.folder,
    ]
    if own:
        text = own[0].partition("=")[2][1:-1].replace('\\"', '"')
        words.append(text.encode("utf-8", "surrogateescape").hex())
    command = "exec " + " ".join(_quoted(word) for word in words)
    kept.append('command="' + command.replace('"', '\\"') + '"')
    return ",".join(kept) + " " + key


def split(line: str) -> tuple[list[str], str]:
    """Split a line into its options and the key with its comment."""
    first = line.split(None, 1)[0]
    if first.startswith(("ssh-", "ecdsa-", "sk-")):
        return [], line
    options, start, quoted, at = [], 0, False, 0
    while at < len(line):
        character = line[at]
        if character == "\\" and line[at + 1 : at + 2] == '"':
            at += 1
        elif character == '"':
            quoted = not quoted
        elif not quoted and character in ", \t":
            options.append(line[start:at])
            start = at + 1
            if character != ",":
                break
        at += 1
    return options, line[start:].lstrip()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
