"""The role model_weights: its program on the satellite, and whole runs of Ansible over a real sshd."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw.cli.workspace import Context
from maw.config import Workspace, load
from tests.fakes.hub import Hub
from tests.fakes.hub.content import tiny_safetensors
from tests.fakes.hub.server import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (ROOT / "roles/model_weights/files/verify_weights.py").read_text("utf-8")
REPO = "example/tiny-summarizer"
NAME = "example--tiny-summarizer"
FIRST, SECOND = "1" * 40, "2" * 40
FILES = {"config.json": b"{}", "1_Pooling/config.json": b"[]", "model.safetensors": tiny_safetensors(1000)}


def manifest(files: dict[str, bytes], minute: int = 1) -> str:
    listed = [
        {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in files.items()
    ]
    return json.dumps({"fetched_at": f"2026-01-01T00:0{minute}:00Z", "files": listed})


@dataclass
class Satellite:
    """A folder of weights, and the program that runs on the satellite."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / NAME

    def put(self, revision: str, files: dict[str, bytes]) -> Path:
        incoming = self.model / f".incoming-{revision}"
        for path, data in files.items():
            (incoming / path).parent.mkdir(parents=True, exist_ok=True)
            (incoming / path).write_bytes(data)
        return incoming

    def run(self, what: str, revision: str, *more: str, text: str, code: int = 0) -> Any:
        argv = [sys.executable, "-c", PROGRAM, what, "--folder", str(self.folder), "--model", NAME]
        argv += ["--revision", revision, *more]
        answer = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        assert answer.returncode == code, answer.stderr
        assert "Traceback" not in answer.stderr
        return json.loads(answer.stdout) if code == 0 else answer.stderr

    def look(self, revision: str, *more: str, files: dict[str, bytes] = FILES) -> Any:
        return self.run("look", revision, *more, text=manifest(files))

    def install(self, revision: str, files: dict[str, bytes] = FILES, *more: str, minute: int = 1) -> Any:
        self.put(revision, files)
        return self.run("install", revision, *more, text=manifest(files, minute))

    def holds(self, revision: str, files: dict[str, bytes]) -> bool:
        return all((self.model / revision / path).read_bytes() == data for path, data in files.items())


@pytest.fixture(params=["weights", "น้ำหนัก 🐘 $(id)"])
def copy(tmp_path: Path, request: pytest.FixtureRequest) -> Satellite:
    return Satellite(tmp_path / request.param)


def test_what_is_not_there_is_listed_with_its_bytes_and_nothing_is_made(copy: Satellite) -> None:
    found = copy.look(FIRST)
    assert (found["whole"], found["current"]) == (False, False)
    assert found["missing"] == sorted(FILES)
    assert found["needed"] == found["bytes"] == sum(map(len, FILES.values()))
    assert found["free"] > 0
    assert found["filters"] == [
        "--include=/1_Pooling/",
        "--include=/1_Pooling/config.json",
        "--include=/config.json",
        "--include=/model.safetensors",
        "--exclude=*",
    ]
    assert not copy.folder.exists()
    copy.put(FIRST, {"model.safetensors": b"12345"})
    assert copy.look(FIRST)["needed"] == found["needed"] - 5, "what has come in need not come again"


def test_what_came_in_whole_is_put_into_place_and_into_use(copy: Satellite) -> None:
    done = copy.install(FIRST, {**FILES, "config.json": b"{}"})
    assert done == {"changed": True, "fetched": sorted(FILES), "removed": []}
    assert copy.holds(FIRST, FILES)
    assert (copy.model / "current").readlink() == Path(FIRST)
    assert sorted(path.name for path in copy.model.iterdir()) == [".lock", FIRST, "current"]
    again = copy.look(FIRST)
    assert (again["whole"], again["current"], again["old"]) == (True, True, [])
    assert copy.run("install", FIRST, text=manifest(FILES))["changed"] is False


@pytest.mark.parametrize("wrong", [b"[]", b"", b"{}x"], ids=["same size", "cut", "longer"])
def test_other_bytes_are_refused_and_removed_and_what_was_in_use_stays(copy: Satellite, wrong: bytes) -> None:
    copy.install(FIRST)
    copy.put(SECOND, {**FILES, "config.json": wrong})
    said = copy.run("install", SECOND, text=manifest(FILES), code=1)
    assert "config.json did not arrive as it is on the core" in said
    assert "run this again" in said
    assert (copy.model / "current").readlink() == Path(FIRST)
    assert not (copy.model / SECOND).exists()
    assert copy.look(SECOND)["needed"] == len(FILES["config.json"]), "the rest is kept"
    copy.put(SECOND, {"config.json": FILES["config.json"]})
    assert copy.run("install", SECOND, text=manifest(FILES))["changed"]
    assert copy.holds(SECOND, FILES)


def test_what_was_checked_is_not_read_again_unless_it_is_asked(copy: Satellite) -> None:
    copy.install(FIRST)
    path = copy.model / FIRST / "model.safetensors"
    seen = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert copy.look(FIRST)["whole"], "size and time are the same"
    assert copy.look(FIRST, "--rehash")["missing"] == ["model.safetensors"]
    path.touch()
    assert copy.look(FIRST)["missing"] == ["model.safetensors"], "another time: it is read"
    copy.put(FIRST, {"model.safetensors": FILES["model.safetensors"]})
    assert copy.run("install", FIRST, text=manifest(FILES))["fetched"] == ["model.safetensors"]
    assert copy.holds(FIRST, FILES)
    assert copy.look(FIRST, "--rehash")["whole"]
    assert not (copy.model / f".incoming-{FIRST}").exists()


def test_without_its_notes_a_copy_is_read_again_and_a_look_may_leave_no_trace(copy: Satellite) -> None:
    copy.install(FIRST)
    note = copy.model / FIRST / ".verified.json"
    note.write_text("{")
    assert copy.look(FIRST, "--dry-run")["whole"]
    assert note.read_text() == "{"
    assert copy.look(FIRST)["whole"]
    assert json.loads(note.read_text()).keys() == FILES.keys()


def test_links_and_folders_are_no_files(copy: Satellite, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(FILES["config.json"])
    copy.put(FIRST, {path: data for path, data in FILES.items() if path != "config.json"})
    (copy.model / f".incoming-{FIRST}" / "config.json").symlink_to(tmp_path / "elsewhere")
    assert "did not arrive" in copy.run("install", FIRST, text=manifest(FILES), code=1)


def test_old_revisions_go_and_the_one_before_stays(copy: Satellite) -> None:
    revisions = [f"{number:040}" for number in range(1, 5)]
    for minute, revision in enumerate(revisions):
        copy.install(revision, FILES, "--keep", "9", minute=minute)
    (copy.model / f".incoming-{'f' * 40}").mkdir()
    (copy.model / f".removed-{'e' * 40}").mkdir()
    copy.run("install", revisions[0], "--keep", "9", text=manifest(FILES))
    assert (copy.model / "current").readlink() == Path(revisions[0])
    assert copy.look(revisions[0], "--keep", "1")["old"] == [revisions[2], revisions[1]]
    done = copy.run("install", revisions[0], "--keep", "0", text=manifest(FILES))
    assert sorted(done["removed"]) == sorted(revisions[1:])
    assert sorted(path.name for path in copy.model.iterdir()) == [".lock", revisions[0], "current"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"files": []}',
        '{"files": [{"path": "x"}]}',
        json.dumps({"files": [{"path": "../x", "size": 1, "sha256": "0" * 64}]}),
        json.dumps({"files": [{"path": "/x", "size": 1, "sha256": "0" * 64}]}),
        json.dumps({"files": [{"path": "*", "size": 1, "sha256": "0" * 64}]}),
        json.dumps({"files": [{"path": "x", "size": "1", "sha256": "0" * 64}]}),
        json.dumps({"files": [{"path": "x", "size": 1, "sha256": "0"}]}),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(copy: Satellite, text: str) -> None:
    said = copy.run("look", FIRST, text=text, code=1)
    assert "fetch the model anew there" in said


def test_killed_at_any_call_of_the_system_the_old_or_the_new_one_is_whole(tmp_path: Path) -> None:
    """Each change of the file system is a place where it may end: the program ends there, and runs again."""
    hook = (
        "import os, sys\n"
        "left = [int(os.environ['LEFT'])]\n"
        "def watch(event, _):\n"
        "    if event in ('os.rename', 'os.symlink', 'os.remove', 'os.rmdir', 'os.mkdir', 'shutil.rmtree'):\n"
        "        left[0] -= 1\n"
        "        if left[0] < 0: os.kill(os.getpid(), 9)\n"
        "sys.addaudithook(watch)\n"
    )
    new = {**FILES, "model.safetensors": tiny_safetensors(1000, seed=2)}
    ended = 0
    for left in range(100):
        copy = Satellite(tmp_path / str(left))
        copy.install(FIRST)
        copy.put(SECOND, new)
        argv = [sys.executable, "-c", hook + PROGRAM.replace("from __future__ import annotations\n", "")]
        argv += [
            "install",
            "--folder",
            str(copy.folder),
            "--model",
            NAME,
            "--revision",
            SECOND,
            "--keep",
            "0",
        ]
        environment = {**os.environ, "LEFT": str(left)}
        answer = subprocess.run(argv, input=manifest(new), text=True, env=environment, check=False)
        used = (copy.model / "current").readlink().name
        assert copy.holds(used, FILES if used == FIRST else new), left
        if answer.returncode == 0:
            break
        assert answer.returncode == -signal.SIGKILL
        ended += 1
        copy.run("install", SECOND, "--keep", "0", text=manifest(new))
        assert copy.holds("current", new), left
        assert sorted(path.name for path in copy.model.iterdir()) == [".lock", SECOND, "current"], left
    assert ended >= 5


# From here on: Ansible itself, with the real rsync and ssh.


@dataclass
class Cluster:
    """A core with a hub, a satellite behind a real sshd, and the role between them."""

    hub: Hub
    space: Workspace
    folder: Path
    environment: dict[str, str]

    @property
    def model(self) -> Path:
        return self.folder / NAME

    def argv(self, revision: str, **variables: Any) -> list[str]:
        given = {
            "model_weights_models": [{"repo": REPO, "revision": revision}],
            "model_weights_folder": str(self.folder),
            "model_weights_command": [sys.executable, "-c", "from maw.cli import maw; maw()"],
            **variables,
        }
        program = Path(sys.executable).parent / "ansible-playbook"
        argv = [str(program), "-i", str(self.space.inventory), str(self.space.root / "play.yml")]
        return [*argv, "--tags", "model_weights_run", "-e", json.dumps(given)]

    def play(self, revision: str, *more: str, code: int = 0, **variables: Any) -> str:
        answer = subprocess.run(
            [*self.argv(revision, **variables), *more],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        said = answer.stdout + answer.stderr
        assert answer.returncode == code, said
        assert "hf_of_the_owner" not in said
        return said

    def holds(self, revision: str, files: dict[str, bytes]) -> bool:
        return all((self.model / revision / path).read_bytes() == data for path, data in files.items())


def _changed(said: str) -> int:
    return sum(line.startswith("changed:") for line in said.splitlines())


@pytest.fixture
def cluster(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("there is no /usr/bin/python3, which the role runs on a satellite")
    assert Context(workspace, load(workspace.config_file)).ssh_paths.config.exists()
    play = [{"hosts": "satellites", "gather_facts": False, "roles": ["model_weights"]}]
    (workspace.root / "play.yml").write_text(json.dumps(play))
    for name in [one for one in os.environ if one.startswith("HF_")]:
        monkeypatch.delenv(name)
    with Hub() as hub:
        hub.repository(REPO, gated=True, allowed={"hf_of_the_owner"})
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_SSH_ARGS": f"-F {workspace.state / 'ssh_config'}",
            "ANSIBLE_HOST_KEY_CHECKING": "true",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "PYTHONPATH": str(ROOT),
        }
        yield Cluster(hub, workspace, tmp_path / "satellite" / "weights", environment)


@pytest.mark.sshd
@pytest.mark.slow
def test_a_model_travels_from_the_hub_to_the_satellite_and_the_second_run_changes_nothing(
    cluster: Cluster,
) -> None:
    commit = cluster.hub.repositories[REPO].commit(FILES)
    said = cluster.play(commit, code=2)
    assert "is gated" in said
    assert f"Accept the licence on {cluster.hub.url}/{REPO}" in said
    assert "What the satellites have stays as it is" in said
    token = cluster.space.keys / "hub-token"
    token.parent.mkdir(mode=0o700, exist_ok=True)
    token.write_text("hf_of_the_owner\n")
    token.chmod(0o600)
    assert _changed(cluster.play(commit, "--check")) == 1, (
        "it would be fetched; of its files nothing is known"
    )
    assert not cluster.folder.exists()
    cluster.play(commit)
    assert cluster.holds("current", FILES)
    cluster.hub.asked.clear()
    assert _changed(cluster.play(commit)) == 0
    assert cluster.hub.asked == [], "the core has it: the internet is not needed"
    assert _changed(cluster.play(commit, "--check")) == 0
    path = cluster.model / commit / "config.json"
    seen = path.stat()
    path.write_bytes(b"[]")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert _changed(cluster.play(commit)) == 0
    assert _changed(cluster.play(commit, model_weights_verify=True)) > 0
    assert cluster.holds("current", FILES)
    for one in cluster.folder.rglob("*"):
        assert one.is_dir() or b"hf_of_the_owner" not in one.read_bytes()


@pytest.mark.sshd
@pytest.mark.slow
def test_a_run_that_is_killed_while_it_copies_goes_on_where_it_was(cluster: Cluster) -> None:
    cluster.environment["HF_TOKEN"] = "hf_of_the_owner"
    repository = cluster.hub.repositories[REPO]
    first = repository.commit(FILES)
    cluster.play(first)
    new = {**FILES, "model.safetensors": tiny_safetensors(2_000_000, seed=3)}
    second = repository.commit(new)
    slow = cluster.space.root / "bin" / "rsync"
    slow.parent.mkdir()
    slow.write_text('#!/bin/sh\nexec /usr/bin/rsync --bwlimit=1000 "$@"\n')
    slow.chmod(0o755)
    environment = {**cluster.environment, "PATH": f"{slow.parent}:{cluster.environment['PATH']}"}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(cluster.argv(second), env=environment, start_new_session=True, **quiet)
    part = cluster.model / f".incoming-{second}" / "model.safetensors"
    assert wait_for(lambda: part.exists() and part.stat().st_size > 1_000_000, 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert cluster.holds("current", FILES), "the one in use stays whole and in use"
    assert not (cluster.model / second).exists()
    arrived = part.stat().st_size
    assert 1_000_000 < arrived < 8_000_000
    said = cluster.play(second, "-v")
    assert cluster.holds("current", new)
    assert cluster.holds(first, FILES), "the one before is kept"
    needed = re.search(r'needed\\*": (\d+)', said)
    assert needed is not None
    assert int(needed[1]) <= sum(map(len, new.values())) - arrived, "what has arrived is not asked for again"
    assert not part.exists()


@pytest.mark.sshd
@pytest.mark.slow
def test_what_cannot_be_is_refused_before_anything_is_touched(cluster: Cluster, small_disk: Path) -> None:
    cluster.environment["HF_TOKEN"] = "hf_of_the_owner"
    commit = cluster.hub.repositories[REPO].commit(
        {**FILES, "model.safetensors": tiny_safetensors(1_000_000)}
    )
    assert "prints the commit" in cluster.play("main", code=2)
    assert "a folder that is for weights alone" in cluster.play(commit, code=2, model_weights_folder="/opt")
    twice = [{"repo": REPO, "revision": commit}] * 2
    assert "lists a model twice" in cluster.play(commit, code=2, model_weights_models=twice)
    assert "cannot be run" in cluster.play(commit, code=2, model_weights_command=["/nowhere/maw"])
    said = cluster.play(commit, code=2, model_weights_folder=str(small_disk / "weights"))
    assert "free for" in said
    assert "What is in use stays as it is" in said
    assert not (small_disk / "weights").exists()
    assert not cluster.folder.exists()
    (cluster.space.root / "weights" / NAME / commit / "config.json").write_bytes(b"[]")
    assert "check the core's copy: maw weights verify" in cluster.play(commit, code=2).replace("\n", " ")
    assert not (cluster.model / "current").exists()
