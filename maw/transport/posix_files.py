"""A Linux account's file of keys: read and replaced there by a small program for any POSIX shell."""

from __future__ import annotations

import hashlib
import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maw.errors import DiskFull, TransportError

if TYPE_CHECKING:
    from maw.topology import Host
    from maw.transport.far import Line, Said

PATH = "~/.ssh/authorized_keys"
_MARK = b"maw-keys "
# Writing by group or others makes sshd refuse the file without a word.
_READ = r"""
set -u; cd
file=$(readlink -f .ssh/authorized_keys) && [ -e "$file" ] || { echo maw-keys missing; exit; }
echo "maw-keys $(stat -c '%a %u' "$file") $(stat -c '%a %u' "${file%/*}") $(id -u)"
exec cat "$file"
"""
# What is there must be what the new content was made from; the content comes on standard input.
_REPLACE = r"""
set -eu; umask 077; cd
file=$(readlink -f .ssh/authorized_keys)
rm -f "$file".maw-*  # what a killed one left
new=$file.maw-$3
trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM
(set -C; cat > "$new")
sum() { sha256sum < "$1" | cut -d' ' -f1; }
[ "$(sum "$new")" = "$2" ] || { echo 'it did not arrive whole' >&2; exit 1; }
mode=$(stat -c %a "$file"); owner=$(stat -c %u:%g "$file")
[ "$(stat -c %u:%g "$new")" = "$owner" ] || chown "$owner" "$new"
chmod "$mode" "$new"; chmod go-w "$new"
sync "$new"
[ "$(sum "$file")" = "$1" ] || { echo 'it was changed meanwhile' >&2; exit 1; }
mv -f "$new" "$file"
sync "${file%/*}"
"""


@dataclass(frozen=True)
class Found:
    """What is in the file, and what is wrong with its rights, "" if nothing is."""

    content: bytes
    rights: str = ""


def read(line: Line, host: Host) -> Found | None:
    """Given a Linux host, return what its file of keys holds, None if there is none. Raise TransportError."""
    said = line.run(host, shlex.join(["sh", "-c", _READ]))
    # A log-in shell's start files may print something first.
    _, _, answer = said.stdout.partition(_MARK)
    first, _, content = answer.partition(b"\n")
    words = first.decode("ascii", "replace").split()
    if said.status == 0 and words == ["missing"]:
        return None
    if said.status != 0 or len(words) != 5:
        raise TransportError(host=host.name, reason=f"{PATH} cannot be read there: {said.text}")
    return Found(content, rights(*words))


def rights(mode: str, owner: str, folder_mode: str, folder_owner: str, account: str) -> str:
    """Given modes, owners and the account's number as text, return why sshd would refuse the file."""
    for what, bits, who in (("the file", mode, owner), ("its folder", folder_mode, folder_owner)):
        if int(bits, 8) & 0o022:
            return f"others may write to {what} (mode {bits}), which makes sshd refuse it: chmod go-w"
        if who not in (account, "0"):
            return f"{what} belongs to user {who}, which makes sshd refuse it: chown it"
    return ""


def replace(line: Line, host: Host, expected: bytes, content: bytes) -> None:
    """Given what the file holds now and what it shall hold, replace it in one step.

    Owner and mode stay, but that nobody else may write to it. Raise TransportError or DiskFull, with the
    old one in place, also if it does not hold `expected` any more.
    """
    sums = [hashlib.sha256(text).hexdigest() for text in (expected, content)]
    said = line.run(
        host, shlex.join(["sh", "-c", _REPLACE, "sh", *sums, secrets.token_hex(4)]), stdin=content
    )
    if said.status != 0:
        raise _error(host, said)
    found = read(line, host)
    if found is None or found.content != content:
        raise TransportError(host=host.name, reason=f"{PATH} is not there what was written")


def _error(host: Host, said: Said) -> TransportError | DiskFull:
    if b"No space left" in said.stderr or b"Disk quota" in said.stderr:
        return DiskFull(path=PATH, where=host.name)
    return TransportError(host=host.name, reason=f"{PATH} cannot be replaced there: {said.text}")
