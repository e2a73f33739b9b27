"""The role worker: its lock, and the wheels that the core collects for a satellite."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.roles.loading import load

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "roles" / "worker" / "files"
LOOK = {
    "glibc": "2.36",
    "machine": "x86_64",
    "markers": {
        "implementation_name": "cpython",
        "implementation_version": "3.11.2",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "6.6.87.2-microsoft-standard-WSL2",
        "platform_system": "Linux",
        "platform_version": "#1 SMP",
        "python_full_version": "3.11.2",
        "python_version": "3.11",
        "sys_platform": "linux",
    },
}
LOCKS = ["requirements.txt", "requirements-satellite.txt"]


wheels = load(FILES / "wheels.py", "worker_wheels")


def look(**markers: str) -> dict[str, Any]:
    return {**LOOK, "markers": {**LOOK["markers"], **markers}}


# The lock


def _pins(path: Path) -> dict[str, set[tuple[str, str]]]:
    """Name -> pins with their markers."""
    found: dict[str, set[tuple[str, str]]] = {}
    for line in path.read_text("utf-8").replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line.split(" --hash", 1)[0].strip())
            found.setdefault(requirement.name, set()).add(
                (str(requirement.specifier), str(requirement.marker))
            )
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_has_the_versions_of_the_constraints(name):
    constraints = _pins(ROOT / "constraints.txt")
    for package, pins in _pins(FILES / name).items():
        if package in constraints:
            versions = {version for version, _ in constraints[package]}
            assert {version for version, _ in pins} <= versions, f"{package}: run roles/worker/files/lock.sh"
        else:
            assert name != "requirements.txt", f"{package} is not in constraints.txt"


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_the_lock_has_hashes_and_everything_that_is_asked_for_is_there(name):
    for python in ("3.11", "3.12", "3.13"):
        packages = wheels.packages(name, look(python_version=python, python_full_version=f"{python}.1"))
        assert all(package.hashes for package in packages)
        names = [package.name for package in packages]
        assert len(names) == len(set(names)), "one version of each"
        asked = (FILES / name).with_suffix(".in").read_text("utf-8")
        assert {line for line in asked.splitlines() if re.match(r"[a-z]", line)} <= set(names)


def test_the_lock_for_torch_leaves_torch_itself_and_cuda_out():
    names = {package.name for package in wheels.packages("requirements-satellite.txt", look())}
    assert "transformers" in names
    assert not any(name == "torch" or name.startswith(("nvidia", "cuda", "triton")) for name in names)


def test_markers_are_those_of_the_satellite_and_not_of_the_core():
    def numpy(python: str) -> str:
        found = wheels.packages(
            "requirements.txt", look(python_version=python[:4], python_full_version=python)
        )
        (version,) = [package.version for package in found if package.name == "numpy"]
        return version

    assert numpy("3.11.2") != numpy("3.12.3")


def test_the_environment_is_named_after_the_lock_and_the_python():
    names = {
        wheels.venv_name("requirements.txt", look()),
        wheels.venv_name("requirements-satellite.txt", look()),
        wheels.venv_name("requirements.txt", look(python_version="3.12")),
    }
    assert len(names) == 3
    assert all(re.fullmatch(r"venv-[0-9a-f]{12}", name) for name in names)
    assert wheels.venv_name("requirements.txt", look(platform_release="another kernel")) in names


def test_the_platforms_are_those_that_the_satellites_c_library_can_run():
    found = wheels.platforms({**LOOK, "glibc": "2.28"})
    assert found[0] == "manylinux_2_28_x86_64"
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"} <= set(found)
    assert "manylinux_2_29_x86_64" not in found
    arm = wheels.platforms({**LOOK, "machine": "aarch64"})
    assert "manylinux_2_17_aarch64" in arm
    assert not any("2_16" in name or "manylinux1_" in name or "2010" in name for name in arm)


def _slow_pip(python: Path, *arguments: str) -> subprocess.CompletedProcess:
    argv = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_the_worker_runs_with_nothing_but_the_lock(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    installed = _slow_pip(
        python,
        "install",
        "--quiet",
        "--require-hashes",
        "--no-deps",
        "--only-binary=:all:",
        "-r",
        FILES / "requirements.txt",
    )
    if (
        installed.returncode
        and "No matching distribution" in installed.stderr
        and os.environ.get("CI") != "true"
    ):
        pytest.skip(f"pip finds no package index here: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    assert _slow_pip(python, "check").returncode == 0
    code = (
        "import importlib, pkgutil, maw.text\n"
        "names = [f'maw.text.{one.name}' for one in pkgutil.iter_modules(maw.text.__path__)]\n"
        "names += [f'maw.models.{one}' for one in ('engines', 'extractive', 'digest', 'guard')]\n"
        "names += [f'maw.offload.{one}' for one in ('worker', 'executor', 'serve', 'launcher')]\n"
        "for name in names: importlib.import_module(name)\n"
        "from maw.offload import worker; worker.main()\n"
    )
    shutil.copytree(ROOT / "maw", tmp_path / "release" / "maw")
    job = json.dumps({"type": "job", "id": "1", "text": "<p>One sentence.", "media_type": "text/html"})
    environment = {"PYTHONPATH": str(tmp_path / "release"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [python, "-P", "-c", code], input=job, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert '"type":"result"' in done.stdout


def test_what_the_role_imports_to_check_the_environment_is_what_the_lock_asks_for():
    modules = yaml.safe_load((ROOT / "roles/worker/vars/main.yml").read_text("utf-8"))["_worker_modules"]
    asked = re.findall(r"^([a-z][a-z0-9-]+)", (FILES / "requirements.in").read_text("utf-8"), re.MULTILINE)
    names = {"markdown-it-py": "markdown_it"}
    for name in asked:
        assert f"'{names.get(name, name.replace('-', '_'))}" in modules


# The wheels


def _wheel(folder: Path, name: str, version: str, *, content: str = "") -> Path:
    """Make a real, tiny wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version.replace('+', '_')}.dist-info"
    files = {
        f"{name}.py": f"VALUE = {content!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{key},sha256={base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()).rstrip(b'=').decode()},{len(value)}\n"
        for key, value in files.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for key, value in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(key), value)
    return path


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Core:
    """A core with an index of its own, and a lock of two small packages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.index, self.cache = folder / "role", folder / "index", folder / "cache"
        self.folder.mkdir()
        shutil.copy(FILES / "wheels.py", self.folder)
        first = _wheel(self.index, "first", "1.0")
        second = _wheel(self.index, "second", "2.0")
        lines = [
            f"first==1.0 --hash=sha256:{_sha(first)} \\\n    --hash=sha256:{'0' * 64}\n",
            f"second==2.0 ; python_full_version >= '3.11' --hash=sha256:{_sha(second)}\n",
            f"third==3.0 ; python_full_version < '3.11' --hash=sha256:{'1' * 64}\n",
        ]
        for name in LOCKS:
            (self.folder / name).write_text("# a lock\n" + "".join(lines))
        (self.folder / "requirements-torch.txt").write_text("torch==2.13.0\n")
        _wheel(self.index, "torch", "2.13.0+cpu", content="genuine")

    def collect(self, *arguments: str) -> subprocess.CompletedProcess:
        argv = [
            sys.executable,
            str(self.folder / "wheels.py"),
            "collect",
            "--cache",
            str(self.cache),
            *arguments,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_CONFIG_FILE": os.devnull}
        return subprocess.run(
            argv, input=json.dumps(LOOK), capture_output=True, text=True, timeout=120, env=environment
        )

    @property
    def wheels(self) -> Path:
        return self.cache / "wheels" / "cp311-glibc2.36-x86_64"

    @property
    def found(self) -> list[str]:
        return sorted(path.name for path in self.wheels.iterdir())


@pytest.fixture
def core(tmp_path):
    return Core(tmp_path)


def test_the_core_fetches_what_is_missing_once_and_packs_it(core):
    first, second = core.collect(), core.collect()
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert [json.loads(done.stdout)["downloaded"] for done in (first, second)] == [2, 0]
    assert core.found == ["first-1.0-py3-none-any.whl", "second-2.0-py3-none-any.whl"]
    with tarfile.open(json.loads(second.stdout)["archive"]) as tar:
        assert sorted(tar.getnames()) == core.found


def test_what_is_in_the_cache_needs_no_index(core):
    core.collect()
    shutil.rmtree(core.index)
    assert core.collect().returncode == 0


def test_a_wheel_that_was_changed_in_the_cache_is_refused_by_name(core):
    core.collect()
    path = core.wheels / "first-1.0-py3-none-any.whl"
    path.write_bytes(path.read_bytes() + b"x")
    done = core.collect()
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "Nothing was copied" in done.stderr
    path.unlink()
    assert core.collect().returncode == 0


def test_an_index_that_serves_another_wheel_is_refused_and_nothing_is_kept(core):
    _wheel(core.index, "second", "2.0", content="tampered")
    done = core.collect()
    assert done.returncode == 1
    assert "pip on the core cannot fetch the wheels" in done.stderr
    assert core.found == []


def test_without_index_and_cache_the_next_step_is_said(core):
    shutil.rmtree(core.index)
    core.index.mkdir()
    done = core.collect()
    assert done.returncode == 1
    assert str(core.wheels) in done.stderr
    assert "Traceback" not in done.stderr


def test_torch_is_held_to_the_hash_that_the_core_saw_first(core):
    first = core.collect("--extra=satellite")
    assert first.returncode == 0, first.stderr
    line = json.loads(first.stdout)["torch_line"]
    genuine = _sha(core.index / "torch-2.13.0+cpu-py3-none-any.whl")
    assert line == f"torch==2.13.0+cpu --hash=sha256:{genuine}"
    known = json.loads((core.cache / "wheels" / "manifest.json").read_text())
    assert known == {"torch-2.13.0+cpu-py3-none-any.whl": genuine}

    (core.wheels / "torch-2.13.0+cpu-py3-none-any.whl").unlink()
    _wheel(core.index, "torch", "2.13.0+cpu", content="another build")
    second = core.collect("--extra=satellite")
    assert second.returncode == 1
    assert "manifest.json" in second.stderr
    assert json.loads((core.cache / "wheels" / "manifest.json").read_text()) == known


def test_a_satellite_that_has_an_index_gets_only_torch_from_the_core(core):
    done = core.collect("--extra=satellite", "--only-torch")
    assert json.loads(done.stdout)["wheels"] == 1
    assert core.found == ["torch-2.13.0+cpu-py3-none-any.whl"]


def test_another_c_library_is_refused_with_the_way_out(core):
    argv = [sys.executable, str(core.folder / "wheels.py"), "collect", "--cache", str(core.cache)]
    done = subprocess.run(argv, input=json.dumps({**LOOK, "glibc": ""}), capture_output=True, text=True)
    assert done.returncode == 1
    assert "worker_wheels or core_wheels: online" in done.stderr
