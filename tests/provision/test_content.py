"""Where the playbooks are, and what they need."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maw import errors
from maw.provision import content, requirements
from maw.provision.content import Content

SOURCE = Path(__file__).resolve().parents[2]


def test_in_the_source_tree_they_are_beside_the_package() -> None:
    found = content.find()
    assert found.folder == SOURCE
    assert found.playbook("satellite").is_file()
    assert requirements.wanted(found.requirements)


def test_what_is_packaged_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("playbooks", "roles"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(content, "PACKAGED", tmp_path)
    assert content.find().folder == tmp_path


def test_when_there_are_none_it_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "PACKAGED", tmp_path / "a")
    monkeypatch.setattr(content, "SOURCE", tmp_path / "b")
    with pytest.raises(errors.ContentMissing) as caught:
        content.find()
    assert f"{tmp_path / 'a'} or {tmp_path / 'b'}" in str(caught.value)


def test_every_playbook_of_maw_has_its_groups() -> None:
    assert set(content.WHOLE) < set(content.GROUPS)
    assert all(content.find().playbook(name) for name in content.WHOLE)


def test_the_digest_changes_with_any_file(tmp_path: Path) -> None:
    found = Content(tmp_path)
    found.playbooks.mkdir()
    (found.roles / "a").mkdir(parents=True)
    (found.playbooks / "site.yml").write_text("1")
    first = found.digest()
    assert found.digest() == first
    (found.roles / "a" / "x.yml").write_text("")
    second = found.digest()
    (found.roles / "a" / "x.yml").rename(found.roles / "a" / "y.yml")
    assert len({first, second, found.digest()}) == 3


def _collection(folder: Path, name: str, version: str) -> None:
    place = folder / "ansible_collections" / name.replace(".", "/")
    place.mkdir(parents=True)
    (place / "MANIFEST.json").write_text(json.dumps({"collection_info": {"version": version}}), "utf-8")


def test_collections_that_are_missing_or_too_old_are_named_with_the_command(tmp_path: Path) -> None:
    path = tmp_path / "re quirements.yml"
    wanted = ("t.there", "2.1.0"), ("t.old", "3.3.0"), ("t.gone", "1.0.0"), ("t.newer", "1.0.0")
    path.write_text(
        json.dumps({"collections": [{"name": name, "version": version} for name, version in wanted]}), "utf-8"
    )
    _collection(tmp_path, "t.there", "2.1.0")
    _collection(tmp_path, "t.old", "3.2.9")
    _collection(tmp_path, "t.newer", "10.0.0")
    with pytest.raises(errors.CollectionsMissing) as caught:
        requirements.check(path, {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path)})
    assert caught.value.facts["names"] == "t.old 3.3.0 (here is 3.2.9), t.gone 1.0.0"
    assert f"ansible-galaxy collection install -r '{path}'" in str(caught.value)


def test_the_collections_of_this_installation_are_found() -> None:
    found = content.find()
    try:
        requirements.check(found.requirements, {})
    except errors.CollectionsMissing as error:
        pytest.skip(f"collections are not installed here: {error.facts['names']}")


@pytest.mark.parametrize("text", ["", "[", "collections: 3", "collections: [{name: a.b}]"])
def test_a_damaged_list_of_collections_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "requirements.yml").write_text(text, "utf-8")
    with pytest.raises(errors.CannotRead):
        requirements.check(tmp_path / "requirements.yml", {})
