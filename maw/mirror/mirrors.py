"""The mirrors that are there: listing them, and comparing one with its source's manifest again."""

from __future__ import annotations

import datetime
import gzip
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from maw.errors import LxdError, MirrorDiffers, UnknownMirror
from maw.files import sha256_of
from maw.mirror import load, manifest, plan, run
from maw.mirror.model import Checked, Mirror

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maw.mirror.model import Progress
    from maw.mirror.plan import Instance
    from maw.mirror.site import Site


def mirrors(instances: Iterable[Instance], host: str, now: datetime.datetime) -> list[Mirror]:
    """Given all instances of a host, return its mirrors; what a cut-off sync left is `unfinished`."""
    return [
        _mirror(one, host, now)
        for one in sorted(instances, key=lambda one: one.name)
        if one.owner and one.name in (one.owner, one.owner + plan.NEW, one.owner + plan.OLD)
    ]


def _mirror(one: Instance, host: str, now: datetime.datetime) -> Mirror:
    def word(key: str) -> str:
        return one.config.get(f"user.maw.{key}", "")

    def number(key: str) -> int:
        return int(word(key)) if word(key).isdecimal() else 0

    age = None
    try:
        age = int((now - datetime.datetime.fromisoformat(word("taken"))).total_seconds())
    except (ValueError, TypeError):
        # Not loaded to its end: it was taken at no time.
        age = None
    try:
        losses = json.loads(word("losses") or "[]")
    except ValueError:
        losses = [{"key": "losses", "value": "", "why": "what it says of its losses cannot be read"}]
    return Mirror(
        name=one.name,
        host=host,
        source=word("source"),
        vmid=number("vmid") or None,
        generation=one.generation,
        taken=word("taken"),
        age_seconds=age,
        verified=word("verified"),
        bytes=number("bytes"),
        files=number("files"),
        running=one.running,
        started=word("started") or None,
        unfinished=one.name != one.owner or not one.ready,
        losses=losses,
    )


def find(site: Site, word: str) -> Instance:
    """Given a container's number or a mirror's name, return the mirror, put in order if a kill left it so.

    Raise UnknownMirror or NotOurs.
    """
    instances = site.instances()
    owners = {one.owner: one for one in instances if one.owner}
    by_number = [one.owner for one in owners.values() if one.config.get("user.maw.vmid") == word]
    name = by_number[0] if by_number and word not in owners else word
    if name not in owners and f"mirror-{word}" in owners:
        # From an archive whose name says the number.
        name = f"mirror-{word}"
    if name not in owners:
        known = ", ".join(sorted(owners)) or "none"
        raise UnknownMirror(name=word, host=site.host, known=known)
    there = plan.trio(instances, name, site.host)
    if there.current is None:
        # A swap was cut off: what it would have ended with.
        with run.locked(site, name):
            site.do(plan.settle(name, site.trio(name)))
            there = site.trio(name)
    if there.current is None:
        raise UnknownMirror(name=word, host=site.host, known=", ".join(sorted(owners)) or "none")
    return there.current


def fetch(site: Site, instance: str, name: str, target: Path) -> None:
    """Given an instance and a file kept beside its tree, write it to `target`. Raise LxdError."""
    stderr: list[bytes] = []
    facts = {"volume": site.volume(instance), "name": name}
    channel = site.far.open("fetch", facts, stderr.append, stdin=False)
    head = b""
    while b"\n" not in head and (data := channel.receive()):
        head += data
    first, _, rest = head.partition(b"\n")
    with target.open("wb") as file:
        file.write(rest)
        while data := channel.receive():
            file.write(data)
    ending = channel.finish()
    site.far.answer(first + b"\n", b"".join(stderr), ending)


def verify(site: Site, one: Instance, *, work: Path, progress: Progress, kept: str | None) -> Checked:
    """Given a mirror, list its tree and compare it with its source's manifest.

    `kept` is what this machine wrote down of the manifest when it was made (None: nothing). Raise
    MirrorDiffers if the manifest itself is not that one, LxdError or TransportError.
    """
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=work) as name:
        folder = Path(name)
        progress.stage("fetching the manifest")
        source, edited = _kept(site, one, folder, kept)
        progress.stage("listing the mirror")
        _list(site, one, folder / "tree.lines")
        progress.stage("comparing")
        manifest.of_tree(folder / "tree.lines", folder / "tree.manifest")
        edits: dict[str, str | None] = json.loads(edited)

        def expected(path: str, line: bytes | None) -> bytes | None:
            if path not in edits:
                return line
            text = edits[path]
            return None if text is None else bytes.fromhex(text)

        result = manifest.compare(source, folder / "tree.manifest", expected)
    return Checked(
        name=one.name,
        host=site.host,
        paths=result.paths,
        count=result.count,
        differences=result.first,
        started=one.config.get(plan.STARTED),
        verified=run.now(),
    )


def _kept(site: Site, one: Instance, folder: Path, kept: str | None) -> tuple[Path, bytes]:
    """Return the source's manifest and what was edited, both as they were when the mirror was made."""
    packed, source = folder / "manifest.gz", folder / "archive.manifest"
    fetch(site, one.name, run.MANIFEST_FILE, packed)
    fetch(site, one.name, run.EDITS_FILE, folder / "edits")
    try:
        with gzip.open(packed, "rb") as plain, source.open("wb") as target:
            shutil.copyfileobj(plain, target, 1 << 20)
    except (OSError, EOFError) as error:
        raise LxdError(
            host=site.host, reason=f"the manifest of {one.name} is damaged ({error})", step="Sync it anew"
        ) from error
    edited = (folder / "edits").read_bytes()
    wanted = kept or one.config.get(plan.MANIFEST, "")
    if manifest.hash_of(source) != wanted or sha256_of(edited) != one.config.get(run.EDITED):
        raise MirrorDiffers(
            name=one.name,
            count=1,
            first="its manifest is not the one that was made when it was synced",
            step="Sync it anew, and find out who changed it",
        )
    return source, edited


def _list(site: Site, one: Instance, path: Path) -> None:
    stderr: list[bytes] = []
    facts = {"root": site.root(one.name), **site.ids(one.name)}
    channel = site.far.open("list", facts, stderr.append, stdin=False)
    listing = load.Listing(channel, path)
    listing.join()
    channel.finish()
    listing.check(site, one.name, b"".join(stderr))
