"""The archive of a container: GNU tar with the flags of vzdump, and what comes after it in the pipe."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from . import options, throttle
from .state import Node, PveError

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIXES = {"0": "tar", "gzip": "tar.gz", "1": "tar.lzo", "lzo": "tar.lzo", "zstd": "tar.zst"}
_COMPRESSORS = {
    "gzip": ["gzip", "--rsyncable"],
    "1": ["lzop"],
    "lzo": ["lzop"],
    "zstd": ["zstd", "--threads=1"],
}
_FULL = {
    "tar": ("tar: -: Cannot write: No space left on device\ntar: Error is not recoverable: exiting now\n", 2),
    "gzip": ("\ngzip: stdout: No space left on device\n", 1),
    "lzop": ("lzop: No space left on device: <stdout>\n", 1),
    "zstd": ("zstd: error 70 : Write error : cannot write block : No space left on device \n", 70),
}
_COMMON = [
    "--totals",
    "--one-file-system",
    "-p",
    "--sparse",
    "--numeric-owner",
    "--acls",
    "--xattrs",
    "--xattrs-include=user.*",
    "--xattrs-include=security.capability",
    "--warning=no-file-ignored",
    "--warning=no-xattr-write",
]
_STANDARD_EXCLUDES = ["/tmp/?*", "/var/tmp/?*", "/var/run/?*.pid"]


class InterruptedBySignalError(Exception):
    """vzdump was told to end."""


@dataclass(frozen=True)
class Plan:
    """What goes into an archive, and through what."""

    temporary: Path
    root: Path
    volumes: tuple[tuple[Path, str], ...]
    unprivileged: bool
    excludes: tuple[str, ...]
    compress: str
    bandwidth: int
    copied: bool

    @property
    def wrapper(self) -> list[str]:
        """What enters the container's user namespace: it is only shown, the ids are right without it."""
        mapping = ["-m", "u:0:100000:65536", "-m", "g:0:100000:65536", "--"]
        return ["lxc-usernsexec", *mapping] if self.unprivileged else []

    def tar(self, *, shown: bool) -> list[str]:
        """Return the command of tar: the one that Proxmox VE shows, or the one that is run here."""
        anchored = [f"--exclude=.{path}" for path in self.excludes if path.startswith("/")]
        loose = [f"--exclude={path}" for path in self.excludes if not path.startswith("/")]
        found = ["--exclude=lost+found"] if self.unprivileged or self.copied else []
        command = ["tar", "cpf", "-", *_COMMON, "--one-file-system", "--warning=no-file-ignored"]
        command += [f"--directory={self.temporary}", "./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw"]
        command += [f"--directory={self.root}", "--no-anchored", *found, *loose, "--anchored", *anchored]
        command.append("." if self.copied else "./")
        for folder, path in self.volumes:
            command += [f".{path}"] if shown else [f"--directory={folder}", f".{path}"]
        return command

    def shown(self) -> str:
        """Return the whole pipe as Proxmox VE words it when it failed."""
        stages = [[*self.wrapper, *self.tar(shown=True)]]
        if self.bandwidth:
            stages.append(["cstream", "-t", str(self.bandwidth * 1024)])
        if self.compress != "0":
            stages.append(_COMPRESSORS[self.compress])
        return "set -o pipefail && " + " | ".join(
            " ".join(options.shell_quote(word) for word in stage) for stage in stages
        )


def excludes(params: dict) -> tuple[str, ...]:
    """Return the patterns that a backup leaves out."""
    standard = _STANDARD_EXCLUDES if options.is_set(params, "stdexcludes", "1") else []
    return (*standard, *params.get("exclude-path", []))


class Pipe:
    """A pipe of programs that runs: tar, perhaps a throttle, perhaps a compressor."""

    def __init__(self, node: Node, plan: Plan, output: BinaryIO) -> None:
        self._plan = plan
        self._output = output
        self._processes: list[subprocess.Popen[bytes]] = []
        self._hidden = (node.fault("unreadable-file") or "").lstrip("./")
        self._rate = int(node.fault("slow") or 0) or plan.bandwidth * 1024
        self._kill_after = int(node.fault("kill-tar-after-bytes") or 0)
        full = node.fault("disk-full")
        self._full_after = max(1, int(full or 1)) if full is not None else 0

    def run(self, log: Callable[[str], None]) -> None:
        """Run to the end; pass each line of standard error on. Raise PveError if the pipe failed."""
        reading, writing = os.pipe()
        try:
            self._start(writing)
        finally:
            os.close(writing)
        with os.fdopen(reading, "rb") as messages:
            try:
                for line in messages:
                    self._say(line.decode("utf-8", "replace").rstrip("\n"), log)
            except InterruptedBySignalError:
                self._stop()
                raise PveError(self._failed("interrupted by signal")) from None
        why = self._verdict([process.wait() for process in self._processes])
        if self._hidden and why is None:
            log("tar: Exiting with failure status due to previous errors")
            why = "exit code 2"
        if why:
            raise PveError(self._failed(why))

    def _say(self, line: str, log: Callable[[str], None]) -> None:
        if self._hidden and line.startswith("Total bytes written"):
            log(f"tar: ./{self._hidden}: Cannot open: Permission denied")
        log(line)

    def _failed(self, why: str) -> str:
        return f"command '{self._plan.shown()}' failed: {why}"

    def _start(self, errors: int) -> None:
        command = self._plan.tar(shown=False)
        if self._hidden:
            command.insert(command.index("--anchored") + 1, f"--exclude=./{self._hidden}")
        compressed = self._plan.compress != "0"
        throttled = bool(self._rate or self._kill_after)
        last = not compressed and not throttled and not self._full_after
        tar = self._spawn([*_without_names(), *command], None, errors, last=last)
        if throttled:
            limits = [self._rate, self._kill_after, tar.pid, 0]
            last = not compressed and not self._full_after
            self._spawn(_throttle(limits, "", 0), self._processes[-1], errors, last=last)
        if compressed:
            command = _COMPRESSORS[self._plan.compress]
            self._spawn(command, self._processes[-1], errors, last=not self._full_after)
        if self._full_after:
            text, code = _FULL[_COMPRESSORS.get(self._plan.compress, ["tar"])[0]]
            full = _throttle([0, 0, 0, self._full_after], text, code)
            self._spawn(full, self._processes[-1], errors, last=True)

    def _spawn(
        self, command: list[str], before: subprocess.Popen[bytes] | None, errors: int, *, last: bool
    ) -> subprocess.Popen[bytes]:
        given = before.stdout if before else subprocess.DEVNULL
        out = self._output if last else subprocess.PIPE
        # The lock of vzdump stays open in the children: it is held as long as one of them runs.
        process = subprocess.Popen(command, stdin=given, stdout=out, stderr=errors, close_fds=False)
        if before is not None and before.stdout is not None:
            before.stdout.close()
        self._processes.append(process)
        return process

    def _stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def _verdict(self, codes: list[int]) -> str | None:
        """Return why a pipe failed as a shell with pipefail sees it, or None.

        A container's user namespace hides that tar was killed: lxc-usernsexec then ends with 0.
        """
        if codes[0] < 0 and self._plan.unprivileged:
            codes[0] = 0
        if self._kill_after and len(codes) == 2:
            codes = codes[:1]
        if len(codes) == 1 and codes[0] < 0:
            return f"got signal {-codes[0]}"
        failed = [code if code > 0 else 128 - code for code in codes if code]
        return f"exit code {failed[-1]}" if failed else None


@functools.cache
def _without_names() -> list[str]:
    """Return what hides this machine's users from tar.

    GNU tar before 1.35 writes the names of users into ACLs, numeric owners asked or not.
    """
    hide = "mount --bind /dev/null /etc/passwd && mount --bind /dev/null /etc/group; "
    prefix = ["unshare", "--mount", "sh", "-c", hide + 'exec "$@"', "sh"]
    possible = shutil.which("unshare") is not None
    if possible and subprocess.run([*prefix, "true"], capture_output=True, check=False).stderr == b"":
        return prefix
    return []


def _throttle(limits: list[int], text: str, code: int) -> list[str]:
    return [sys.executable, "-I", throttle.__file__, *map(str, limits), text, str(code)]
