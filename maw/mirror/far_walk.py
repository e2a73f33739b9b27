"""Lists a tree as lines of a manifest. Standard library only: it runs on the satellite.

Several processes share the folders, so that all cores hash.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import tempfile
from typing import IO, TYPE_CHECKING

from maw.mirror import entries
from maw.mirror.content import WINDOW, Content

if TYPE_CHECKING:
    from maw.mirror.entries import Ids

_CHUNK = 1 << 20
_BATCH = 1 << 16
_MOST_PROCESSES = 4
_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}


def walk(root: str, uids: Ids, gids: Ids, out: IO[bytes]) -> None:
    """Given a tree, write the line of each path to `out`, in no order. Raise OSError."""
    processes = max(1, min(_MOST_PROCESSES, os.cpu_count() or 1))
    out.flush()
    with tempfile.TemporaryFile() as lock:
        children = []
        for number in range(1, processes):
            child = os.fork()
            if child == 0:
                _child(root, uids, gids, out, (number, processes), lock)
            children.append(child)
        try:
            _share(root, uids, gids, out, (0, processes), lock)
        finally:
            statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise OSError(f"a process that lists {root} ended with {statuses}")


def _child(root: str, uids: Ids, gids: Ids, out: IO[bytes], share: tuple[int, int], lock: IO[bytes]) -> None:
    code = 1
    try:
        # A lock of its own: one that is inherited would be the parent's too.
        with open(f"/proc/self/fd/{lock.fileno()}", "rb+") as own:
            _share(root, uids, gids, out, share, own)
        code = 0
    except OSError as error:
        sys.stderr.write(f"{error}\n")
    finally:
        # Not by sys.exit: what the parent has yet to do is not this process's.
        os._exit(code)


def _share(root: str, uids: Ids, gids: Ids, out: IO[bytes], share: tuple[int, int], lock: IO[bytes]) -> None:
    """Write the lines of every folder whose turn it is."""
    turn, processes = share
    top = os.fsencode(root)
    batch, size = [], 0
    if turn == 0:
        batch.append(_line(top, b".", os.lstat(top), uids, gids))
    folders, number = [b""], 0
    while folders:
        folder = folders.pop()
        mine = number % processes == turn
        number += 1
        with os.scandir(top + b"/" + folder if folder else top) as found:
            names = sorted(found, key=lambda entry: entry.name)
        for entry in names:
            path = folder + b"/" + entry.name if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            if mine:
                one = _line(entry.path, path, entry.stat(follow_symlinks=False), uids, gids)
                batch.append(one)
                size += len(one)
                if size > _BATCH:
                    _write(out, batch, lock)
                    batch, size = [], 0
    _write(out, batch, lock)


def _write(out: IO[bytes], batch: list[bytes], lock: IO[bytes]) -> None:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        out.write(b"".join(batch))
        out.flush()
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def _line(place: bytes, path: bytes, status: os.stat_result, uids: Ids, gids: Ids) -> bytes:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    content, group, xattrs, acls = b"-", b"-", "-", "-"
    if kind == "l":
        content = os.readlink(place)
    else:
        if kind == "f":
            content = content_hash(place, status).encode("ascii")
        xattrs, acls = _attributes(place, uids, gids)
    if status.st_nlink > 1 and kind != "d":
        group = b"%d:%d" % (status.st_dev, status.st_ino)
    # Rounded down: Python's own float would not hold nanoseconds.
    seconds, nanoseconds = divmod(status.st_mtime_ns, 1_000_000_000)
    mtime = entries.mtime_of(seconds, nanoseconds)
    owner, owners = uids.inside(status.st_uid), gids.inside(status.st_gid)
    mode = status.st_mode
    return entries.line(path, kind, mode, owner, owners, status.st_size, mtime, content, xattrs, acls, group)


def lines(root: str, paths: list[str], uids: Ids, gids: Ids) -> dict[str, bytes | None]:
    """Given a tree and some paths in it, return the line of each, None for one that is not there."""
    found: dict[str, bytes | None] = {}
    top = os.fsencode(root)
    for path in paths:
        place = top + b"/" + os.fsencode(path)
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            found[path] = None
        else:
            found[path] = _line(place, os.fsencode(path), status, uids, gids)
    return found


def content_hash(place: bytes, status: os.stat_result) -> str:
    """Given a file, return the hash of its content; holes are not read."""
    content = Content()
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_NOATIME", 0))
    try:
        if status.st_blocks * 512 < status.st_size and status.st_size > WINDOW:
            _sparse(descriptor, status.st_size, content)
        else:
            while data := os.read(descriptor, _CHUNK):
                content.update(data)
    finally:
        os.close(descriptor)
    return content.hexdigest()


def _sparse(descriptor: int, size: int, content: Content) -> None:
    at = 0
    while at < size:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            # No data up to the end.
            begin = size
        content.hole(min(begin, size) - at)
        if begin >= size:
            return
        end = min(size, os.lseek(descriptor, begin, os.SEEK_HOLE))
        os.lseek(descriptor, begin, os.SEEK_SET)
        left = end - begin
        while left:
            data = os.read(descriptor, min(left, _CHUNK))
            if not data:
                return
            content.update(data)
            left -= len(data)
        at = end


def _attributes(place: bytes, uids: Ids, gids: Ids) -> tuple[str, str]:
    names = os.listxattr(place, follow_symlinks=False)
    if not names:
        return "-", "-"
    found, lists = {}, {entries.ACCESS: "", entries.DEFAULT: ""}
    for name in names:
        if name in lists:
            lists[name] = entries.acl_of_bytes(os.getxattr(place, name, follow_symlinks=False), uids, gids)
        elif name == entries.CAPABILITY:
            found[name] = entries.capability(os.getxattr(place, name, follow_symlinks=False), uids)
        elif name.startswith(entries.USER):
            found[name] = os.getxattr(place, name, follow_symlinks=False)
    return entries.xattrs_text(found), entries.acls_text(lists[entries.ACCESS], lists[entries.DEFAULT])
