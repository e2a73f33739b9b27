"""Documentation that can rot is generated or tested."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest

from maw.cli.program import CUTTER, MAW
from maw.pipeline.report import Document

ROOT = Path(__file__).resolve().parents[1]


def generated() -> dict[Path, str]:
    place = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module.pages()


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_a_generated_page_is_up_to_date(path):
    assert path.read_text("utf-8") == generated()[path], "run: python docs/generate.py"


def test_the_schema_names_every_field_of_a_document():
    schema = json.loads((ROOT / "docs/schema/pipeline.json").read_text("utf-8"))
    fields = {field.name for field in dataclasses.fields(Document)}
    assert set(schema["$defs"]["document"]["properties"]) == fields
    assert set(schema["$defs"]["document"]["required"]) == fields


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["satellite"]
    page = (ROOT / "docs/dependencies.md").read_text("utf-8")
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", requirement).group()
        assert re.search(rf"\b{re.escape(name)}\b", page), name


def blocks(page: str) -> list[str]:
    """The commands of a README's examples."""
    return re.findall(r"^\$ (.*)$", page, re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "README.th.md"])
def test_the_readme_names_only_verbs_and_files_that_exist(name):
    page = (ROOT / name).read_text("utf-8")
    for program, verb in re.findall(r"\b(maw|cutter) ([a-z][a-z-]+)", "\n".join(blocks(page))):
        assert verb in (MAW if program == "maw" else CUTTER), f"{program} {verb}"
    for target in re.findall(r"\]\(([^)#:]+)\)", page):
        assert (ROOT / target).exists(), target


def test_the_thai_readme_shows_the_same_commands():
    english, thai = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.th.md"))
    assert blocks(english) == blocks(thai)
    assert len(blocks(english)) >= 6


def test_no_page_names_a_path_of_somebodys_machine():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        assert not re.search(r"/(root|work|home)/", path.read_text("utf-8")), path
