"""Reads and changes single files of a tree whose owner is not trusted. Standard library only.

No symbolic link of the tree is ever followed: each folder on the way is opened by its own name.
"""

from __future__ import annotations

import base64
import os
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maw.mirror.entries import Ids

# Bytes of a file that is looked at; a network file is never longer.
_MOST = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read(root: str, paths: Sequence[str]) -> dict[str, Any]:
    """Given a tree and paths in it, return what is at each: kind, mode, and content or target."""
    return {path: _seen(root, path) for path in paths}


def _seen(root: str, path: str) -> dict[str, Any]:
    try:
        folder, name = _parent(root, path, make=None)
    except OSError:
        # Missing, or behind something that is no folder.
        return {"kind": "missing"}
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        facts: dict[str, Any] = {
            "mode": stat.S_IMODE(status.st_mode),
            "uid": status.st_uid,
            "gid": status.st_gid,
        }
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=folder)
            return {**facts, "kind": "symlink", "target": target.encode("utf-8", "surrogateescape").hex()}
        if stat.S_ISDIR(status.st_mode):
            return {**facts, "kind": "folder"}
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST:
            return {**facts, "kind": "other"}
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            content = os.read(descriptor, _MOST)
        finally:
            os.close(descriptor)
        return {**facts, "kind": "file", "content": base64.b64encode(content).decode("ascii")}
    except FileNotFoundError:
        return {"kind": "missing"}
    finally:
        os.close(folder)


def _parent(root: str, path: str, make: tuple[int, int] | None) -> tuple[int, str]:
    """Open the folder of `path`, never through a link; with `make`, missing ones are made for that owner."""
    parts = path.split("/")
    if not all(parts) or ".." in parts or "." in parts:
        raise OSError(f"{path!r} is no path inside a tree")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts[:-1]:
        try:
            try:
                below = os.open(part, _FOLDER, dir_fd=folder)
            except FileNotFoundError:
                if make is None:
                    raise
                os.mkdir(part, 0o755, dir_fd=folder)
                os.chown(part, *make, dir_fd=folder, follow_symlinks=False)
                below = os.open(part, _FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder, parts[-1]


def edit(root: str, edits: Sequence[Mapping[str, Any]], uids: Ids, gids: Ids) -> list[str]:
    """Given a tree and edits, do them; return the paths that changed, new folders too. Raise OSError.

    An edit has path, kind (file, symlink, remove), content (base64), mode, uid, gid. The folder's own
    time of change stays as it was.
    """
    changed = []
    for one in edits:
        owner = (uids.on_disk(int(one["uid"])), gids.on_disk(int(one["gid"])))
        parts = one["path"].split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        changed += [path for path in above if _seen(root, path)["kind"] == "missing" and path not in changed]
        folder, name = _parent(root, one["path"], make=(uids.on_disk(0), gids.on_disk(0)))
        try:
            before = os.stat(folder)
            _change(folder, name, one, owner)
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fsync(folder)
        finally:
            os.close(folder)
        changed.append(one["path"])
    return changed


def _change(folder: int, name: str, one: Mapping[str, Any], owner: tuple[int, int]) -> None:
    content = base64.b64decode(one["content"])
    if one["kind"] == "remove":
        os.unlink(name, dir_fd=folder)
        return
    beside = f".maw-{os.getpid()}"
    if one["kind"] == "symlink":
        os.symlink(os.fsdecode(content), beside, dir_fd=folder)
        os.chown(beside, *owner, dir_fd=folder, follow_symlinks=False)
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(beside, flags, 0o600, dir_fd=folder)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchown(descriptor, *owner)
            os.fchmod(descriptor, int(one["mode"]))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
