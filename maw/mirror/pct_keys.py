"""What may stand in a Proxmox container's config: every key, every sub-key, its type and range."""

from __future__ import annotations

import re
from dataclasses import dataclass

BOOLEAN, INTEGER, NUMBER, STRING = "boolean", "integer", "number", "string"


@dataclass(frozen=True)
class Field:
    """One key or sub-key: its type, range, choices, pattern, named format and default."""

    type: str = STRING
    minimum: float | None = None
    maximum: float | None = None
    default: object = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    format: str = ""
    required: bool = False
    default_key: bool = False
    max_length: int | None = None


_FLAG = Field(BOOLEAN)
_OFF = Field(BOOLEAN, default=0)
_ON = Field(BOOLEAN, default=1)
_TEXT = Field()

KEYS: dict[str, Field] = {
    "arch": Field(default="amd64", choices=("amd64", "i386", "arm64", "armhf", "riscv32", "riscv64")),
    "cmode": Field(default="tty", choices=("shell", "console", "tty")),
    "console": _ON,
    "cores": Field(INTEGER, 1, 8192),
    "cpulimit": Field(NUMBER, 0, 8192, 0),
    "cpuunits": Field(INTEGER, 0, 500000, "cgroup v1: 1024, cgroup v2: 100"),
    "debug": _OFF,
    "description": Field(max_length=8192),
    "entrypoint": Field(default="/sbin/init", pattern=r"[^\x00-\x08\x10-\x1F\x7F]+"),
    "env": Field(
        pattern=r"(?:\w+=[^\x00-\x08\x10-\x1F\x7F]*)(?:\0\w+=[^\x00-\x08\x10-\x1F\x7F]*)*",
    ),
    "hookscript": Field(format="volume-id"),
    "hostname": Field(format="dns-name", max_length=255),
    "lock": Field(
        choices=(
            "backup",
            "create",
            "destroyed",
            "disk",
            "fstrim",
            "migrate",
            "mounted",
            "rollback",
            "snapshot",
            "snapshot-delete",
        )
    ),
    "memory": Field(INTEGER, 16, default=512),
    "nameserver": Field(format="nameservers"),
    "onboot": _OFF,
    "ostype": Field(
        choices=(
            "debian",
            "devuan",
            "ubuntu",
            "centos",
            "fedora",
            "opensuse",
            "archlinux",
            "alpine",
            "gentoo",
            "nixos",
            "unmanaged",
        )
    ),
    "parent": Field(),
    "protection": _OFF,
    "searchdomain": Field(format="dns-names"),
    "snapstate": Field(choices=("prepare", "delete")),
    "snaptime": Field(INTEGER, 0),
    "startup": Field(format="startup"),
    "swap": Field(INTEGER, 0, default=512),
    "tags": Field(format="tags"),
    "template": _OFF,
    "timezone": Field(format="timezone"),
    "tty": Field(INTEGER, 0, 6, 2),
    "unprivileged": _OFF,
}

_MOUNT_OPTION = "(discard|lazytime|noatime|nodev|noexec|nosuid)"
_ROOTFS: dict[str, Field] = {
    "acl": _FLAG,
    "idmap": Field(pattern=r"passthrough|[ug]:[0-9]+:[0-9]+:[1-9][0-9]*(?:;[ug]:[0-9]+:[0-9]+:[1-9][0-9]*)*"),
    "mountoptions": Field(pattern=rf"{_MOUNT_OPTION}(;{_MOUNT_OPTION})*"),
    "quota": _FLAG,
    "replicate": _ON,
    "ro": _FLAG,
    "shared": _OFF,
    "size": Field(format="size"),
    "volume": Field(format="mount", required=True, default_key=True),
}
PROPERTIES: dict[str, dict[str, Field]] = {
    "rootfs": _ROOTFS,
    "mp": {
        **_ROOTFS,
        "backup": _FLAG,
        "keepattrs": _OFF,
        "mp": Field(format="mount", required=True),
    },
    "unused": {"volume": Field(format="volume-id", required=True, default_key=True)},
    "net": {
        "bridge": Field(pattern=r"[-_.\w\d]+"),
        "firewall": _FLAG,
        "gw": Field(format="ipv4"),
        "gw6": Field(format="ipv6"),
        "host-managed": _FLAG,
        "hwaddr": Field(format="mac"),
        "ip": Field(format="ipv4-config"),
        "ip6": Field(format="ipv6-config"),
        "link_down": _FLAG,
        "mtu": Field(INTEGER, 64, 65535),
        "name": Field(pattern=r"[-_.\w\d]+", required=True),
        "rate": Field(NUMBER),
        "tag": Field(INTEGER, 1, 4094),
        "trunks": Field(pattern=r"\d+(?:;\d+)*"),
        "type": Field(choices=("veth",)),
    },
    "dev": {
        "deny-write": _OFF,
        "gid": Field(INTEGER, 0),
        "mode": Field(pattern="0[0-7]{3}"),
        "path": Field(format="device", default_key=True),
        "uid": Field(INTEGER, 0),
    },
    "features": {
        "force_rw_sys": _OFF,
        "fuse": _OFF,
        "keyctl": _OFF,
        "mknod": _OFF,
        "mount": Field(pattern="[a-zA-Z0-9_; ]+"),
        "nesting": _OFF,
    },
}
# How many of each numbered key there may be: mp0 to mp255.
COUNTS = {"mp": 256, "unused": 256, "net": 32, "dev": 256}
# Parameters and answers of the API that no config file ever holds.
API_ONLY = frozenset(
    {
        "bwlimit",
        "delete",
        "digest",
        "force",
        "ha-managed",
        "ignore-unpack-errors",
        "lxc",
        "node",
        "ostemplate",
        "password",
        "pool",
        "restore",
        "revert",
        "ssh-public-keys",
        "start",
        "storage",
        "unique",
        "vmid",
    }
)

_NUMBERED = re.compile(r"(mp|unused|net|dev)(\d+)", re.ASCII)

_RAW_NAMES = """
apparmor.profile apparmor.allow_incomplete apparmor.allow_nesting apparmor.raw selinux.context
include arch uts.name signal.halt signal.reboot signal.stop init.cmd init.cwd init.uid init.gid
init.groups pty.max console.logfile console.path tty.max devtty.dir hook.autodev autodev kmsg
mount.fstab mount.entry mount.auto rootfs.mount cap.drop cap.keep seccomp.profile
seccomp.notify.proxy seccomp.notify.cookie idmap hook.pre-start hook.pre-mount hook.mount
hook.start hook.stop hook.post-stop hook.clone hook.destroy hook.version log.level log.file
start.auto start.delay start.order group environment environment.runtime environment.hooks
sysctl.fs.mqueue sysctl.kernel.msgmax sysctl.kernel.msgmnb sysctl.kernel.msgmni sysctl.kernel.sem
sysctl.kernel.shmall sysctl.kernel.shmmax sysctl.kernel.shmmni sysctl.kernel.shm_rmid_forced
"""
# Names of LXC 2, which Proxmox still takes.
_OLD_RAW_NAMES = """
aa_profile aa_allow_incomplete console devttydir haltsignal rebootsignal stopsignal id_map init_cmd
loglevel logfile mount network.type network.flags network.link network.mtu network.name
network.hwaddr network.ipv4 network.ipv4.gateway network.ipv6 network.ipv6.gateway
network.script.up network.script.down pts se_context seccomp tty utsname
"""
_RAW_EXACT = frozenset(f"lxc.{name}" for name in (_RAW_NAMES + _OLD_RAW_NAMES).split())
_RAW_PREFIXES = ("lxc.cgroup2.", "lxc.cgroup.", "lxc.prlimit.", "lxc.limit.", "lxc.net.")


def raw_allowed(key: str) -> bool:
    """Given a raw key such as ``lxc.mount.entry``, return whether Proxmox lets it stand in a config."""
    return key in _RAW_EXACT or key.startswith(_RAW_PREFIXES)


def group_of(key: str) -> str:
    """Given a key such as ``net0``, return the table of its sub-keys (``net``), or "" if it has none."""
    if key in ("rootfs", "features"):
        return key
    match = _NUMBERED.fullmatch(key)
    if match is None or len(match[2]) > 3 or match[2] != str(int(match[2])):
        return ""
    return match[1] if int(match[2]) < COUNTS[match[1]] else ""


def known(key: str) -> bool:
    """Given a key of a config, return whether Proxmox has it."""
    return key in KEYS or bool(group_of(key))
