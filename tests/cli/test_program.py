"""How the doors open and close: verbs, codes, start-up."""

from __future__ import annotations

import compileall
import json
import os
import pty
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import maw
from maw.cli.program import CUTTER, MAW, load

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

HEAVY = {"fabric", "paramiko", "torch", "transformers", "ansible", "numpy", "lxml", "trafilatura"}
ALLOWED_MILLISECONDS = 120


def _argv(program: str) -> list[str]:
    return [sys.executable, "-c", f"from maw.cli import {program}; {program}()"]


def test_the_version_is_that_of_the_package(maw_command: Command, cutter_command: Command) -> None:
    assert maw_command("--version").stdout == f"maw {maw.__version__}\n".encode()
    assert cutter_command("--version").stdout == f"cutter {maw.__version__}\n".encode()


@pytest.mark.parametrize(
    ("given", "nearest"), [("pipelin", "pipeline"), ("inti", "init"), ("x", None), ("", None)]
)
def test_an_unknown_verb_is_refused_with_the_nearest(
    maw_command: Command, given: str, nearest: str | None
) -> None:
    answer = maw_command(given)
    assert (answer.returncode, answer.stdout) == (2, b"")
    said = re.search(rf"There is no verb '{given}'\. Did you mean '([\w-]+)'\?", answer.stderr.decode())
    assert said is not None, answer.stderr
    assert said.group(1) in MAW
    assert nearest in (None, said.group(1))


def test_an_unknown_verb_cannot_trick_the_terminal(maw_command: Command) -> None:
    answer = maw_command("\x1b[31mx\nmaw: done")
    assert answer.returncode == 2
    assert b"\x1b" not in answer.stderr
    assert rb"\x1b[31mx\nmaw: done" in answer.stderr


def test_an_unknown_option_is_refused(maw_command: Command) -> None:
    answer = maw_command("init", "--jsno")
    assert answer.returncode == 2
    assert b"--jsno" in answer.stderr


@pytest.mark.parametrize("program", ["maw", "cutter"])
def test_help_lists_every_verb_with_a_line(
    program: str, maw_command: Command, cutter_command: Command
) -> None:
    run = {"maw": maw_command, "cutter": cutter_command}[program]
    answer = run("--help")
    assert (answer.returncode, answer.stderr) == (0, b"")
    for verb in {"maw": MAW, "cutter": CUTTER}[program]:
        assert re.search(rf"(?m)^  {verb}  +\S", answer.stdout.decode()), verb
    assert run().returncode == 2, "without a verb nothing was done"


@pytest.mark.parametrize("place", sorted({*MAW.values(), *CUTTER.values()}))
def test_every_verb_says_what_it_does_and_offers_json(place: str) -> None:
    command = load(place)
    assert command.help
    for verb in command.commands.values() if isinstance(command, click.Group) else [command]:
        assert verb.help
        options = {option for parameter in verb.params for option in parameter.opts}
        if not place.endswith((":ssh_config", "auto:command")):
            assert "--json" in options
        for parameter in verb.params:
            if parameter.param_type_name == "option":
                assert getattr(parameter, "help", None), parameter


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_no_heavy_library_is_loaded_to_start(option: str) -> None:
    argv = [sys.executable, "-X", "importtime", *_argv("maw")[1:], option]
    answer = subprocess.run(argv, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in answer.stderr.splitlines()}
    assert "click" in loaded
    assert loaded & HEAVY == set()


def _median_milliseconds(argv: list[str], environment: dict[str, str]) -> float:
    taken = []
    for _ in range(10):
        started = time.perf_counter()
        subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, check=True)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken[1:])


def test_the_start_costs_little_more_than_that_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    compileall.compile_dir(Path(maw.__file__).parent, quiet=2)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    empty = _median_milliseconds([sys.executable, "-c", "pass"], environment)
    # Help imports every verb for its first line; the limit is for what each call pays.
    for option, allowed in (("--version", ALLOWED_MILLISECONDS), ("--help", 2 * ALLOWED_MILLISECONDS)):
        ours = _median_milliseconds([*_argv("maw"), option], environment)
        with capsys.disabled():
            print(f"\nmaw {option}: {ours - empty:.0f} ms more than python -c pass ({empty:.0f} ms)", end="")
        assert ours - empty <= allowed


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("init", "w", "--json")])
def test_a_full_standard_output_is_a_failure(maw_command: Command, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        answer = maw_command(*arguments, stdout=full)
    assert answer.returncode == 13
    assert (
        answer.stderr.decode()
        .splitlines()[-1]
        .startswith("maw: the output could not be written: No space left")
    )
    assert b"Traceback" not in answer.stderr


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("init", "w", "--json")])
def test_a_closed_standard_output_ends_without_a_traceback(arguments: tuple[str, ...]) -> None:
    argv = ["sh", "-c", 'exec "$@" >&-', "sh", *_argv("maw"), *arguments]
    answer = subprocess.run(argv, capture_output=True, check=False)
    assert b"Traceback" not in answer.stderr
    assert answer.returncode in (0, 12, 13)


def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    script = '"$@" --help | true; printf "%s" "${PIPESTATUS[0]}"'
    answer = subprocess.run(["bash", "-c", script, "bash", *_argv("maw")], capture_output=True, check=True)
    assert answer.stdout == b"141"
    assert answer.stderr == b""


def test_errors_are_red_only_on_a_terminal_that_wants_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {}
    for wanted in ("", "1"):
        ours, theirs = pty.openpty()
        subprocess.run(
            [*_argv("maw"), "init", "/proc/maw"],
            stderr=theirs,
            stdin=subprocess.DEVNULL,
            check=False,
            env={**os.environ, "NO_COLOR": wanted, "TERM": "xterm"},
        )
        os.close(theirs)
        said[wanted] = os.read(ours, 10_000)
        os.close(ours)
    assert b"\x1b[31m" in said[""]
    assert b"\x1b" not in said["1"]


def test_an_error_of_the_settings_is_one_line_with_its_code(cutter_command: Command, tmp_path: Path) -> None:
    (tmp_path / "maw.toml").write_text("[shh]\n")
    answer = cutter_command("nodes")
    assert (answer.returncode, answer.stdout) == (10, b"")
    assert answer.stderr.decode().startswith(
        f"cutter: {tmp_path}/maw.toml: there is no setting [shh]. Did you mean [ssh]?"
    )
    answer = cutter_command("nodes", env={"MAW_SSH_CONECT_SECONDS": "1"})
    assert answer.returncode == 10


def test_the_workspace_of_the_user_is_made_when_it_is_needed(cutter_command: Command, home: Path) -> None:
    answer = cutter_command("nodes", "--json")
    root = home / ".local/share/maw"
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.decode() == f"maw: made a workspace in {root}\n"
    assert (root / "maw.toml").exists()
    assert [node["name"] for node in json.loads(answer.stdout)["nodes"]] == [
        "local",
        "server",
        "notebook-wsl",
    ]
    assert cutter_command("nodes", "--json").stderr == b""


def test_an_interrupt_is_130(lasting: str, running: Callable[[str], list[int]], within: Callable) -> None:
    process = subprocess.Popen(
        [*_argv("cutter"), "offload", "--on", "local", "--", "sleep", lasting],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert within(10, lambda: running(lasting))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith(b"cutter: Interrupted. Run the same command again")
    assert within(3, lambda: not running(lasting))
