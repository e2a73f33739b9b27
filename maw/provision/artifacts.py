"""What is kept of a run, in the workspace: what was asked, what happened, what came of it."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

from maw import files
from maw.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maw.provision.events import Seen

# Runs that are kept.
MOST = 20
_NAME = re.compile(r"\d{8}T\d{6}Z-[a-z]+(?:-\d+)?")


class Artifacts:
    """The folder of one run: `run.json`, `events.jsonl`, and at the end `report.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Why something of it could not be written. The run goes on: to break it off would do more harm.
        self.failure: FileError | None = None
        self._events: IO[str] | None = None

    def add(self, one: Seen) -> None:
        """Given what happened, write it down."""
        if self.failure is not None:
            return
        kept = {name: value for name, value in asdict(one).items() if value}
        path = self.folder / "events.jsonl"
        try:
            if self._events is None:
                self._events = path.open("a", encoding="ascii")
                path.chmod(0o600)
            self._events.write(json.dumps(kept) + "\n")
            self._events.flush()
        except OSError as error:
            self.failure = files.translate(error, path)

    def close(self) -> None:
        """No more events come."""
        try:
            if self._events is not None:
                self._events.close()
        except OSError as error:
            self.failure = self.failure or files.translate(error, self.folder)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Given the report, write it."""
        try:
            files.write_atomically(self.folder / "report.json", json.dumps(report, indent=1), mode=0o600)
        except FileError as error:
            self.failure = self.failure or error


def begin(parent: Path, playbook: str, asked: Mapping[str, Any]) -> Artifacts:
    """Given the folder of runs, make that of a new one and remove the oldest. Raise FileError."""
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{playbook}"
    try:
        folder = _make(parent, name)
        files.write_atomically(folder / "run.json", json.dumps(asked, indent=1), mode=0o600)
        for old in runs(parent)[:-MOST]:
            shutil.rmtree(old)
    except OSError as error:
        raise files.translate(error, parent) from error
    except FileError:
        # The error that is raised is the one to tell.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Artifacts(folder)


def _make(parent: Path, name: str) -> Path:
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def runs(parent: Path) -> list[Path]:
    """Given the folder of runs, return those of single runs, oldest first."""
    found = [path for path in parent.iterdir() if _NAME.fullmatch(path.name) and not path.is_symlink()]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
