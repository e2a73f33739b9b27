"""What the verbs of mirrors print as JSON is what docs/schema says of it, field by field."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from click.testing import CliRunner

from maw.cli import mirrors as verbs
from maw.cli import sites, sync
from maw.errors import NoLxd
from maw.mirror import model, plan
from maw.mirror.manifest import MOST_NAMED, Comparison, Difference
from maw.mirror.mapping_model import Interface, Loss, Mapped, Note, Row
from maw.mirror.mirrors import mirrors as list_mirrors
from maw.mirror.pct import parse
from maw.mirror.run import Wish, record
from maw.mirror.start import Started
from tests.mirror.samples import EVERYTHING, target

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schema"
NOW = datetime.datetime(2026, 11, 25, 6, 5, tzinfo=datetime.UTC)
SAID_BY_MAW = {"schema"}
# Of a plan: what `_dry_run` adds to the mapping.
PLAN = {"schema", "host", "source", "replaces", "unchecked"}


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    return found


def fields(kind: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def report(**changes: Any) -> model.Report:
    facts: dict[str, Any] = {
        "name": "box",
        "host": "notebook",
        "source": "container 101",
        "generation": 2,
        "vmid": 101,
        "bytes": 148295667,
        "files": 5724,
        "differences": 0,
        "manifest": "0f" * 32,
        "taken": "2026-11-25T06:01:35+00:00",
        "mode": "snapshot",
        "losses": [model.Lost("mp1.volume", "local:101/x", "no archive holds it")],
        "notes": ["onboot: …"],
        "edits": ["etc/hosts"],
        "addresses": {"eth0": ""},
    }
    return model.Report(**{**facts, **changes})


@pytest.mark.parametrize("name", ["sync", "sync-plan", "mirrors", "verify", "start"])
def test_a_schema_is_one_and_bears_the_name_that_the_object_does(name: str) -> None:
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$id"] == found["properties"]["schema"]["const"] == f"maw.{name}/1"


@pytest.mark.parametrize(
    ("name", "below", "kind", "more"),
    [
        ("sync", "", model.Report, SAID_BY_MAW),
        ("sync", "loss", model.Lost, set()),
        ("sync-plan", "", Mapped, PLAN),
        ("sync-plan", "interface", Interface, set()),
        ("sync-plan", "loss", Loss, set()),
        ("sync-plan", "note", Note, set()),
        ("sync-plan", "row", Row, set()),
        ("mirrors", "mirror", model.Mirror, set()),
        ("mirrors", "loss", model.Lost, set()),
        ("verify", "", model.Checked, SAID_BY_MAW),
        ("verify", "difference", Difference, set()),
        ("start", "", Started, SAID_BY_MAW),
    ],
)
def test_a_schema_names_every_field_and_asks_for_each(
    name: str, below: str, kind: type[Any], more: set[str]
) -> None:
    found = schema(name)
    place = found["$defs"][below] if below else found
    assert set(place["properties"]) == set(place["required"]) == fields(kind) | more
    assert place["additionalProperties"] is False


def test_a_report_is_as_its_schema_says() -> None:
    jsonschema.validate(json.loads(json.dumps(report().as_json())), schema("sync"))
    archive = report(vmid=None, mode=None, losses=[], addresses={"eth0": "10.77.0.5"}, replaced=True)
    jsonschema.validate(archive.as_json(), schema("sync"))


def test_a_comparison_is_as_its_schema_says_and_names_no_more_than_it_allows() -> None:
    result = Comparison(paths=5724)
    for number in range(MOST_NAMED + 7):
        result.add(Difference(f"tmp/{number}", "added"))
    checked = model.Checked("box", "notebook", 5724, result.count, result.first, None, NOW.isoformat())
    shown = json.loads(json.dumps(checked.as_json(), default=dataclasses.asdict))
    jsonschema.validate(shown, schema("verify"))
    assert (shown["count"], len(shown["differences"])) == (57, 50)


def test_a_start_is_as_its_schema_says() -> None:
    started = Started("box", "notebook", ["10.77.0.5"], True, [])
    jsonschema.validate(started.as_json(), schema("start"))


def test_the_list_of_mirrors_is_as_its_schema_says(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plan.Instance("box", True, {**record(report()), plan.STARTED: NOW.isoformat()})
    half = plan.Instance("new-maw-new", False, {plan.MARK: "new", plan.STATE: plan.LOADING})
    strange = plan.Instance("stranger", False, {"boot.autostart": "false"})
    asleep = SimpleNamespace(name="asleep")

    def of(_: object, host: SimpleNamespace | None) -> list[model.Mirror]:
        if host is asleep:
            raise NoLxd(host="asleep", reason="no socket", step="Wake it")
        return list_mirrors([whole, half, strange], "local", NOW)

    monkeypatch.setattr("maw.cli.workspace.current", lambda: None)
    monkeypatch.setattr(verbs, "_hosts", lambda *_: [None, asleep])
    monkeypatch.setattr(verbs, "_of", of)
    answer = CliRunner().invoke(verbs.mirrors, ["--json"])
    shown = json.loads(answer.stdout)
    jsonschema.validate(shown, schema("mirrors"))
    assert [one["name"] for one in shown["mirrors"]] == ["box", "new-maw-new"]
    assert [one["unfinished"] for one in shown["mirrors"]] == [False, True]
    assert set(shown["unreachable"]) == {"asleep"}


@pytest.mark.parametrize("generation", [None, 3])
def test_a_plan_is_as_its_schema_says(
    generation: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {plan.MARK: "box", plan.GENERATION: str(generation)}
    current = None if generation is None else plan.Instance("box", False, config)
    site = SimpleNamespace(host="notebook", target=target(), trio=lambda _: plan.Trio(current, None, None))

    @contextlib.contextmanager
    def open_site(*_: object) -> Iterator[SimpleNamespace]:
        yield site

    monkeypatch.setattr(sites, "open_site", open_site)
    monkeypatch.setattr(sync, "_config", lambda *_: parse(EVERYTHING))
    wish = Wish(name="box", source="container 101", vmid=101, mode="snapshot")
    context: Any = None
    sync._dry_run(context, wish, None, None, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    jsonschema.validate(shown, schema("sync-plan"))
    assert shown["replaces"] == generation
    assert set(shown) == fields(Mapped) | PLAN
    assert shown["losses"]
    assert shown["rows"]
