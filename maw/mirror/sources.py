"""Where an archive comes from, as a stream of plain tar; and the proof that it came whole.

Each source is read piece by piece and then asked to `finish`, which raises ArchiveIncomplete unless
everything that can be known says that it was whole. An exit status alone proves nothing: see
`vzdump.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from maw.errors import ArchiveIncomplete, CannotRead, MawError, MirrorError, NotAnArchive
from maw.mirror import vzdump_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.transport.base import Channel, Transport

CHUNK = 1 << 20
_AGAIN = "Run it again; if it stays so, make a new backup"
# The first bytes of each format, and the program that unpacks it.
_FORMATS: dict[bytes, tuple[str, tuple[str, ...]]] = {
    b"\x28\xb5\x2f\xfd": ("zst", ("zstd", "--decompress", "--stdout", "--quiet", "--memory=256MB")),
    b"\x1f\x8b": ("gz", ("gzip", "--decompress", "--stdout")),
    b"\x89LZO\0": ("lzo", ("lzop", "--decompress", "--stdout", "--quiet")),
}
_OTHERS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"VMA\0": "the archive of a virtual machine",
}


class Source(Protocol):
    """A stream of plain tar. `name` is for messages, `size` of what is read if that is known."""

    name: str
    size: int | None
    notes: list[str]
    # Seconds since 1970 when the archive was made, None for one that is made now.
    taken: float | None

    def read(self) -> bytes:
        """Return the next bytes, b"" at the end."""

    def position(self) -> int | None:
        """How much of `size` was read."""

    def waiting(self) -> bool:
        """Whether it waits for something that may take hours, so that silence is no fault."""

    def finish(self, tar_bytes: int) -> None:
        """Say that the stream was read to its end. Raise ArchiveIncomplete if it was not whole."""

    def interrupt(self) -> None:
        """Make `read` end, from another thread."""

    def stop(self) -> None:
        """Let go of it, wherever it stands."""


def format_of(head: bytes) -> tuple[str, tuple[str, ...]]:
    """Given the first bytes, return the format's suffix and the program that unpacks it ((): none needed).

    Raise NotAnArchive (its name left to the caller).
    """
    for magic, (suffix, argv) in _FORMATS.items():
        if head.startswith(magic):
            return suffix, argv
    if len(head) >= 512 and head[257:262] == b"ustar":
        return "tar", ()
    known = next((what for magic, what in _OTHERS.items() if head.startswith(magic)), None)
    if not head:
        raise NotAnArchive(name="{name}", reason="it is empty")
    raise NotAnArchive(name="{name}", reason=f"it is {known}" if known else "it begins like none of these")


class Unpacker:
    """A program that turns compressed bytes into plain tar. Raise MirrorError if it is not installed."""

    def __init__(self, argv: Sequence[str], *, stdin: int) -> None:
        if shutil.which(argv[0]) is None:
            package = {"zstd": "zstd", "gzip": "gzip", "lzop": "lzop"}[argv[0]]
            raise MirrorError(
                name="this machine", reason=f"{argv[0]} is not installed", step=f"apt install {package}"
            )
        self._argv = argv
        self.process = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._said = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        while data := os.read(self.process.stderr.fileno(), 1 << 12):
            self._said = (self._said + data)[-4096:]

    def read(self) -> bytes:
        """Return the next bytes of plain tar, b"" at the end."""
        assert self.process.stdout is not None
        return os.read(self.process.stdout.fileno(), CHUNK)

    def finish(self, name: str) -> None:
        """Wait for its end. Raise ArchiveIncomplete if it was not content with what it got."""
        status = self.process.wait()
        self._close()
        if status != 0:
            said = self._said.decode("utf-8", "replace").strip().splitlines()
            shown = said[-1].replace("/*stdin*\\", "").lstrip(" :") if said else ""
            reason = f"{self._argv[0]} says: {shown}" if said else f"{self._argv[0]} ended with {status}"
            raise ArchiveIncomplete(name=name, reason=reason, step=_AGAIN)

    def stop(self) -> None:
        """End it, wherever it stands."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._close()

    def _close(self) -> None:
        self._listener.join(timeout=5)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def suffix_note(name: str, suffix: str) -> list[str]:
    """Given a file's name and what it is, return a note if the name says otherwise."""
    said = Path(name).suffix.lstrip(".").lower()
    if said == suffix or (said not in ("zst", "gz", "lzo", "tar")):
        return []
    return [f"{Path(name).name} is named .{said}, but is {suffix}"]


@dataclass(frozen=True)
class _State:
    size: int
    mtime: int
    inode: int


class LocalArchive:
    """An archive on this machine. Raise CannotRead, NotAnArchive."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            if not path.is_file():
                os.close(self._descriptor)
                raise NotAnArchive(name=self.name, reason="it is no file")
        except OSError as error:
            raise CannotRead(path=path, reason=error.strerror or str(error)) from error
        self._unpacker: Unpacker | None = None
        try:
            self._begin(path)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _begin(self, path: Path) -> None:
        self._state = self._look()
        self.size: int | None = self._state.size
        self.taken: float | None = self._state.mtime / 1e9
        suffix, argv = named(self.name, os.pread(self._descriptor, 512, 0))
        self.notes = suffix_note(self.name, suffix)
        self._log = vzdump_log.beside(path)
        self._unpacker = Unpacker(argv, stdin=self._descriptor) if argv else None

    def _look(self) -> _State:
        status = os.fstat(self._descriptor)
        return _State(status.st_size, status.st_mtime_ns, status.st_ino)

    def read(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        return self._unpacker.read() if self._unpacker else os.read(self._descriptor, CHUNK)

    def position(self) -> int | None:
        """How much of the file was read: the unpacker shares our place in it."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def waiting(self) -> bool:
        """Nothing to wait for."""
        return False

    def finish(self, tar_bytes: int) -> None:
        """Check the unpacker's word, that the file did not change, and the log beside it if there is one."""
        if self._unpacker is not None:
            self._unpacker.finish(self.name)
        if self._look() != self._state:
            raise ArchiveIncomplete(name=self.name, reason="it changed while it was read", step=_AGAIN)
        if self._log is not None:
            vzdump_log.check(self._log, tar_bytes, self.name)
        else:
            self.notes.append(
                "no log of vzdump lies beside the archive, so that its count of bytes could not be compared"
            )

    def interrupt(self) -> None:
        """Make `read` end: a plain file's does by itself."""
        if self._unpacker is not None:
            self._unpacker.process.kill()

    def stop(self) -> None:
        """Close the file."""
        if self._unpacker is not None:
            self._unpacker.stop()
        os.close(self._descriptor)


def named(name: str, head: bytes) -> tuple[str, tuple[str, ...]]:
    """As `format_of`, with the name in the error."""
    try:
        return format_of(head)
    except NotAnArchive as error:
        raise NotAnArchive(name=name, reason=error.facts["reason"]) from None


class NodeArchive:
    """An archive on the Proxmox server, read over a transport. Raise TransportError, NotAnArchive."""

    def __init__(
        self, transport: Transport, path: str, *, size: int | None, taken: float | None = None
    ) -> None:
        self.name = f"{transport.host}:{path}"
        self.size = size
        self.taken = taken
        self._stderr: list[bytes] = []
        self._log = _log_there(transport, path)
        self._channel: Channel = transport.open(
            ["cat", "--", path], on_stderr=self._stderr.append, stdin=False
        )
        self._position = 0
        self._failure: Exception | None = None
        self._unpacker: Unpacker | None = None
        self._feeder: threading.Thread | None = None
        try:
            self._head = self._first()
            suffix, argv = named(self.name, self._head)
            self.notes = suffix_note(path, suffix)
            if argv:
                self._unpacker = Unpacker(argv, stdin=subprocess.PIPE)
                self._feeder = threading.Thread(target=self._feed, daemon=True)
                self._feeder.start()
        except BaseException:
            self.stop()
            raise

    def _first(self) -> bytes:
        head = b""
        while len(head) < 512 and (data := self._channel.receive()):
            head += data
        self._position = len(head)
        if not head and self._stderr:
            said = b"".join(self._stderr).decode("utf-8", "replace").strip()
            raise CannotRead(path=self.name, reason=said)
        return head

    def _feed(self) -> None:
        assert self._unpacker is not None
        pipe = self._unpacker.process.stdin
        assert pipe is not None
        data = self._head
        try:
            while data:
                view = memoryview(data)
                while view:
                    view = view[os.write(pipe.fileno(), view) :]
                data = self._channel.receive()
                self._position += len(data)
            pipe.close()
        except (OSError, ValueError, MawError) as error:
            # Of the unpacker's end `finish` hears from itself, of the link's from the channel.
            self._failure = error

    def read(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        if self._unpacker is not None:
            return self._unpacker.read()
        if self._head:
            head, self._head = self._head, b""
            return head
        data = self._channel.receive()
        self._position += len(data)
        return data

    def position(self) -> int | None:
        """How much of the file came."""
        return self._position

    def waiting(self) -> bool:
        """Nothing to wait for."""
        return False

    def finish(self, tar_bytes: int) -> None:
        """Check the unpacker's word, that all bytes came, and the log beside the archive."""
        if self._unpacker is not None:
            self._unpacker.finish(self.name)
        ending = self._channel.finish()
        if ending.code != 0 or (self.size is not None and self._position != self.size):
            said = b"".join(self._stderr).decode("utf-8", "replace").strip()
            reason = said or f"{self._position} bytes came of {self.size}"
            raise ArchiveIncomplete(name=self.name, reason=reason, step=_AGAIN)
        if self._log is not None:
            vzdump_log.check(self._log, tar_bytes, self.name)
        else:
            self.notes.append(
                "no log of vzdump lies beside the archive, so that its count of bytes could not be compared"
            )

    def interrupt(self) -> None:
        """Make `read` end."""
        self._channel.stop()

    def stop(self) -> None:
        """Stop reading it."""
        stop_channel(self._channel)
        if self._unpacker is not None:
            self._unpacker.stop()


def _log_there(transport: Transport, path: str) -> str | None:
    """The log that vzdump left beside an archive on its server, None if there is none."""
    answer = transport.run(["cat", "--", vzdump_log.place(path)])
    return answer.stdout.decode("utf-8", "replace") if answer.ok else None


def stop_channel(channel: Channel) -> None:
    """Given a running command, stop it and take its end; what it still says does not matter."""
    with contextlib.suppress(MawError, OSError, ValueError):
        channel.stop()
        while channel.receive():
            pass
        channel.finish()
