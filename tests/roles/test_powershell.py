"""Every PowerShell script of the repository is one: a grammar of the language reads it without an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from maw.provision import first_contact
from maw.transport.keys import HostKey

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*(ROOT / "roles").rglob("*.ps1"), *(ROOT / "maw").rglob("*.ps1")])
EMBEDDING = ("ansible.windows.win_powershell", "ansible.windows.win_shell")
each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))


def mistakes(text: str) -> list[str]:
    """Given a script, return where the grammar does not follow it."""
    import tree_sitter
    import tree_sitter_powershell

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    found = []
    left = [parser.parse(text.encode("utf-8")).root_node]
    while left:
        node = left.pop()
        if node.type == "ERROR" or node.is_missing:
            found.append(f"line {node.start_point[0] + 1}: {(node.text or b'').decode()[:60]!r}")
        left += node.children
    return found


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Given a file of tasks or plays, yield its tasks, those within blocks too."""
    left = list(yaml.safe_load(path.read_text("utf-8")) or [])
    while left:
        item = left.pop()
        yield item
        for part in ("tasks", "pre_tasks", "post_tasks", "block", "rescue", "always", "handlers"):
            left += item.get(part) or []


def embedded() -> list[tuple[str, str]]:
    """Return the scripts within tasks, with where they are."""
    found = []
    for path in sorted([*(ROOT / "roles").rglob("tasks/*.yml"), *(ROOT / "playbooks").glob("*.yml")]):
        for task in tasks(path):
            for module in EMBEDDING:
                given = task.get(module)
                text = given.get("script") if isinstance(given, dict) else given
                if isinstance(text, str):
                    found.append((f"{path.relative_to(ROOT)}: {task.get('name')}", text))
    return found


@each_script
def test_a_script_is_powershell(path: Path) -> None:
    assert mistakes(path.read_text("utf-8")) == []


def test_scripts_within_tasks_are_powershell() -> None:
    assert {where: mistakes(re.sub(r"{{.*?}}", "0", text)) for where, text in embedded()} == {
        where: [] for where, _ in embedded()
    }


@pytest.mark.parametrize(
    "broken",
    [
        "if ($a { 'x' }",
        "function Get-It { 'x'",
        "$a = @{ b = 1",
        "Write-Output 'it",
        "if (1) { 2 } else",
        "foreach ($a $b) { }",
    ],
)
def test_a_broken_script_is_found(broken: str) -> None:
    assert mistakes(broken)


def test_a_role_s_script_with_one_brace_less_is_found() -> None:
    text = (ROOT / "roles" / "windows_host" / "files" / "survey.ps1").read_text("utf-8")
    place = text.rindex("}")
    assert mistakes(text[:place] + text[place + 1 :])


def test_the_script_of_the_first_contact_is_powershell_as_it_is_sent() -> None:
    key = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43)
    text = first_contact.script(first_contact.Keys(key, key), ["192.168.1.129"], "cmd", "Ubuntu")
    assert mistakes(text) == []
    assert mistakes(first_contact.one_line(text)) == []


@each_script
def test_a_script_is_ascii_and_strict(path: Path) -> None:
    text = path.read_bytes().decode("ascii")
    assert "Set-StrictMode -Version" in text
    assert "$ErrorActionPreference = 'Stop'" in text
    assert "Invoke-Expression" not in text


# The one in the package is run by a person.
@pytest.mark.parametrize(
    "path", [path for path in SCRIPTS if not path.is_relative_to(ROOT / "maw")], ids=lambda path: path.name
)
def test_a_script_for_ansible_says_its_name_and_knows_check_mode(path: Path) -> None:
    text = path.read_text("utf-8")
    first = text.splitlines()[0]
    assert re.fullmatch(r"# maw-script: [a-z][a-z0-9_-]*", first), first
    assert "[CmdletBinding(SupportsShouldProcess)]" in text, "Ansible skips it in check mode without"
    assert "$Ansible.Changed = " in text, "Ansible takes it for changed without"
    if "$Ansible.Changed = $true" in text:
        assert "$Ansible.CheckMode" in text


def test_scripts_of_one_name_are_one_script() -> None:
    named: dict[str, str] = {}
    for path in SCRIPTS:
        first = path.read_text("utf-8").splitlines()[0]
        if first.startswith("# maw-script: "):
            assert named.setdefault(first, path.name) == path.name


def test_a_task_that_runs_a_script_stops_at_its_errors() -> None:
    for path in sorted((ROOT / "roles").rglob("tasks/*.yml")):
        for task in tasks(path):
            given = task.get("ansible.windows.win_powershell")
            # A script of a file says so itself.
            if given and "path" not in given and "lookup(" not in str(given.get("script")):
                assert given.get("error_action") == "stop", f"{path}: {task['name']}"


def test_a_task_gives_a_script_only_parameters_that_it_has() -> None:
    for path in sorted((ROOT / "roles").rglob("tasks/*.yml")):
        for task in tasks(path):
            given = task.get("ansible.windows.win_powershell")
            if given and "path" in given:
                text = (path.parents[1] / "files" / given["path"]).read_text("utf-8")
                declared = re.findall(r"\]\$([A-Z]\w*)", text.split("Set-StrictMode")[0])
                required = re.findall(r"\[Parameter\(Mandatory\)\]\[[^\]]*(?:\[\])?\]\$(\w+)", text)
                parameters = set(given.get("parameters", {}))
                assert parameters <= set(declared), f"{path}: {task['name']}"
                assert set(required) <= parameters, f"{path}: {task['name']}"
