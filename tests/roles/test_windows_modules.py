"""Every task for Windows has arguments that its module knows, judged by the module's own documentation."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("roles/*/tasks/**/*.yml", "roles/*/handlers/**/*.yml", "playbooks/*.yml", "molecule/*/*.yml")
FILES = sorted(path for pattern in PLACES for path in ROOT.glob(pattern))
COLLECTIONS = ("ansible.windows.", "community.windows.")
Options = Mapping[str, Mapping[str, Any]]


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Given a file of tasks or plays, yield its tasks, those within blocks too."""
    left = list(yaml.safe_load(path.read_text("utf-8")) or [])
    while left:
        item = left.pop()
        if isinstance(item, dict):
            yield item
            for part in ("tasks", "pre_tasks", "post_tasks", "block", "rescue", "always", "handlers"):
                left += item.get(part) or []


def windows_tasks() -> list[tuple[str, str, dict[str, Any]]]:
    """Return where a task is, its module and its arguments."""
    return [
        (f"{path.relative_to(ROOT)}: {task.get('name')}", key, arguments or {})
        for path in FILES
        for task in tasks(path)
        for key, arguments in task.items()
        if key.startswith(COLLECTIONS)
    ]


TASKS = windows_tasks()


@functools.cache
def documented() -> dict[str, Options]:
    """Return the options of the modules that are used, from the installed collections."""
    modules = sorted({module for _, module, _ in TASKS} | {"ansible.windows.win_regedit"})
    program = Path(sys.executable).with_name("ansible-doc")
    said = subprocess.run(
        [program, "--json", "--type", "module", *modules], capture_output=True, text=True, check=True
    )
    return {name: found["doc"].get("options", {}) for name, found in json.loads(said.stdout).items()}


def problems(module: str, arguments: Any, options: Options) -> list[str]:
    """Given a module, a task's arguments and the module's options, return what does not fit."""
    if not isinstance(arguments, dict):
        return [f"{module} is given a text instead of arguments"]
    return _problems(module, arguments, options)


def _problems(where: str, given: Mapping[str, Any], options: Options) -> list[str]:
    names = dict(options)
    names |= {alias: option for option in options.values() for alias in option.get("aliases", [])}
    found = [f"{where} has no option {name}" for name in given if name not in names]
    for name, option in options.items():
        if option.get("required") and not {name, *option.get("aliases", [])} & set(given):
            found.append(f"{where} needs {name}")
    for name, value in given.items():
        if name in names:
            found += _value(f"{where}.{name}", value, names[name])
    return found


def _value(where: str, value: Any, option: Mapping[str, Any]) -> list[str]:
    if isinstance(value, str) and "{{" in value:
        return []
    kind = option.get("type", "str")
    if kind == "list":
        items = value if isinstance(value, list) else [value]
        element = {**option, "type": option.get("elements", "raw")}
        return [problem for item in items for problem in _value(f"{where}[]", item, element)]
    found = []
    if option.get("choices") is not None and value not in list(option["choices"]):
        found.append(f"{where} is {value!r}, not one of {', '.join(map(str, option['choices']))}")
    if not _fits(value, kind):
        found.append(f"{where} is {value!r}, which is no {kind}")
    if kind == "dict" and isinstance(value, dict) and option.get("suboptions"):
        found += _problems(where, value, option["suboptions"])
    return found


def _fits(value: Any, kind: str) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "dict":
        return isinstance(value, dict)
    if kind in ("str", "path"):
        return isinstance(value, str)
    return True


@pytest.mark.parametrize(("where", "module", "arguments"), TASKS, ids=[where for where, _, _ in TASKS])
def test_a_task_fits_its_module(where: str, module: str, arguments: Any) -> None:
    assert problems(module, arguments, documented()[module]) == []


def test_there_are_tasks_for_windows() -> None:
    assert len(TASKS) > 20


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"path": "HKLM:\\X", "nmae": "Y"}, "has no option nmae"),
        ({"name": "Y"}, "needs path"),
        ({"path": "HKLM:\\X", "type": "text"}, "is 'text', not one of"),
        ({"path": "HKLM:\\X", "delete_key": "maybe"}, "is 'maybe', which is no bool"),
        ({"path": ["HKLM:\\X"]}, "which is no str"),
        ("path=HKLM:\\X", "a text instead of arguments"),
    ],
)
def test_a_task_that_does_not_fit_is_found(arguments: Any, problem: str) -> None:
    options = documented()["ansible.windows.win_regedit"]
    assert problem in " ".join(problems("ansible.windows.win_regedit", arguments, options))


def test_options_within_options_are_looked_at() -> None:
    options = {
        "triggers": {"type": "list", "elements": "dict", "suboptions": {"type": {"choices": ["boot"]}}}
    }
    assert problems("m", {"triggers": [{"type": "boot"}]}, options) == []
    assert problems("m", {"triggers": [{"type": "shoe"}]}, options)
    assert problems("m", {"triggers": [{"typo": "boot"}]}, options)
