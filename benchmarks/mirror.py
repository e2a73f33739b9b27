"""`cutter sync` beside `tar | ssh tar`, from the lab's server to the notebook's LXD; and its memory.

Needs the lab (`make lab`) and root. The container is made of the lab server's own files.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.fakes.proxmox.node import FakeNode  # noqa: E402 - found by the line above

VMID, NAME, HOST = "190", "bench-190", "notebook-wsl"
STATE = "/var/lib/bench-pve"
ROUNDS = 3
CUTTER = [sys.executable, "-c", "from maw.cli import cutter; cutter()"]
FLAGS = "--one-file-system -p --sparse --numeric-owner --acls --xattrs --xattrs-include=user.*"


def ssh(config: str, host: str, command: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run a command on a host of the lab."""
    return subprocess.run(["ssh", "-F", config, host, command], check=True, capture_output=True, **options)


def prepare(config: str) -> None:
    """Make the container on the server."""
    with tempfile.TemporaryDirectory() as folder:
        node = FakeNode(Path(folder))
        node.add_container(int(VMID), files=lambda _: None)
        node.install(node.programs, state=Path(STATE))
        packed = subprocess.run(
            ["tar", "-C", folder, "-cf", "-", "."], check=True, capture_output=True
        ).stdout
    ssh(config, "pve", f"rm -rf {STATE}; mkdir {STATE}; tar -xf - -C {STATE}", input=packed)
    root = f"{STATE}/rootfs/{VMID}"
    copy = f"tar --one-file-system --exclude=.{STATE} -C / -cf - . | tar -xpf - -C {root}"
    ssh(config, "pve", f"{copy}; for p in {STATE}/bin/*; do ln -sf $p /usr/local/sbin/; done")


def piped(config: str) -> float:
    """Seconds of `tar | ssh tar`, by way of this machine as cutter goes."""
    target = "/var/lib/lxd/storage-pools/default/bench"
    ssh(config, HOST, f"rm -rf {target}; mkdir {target}")
    begun = time.monotonic()
    source = subprocess.Popen(
        ["ssh", "-F", config, "pve", f"tar -C {STATE}/rootfs/{VMID} {FLAGS} -cf - ."], stdout=subprocess.PIPE
    )
    unpack = (
        f"tar -xpf - --numeric-owner --acls --xattrs --xattrs-include=user.* -C {target}; sync -f {target}"
    )
    subprocess.run(["ssh", "-F", config, HOST, unpack], stdin=source.stdout, check=True)
    assert source.wait() == 0
    seconds = time.monotonic() - begun
    ssh(config, HOST, f"rm -rf {target}")
    return seconds


def synced(config: str) -> dict[str, float]:
    """What a first `cutter sync` says of itself, and its seconds as a whole process."""
    subprocess.run(
        ["ssh", "-F", config, HOST, f"lxc delete --force {NAME}"], check=False, capture_output=True
    )
    begun = time.monotonic()
    argv = [*CUTTER, "sync", VMID, "--name", NAME, "--on", HOST, "--mode", "stop", "--json"]
    answer = subprocess.run(argv, check=True, capture_output=True)
    report = json.loads(answer.stdout)
    return {**report, "whole": time.monotonic() - begun}


def peak(argv: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a program; return the most memory that one process of ours had (MB), and the seconds."""
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL)
    most = 0
    over = threading.Event()

    def look() -> None:
        nonlocal most
        me = psutil.Process(process.pid)
        while not over.wait(0.05):
            try:
                family = [me, *me.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for one in family:
                try:
                    # The kernel's own high-water mark.
                    text = Path(f"/proc/{one.pid}/status").read_text("ascii", "replace")
                    if text.split()[1].startswith("python"):
                        most = max(most, int(text.partition("VmHWM:")[2].split()[0]))
                except (OSError, IndexError):
                    continue

    begun = time.monotonic()
    watcher = threading.Thread(target=look)
    watcher.start()
    assert process.wait() == 0
    over.set()
    watcher.join()
    return most / 1024, time.monotonic() - begun


def memory(lxd_dir: str) -> None:
    """A sparse file of 4 GB, and 200,000 small files, into the LXD of this machine."""
    from tests.fakes.proxmox.archives import make_archive

    def sparse(root: Path) -> None:
        with (root / "sparse").open("wb") as file:
            file.truncate(4 << 30)
            file.seek(1 << 30)
            file.write(b"data")

    def many(root: Path) -> None:
        for number in range(200_000):
            folder = root / f"{number // 1000}"
            folder.mkdir(exist_ok=True)
            (folder / f"{number}").write_bytes(b"%d" % number)

    folder = Path(tempfile.mkdtemp())
    pool = next(one for one in ("maw-lab",) if one)
    environment = {
        **os.environ,
        "LXD_DIR": lxd_dir,
        "MAW_MIRROR_POOL": pool,
        "MAW_WORKSPACE": str(folder / "w"),
    }
    try:
        for name, fill in (("4 GB sparse file", sparse), ("200,000 small files", many)):
            path = make_archive(folder / "a.tar", files=fill)
            argv = [*CUTTER, "sync", "--archive", str(path), "--name", "bench-memory", "--on", "local"]
            megabytes, seconds = peak(argv, environment)
            print(f"{name}: peak of a Python process {megabytes:.0f} MB, {seconds:.1f} s")
            argv = ["lxc", "delete", "--force", "bench-memory"]
            subprocess.run(argv, env={**os.environ, "LXD_DIR": lxd_dir}, check=True)
    finally:
        shutil.rmtree(folder)


def main() -> int:
    """Print one line a figure."""
    state = ROOT / ".lab" / "maw" / "state.json"
    if not state.exists() or os.geteuid() != 0:
        print("mirror: skipped, the lab is not up (make lab), or we are not root")
        return 0
    known = json.loads(state.read_text("utf-8"))
    config = known["ssh_config"]
    os.environ["MAW_WORKSPACE"] = known["workspace"]
    prepare(config)
    plain, ours = [], []
    for _ in range(ROUNDS):
        plain.append(piped(config))
        ours.append(synced(config))
    base = statistics.median(plain)
    report = ours[0]
    print(f"container: {report['bytes'] / 1e6:.0f} MB, {report['files']} paths")
    print(f"tar | ssh tar: {base:.2f} s")
    for name, key in (("copying", "transfer_seconds"), ("all, with verification", "seconds")):
        value = statistics.median(one[key] for one in ours)
        print(f"cutter sync, {name}: {value:.2f} s, {value / base:.2f} x")
    whole = statistics.median(one["whole"] for one in ours)
    print(f"cutter sync, as a process from start to end: {whole:.2f} s, {whole / base:.2f} x")
    subprocess.run(["ssh", "-F", config, HOST, f"lxc delete --force {NAME}"], check=True, capture_output=True)
    clean = f"for p in {STATE}/bin/*; do rm -f /usr/local/sbin/${{p##*/}}; done; rm -rf {STATE}"
    ssh(config, "pve", clean)
    memory(known["lxd_dir"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
