"""Every error that maw raises, in one tree.

The class docstring is the message (a ``str.format`` template filled from the keyword
arguments), the class carries the exit code, and each message ends with the next step.
Only ``maw.cli`` prints these and picks the exit code.

    MawError (1)
    ├── Misuse (2)
    │   ├── UnknownEngine (2)
    │   ├── UnknownHost (2)
    │   ├── NotThereYet (2)
    │   └── NoDocuments (2)
    ├── SomeNodesDown (1)
    ├── PartialSuccess (3)
    ├── NothingSucceeded (4)
    ├── DoctorFoundProblems (5)
    ├── Interrupted (130)
    ├── ConfigError (10)
    │   ├── UnknownSetting (10)
    │   └── InvalidSetting (10)
    ├── InventoryError (11)
    ├── FileError (12)
    │   ├── CannotRead (12)
    │   ├── CannotWrite (12)
    │   └── DiskFull (13)
    ├── TextError (20)
    │   ├── EmptyDocument (20)
    │   ├── BinaryDocument (20)
    │   ├── DocumentTooLarge (20)
    │   ├── DocumentChanged (20)
    │   ├── NoTextInPdf (20)
    │   ├── DamagedDocument (20)
    │   ├── EncryptedDocument (20)
    │   └── FetchFailed (20)
    ├── OffloadError (30)
    │   ├── WorkerMissing (31)
    │   ├── WorkerDied (32)
    │   ├── ProtocolError (33)
    │   ├── JobTimedOut (34)
    │   └── LedgerError (36)
    ├── ModelError (40)
    │   ├── AnswerRejected (41)
    │   └── EngineUnavailable (42)
    ├── SoulError (50)
    ├── KeysError (60)
    │   ├── KeysWrong (61)
    │   └── RotationUnfinished (62)
    └── TransportError (240)
        ├── HostUnreachable (241)
        │   └── HostSilent (241)
        ├── HostKeyUnknown (242)
        ├── HostKeyChanged (243)
        ├── AuthenticationRefused (244)
        ├── LinkLost (245)
        ├── CommandTimedOut (246)
        ├── CommandNotFound (247)
        └── BridgeFailed (248)

Transport codes start at 240, so that `cutter offload` can hand a remote command's own exit
code (0 to 192, 255) through unchanged.
"""

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


class TextError(MawError):
    """{name}: {reason}. Check that document."""

    exit_code = 20


class EmptyDocument(TextError):
    """{name} holds no text. Leave it out, or check that it was saved."""


class BinaryDocument(TextError):
    """{name} is not text ({found}). maw reads txt, md, html, pdf and docx; convert it first."""


class DocumentTooLarge(TextError):
    """{name} is larger than {limit}. Split it, or raise {setting} in maw.toml."""


class DocumentChanged(TextError):
    """{name} changed while it was being read. Run the same command again when it is at rest."""


class NoTextInPdf(TextError):
    """{name} is a PDF without text ({pages} pages, probably scanned). Run OCR on it first, for
    example `ocrmypdf`."""


class DamagedDocument(TextError):
    """{name} cannot be read as {kind}: {reason}. Open it in the program that made it and save it anew."""


class EncryptedDocument(TextError):
    """{name} is protected by a password. Save a copy without one."""


class FetchFailed(TextError):
    """{name} could not be fetched: {reason}. Open it in a browser to check the address, or save the page
    and give the file."""


class OffloadError(MawError):
    """{host}: {reason}. Check the satellite with `cutter nodes`."""

    exit_code = 30


class WorkerMissing(OffloadError):
    """{host} has no worker ({command} was not found there). Install maw on it, or set maw_worker_command
    for that host in the inventory to where it is."""

    exit_code = 31


class WorkerDied(OffloadError):
    """The worker on {host} ended ({reason}) with {unfinished} jobs unfinished. Run the same command again:
    finished jobs are not repeated."""

    exit_code = 32


class ProtocolError(OffloadError):
    """{host} sent what is not a worker's line: {reason}. Check that both sides run the same version of
    maw and that no login script prints text."""

    exit_code = 33


class JobTimedOut(OffloadError):
    """{name} took longer than {seconds} s on {host} and was stopped. Raise offload.job_timeout in
    maw.toml, or split the document."""

    exit_code = 34


class LedgerError(OffloadError):
    """The ledger {path} cannot be used: {reason}. Move it aside to start afresh (finished jobs will be
    done again)."""

    exit_code = 36


class ModelError(MawError):
    """{engine}: {reason}. Choose another engine with --engine."""

    exit_code = 40


class AnswerRejected(ModelError):
    """The answer of {engine} for {name} was rejected: {reason}. Nothing was recorded as done; run again
    with another --engine."""

    exit_code = 41


class EngineUnavailable(ModelError):
    """The engine {engine} is not available on {host}: {reason}. Choose another with --engine."""

    exit_code = 42


class SoulError(MawError):
    """The soul at {path} cannot be used: {reason}. Check that folder, or make a workspace with
    `maw init`."""

    exit_code = 50


class KeysError(MawError):
    """{path} {reason}. {step}."""

    exit_code = 60


class KeysWrong(KeysError):
    """{problems} must be mended, first: {first}. The lines above name all; mend them and run
    `cutter keys check` again."""

    exit_code = 61


class RotationUnfinished(KeysError):
    """The key {key} is not changed everywhere: {reasons}. {kept}. Mend that and run
    `cutter keys rotate` again, which goes on where it stopped."""

    exit_code = 62


class TransportError(MawError):
    """{host}: {reason}. Check the link with `cutter nodes`."""

    exit_code = 240


class HostUnreachable(TransportError):
    """{host} cannot be reached at {addresses}: {reason}. Check that it is switched on and on the network,
    then `cutter nodes`."""

    exit_code = 241


class HostSilent(HostUnreachable):
    """{host} did not answer within {seconds} s: {reason}. Run `cutter nodes` again, or give it more time:
    `cutter nodes --limit 30`."""


class HostKeyUnknown(TransportError):
    """The host key of {host} is not pinned yet. Read its fingerprint on its own console, then
    `cutter trust {host} --fingerprint SHA256:…`; that of a WSL is read through its pinned Windows:
    `cutter trust {host}`."""

    exit_code = 242


class HostKeyChanged(TransportError):
    """THE HOST KEY OF {host} CHANGED: it now shows {found}, pinned is {pinned}. Nothing was sent. If you
    reinstalled it and the fingerprint is right: `cutter trust {host} --fingerprint {found}`; if not, stop
    here."""

    exit_code = 243


class AuthenticationRefused(TransportError):
    """{host} refused to log in {user}: {reason}. Put this machine's public key into that user's
    authorized_keys there."""

    exit_code = 244


class LinkLost(TransportError):
    """The link to {host} was lost: {reason}. What ran there is stopped; run the same command again when
    it is back."""

    exit_code = 245


class CommandTimedOut(TransportError):
    """{command} took longer than {seconds} s on {host} and {outcome}. Give it more with
    --timeout."""

    exit_code = 246


class BridgeFailed(TransportError):
    """{host} cannot be reached through {windows}: {cause}. {step}. `cutter doctor {host}` looks at each
    step of the way."""

    exit_code = 248


class CommandNotFound(TransportError):
    """{host} has no command {command}. Install it there or give its whole path."""

    exit_code = 247
