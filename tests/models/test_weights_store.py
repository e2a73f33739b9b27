"""The folder of weights: what is whole, what is in use, what is old."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
from pathlib import Path

import pytest

from maw.errors import CannotWrite, WeightsDamaged
from maw.models.weights import MANIFEST, KeptFile, Manifest
from maw.models.weights_store import Store, to_prune

REPO = "google/t5gemma-2-270m-270m"


def put(store: Store, number: int, repo: str = REPO, text: bytes = b"{}") -> str:
    """Install a revision of one file, fetched in minute `number`; return its commit."""
    commit = f"{number:040x}"
    folder = store.revision(repo, commit)
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(text)
    kept = KeptFile("config.json", len(text), hashlib.sha256(text).hexdigest())
    manifest = Manifest(repo, commit, "gemma", f"2026-01-01T00:{number:02}:00Z", True, (kept,))
    (folder / MANIFEST).write_text(json.dumps(manifest.as_json()))
    return commit


@pytest.fixture(params=["weights", "น้ำหนัก 🐘 $(id)"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return Store(tmp_path / request.param)


def test_nothing_is_here_at_first(store: Store) -> None:
    assert store.installed() == []
    assert store.leftovers() == []
    assert store.prune(1) == ([], [], [])
    assert store.in_use(REPO) is None
    assert not store.root.exists(), "looking makes nothing"


def test_the_one_in_use_is_switched_in_one_step(store: Store) -> None:
    first, second = put(store, 1), put(store, 2)
    assert store.use(REPO, first)
    assert not store.use(REPO, first)
    assert store.use(REPO, second)
    assert (store.model(REPO) / "current" / "config.json").read_bytes() == b"{}"
    assert [(one.revision, one.current) for one in store.installed()] == [(second, True), (first, False)]


def test_a_folder_where_the_link_should_be_is_an_error(store: Store) -> None:
    commit = put(store, 1)
    (store.model(REPO) / "current" / "x").mkdir(parents=True)
    with pytest.raises(CannotWrite):
        store.use(REPO, commit)


@pytest.mark.parametrize("name", ["..", "a--b--c", "-x", "lost+found", ".trash"])
def test_what_is_not_ours_is_not_seen(store: Store, name: str) -> None:
    (store.root / name / ("0" * 40)).mkdir(parents=True, exist_ok=True)
    (store.model(REPO) / "notes").mkdir(parents=True)
    assert store.installed() == []
    assert store.leftovers() == []


def test_a_damaged_revision_says_what_is_wrong(store: Store) -> None:
    commit = put(store, 1)
    folder = store.revision(REPO, commit)
    (found,) = store.installed()
    assert found.problem is None
    assert store.problems(found, lambda *_: None) == []
    (folder / "config.json").write_bytes(b"[]")
    (found,) = store.installed()
    assert found.problem is None, "the size is the same"
    assert "the SHA-256 of config.json is" in store.problems(found, lambda *_: None)[0]
    (folder / "config.json").write_bytes(b"[")
    assert store.installed()[0].problem == "config.json has 1 bytes, not 2"
    (folder / "config.json").unlink()
    assert "No such file" in str(store.installed()[0].problem)
    (folder / "config.json").symlink_to("/etc/passwd")
    assert store.installed()[0].problem == "config.json is no plain file"
    (folder / MANIFEST).write_text("{")
    assert "cannot be read as a manifest" in str(store.installed()[0].problem)
    (folder / MANIFEST).unlink()
    assert store.installed()[0].problem == "MANIFEST.json is missing"


def test_the_manifest_of_another_revision_is_no_manifest(store: Store) -> None:
    first, second = put(store, 1), put(store, 2)
    (store.revision(REPO, first) / MANIFEST).replace(store.revision(REPO, second) / MANIFEST)
    with pytest.raises(WeightsDamaged, match="it is that of"):
        store.manifest(REPO, second)


def test_the_oldest_go_first_and_never_the_one_in_use(store: Store) -> None:
    commits = [put(store, number) for number in range(1, 6)]
    store.use(REPO, commits[0])
    found = store.installed()
    assert [one.revision for one in to_prune(found, 2)] == [commits[2], commits[1]]
    assert len(to_prune(found, 0)) == 4
    assert to_prune(found, 9) == []
    (store.model(REPO) / "current").unlink()
    assert len(to_prune(store.installed(), 0)) == 4, "without one in use, the newest counts as it"
    (store.revision(REPO, commits[4]) / MANIFEST).unlink()
    assert [one.revision for one in to_prune(store.installed(), 3)] == [commits[4]], "damaged goes first"


def test_pruning_is_by_model_and_takes_what_was_left_over(store: Store) -> None:
    mine = [put(store, number) for number in (1, 2, 3)]
    other = put(store, 1, "a/b")
    store.use(REPO, mine[2])
    store.use("a/b", other)
    left = store.incoming(REPO, "f" * 40)
    left.mkdir()
    (left / "model.safetensors.part").write_bytes(b"12345")
    assert [(one.folder, one.size) for one in store.leftovers()] == [(left, 5)]
    old, leftovers, busy = store.prune(0)
    assert [one.revision for one in old] == [mine[1], mine[0]]
    assert [one.folder for one in leftovers] == [left]
    assert busy == []
    assert {one.revision for one in store.installed()} == {mine[2], other}
    assert store.leftovers() == []


def _hold(root: Path, ready: multiprocessing.synchronize.Event) -> None:
    with Store(root).locked(REPO, lambda: None):
        ready.set()
        time.sleep(60)


def test_a_model_that_is_being_fetched_is_left_alone(store: Store) -> None:
    put(store, 1)
    put(store, 2)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(store.root, ready))
    process.start()
    try:
        assert ready.wait(30)
        assert store.prune(0) == ([], [], [REPO])
    finally:
        process.kill()
        process.join()
    assert len(store.prune(0)[0]) == 1, "a process that is gone holds nothing"
