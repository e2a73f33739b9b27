"""The cluster's own private keys, on this machine: making them, and their stages in a rotation.

A key KEY may be there three times: as KEY, as KEY.next (made, not yet used everywhere), and as
KEY.previous (not yet removed everywhere). The generated config lists all three, so that at any
moment one that is there lets us in.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maw import files
from maw.errors import CannotRead, KeysError
from maw.transport import key_dates
from maw.transport.keys import HostKey

if TYPE_CHECKING:
    from collections.abc import Iterator

CURRENT, NEXT, PREVIOUS = "", ".next", ".previous"
STAGES = (CURRENT, NEXT, PREVIOUS)
_MAGIC = b"openssh-key-v1\0"
_MAKING = ".making-"
_LOCK = ".lock"
# Seconds for what a killed rotation had under way; another rotation takes longer.
_PATIENCE = 3.0
# No key is longer.
_MOST = 1 << 16


@dataclass(frozen=True)
class Private:
    """A private key of ours, as far as everybody may know it."""

    path: Path
    key: HostKey
    encrypted: bool = False
    # The public half in the file beside it: None if there is no such file.
    beside: HostKey | None = None


@dataclass(frozen=True)
class Stages:
    """The stages of one key that there are."""

    current: Private | None = None
    next: Private | None = None
    previous: Private | None = None

    def __iter__(self) -> Iterator[Private]:
        return iter([found for found in (self.current, self.next, self.previous) if found is not None])


def path_of(folder: Path, purpose: str, stage: str = CURRENT) -> Path:
    """Given the folder of keys, a purpose and a stage, return the private key's path."""
    return folder / f"{purpose}{stage}"


def stages(folder: Path, purpose: str) -> Stages:
    """Given the folder of keys and a purpose, return what there is. Raise CannotRead or KeysError."""
    return Stages(*(load(path_of(folder, purpose, stage)) for stage in STAGES))


def load(path: Path) -> Private | None:
    """Given a private key's path, return the key, None without one. Raise CannotRead or KeysError."""
    content = _read(path)
    public = _public_file(path)
    beside = public_of_line(_read(public) or b"")
    if content is None:
        return None
    try:
        key, encrypted = public_of(content)
    except ValueError as error:
        raise KeysError(
            path=path,
            reason=f"is no private key ({error})",
            step="Move it away; `cutter keys make` makes new ones",
        ) from error
    return Private(path, key, encrypted, beside)


def missing(path: Path) -> KeysError:
    """Given the path of a key that is not there, return the error to raise."""
    step = "Make the cluster's keys with `cutter keys make`, and install them as `cutter keys show` says"
    return KeysError(path=path, reason="is not there", step=step)


def _public_file(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotRead(path=path, reason=error.strerror or str(error)) from error


def public_of(private: bytes) -> tuple[HostKey, bool]:
    """Given a private key file in OpenSSH's format, return its public half and whether it is encrypted.

    Raise ValueError if it is none.
    """
    lines = private.split()
    begin, end = b"-----BEGINOPENSSHPRIVATEKEY-----", b"-----ENDOPENSSHPRIVATEKEY-----"
    text = b"".join(lines)
    if not text.startswith(begin) or not text.endswith(end):
        raise ValueError("not in OpenSSH's format")
    data = base64.b64decode(text[len(begin) : -len(end)], validate=True)
    if not data.startswith(_MAGIC):
        raise ValueError("not in OpenSSH's format")
    try:
        rest = data[len(_MAGIC) :]
        cipher, rest = _string(rest)
        _, rest = _string(rest)
        _, rest = _string(rest)
        blob, _ = _string(rest[4:])
        kind, _ = _string(blob)
    except struct.error as error:
        raise ValueError("cut off") from error
    return HostKey(kind.decode("ascii"), base64.b64encode(blob).decode("ascii")), cipher != b"none"


def _string(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack_from(">I", data)
    if len(data) < 4 + size:
        raise ValueError("cut off")
    return data[4 : 4 + size], data[4 + size :]


def public_of_line(content: bytes) -> HostKey | None:
    """Given a public key file, return its key, None if it holds none."""
    words = content.split(None, 2)
    if len(words) < 2:
        return None
    return HostKey(words[0].decode("utf-8", "replace"), words[1].decode("utf-8", "replace"))


def prepare(folder: Path) -> None:
    """Make the folder of keys, for this user alone, and kept out of git. Raise FileError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise files.translate(error, folder) from error
    files.write_new(folder / ".gitignore", "*\n", mode=0o600)


@contextlib.contextmanager
def locked(folder: Path, *, seconds: float = _PATIENCE) -> Iterator[int]:
    """Keep all other `cutter keys` that change something out; give the lock's file number.

    A program that inherits the number holds the lock after we are killed. Raise KeysError.
    """
    deadline = time.monotonic() + seconds
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise files.translate(error, folder / _LOCK) from error
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    step = "Run the same command again when it is over"
                    reason = "is in use: another command changes the keys, or one that was killed still does"
                    raise KeysError(path=folder, reason=reason, step=step) from error
                time.sleep(0.02)
        for left in folder.glob(f"{_MAKING}*"):
            shutil.rmtree(left)
        yield descriptor
    finally:
        os.close(descriptor)


def make(folder: Path, purpose: str, stage: str = CURRENT) -> bool:
    """Given the locked folder and a purpose, make that key; return False if it is there already.

    Nothing is overwritten. A public half that is missing is made anew. Raise KeysError, FileError.
    """
    path = path_of(folder, purpose, stage)
    public = _public_file(path)
    found = load(path)
    others = [path_of(folder, purpose, other).name for other in STAGES if other != stage]
    under_way = [name for name in others if (folder / name).exists()]
    if found is None and stage == CURRENT and under_way:
        step = f"Run `cutter keys rotate --key {purpose}`, which goes on with it"
        raise KeysError(path=path, reason=f"is missing, though {under_way[0]} is there", step=step)
    if found is None and public.exists():
        step = f"Move {public.name} away and run `cutter keys make` again"
        raise KeysError(path=public, reason="is there without its private key", step=step)
    if found is not None:
        if found.beside is not None and found.beside != found.key:
            step = f"Move {public.name} away and run `cutter keys make` again, which writes the right one"
            raise KeysError(path=public, reason="is not the public half of its private key", step=step)
        mend(found, purpose)
        return False
    with _scratch(folder) as scratch:
        private = _generate(scratch / "key", purpose)
        key, _ = public_of(private)
        key_dates.note(folder, key.fingerprint, time.time())
        files.write_new(path, private, mode=0o600)
        _write_public(path, key, purpose)
    return True


def mend(found: Private, purpose: str) -> None:
    """Given a private key, write its public half if that is missing. Raise FileError."""
    if found.beside is None:
        _write_public(found.path, found.key, purpose)


def _write_public(path: Path, key: HostKey, purpose: str) -> None:
    files.write_atomically(_public_file(path), f"{key.kind} {key.base64} {comment(purpose)}\n", mode=0o644)


def comment(purpose: str) -> str:
    """Given a purpose, return the comment that its keys have."""
    return f"maw-{purpose}"


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    try:
        made = Path(tempfile.mkdtemp(prefix=_MAKING, dir=folder))
    except OSError as error:
        raise files.translate(error, folder) from error
    try:
        yield made
    finally:
        shutil.rmtree(made)


def _generate(path: Path, purpose: str) -> bytes:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment(purpose), "-f", str(path)]
    step = "Install OpenSSH's client (apt install openssh-client), free some space, and run it again"
    try:
        answer = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise KeysError(path=path, reason="there is no ssh-keygen program here", step=step) from error
    private = _read(path) or b""
    try:
        public_of(private)
    except ValueError as error:
        said = answer.stderr.decode("utf-8", "replace").strip() or f"status {answer.returncode}"
        raise KeysError(path=path, reason=f"could not be made: {said}", step=step) from error
    return private


def promote(folder: Path, purpose: str) -> None:
    """KEY becomes KEY.previous, KEY.next becomes KEY. Done again, it goes on where it stopped.

    A private key never has another's public half beside it, for ssh would then offer the wrong one.
    """
    current, coming, previous = (path_of(folder, purpose, stage) for stage in STAGES)
    try:
        if not previous.exists():
            _rename(_public_file(current), _public_file(previous))
            current.rename(previous)
        _rename(_public_file(coming), _public_file(current))
        coming.rename(current)
        files.sync_folder(folder)
    except OSError as error:
        raise files.translate(error, current) from error


def _rename(old: Path, new: Path) -> None:
    # It may be renamed already, or missing from the start.
    with contextlib.suppress(FileNotFoundError):
        old.rename(new)


def forget(folder: Path, purpose: str) -> None:
    """Delete KEY.previous."""
    previous = path_of(folder, purpose, PREVIOUS)
    try:
        previous.unlink(missing_ok=True)
        _public_file(previous).unlink(missing_ok=True)
        files.sync_folder(folder)
    except OSError as error:
        raise files.translate(error, previous) from error
