"""One sync, from an archive to a verified mirror in its place."""

from __future__ import annotations

import base64
import contextlib
import datetime
import gzip
import json
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw.errors import LxdError, MawError, MirrorBusy
from maw.files import sha256_of
from maw.mirror import load, manifest, pct, plan
from maw.mirror.edits import Seen, paths, plan_edits
from maw.mirror.mapping import map_config
from maw.mirror.model import Lost, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from maw.mirror.edits import Edit
    from maw.mirror.load import Loaded, Reading
    from maw.mirror.mapping_model import Mapped
    from maw.mirror.model import Progress
    from maw.mirror.pct import Config
    from maw.mirror.site import Site
    from maw.mirror.sources import Source

MANIFEST_FILE, EDITS_FILE, CONFIG_FILE = "maw-manifest.gz", "maw-edits.json", "maw-pct.conf"
EDITED = "user.maw.edited"
# What must not be the same on two machines that run.
IDENTITY = ("etc/machine-id", "var/lib/dbus/machine-id")
# Seconds that another process of ours may hold the lock: what a killed sync left ends within them.
_LOCK_SECONDS = 15.0
# Of the ids inside a container, those that an unprivileged one has.
_IDS = 65535
_PLAIN = 5


@dataclass(frozen=True)
class Wish:
    """What a sync is asked for. `source` says where the bytes are from, for people and records."""

    name: str
    source: str
    vmid: int | None = None
    mode: str | None = None
    privileged: bool = False
    compress: bool = False
    silence_seconds: float = 900.0
    waiting_seconds: float = 10800.0


def sync(site: Site, wish: Wish, begin: Callable[[], Source], *, work: Path, progress: Progress) -> Report:
    """Given a site, a wish and what begins the source, make the mirror or replace it.

    Nothing is begun at the source before the site was found fit. The mirror that was there stays
    startable until the new one is verified. Raise any of the errors of the rooms below; then nothing
    of the new one is left, or the next sync removes it.
    """
    started = time.monotonic()
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(site, wish.name), _scratch(work) as folder:
        there = site.trio(wish.name)
        plan.refuse_running(wish.name, there, site.host)
        steps = plan.settle(wish.name, there)
        if steps:
            progress.stage("clearing what an earlier sync left")
            site.clear(steps)
            there = site.trio(wish.name)
        progress.stage("reading")
        reading = load.Reading(begin(), folder)
        try:
            report = _Sync(site, wish, reading, there, progress).run()
        finally:
            reading.close()
    report.seconds = round(time.monotonic() - started, 3)
    return report


@contextlib.contextmanager
def locked(site: Site, name: str) -> Iterator[None]:
    """Hold the lock of a mirror, on the site itself. Raise MirrorBusy if another has it."""
    with site.far.held(site.lock(name), _LOCK_SECONDS) as held:
        if not held:
            raise MirrorBusy(
                name=name, host=site.host, reason=f"its lock was not free within {_LOCK_SECONDS:.0f} s"
            )
        yield


@contextlib.contextmanager
def _scratch(work: Path) -> Iterator[Path]:
    """A folder for manifests, gone at the end; what killed syncs left goes too after a day."""
    for left in work.glob("sync-*"):
        if time.time() - left.stat().st_mtime > 24 * 3600:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="sync-", dir=work) as folder:
        yield Path(folder)


def read_config(reading: Reading, wish: Wish) -> Config:
    """Given a source that is being read, return the container's config in it. Raise PctConfigError."""
    return pct.parse(reading.config(), f"of {wish.source}")


def now() -> str:
    """Return the time as it stands in records."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass
class _Sync:
    """The driver of one sync: what to do is decided by `plan`, `mapping` and `edits`."""

    site: Site
    wish: Wish
    reading: Reading
    there: plan.Trio
    progress: Progress

    @property
    def _new(self) -> str:
        return self.wish.name + plan.NEW

    def run(self) -> Report:
        """Do it; on any failure the new instance goes."""
        config = read_config(self.reading, self.wish)
        mapped = map_config(
            config,
            self.site.target,
            name=self.wish.name,
            privileged=self.wish.privileged,
            vmid=self.wish.vmid,
        )
        self._create(mapped)
        try:
            loaded = self._load()
            report = self._finish(config, mapped, loaded)
            self.progress.stage("putting it into its place")
            self.site.do(plan.swap(self.wish.name, self.there))
        except BaseException:
            # Whatever hinders this too is in the next sync's way, and is cleared then.
            with contextlib.suppress(MawError, OSError):
                self._abandon()
            raise
        return report

    def _abandon(self) -> None:
        there = self.site.trio(self.wish.name)
        self.site.clear(plan.settle(self.wish.name, there))

    def _create(self, mapped: Mapped) -> None:
        config = {plan.MARK: self.wish.name, plan.STATE: plan.LOADING, "boot.autostart": "false"}
        devices = {name: device for name, device in mapped.devices.items() if device.get("path") == "/"}
        body = {"architecture": mapped.architecture, "profiles": [], "config": config, "devices": devices}
        self.site.lxd.create_empty(self._new, body)

    def _load(self) -> Loaded:
        self.progress.stage("copying")
        return load.load(
            self.reading,
            self.site,
            self._new,
            lock=self.site.lock(self.wish.name),
            compress=self.wish.compress and self.site.unpacks,
            silence_seconds=self.wish.silence_seconds,
            waiting_seconds=self.wish.waiting_seconds,
            progress=self.progress,
        )

    def _finish(self, config: Config, mapped: Mapped, loaded: Loaded) -> Report:
        """Edit the tree, keep the manifest with it, and write down what it is."""
        self.progress.stage("fitting it to its place")
        edits, notes, addresses, lines = fit(self.site, self._new, config, mapped)
        digest, edited = self._keep(config, loaded, lines)
        found = self.reading.stream.found
        report = Report(
            name=self.wish.name,
            host=self.site.host,
            source=self.wish.source,
            generation=self.there.generation + 1,
            vmid=self.wish.vmid,
            bytes=found.data_bytes,
            files=loaded.comparison.paths,
            differences=loaded.comparison.count,
            manifest=digest,
            taken=self._taken(),
            mode=self.wish.mode,
            losses=self._losses(mapped),
            notes=[*(f"{one.key}: {one.text}" for one in (*mapped.notes, *notes)), *self._notes()],
            edits=[one.path for one in edits],
            addresses=dict(addresses),
            replaced=self.there.current is not None,
            transfer_seconds=round(loaded.transfer_seconds, 3),
            verify_seconds=round(loaded.verify_seconds, 3),
        )
        changes = {
            "description": mapped.description,
            "devices": self._devices(mapped, addresses),
            "config": {**mapped.config, **record(report), EDITED: edited},
        }
        self.site.lxd.replace(self._new, changes)
        return report

    def _devices(self, mapped: Mapped, addresses: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """The devices; an address that was written into the guest is kept from others by LXD's own DHCP."""
        bridge = self.site.target.bridge
        devices = {name: dict(device) for name, device in mapped.devices.items()}
        if bridge is not None and bridge.managed and bridge.dhcp:
            for card in mapped.interfaces:
                if addresses.get(card.name) and card.device in devices:
                    devices[card.device]["ipv4.address"] = addresses[card.name].partition("/")[0]
        return devices

    def _losses(self, mapped: Mapped) -> list[Lost]:
        found = self.reading.stream.found
        losses = [Lost(one.key, one.value, one.why) for one in mapped.losses]
        for path, kind, major, minor in found.devices:
            value = f"{'character' if kind == 'c' else 'block'} device {major}:{minor}"
            shown = path.decode("utf-8", "replace")
            losses.append(Lost(shown, value, "device nodes are not made; LXD gives a container its own /dev"))
        if found.device_count > len(found.devices):
            more = found.device_count - len(found.devices)
            losses.append(Lost("device nodes", f"{more} more", "device nodes are not made"))
        return losses

    def _taken(self) -> str:
        """When the source was as it is in the archive."""
        taken = self.reading.source.taken
        if taken is None:
            return now()
        return datetime.datetime.fromtimestamp(taken, datetime.UTC).isoformat(timespec="seconds")

    def _notes(self) -> list[str]:
        notes = list(self.reading.source.notes)
        if self.wish.compress and not self.site.unpacks:
            notes.append(f"zstd is not installed on {self.site.host}, so that the archive was sent as it is")
        found = self.reading.stream.found
        if found.highest_id > _IDS:
            shown = found.highest_path.decode("utf-8", "replace")
            notes.append(
                f"{shown} belongs to id {found.highest_id}; LXD's map must reach that far (by default an "
                f"unprivileged container has ids up to {_IDS} on Proxmox)"
            )
        if self.there.current is not None and plan.STARTED in self.there.current.config:
            when = self.there.current.config[plan.STARTED]
            notes.append(f"the mirror that was replaced had been started on {when}; what it changed is gone")
        return notes

    def _keep(self, config: Config, loaded: Loaded, lines: Mapping[str, str | None]) -> tuple[str, str]:
        """Keep manifest, edits and config beside the tree; return the hashes of the first two."""
        packed = loaded.manifest.with_suffix(".gz")
        with loaded.manifest.open("rb") as plain, gzip.open(packed, "wb", compresslevel=1) as target:
            shutil.copyfileobj(plain, target, 1 << 20)
        edited = json.dumps(lines, sort_keys=True).encode()
        store(self.site, self._new, MANIFEST_FILE, packed.read_bytes())
        store(self.site, self._new, EDITS_FILE, edited)
        store(self.site, self._new, CONFIG_FILE, bytes(config))
        return manifest.hash_of(loaded.manifest), sha256_of(edited)


def store(site: Site, instance: str, name: str, data: bytes) -> None:
    """Given an instance, keep data in a file beside its tree. Raise LxdError or DiskFull."""
    facts = {"volume": site.volume(instance), "name": name}
    result = site.far.send("store", facts, data)
    if result.get("stored") != len(data):
        raise LxdError(host=site.host, reason=f"{name} was not kept whole", step="Run this again")


def record(report: Report) -> dict[str, str]:
    """Given a report, return what an instance says of itself in its config."""
    losses = json.dumps([asdict(one) for one in report.losses], ensure_ascii=False)
    facts: dict[str, Any] = {
        "state": plan.READY,
        "mirror": report.name,
        "source": report.source,
        "generation": report.generation,
        "taken": report.taken,
        "verified": now(),
        "bytes": report.bytes,
        "files": report.files,
        "manifest": report.manifest,
        "losses": losses,
        "edits": " ".join(report.edits),
        "addresses": " ".join(f"{name}={address}" for name, address in report.addresses.items()),
    }
    if report.vmid is not None:
        facts["vmid"] = report.vmid
    return {"boot.autostart": "false", **{f"user.maw.{key}": str(value) for key, value in facts.items()}}


def fit(
    site: Site, instance: str, config: Config, mapped: Mapped, *, beside: bool = False
) -> tuple[Sequence[Edit], Sequence[Any], Mapping[str, str], dict[str, str | None]]:
    """Given a stopped instance, edit its tree for its new place.

    Return the edits, notes, addresses, and the edited paths' lines of the manifest (as hexadecimal).
    """
    ids = site.ids(instance)
    root = site.root(instance)
    answer = site.far.call("read", {"root": root, "paths": list(paths(config))})
    seen = {path: _seen(one) for path, one in answer.items()}
    target = site.target_of(mapped.name)
    edits, notes, addresses = plan_edits(config, mapped, target, seen, beside=beside)
    if beside:
        # The rest was fitted when it was synced.
        edits, notes = tuple(one for one in edits if one.path in IDENTITY), ()
    lines: dict[str, str | None] = {}
    if edits:
        words = [{**asdict(one), "content": base64.b64encode(one.content).decode("ascii")} for one in edits]
        lines = site.far.send("edit", {"root": root, **ids}, json.dumps(words).encode())["lines"]
    return edits, notes, addresses, lines


def _seen(one: Mapping[str, Any]) -> Seen:
    content = one.get("content")
    target = one.get("target")
    return Seen(
        kind=one["kind"],
        content=None if content is None else base64.b64decode(content),
        target=None if target is None else bytes.fromhex(target).decode("utf-8", "surrogateescape"),
        mode=one.get("mode", 0),
        uid=one.get("uid", 0),
        gid=one.get("gid", 0),
    )
