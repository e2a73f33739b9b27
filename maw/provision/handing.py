"""What is handed to Ansible without a file: its environment, a password, and the word to stop.

Each is a file in memory, or a pipe, that this process holds; who runs as the same user reads it by its
number in /proc. So nothing of it is on the disk or in an argument list, and it is gone with this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, Self

from maw.errors import CannotRead
from maw.vault import PASSWORD_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

# Of the user's, these have a place in a run of ours; the others would make it another.
_KEPT = re.compile(
    r"ANSIBLE_(?:COLLECTIONS_PATHS?|GALAXY_.*|VAULT_PASSWORD_FILE|VAULT_IDENTITY_LIST|HOME|PYTHON_INTERPRETER)"
)
# Read by ansible-runner's callback, whatever they are there for.
_DROPPED = re.compile(
    r"(?:ANSIBLE|RUNNER|AWX)_.*|(?:JOB|AD_HOC_COMMAND|PROJECT_UPDATE|INVENTORY_UPDATE)_ID|MAX_EVENT_RES"
)
_SECRET = re.compile(r"(?i)token|passw|secret|api_?key|credential")
# A shorter one is a word that stands anywhere.
_SHORTEST = 6
_LONGEST = 1 << 16
MASK = "[secret]"


class Handed:
    """A pipe that says stop when it ends, and files in memory; a context manager."""

    def __init__(self) -> None:
        self._held: list[int] = []
        reading, self._writing = os.pipe2(os.O_CLOEXEC)
        self._held.append(reading)
        self.control = _path(reading)

    def file(self, content: bytes) -> str:
        """Given bytes, return the path under which they can be read."""
        descriptor = os.memfd_create("maw", os.MFD_CLOEXEC)
        self._held.append(descriptor)
        # Ansible runs a file of a password that may be executed.
        os.fchmod(descriptor, 0o600)
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            stream.write(content)
        return _path(descriptor)

    def json(self, content: Mapping[str, Any]) -> str:
        """Given variables, return the path under which they can be read as JSON."""
        return self.file(json.dumps(content).encode("ascii"))

    def stop(self) -> None:
        """Ask the guard to stop, or to do it sooner."""
        with contextlib.suppress(OSError):  # it has ended already
            os.write(self._writing, b"x")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (*self._held, self._writing):
            os.close(descriptor)


def _path(descriptor: int) -> str:
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def environment(given: Mapping[str, str], programs: Path, workspace: Path) -> dict[str, str]:
    """Given this process's environment, the folder of our programs and the workspace, return Ansible's."""
    kept = {
        name: value for name, value in given.items() if _KEPT.fullmatch(name) or not _DROPPED.fullmatch(name)
    }
    return {
        **kept,
        # A role may run maw itself here.
        "PATH": os.pathsep.join(filter(None, [str(programs), given.get("PATH", os.defpath)])),
        "MAW_WORKSPACE": str(workspace),
        # Ansible starts in a UTF-8 locale only; and nothing may ask for a password in a window.
        "LC_ALL": "C.UTF-8",
        "SSH_ASKPASS_REQUIRE": "never",
    }


@contextlib.contextmanager
def vault_password(path: Path | None, ask: Callable[[], str] | None = None) -> Iterator[bytes]:
    """Given a file with Ansible Vault's password (or a program that prints it), let every Ansible use it.

    With `ask`, what it returns is the password. Yield it, b"" if it is not known here. Raise CannotRead.
    """
    if path is None and ask is None:
        yield b""
        return
    before = os.environ.get(PASSWORD_FILE)
    with Handed() as handed:
        if ask is not None:
            known = ask().encode("utf-8", "surrogateescape")
            os.environ[PASSWORD_FILE] = handed.file(known)
        else:
            assert path is not None
            known = _read(path)
            os.environ[PASSWORD_FILE] = str(path.absolute())
        try:
            yield known
        finally:
            os.environ.pop(PASSWORD_FILE)
            if before is not None:
                os.environ[PASSWORD_FILE] = before


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise CannotRead(path=path, reason="it is a folder, not a file with Ansible Vault's password")
        if os.access(path, os.X_OK) and path.stat().st_mode & 0o100:
            return b""
        with path.open("rb") as file:
            return file.read(_LONGEST).strip()
    except OSError as error:
        raise CannotRead(path=path, reason=error.strerror or str(error)) from error


def secrets(named: Sequence[Mapping[str, Any]], *others: bytes) -> tuple[str, ...]:
    """Given environments and variables, and secrets themselves, return the secrets among them."""
    found = {other.decode("utf-8", "replace").strip() for other in others}
    for values in named:
        for name, value in values.items():
            if isinstance(value, str) and _SECRET.search(name) and not value.startswith("/"):
                found.add(value.strip())
    return tuple(sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True))


def cleaner(known: Sequence[str]) -> Callable[[str], str]:
    """Given secrets, return what takes them out of a text."""

    def clean(text: str) -> str:
        for secret in known:
            text = text.replace(secret, MASK)
        return text

    return clean
