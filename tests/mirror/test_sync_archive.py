"""`cutter sync --archive`: into real LXD, started, and looked into."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.proxmox.archives import HOSTILE, make_archive
from tests.mirror.conftest import shared_archives
from tests.mirror.test_tar_stream import archive_manifest

if TYPE_CHECKING:
    from tests.mirror.conftest import Cutter, LocalLxd

# Beyond what maw lists in its report as edits: nothing of a tree may differ from its source.
DOCUMENTED = {"etc/vzdump/pct.conf", "etc/vzdump/pct.fw"}


@pytest.mark.parametrize("path", shared_archives() or [None], ids=lambda path: path.name if path else "none")
def test_a_genuine_archive_loads_starts_and_equals_its_source(
    path: Path | None, lxd: LocalLxd, cutter: Cutter, tmp_path: Path, space: object
) -> None:
    if path is None:
        pytest.skip("the genuine archives are not beside this checkout")
    name = lxd.name()
    report = cutter.json("sync", "--archive", path, "--name", name, "--on", "local")
    assert (report["differences"], report["generation"]) == (0, 1)
    differ = differences(path, lxd.root(name), tmp_path)
    allowed = set(report["edits"]) | DOCUMENTED
    assert {one for one in differ if one not in allowed} == set()
    assert json.loads(cutter("verify", name, "--on", "local", "--json"))["count"] == 0
    cutter("start", name, "--on", "local")
    special = "/home/somchai" if path.name.startswith("debian") else "/opt/special"
    assert lxd.says(
        name,
        "/bin/ls" if path.name.startswith("debian") else "/bin/busybox",
        *(() if path.name.startswith("debian") else ("ls",)),
        special,
    )


def differences(path: Path, root: Path, folder: Path) -> set[str]:
    """What GNU tar itself says differs: an opinion that is not maw's."""
    plain = folder / "plain.tar"
    programs = {".zst": "zstd", ".gz": "gzip", ".lzo": "lzop"}
    if path.suffix in programs:
        with plain.open("wb") as file:
            subprocess.run([programs[path.suffix], "-dc", str(path)], stdout=file, check=True)
    else:
        plain.write_bytes(path.read_bytes())
    argv = ["tar", "--compare", f"--file={plain}", f"--directory={root}", "--numeric-owner", "--acls"]
    argv += ["--xattrs", "--warning=no-timestamp"]
    said = subprocess.run(
        argv, capture_output=True, check=False, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    )
    assert said.returncode in (0, 1, 2)
    found = set()
    for line in (said.stdout + said.stderr).decode("utf-8", "replace").splitlines():
        parts = line.removeprefix("tar: ").split(": ")
        if parts[0].startswith("./"):
            found.add(parts[0].removeprefix("./"))
    return found


def test_both_kinds_of_pools_and_every_attribute(
    each_pool: str,
    dir_pool: str,
    lxd: LocalLxd,
    cutter: Cutter,
    tmp_path: Path,
    space: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if each_pool == "dir":
        lxd.pool = dir_pool
        monkeypatch.setenv("MAW_MIRROR_POOL", dir_pool)
    path = make_archive(tmp_path / "vzdump-lxc-107-2026_11_25-00_00_00.tar.zst", vmid=107)
    for generation in (1, 2):
        report = cutter.json("sync", "--archive", path, "--name", lxd.name(), "--on", "local")
        assert (report["generation"], report["differences"]) == (generation, 0)
        assert report["replaced"] is (generation == 2)
    assert set(lxd.instances()) == {lxd.name()}
    config = lxd.instances()[lxd.name()]["config"]
    assert config["boot.autostart"] == "false"
    cutter("start", lxd.name(), "--on", "local")
    text = lxd.says(lxd.name(), "/bin/busybox", "ls", "-ln", "/opt/special").decode("utf-8", "replace")
    assert "1000" in text
    said = cutter("sync", "--archive", path, "--name", lxd.name(), "--on", "local", code=78)
    assert "is running" in said


def test_a_stranger_of_that_name_is_never_touched(
    lxd: LocalLxd, cutter: Cutter, tmp_path: Path, space: object
) -> None:
    lxd.lxc("init", "--empty", lxd.name(), "--storage", lxd.pool)
    path = make_archive(tmp_path / "a.tar")
    before = lxd.instances()
    assert "not touched" in cutter("sync", "--archive", path, "--name", lxd.name(), "--on", "local", code=77)
    assert lxd.instances() == before


def test_a_changed_mirror_is_told_from_its_source(
    lxd: LocalLxd, cutter: Cutter, tmp_path: Path, space: object
) -> None:
    path = make_archive(tmp_path / "a.tar")
    name = lxd.name()
    cutter("sync", "--archive", path, "--name", name, "--on", "local")
    (lxd.root(name) / "etc" / "inittab").write_text("changed\n")
    answer = cutter.run("verify", name, "--on", "local", "--json")
    assert answer.returncode == 79
    found = json.loads(answer.stdout)
    assert [one["path"] for one in found["differences"]] == ["etc/inittab"]


def test_a_mirror_beside_its_original_has_a_machine_id_of_its_own(
    lxd: LocalLxd, cutter: Cutter, tmp_path: Path, space: object
) -> None:
    def files(root: Path) -> None:
        from tests.fakes.proxmox import tree

        tree.standard(root)
        (root / "etc" / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")

    path = make_archive(tmp_path / "a.tar", files=files)
    name = lxd.name()
    cutter("sync", "--archive", path, "--name", name, "--on", "local")
    before = lxd.instances()[name]["description"]
    assert (lxd.root(name) / "etc" / "machine-id").read_text().startswith("0123")
    assert cutter.json("start", name, "--on", "local", "--beside")["beside"] is True
    assert lxd.says(name, "/bin/busybox", "wc", "-c", "/etc/machine-id").split()[0] == b"0"
    assert lxd.instances()[name]["description"] == before


@pytest.mark.parametrize(
    "kind",
    [
        "device bomb",
        "same file twice",
        "name that looks like options",
        "symlink out, then through it",
        "hard link to nothing",
        "folder, then file",
        "sparse file of 8 EiB",
        "truncated in data",
    ],
)
def test_a_hostile_archive_harms_nothing_outside(
    kind: str, lxd: LocalLxd, cutter: Cutter, tmp_path: Path, space: object
) -> None:
    path = tmp_path / "hostile.tar"
    HOSTILE[kind](path)
    answer = cutter.run("sync", "--archive", path, "--name", lxd.name(), "--on", "local", "--json")
    if kind in {"device bomb", "same file twice", "name that looks like options"}:
        assert answer.returncode == 0, answer.stderr
        report = json.loads(answer.stdout)
        assert kind != "device bomb" or any("device" in one["value"] for one in report["losses"])
    else:
        assert answer.returncode in (71, 72, 79), answer.stderr
        assert lxd.instances() == {}


def test_a_full_disk_leaves_the_mirror_before_and_says_so(
    lxd: LocalLxd, cutter: Cutter, tmp_path: Path, space: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = lxd.name("small")
    lxd.lxc("storage", "create", small, "btrfs", "size=256MiB")
    try:
        monkeypatch.setenv("MAW_MIRROR_POOL", small)
        path = make_archive(tmp_path / "a.tar")
        name = lxd.name()
        cutter("sync", "--archive", path, "--name", name, "--on", "local")

        def large(root: Path) -> None:
            from tests.fakes.proxmox import tree

            tree.standard(root)
            with Path("/dev/urandom").open("rb") as noise:
                for number in range(5):
                    (root / f"large-{number}").write_bytes(noise.read(64 << 20))

        full = make_archive(tmp_path / "b.tar", files=large)
        said = cutter("sync", "--archive", full, "--name", name, "--on", "local", code=13)
        assert "No space is left" in said
        assert set(lxd.instances()) == {name}
        cutter("start", name, "--on", "local")
        lxd.lxc("stop", "--force", name)
        cutter("sync", "--archive", path, "--name", name, "--on", "local")
    finally:
        lxd.clean()
        lxd.lxc("storage", "delete", small)


def test_a_manifest_is_that_of_the_archive(
    lxd: LocalLxd, cutter: Cutter, tmp_path: Path, space: object
) -> None:
    from maw.mirror.manifest import hash_of

    path = make_archive(tmp_path / "a.tar")
    report = cutter.json("sync", "--archive", path, "--name", lxd.name(), "--on", "local")
    assert report["manifest"] == hash_of(archive_manifest(path, tmp_path))
