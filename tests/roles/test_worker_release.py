"""The role worker: the release of maw that the core makes, and what the satellite does with it."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

import maw
from tests.roles.loading import load

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "roles" / "worker" / "files"
VENV = "venv-0123456789ab"


release = load(FILES / "release.py", "worker_release")


def run(
    name: str, *arguments: object, given: object = None, **environment: str
) -> subprocess.CompletedProcess:
    argv = [sys.executable, str(FILES / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(
        argv,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def package(tmp_path):
    """A small package maw with what is part of it and what is not."""
    folder = tmp_path / "package" / "maw"
    (folder / "offload").mkdir(parents=True)
    (folder / "__init__.py").write_text('__version__ = "9.8.7"\n')
    (folder / "offload" / "worker.py").write_text("VALUE = 1\n")
    (folder / "offload" / "__init__.py").touch()
    return folder


@pytest.fixture
def machine(tmp_path):
    """The folder of programs of a satellite, with a complete environment."""
    root = tmp_path / "machine"
    (root / VENV).mkdir(parents=True)
    (root / VENV / ".complete").touch()
    return root


def _pack(package: Path, into: Path) -> tuple[str, Path]:
    done = run("release", "--package", package, "--venv", VENV, "--into", into)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return said["hash"], Path(said["path"])


def _install(root: Path, name: str, archive: Path) -> subprocess.CompletedProcess:
    return run("unpack", f"--root={root}", f"--archive={archive}", f"--hash={name}")


def _current(root: Path) -> str:
    return (root / "current").readlink().name


def test_the_same_files_give_the_same_release_whatever_else_lies_there(package, tmp_path):
    name, archive = _pack(package, tmp_path / "a")
    assert _sha(archive) == name
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.cpython-311.pyc").touch()
    (package / ".hidden").touch()
    (package / "offload" / "worker.py~").touch()
    os.utime(package / "__init__.py", (1, 1))
    (package / "offload" / "worker.py").chmod(0o600)
    copy = shutil.copytree(package, tmp_path / "elsewhere" / "maw")
    assert _pack(copy, tmp_path / "b")[0] == name
    assert _pack(copy, tmp_path / "b")[1].read_bytes() == archive.read_bytes()
    (copy / "offload" / "worker.py").write_text("VALUE = 2\n")
    assert _pack(copy, tmp_path / "b")[0] != name


def test_the_release_of_this_maw_holds_all_its_files_and_data():
    done = run("release", "--venv", VENV)
    said = json.loads(done.stdout)
    assert (said["version"], said["path"]) == (maw.__version__, "None")
    archive, _ = release.build(Path(said["package"]), VENV)
    assert hashlib.sha256(archive).hexdigest() == said["hash"]
    names = set(release.files(ROOT / "maw"))
    assert {"offload/launcher.py", "templates/inventory/hosts.yml", "text/thai_borders.py"} <= names
    assert not any("__pycache__" in name for name in names)


def test_no_package_is_said_with_the_way_out(tmp_path):
    done = run("release", "--package", tmp_path, "--venv", VENV)
    assert done.returncode == 1
    assert "worker_source" in done.stderr


def test_a_release_is_installed_whole_and_the_one_before_is_kept(package, machine, tmp_path):
    names = []
    for value in range(4):
        (package / "offload" / "worker.py").write_text(f"VALUE = {value}\n")
        name, archive = _pack(package, tmp_path / "releases")
        done = _install(machine, name, archive)
        assert done.returncode == 0, done.stderr
        names.append(name)
        assert _current(machine) == name
    kept = {path.name for path in (machine / "releases").iterdir()}
    assert kept == set(names[-2:])
    assert (machine / "previous").readlink().name == names[-2]
    assert (machine / "current" / "maw" / "offload" / "worker.py").read_text() == "VALUE = 3\n"
    assert (machine / "current" / "venv").resolve() == machine / VENV
    assert list((machine / "current" / "maw" / "offload").glob("__pycache__/worker.*.pyc"))


def test_environments_that_no_release_uses_are_pruned(package, machine, tmp_path):
    (machine / "venv-ffffffffffff").mkdir()
    name, archive = _pack(package, tmp_path / "releases")
    done = _install(machine, name, archive)
    assert json.loads(done.stdout)["pruned"] == ["venv-ffffffffffff"]
    assert (machine / VENV).is_dir()


def test_what_an_interrupted_run_left_is_in_nobodys_way(package, machine, tmp_path):
    name, archive = _pack(package, tmp_path / "releases")
    (machine / "releases" / f".new-{name}" / "maw").mkdir(parents=True)
    (machine / ".current-new").symlink_to("nowhere")
    (machine / "releases" / name).mkdir()
    done = _install(machine, name, archive)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (machine / "releases").iterdir()] == [name]
    assert _current(machine) == name


def _changed(archive: Path, name: str, content: bytes | None, kind: bytes = tarfile.REGTYPE) -> Path:
    """Return a copy of an archive with one member changed, added, or left out."""
    path = archive.with_name("changed.tar")
    with tarfile.open(archive) as old, tarfile.open(path, "w") as new:
        for member in old:
            if member.name != name:
                new.addfile(member, old.extractfile(member))
        if content is not None:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            if kind == tarfile.REGTYPE:
                new.addfile(member, io.BytesIO(content))
            else:
                member.size = 0
                new.addfile(member)
    return path


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("maw/__init__.py", b"tampered", tarfile.REGTYPE),
        ("maw/__init__.py", None, tarfile.REGTYPE),
        ("maw/more.py", b"added", tarfile.REGTYPE),
        ("maw/../../escaped.py", b"x", tarfile.REGTYPE),
        ("/etc/cron.d/x", b"x", tarfile.REGTYPE),
        ("other/x.py", b"x", tarfile.REGTYPE),
        ("maw/link.py", b"x", tarfile.SYMTYPE),
        ("maw/device", b"x", tarfile.CHRTYPE),
        ("MANIFEST.json", b"{", tarfile.REGTYPE),
        ("MANIFEST.json", b'{"files": {}, "venv": "../../../etc"}', tarfile.REGTYPE),
        ("MANIFEST.json", None, tarfile.REGTYPE),
    ],
)
def test_a_damaged_archive_is_refused_and_the_release_before_stays(
    package, machine, tmp_path, name, content, kind
):
    before, archive = _pack(package, tmp_path / "releases")
    assert _install(machine, before, archive).returncode == 0
    changed = _changed(archive, name, content, kind)
    announced = _install(machine, before, changed)
    own = _install(machine, _sha(changed), changed)
    for done in (announced, own):
        assert done.returncode == 1
        assert "Nothing was switched" in done.stderr
        assert "Traceback" not in done.stderr
    assert _current(machine) == before
    assert (machine / "current" / "maw" / "__init__.py").read_text() == '__version__ = "9.8.7"\n'


def test_a_release_whose_environment_is_not_complete_is_not_switched_to(package, machine, tmp_path):
    (machine / VENV / ".complete").unlink()
    name, archive = _pack(package, tmp_path / "releases")
    done = _install(machine, name, archive)
    assert done.returncode == 1
    assert VENV in done.stderr
    assert not (machine / "current").exists()


def test_the_look_sees_a_file_of_the_release_that_was_changed(package, machine, tmp_path):
    def seen() -> dict[str, Any]:
        done = run("look", machine, tmp_path / "launcher", "the mark")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert (seen()["current"], seen()["whole"], seen()["launcher"]) == (None, False, "absent")
    name, archive = _pack(package, tmp_path / "releases")
    _install(machine, name, archive)
    assert (seen()["current"], seen()["whole"]) == (name, True)
    (machine / "current" / "maw" / "offload" / "worker.py").write_text("VALUE = 3\n")
    assert (seen()["current"], seen()["whole"]) == (name, False)
    assert _install(machine, name, archive).returncode == 0
    assert seen()["whole"]
    (tmp_path / "launcher").write_text("#!/bin/sh\n")
    assert seen()["launcher"] == "other"
    (tmp_path / "launcher").write_text("#!/bin/sh\n# the mark\n")
    assert seen()["launcher"] == "ours"


def test_the_look_keeps_to_what_an_old_python_understands():
    ast.parse((FILES / "look.py").read_text("utf-8"), feature_version=(3, 6))
