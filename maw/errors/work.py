"""Errors of documents, of offloaded work, of models and of the soul."""

from __future__ import annotations

from maw.errors.base import MawError


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
