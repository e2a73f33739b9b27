"""The stand-in keeps its state, obeys its faults, and shows the one trap that a mirror must not fall into."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.proxmox import FakeNode, archives, hostile_damage, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(FakeNode.available() is not None, reason=FakeNode.available() or "")
TOTAL = "Total bytes written"
WAITING = "INFO: trying to get global lock - waiting..."
SUCCESS = "Backup job finished successfully"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> FakeNode:
    node = FakeNode(tmp_path_factory.mktemp("proxmox"))
    node.add_storage("snap", "btrfs", "rootdir,images", snapshots=True)
    kind = {"mounts": archives.MOUNTS, "volumes": archives.VOLUMES, "running": True}
    node.add_container(101, hostname="tiny", **kind)
    node.add_container(102, hostname="trusted", unprivileged=False, running=True)
    node.add_container(103, hostname="snappy", storage="snap", running=True)
    node.add_vm(200)
    return node


@pytest.fixture
def node(template: FakeNode) -> Iterator[FakeNode]:
    yield template
    template.mend()
    shutil.rmtree(template.folder / "dump")
    (template.folder / "dump").mkdir()
    for vmid in template.state.guests():
        template.state.set_key(vmid, "lock", None)
        template.state.set_running(vmid, True)


def run(node: FakeNode, *words: str) -> subprocess.CompletedProcess[bytes]:
    program, *arguments = words
    argv = [str(node.programs / program), *arguments]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


def ends_whole(data: bytes) -> bool:
    return data.endswith(b"\0" * 1024)


def test_a_killed_tar_of_an_unprivileged_container_is_called_a_success(node: FakeNode) -> None:
    node.fault("kill-tar-after-bytes", 50_000)
    answer = run(node, "vzdump", "101", "--mode", "stop", "--stdout")
    assert answer.returncode == 0
    assert SUCCESS in answer.stderr.decode()
    assert TOTAL not in answer.stderr.decode()
    assert len(answer.stdout) == 50_000


def test_a_killed_tar_leaves_a_whole_compressed_stream(node: FakeNode) -> None:
    node.fault("kill-tar-after-bytes", 50_000)
    answer = run(node, "vzdump", "101", "--mode", "stop", "--stdout", "--compress", "zstd")
    assert answer.returncode == 0
    plain = subprocess.run(["zstd", "-dc"], input=answer.stdout, capture_output=True, check=True).stdout
    assert len(plain) == 50_000


def test_a_killed_tar_of_a_privileged_container_is_an_error(node: FakeNode) -> None:
    node.fault("kill-tar-after-bytes", 50_000)
    answer = run(node, "vzdump", "102", "--mode", "stop", "--stdout")
    assert answer.returncode == 255
    assert answer.stderr.decode().splitlines()[-1] == "job errors"
    assert "failed: got signal 9" in answer.stderr.decode()


@pytest.mark.parametrize(("compress", "code"), [("0", 2), ("zstd", 70), ("gzip", 1)])
def test_a_full_disk_leaves_no_archive(node: FakeNode, compress: str, code: int) -> None:
    node.fault("disk-full", 40_000)
    answer = run(node, "vzdump", "101", "--mode", "stop", "--compress", compress, "--storage", "local")
    assert answer.returncode == 255
    assert "No space left on device" in answer.stdout.decode()
    assert f"failed: exit code {code}" in answer.stdout.decode()
    assert [path.suffix for path in (node.folder / "dump").iterdir()] == [".log"]


def test_a_slow_backup_takes_its_time(node: FakeNode) -> None:
    node.fault("slow", 2_000_000)
    start = time.monotonic()
    answer = run(node, "vzdump", "101", "--mode", "stop", "--stdout")
    assert answer.returncode == 0
    assert time.monotonic() - start > len(answer.stdout) / 2_000_000 * 0.8
    assert ends_whole(answer.stdout)


def test_a_held_lock_is_waited_for(node: FakeNode, within: Callable[..., object]) -> None:
    node.fault("lock-held")
    argv = [str(node.programs / "vzdump"), "101", "--mode", "stop", "--stdout"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline().decode() == f"{WAITING}\n"
        assert process.poll() is None
        node.mend("lock-held")
        assert process.stderr.readline() == b"INFO: got global lock\n"
        assert process.stderr.read().endswith(SUCCESS.encode() + b"\n")
    assert process.returncode == 0


def test_the_config_is_locked_while_a_backup_runs(node: FakeNode, within: Callable[..., object]) -> None:
    node.fault("slow", 500_000)
    argv = [str(node.programs / "vzdump"), "103", "--mode", "snapshot", "--stdout"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert within(5, lambda: node.state.current(103).get("lock") == "backup")
        assert within(5, lambda: "[vzdump]" in node.state.text(103))
        assert run(node, "pct", "set", "103", "--memory", "128").stderr == b"CT is locked (backup)\n"
        process.terminate()
    assert process.returncode == 255
    assert node.state.current(103).get("lock") is None
    assert "[vzdump]" not in node.state.text(103)


def test_a_killed_vzdump_leaves_lock_and_snapshot_and_the_next_one_clears_them(
    node: FakeNode, within: Callable[..., object]
) -> None:
    node.fault("slow", 1_500_000)
    argv = [str(node.programs / "vzdump"), "103", "--mode", "snapshot", "--stdout"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert within(5, lambda: "[vzdump]" in node.state.text(103))
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    assert node.state.current(103).get("lock") == "backup"
    node.mend()
    answer = run(node, "vzdump", "103", "--mode", "snapshot", "--stdout")
    assert answer.returncode == 0
    assert answer.stderr.decode().startswith(
        "INFO: trying to get global lock - waiting...\nINFO: got global lock\n"
    )
    assert "INFO: found old vzdump snapshot (force removal)\n" in answer.stderr.decode()
    assert node.state.current(103).get("lock") is None


def test_mode_stop_stops_and_starts_the_container(node: FakeNode) -> None:
    before = node.state.pid(101)
    log = run(node, "vzdump", "101", "--mode", "stop", "--stdout").stderr.decode()
    assert "INFO: stopping virtual guest\n" in log
    assert "INFO: restarting vm\n" in log
    assert node.state.pid(101) not in (None, before)


def test_a_virtual_machine_is_not_backed_up(node: FakeNode) -> None:
    answer = run(node, "vzdump", "200", "--mode", "stop", "--stdout")
    assert answer.returncode == 255
    assert answer.stdout == b""


@pytest.mark.parametrize("vmid", ["0", "99", "abc", "101; rm"])
def test_a_number_that_is_none_is_refused(node: FakeNode, vmid: str) -> None:
    for program in (("vzdump", vmid, "--stdout"), ("pct", "config", vmid)):
        answer = run(node, *program)
        assert answer.returncode == 255
        assert answer.stderr.startswith(b"400 Parameter verification failed.\nvmid: ")


def test_notes_and_protection_are_kept_beside_the_archive(node: FakeNode) -> None:
    words = [
        "--storage",
        "local",
        "--protected",
        "1",
        "--notes-template",
        "{{guestname}} on {{node}} ({{vmid}})",
    ]
    assert run(node, "vzdump", "101", "--mode", "stop", *words).returncode == 0
    (entry,) = node.state.archives("local")
    assert entry["notes"] == "tiny on pve1 (101)"
    assert entry["protected"] == 1


def test_the_rights_of_a_token_are_made_with_pveum(node: FakeNode) -> None:
    assert run(node, "pveum", "role", "add", "Mirror", "--privs", "VM.Audit VM.Backup").returncode == 0
    assert run(node, "pveum", "role", "add", "Mirror", "--privs", "VM.Audit").returncode == 255
    assert run(node, "pveum", "role", "add", "Other", "--privs", "VM.Nonsense").returncode == 255
    assert run(node, "pveum", "user", "add", "mirror@pve").returncode == 0
    token = run(node, "pveum", "user", "token", "add", "mirror@pve", "maw", "--output-format", "json")
    assert b'"full-tokenid": "mirror@pve!maw"' in token.stdout
    for who in ("--users", "--tokens"):
        name = "mirror@pve" if who == "--users" else "mirror@pve!maw"
        assert run(node, "pveum", "acl", "modify", "/", who, name, "--roles", "Mirror").returncode == 0


def test_the_programs_find_their_state_by_the_file_beside_them(node: FakeNode, tmp_path: Path) -> None:
    node.install(tmp_path / "sbin")
    environment = {"PATH": "/usr/bin:/bin"}
    answer = subprocess.run(
        [str(tmp_path / "sbin/pct"), "list"], capture_output=True, env=environment, check=True
    )
    assert b"tiny" in answer.stdout
    link = tmp_path / "pct"
    link.symlink_to(tmp_path / "sbin/pct")
    assert subprocess.run([str(link), "list"], capture_output=True, check=True).stdout == answer.stdout


def test_exec_runs_nothing_of_this_machine(node: FakeNode) -> None:
    assert run(node, "pct", "exec", "101", "--", "cat", "/etc/hostname").stdout == b"ct\n"
    assert run(node, "pct", "exec", "101", "--", "cat", "/../../../../etc/passwd").stdout.startswith(
        b"root:x:0:0:root"
    )
    assert run(node, "pct", "exec", "101", "--", "touch", "/etc/touched").returncode == 127


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst", ".tar.gz", ".tar.lzo"])
def test_a_small_archive_is_made_for_each_compression(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"small{suffix}"
    if not archives.can_write(path):
        pytest.skip(f"the program for {suffix} is not here")
    archives.make_archive(path)
    listing = subprocess.run(["tar", "tf", str(path)], capture_output=True, check=True).stdout.splitlines()
    assert listing[:3] == [b"./etc/vzdump/pct.conf", b"./etc/vzdump/pct.fw", b"./"]
    assert listing[-1] == b"./srv/data/keep.txt"
    assert b"./srv/scratch/junk.txt" not in listing
    assert b"./tmp/left-out" not in listing
    assert TOTAL in path.with_name(path.name + ".log").read_text("utf-8")


def test_the_standard_tree_is_a_system_that_runs(node: FakeNode) -> None:
    argv = ["chroot", str(node.state.rootfs(101)), "/bin/sh", "-c", "cat /etc/inittab"]
    answer = subprocess.run(argv, capture_output=True, check=False)
    assert b"::respawn:/bin/sleep" in answer.stdout, answer.stderr
    assert (node.state.rootfs(101) / "sbin/init").readlink() == Path("../bin/busybox")


def test_the_standard_tree_has_one_of_each_kind(tmp_path: Path) -> None:
    archives.make_archive(tmp_path / "small.tar")
    with tarfile.open(tmp_path / "small.tar") as archive:
        members = archive.getmembers()
        found = {member.name: member for member in members}
    kinds = {member.type for member in members}
    assert kinds == {tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE}
    headers = {key for member in members for key in member.pax_headers}
    assert {"SCHILY.xattr.user.bin", "SCHILY.xattr.security.capability", "GNU.sparse.realsize"} <= headers
    assert {"SCHILY.acl.access", "SCHILY.acl.default"} <= headers
    assert found["./opt/special/sparse.bin"].size == tree.SPARSE_SIZE
    assert "user:1000:rw-" in found["./opt/special/acl.txt"].pax_headers["SCHILY.acl.access"]
    assert found["./opt/special/oldmtime"].pax_headers["mtime"] == "981173106.789012345"
    assert max(len(os.fsencode(name)) for name in found) > 255
    assert (found["./etc/vzdump/pct.conf"].uid, found["./sbin/init"].uid) == (65534, 0)


@pytest.mark.parametrize("name", archives.HOSTILE)
def test_each_hostile_archive_is_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.tar.zst"
    archives.HOSTILE[name](path)
    assert path.exists()
    again = tmp_path / "again.tar.zst"
    archives.HOSTILE[name](again)
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("name", sorted(hostile_damage.NOT_WHOLE))
def test_what_is_not_whole_has_no_end_or_no_beginning(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.tar"
    archives.HOSTILE[name](path)
    listing = subprocess.run(["tar", "tf", str(path)], capture_output=True, check=False)
    assert listing.returncode != 0 or not listing.stdout or not ends_whole(path.read_bytes())


def test_the_honest_archive_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "honest.tar"
    path.write_bytes(hostile_damage.honest())
    listing = subprocess.run(["tar", "tf", str(path)], capture_output=True, check=True).stdout
    assert listing.startswith(b"./etc/vzdump/pct.conf\n")
    assert ends_whole(path.read_bytes())
