"""Where maw's playbooks and roles are: in the source tree, or inside the installed package."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from maw.errors import ContentMissing

PACKAGED = Path(__file__).resolve().parent / "content"
# The parent of the package: the source tree, if it is one.
SOURCE = Path(__file__).resolve().parents[2]
# Playbooks that provision a machine wholly, and the groups that each is for.
WHOLE = ("site", "core", "satellite")
GROUPS = {
    "site": ("core", "proxmox", "windows", "satellites"),
    "core": ("core", "proxmox"),
    "satellite": ("windows", "satellites"),
    "keys": ("core", "proxmox", "windows", "satellites"),
    "remove": ("core", "proxmox", "windows", "satellites"),
}


@dataclass(frozen=True)
class Content:
    """The folder that holds `playbooks/`, `roles/` and `requirements.yml`."""

    folder: Path

    @property
    def playbooks(self) -> Path:
        """Folder of the playbooks."""
        return self.folder / "playbooks"

    @property
    def roles(self) -> Path:
        """Folder of the roles."""
        return self.folder / "roles"

    @property
    def requirements(self) -> Path:
        """The file that names the collections."""
        return self.folder / "requirements.yml"

    def playbook(self, name: str) -> Path:
        """Given a playbook's name without `.yml`, return its path. Raise ContentMissing."""
        path = self.playbooks / f"{name}.yml"
        if not path.is_file():
            raise ContentMissing(what=f"{name}.yml", path=self.playbooks)
        return path

    def digest(self) -> str:
        """Return a hash of all playbooks and roles: another one means that machines are due again."""
        found = hashlib.sha256()
        for folder in (self.playbooks, self.roles):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    data = path.read_bytes()
                    name = path.relative_to(self.folder).as_posix()
                    found.update(f"{name}\0{len(data)}\0".encode("utf-8", "surrogateescape") + data)
        return found.hexdigest()[:16]


def find() -> Content:
    """Return maw's playbooks and roles, those inside the package first. Raise ContentMissing."""
    places = (PACKAGED, SOURCE)
    for folder in places:
        if (folder / "playbooks").is_dir() and (folder / "roles").is_dir():
            return Content(folder)
    raise ContentMissing(what="The folder", path=" or ".join(str(place) for place in places))
