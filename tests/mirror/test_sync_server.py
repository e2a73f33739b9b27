"""`cutter sync VMID`: from a Proxmox server to real LXD."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.mirror.conftest import Cutter, LocalLxd, ProxmoxServer


def test_a_running_container_becomes_a_mirror_that_starts_with_its_files(
    pve: ProxmoxServer, lxd: LocalLxd, cutter: Cutter
) -> None:
    root = pve.node.add_container(101, running=True)
    (root / "home").mkdir(exist_ok=True)
    (root / "home" / "บันทึก 🙂.txt").write_text("ข้อความ\n")
    report = cutter.json("sync", "101", "--name", lxd.name(), "--on", "local", "--mode", "suspend")
    assert (report["generation"], report["differences"], report["vmid"]) == (1, 0, 101)
    assert lxd.instances()[lxd.name()]["status"] == "Stopped"
    assert cutter("start", lxd.name(), "--on", "local", code=80).count("--beside") == 1
    pve.node.state.set_running(101, False)
    cutter("start", lxd.name(), "--on", "local")
    assert lxd.says(lxd.name(), "/bin/busybox", "cat", "/home/บันทึก 🙂.txt").decode() == "ข้อความ\n"


def test_mode_snapshot_is_refused_and_names_the_volume_that_has_none(
    pve: ProxmoxServer, lxd: LocalLxd, cutter: Cutter
) -> None:
    pve.node.add_container(101, running=True)
    said = cutter("sync", "101", "--name", lxd.name(), "--on", "local", code=75)
    assert "snapshot" in said
    assert "subvol-101-disk-0" in said or "local" in said
    assert lxd.instances() == {}


def test_a_killed_tar_on_the_server_leaves_nothing_though_vzdump_says_success(
    pve: ProxmoxServer, lxd: LocalLxd, cutter: Cutter
) -> None:
    pve.node.add_container(101, running=True)
    pve.node.fault("kill-tar-after-bytes", 500_000)
    said = cutter("sync", "101", "--name", lxd.name(), "--on", "local", "--mode", "stop", code=71)
    assert "not whole" in said
    assert lxd.instances() == {}
    pve.node.mend()
    cutter("sync", "101", "--name", lxd.name(), "--on", "local", "--mode", "stop")


def test_a_plan_shows_every_key_and_changes_nothing(
    pve: ProxmoxServer, lxd: LocalLxd, cutter: Cutter
) -> None:
    pve.node.add_container(101, running=True, extra=["lxc.cap.drop: sys_admin", "tags: a;b"])
    plan = json.loads(cutter("sync", "101", "--name", lxd.name(), "--on", "local", "--dry-run", "--json"))
    assert {"hostname", "memory", "net0", "tags"} <= {row["key"].partition(".")[0] for row in plan["rows"]}
    assert any(one["key"].startswith("lxc.cap.drop") for one in plan["losses"])
    assert lxd.instances() == {}
    shown = cutter("sync", "101", "--name", lxd.name(), "--on", "local", "--dry-run")
    assert "nothing was changed" in shown


def test_an_archive_on_the_server_is_taken_without_touching_the_container(
    pve: ProxmoxServer, lxd: LocalLxd, cutter: Cutter
) -> None:
    pve.node.add_container(101, running=True)
    first = cutter.json(
        "sync", "101", "--from", "new", "--mode", "stop", "--name", lxd.name(), "--on", "local"
    )
    second = cutter.json("sync", "101", "--from", "latest", "--name", lxd.name(), "--on", "local")
    assert (first["generation"], second["generation"]) == (1, 2)
    assert first["manifest"] == second["manifest"]
    assert len(pve.node.archives()) == 1


def test_what_cannot_be_mirrored_is_said_before_anything_is_made(
    pve: ProxmoxServer, lxd: LocalLxd, cutter: Cutter
) -> None:
    pve.node.add_container(101)
    pve.node.add_vm(200)
    where = ("--name", lxd.name(), "--on", "local")
    assert "virtual machine" in cutter("sync", "200", *where, code=95)
    assert "101" in cutter("sync", "999", *where, code=95)
    for word in ("0", "99", "101; rm", "abc", "-5", "9" * 30):
        cutter("sync", *where, "--", word, code=2)
    for name in ("a.b", "../x", "", "$(id)", "x" * 80, "-x", "123"):
        cutter("sync", "101", "--on", "local", f"--name={name}", code=2)
    assert lxd.instances() == {}


def test_a_locked_container_is_waited_for_and_then_reported(
    pve: ProxmoxServer, lxd: LocalLxd, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    pve.node.add_container(101, running=True, extra=["lock: backup"])
    monkeypatch.setenv("MAW_MIRROR_LOCK_SECONDS", "1")
    said = cutter("sync", "101", "--name", lxd.name(), "--on", "local", "--mode", "stop", code=96)
    assert "locked (backup)" in said
    assert lxd.instances() == {}


def test_of_two_syncs_of_one_mirror_the_second_does_not_disturb_the_first(
    pve: ProxmoxServer, lxd: LocalLxd, cutter: Cutter
) -> None:
    pve.node.add_container(101, running=True)
    # About 20 seconds, longer than the second waits.
    pve.node.fault("slow", 130_000)
    sync = ("sync", "101", "--name", lxd.name(), "--on", "local", "--mode", "stop")
    first = cutter.start(*sync)
    deadline = time.monotonic() + 60
    while lxd.name("m") + "-maw-new" not in lxd.instances() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "Another sync" in cutter(*sync, code=76)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 0, said.decode()
    assert set(lxd.instances()) == {lxd.name()}
