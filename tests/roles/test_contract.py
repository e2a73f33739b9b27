"""What every role keeps: its shape, its specification, its scenario."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent for path in (ROOT / "roles").glob("*/tasks/main.yml"))
# Included by other roles, never listed in a play.
INTERNAL = {"packages"}
each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
each_listed = pytest.mark.parametrize(
    "role", [role for role in ROLES if role.name not in INTERNAL], ids=lambda path: path.name
)


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def _files(role: Path) -> list[Path]:
    return sorted(path for part in ("tasks", "handlers") for path in (role / part).glob("**/*.yml"))


def _tasks(items: Any) -> list[dict[str, Any]]:
    found = []
    for item in items or []:
        found.append(item)
        for part in ("block", "rescue", "always"):
            found += _tasks(item.get(part))
    return found


def test_there_are_the_roles_that_the_readme_promises() -> None:
    wanted = {
        "windows_host",
        "wsl_distro",
        "ssh_trust",
        "lxd",
        "worker",
        "model_weights",
        "core",
        "proxmox_access",
    }
    assert {role.name for role in ROLES} == wanted | INTERNAL


@each_role
def test_the_defaults_are_what_the_specification_says(role: Path) -> None:
    defaults = _read(role / "defaults" / "main.yml") or {}
    options = _read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options", {})
    assert {name: option.get("default") for name, option in options.items()} == defaults
    for name, option in options.items():
        assert option["type"], name
        assert option["description"], name


@each_role
def test_every_entry_point_is_specified(role: Path) -> None:
    specified = set(_read(role / "meta" / "argument_specs.yml")["argument_specs"])
    assert {"main", "remove"} <= specified
    for name in specified:
        assert (role / "tasks" / f"{name}.yml").is_file(), name


@each_role
def test_variables_carry_the_name_of_the_role(role: Path) -> None:
    defaults = _read(role / "defaults" / "main.yml") or {}
    private = _read(role / "vars" / "main.yml") if (role / "vars" / "main.yml").exists() else {}
    assert all(name.startswith(f"{role.name}_") for name in defaults)
    assert all(name.startswith(f"_{role.name}_") for name in private or {})


@each_listed
def test_the_main_tasks_are_preflight_install_configure_run(role: Path) -> None:
    listed = _read(role / "tasks" / "main.yml")
    names = [Path(str(task.get("ansible.builtin.import_tasks"))).stem for task in listed]
    phases = ["preflight", "install", "configure", "run"]
    assert [name for name in names if name in phases] == [phase for phase in phases if phase in names]
    assert {"preflight", "run"} <= set(names)
    for task, phase in zip(listed, names, strict=True):
        tags = task["tags"]
        assert role.name in tags, phase
        assert f"{role.name}_{phase}" in tags or phase == "preflight", phase


@each_listed
def test_the_last_thing_a_role_does_is_to_say_what_is_there(role: Path) -> None:
    last = _read(role / "tasks" / "run.yml")[-1]
    assert f"maw_{role.name}_facts" in last["ansible.builtin.set_fact"]


@each_role
def test_no_task_swallows_an_error(role: Path) -> None:
    for path in _files(role):
        for task in _tasks(_read(path)):
            assert not task.get("ignore_errors"), (path.name, task.get("name"))
            assert not task.get("ignore_unreachable"), (path.name, task.get("name"))
            assert "|| true" not in str(task), (path.name, task.get("name"))


@each_role
def test_no_task_is_a_text_for_a_shell(role: Path) -> None:
    for path in _files(role):
        for task in _tasks(_read(path)):
            for module in ("shell", "win_shell"):
                assert not any(key.endswith(f".{module}") for key in task), (path.name, task.get("name"))
            command = task.get("ansible.builtin.command")
            if isinstance(command, dict):
                assert "argv" in command, (path.name, task.get("name"))


@each_role
def test_a_role_has_a_scenario_that_converges_and_verifies(role: Path) -> None:
    scenario = ROOT / "molecule" / role.name
    assert _read(scenario / "molecule.yml") is None, "the base configuration is .config/molecule/config.yml"
    assert (scenario / "converge.yml").is_file()
    assert _read(scenario / "verify.yml")


@each_role
def test_the_exemptions_of_the_linter_have_their_reasons(role: Path) -> None:
    for path in sorted(role.rglob("*.yml")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.search(r"#\s*noqa", line):
                above = path.read_text("utf-8").splitlines()[max(0, number - 3) : number - 1]
                assert any(text.strip().startswith("#") for text in above), f"{path.name}:{number}"


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.name)
def test_a_playbook_begins_with_its_purpose(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert lines[0] == "---"
    assert re.fullmatch(r"# [A-Z].*[.:]", lines[1]), lines[1]


def test_the_playbooks_are_there() -> None:
    names = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert names >= {"site", "satellite", "core", "keys", "remove", "reach"}


def test_the_pinned_collections_are_those_that_the_tests_run_with() -> None:
    import ansible_collections

    folder = Path(next(iter(ansible_collections.__path__)))
    for one in _read(ROOT / "requirements.yml")["collections"]:
        manifest = _read(folder.joinpath(*one["name"].split("."), "MANIFEST.json"))
        assert manifest["collection_info"]["version"] == one["version"], one["name"]


def test_the_roles_use_only_the_pinned_collections() -> None:
    pinned = {one["name"] for one in _read(ROOT / "requirements.yml")["collections"]} | {"ansible.builtin"}
    for path in sorted([*(ROOT / "roles").rglob("tasks/*.yml"), *(ROOT / "playbooks").glob("*.yml")]):
        for name in re.findall(
            r"^\s*(?:- )?([a-z]+\.[a-z_]+)\.[a-z_]+:", path.read_text("utf-8"), re.MULTILINE
        ):
            assert name in pinned, f"{path}: {name}"
