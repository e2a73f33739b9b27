"""The `lxc` program, by argument lists, for one daemon."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.errors import LabError
from lab.programs import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# A snap's programs may lie where PATH does not look.
_PLACES = "/usr/bin:/snap/bin:/usr/local/bin"


def program() -> str | None:
    """Return the path of `lxc`, or None if it is not installed."""
    return shutil.which("lxc") or shutil.which("lxc", path=_PLACES)


@dataclass(frozen=True)
class Lxc:
    """LXD as one daemon shows it. `folder` is the daemon's LXD_DIR, `notes` a place for lxc's own files."""

    folder: Path
    notes: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What `lxc` needs to find this daemon, without reading or making files in the user's home."""
        return {"LXD_DIR": str(self.folder), "LXD_CONF": str(self.notes)}

    def __call__(self, *arguments: str | Path, seconds: float = 60, stdin: bytes = b"") -> bytes:
        """Run `lxc` with these arguments, return its output. Raise LabError."""
        path = program()
        if path is None:
            raise LabError("the lxc program is not installed. Run: make lab INSTALL=1")
        return run([path, *arguments], seconds=seconds, stdin=stdin, environment=self.environment)

    def query(self, path: str, *, seconds: float = 20) -> Any:
        """Given a path of LXD's API, return what is there."""
        return json.loads(self("query", path, seconds=seconds))

    def execute(self, instance: str, *command: str, stdin: bytes = b"", seconds: float = 60) -> bytes:
        """Given a running container and a command, return its standard output."""
        words = ("exec", "--mode", "non-interactive", instance, "--", *command)
        return self(*words, seconds=seconds, stdin=stdin)

    def read(self, instance: str, path: str) -> bytes:
        """Given a running container and a file's whole path in it, return the content. Raise LabError.

        Not by `cat`: LXD 5.0 drops the output of a fast command now and then.
        """
        return self("file", "pull", f"{instance}{path}", "-")
