"""`maw weights`, the real program with the real huggingface_hub, against the played hub on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from maw.cli.workspace import create
from maw.config import Workspace
from tests.fakes.hub import Hub, Trouble
from tests.fakes.hub.content import tiny_safetensors
from tests.fakes.hub.server import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

ROOT = Path(__file__).resolve().parents[2]
SHAPE = json.loads((ROOT / "docs/schema/weights.json").read_text("utf-8"))
REPO = "google/t5gemma-2-270m-270m"
TOKEN = "hf_of_the_owner"
MODEL = tiny_safetensors(500_000)
FILES = {
    "config.json": b'{"model_type": "t5gemma2"}',
    "LICENSE": "เงื่อนไข Gemma".encode(),
    "model.safetensors": MODEL,
    "tokenizer.json": b"{}",
    "README.md": b"# model",
}
TAKEN = ["LICENSE", "config.json", "model.safetensors", "tokenizer.json"]


def checked(answer: bytes) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(answer)
    jsonschema.Draft202012Validator(SHAPE).validate(shown)
    return shown


@dataclass
class Place:
    """A hub with one model, and a workspace whose weights come from there."""

    hub: Hub
    space: Workspace
    maw: Command
    env: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.space.root / "weights"

    @property
    def model(self) -> Path:
        return self.root / REPO.replace("/", "--")

    def run(self, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        """Run a verb and expect its code; whatever happens, no token is shown."""
        answer = self.maw("weights", *arguments, env={**self.env, **(env or {})})
        said = (answer.stdout + answer.stderr).decode()
        assert answer.returncode == code, said
        assert "Traceback" not in said
        assert TOKEN not in said
        return said

    def ask(self, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> dict[str, Any]:
        answer = self.maw("weights", *arguments, "--json", env={**self.env, **(env or {})})
        assert answer.returncode == code, (answer.stdout + answer.stderr).decode()
        return checked(answer.stdout)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", "from maw.cli import maw; maw()", "weights", *arguments]
        given = {**os.environ, **self.env, **env}
        return subprocess.Popen(
            argv, env=given, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def part(self, commit: str) -> Path:
        return self.model / f".incoming-{commit}" / "model.safetensors.part"

    def has(self, commit: str, files: dict[str, bytes]) -> bool:
        """Whether a revision is whole here, with these files and a true manifest."""
        folder = self.model / commit
        manifest = checked((folder / "MANIFEST.json").read_bytes())
        assert {one["path"]: one["sha256"] for one in manifest["files"]} == {
            path: hashlib.sha256(content).hexdigest() for path, content in files.items()
        }
        assert (manifest["repo"], manifest["revision"], manifest["licence"]) == (REPO, commit, "gemma")
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert found == {*files, "MANIFEST.json"}
        return all((folder / path).read_bytes() == content for path, content in files.items())


@pytest.fixture(params=["space"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, maw_command: Command, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    for name in [*os.environ]:
        if name.startswith(("HF_", "HUGGING")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    space = Workspace(tmp_path / request.param)
    create(space.root)
    monkeypatch.setenv("MAW_WORKSPACE", str(space.root))
    with Hub() as hub:
        hub.repository(REPO)
        yield Place(hub, space, maw_command, {"HF_ENDPOINT": hub.url})


@pytest.fixture
def commit(place: Place) -> str:
    return place.hub.repositories[REPO].commit(FILES)


def only(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: files[path] for path in TAKEN}


@pytest.mark.parametrize("place", ["space", "ที่ทำงาน 🐘 'x' $(id)"], indirect=True)
def test_a_model_is_fetched_whole_checked_and_put_into_use(place: Place, commit: str) -> None:
    done = place.ask("fetch", REPO)
    assert (done["revision"], done["changed"], done["licence"]) == (commit, True, "gemma")
    assert [one["path"] for one in done["files"] if one["fetched"]] == TAKEN
    assert {"path": "README.md", "reason": "not asked for"} in done["skipped"]
    assert place.has(commit, only(FILES))
    assert (place.model / "current").readlink() == Path(commit)
    assert sorted(path.name for path in place.model.iterdir()) == [".lock", commit, "current"]


def test_the_same_again_fetches_nothing_and_a_pinned_one_does_not_even_ask(place: Place, commit: str) -> None:
    place.run("fetch", REPO)
    place.hub.asked.clear()
    assert not place.ask("fetch", REPO)["changed"]
    assert [one.path for one in place.hub.asked] == [f"/api/models/{REPO}"]
    place.hub.asked.clear()
    assert "there already" in place.run("fetch", REPO, "--revision", commit)
    assert place.hub.asked == []


def test_the_commit_is_printed_to_be_pinned_and_a_branch_is_resolved_once(place: Place, commit: str) -> None:
    assert f"--revision {commit}" in place.run("fetch", REPO)
    newer = place.hub.repositories[REPO].commit({**FILES, "config.json": b"[]"})
    done = place.ask("fetch", REPO, "--revision", "main")
    assert (done["asked"], done["revision"]) == ("main", newer)
    assert f"/{newer}/" in place.hub.requests_for("config.json")[-1].path, "asked by commit, not by branch"
    back = place.ask("fetch", REPO, "--revision", commit)
    assert back["changed"], "the one in use is another now"
    assert (place.model / "current").readlink() == Path(commit)


def test_a_dry_run_lists_the_sizes_and_changes_nothing(place: Place, commit: str) -> None:
    done = place.ask("fetch", REPO, "--dry-run")
    assert (done["dry_run"], done["changed"]) == (True, True)
    assert {one["path"]: one["size"] for one in done["files"]} == {
        path: len(content) for path, content in only(FILES).items()
    }
    assert done["free_bytes"] > 0
    assert not place.root.exists()
    assert "would be fetched" in place.run("fetch", REPO, "--dry-run")


def test_a_fetch_that_is_killed_goes_on_where_it_stopped(place: Place, commit: str) -> None:
    hold = threading.Event()
    place.hub.troubles["model.safetensors"] = Trouble(pause_after=400_000, hold=hold, times=1)
    process = place.start("fetch", REPO)
    part = place.part(commit)
    assert wait_for(lambda: part.exists() and part.stat().st_size > 300_000)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    hold.set()
    assert not (place.model / commit).exists(), "never half installed"
    assert not (place.model / "current").exists()
    (unfinished,) = place.ask("list")["unfinished"]
    arrived = part.stat().st_size
    assert unfinished["bytes"] >= arrived > 300_000
    place.hub.asked.clear()
    assert place.ask("fetch", REPO)["changed"]
    (asked,) = [one for one in place.hub.requests_for("model.safetensors") if "resolve" not in one.path]
    assert asked.headers["range"] == f"bytes={arrived}-"
    assert place.has(commit, only(FILES))
    assert place.ask("list")["unfinished"] == []


@pytest.mark.parametrize(
    "name", [signal.SIGINT, signal.SIGTERM], ids=["interrupted by a person", "ended by the system"]
)
def test_a_stopped_fetch_keeps_what_was_in_use(place: Place, commit: str, name: signal.Signals) -> None:
    place.run("fetch", REPO)
    files = {**FILES, "model.safetensors": tiny_safetensors(500_000, seed=1)}
    newer = place.hub.repositories[REPO].commit(files)
    hold = threading.Event()
    place.hub.troubles["model.safetensors"] = Trouble(pause_after=400_000, hold=hold, times=1)
    process = place.start("fetch", REPO)
    assert wait_for(lambda: place.part(newer).exists() and place.part(newer).stat().st_size > 0)
    process.send_signal(name)
    _, said = process.communicate(timeout=20)
    hold.set()
    assert process.returncode == (130 if name == signal.SIGINT else -signal.SIGTERM), said
    assert place.ask("verify")["ok"]
    assert (place.model / "current").readlink() == Path(commit)
    place.run("fetch", REPO)
    assert place.has(newer, only(files))
    assert place.has(commit, only(FILES)), "the older one stays until it is pruned"


def test_what_is_left_of_an_earlier_run_is_not_trusted(place: Place, commit: str) -> None:
    part = place.part(commit)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" * 1000)
    (part.parent / "config.json").write_bytes(b"x" * len(FILES["config.json"]))
    (part.parent / "old.gguf.part").write_bytes(b"of another fetch")
    (part.parent / "LICENSE.part").write_bytes(b"x" * 9999)
    place.run("fetch", REPO)
    assert place.has(commit, only(FILES))


def test_a_connection_that_is_cut_again_and_again_still_brings_it_all(place: Place, commit: str) -> None:
    place.hub.troubles["model.safetensors"] = Trouble(cut_after=900_000, times=2)
    place.run("fetch", REPO)
    assert place.has(commit, only(FILES))
    ranges = [
        one.headers.get("range")
        for one in place.hub.requests_for("model.safetensors")
        if "resolve" in one.path
    ]
    assert len(ranges) == 3
    assert ranges[0] is None
    assert all(ranges[1:]), "each goes on where the one before was cut"


def test_a_silent_connection_is_made_again(place: Place, commit: str) -> None:
    place.hub.troubles["model.safetensors"] = Trouble(pause_after=500_000, pause=30, times=1)
    place.run("fetch", REPO, env={"MAW_WEIGHTS_SILENCE_SECONDS": "1"})
    assert place.has(commit, only(FILES))


def test_a_server_that_knows_no_ranges_is_asked_for_the_whole(place: Place, commit: str) -> None:
    part = place.part(commit)
    part.parent.mkdir(parents=True)
    part.write_bytes(MODEL[:5000])
    place.hub.troubles["model.safetensors"] = Trouble(whole=True)
    place.run("fetch", REPO)
    assert place.has(commit, only(FILES))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"], ids=["in LFS", "in git"])
def test_other_bytes_than_the_hub_lists_are_refused_and_not_kept(
    place: Place, commit: str, name: str
) -> None:
    place.hub.troubles[name] = Trouble(tamper=True)
    said = place.run("fetch", REPO, code=113)
    assert "the hub lists" in said
    assert f"maw weights fetch {REPO} --revision {commit}" in said
    assert not (place.model / commit).exists()
    assert not list(place.model.rglob(f"{name}*"))
    del place.hub.troubles[name]
    place.run("fetch", REPO)
    assert place.has(commit, only(FILES))


def test_a_busy_hub_is_asked_again(place: Place, commit: str) -> None:
    place.hub.busy = 1
    place.run("fetch", REPO)
    assert place.has(commit, only(FILES))


def test_a_hub_that_cannot_be_reached_is_said(place: Place, free_port: int) -> None:
    said = place.run("fetch", REPO, code=114, env={"HF_ENDPOINT": f"http://127.0.0.1:{free_port}"})
    assert f"The hub at http://127.0.0.1:{free_port} cannot be reached" in said
    assert "run the same command again" in said
    assert not place.root.exists()
    assert "HF_HUB_OFFLINE is set" in place.run("fetch", REPO, code=114, env={"HF_HUB_OFFLINE": "1"})


def test_what_is_no_hub_is_said(place: Place, commit: str) -> None:
    place.hub.listed = {"siblings": [{"rfilename": "model.safetensors"}]}
    assert "without a size" in place.run("fetch", REPO, code=110)
    place.hub.listed = {"siblings": 5}
    assert "answer is not understood" in place.run("fetch", REPO, code=110)
    place.hub.listed = {"sha": "../../etc"}
    assert "names no commit" in place.run("fetch", REPO, code=110)


def test_a_gated_model_without_a_token_says_where_to_get_one(place: Place, commit: str) -> None:
    place.hub.repositories[REPO].gated = True
    for more in ([], ["--dry-run"]):
        said = place.run("fetch", REPO, *more, code=112)
        assert f"Accept the licence on {place.hub.url}/{REPO}" in said
        assert f"{place.space.root}/keys/hub-token (mode 0600)" in said
        assert "HF_TOKEN" in said
    assert not place.root.exists()


def test_a_licence_that_is_not_accepted_says_where_to_accept_it(place: Place, commit: str) -> None:
    place.hub.repositories[REPO].gated = True
    said = place.run("fetch", REPO, code=111, env={"HF_TOKEN": TOKEN})
    assert f"accept the licence on {place.hub.url}/{REPO}" in said
    said = place.run("fetch", REPO, code=112, env={"HF_TOKEN": "hf_of_somebody"})
    assert "does not take the token" in said


def test_the_token_comes_from_a_file_and_stays_with_the_hub(place: Place, commit: str) -> None:
    repository = place.hub.repositories[REPO]
    repository.gated = True
    repository.allowed = {TOKEN}
    path = place.space.keys / "hub-token"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o644)
    assert "others may read it" in place.run("fetch", REPO, code=119)
    path.chmod(0o600)
    place.run("fetch", REPO)
    assert place.has(commit, only(FILES))
    to_hub = [one for one in place.hub.asked if "/resolve/" in one.path]
    to_store = [one for one in place.hub.asked if one.path.startswith(f"/{REPO}/{commit}")]
    assert to_store
    assert {one.headers.get("authorization") for one in to_hub} == {f"Bearer {TOKEN}"}
    assert {one.headers.get("authorization") for one in to_store} == {None}
    for one in place.space.root.rglob("*"):
        if one.is_file() and one != path:
            assert TOKEN.encode() not in one.read_bytes(), one


def test_a_token_does_not_travel_in_the_clear(place: Place) -> None:
    said = place.run("fetch", REPO, code=110, env={"HF_TOKEN": TOKEN, "HF_ENDPOINT": "http://192.0.2.1"})
    assert "not https" in said


def test_what_is_not_there_is_said(place: Place, commit: str) -> None:
    assert f"{REPO} has no revision nope" in place.run("fetch", REPO, "--revision", "nope", code=115)
    assert f"no revision {'0' * 40}" in place.run("fetch", REPO, "--revision", "0" * 40, code=115)
    assert "There is no model owner/none on the hub, or somebody" in place.run(
        "fetch", "owner/none", code=116
    )
    assert "the account of your token" in place.run("fetch", "owner/none", code=116, env={"HF_TOKEN": TOKEN})
    assert "OWNER/NAME" in place.run("fetch", "../etc", code=2)
    assert not place.root.exists()


def test_pickles_and_hostile_names_are_refused_and_nothing_is_written(place: Place, tmp_path: Path) -> None:
    repository = place.hub.repositories[REPO]
    before = set(tmp_path.rglob("*"))
    repository.commit({"config.json": b"{}", "pytorch_model.bin": b"x", "a.pt": b"x", "b.ckpt": b"x"})
    assert "may run code when loaded: a.pt, b.ckpt, pytorch_model.bin" in place.run("fetch", REPO, code=117)
    for name in ("../../evil.json", "/tmp/evil.json", "a\\..\\evil.json", "x\x1b[31m.json"):
        repository.commit({"model.safetensors": b"x", name: b"evil"})
        assert "does not stay in its folder or is not plain" in place.run("fetch", REPO, code=117)
    assert set(tmp_path.rglob("*")) == before


def test_one_gguf_is_fetched_by_name_and_another_joins_it(place: Place) -> None:
    files = {
        "m-Q4.gguf": b"GGUF4" * 99,
        "m-Q8.gguf": b"GGUF8" * 99,
        "LICENSE": b"terms",
        "config.json": b"{}",
    }
    commit = place.hub.repositories[REPO].commit(files)
    assert "Name one with --file: m-Q4.gguf, m-Q8.gguf" in place.run("fetch", REPO, code=2)
    place.run("fetch", REPO, "--file", "m-Q4.gguf")
    assert place.has(commit, {path: files[path] for path in ("LICENSE", "m-Q4.gguf")})
    done = place.ask("fetch", REPO, "--revision", commit, "--file", "m-Q8.gguf")
    assert [one["path"] for one in done["files"] if one["fetched"]] == ["m-Q8.gguf"]
    assert place.has(commit, {path: files[path] for path in ("LICENSE", "m-Q4.gguf", "m-Q8.gguf")})
    assert not place.ask("fetch", REPO, "--revision", commit, "--file", "m-Q4.gguf")["changed"]
    assert place.ask("list")["unfinished"] == []


def test_two_at_once_fetch_it_once(place: Place, commit: str) -> None:
    hold = threading.Event()
    place.hub.troubles["model.safetensors"] = Trouble(pause_after=200_000, hold=hold, times=1)
    patient = {"MAW_WEIGHTS_SILENCE_SECONDS": "100"}
    first = place.start("fetch", REPO, "--json", **patient)
    assert wait_for(lambda: place.part(commit).exists())
    second = place.start("fetch", REPO, "--json", **patient)
    assert second.stderr is not None
    assert b"another maw fetches the same model" in second.stderr.readline()
    hold.set()
    answers = [one.communicate(timeout=60) for one in (first, second)]
    assert [one.returncode for one in (first, second)] == [0, 0], answers
    assert [checked(stdout)["changed"] for stdout, _ in answers] == [True, False]
    assert len([one for one in place.hub.requests_for("model.safetensors") if "resolve" in one.path]) == 1
    assert place.has(commit, only(FILES))


def test_a_full_disk_is_seen_before_and_in_the_middle(place: Place, commit: str, small_disk: Path) -> None:
    folder = {"MAW_WEIGHTS_FOLDER": str(small_disk / "w")}
    (small_disk / "ballast").write_bytes(b"x" * 900_000)
    said = place.run("fetch", REPO, code=118, env=folder)
    assert "are free for" in said
    assert "Nothing was fetched" in said
    assert not (small_disk / "w").exists()
    (small_disk / "ballast").unlink()
    hold = threading.Event()
    place.hub.troubles["model.safetensors"] = Trouble(pause_after=200_000, hold=hold, times=1)
    process = place.start("fetch", REPO, **folder)
    part = small_disk / "w" / place.model.name / f".incoming-{commit}" / "model.safetensors.part"
    assert wait_for(part.exists)
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError):
        while True:
            ballast.write(b"x" * 4096)
    hold.set()
    _, said_then = process.communicate(timeout=60)
    assert process.returncode == 118, said_then
    assert b"became full. What has arrived is kept" in said_then
    (small_disk / "ballast").unlink()
    place.run("fetch", REPO, env=folder)
    assert place.ask("verify", env=folder)["ok"]


def test_a_model_over_the_limit_is_refused(place: Place, commit: str) -> None:
    place.hub.listed = {
        "siblings": [
            {
                "rfilename": "model.safetensors",
                "size": 2 * 10**9,
                "blobId": "0" * 40,
                "lfs": {"size": 2 * 10**9, "sha256": "0" * 64, "pointerSize": 9},
            }
        ]
    }
    said = place.run("fetch", REPO, code=118, env={"MAW_WEIGHTS_LARGEST_GIGABYTES": "1"})
    assert "needs 2.00 GB: at most 1.00 GB are allowed" in said


def test_damage_is_found_by_verify_and_mended_by_a_fetch_that_verifies(place: Place, commit: str) -> None:
    place.run("fetch", REPO)
    path = place.model / commit / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    answer = place.ask("verify", REPO, code=113)
    assert not answer["ok"]
    assert "the SHA-256 of model.safetensors" in answer["revisions"][0]["problems"][0]
    assert "damaged: " in place.run("verify", code=113)
    done = place.ask("fetch", REPO, "--revision", commit, "--verify")
    assert [one["path"] for one in done["files"] if one["fetched"]] == ["model.safetensors"]
    assert place.has(commit, only(FILES))
    path.unlink()
    assert "No such file" in place.run("list")
    assert place.ask("fetch", REPO, "--revision", commit)["changed"], (
        "what is missing is seen without --verify"
    )
    (place.model / commit / "MANIFEST.json").write_text("{}")
    assert place.ask("fetch", REPO, "--revision", commit)["changed"]
    assert place.has(commit, only(FILES))
    assert place.ask("verify")["ok"]
    assert "no weights of a/b" in place.run("verify", "a/b", code=2)


def test_old_revisions_are_pruned_and_never_the_one_in_use(place: Place, commit: str) -> None:
    repository = place.hub.repositories[REPO]
    commits = [commit]
    for number in (1, 2):
        commits.append(repository.commit({**FILES, "config.json": b"%d" % number}))
        place.run("fetch", REPO, "--revision", commits[-1])
    place.run("fetch", REPO, "--revision", commits[0])
    (place.model / f".incoming-{'f' * 40}").mkdir()
    would = place.ask("prune", "--keep", "0", "--dry-run")
    assert not would["changed"]
    assert {one["revision"] for one in would["removed"]} == set(commits[1:])
    assert len(place.ask("list")["revisions"]) == 3
    assert "removed: " in place.run("prune", "--keep", "0")
    assert [one["revision"] for one in place.ask("list")["revisions"]] == [commits[0]]
    assert place.has(commits[0], only(FILES))
    assert not place.ask("prune", "--keep", "0")["changed"]


def test_an_empty_folder_is_said_and_files_are_for_everybody_to_read(place: Place, commit: str) -> None:
    assert "there are no weights" in place.run("list")
    assert place.ask("list")["revisions"] == []
    assert place.ask("verify")["ok"]
    place.run("fetch", REPO)
    path = place.model / commit / "model.safetensors"
    assert stat.S_IMODE(path.stat().st_mode) & 0o111 == 0
    assert f"* {REPO}  {commit}  2.00 MB  gemma" in place.run("list")


def test_every_form_is_told_apart_by_its_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SHAPE)
    names = {one["$ref"].rpartition("/")[2] for one in SHAPE["oneOf"]}
    assert names == {"fetch", "list", "verify", "prune", "manifest"}
    for name in names:
        wanted = SHAPE["$defs"][name]
        assert set(wanted["required"]) == set(wanted["properties"])
        assert wanted["properties"]["schema"]["const"] == f"maw.weights-{name}/1"
