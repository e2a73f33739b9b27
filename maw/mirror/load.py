"""Moves an archive from its source into a new instance's tree, and proves that it arrived.

One pass: the stream is read once, checked member by member, and sent on; its manifest is made on the
way. The tree's own manifest is made on the far side as soon as tar is done.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from maw.errors import (
    ArchiveIncomplete,
    DiskFull,
    LinkLost,
    LxdError,
    MawError,
    MirrorDiffers,
    MirrorError,
    NotAnArchive,
    UnsafeArchive,
)
from maw.mirror import manifest
from maw.mirror.sending import Send
from maw.mirror.sources import stop_channel
from maw.mirror.tar_stream import CONFIG, TarStream

if TYPE_CHECKING:
    from pathlib import Path

    from maw.mirror.manifest import Comparison
    from maw.mirror.model import Progress
    from maw.mirror.site import Site
    from maw.mirror.sources import Source
    from maw.transport.base import Channel

_TAR_FULL = "No space left on device"
# A sparse file may take that much more on the mirror's disk, for other blocks and for its map.
_SPARSE_SLACK = 1 << 20
_REPORT_SECONDS = 0.2


@dataclass
class Reading:
    """A source that is being read: its stream is checked, its lines go to a file of `folder`."""

    source: Source
    folder: Path
    stream: TarStream = field(init=False)
    held: list[bytes] = field(default_factory=list)
    lines: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        # Closed by `close`.
        self.lines = (self.folder / "archive.lines").open("wb")
        self.stream = TarStream(self.source.name, self.lines.write)

    def config(self) -> bytes:
        """Read up to the container's config, which comes first, and return it. Raise NotAnArchive."""
        while self.stream.found.config is None:
            data = self.source.read()
            if not data:
                self.source.finish(self.stream.total)
                self.stream.finish()
            self.held += [bytes(piece) for piece in self.stream.feed(data)]
            first = self.stream.found.first
            if (first and first != CONFIG) or (not data and self.stream.found.config is None):
                raise NotAnArchive(
                    name=self.source.name, reason="it does not begin with a container's config"
                )
        if not self.stream.found.config:
            raise NotAnArchive(name=self.source.name, reason="the container's config in it is empty")
        return self.stream.found.config

    def finish(self) -> None:
        """After the last byte: raise ArchiveIncomplete unless all says that it was whole."""
        self.lines.flush()
        self.source.finish(self.stream.total)
        self.stream.finish()

    def close(self) -> None:
        """Let go of the source, wherever it stands."""
        self.lines.close()
        self.source.stop()


class Watch:
    """Ends a transfer in which nothing has moved for too long. A context manager."""

    def __init__(self, source: Source, channel: Channel, seconds: float, waiting_seconds: float) -> None:
        self.expired = False
        self._source, self._channel = source, channel
        self.seconds, self._waiting = seconds, waiting_seconds
        self._last = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def moved(self) -> None:
        """Something moved."""
        self._last = time.monotonic()

    def _run(self) -> None:
        while not self._over.wait(1.0):
            limit = self._waiting if self._source.waiting() else self.seconds
            if time.monotonic() - self._last > limit:
                self.expired = True
                self._source.interrupt()
                self._channel.stop()
                return

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=30)


@dataclass(frozen=True)
class Loaded:
    """What came of a load that was proven."""

    manifest: Path
    comparison: Comparison
    transfer_seconds: float
    verify_seconds: float


def load(
    reading: Reading,
    site: Site,
    name: str,
    *,
    lock: str,
    compress: bool,
    silence_seconds: float,
    waiting_seconds: float,
    progress: Progress,
) -> Loaded:
    """Given an archive that is being read and an empty instance, fill and compare it.

    Raise ArchiveIncomplete, UnsafeArchive, MirrorDiffers, DiskFull, LinkLost, LxdError or MirrorError.
    """
    started = time.monotonic()
    stderr: list[bytes] = []
    facts = {"root": site.root(name), "lock": lock, "compressed": compress}
    channel = site.far.open("load", facts, stderr.append, stdin=True)
    listing = Listing(channel, reading.folder / "tree.lines")
    try:
        with Watch(reading.source, channel, silence_seconds, waiting_seconds) as watch:
            _watched(reading, channel, listing, watch, progress, compress=compress)
            transferred = time.monotonic()
            progress.stage("comparing")
            listing.join()
            channel.finish()
    except BaseException:
        stop_channel(channel)
        listing.join()
        raise
    if listing.first is not None and listing.first.get("status"):
        # What tar stumbled over may have a name; else what tar says must do.
        reading.lines.flush()
        _source_manifest(reading)
    listing.check(site, reading.source.name, b"".join(stderr))
    progress.stage("comparing")
    compared = _compare(reading, site, name, listing)
    return Loaded(
        reading.folder / "archive.manifest", compared, transferred - started, time.monotonic() - transferred
    )


def _watched(
    reading: Reading, channel: Channel, listing: Listing, watch: Watch, progress: Progress, *, compress: bool
) -> None:
    """Move the stream; of a transfer that was given up say that, and not what came of ending it."""
    try:
        _pump(reading, channel, listing, watch, progress, compress=compress)
    except (MawError, OSError) as error:
        if watch.expired:
            raise _silent(reading, watch.seconds) from error
        raise
    if watch.expired:
        raise _silent(reading, watch.seconds)


def _silent(reading: Reading, seconds: float) -> MirrorError:
    return MirrorError(
        name=reading.source.name,
        reason=f"nothing moved for {seconds:.0f} s, so the transfer was given up",
        step="Check both machines, or raise mirror.silence_seconds in maw.toml",
    )


def _pump(
    reading: Reading, channel: Channel, listing: Listing, watch: Watch, progress: Progress, *, compress: bool
) -> None:
    """Move the stream. An end of tar on the far side is told by its own words, not as a broken pipe."""
    send = Send(channel, compress=compress)
    try:
        _copy(reading, send, watch, progress)
        send.close()
    except (BrokenPipeError, LinkLost) as error:
        send.kill()
        # The far side ended first, and says why; else it was the link.
        listing.join()
        if listing.first is None:
            if isinstance(error, LinkLost):
                raise
            channel.finish()
        return
    except BaseException:
        send.kill()
        raise
    reading.finish()
    channel.end_input()


def _copy(reading: Reading, send: Send, watch: Watch, progress: Progress) -> None:
    source, stream = reading.source, reading.stream
    for piece in reading.held:
        send(piece)
    reading.held.clear()
    told = 0.0
    while data := source.read():
        for view in stream.feed(data):
            send(view)
        watch.moved()
        now = time.monotonic()
        if now - told > _REPORT_SECONDS:
            told = now
            done = source.position() or stream.total
            progress.moved(done, source.size, stream.total, stream.found.members)
    progress.moved(source.position() or stream.total, source.size, stream.total, stream.found.members)


class Listing(threading.Thread):
    """Takes what the far side says: how tar ended, the lines of the tree, and that they are all."""

    def __init__(self, channel: Channel, path: Path) -> None:
        super().__init__(daemon=True)
        self.first: dict[str, Any] | None = None
        self.whole = False
        self.path = path
        self._channel = channel
        self._failure: Exception | None = None
        self.start()

    def run(self) -> None:
        """Write the lines to the file; the last one says whether the listing is whole."""
        tail = b""
        try:
            with self.path.open("wb") as lines:
                while data := self._channel.receive():
                    tail += data
                    if self.first is None:
                        if b"\n" not in tail:
                            continue
                        head, _, tail = tail.partition(b"\n")
                        self.first = json.loads(head)
                    # The last line is held back: it may be the one that ends the listing.
                    cut = tail.rfind(b"\n", 0, len(tail) - 1) + 1
                    lines.write(tail[:cut])
                    tail = tail[cut:]
            self.whole = tail == b'{"listed": true}\n'
        except (MawError, OSError, ValueError) as error:
            self._failure = error

    def check(self, site: Site, name: str, stderr: bytes) -> None:
        """Raise what went wrong, if something did."""
        if self.first is None:
            if isinstance(self._failure, MawError):
                raise self._failure
            said = stderr.decode("utf-8", "replace").strip().splitlines()
            reason = said[-1] if said else "its program ended without a word"
            raise LinkLost(host=site.host, reason=reason)
        if "error" in self.first:
            raise site.far.failure(self.first)
        if self.first["status"] != 0:
            raise _tar_failed(site, name, self.first)
        if not self.whole:
            raise LinkLost(host=site.host, reason="the list of the mirror's files was cut off")


def _tar_failed(site: Site, name: str, first: dict[str, Any]) -> MawError:
    said = str(first["said"]).strip().splitlines()
    if _TAR_FULL in first["said"]:
        return DiskFull(path=f"the mirror of {name}", where=site.host)
    shown = next((line for line in said if "Exiting with failure" not in line), "it said nothing")
    if "hard link" in first["said"].lower():
        return UnsafeArchive(name=name, reason=f"a hard link that cannot be ({shown})")
    if first["status"] < 0:
        return LinkLost(host=site.host, reason=f"tar there was killed by signal {-first['status']}")
    if "Unexpected EOF" in first["said"] or "unexpected end" in first["said"].lower():
        return ArchiveIncomplete(name=name, reason=shown, step="Run it again")
    return LxdError(host=site.host, reason=f"tar there says: {shown}", step="Mend that and run this again")


def _compare(reading: Reading, site: Site, name: str, listing: Listing) -> Comparison:
    folder, found = reading.folder, reading.stream.found
    source, mirror = _source_manifest(reading), folder / "tree.manifest"
    manifest.of_tree(listing.path, mirror)
    result = manifest.compare(source, mirror)
    for difference in _sparse(site, name, found.sparse):
        result.add(difference)
    if result.count:
        first = result.first[0]
        step = "Nothing of it was kept. Run it again; if it stays so, report it with these lines"
        shown = f"{first.path} ({first.what}: {first.source} and {first.mirror})"
        raise MirrorDiffers(name=name, count=result.count, first=shown, step=step)
    return result


def _source_manifest(reading: Reading) -> Path:
    target = reading.folder / "archive.manifest"
    links, name = reading.stream.found.links, reading.source.name
    manifest.of_archive(reading.folder / "archive.lines", links, target, name)
    return target


def _sparse(site: Site, name: str, sparse: dict[bytes, int]) -> list[manifest.Difference]:
    """Return the files that took their holes for data on the way."""
    if not sparse:
        return []
    answer = site.far.call("allocated", {"root": site.root(name), "paths": [path.hex() for path in sparse]})
    return [
        manifest.Difference(path.decode("utf-8", "replace"), "holes", str(data), str(answer[path.hex()]))
        for path, data in sparse.items()
        if int(answer[path.hex()]) > data + data // 8 + _SPARSE_SLACK
    ]
