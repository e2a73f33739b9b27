"""ψ: names keep Thai, nothing is overwritten, what is written reads back."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import DiskFull, SoulError
from maw.soul import store

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def write(soul, title="a title", **facts):
    return store.write_log(soul, facts=facts, title=title, body="the body", when=WHEN)


def test_the_folders_are_made_once(tmp_path):
    assert len(store.create(tmp_path)) == len(store.FOLDERS)
    assert store.create(tmp_path) == []


def test_a_record_reads_back_as_strict_yaml_and_body(tmp_path):
    facts = {"status": "done", "documents": [{"source": "บันทึก: # [x] 'y' \"z\"", "sha256": "0" * 64}]}
    path = write(tmp_path, title="คำถาม: #1 - what now?", **facts)
    _, front, body = path.read_text("utf-8").split("---\n", 2)
    read = yaml.safe_load(front)
    assert read["title"] == "คำถาม: #1 - what now?"
    assert read["documents"] == facts["documents"]
    assert read["created"] == "2026-01-02T03:04:05+00:00"
    assert body == "\nthe body\n"
    assert store.read_facts(path.read_text("utf-8")) == read


def test_names_sort_by_time_and_keep_thai(tmp_path):
    assert write(tmp_path, title="ไฟดับเมื่อคืน").name == "2026-01-02_03-04-05_ไฟดับเมื่อคืน.md"


def test_the_same_title_in_the_same_second_is_a_second_file(tmp_path):
    paths = [write(tmp_path) for _ in range(3)]
    assert len(set(paths)) == 3
    assert all(path.exists() for path in paths)


@given(st.text())
def test_a_slug_is_never_empty_never_a_path_and_fits_a_file_name(text):
    slug = store.slug(text)
    assert slug
    assert len(slug.encode()) <= store.LONGEST_SLUG
    assert not re.search(r"[/\\\s.\x00-\x1f]", slug)


@pytest.mark.parametrize(
    "text", ["no front matter", "---\n: [broken\n---\n", "---\n- a list\n---\n", "---\nnever ends"]
)
def test_a_broken_front_matter_is_an_empty_one(text):
    assert store.read_facts(text) == {}


def test_a_soul_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "soul").write_text("a file, not a folder")
    with pytest.raises(SoulError, match="maw init"):
        write(tmp_path / "soul")


def test_a_full_disk_leaves_no_half_record(small_disk):
    with pytest.raises(DiskFull):
        store.write_log(small_disk, facts={}, title="large", body="x" * 4_000_000, when=WHEN)
    assert list((small_disk / "memory" / "logs").iterdir()) == []
