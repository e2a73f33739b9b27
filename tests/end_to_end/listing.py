"""Runs inside a machine, by `python3 -I -`: lists what is on its disk, one line of JSON for each path.

What any system changes by itself is left out: logs, caches, the kernel's own trees, random seeds, time stamps
of systemd. So is what plays Windows, which has a listing of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys

SKIPPED = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache", "/root/.cache"),
    *("/var/lib/systemd", "/var/lib/lxcfs", "/var/lib/windows", "/opt/windows", "/root/.ansible"),
    # LXD's own database and logs; its pools, networks and profiles are asked of it.
    *("/var/lib/lxd", "/var/snap"),
)
# Rewritten with the same meaning by tools that only look.
REWRITTEN = ("/etc/.pwd.lock", "/etc/ld.so.cache", "/etc/resolv.conf", "/etc/mtab")


def line(path: str) -> list[object] | None:
    """Given a path, return what is compared of it."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return None
    kind = stat.S_IFMT(about.st_mode)
    content = ""
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif kind == stat.S_IFLNK:
        content = os.readlink(path)
    return [path, oct(about.st_mode), about.st_uid, about.st_gid, content]


def main() -> None:
    """Print the listing."""
    for folder, folders, names in os.walk("/"):
        folders[:] = sorted(
            name for name in folders if os.path.join(folder, name) not in SKIPPED and name != "__pycache__"
        )
        for name in sorted([*names, *folders]):
            path = os.path.join(folder, name)
            if path in REWRITTEN:
                continue
            found = line(path)
            if found is not None:
                json.dump(found, sys.stdout)
                sys.stdout.write("\n")


main()
