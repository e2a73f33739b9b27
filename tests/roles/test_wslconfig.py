"""Windows' .wslconfig: maw's keys go into a person's file and out again, and the rest keeps every byte."""

from __future__ import annotations

import base64
import configparser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.loading import load

ROLE = Path(__file__).resolve().parents[2] / "roles" / "windows_host"


plugin = load(ROLE / "filter_plugins" / "windows_host.py", "windows_host_filters")
WANTED = {
    "general": {"instanceIdleTimeout": -1},
    "wsl2": {"memory": "8GB", "vmIdleTimeout": -1},
    "experimental": {"autoMemoryReclaim": "gradual"},
}
GOLDEN = """[general]
instanceIdleTimeout=-1

[wsl2]
memory=8GB
vmIdleTimeout=-1

[experimental]
autoMemoryReclaim=gradual
"""
MINE = """# my own
[wsl2]
processors=4
Memory = 4GB   # enough
kernelCommandLine = a=b

[other]
x=1"""
MERGED = """# my own
[wsl2]
processors=4
Memory=8GB
kernelCommandLine = a=b
vmIdleTimeout=-1

[other]
x=1

[general]
instanceIdleTimeout=-1

[experimental]
autoMemoryReclaim=gradual
"""
# Lines as people write them: sections, keys of maw's and others, comments, blanks, nonsense.
LINES = st.sampled_from(
    [
        "[wsl2]",
        "[WSL2] # main",
        "[general]",
        "[experimental]",
        "[user stuff]",
        "memory=4GB",
        "MEMORY = 12GB # much",
        "vmIdleTimeout=60000",
        "instanceIdleTimeout=-1",
        "autoMemoryReclaim=disabled",
        "swap=0",
        "kernelCommandLine=cgroup_no_v1=all",
        "# memory=1GB",
        "ภาษาไทย=ค่า",
        "nonsense",
        "",
        "  ",
    ]
)
FILES = st.builds(
    lambda lines, end, last: end.join(lines) + (end if last else ""),
    st.lists(LINES, max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)


def test_a_new_file_is_this_one() -> None:
    assert plugin.merged("", WANTED) == GOLDEN


def test_a_file_that_was_there_keeps_its_other_lines() -> None:
    assert plugin.merged(MINE, WANTED) == MERGED


def test_ends_of_lines_stay_those_of_windows() -> None:
    text = plugin.merged("[wsl2]\r\nswap=0\r\n", WANTED)
    assert "\n" not in text.replace("\r\n", "")


def test_a_key_that_is_there_twice_holds_twice() -> None:
    text = plugin.merged("[wsl2]\nmemory=1GB\nmemory=2GB\n[wsl2]\nmemory=3GB\n", WANTED)
    assert text.count("memory=8GB") == 3


def test_the_same_key_of_another_section_is_not_ours() -> None:
    text = plugin.merged("[other]\nmemory=1GB\n", WANTED)
    assert text.startswith("[other]\nmemory=1GB\n")


def test_python_reads_what_is_written() -> None:
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(plugin.merged("", WANTED))
    assert {name: dict(parser[name]) for name in parser.sections()} == {
        section: {key: str(value) for key, value in keys.items()} for section, keys in WANTED.items()
    }


@given(FILES)
def test_merging_twice_is_merging_once(text: str) -> None:
    once = plugin.merged(text, WANTED)
    assert plugin.merged(once, WANTED) == once


@given(FILES)
def test_merging_keeps_all_lines_but_the_values_of_maw_s_keys(text: str) -> None:
    keys = ("memory", "vmidletimeout", "instanceidletimeout", "automemoryreclaim")

    def others(of: str) -> list[str]:
        lines = [line.rstrip("\r") for line in of.split("\n")]
        return [
            line
            for line in lines
            if line.strip()
            and line.partition("=")[0].strip().lower() not in keys
            and line.strip() not in ("[general]", "[wsl2]", "[experimental]")
        ]

    assert others(plugin.merged(text, WANTED)) == others(text)


@given(FILES)
def test_taking_out_what_was_put_in_gives_the_very_file(text: str) -> None:
    assert plugin.without(plugin.merged(text, WANTED), text, WANTED) == text


@given(FILES, st.integers(1, 64))
def test_it_does_so_when_the_values_of_the_last_run_were_others(text: str, memory: int) -> None:
    other = {**WANTED, "wsl2": {"memory": f"{memory}GB", "vmIdleTimeout": -1}}
    assert plugin.without(plugin.merged(text, other), text, WANTED) == text


def test_what_a_person_added_since_stays() -> None:
    text = MERGED.replace("x=1\n", "x=1\ny=2\n").replace(
        "[experimental]\n", "[experimental]\nsparseVhd=true\n"
    )
    left = plugin.without(text, MINE, WANTED)
    assert "y=2\n" in left
    assert "[experimental]\nsparseVhd=true\n" in left
    assert "Memory = 4GB   # enough\n" in left
    for gone in ("vmIdleTimeout", "instanceIdleTimeout", "autoMemoryReclaim", "[general]"):
        assert gone not in left


def test_a_file_that_held_maw_s_settings_alone_becomes_nothing() -> None:
    assert plugin.without(GOLDEN, "", WANTED) == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_whatever_notepad_saved_it_as(encoding: str) -> None:
    text = "[wsl2]\r\n# ภาษาไทย\r\n"
    assert plugin.text_of(base64.b64encode(text.encode(encoding)).decode()) == text


def test_bytes_of_an_old_code_page_are_read_as_letters() -> None:
    assert plugin.text_of(base64.b64encode("# für".encode("cp1252")).decode()) == "# für"


def test_the_filters_are_called_as_the_role_calls_them() -> None:
    used = (ROLE / "vars" / "main.yml").read_text() + (ROLE / "tasks" / "put_back_wslconfig.yml").read_text()
    assert all(f"| {name}" in used for name in plugin.FilterModule().filters())
