"""Command lines are taken apart as Windows' programs do it."""

from __future__ import annotations

import random
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fakes.windows.programs import cmd_read, command_line, wsl_options
from tests.fakes.windows.programs.cmd_read import Both, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fakes.windows import WindowsNotebook

    Ask = Callable[..., subprocess.CompletedProcess[bytes]]

LETTERS = 'ab" \t\\\\"%^&\'กé'
LINES = st.text(st.sampled_from(LETTERS), max_size=40)


class Variables:
    """What the parser of cmd wants to know of a machine."""

    def __init__(self, **known: str) -> None:
        self.known = known

    def variable(self, name: str) -> str | None:
        return self.known.get(name.upper())


def _runs(text: str) -> Iterator[str]:
    """Cut a text into runs of backslashes, runs of quotes, and all else."""
    return (found[0] for found in re.finditer(r'\\+|"+|[^\\"]', text))


def _by_the_book(line: str) -> list[str]:
    """Split as Microsoft's page on CommandLineToArgvW and its known habit with quotes in a row say.

    Written from the rules and not from the code under test: a run of backslashes counts only before
    a quote; of a run of quotes, the first may be escaped; inside, of each three quotes one is kept.
    """
    if line[:1] == '"':
        name, _, rest = line[1:].partition('"')
    else:
        name = re.match(r"[^ \t]*", line)[0]  # type: ignore[index]
        rest = line[len(name) :]
    words, word, inside, escaped = [name], "", False, False
    begun = False
    rest = rest.lstrip(" \t")
    pieces = list(_runs(rest))
    for place, piece in enumerate(pieces):
        following = pieces[place + 1] if place + 1 < len(pieces) else ""
        if piece[0] == "\\":
            if following[:1] == '"':
                word += "\\" * (len(piece) // 2)
                escaped = len(piece) % 2 == 1
            else:
                word += piece
            begun = True
        elif piece[0] == '"':
            count = len(piece)
            begun = True
            if escaped:
                word, count, escaped = word + '"', count - 1, False
                # After an escaped quote the count of quotes in a row begins with those that stand open.
            total = count + (1 if inside else 0)
            word += '"' * (total // 3)
            inside = total % 3 == 1
        elif piece in " \t" and not inside:
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + piece, True
    if begun or inside:
        words.append(word)
    return words


@settings(max_examples=3000, deadline=None, database=None)
@given(LINES)
@example('a "b c" d')
@example('a """b""" c')
@example('a \\\\"b c\\" d"')
@example('"a b"c d')
@example('a ""')
def test_arguments_are_split_as_the_rules_say(line: str) -> None:
    line = "p " + line
    assert command_line.split(line) == _by_the_book(line)


@settings(max_examples=3000, deadline=None, database=None)
@given(st.lists(st.text(st.sampled_from(LETTERS), max_size=12), max_size=6))
def test_what_the_c_runtime_quotes_is_split_again(words: list[str]) -> None:
    line = " ".join(["program", *map(command_line.quote, words)])
    assert command_line.split(line) == ["program", *words]


@settings(max_examples=2000, deadline=None, database=None)
@given(st.lists(st.text(st.sampled_from(LETTERS), max_size=12), min_size=1, max_size=6))
def test_exec_gets_each_argument_that_was_quoted_for_it(words: list[str]) -> None:
    line = "wsl.exe -d Ubuntu -u root --exec " + " ".join(["program", *map(command_line.quote, words)])
    assert wsl_options.parse(line)["argv"] == ["program", *words]


@settings(max_examples=500, deadline=None, database=None)
@given(LINES)
def test_two_dashes_keep_every_character(rest: str) -> None:
    parsed = wsl_options.parse(f"wsl.exe -d Ubuntu -- {rest}")
    assert parsed["argv"] is None
    assert parsed["text"] == rest.lstrip(" \t")


@pytest.mark.parametrize(
    ("line", "distro", "argv"),
    [
        ("wsl.exe -d Ubuntu -u root --exec /usr/sbin/sshd -i", "Ubuntu", ["/usr/sbin/sshd", "-i"]),
        ('"C:\\Program Files\\WSL\\wsl.exe" -d  Ubuntu -e id', "Ubuntu", ["id"]),
        ('wsl.exe -d "Ubuntu" -e id', '"Ubuntu"', ["id"]),
        ('wsl.exe -d "Ubuntu 24.04" -e id', '"Ubuntu', None),
        ("wsl.exe --distribution Ubuntu --exec id", "Ubuntu", ["id"]),
        ("wsl.exe -d Ubuntu --shell-type none id -u", "Ubuntu", ["id", "-u"]),
    ],
)
def test_options_are_words_between_blanks(line: str, distro: str, argv: list[str] | None) -> None:
    parsed = wsl_options.parse(line)
    assert (parsed["distro"], parsed["argv"]) == (distro, argv)


def _texts(node: object) -> list[str]:
    if isinstance(node, Command):
        return [node.text.rstrip()]
    assert isinstance(node, Both)
    return [*_texts(node.left), node.operator, *(text.lstrip() for text in _texts(node.right))]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a b", ["a b"]),
        ("a ^& b", ["a & b"]),
        ('a "^& b"', ['a "^& b"']),
        ("a '& b'", ["a '", "&", "b'"]),
        ("a && b || c | d & e", ["a", "&&", "b", "||", "c", "|", "d", "&", "e"]),
        ("(a & b) && c", ["a", "&", "b", "&&", "c"]),
        ("echo %USER% %NONE% %USER:Y=Z% %USER:~1% 100%", ["echo YOU %NONE% ZOU OU 100%"]),
        ("echo %USER:~0,1%%USER:~-1%", ["echo YU"]),
        ('echo "%USER%"', ['echo "YOU"']),
        ("a\nb", ["a"]),
        ("a ^^ ^", ["a ^"]),
        ("a b > c 2>&1 < d", ["a b"]),
        ("a2>c", ["a2"]),
        ("@a", ["a"]),
        ("a;b,c", ["a;b,c"]),
    ],
)
def test_cmd_reads_a_text(text: str, parts: list[str]) -> None:
    assert _texts(cmd_read.parse(text, Variables(USER="YOU"))) == parts  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["& a", "a & & b", "a &&", "a |", "(a", "a >", "| a"])
def test_cmd_refuses_what_is_no_command(text: str) -> None:
    with pytest.raises(cmd_read.Unexpected):
        cmd_read.parse(text, Variables())  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", " ", "\n", " ; , ="])
def test_cmd_takes_nothing_for_nothing(text: str) -> None:
    assert cmd_read.parse(text, Variables()) is None  # type: ignore[arg-type]


def test_redirections_are_taken_out_of_the_text() -> None:
    tree = cmd_read.parse('a >"b c" 2>>d <e 2>&1 f', Variables())  # type: ignore[arg-type]
    assert isinstance(tree, Command)
    assert tree.redirections == [(1, ">", "b c"), (2, ">>", "d"), (0, "<", "e"), (2, ">", "&1")]
    assert tree.text.split() == ["a", "f"]


def test_the_genuine_function_splits_three_thousand_lines_alike(genuine: WindowsNotebook) -> None:
    chance = random.Random(4)
    lines = ["".join(chance.choices(LETTERS, k=chance.randrange(1, 30))) for _ in range(3000)]
    lines = [line for line in lines if line.strip(" \t")]
    from tests.fakes.windows.programs import wine_run

    answer = subprocess.run(
        ["/usr/bin/wine", "C:\\windows\\argv.exe"],
        input="".join(line + "\n" for line in lines).encode(),
        capture_output=True,
        check=True,
        timeout=60,
        env=wine_run.environment(genuine.state["wine_prefix"]),
    )
    genuine = [
        [bytes.fromhex(word[1:]).decode() for word in line.split()]
        for line in answer.stdout.decode().splitlines()
    ]
    assert len(genuine) == len(lines) > 2500
    different = [
        (line, theirs, command_line.split(line))
        for line, theirs in zip(lines, genuine, strict=True)
        if command_line.split(line) != theirs
    ]
    assert not different


@pytest.mark.slow
def test_a_genuine_cmd_hands_the_same_command_lines_to_wsl_exe(genuine: WindowsNotebook) -> None:
    chance = random.Random(7)
    pieces = [
        "a",
        " ",
        "  ",
        '"b c"',
        "^&",
        "^^",
        "'",
        "%USERNAME%",
        "%NONE%",
        '"^"',
        "\\",
        "$x",
        ";",
        "ก",
        "!",
        "`",
    ]
    notebook = genuine
    for _ in range(40):
        text = "wsl.exe -e true " + "".join(chance.choices(pieces, k=chance.randrange(1, 8)))
        tree = cmd_read.parse(text, Variables(USERNAME=notebook.account))  # type: ignore[arg-type]
        assert isinstance(tree, Command)
        before = len(notebook.calls())
        argv = [notebook.state["python"], "-I", "-S", notebook.state["programs"] + "/start.py"]
        answer = subprocess.run(
            [*argv, "login", str(notebook.folder), text.encode().hex()],
            check=False,
            timeout=60,
            capture_output=True,
        )
        assert answer.returncode == 0, (text, answer.stdout, answer.stderr)
        (call,) = notebook.calls()[before:]
        assert call.line.rstrip() == tree.text.rstrip(), text
