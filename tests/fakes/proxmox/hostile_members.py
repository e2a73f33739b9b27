"""Whole archives with members that no container has by honest means."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

Member = tuple[tarfile.TarInfo, bytes]

CONFIG = """arch: amd64
cores: 1
hostname: hostile
memory: 64
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,type=veth
ostype: unmanaged
rootfs: local:101/subvol-101-disk-0.subvol,size=1G
swap: 0
unprivileged: 1
"""
OUTSIDE = "/var/lib/outside-of-the-container"
BOMB = 5000
_TIME = 1795394952


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **values: object) -> Member:
    """Return one member of an archive, as GNU tar would write it for a container's root."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, len(content), _TIME
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in values.items():
        setattr(info, key, value)
    return info, content


def folder(name: str) -> Member:
    """Return a folder."""
    return member(name, tarfile.DIRTYPE)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    """Return a symbolic link, or a hard link."""
    return member(name, kind, linkname=target)


def head(config: str | bytes | None = CONFIG) -> list[Member]:
    """Return the members that every backup begins with."""
    owner = {"uid": 65534, "gid": 65534}
    if config is None:
        return []
    data = config.encode() if isinstance(config, str) else config
    return [
        member("./etc/vzdump/pct.conf", content=data, **owner),
        member("./etc/vzdump/pct.fw", **owner),
    ]


def body() -> list[Member]:
    """Return a small honest tree: ten members, among them sbin."""
    names = ("", "bin", "dev", "etc", "opt", "proc", "sbin", "sys", "tmp")
    folders = [folder(f"./{name}") for name in names]
    return [*folders, member("./etc/hostname", content=b"hostile\n"), link("./sbin/init", "../bin/busybox")]


def tar(members: Iterable[Member]) -> bytes:
    """Return the bytes of an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def honest() -> bytes:
    """Return an archive with nothing wrong about it."""
    return tar([*head(), *body()])


def record(key: str, value: str) -> bytes:
    """Return a record of a pax header."""
    rest = f" {key}={value}\n"
    length = len(rest) + 1
    while len(f"{length}{rest}") != length:
        length = len(f"{length}{rest}")
    return f"{length}{rest}".encode()


def _writer(*extra: Member, config: str | bytes | None = CONFIG) -> Callable[[Path], None]:
    def write_to(path: Path) -> None:
        from tests.fakes.proxmox.archives import write

        write(path, tar([*head(config), *body(), *extra]))

    return write_to


def _device(name: str, kind: bytes, major: int, minor: int) -> Member:
    return member(name, kind, devmajor=major, devminor=minor)


def _pax(name: str, content: bytes = b"x", **headers: str) -> Member:
    named = {key.replace("__", "."): value for key, value in headers.items()}
    return member(name, content=content, pax_headers=named)


def _device_bomb(path: Path) -> None:
    devices = [_device(f"./dev/bomb{n}", tarfile.BLKTYPE, 8, n % 256) for n in range(BOMB)]
    _writer(folder("./dev/more"), *devices)(path)


def _deep(path: Path) -> None:
    """A path of 4,096 bytes, each part of it short enough."""
    name = "./" + "/".join(["d" * 63] * 64)
    _writer(member(name[:4096].rstrip("/"), content=b"x"))(path)


_EVIL = b"not yours\n"
ARCHIVES: dict[str, Callable[[Path], None]] = {
    "parent member": _writer(member("../escaped", content=_EVIL)),
    "parent member inside": _writer(member("./opt/../../escaped", content=_EVIL)),
    "parent folder": _writer(folder("./.."), folder("./../escaped-folder")),
    "absolute member": _writer(member(f"{OUTSIDE}/escaped", content=_EVIL)),
    "absolute member by pax path": _writer(_pax("./innocent", _EVIL, path=f"{OUTSIDE}/escaped")),
    "symlink out, then through it": _writer(
        link("./opt/out", OUTSIDE), member("./opt/out/escaped", content=_EVIL)
    ),
    "relative symlink out, then through it": _writer(
        link("./opt/out", "../../../../.."), member("./opt/out/escaped", content=_EVIL)
    ),
    "symlink chain out, then through it": _writer(
        link("./opt/one", "two"),
        link("./opt/two", "../.."),
        member("./opt/one/escaped", content=_EVIL),
    ),
    "symlink in place of etc/vzdump": _writer(
        link("./etc/vzdump", OUTSIDE), member("./etc/vzdump/escaped", content=_EVIL)
    ),
    "symlink in place of the root": _writer(link("./", OUTSIDE), member("./escaped", content=_EVIL)),
    "hard link to nothing": _writer(link("./opt/hard", "./opt/nothing", tarfile.LNKTYPE)),
    "hard link out by parents": _writer(link("./opt/hard", "../../etc/passwd", tarfile.LNKTYPE)),
    "hard link out, absolute": _writer(link("./opt/hard", "/etc/passwd", tarfile.LNKTYPE)),
    "hard link through a symlink": _writer(
        link("./opt/out", "/etc"), link("./opt/hard", "./opt/out/passwd", tarfile.LNKTYPE)
    ),
    "hard link to itself": _writer(link("./opt/hard", "./opt/hard", tarfile.LNKTYPE)),
    "hard link to a folder": _writer(link("./opt/hard", "./etc", tarfile.LNKTYPE)),
    "block device": _writer(_device("./dev/disk", tarfile.BLKTYPE, 8, 0)),
    "character device": _writer(_device("./dev/memory", tarfile.CHRTYPE, 1, 1)),
    "device outside of dev": _writer(_device("./opt/disk", tarfile.BLKTYPE, 8, 0)),
    "device bomb": _device_bomb,
    "name of 4096 bytes": _deep,
    "name part of 300 bytes": _writer(member("./opt/" + "n" * 300, content=b"x")),
    "empty name": _writer(member("", content=b"x")),
    "name with a zero byte": _writer(_pax("./innocent", path="./opt/zero\0byte")),
    "name that looks like options": _writer(member("--to-command=true", content=b"x")),
    "global pax path": _writer(
        member("./pax_global_header", tarfile.XGLTYPE, record("path", "./all-one-and-same"))
    ),
    "same file twice": _writer(
        member("./opt/twice", content=b"first\n"), member("./opt/twice", content=b"second\n")
    ),
    "file, then folder": _writer(
        member("./opt/both", content=b"x"), folder("./opt/both"), member("./opt/both/inner", content=b"x")
    ),
    "folder, then file": _writer(
        folder("./opt/both"), member("./opt/both/inner", content=b"x"), member("./opt/both", content=b"x")
    ),
    "file, then symlink": _writer(member("./opt/both", content=b"x"), link("./opt/both", "/etc/passwd")),
    "second config": _writer(
        member("./etc/vzdump/pct.conf", content=CONFIG.replace("hostile", "second").encode())
    ),
    "no config": _writer(config=None),
    "config last": _writer(*head(), config=None),
    "config is a symlink": _writer(link("./etc/vzdump/pct.conf", "/etc/shadow"), config=None),
    "config is a folder": _writer(folder("./etc/vzdump/pct.conf"), config=None),
    "config is empty": _writer(config=""),
    "config with unknown keys": _writer(
        config=CONFIG + "frobnicate: 7\nmp0: volume=,,,\nlxc.no.such.key: x\nnonsense without a colon\n"
    ),
    "config that is no text": _writer(config=bytes(range(256)) * 4),
    "config of 10 MB": _writer(config="#" + "x" * 10_000_000 + "\n" + CONFIG),
    "config with terminal controls": _writer(config=CONFIG.replace("hostile", "\x1b]0;pwned\x07\x1b[2J")),
    "owner above 65535": _writer(member("./opt/far", content=b"x", uid=100000, gid=4294967294)),
    "negative time": _writer(member("./opt/old", content=b"x", mtime=-(2**33))),
    "unknown type": _writer(member("./opt/what", b"Z", b"")),
    "contiguous file": _writer(member("./opt/contiguous", tarfile.CONTTYPE, b"x")),
    "xattr that only the host may have": _writer(
        _pax("./opt/marked", SCHILY__xattr__trusted__overlay__opaque="y")
    ),
    "acl that is nonsense": _writer(_pax("./opt/listed", SCHILY__acl__access="user:nobody:rwz,,::,x")),
    "acl record as an xattr": _writer(
        _pax("./opt/listed", SCHILY__xattr__system__posix_acl_access="\x02\0\0\0garbage")
    ),
    "capability that is too short": _writer(_pax("./opt/able", SCHILY__xattr__security__capability="\1\0")),
}
