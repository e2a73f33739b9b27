"""Shared by the tests of mirrors: the recordings, if they are there, and a config with everything in it."""

from __future__ import annotations

import io
import subprocess
import tarfile
from functools import cache
from pathlib import Path

import pytest

from maw.mirror.edits import Seen
from maw.mirror.mapping import Bridge, Target

SHARED = Path(__file__).parents[3] / "shared"
EXTENSIONS = frozenset({"kernel_limits", "linux_sysctl", "instance_nic_network"})

# Every key, most sub-keys, raw lines, environment, pending and two snapshots.
EVERYTHING = """\
#A box %3A 100%25 %C3%BCn%C3%AF
#second line
arch: amd64
cmode: shell
console: 1
cores: 16
cpulimit: 1.5
cpuunits: 200
debug: 0
dev0: /dev/ttyUSB0,gid=20,mode=0660,uid=0
entrypoint: /usr/bin/app --serve
features: nesting=1,keyctl=1,fuse=1,mknod=1,mount=nfs;cifs,force_rw_sys=1
hookscript: local:snippets/hook.pl
hostname: box.example.org
lock: backup
memory: 65536
mp0: local:101/vm-101-disk-1.raw,mp=/srv/data,backup=1,size=32M,acl=1,ro=1
mp1: local:101/vm-101-disk-2.raw,mp=/srv/scratch,size=1G
mp2: /tank/media,mp=/media,shared=1
mp3: /dev/sdb1,mp=/disk
nameserver: 10.78.0.1 fe80::1%eth0
net0: name=eth0,bridge=vmbr0,firewall=1,gw=10.78.0.1,hwaddr=BC:24:11:00:01:01,ip=10.78.0.9/24,mtu=1400,rate=5
net1: name=eth1,bridge=vmbr0,hwaddr=BC:24:11:55:C6:17,ip=dhcp,ip6=fd00::5/64,gw6=fd00::1,tag=7,trunks=1;2
net2: name=eth2,bridge=vmbr1,link_down=1,ip6=auto,type=veth
onboot: 1
ostype: debian
parent: before
protection: 1
rootfs: local:101/vm-101-disk-0.raw,size=8G,mountoptions=noatime,quota=0,replicate=1
searchdomain: example.org
startup: order=2,up=10,down=30
swap: 512
tags: lab;mirror
template: 0
timezone: Asia/Bangkok
tty: 2
unprivileged: 0
unused0: local:101/vm-101-disk-9.raw
lxc.environment.runtime: LANG=th_TH.UTF-8
lxc.mount.entry: /tank/share srv/share none bind 0 0
lxc.prlimit.nofile: 1024:65536
lxc.sysctl.kernel.shmmax: 68719476736
lxc.cap.drop: sys_admin

[pve:pending]
delete: mp1
memory: 1024

[after]
arch: amd64
rootfs: local:101/vm-101-disk-0.raw,size=8G
snaptime: 1795395453

[before]
#first snapshot
arch: amd64
rootfs: local:101/vm-101-disk-0.raw,size=8G
snaptime: 1795395452
"""


def needs_shared(*parts: str) -> Path:
    """Return a path among the recordings, or skip the test and say why."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the recordings of a genuine Proxmox are not here ({'/'.join(parts)})")
    return path


def target(**changes: object) -> Target:
    """Return a notebook with a managed bridge, with what the test wants to be otherwise."""
    facts: dict[str, object] = {
        "host": "notebook",
        "architecture": "x86_64",
        "cores": 4,
        "memory_bytes": 8 * 2**30,
        "extensions": EXTENSIONS,
        "pool": "default",
        "pool_driver": "btrfs",
        "bridge": bridge(),
    }
    return Target(**{**facts, **changes})  # type: ignore[arg-type]


def bridge(**changes: object) -> Bridge:
    """Return the notebook's bridge, with what the test wants to be otherwise."""
    facts: dict[str, object] = {"name": "lxdbr0", "managed": True, "address": "10.77.0.1/24", "dhcp": True}
    return Bridge(**{**facts, **changes})  # type: ignore[arg-type]


@cache
def debian_rootfs() -> dict[str, Seen]:
    """Return what is seen of the genuine Debian container: every member of its archive."""
    archive = needs_shared("fixtures", "debian-stop.tar.zst")
    tar = subprocess.run(["zstd", "-dc", str(archive)], check=True, capture_output=True).stdout
    seen = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as stream:
        for member in stream:
            path = member.name.removeprefix("./")
            facts = {"mode": member.mode, "uid": member.uid, "gid": member.gid}
            if member.isfile() or member.islnk():
                reader = stream.extractfile(member) if member.size < 2**20 else None
                seen[path] = Seen("file", reader.read() if reader else None, **facts)
            elif member.issym():
                seen[path] = Seen("symlink", target=member.linkname, **facts)
            else:
                seen[path] = Seen("folder" if member.isdir() else "other", **facts)
    return seen
