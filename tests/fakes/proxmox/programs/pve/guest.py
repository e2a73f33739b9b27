"""The backup of one guest: what vzdump says and does from "Starting Backup" to "Finished Backup"."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import archive, config, options
from .state import PveError

if TYPE_CHECKING:
    from .job import Job

_TEMPORARY_ON = ("ext2/ext3", "ext3", "ext4", "nfs", "nfs4", "reiserfs", "xfs")


class Run:
    """The backup of one guest."""

    def __init__(self, job: Job, vmid: int) -> None:
        self.job = job
        self.node = job.node
        self.vmid = vmid
        self._lines: list[str] = []
        self._base = self._name()
        self.began = time.time()
        self._stdout = options.is_set(job.params, "stdout")
        self._snapshot = False
        self._stopped = False
        self.temporary = job.folder / f"{self._base}.tmp"

    def _name(self) -> str:
        """Backups of one second would have one name: wait for the next second."""
        while True:
            base = time.strftime(f"vzdump-lxc-{self.vmid}-%Y_%m_%d-%H_%M_%S")
            if not any(path.suffix != ".log" for path in self.job.folder.glob(f"{base}.*")):
                return base
            time.sleep(0.05)

    def say(self, line: str) -> None:
        """Write a line to the job's log and to the guest's own."""
        self.job.say(line)
        self._lines.append(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def info(self, line: str) -> None:
        """Write a line that only informs."""
        self.say(f"INFO: {line}")

    def keep_log(self) -> None:
        """Leave the guest's log beside the archive."""
        if self._lines[0].find("Starting Backup") >= 0:
            (self.job.folder / f"{self._base}.log").write_text("".join(self._lines), "utf-8")

    def go(self) -> None:
        """Back the guest up. Raise PveError if that failed."""
        if self.vmid in self.node.guests("qemu"):
            raise PveError("this stand-in backs up containers only")
        if self.vmid not in self.node.guests("lxc"):
            raise PveError(f"unable to find VM '{self.vmid}'")
        self._choose_temporary()
        self.info(f"Starting Backup of VM {self.vmid} (lxc)")
        self.job.say(f"INFO: Backup started at {time.strftime('%Y-%m-%d %H:%M:%S')}")
        pid = self.node.pid(self.vmid)
        self.info(f"status = {'running' if pid else 'stopped'}")
        mode = self._mode() if pid else "stop"
        self._check_lock(mode)
        self.node.set_key(self.vmid, "lock", "backup")
        try:
            self._with_mode(mode)
        finally:
            self._restore(pid)
        self._after(pid)
        took = time.strftime("%H:%M:%S", time.gmtime(time.time() - self.began))
        self.info(f"Finished Backup of VM {self.vmid} ({took})")
        self.job.say(f"INFO: Backup finished at {time.strftime('%Y-%m-%d %H:%M:%S')}")

    def _mode(self) -> str:
        return str(self.job.params.get("mode", "snapshot"))

    def _choose_temporary(self) -> None:
        kind = self.node.fault("dumpdir-filesystem") or self.node.info().get("filesystem", "ext4")
        given = self.job.params.get("tmpdir")
        if given:
            self.temporary = Path(given) / f"vzdumptmp{os.getpid()}_{self.vmid}"
        elif kind not in _TEMPORARY_ON:
            folder = self.node.folder / "var" / "tmp"
            folder.mkdir(parents=True, exist_ok=True)
            self.temporary = folder / f"vzdumptmp{os.getpid()}_{self.vmid}"
            self.job.say(
                f"INFO: filesystem type on dumpdir is '{kind}' -using {self.temporary} for temporary files"
            )

    def _check_lock(self, mode: str) -> None:
        """A lock that a killed vzdump left behind is known by the snapshot that it left too."""
        names = [section.name for section in self.node.sections(self.vmid)]
        left = self.node.current(self.vmid).get("lock") == "backup" and "vzdump" in names
        if not (left and mode == "snapshot"):
            self.node.check_lock(self.vmid)

    def _describe(self) -> None:
        current = self.node.current(self.vmid)
        self.info(f"CT Name: {current.get('hostname') or f'CT{self.vmid}'}")
        for mount in config.mounts(current):
            where = f"mount point {mount.key} ('{mount.path}')"
            if mount.included:
                self.info(f"including {where} in backup")
            else:
                why = "disabled" if mount.kind == "volume" else "not a volume"
                self.info(f"excluding {mount.kind} {where} from backup ({why})")

    def _with_mode(self, mode: str) -> None:
        if mode == "snapshot":
            self._describe()
            if not self.node.supports_snapshots(self.vmid):
                self.info("mode failure - some volumes do not support snapshots")
                self.info("trying 'suspend' mode instead")
                mode = "suspend"
            elif "vzdump" in [section.name for section in self.node.sections(self.vmid)]:
                self.info("found old vzdump snapshot (force removal)")
                self._drop_snapshot()
        self.info(f"backup mode: {mode}")
        if self.job.params.get("bwlimit"):
            self.info(f"bandwidth limit: {self.job.params['bwlimit']} KiB/s")
        self.info(f"ionice priority: {self.job.params.get('ionice', 7)}")
        if mode != "snapshot":
            self._describe()
        if mode == "snapshot":
            self._take_snapshot()
        elif mode == "suspend":
            self._copy()
        elif self.node.pid(self.vmid):
            self.info("stopping virtual guest")
            self.node.set_running(self.vmid, False)
            self._stopped = True
        self._write(copied=mode == "suspend")

    def _take_snapshot(self) -> None:
        self.info("suspend vm to make snapshot")
        self.info("create storage snapshot 'vzdump'")
        sections = self.node.sections(self.vmid)
        sections.append(
            config.Section("vzdump", [line for line in sections[0].lines if not line.startswith("lock:")])
        )
        sections[-1].set("snaptime", str(int(time.time())))
        sections[0].set("parent", "vzdump")
        self.node.write(self.vmid, sections)
        self._snapshot = True
        self.info("resume vm")
        self.info("guest is online again after <1 seconds")

    def _drop_snapshot(self) -> None:
        sections = self.node.sections(self.vmid)
        ours = next(section for section in sections if section.name == "vzdump")
        sections[0].set("parent", ours.get("parent"))
        self.node.write(self.vmid, [section for section in sections if section is not ours])

    def _volumes(self) -> list[tuple[Path, str]]:
        included = [mount for mount in config.mounts(self.node.current(self.vmid)) if mount.included]
        return [(self.node.volume(mount), mount.path) for mount in included if mount.key != "rootfs"]

    def _copy(self) -> None:
        """Copy twice, as rsync would: once while it runs, once while it is frozen."""
        places = f"/proc/{self.node.pid(self.vmid)}/root/ to {self.temporary}"
        self.info(f"starting first sync {places}")
        start = time.monotonic()
        copy(self.node.rootfs(self.vmid), self.temporary)
        for mount in config.mounts(self.node.current(self.vmid)):
            target = self.temporary / mount.path.lstrip("/")
            if mount.key == "rootfs":
                continue
            if mount.included:
                copy(self.node.volume(mount) / mount.path.lstrip("/"), target)
            elif target.is_dir():
                shutil.rmtree(target)
        self._mounted_by_the_kernel()
        took = int(time.monotonic() - start)
        self.info(f"first sync finished - transferred {size_of(self.temporary)} bytes in {took}s")
        self.info("suspending guest")
        self.info(f"starting final sync {places}")
        self.info("final sync finished - transferred 0 bytes in 0s")
        self.info("resuming guest")
        self.info("guest is online again after <1 seconds")

    def _mounted_by_the_kernel(self) -> None:
        """A live container's /proc and /sys are seen as mounted: read-only, and the host's."""
        owner = self._stranger()
        for name in ("proc", "sys"):
            folder = self.temporary / name
            if folder.is_dir():
                folder.chmod(0o555)
                os.chown(folder, owner, owner)

    def _unprivileged(self) -> bool:
        return self.node.current(self.vmid).get("unprivileged") == "1"

    def _stranger(self) -> int:
        """How an owner outside of the container's own ids is seen from inside."""
        return 65534 if self._unprivileged() else 0

    def _prepare(self) -> None:
        folder = self.temporary / "etc" / "vzdump"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        firewall = self.node.folder / "firewall" / f"{self.vmid}.fw"
        (folder / "pct.conf").write_text(config.for_backup(self.node.text(self.vmid)), "utf-8")
        (folder / "pct.fw").write_bytes(firewall.read_bytes() if firewall.exists() else b"")
        for path in (folder, folder / "pct.conf", folder / "pct.fw"):
            os.chown(path, self._stranger(), self._stranger())

    def _write(self, *, copied: bool) -> None:
        self._prepare()
        params = self.job.params
        plan = archive.Plan(
            temporary=self.temporary,
            root=self.temporary if copied else self.node.rootfs(self.vmid),
            volumes=() if copied else tuple(self._volumes()),
            unprivileged=self._unprivileged(),
            excludes=archive.excludes(params),
            compress=str(params.get("compress", "0")),
            bandwidth=int(params.get("bwlimit", 0)),
            copied=copied,
        )
        if self._stdout:
            self.info("sending archive to stdout")
            with os.fdopen(os.dup(1), "wb") as output:
                archive.Pipe(self.node, plan, output).run(self.info)
            return
        final = self.job.folder / f"{self._base}.{archive.SUFFIXES[plan.compress]}"
        self.info(f"creating vzdump archive '{final}'")
        partial = final.with_suffix(".dat")
        try:
            with partial.open("wb") as output:
                archive.Pipe(self.node, plan, output).run(self.info)
            partial.rename(final)
        finally:
            partial.unlink(missing_ok=True)
        self.info(f"archive file size: {format_size(final.stat().st_size)}")
        self._mark(final)

    def _mark(self, final: Path) -> None:
        params = self.job.params
        if options.is_set(params, "protected"):
            self.info("marking backup as protected")
            final.with_name(final.name + ".protected").touch()
        if "notes-template" in params:
            self.info("adding notes to backup")
            known = {
                "{{cluster}}": "standalone node",
                "{{guestname}}": self.node.current(self.vmid).get("hostname") or f"CT{self.vmid}",
                "{{node}}": self.node.name,
                "{{vmid}}": str(self.vmid),
            }
            notes = str(params["notes-template"])
            for word, value in known.items():
                notes = notes.replace(word, value)
            final.with_name(final.name + ".notes").write_text(notes + "\n", "utf-8")

    def _restore(self, pid: int | None) -> None:
        """Whatever happened: no snapshot, no lock, no copy is left."""
        if self._snapshot:
            self.info("cleanup temporary 'vzdump' snapshot")
            self._drop_snapshot()
            self._snapshot = False
        if self._stopped:
            self.info("restarting vm")
            self.node.set_running(self.vmid, True)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.temporary)
        self.node.set_key(self.vmid, "lock", None)

    def _after(self, pid: int | None) -> None:
        if self._stopped:
            seconds = int(time.time() - self.began)
            self.info(f"guest is online again after {seconds or '<1'} seconds")


def copy(source: Path, target: Path) -> None:
    """Copy a tree with all that belongs to it: links, holes, owners, xattrs, ACLs."""
    target.mkdir(parents=True, exist_ok=True)
    argv = ["cp", "-a", "--sparse=always", f"{source}/.", str(target)]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise PveError(f"command 'rsync' failed: {answer.stderr.strip()}")


def size_of(folder: Path) -> str:
    """Return the bytes of all files below a folder, in rsync's words."""
    sizes = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found = path.stat()
            sizes[found.st_dev, found.st_ino] = found.st_size
    total = sum(sizes.values())
    for unit, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if total >= size:
            return f"{total / size:.2f}{unit}"
    return str(total)


def format_size(size: int) -> str:
    """Return a size in vzdump's words."""
    if size < 1024 * 1024:
        return f"{size // 1024}KB"
    megabytes = size / 1024**2
    return f"{int(megabytes)}MB" if megabytes < 1024 else f"{megabytes / 1024:.2f}GB"
