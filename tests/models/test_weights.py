"""What of a repository is taken, what is refused, and what a manifest may hold."""

from __future__ import annotations

import dataclasses
import json

import pytest

from maw.errors import Misuse, UnsafeWeights, WeightsTooLarge
from maw.models.weights import (
    SCHEMA,
    KeptFile,
    Listing,
    Manifest,
    RemoteFile,
    check_repo,
    check_size,
    choose,
    folder_name,
    gigabytes,
    is_safe,
    manifest_of,
    repo_of,
)

COMMIT = "0123456789abcdef" * 2 + "01234567"
USUAL = [
    *("LICENSE", "config.json", "generation_config.json", "merges.txt", "model.safetensors"),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
]
MANIFEST = Manifest("a/b", COMMIT, "gemma", "2026-01-02T03:04:05Z", True, (KeptFile("x.json", 2, "0" * 64),))


def listing(*paths: str, size: int = 10) -> Listing:
    return Listing("owner/name", COMMIT, "gemma", tuple(RemoteFile(path, size) for path in paths))


def taken(*paths: str, named: tuple[str, ...] = ()) -> list[str]:
    return [one.path for one in choose(listing(*paths), named).files]


def test_a_usual_model_is_taken_whole() -> None:
    assert taken(*USUAL) == sorted(USUAL)


def test_what_is_no_data_of_the_model_is_left_out_with_the_reason() -> None:
    chosen = choose(
        listing(
            *USUAL,
            "README.md",
            ".gitattributes",
            "pytorch_model.bin",
            "tokenizer.py",
            "a.PKL",
            "MANIFEST.json",
        )
    )
    assert [one.path for one in chosen.files] == sorted(USUAL)
    reasons = {one.path: one.reason for one in chosen.skipped}
    assert reasons["README.md"] == "not asked for"
    assert "may run code" in reasons["pytorch_model.bin"]
    assert "may run code" in reasons["a.PKL"]
    assert "no kind of data" in reasons["tokenizer.py"]
    assert "maw's own name" in reasons["MANIFEST.json"]


def test_files_in_folders_are_taken_and_hidden_ones_are_not() -> None:
    assert taken(
        "model.safetensors", "1_Pooling/config.json", ".cache/config.json", ".x.json", "..\\y.json"
    ) == [
        "1_Pooling/config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("ending", [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5"])
def test_a_repository_of_pickles_alone_is_refused_with_the_reason(ending: str) -> None:
    with pytest.raises(UnsafeWeights, match=r"may run code when loaded: model\S+\. Look for a conversion"):
        choose(listing("config.json", f"model{ending}"))
    with pytest.raises(Misuse, match="is refused: loading such a file may run code"):
        choose(listing("config.json", f"model{ending}"), (f"model{ending}",))


def test_without_any_weights_it_is_no_model() -> None:
    with pytest.raises(UnsafeWeights, match=r"no \.safetensors and no \.gguf"):
        choose(listing("data.json"))
    with pytest.raises(UnsafeWeights):
        choose(listing())


def test_one_of_many_gguf_files_must_be_named_and_comes_with_its_licence() -> None:
    paths = ("m-Q4_K_M.gguf", "m-Q8_0.gguf", "LICENSE", "USE_POLICY.md", "config.json")
    with pytest.raises(Misuse, match=r"Name one with --file: m-Q4_K_M\.gguf, m-Q8_0\.gguf"):
        choose(listing(*paths))
    assert taken(*paths, named=("m-Q4_K_M.gguf",)) == ["LICENSE", "USE_POLICY.md", "m-Q4_K_M.gguf"]
    with pytest.raises(Misuse, match=r"no file m-Q5\.gguf in that revision. There is: m-Q4_K_M\.gguf, m-Q8"):
        choose(listing(*paths), ("m-Q5.gguf",))
    with pytest.raises(Misuse, match="only data is fetched"):
        choose(listing("run.sh", "model.safetensors"), ("run.sh",))


@pytest.mark.parametrize(
    "path",
    [
        "../model.safetensors",
        "a/../../b.json",
        "/etc/x.json",
        "a//b.json",
        "a\\..\\x.json",
        "C:\\x.json",
        "C:x.json",
        "a\nb.json",
        "a\x1b[31m.json",
        "x\u202ejson.json",
        "-rf.json",
        "a b.json",
        "$(id).json",
        "ไทย.json",
        "con\x00.json",
        "a/" * 9 + "b.json",
        "a" * 250 + ".json",
    ],
    ids=ascii,
)
def test_a_name_that_may_leave_its_folder_refuses_the_repository(path: str) -> None:
    assert not is_safe(path)
    with pytest.raises(UnsafeWeights) as caught:
        choose(listing("model.safetensors", path))
    assert str(caught.value).isprintable()


def test_names_that_are_one_elsewhere_refuse_the_repository() -> None:
    with pytest.raises(UnsafeWeights, match="where case does not count"):
        choose(listing("model.safetensors", "config.json", "Config.json"))
    with pytest.raises(UnsafeWeights, match=r"a\.json is both a file and the folder of a\.json/b\.json"):
        choose(listing("model.safetensors", "a.json", "a.json/b.json"))


def test_a_model_that_is_too_large_or_does_not_fit_is_refused_before_it_is_pulled() -> None:
    chosen = choose(listing("model.safetensors", size=17_000_000_000))
    given = {"missing": chosen.size, "folder": "here"}
    check_size("a/b", chosen, free=18_000_000_000, largest=40_000_000_000, **given)
    with pytest.raises(
        WeightsTooLarge, match=r"needs 17\.00 GB: at most 16\.00 GB are allowed.*largest_gigabytes"
    ):
        check_size("a/b", chosen, free=18_000_000_000, largest=16_000_000_000, **given)
    with pytest.raises(WeightsTooLarge, match=r"only 15\.84 GB are free for here.*Nothing was fetched"):
        check_size("a/b", chosen, free=16_000_000_000, largest=40_000_000_000, **given)
    check_size("a/b", chosen, missing=10, free=1000, largest=40_000_000_000, folder="here")


@pytest.mark.parametrize("repo", ["google/t5gemma-2-270m-270m", "gpt2", "a/b.c_d-e"])
def test_a_repository_has_a_folder_and_a_folder_its_repository(repo: str) -> None:
    check_repo(repo)
    assert repo_of(folder_name(repo)) == repo


@pytest.mark.parametrize(
    "repo",
    [
        "",
        "a/b/c",
        "../b",
        "a/..",
        "-a/b",
        "a--b/c",
        "a/b ",
        "a\nb",
        "https://hub/a/b",
        "a" * 97,
        "ก/ข",
        "a/.b",
    ],
)
def test_what_is_no_repository_is_refused(repo: str) -> None:
    with pytest.raises(Misuse, match="OWNER/NAME"):
        check_repo(repo)
    assert repo_of(folder_name(repo)) is None


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert manifest_of(json.loads(json.dumps(MANIFEST.as_json()))) == MANIFEST
    assert MANIFEST.as_json()["schema"] == SCHEMA
    assert MANIFEST.size == 2
    assert MANIFEST.covers(())
    assert MANIFEST.covers(("x.json",))
    assert not MANIFEST.covers(("y.gguf",))
    assert not dataclasses.replace(MANIFEST, whole=False).covers(())


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "maw.weights-manifest/9"},
        {"repo": "../x"},
        {"revision": "main"},
        {"licence": 5},
        {"files": []},
        {"files": None},
        {"files": ["x.json"]},
        {"files": [{"path": "../x.json", "size": 1, "sha256": "0" * 64}]},
        {"files": [{"path": "x.json", "size": -1, "sha256": "0" * 64}]},
        {"files": [{"path": "x.json", "size": True, "sha256": "0" * 64}]},
        {"files": [{"path": "x.json", "size": 1, "sha256": "0" * 63}]},
        {"files": [{"path": "MANIFEST.json", "size": 1, "sha256": "0" * 64}]},
    ],
)
def test_a_manifest_that_cannot_be_is_none(change: dict) -> None:
    with pytest.raises(ValueError):
        manifest_of({**MANIFEST.as_json(), **change})
    with pytest.raises(ValueError):
        manifest_of([])


def test_sizes_are_shown_as_the_hub_shows_them() -> None:
    assert [gigabytes(size) for size in (5, 1500, 2_000_000, 16_645_000_000)] == [
        "5 bytes",
        "1.50 kB",
        "2.00 MB",
        "16.64 GB",
    ]
