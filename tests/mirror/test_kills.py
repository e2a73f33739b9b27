"""Whatever is killed at whatever moment: the mirror before it starts, and the next sync completes."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.fakes.proxmox import tree
from tests.fakes.proxmox.archives import make_archive

if TYPE_CHECKING:
    from tests.mirror.conftest import Cutter, LocalLxd

KILLS = 50
ROUND = 10


def heavy(root: Path) -> None:
    tree.standard(root)
    (root / "srv").mkdir(exist_ok=True)
    with Path("/dev/urandom").open("rb") as noise:
        for number in range(400):
            (root / "srv" / f"{number}").write_bytes(noise.read(150_000))


def chain(process: psutil.Process) -> list[psutil.Process]:
    """What a sync runs: the program itself, and all below it, also what has a session of its own."""
    found = [process]
    with_parents = process.children(recursive=True)
    return found + [one for one in with_parents if one.is_running()]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, KILLS, ROUND))
def test_kills_at_random_moments(
    first: int, lxd: LocalLxd, cutter: Cutter, tmp_path: Path, space: object
) -> None:
    name = lxd.name()
    path = make_archive(tmp_path / "a.tar.zst", files=heavy)
    sync = ("sync", "--archive", path, "--name", name, "--on", "local")
    begun = time.monotonic()
    cutter(*sync)
    whole = time.monotonic() - begun
    for number in range(first, first + ROUND):
        chance = random.Random(number)
        process = cutter.start(*sync)
        time.sleep(whole * chance.random())
        victims = chain(psutil.Process(process.pid)) if process.poll() is None else []
        # Every fifth time the program itself; else any process of the chain.
        victim = victims[0] if victims and number % 5 == 0 else chance.choice(victims) if victims else None
        if victim is not None:
            try:
                os.kill(victim.pid, signal.SIGKILL)
            except ProcessLookupError:
                victim = None
        process.communicate(timeout=120)
        what = f"kill {number} of {victim} after {whole:.1f} s"
        cutter("start", name, "--on", "local")
        assert lxd.says(name, "/bin/busybox", "cat", "/etc/hostname"), what
        lxd.lxc("stop", "--force", name)
    report = cutter.json(*sync)
    assert report["differences"] == 0
    assert set(lxd.instances()) == {name}
