"""The ledger: every job that was ever taken on, in SQLite, so that a kill loses nothing.

A job is known by the hash of its input, engine, model and parameters. It is leased while
somebody works on it, then done (with result and extracted text) or failed. Each change is one
transaction in WAL mode: after a kill at any moment it has happened or it has not.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
import zlib
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from maw.errors import DiskFull, LedgerError
from maw.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION = 1
# Seconds after which a lease that nobody renews is free. A lease of a process of this machine
# that is gone is free at once.
LEASE = 120.0
# Seconds to wait for another process that is writing.
BUSY = 30.0
# Seconds for which an unfinished run is taken up again.
DAY = 86_400.0

_SCHEMA = """
CREATE TABLE jobs (
    key TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('leased', 'done', 'failed')),
    owner TEXT NOT NULL,
    lease_until REAL NOT NULL,
    attempts INTEGER NOT NULL,
    source TEXT NOT NULL,
    host TEXT,
    error TEXT,
    result TEXT,
    text_sha256 TEXT,
    created REAL NOT NULL,
    changed REAL NOT NULL
);
CREATE TABLE texts (sha256 TEXT PRIMARY KEY, characters INTEGER NOT NULL, content BLOB NOT NULL);
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    created REAL NOT NULL
);
CREATE INDEX runs_by_key ON runs (key, state);
"""


@dataclass(frozen=True)
class Claim:
    """The answer to a claim: ours to do, done already (with its result), or another's."""

    state: str  # "ours", "done" or "busy"
    result: dict[str, Any] | None = None
    host: str | None = None
    owner: str | None = None


def job_key(*, content: str, engine: str, model: str, parameters: Mapping[str, object]) -> str:
    """Given what a job consists of, return the key that it is known by, 64 hexadecimal digits.

    `content` is the SHA-256 of the input, or for a URL a word that names it and its run.
    """
    return sha256_of(json.dumps([VERSION, content, engine, model, dict(parameters)], sort_keys=True))


def this_owner() -> str:
    """Return a name for this process that no other process ever has: host, pid, start time."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_time(os.getpid())}"


def _start_time(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(") ")[2].split()[19]
    except (OSError, IndexError):
        return "gone"


def is_gone(owner: str) -> bool:
    """Given an owner, return whether it was a process of this machine that has ended."""
    host, pid, started = owner.rsplit(":", 2)
    return host == socket.gethostname() and _start_time(int(pid)) != started


class Ledger:
    """The jobs of one workspace. Raise LedgerError or DiskFull from every method."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = this_owner()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise
        self._closed = threading.Event()
        threading.Thread(target=self._renew, daemon=True).start()

    def _prepare(self) -> None:
        database = self._database
        self._switch_to_wal()
        database.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {VERSION}")
        if version not in (0, VERSION):
            raise LedgerError(path=self.path, reason=f"another version of maw wrote it (format {version})")

    def _switch_to_wal(self) -> None:
        # SQLite does not wait for others when it switches: two first starts at once would fail.
        deadline = time.monotonic() + BUSY
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "disk is full" in str(error):
                raise DiskFull(path=self.path, where="this machine") from error
            raise LedgerError(path=self.path, reason=str(error)) from error
        except OSError as error:
            raise LedgerError(path=self.path, reason=error.strerror or str(error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def claim(self, key: str, source: str) -> Claim:
        """Given a job, take it if it is free: neither done nor in the hands of a living owner."""
        now = time.time()
        with self._transaction() as database:
            row = database.execute(
                "SELECT state, owner, lease_until, result, host FROM jobs WHERE key = ?", (key,)
            ).fetchone()
            if row is not None:
                state, owner, until, result, host = row
                if state == "done":
                    return Claim("done", json.loads(result), host)
                if state == "leased" and owner != self.owner and now < until and not is_gone(owner):
                    return Claim("busy", owner=owner)
            database.execute(
                "INSERT INTO jobs VALUES (?, 'leased', ?, ?, 1, ?, NULL, NULL, NULL, NULL, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET state = 'leased', owner = excluded.owner, "
                "lease_until = excluded.lease_until, attempts = attempts + 1, changed = excluded.changed",
                (key, self.owner, now + LEASE, source, now, now),
            )
        return Claim("ours")

    def finished(self, key: str) -> Claim | None:
        """Given a job's key, return its result if it is done, else None."""
        with self._translated():
            row = self._database.execute(
                "SELECT result, host FROM jobs WHERE key = ? AND state = 'done'", (key,)
            ).fetchone()
        return Claim("done", json.loads(row[0]), row[1]) if row else None

    def _renew(self) -> None:
        """Renew this process's leases until the ledger is closed, over a connection of its own."""
        while not self._closed.wait(LEASE / 4):
            try:
                with closing(sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)) as database:
                    database.execute(
                        "UPDATE jobs SET lease_until = ? WHERE owner = ? AND state = 'leased'",
                        (time.time() + LEASE, self.owner),
                    )
            except sqlite3.Error:
                # At worst a lease runs out and a job is done twice; the next turn tries again,
                # and what is wrong with the file shows at the next real write.
                continue

    def complete(self, key: str, result: Mapping[str, Any], packed: bytes, *, host: str) -> None:
        """Given a checked result and its text (UTF-8, packed by zlib), record the job as done."""
        text_sha256 = result["text_sha256"]
        with self._transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO texts VALUES (?, ?, ?)", (text_sha256, result["characters"], packed)
            )
            database.execute(
                "UPDATE jobs SET state = 'done', result = ?, text_sha256 = ?, host = ?, error = NULL, "
                "changed = ? WHERE key = ?",
                (json.dumps(dict(result)), text_sha256, host, time.time(), key),
            )

    def fail(self, key: str, error: str, *, host: str) -> None:
        """Record that a job failed, and why; the next claim takes it again."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET state = 'failed', error = ?, host = ?, changed = ? WHERE key = ?",
                (error.encode("utf-8", "replace").decode(), host, time.time(), key),
            )

    def text(self, text_sha256: str) -> str:
        """Given the hash of an extracted text, return the text."""
        with self._translated():
            row = self._database.execute(
                "SELECT content FROM texts WHERE sha256 = ?", (text_sha256,)
            ).fetchone()
        if row is None:
            raise LedgerError(path=self.path, reason=f"the text {text_sha256[:12]} is missing")
        return zlib.decompress(row[0]).decode("utf-8", "surrogatepass")

    def open_run(self, key: str) -> str:
        """Given what a command line stands for, return its run.

        That is the unfinished one of the last day whose process is gone, or a new one.
        """
        with self._transaction() as database:
            for identifier, owner in database.execute(
                "SELECT id, owner FROM runs WHERE key = ? AND state = 'open' AND created > ? "
                "ORDER BY created DESC",
                (key, time.time() - DAY),
            ).fetchall():
                if is_gone(owner):
                    database.execute("UPDATE runs SET owner = ? WHERE id = ?", (self.owner, identifier))
                    return str(identifier)
            identifier = os.urandom(8).hex()
            database.execute(
                "INSERT INTO runs VALUES (?, ?, ?, 'open', ?)", (identifier, key, self.owner, time.time())
            )
        return identifier

    def close_run(self, identifier: str) -> None:
        """Record that a run came to its end, so that the same command line starts a new one."""
        with self._transaction() as database:
            database.execute("UPDATE runs SET state = 'closed' WHERE id = ?", (identifier,))

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        with (
            self._translated(),
            closing(self._database.execute("SELECT state, count(*) FROM jobs GROUP BY state")) as rows,
        ):
            return {str(state): int(number) for state, number in rows}

    def close(self) -> None:
        """Give back this process's leases and close the file."""
        self._closed.set()
        try:
            with self._transaction() as database:
                database.execute(
                    "UPDATE jobs SET lease_until = 0 WHERE owner = ? AND state = 'leased'", (self.owner,)
                )
        finally:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
