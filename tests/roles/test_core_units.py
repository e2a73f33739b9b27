"""How a timer's command is written into its unit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.roles.loading import load

PLACE = Path(__file__).resolve().parents[2] / "roles" / "core" / "filter_plugins" / "core_units.py"
units = load(PLACE)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["/bin/true"], '"/bin/true"'),
        (["/bin/echo", ""], '"/bin/echo" ""'),
        (["/bin/echo", "50%", "$HOME", "${X}"], '"/bin/echo" "50%%" "$$HOME" "$${X}"'),
        (["/bin/echo", 'a "b" c', "d\\n"], '"/bin/echo" "a \\"b\\" c" "d\\\\n"'),
        (["/usr/local/bin/cutter", "sync", 101], '"/usr/local/bin/cutter" "sync" "101"'),
        (["/bin/echo", "$(id)", "; id", "สวัสดี 🙂"], '"/bin/echo" "$$(id)" "; id" "สวัสดี 🙂"'),
    ],
)
def test_each_word_is_quoted_so_that_systemd_gives_back_just_it(words: list[object], line: str) -> None:
    assert units.exec_line(words) == line


@pytest.mark.parametrize("word", ["a\nb", "a\rb", "a\0b"])
def test_a_line_break_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        units.exec_line(["/bin/echo", word])


def test_systemd_itself_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed here; molecule/core runs such a unit for real")
    unit = tmp_path / "probe.service"
    line = units.exec_line(["/bin/echo", '50% of "$HOME" \\ สวัสดี'])
    unit.write_text(f"[Service]\nType=oneshot\nExecStart={line}\n", "utf-8")
    done = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
