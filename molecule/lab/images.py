"""The one image of all machines: built with mmdebstrap, cached by content."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import secrets
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.lock import locked
from lab.programs import progress, run

if TYPE_CHECKING:
    from lab.lxc import Lxc

PACKAGES = (
    *("systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "openssh-client", "python3"),
    *("iproute2", "procps", "rsync", "acl", "attr", "zstd", "sudo", "ca-certificates"),
    *("lxd", "lxd-client", "busybox-static", "dnsmasq-base", "iptables", "uidmap"),
    # What Ubuntu for WSL brings, or a role needs: the machines of the lab cannot fetch packages.
    *("python3-apt", "python3-venv", "systemd-timesyncd", "btrfs-progs", "logrotate", "libgomp1"),
)
_SCRIPT = Path(__file__).with_name("image.sh")
# Debian's own, so that it is found on Ubuntu too.
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_KEEP_SECONDS = 60 * 24 * 3600


@dataclass(frozen=True)
class Image:
    """What the image is made of."""

    suite: str = "bookworm"
    mirror: str = "http://deb.debian.org/debian"
    packages: tuple[str, ...] = PACKAGES

    @property
    def content(self) -> str:
        """The hash of all that decides what is in it."""
        parts = [self.suite, sorted(self.packages), _EXCLUDED, _SCRIPT.read_text("utf-8"), platform.machine()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def alias(self, shared: str) -> str:
        """Given the name of a lab's things, return the image's name in LXD."""
        return f"{shared}-{self.content}"

    @property
    def archive(self) -> Path:
        """The file of the cached root file system."""
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(cache).expanduser() / "maw-lab" / f"{self.content}.tar.zst"


def build(image: Image) -> bool:
    """Given an image, put it into the cache; return False if it is there already. Raise LabError."""
    archive = image.archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with locked(f"image-{image.content}", "another make lab builds the image"):
        if archive.exists():
            return False
        progress(f"build the image with mmdebstrap ({image.suite}, about a minute)")
        part = archive.with_name(f".{archive.name.removesuffix('.tar.zst')}.part.tar.zst")
        keyring = [f"--keyring={_KEYRING}"] if _KEYRING.exists() else []
        argv = [
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(image.packages)}"),
            *keyring,
            *('--aptopt=Acquire::Languages "none"', "--aptopt=Acquire::Retries 3"),
            "--dpkgopt=force-unsafe-io",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED),
            f"--customize-hook={_SCRIPT}",
            *(image.suite, str(part), image.mirror),
        ]
        try:
            run(argv, seconds=900)
            part.replace(archive)
        finally:
            part.unlink(missing_ok=True)
        _prune(archive)
    return True


def _prune(used: Path) -> None:
    """Images that no lab has used for two months go."""
    oldest = time.time() - _KEEP_SECONDS
    for path in used.parent.glob("*.tar.zst"):
        if path != used and path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def import_(lxc: Lxc, image: Image, shared: str, folder: Path) -> None:
    """Given an image in the cache, put it into LXD. `folder` is for a file that is gone after this."""
    archive = image.archive
    os.utime(archive)
    description = f"maw's lab, {shared}"
    for one in lxc.query("/1.0/images?recursion=1"):
        # An import that was killed leaves an image without the name that it should get.
        if one["properties"].get("description") == description and not one["aliases"]:
            lxc("image", "delete", one["fingerprint"])
    # The prefix is in it, so that LXD holds each lab's image as one of its own; and so is a random word,
    # for the daemon may still be at the import of one that was killed a moment ago.
    properties = {"description": description, "os": "debian", "release": image.suite}
    metadata = {
        "architecture": platform.machine(),
        "creation_date": int(archive.stat().st_mtime),
        "properties": {**properties, "attempt": secrets.token_hex(8)},
    }
    data = json.dumps(metadata).encode()
    entry = tarfile.TarInfo("metadata.yaml")
    entry.size = len(data)
    path = folder / "metadata.tar"
    try:
        with tarfile.open(path, "w") as tar:
            tar.addfile(entry, io.BytesIO(data))
        lxc("image", "import", path, archive, "--alias", image.alias(shared), "--quiet", seconds=300)
    finally:
        path.unlink(missing_ok=True)
