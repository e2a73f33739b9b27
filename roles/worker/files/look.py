"""Says as JSON what the worker needs to know of this machine, and what is there of it. It changes nothing.

It runs with Python 3.6 and newer, so that an old one can be told so.
"""

import hashlib
import json
import os
import platform
import sys
from pathlib import Path

ROOT, LAUNCHER, MARK = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]


def markers():
    """Return the values of the environment markers of requirements."""
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_full_version": version,
        "python_version": ".".join(map(str, sys.version_info[:2])),
        "sys_platform": sys.platform,
    }


def glibc():
    """Return the version of the C library, empty if it is another one than glibc."""
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
    except (AttributeError, OSError, ValueError):
        return ""
    return version if name == "glibc" else ""


def free_megabytes(path):
    """Return the free disk where `path` is, or will be."""
    while not path.exists():
        path = path.parent
    state = os.statvfs(str(path))
    return state.f_bavail * state.f_frsize // 1000000


def linked(name):
    """Return the name of the release that a link names, None if there is none."""
    path = ROOT / name
    return Path(os.readlink(str(path))).name if path.is_symlink() else None  # noqa: PTH115 - not in Python 3.8


def whole(release):
    """Return whether every file of a release is as its manifest says."""
    folder = ROOT / "releases" / release
    try:
        manifest = json.loads((folder / "MANIFEST.json").read_bytes().decode("utf-8"))
        for name, expected in manifest["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
                return False
    except (OSError, ValueError, KeyError):
        return False
    return (folder / "venv" / ".complete").is_file()


def launcher():
    """Return whether the launcher is absent, ours, or another program."""
    if not LAUNCHER.exists():
        return "other" if LAUNCHER.is_symlink() else "absent"
    with LAUNCHER.open("rb") as file:
        return "ours" if MARK.encode() in file.read(4096) else "other"


def ensurepip():
    """Return whether a venv made by this Python has pip."""
    try:
        import ensurepip as module
    except ImportError:
        return False
    return bool(module.version())


def main():
    """Print what there is."""
    current = linked("current")
    look = {
        "version": ".".join(map(str, sys.version_info[:3])),
        "markers": markers(),
        "glibc": glibc(),
        "machine": platform.machine(),
        "ensurepip": ensurepip(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "disk_free_mb": free_megabytes(ROOT),
        "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1000000,
        "current": current,
        "whole": current is not None and whole(current),
        "launcher": launcher(),
    }
    print(json.dumps(look, sort_keys=True))


main()
