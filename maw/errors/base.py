"""The root of all errors, and those of the command line, the settings and files."""

from __future__ import annotations

import inspect
from typing import ClassVar


class MawError(Exception):
    """{reason}"""

    exit_code: ClassVar[int] = 1

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__(facts)

    def __str__(self) -> str:
        template = inspect.cleandoc(type(self).__doc__ or "{reason}").replace("\n", " ")
        return template.format(**{key: printable(value) for key, value in self.facts.items()})

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.facts))


def _rebuild(kind: type[MawError], facts: dict[str, object]) -> MawError:
    return kind(**facts)


def printable(value: object) -> str:
    """Given any value, return it as one line of text that a terminal cannot be tricked by.

    Control characters, line breaks, bidirectional overrides and undecodable bytes
    (surrogates) are shown as escapes; Thai, emoji and other printable text stay as they are.
    """
    return "".join(
        character
        if character.isprintable() or character in _JOINERS
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in str(value)
    )


# Zero-width joiner and non-joiner are not "printable" to Python, yet emoji and scripts need them.
_JOINERS = "\u200c\u200d"


class SomeNodesDown(MawError):
    """{done} of {total} machines answered; these are expected to, and did not: {names}. Their lines above say
    why; `cutter doctor NAME` looks at each step of the way."""


class Misuse(MawError):
    """{reason}"""

    exit_code = 2


class UnknownEngine(Misuse):
    """There is no engine called {name}. Did you mean {nearest}? The engines are: {known}."""


class UnknownHost(Misuse):
    """There is no host called {name} in {inventory}. The hosts are: {known}.
    Add it to the inventory, or name one of these."""


class NotThereYet(Misuse):
    """{what} is not built yet in this version of maw. Until then: {instead}."""


class NoDocuments(Misuse):
    """There is nothing to read in {where}. Name files, folders or URLs that hold text
    (txt, md, html, pdf, docx), or `-` for standard input."""


class PartialSuccess(MawError):
    """{done} of {total} documents are done, {failed} failed: {reasons}.
    Mend what the lines above name and run the same command again: what is done is not done twice."""

    exit_code = 3


class NothingSucceeded(MawError):
    """None of {total} documents could be done: {reasons}.
    Mend what the lines above name and run the same command again."""

    exit_code = 4


class DoctorFoundProblems(MawError):
    """{failed} of {total} steps on the way to {host} failed, the first is: {first}. Do what the line under it
    says, then run `cutter doctor {host}` again."""

    exit_code = 5


class Interrupted(MawError):
    """Interrupted{after}. Run the same command again to go on: what is done is not done twice."""

    exit_code = 130


class ConfigError(MawError):
    """{path}: {reason}. Mend that file, or write a fresh one with `maw init`."""

    exit_code = 10


class UnknownSetting(ConfigError):
    """{path}: there is no setting {name}. Did you mean {nearest}? `maw init` writes a file that lists
    them all."""


class InvalidSetting(ConfigError):
    """{path}: {name} must be {wanted}, not {found}. Mend that line."""


class InventoryError(MawError):
    """The inventory {path} cannot be used: {reason}. Check it with
    `ansible-inventory -i {path} --list`."""

    exit_code = 11


class FileError(MawError):
    """{path}: {reason}. Check the path and its permissions."""

    exit_code = 12


class CannotRead(FileError):
    """Cannot read {path}: {reason}. Check the path and its permissions."""


class CannotWrite(FileError):
    """Cannot write {path}: {reason}. Nothing was changed there; check the path and its permissions."""


class DiskFull(FileError):
    """No space is left for {path} on {where}. Nothing half-written was kept; free some space and run the
    same command again."""

    exit_code = 13
