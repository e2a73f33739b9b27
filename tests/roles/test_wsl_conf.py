"""The merge of /etc/wsl.conf: our keys are set, all else stays as the user wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.loading import load

_FILE = Path(__file__).resolve().parents[2] / "roles" / "wsl_distro" / "filter_plugins" / "wsl_conf.py"
SYSTEMD = {"boot": {"systemd": "true"}}
ALL = {"boot": {"systemd": "true"}, "network": {"hostname": "satellite"}, "user": {"default": "you"}}


conf = load(_FILE)

GOLDEN = {
    "nothing": ("", SYSTEMD, "[boot]\nsystemd=true\n"),
    "all three": ("", ALL, "[boot]\nsystemd=true\n\n[network]\nhostname=satellite\n\n[user]\ndefault=you\n"),
    "there already": ("[boot]\nsystemd=true\n", SYSTEMD, "[boot]\nsystemd=true\n"),
    "there already, written otherwise": (
        '[Boot]\n  Systemd = "TRUE"  # needed\n',
        SYSTEMD,
        '[Boot]\n  Systemd = "TRUE"  # needed\n',
    ),
    "switched off": (
        "[boot]\nsystemd=false\ncommand=x\n",
        SYSTEMD,
        "[boot]\nsystemd=true\ncommand=x\n",
    ),
    "another key of the section": (
        '# mine\n[boot]\ncommand = service x start\n\n[automount]\noptions = "metadata"\n',
        SYSTEMD,
        '# mine\n[boot]\ncommand = service x start\nsystemd=true\n\n[automount]\noptions = "metadata"\n',
    ),
    "the line ends of Windows": (
        "[interop]\r\nenabled=false\r\n",
        SYSTEMD,
        "[interop]\r\nenabled=false\r\n\r\n[boot]\r\nsystemd=true\r\n",
    ),
    "no end of the last line": (
        "[interop]\nenabled=false",
        SYSTEMD,
        "[interop]\nenabled=false\n\n[boot]\nsystemd=true\n",
    ),
    "a mark of UTF-8": ("\ufeff[boot]\nsystemd=false\n", SYSTEMD, "\ufeff[boot]\nsystemd=true\n"),
    "an empty section": (
        "[boot]\n[user]\ndefault=me\n",
        SYSTEMD,
        "[boot]\nsystemd=true\n[user]\ndefault=me\n",
    ),
    "a comment that looks like a key": (
        "[boot]\n#systemd=true\n",
        SYSTEMD,
        "[boot]\nsystemd=true\n#systemd=true\n",
    ),
    "the key in another section": (
        "[user]\nsystemd=true\n",
        SYSTEMD,
        "[user]\nsystemd=true\n\n[boot]\nsystemd=true\n",
    ),
    "the key twice": (
        "[boot]\nsystemd=false\nsystemd=false\n",
        SYSTEMD,
        "[boot]\nsystemd=true\nsystemd=true\n",
    ),
    "the section twice": (
        "[boot]\ncommand=a\n[user]\ndefault=me\n[boot]\nsystemd=false\n",
        SYSTEMD,
        "[boot]\ncommand=a\n[user]\ndefault=me\n[boot]\nsystemd=true\n",
    ),
    "a line that is no key": ("what is this\n", SYSTEMD, "what is this\n\n[boot]\nsystemd=true\n"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_our_keys_are_set_and_all_else_stays(name: str) -> None:
    before, wanted, after = GOLDEN[name]
    assert conf.merge(before, wanted) == after


@pytest.mark.parametrize("name", GOLDEN)
def test_a_second_merge_changes_nothing(name: str) -> None:
    _, wanted, after = GOLDEN[name]
    assert conf.merge(after, wanted) == after


@pytest.mark.parametrize("name", GOLDEN)
def test_undoing_gives_back_what_was_there(name: str) -> None:
    before, wanted, after = GOLDEN[name]
    assert conf.undo(after, before, wanted) == before


def test_undoing_keeps_what_the_user_wrote_since() -> None:
    before = "[boot]\nsystemd=false\n"
    after = conf.merge(before, ALL) + "[interop]\nenabled=false\n"
    assert conf.undo(after, before, ALL) == "[boot]\nsystemd=false\n[interop]\nenabled=false\n"


def test_undoing_keeps_a_section_that_the_user_filled() -> None:
    after = conf.merge("", ALL).replace("[network]\n", "[network]\ngenerateHosts=false\n")
    assert conf.undo(after, "", ALL) == "\n[network]\ngenerateHosts=false\n".lstrip("\n")


def test_undoing_leaves_a_value_that_the_user_changed() -> None:
    after = conf.merge("", ALL).replace("default=you", "default=me")
    assert "default=me" in conf.undo(after, "", ALL)


_LINES = st.sampled_from(
    [
        "[boot]",
        "[user]",
        " [ Network ] ",
        "systemd=false",
        "default = me",
        "# x",
        "",
        "hostname=old",
        "command=y",
    ]
)


@given(st.lists(_LINES), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_whatever_is_there_the_merge_holds_and_no_other_line_is_lost(
    lines: list[str], end: str, ended: bool
) -> None:
    before = end.join(lines) + (end if ended else "")
    after = conf.merge(before, ALL)
    assert conf.merge(after, ALL) == after
    found = conf.values(after)
    assert (found["boot", "systemd"], found["network", "hostname"], found["user", "default"]) == (
        "true",
        "satellite",
        "you",
    )
    others = [line for line in lines if "command" in line or line == "# x"]
    assert [line for line in after.splitlines() if "command" in line or line == "# x"] == others
    assert conf.undo(after, before, ALL) == before
