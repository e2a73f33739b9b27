"""The house keeps its rows, its rooms and its measures."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SOURCES = sorted((REPOSITORY / "maw").rglob("*.py"))
# Whole programs of their own: importing one costs more than all of maw. Click is the doors' own,
# Invoke that of maw.tasks.
HEAVY = {
    "ansible",
    "ansible_runner",
    "charset_normalizer",
    "docx",
    "fabric",
    "huggingface_hub",
    "jsonschema",
    "llama_cpp",
    "lxml",
    "markdown_it",
    "numpy",
    "paramiko",
    "proxmoxer",
    "pylxd",
    "pypdfium2",
    "requests",
    "rich",
    "torch",
    "trafilatura",
    "transformers",
    "urllib3",
    "yaml",
}
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [str(program), "--no-logo", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_rows_import_only_the_rows_below_and_each_library_has_one_room() -> None:
    answer = _lint(REPOSITORY)
    assert answer.returncode == 0, answer.stdout
    assert "Contracts: 7 kept, 0 broken." in answer.stdout


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("errors/base.py", "import maw.files"),
        ("files.py", "import maw.config"),
        ("transport/keys.py", "import maw.soul"),
        ("offload/protocol.py", "import maw.pipeline"),
        ("models/guard.py", "import maw.text"),
        ("topology.py", "import paramiko"),
        ("cli/nodes.py", "from fabric import Connection"),
        ("pipeline/run.py", "import lxml"),
        ("text/read.py", "import torch"),
        ("mirror/pct.py", "import pylxd"),
        ("lxd/__init__.py", "import proxmoxer"),
        ("cli/provision.py", "import ansible_runner"),
        ("mirror/pct.py", "import maw.offload"),
        ("cellar.py", ""),
    ],
)
def test_an_import_that_does_not_belong_is_found(tmp_path: Path, place: str, line: str) -> None:
    shutil.copytree(REPOSITORY / "maw", tmp_path / "maw", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    with (tmp_path / "maw" / place).open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef _stray():\n    {line or 'pass'}\n")
    answer = _lint(tmp_path)
    assert answer.returncode == 1, answer.stdout


def _imported(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.level == 0:
        return [statement.module or ""]
    return []


def _at_import(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that run when a module is imported: not those of functions, nor for type checkers."""
    found: list[ast.stmt] = []
    for statement in body:
        found.append(statement)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            found += _at_import(statement.orelse)
            continue
        for field in ("body", "orelse", "finalbody"):
            found += _at_import(
                [part for part in getattr(statement, field, []) if isinstance(part, ast.stmt)]
            )
        for handler in getattr(statement, "handlers", []):
            found += _at_import(handler.body)
    return found


def _heavy(text: str) -> set[str]:
    statements = _at_import(ast.parse(text).body)
    return {name.partition(".")[0] for statement in statements for name in _imported(statement)} & HEAVY


@each_source
def test_importing_a_module_loads_no_heavy_library(source: Path) -> None:
    assert _heavy(source.read_text("utf-8")) == set()


def test_a_heavy_import_is_found_wherever_it_hides() -> None:
    assert _heavy("import torch.nn as nn") == {"torch"}
    assert _heavy("try:\n  from lxml import etree\nexcept ImportError:\n  import numpy") == {"lxml", "numpy"}
    assert _heavy("class A:\n  import rich") == {"rich"}
    assert _heavy("if TYPE_CHECKING:\n  import torch\ndef f():\n  import lxml") == set()


@each_source
def test_files_and_functions_stay_short(source: Path) -> None:
    text = source.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@each_source
def test_nothing_is_left_to_do_and_no_shell_reads_a_string(source: Path) -> None:
    text = source.read_text("utf-8")
    for mark in ("TODO", "FIXME", "XXX"):
        assert mark not in text
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called.startswith("subprocess.") and any(keyword.arg == "shell" for keyword in node.keywords):
            pytest.fail("a shell would read the arguments")
        assert called not in {"os.system", "os.popen", "eval", "exec", "pickle.loads", "pickle.load"}
