"""sftp-server.exe: version 3 of the protocol over the drive C:, with paths such as `/C:/ProgramData`."""

from __future__ import annotations

import errno
import os
import stat
import struct

from . import drive
from .acl import Store
from .state import Machine, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OK, EOF, NO_FILE, DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
_FLAGS = ((8, os.O_CREAT), (16, os.O_TRUNC), (32, os.O_EXCL), (4, os.O_APPEND))
_TEXTS = {
    OK: "Success",
    EOF: "End of file",
    NO_FILE: "No such file or directory",
    DENIED: "Permission denied",
}
_CODES = {errno.ENOENT: NO_FILE, errno.ENOTDIR: NO_FILE, errno.EACCES: DENIED, errno.EPERM: DENIED}


class Refused(Exception):
    """A request that ends with a status."""

    def __init__(self, code: int) -> None:
        self.code = code


def main(machine: Machine) -> int:
    """Serve standard input and output until the client goes."""
    server = _Server(machine)
    while True:
        head = _read(4)
        if head is None:
            return 0
        packet = _read(int.from_bytes(head, "big"))
        if packet is None:
            return 1
        answer = server.answer(packet)
        write_all(1, len(answer).to_bytes(4, "big") + answer)


def _read(size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            return None
        data += piece
    return data


class _Packet:
    """What is left to read of a request."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, size: int = 4) -> int:
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "big")

    def string(self) -> bytes:
        size = self.number()
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> str:
        return self.string().decode("utf-8", "surrogateescape")

    def attributes(self) -> dict[str, Any]:
        flags = self.number()
        found: dict[str, Any] = {}
        if flags & 1:
            found["size"] = self.number(8)
        if flags & 2:
            self.number(8)
        if flags & 4:
            found["mode"] = self.number()
        if flags & 8:
            found["times"] = (self.number(), self.number())
        return found


def _string(data: str | bytes) -> bytes:
    data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return len(data).to_bytes(4, "big") + data


def _attributes(found: os.stat_result) -> bytes:
    # Windows shows files without owners; it has no permission bits but "read-only".
    kind = stat.S_IFMT(found.st_mode)
    mode = kind | (0o777 if stat.S_ISDIR(kind) else 0o666)
    return struct.pack(">IQIIIII", 15, found.st_size, 0, 0, mode, int(found.st_atime), int(found.st_mtime))


class _Server:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.handles: dict[bytes, tuple[str, object]] = {}
        self.made = 0
        self.requests = {
            3: self._open,
            4: self._close,
            5: self._read,
            6: self._write,
            7: self._stat,
            8: self._handle_stat,
            9: self._set,
            10: self._handle_set,
            11: self._open_folder,
            12: self._read_folder,
            13: self._remove,
            14: self._make_folder,
            15: self._remove_folder,
            16: self._real_path,
            17: self._stat,
            18: self._rename,
            200: self._extended,
        }

    def answer(self, data: bytes) -> bytes:
        kind = data[0]
        if kind == 1:
            extensions = [("posix-rename@openssh.com", "1"), ("fsync@openssh.com", "1")]
            return struct.pack(">BI", 2, 3) + b"".join(_string(a) + _string(b) for a, b in extensions)
        packet = _Packet(data[1:])
        number = packet.number().to_bytes(4, "big")
        try:
            reply = self.requests.get(kind, self._unknown)(packet)
        except Refused as error:
            reply = _status(error.code)
        except (OSError, KeyError) as error:
            reply = _status(_CODES.get(getattr(error, "errno", 0), FAILURE))
        return reply[:1] + number + reply[1:]

    def _windows(self, name: str) -> str:
        if name[:1] == "/" and name[2:3] == ":":
            name = name[1:]
        return drive.full(self.machine, name or ".")

    def _path(self, packet: _Packet) -> tuple[str, str]:
        path = self._windows(packet.text())
        real = drive.resolve(self.machine, path)
        if real is None:
            raise Refused(NO_FILE)
        return path, real

    def _keep(self, name: str, thing: object) -> bytes:
        self.made += 1
        handle = str(self.made).encode()
        self.handles[handle] = (name, thing)
        return b"\x66" + _string(handle)

    def _file(self, packet: _Packet) -> int:
        thing = self.handles[packet.string()][1]
        if not isinstance(thing, int):
            raise Refused(FAILURE)
        return thing

    def _open(self, packet: _Packet) -> bytes:
        path, real = self._path(packet)
        asked = packet.number()
        flags = {1: os.O_RDONLY, 2: os.O_WRONLY, 3: os.O_RDWR}.get(asked & 3, os.O_RDONLY)
        for bit, flag in _FLAGS:
            flags |= flag if asked & bit else 0
        if flags & os.O_CREAT and not os.path.exists(real):
            # A list that an earlier file of this name had is gone with it: the folder's is inherited.
            Store(self.machine).remove(path)
        return self._keep(path, os.open(real, flags, 0o644))

    def _close(self, packet: _Packet) -> bytes:
        _, thing = self.handles.pop(packet.string())
        if isinstance(thing, int):
            os.close(thing)
        return _status(OK)

    def _read(self, packet: _Packet) -> bytes:
        handle = self._file(packet)
        offset, size = packet.number(8), packet.number()
        data = os.pread(handle, min(size, 1 << 18), offset)
        return b"\x67" + _string(data) if data else _status(EOF)

    def _write(self, packet: _Packet) -> bytes:
        handle = self._file(packet)
        offset, data = packet.number(8), packet.string()
        while data:
            done = os.pwrite(handle, data, offset)
            data, offset = data[done:], offset + done
        return _status(OK)

    def _stat(self, packet: _Packet) -> bytes:
        return b"\x69" + _attributes(os.stat(self._path(packet)[1]))

    def _handle_stat(self, packet: _Packet) -> bytes:
        return b"\x69" + _attributes(os.fstat(self._file(packet)))

    def _set(self, packet: _Packet) -> bytes:
        return self._changed(self._path(packet)[1], packet.attributes())

    def _handle_set(self, packet: _Packet) -> bytes:
        return self._changed(self._file(packet), packet.attributes())

    def _changed(self, target: str | int, given: dict[str, Any]) -> bytes:
        # The mode of POSIX is not the list of Windows: it changes nothing.
        if "size" in given:
            os.truncate(target, given["size"])
        if "times" in given:
            os.utime(target, given["times"])
        return _status(OK)

    def _open_folder(self, packet: _Packet) -> bytes:
        path, real = self._path(packet)
        return self._keep(path, [(name, f"{real}/{name}") for name in [".", "..", *sorted(os.listdir(real))]])

    def _read_folder(self, packet: _Packet) -> bytes:
        names = self.handles[packet.string()][1]
        assert isinstance(names, list)
        if not names:
            return _status(EOF)
        some, names[:] = names[:100], names[100:]
        entries = []
        for name, real in some:
            found = os.lstat(real)
            kind = "d" if stat.S_ISDIR(found.st_mode) else "-"
            long = f"{kind}rw-rw-rw-    1 you      you      {found.st_size:>10} Jan  1 00:00 {name}"
            entries.append(_string(name) + _string(long) + _attributes(found))
        return b"\x68" + len(entries).to_bytes(4, "big") + b"".join(entries)

    def _remove(self, packet: _Packet) -> bytes:
        path, real = self._path(packet)
        os.unlink(real)
        Store(self.machine).remove(path)
        return _status(OK)

    def _make_folder(self, packet: _Packet) -> bytes:
        path, real = self._path(packet)
        os.mkdir(real, 0o755)
        Store(self.machine).remove(path)
        return _status(OK)

    def _remove_folder(self, packet: _Packet) -> bytes:
        path, real = self._path(packet)
        os.rmdir(real)
        Store(self.machine).remove(path)
        return _status(OK)

    def _real_path(self, packet: _Packet) -> bytes:
        path = "/" + self._windows(packet.text()).replace("\\", "/")
        return b"\x68" + (1).to_bytes(4, "big") + _string(path) + _string(path) + bytes(4)

    def _rename(self, packet: _Packet) -> bytes:
        old, new = self._path(packet), self._path(packet)
        if os.path.lexists(new[1]):
            raise Refused(FAILURE)
        return self._moved(old, new)

    def _moved(self, old: tuple[str, str], new: tuple[str, str]) -> bytes:
        store = Store(self.machine)
        os.stat(old[1])
        store.move(old[0], new[0])
        os.replace(old[1], new[1])
        return _status(OK)

    def _unknown(self, packet: _Packet) -> bytes:
        raise Refused(UNSUPPORTED)

    def _extended(self, packet: _Packet) -> bytes:
        name = packet.text()
        if name == "posix-rename@openssh.com":
            return self._moved(self._path(packet), self._path(packet))
        if name == "fsync@openssh.com":
            os.fsync(self._file(packet))
            return _status(OK)
        raise Refused(UNSUPPORTED)


def _status(code: int) -> bytes:
    return struct.pack(">BI", 101, code) + _string(_TEXTS.get(code, "Failure")) + _string("")
