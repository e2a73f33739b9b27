"""What is to be read: arguments of a command line to files, URLs and standard input."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from maw.errors import Misuse, NoDocuments, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIXES = frozenset({".txt", ".text", ".md", ".markdown", ".html", ".htm", ".xhtml", ".pdf", ".docx"})
JUNK = frozenset({"node_modules", "__pycache__", "site-packages", "venv"})
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True)
class Source:
    """One document to read. `name` is unique among the sources; with `problem`, it cannot be read.

    `url` is the address as given; `name` shows it without user and password.
    """

    name: str
    kind: Literal["file", "url", "stdin"]
    path: Path | None
    problem: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was met and is not read, and why."""

    name: str
    reason: str


def plan_sources(arguments: Sequence[str]) -> tuple[list[Source], list[Skipped]]:
    """Given arguments (`-`, URLs, files, folders), return what to read, in order, and what was skipped.

    Folders are walked in sorted order, without following links to folders; of what they hold, only known
    kinds are taken. A named path is always taken: if it cannot be read, its Source says so. Nothing is
    opened. Raise Misuse if `-` is given twice, and NoDocuments if there is nothing to read.
    """
    plan = _Plan()
    for argument in arguments:
        plan.add(argument)
    if not plan.sources:
        where = ", ".join(arguments[:5]) + (", …" if len(arguments) > 5 else "")
        raise NoDocuments(where=where or "no arguments")
    return plan.sources, plan.skipped


def is_url(argument: str) -> bool:
    """Given an argument, return whether it is an http or https URL."""
    return argument.lower().startswith(("http://", "https://"))


class _Plan:
    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.skipped: list[Skipped] = []
        self._names: set[str] = set()
        self._taken: set[tuple[int, int] | str] = set()

    def add(self, argument: str) -> None:
        if argument == "-":
            if "-" in self._taken:
                raise Misuse(reason="Standard input (`-`) can be read only once. Name `-` once")
            self._taken.add("-")
            self._source(Source("-", "stdin", None))
        elif is_url(argument):
            if argument not in self._taken:
                from maw.text.fetch import without_credentials

                self._taken.add(argument)
                self._source(Source(without_credentials(argument), "url", None, url=argument))
        else:
            self._named(argument)

    def _named(self, argument: str) -> None:
        path = Path(argument)
        if not argument:
            self._source(Source("(empty name)", "file", path, "the name is empty"))
            return
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            self._named_problem(argument, _reason(error))
            return
        if stat.S_ISDIR(status.st_mode):
            self._folder(argument)
        elif stat.S_ISREG(status.st_mode):
            self._file(argument, path, status)
        else:
            self._named_problem(argument, f"it is {_what(status)}, not a regular file")

    def _named_problem(self, argument: str, problem: str) -> None:
        if f"problem:{argument}" not in self._taken:
            self._taken.add(f"problem:{argument}")
            self._source(Source(argument, "file", Path(argument), problem))

    def _folder(self, argument: str) -> None:
        try:
            waiting = _entries(argument)
        except OSError as error:
            self._named_problem(argument, _reason(error))
            return
        before = len(self.sources) + len(self.skipped)
        # A stack, not recursion: folders may nest deeper than Python's calls.
        while waiting:
            shown, entry = waiting.pop()
            try:
                waiting.extend(self._met(shown, entry))
            except OSError as error:
                self.skipped.append(Skipped(printable(shown), _reason(error)))
        if before == len(self.sources) + len(self.skipped):
            self.skipped.append(Skipped(printable(argument), "it holds nothing new to read"))

    def _met(self, shown: str, entry: os.DirEntry[str]) -> list[tuple[str, os.DirEntry[str]]]:
        if entry.name.startswith(".") or (entry.name in JUNK and entry.is_dir()):
            return []
        status = entry.stat()
        if stat.S_ISDIR(status.st_mode):
            if not entry.is_symlink():
                return _entries(shown)
            self.skipped.append(Skipped(printable(shown), "a link to a folder, which is not followed"))
        elif not stat.S_ISREG(status.st_mode):
            reason = f"it is {_what(status)}, not a regular file"
            self.skipped.append(Skipped(printable(shown), reason))
        elif os.path.splitext(entry.name)[1].lower() not in SUFFIXES:  # noqa: PTH122 - no Path a file
            self.skipped.append(Skipped(printable(shown), "not txt, md, html, pdf or docx by its name"))
        else:
            self._file(shown, Path(shown), os.stat(shown))  # noqa: PTH116 - Windows entries lack the inode
        return []

    def _file(self, shown: str, path: Path, status: os.stat_result) -> None:
        identity = (status.st_dev, status.st_ino)
        if identity not in self._taken:
            self._taken.add(identity)
            self._source(Source(shown, "file", path))

    def _source(self, source: Source) -> None:
        base = name = printable(source.name)
        count = 1
        while name in self._names:
            count += 1
            name = f"{base} ({count})"
        self._names.add(name)
        self.sources.append(replace(source, name=name))


def _entries(folder: str) -> list[tuple[str, os.DirEntry[str]]]:
    # The last comes first: the caller takes from the end.
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name, reverse=True)
    return [(os.path.join(folder, entry.name), entry) for entry in entries]  # noqa: PTH118 - keeps `./`


def _what(status: os.stat_result) -> str:
    return next((words for test, words in _KINDS if test(status.st_mode)), "something special")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "the name holds a NUL"
    if error.errno == errno.ENOENT:
        return "there is no such file"
    if error.errno == errno.ELOOP:
        return "its links go in a circle"
    return error.strerror or str(error)
