"""A backup job: what vzdump says and does from its lock to its last line."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from . import options
from .archive import InterruptedBySignalError
from .guest import Run
from .state import Node, PveError

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK = "/var/run/vzdump.lock"


class LockedError(Exception):
    """Another vzdump holds the node's lock, and nobody waits for it."""


class Job:
    """One run of vzdump, for one guest or several."""

    def __init__(
        self,
        node: Node,
        params: dict,
        say: Callable[[str], None],
        allowed: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.node = node
        self.params = params
        self._say = say
        self._allowed = allowed
        self._folder = self._find_folder()
        self._lock: BinaryIO | None = None

    def _find_folder(self) -> Path:
        given = self.params.get("dumpdir")
        if given:
            if not Path(given).is_dir():
                raise PveError(f"dumpdir '{given}' does not exist")
            return Path(given)
        name = self.params.get("storage", "local")
        try:
            contents = self.node.contents(name)
        except PveError as error:
            beginning = f"could not activate storage '{name}': {error.text}"
            raise PveError(
                f"{beginning}\ncould not get storage information for '{name}': {error.text}"
            ) from None
        if "backup" not in contents:
            problem = f"can't use storage '{name}' for backups - wrong content type"
            raise PveError(f"could not get storage information for '{name}': {problem}")
        return self.node.dump_folder(name)

    def run(self) -> None:
        """Back up each guest. Raise PveError("job errors") if one failed."""
        self._take_lock()
        self._say(f"INFO: starting new backup job: {options.describe(self.params)}")
        given = self.params["vmid"]
        vmids = sorted(int(vmid) for vmid in given) if given else self.node.guests("lxc")
        if not given:
            vmids = [vmid for vmid in vmids if self._allowed(vmid)]
        for vmid in vmids:
            if not self._allowed(vmid) and vmid in self.node.guests("lxc") + self.node.guests("qemu"):
                raise PveError(f"403 Permission check failed (/vms/{vmid}, VM.Backup)")
        failed = [vmid for vmid in vmids if not self._back_up(vmid)]
        if failed:
            self._say("INFO: Backup job finished with errors")
            raise PveError("job errors")
        self._say("INFO: Backup job finished successfully")

    def _take_lock(self) -> None:
        minutes = int(self.params.get("lockwait", 180))
        deadline = time.monotonic() + minutes * 60
        self._lock = (self.node.folder / "lock").open("ab")
        os.set_inheritable(self._lock.fileno(), True)
        if self._try_lock():
            return
        if not minutes:
            self._say(f"ERROR: can't acquire lock '{LOCK}' (wait = 0)")
            raise LockedError
        self._say("INFO: trying to get global lock - waiting...")
        while not self._try_lock():
            if time.monotonic() > deadline:
                self._say(f"ERROR: can't acquire lock '{LOCK}' - got timeout")
                raise LockedError
            time.sleep(0.05)
        self._say("INFO: got global lock")

    def _try_lock(self) -> bool:
        if self._lock is None or self.node.fault("lock-held") is not None:
            return False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _back_up(self, vmid: int) -> bool:
        run = Run(self, vmid)
        try:
            run.go()
        except PveError as error:
            run.say(f"ERROR: Backup of VM {vmid} failed - {error.text}")
        except InterruptedBySignalError:
            run.say(f"ERROR: Backup of VM {vmid} failed - interrupted by signal")
        else:
            return True
        finally:
            run.keep_log()
        self._say(f"INFO: Failed at {time.strftime('%Y-%m-%d %H:%M:%S')}")
        return False

    @property
    def folder(self) -> Path:
        """Where archives and logs are written."""
        return self._folder

    def say(self, line: str) -> None:
        """Write a line of the job's log."""
        self._say(line)
