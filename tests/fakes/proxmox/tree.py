"""The files of a small container: busybox as its init, and one of each kind that is easily lost."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

_APPLETS = [
    "awk",
    "cat",
    "chmod",
    "chown",
    "cp",
    "date",
    "dd",
    "df",
    "du",
    "echo",
    "env",
    "false",
    "find",
    "getty",
    "grep",
    "gzip",
    "halt",
    "head",
    "hostname",
    "id",
    "ifconfig",
    "init",
    "ip",
    "kill",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mount",
    "mv",
    "ping",
    "poweroff",
    "ps",
    "reboot",
    "rm",
    "rmdir",
    "sed",
    "sh",
    "sha256sum",
    "sleep",
    "stat",
    "sync",
    "tail",
    "tar",
    "test",
    "touch",
    "true",
    "udhcpc",
    "umount",
    "uname",
    "vi",
    "wc",
]
_INITTAB = """::sysinit:/bin/hostname -F /etc/hostname
::sysinit:/bin/mkdir -p /run/x
::respawn:/bin/sleep 86400
::ctrlaltdel:/sbin/poweroff
::shutdown:/bin/sync
"""
_FOLDERS = [
    "bin",
    "dev",
    "etc",
    "home",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr/bin",
    "usr/sbin",
    "var/log",
    "var/tmp",
]
_CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
SPARSE_SIZE = 16 * 1024 * 1024
OLD_TIME = 981173106_789012345
_SEGMENT = "d" * 60


def minimal(root: Path) -> None:
    """Given an empty folder, make it a system that a container manager starts."""
    old = os.umask(0o022)
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    _busybox(root)
    for name in ("init", "halt", "poweroff", "reboot"):
        (root / "sbin" / name).symlink_to("../bin/busybox")
    texts = {
        "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
        "hostname": "ct\n",
        "hosts": "127.0.0.1 localhost\n",
        "inittab": _INITTAB,
        "os-release": "ID=busybox\n",
        "passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/bin/false\n",
        "resolv.conf": "",
    }
    for name, text in texts.items():
        (root / "etc" / name).write_text(text, "utf-8")
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    os.umask(old)


def standard(root: Path) -> None:
    """Given an empty folder, make it a small system with all kinds of special files."""
    minimal(root)
    special(root / "opt" / "special")
    notes = root / "home" / "user" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine\n", "utf-8")
    notes.chmod(0o600)
    for path in (notes.parent, notes):
        os.chown(path, 1000, 1000)
    (root / "tmp" / "left-out").write_text("no backup holds this\n", "utf-8")


def special(folder: Path) -> None:
    """Make a folder with a file of each kind that is easily lost on the way."""
    folder.mkdir(parents=True)
    _links(folder)
    _names(folder)
    _attributes(folder)
    _modes(folder)
    with (folder / "sparse.bin").open("wb") as file:
        file.seek(1024 * 1024)
        file.write(b"begin" * 800)
        file.seek(9 * 1024 * 1024)
        file.write(b"end" * 1000)
        file.truncate(SPARSE_SIZE)
    (folder / "trailing-zero.bin").write_bytes(b"x" * 100 + b"\0" * 2900)
    (folder / "empty").mkdir()
    (folder / "oldmtime").touch()
    os.utime(folder / "oldmtime", ns=(OLD_TIME, OLD_TIME))


def _links(folder: Path) -> None:
    (folder / "plain.txt").write_text("plain\n", "utf-8")
    for name in ("hardlink.txt", "hard link 2.txt"):
        (folder / name).hardlink_to(folder / "plain.txt")
    (folder / "symlink").symlink_to("plain.txt")
    (folder / "absolute-symlink").symlink_to("/opt/special")
    (folder / "dangling").symlink_to("/nonexistent/target")


def _names(folder: Path) -> None:
    names = [
        b"--",
        b"-rf",
        b"name with spaces",
        b"back\\slash",
        b"new\nline",
        b"latin1-\xe9",
        "ünïcødé-日本語-🙂.txt".encode(),
        "บันทึก ครอบครัว.txt".encode(),
    ]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x")
    deep = folder
    for _ in range(4):
        deep /= _SEGMENT
    deep.mkdir(parents=True)
    (deep / "deep.txt").write_text("deep\n", "utf-8")


def _attributes(folder: Path) -> None:
    (folder / "xattr.txt").write_text("xattr\n", "utf-8")
    os.setxattr(folder / "xattr.txt", "user.comment", b"a user xattr")
    os.setxattr(folder / "xattr.txt", "user.bin", b"\0\xff\n\1")
    (folder / "capbin").write_bytes(b"\x7fELF".ljust(4096, b"\0"))
    (folder / "capbin").chmod(0o755)
    os.setxattr(folder / "capbin", "security.capability", _CAPABILITY)
    (folder / "acl.txt").write_text("acl\n", "utf-8")
    access = _acl((1, 6, -1), (2, 6, 1000), (4, 4, -1), (8, 4, 1000), (16, 6, -1), (32, 4, -1))
    os.setxattr(folder / "acl.txt", "system.posix_acl_access", access)
    (folder / "acldir").mkdir()
    default = _acl((1, 7, -1), (2, 7, 1000), (4, 5, -1), (16, 7, -1), (32, 5, -1))
    for kind in ("access", "default"):
        os.setxattr(folder / "acldir", f"system.posix_acl_{kind}", default)


def _acl(*entries: tuple[int, int, int]) -> bytes:
    """Return an ACL as the kernel keeps it: tag, permissions, user or group number."""
    packed = (struct.pack("<HHI", tag, bits, number & 0xFFFFFFFF) for tag, bits, number in entries)
    return struct.pack("<I", 2) + b"".join(packed)


def _modes(folder: Path) -> None:
    (folder / "uid1000.txt").write_text("1000\n", "utf-8")
    os.chown(folder / "uid1000.txt", 1000, 1000)
    os.mkfifo(folder / "fifo", 0o644)
    for name, mode, content in (("suid", 0o4755, b"s" * 2048), ("sgid", 0o2755, b"sg\n"), ("zero", 0, b"")):
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)
    (folder / "sticky").mkdir()
    (folder / "sticky").chmod(0o1777)


def _busybox(root: Path) -> None:
    """Copy this machine's busybox, and the libraries that one needs that is not static."""
    found = shutil.which("busybox")
    if found is None:
        raise FileNotFoundError("no busybox is installed here (apt install busybox-static)")
    shutil.copyfile(found, root / "bin" / "busybox")
    (root / "bin" / "busybox").chmod(0o755)
    for applet in _APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    answer = subprocess.run(["ldd", found], capture_output=True, text=True, check=False)
    for path in re.findall(r"(/\S+) \(0x", answer.stdout) if answer.returncode == 0 else []:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755)
