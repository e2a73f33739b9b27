"""What the lab needs of this machine, and installing it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab import daemon, lxc
from lab.errors import MissingProgramsError
from lab.programs import progress, run

_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"
# A program that tells whether the package is there.
_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "zstd": "zstd",
    "rsync": "rsync",
    "ssh": "openssh-client",
    "ip": "iproute2",
    "setsid": "util-linux",
}
# What only an LXD from the distribution needs; the snap brings its own.
_FOR_DISTRIBUTION = {
    "dnsmasq": "dnsmasq-base",
    "newuidmap": "uidmap",
    "mkfs.btrfs": "btrfs-progs",
    "iptables": "iptables",
}
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def distribution(text: str) -> str:
    """Given the text of os-release, return "debian", "ubuntu" or another ID."""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    words = [fields.get("ID", ""), *fields.get("ID_LIKE", "").strip('"').split()]
    words = [word.strip('"') for word in words]
    return next((word for word in words if word in {"ubuntu", "debian"}), words[0])


def missing(there: frozenset[str], system: str, *, lxd_answers: bool) -> tuple[list[str], list[str]]:
    """Given the programs and files there are and the system, return the packages and the snaps to install."""
    packages = [package for program, package in _PROGRAMS.items() if program not in there]
    if _KEYRING not in there:
        packages.append("debian-archive-keyring")
    if lxd_answers:
        return packages, []
    if system == "ubuntu":
        return packages, [] if "lxd" in there else ["lxd"]
    packages += [package for program, package in _FOR_DISTRIBUTION.items() if program not in there]
    packages += [] if "lxd" in there else ["lxd"]
    packages += [] if "lxc" in there else ["lxd-client"]
    return packages, []


def require(*, do: bool) -> None:
    """Raise MissingProgramsError if something is missing; with `do`, install it first."""
    packages, snaps = _look()
    if not packages and not snaps:
        return
    root = os.geteuid() == 0
    if not (do and root):
        commands = [f"apt-get install --no-install-recommends {' '.join(packages)}"] if packages else []
        commands += [f"snap install {name}" for name in snaps]
        sudo = "" if root else "sudo "
        raise MissingProgramsError(
            ", ".join(packages + snaps), "; ".join(sudo + one for one in commands), root
        )
    progress(f"install {', '.join(packages + snaps)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    if packages:
        run(["apt-get", "update", "-qq"], seconds=300, environment=quiet)
        words = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        run(words, seconds=900, environment=quiet)
    for name in snaps:
        run(["snap", "install", name], seconds=900)
        run(["lxd", "waitready", "--timeout=60"], seconds=90)
    packages, snaps = _look()
    if packages or snaps:
        raise MissingProgramsError(
            ", ".join(packages + snaps), f"apt-get install {' '.join(packages + snaps)}", root
        )


def _look() -> tuple[list[str], list[str]]:
    path = f"{os.environ.get('PATH', '')}:{_PLACES}"
    names = {*_PROGRAMS, *_FOR_DISTRIBUTION, "lxc"}
    there = {name for name in names if shutil.which(name, path=path)}
    if daemon.distribution_program() or Path("/snap/bin/lxd").exists():
        there.add("lxd")
    if Path(_KEYRING).exists():
        there.add(_KEYRING)
    release = Path("/etc/os-release")
    system = distribution(release.read_text("utf-8") if release.exists() else "")
    answering = lxc.program() is not None and daemon.any_answers()
    return missing(frozenset(there), system, lxd_answers=answering)
