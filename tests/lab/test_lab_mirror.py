"""A container of the lab's Proxmox server becomes one of the notebook's own LXD, through the bridge."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.conftest import program
from tests.fakes.proxmox.node import FakeNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.running import RunningLab

pytestmark = pytest.mark.lab
STATE, PROGRAMS = "/var/lib/fake-pve", "/usr/local/sbin"


@pytest.fixture
def container(lab: RunningLab, tmp_path: Path) -> Iterator[int]:
    """A container on the lab's server, with a number of its own."""
    vmid = 100_000 + secrets.randbelow(800_000)
    node = FakeNode(tmp_path / "node")
    root = node.add_container(vmid, running=True)
    (root / "etc" / "greeting").write_text("สวัสดีจาก Proxmox 🙂\n")
    node.install(node.programs, state=Path(STATE))
    packed = subprocess.run(
        ["tar", "-cf", "-", "--numeric-owner", "--acls", "--xattrs", "--sparse", "-C", str(node.folder), "."],
        capture_output=True,
        check=True,
    ).stdout
    unpack = f"rm -rf {STATE}; mkdir -p {STATE}; tar -xpf - --acls --xattrs --numeric-owner -C {STATE}"
    answer = lab.ssh("pve", f"{unpack}; for p in {STATE}/bin/*; do ln -sf $p {PROGRAMS}/; done", input=packed)
    assert answer.returncode == 0, answer.stderr
    yield vmid
    lab.ssh("pve", f"for p in {STATE}/bin/*; do rm -f {PROGRAMS}/${{p##*/}}; done; rm -rf {STATE}")


def cutter(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*program("cutter"), *arguments],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=200,
    )


def done(*arguments: str) -> str:
    answer = cutter(*arguments)
    assert answer.returncode == 0, answer.stderr.decode()
    return answer.stdout.decode()


def test_sync_and_start_and_the_mirror_answers_with_the_sources_files(
    lab: RunningLab, lab_workspace: Path, container: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"t-{container}"
    where = ("--on", "notebook-wsl")
    try:
        plan = json.loads(done("sync", str(container), "--name", name, *where, "--dry-run", "--json"))
        assert plan["host"] == "notebook-wsl"
        report = json.loads(
            done("sync", str(container), "--name", name, *where, "--mode", "suspend", "--json")
        )
        assert (report["differences"], report["generation"]) == (0, 1)
        refused = cutter("start", name, *where)
        assert refused.returncode == 80
        assert b"runs" in refused.stderr
        lab.ssh("pve", "pct", "stop", str(container))
        done("start", str(container), *where)
        greeting = ("lxc", "exec", name, "-T", "--", "/bin/busybox", "cat", "/etc/greeting")
        assert lab.says("notebook-wsl", *greeting) == "สวัสดีจาก Proxmox 🙂\n"
        lab.ssh("notebook-wsl", "lxc", "stop", "--force", name)
        # Through zstd this time, as from a server with more processors.
        monkeypatch.setenv("MAW_MIRROR_COMPRESS", "yes")
        again = json.loads(done("sync", str(container), "--name", name, *where, "--mode", "stop", "--json"))
        assert (again["generation"], again["replaced"]) == (2, True)
        lab.ssh("notebook-wsl", "mv", "/usr/bin/zstd", "/usr/bin/zstd.away")
        try:
            plain = json.loads(
                done("sync", str(container), "--name", name, *where, "--mode", "stop", "--json")
            )
        finally:
            lab.ssh("notebook-wsl", "mv", "/usr/bin/zstd.away", "/usr/bin/zstd")
        assert (plain["generation"], plain["differences"]) == (3, 0)
        assert any("zstd is not installed on notebook-wsl" in note for note in plain["notes"])
        assert not any("zstd" in note for note in again["notes"])
        assert json.loads(done("verify", name, *where, "--json"))["count"] == 0
        listed = json.loads(done("mirrors", "--json"))["mirrors"]
        assert [one["vmid"] for one in listed if one["name"] == name] == [container]
    finally:
        for each in (name, f"{name}-maw-new", f"{name}-maw-old"):
            lab.ssh("notebook-wsl", "lxc", "delete", "--force", each)


def test_a_cut_link_leaves_the_mirror_before_and_the_next_sync_completes(
    lab: RunningLab, lab_workspace: Path, container: int
) -> None:
    name = f"t-{container}"
    sync = ("sync", str(container), "--name", name, "--on", "notebook-wsl", "--mode", "stop", "--json")
    try:
        begun = time.monotonic()
        done(*sync)
        whole = time.monotonic() - begun
        lab.ssh("pve", f"echo 1500000 > {STATE}/faults/slow")
        for part in (0.3, 0.5, 0.7, 0.9):
            process = subprocess.Popen(
                [*program("cutter"), *sync],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            time.sleep(whole * part)
            for one in psutil.process_iter(["name", "cmdline"]):
                if one.info["name"] == "ssh" and str(lab_workspace) in " ".join(one.info["cmdline"] or ()):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()
            _, said = process.communicate(timeout=120)
            assert process.returncode in (0, 71, 85, 86, 241, 245), said.decode()
            done("mirrors", "--on", "notebook-wsl")
            lab.ssh("pve", "pct", "stop", str(container))
            done("start", name, "--on", "notebook-wsl")
            lab.ssh("notebook-wsl", "lxc", "stop", "--force", name)
        lab.ssh("pve", f"rm {STATE}/faults/slow")
        assert json.loads(done(*sync))["differences"] == 0
        left = json.loads(lab.ssh("notebook-wsl", "lxc", "list", "--format", "json").stdout)
        assert [one["name"] for one in left if one["name"].startswith(name)] == [name]
    finally:
        for each in (name, f"{name}-maw-new", f"{name}-maw-old"):
            lab.ssh("notebook-wsl", "lxc", "delete", "--force", each)
