"""Whether a snapshot can be taken, judged by volumes and storages."""

from __future__ import annotations

import pytest

from maw.proxmox.snapshots import Volume, judge, volumes

TYPES = {"local": "dir", "snap": "btrfs", "zfs": "zfspool", "thin": "lvmthin"}
SUBVOL = Volume("rootfs", "snap:101/subvol-101-disk-0.subvol", "snap", True)
RAW = Volume("rootfs", "snap:101/vm-101-disk-0.raw", "snap", True)
DIRECTORY = Volume("mp0", "local:101/vm-101-disk-1.raw", "local", True)
LEFT_OUT = Volume("mp1", "local:101/vm-101-disk-2.raw", "local", False)


def test_volumes_are_what_is_no_bind_and_no_device() -> None:
    config = {
        "rootfs": "local:101/subvol-101-disk-0.subvol,size=0T",
        "mp0": "volume=snap:101/vm-101-disk-1.raw,mp=/srv,backup=1",
        "mp1": "snap:101/vm-101-disk-2.raw,mp=/b,backup=0",
        "mp2": "/mnt/bind:x,mp=/c,backup=1",
        "mp3": "/dev/sdb1,mp=/d",
        "mp10": "snap:101/vm-101-disk-3.raw,mp=/e",
        "net0": "name=eth0,bridge=vmbr0:1",
        "unused0": "local:101/vm-101-disk-9.raw",
    }
    found = [(one.key, one.storage, one.backed_up) for one in volumes(config)]
    assert found == [
        ("mp0", "snap", True),
        ("mp1", "snap", False),
        ("mp10", "snap", False),
        ("rootfs", "local", True),
    ]


def test_a_btrfs_subvolume_is_refused_though_the_server_promises() -> None:
    able, why = judge((SUBVOL,), TYPES, server_says=True)
    assert not able
    assert why == (
        "volume snap:101/subvol-101-disk-0.subvol (rootfs) lies on storage snap as a btrfs subvolume, whose "
        "snapshots vzdump cannot mount"
    )


def test_a_subvolume_of_zfs_is_none_of_btrfs() -> None:
    assert judge((Volume("rootfs", "zfs:subvol-101-disk-0", "zfs", True),), TYPES, server_says=True) == (
        True,
        "",
    )


def test_a_volume_that_is_not_backed_up_does_not_count_against_it() -> None:
    assert judge((RAW, LEFT_OUT), TYPES, server_says=False) == (True, "")


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ((RAW, DIRECTORY), "local (dir)"),
        ((Volume("rootfs", "x:1", "x", True),), "does not list"),
        ((RAW,), "server"),
    ],
)
def test_a_no_of_the_server_comes_with_a_reason(found: tuple[Volume, ...], word: str) -> None:
    able, why = judge(found, TYPES, server_says=False)
    assert not able
    assert word in why
