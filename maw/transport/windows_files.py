"""Windows' file of keys: read and replaced over sftp, with the rights that Windows' sshd insists on.

Groups go by their SIDs, for their names are in the language of that Windows. All commands are
constants without a character that is special to cmd or to PowerShell.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maw.errors import TransportError
from maw.transport import symptoms

if TYPE_CHECKING:
    from pathlib import Path

    from maw.topology import Host
    from maw.transport.far import Line

ADMINISTRATORS, SYSTEM = "S-1-5-32-544", "S-1-5-18"
_TRUSTED = frozenset(
    {"BA", "SY", ADMINISTRATORS, SYSTEM} | {"S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"}
)
ADMINISTRATORS_FILE = r"C:\ProgramData\ssh\administrators_authorized_keys"
# Where a log-in begins, which is the account's profile, whatever letters its name has.
OWN_FILE = r".ssh\authorized_keys"
# Ends the name of a new file, with a random word, until it takes the old one's place.
_TEMPORARY = ".maw-"
GROUPS = "whoami.exe /groups /fo csv /nh"
USER = "whoami.exe /user /fo csv /nh"
_SID = re.compile(r"S-1(?:-[0-9]+)+")
_ACE = re.compile(r"\((\w+);(\w*);(\w*);[^;()]*;[^;()]*;([\w-]+)[;)]")
# Reading, executing, and waiting; and their generic names.
_READING = 0x001200A9 | 0xA0000000
_READING_WORDS = {"FR", "GR", "FX", "GX", "RC"}


@dataclass(frozen=True)
class Account:
    """The account that logs in there."""

    sid: str
    administrator: bool

    @property
    def path(self) -> str:
        """The file that Windows' sshd reads for it."""
        return ADMINISTRATORS_FILE if self.administrator else OWN_FILE


def grant_commands(path: str) -> tuple[str, ...]:
    """Given a path there, return the commands that leave it to Administrators and SYSTEM alone."""
    return (
        f"icacls.exe {path} /inheritance:r /grant *{ADMINISTRATORS}:F /grant *{SYSTEM}:F",
        f"icacls.exe {path} /setowner *{ADMINISTRATORS}",
    )


def others_that_write(sddl: str, account: str) -> tuple[str, ...]:
    """Given a file's SDDL and the account's SID, return because of whom Windows' sshd refuses it.

    Owner may be Administrators, SYSTEM, TrustedInstaller, or the account. Anybody else may read.
    """
    trusted = _TRUSTED | {account}
    found = []
    # A null list lets everybody do everything.
    if "NO_ACCESS_CONTROL" in sddl or "D:" not in sddl:
        found.append("everybody")
    for kind, flags, rights, who in _ACE.findall(sddl):
        inherits_only = "IO" in [flags[i : i + 2] for i in range(0, len(flags), 2)]
        if kind in ("A", "XA") and who not in trusted and not inherits_only and not _reads_only(rights):
            found.append(who)
    owner = re.search(r"O:([\w-]+?)(?=[GDS]:|\s|$)", sddl)
    if owner and owner.group(1) not in trusted:
        found.append(f"the owner {owner.group(1)}")
    return tuple(dict.fromkeys(found))


def _reads_only(rights: str) -> bool:
    if re.fullmatch(r"0[xX][0-9A-Fa-f]+|[0-9]+", rights):
        return int(rights, 0) & ~_READING == 0
    return {rights[i : i + 2] for i in range(0, len(rights), 2)} <= _READING_WORDS


def encoding_problem(content: bytes) -> str | None:
    """Given a file's content, return why Windows' sshd cannot read it, None if it can."""
    if b"\0" in content or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is in UTF-16, which sshd cannot read: save it as ANSI or UTF-8"
    return None


def account(line: Line, host: Host) -> Account:
    """Given a Windows host, return who logs in there. Raise TransportError."""
    groups = _output(line, host, GROUPS)
    user = _SID.search(_output(line, host, USER))
    if user is None:
        raise TransportError(host=host.name, reason="whoami.exe tells no SID there")
    return Account(user.group(), ADMINISTRATORS in _SID.findall(groups))


def _output(line: Line, host: Host, command: str) -> str:
    said = line.run(host, command)
    if said.status != 0:
        raise TransportError(host=host.name, reason=f"{command} failed there: {said.text}")
    return symptoms.text_of(said.stdout)


def read(line: Line, host: Host, path: str) -> bytes | None:
    """Given a path there, return the file's content, None if there is no such file. Raise TransportError."""
    with line.scratch() as folder:
        return _fetch(line, host, folder / "content", _remote(path))


def _fetch(line: Line, host: Host, here: Path, there: str, *more: str) -> bytes | None:
    said = line.sftp(host, f"get {_quoted(there)} {_quoted(str(here))}", *more)
    if said.status != 0:
        # sftp says this in English, whatever the language of that Windows.
        if b"not found" in said.stderr or b"No such file" in said.stderr:
            return None
        raise TransportError(host=host.name, reason=f"{there} cannot be read there: {said.text}")
    return here.read_bytes()


def acl(line: Line, host: Host, path: str) -> str:
    """Given a path there, return its list of rights as SDDL. Raise TransportError."""
    saved = f"maw-{secrets.token_hex(4)}.acl"
    _output(line, host, f"icacls.exe {path} /save {saved}")
    with line.scratch() as folder:
        content = _fetch(line, host, folder / "acl", saved, f"rm {saved}")
    sddl = re.search(r"^(?:O:|G:|D:)\S+", symptoms.text_of(content or b""), re.MULTILINE)
    if sddl is None:
        raise TransportError(host=host.name, reason=f"icacls.exe does not tell the rights of {path} there")
    return sddl.group()


def replace(line: Line, host: Host, user: Account, expected: bytes, content: bytes) -> None:
    """Given the account, what its file holds now and what it shall hold, replace the file in one step.

    The new one has its rights before it takes the place of the old one. Raise TransportError with the
    old one in place, also if it does not hold `expected` any more.
    """
    temporary = f"{user.path}{_TEMPORARY}{secrets.token_hex(4)}"
    try:
        _prepare(line, host, user, temporary, content)
        _compare(line, host, user, temporary, expected, content)
    except TransportError:
        with contextlib.suppress(TransportError):
            line.sftp(host, f"-rm {_quoted(_remote(temporary))}")
        raise
    said = line.sftp(host, f"rename {_quoted(_remote(temporary))} {_quoted(_remote(user.path))}")
    if said.status != 0:
        raise TransportError(host=host.name, reason=f"{user.path} cannot be replaced there: {said.text}")
    if read(line, host, user.path) != content:
        raise TransportError(host=host.name, reason=f"{user.path} is not there what was written")


def _prepare(line: Line, host: Host, user: Account, temporary: str, content: bytes) -> None:
    """Write the new file beside the old one, and set its rights."""
    with line.scratch() as folder:
        source = folder / "new"
        source.write_bytes(content)
        said = line.sftp(
            host,
            # What a killed one left.
            # A * within quotes would be no pattern.
            f"-rm {_remote(user.path)}{_TEMPORARY}*",
            f"put {_quoted(str(source))} {_quoted(_remote(temporary))}",
        )
    if said.status != 0:
        reason = f"{temporary} cannot be written there (is its disk full?): {said.text}"
        raise TransportError(host=host.name, reason=reason)
    for command in grant_commands(temporary) if user.administrator else ():
        _output(line, host, command)
    writers = others_that_write(acl(line, host, temporary), user.sid)
    if writers:
        shown = ", ".join(writers)
        raise TransportError(host=host.name, reason=f"the rights of a new file are not as set: {shown}")


def _compare(line: Line, host: Host, user: Account, temporary: str, expected: bytes, content: bytes) -> None:
    """Read the new file back, and the old one once more."""
    with line.scratch() as folder:
        back, now = folder / "back", folder / "now"
        more = f"get {_quoted(_remote(user.path))} {_quoted(str(now))}"
        if _fetch(line, host, back, _remote(temporary), more) != content:
            reason = f"{temporary} did not arrive whole (is its disk full?)"
            raise TransportError(host=host.name, reason=reason)
        if now.read_bytes() != expected:
            raise TransportError(host=host.name, reason=f"{user.path} was changed there meanwhile")


def _remote(path: str) -> str:
    slashed = path.replace("\\", "/")
    return f"/{slashed}" if slashed[1:2] == ":" else slashed


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
