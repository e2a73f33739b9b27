"""The tree of errors: its picture, its messages, its codes."""

from __future__ import annotations

import inspect
import pickle
import re
import string

import pytest

from maw import errors
from maw.errors import InvalidSetting, MawError, UnknownSetting, printable

CLASSES = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, MawError)]
# Their only fact is a whole message, with its next step, that whoever raises them writes.
WHOLE = {kind for kind in CLASSES if kind.__doc__ in ("{reason}", "{message}")}


def _template(kind: type[MawError]) -> str:
    return inspect.cleandoc(kind.__doc__ or "").replace("\n", " ")


def _facts(kind: type[MawError]) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(_template(kind)) if name is not None]


def _example(kind: type[MawError]) -> MawError:
    return kind(**{name: f"some {name}" for name in _facts(kind)})


def _drawn() -> dict[str, tuple[str | None, int]]:
    """The tree in the module's docstring: name -> (parent, code)."""
    tree: dict[str, tuple[str | None, int]] = {}
    parents: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"( {4}[│ ├└─]*)([A-Z][A-Za-z]+) \((\d+)\)", line)
        if match:
            depth = len(match.group(1)) // 4
            tree[match.group(2)] = (parents.get(depth - 1), int(match.group(3)))
            parents[depth] = match.group(2)
    return tree


def test_the_picture_shows_every_class_with_its_parent_and_code() -> None:
    real = {
        kind.__name__: (None if kind is MawError else kind.__mro__[1].__name__, kind.exit_code)
        for kind in CLASSES
    }
    assert _drawn() == real
    assert len(real) > 40


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_message_needs_only_the_facts_that_it_names(kind: type[MawError]) -> None:
    assert kind.__doc__, "every class has its own message"
    assert "__doc__" in vars(kind)
    facts = _facts(kind)
    assert all(name.isidentifier() for name in facts)
    message = str(_example(kind))
    assert all(f"some {name}" in message for name in facts)
    assert "\n" not in message
    assert "  " not in message


@pytest.mark.parametrize(
    "kind", sorted(set(CLASSES) - WHOLE, key=lambda k: k.__name__), ids=lambda k: k.__name__
)
def test_a_message_says_the_next_step_after_what_happened(kind: type[MawError]) -> None:
    message = str(_example(kind))
    sentences = [part for part in re.split(r"(?<=[.?;]) ", message) if part]
    assert len(sentences) >= 2, message
    assert message[-1] in ".?", message


def test_no_two_families_share_a_code() -> None:
    """A code tells the family; within one, a class has its own code or its parent's."""
    owners: dict[int, type[MawError]] = {}
    for kind in CLASSES:
        parent = kind.__mro__[1]
        if issubclass(parent, MawError) and parent.exit_code == kind.exit_code:
            continue
        assert kind.exit_code not in owners, f"{kind} and {owners.get(kind.exit_code)}"
        owners[kind.exit_code] = kind


def test_codes_leave_room_for_those_of_remote_commands() -> None:
    for kind in CLASSES:
        assert 0 < kind.exit_code < 256
        if issubclass(kind, errors.TransportError):
            assert 240 <= kind.exit_code < 255
        else:
            assert kind.exit_code < 192


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_travel_between_processes(kind: type[MawError]) -> None:
    error = _example(kind)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert copy.facts == error.facts
    assert str(copy) == str(error)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("a\nb\r\tc\x0b\x00\x7f", r"a\nb\r\tc\x0b\x00\x7f"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("user\u202egnp.exe\u2066\u200f", r"user\u202egnp.exe\u2066\u200f"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\udce9"),
        ("\ud800", r"\ud800"),
        ("\x9b31m", r"\x9b31m"),
        ("ไฟดับ เมื่อคืนนี้", "ไฟดับ เมื่อคืนนี้"),
        ("👩🏽‍💻 🏴‍☠️ ❤️ é", "👩🏽‍💻 🏴‍☠️ ❤️ é"),
        ("{reason} {0} %s", "{reason} {0} %s"),
    ],
    ids=ascii,
)
def test_facts_are_shown_as_one_line_that_cannot_trick_a_terminal(given: str, shown: str) -> None:
    assert printable(given) == shown
    assert str(MawError(reason=given)) == shown


def test_facts_of_any_kind_are_shown() -> None:
    from pathlib import Path

    error = InvalidSetting(path=Path("/a/maw.toml"), name="ssh.x", wanted="a number", found=None)
    assert str(error) == "/a/maw.toml: ssh.x must be a number, not None. Mend that line."


def test_messages_read_as_sentences() -> None:
    error = UnknownSetting(path="maw.toml", name="ssh.conect", nearest="ssh.connect_seconds")
    assert str(error) == (
        "maw.toml: there is no setting ssh.conect. Did you mean ssh.connect_seconds? "
        "`maw init` writes a file that lists them all."
    )
