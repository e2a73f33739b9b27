"""Runs programs: by argument list, with a time limit, and with what they said in the error."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def run(
    argv: Sequence[str | Path],
    *,
    seconds: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Given a command, return its standard output. Raise LabError unless it ends with 0 in time."""
    words = [str(word) for word in argv]
    shown = " ".join(words[:8])
    try:
        answer = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=seconds,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError as error:
        raise LabError(f"the program {words[0]} is not installed. Run: make lab INSTALL=1") from error
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode("utf-8", "replace").strip()
        raise LabError(f"{shown} took more than {seconds:.0f} s. {said[-2000:]}") from error
    if answer.returncode != 0:
        said = (answer.stderr or answer.stdout).decode("utf-8", "replace").strip()
        raise LabError(f"{shown} ended with {answer.returncode}: {said[-2000:]}")
    return answer.stdout


def progress(text: str) -> None:
    """Say what happens now, to a person only."""
    if sys.stderr.isatty():
        print(f"lab: {text}", file=sys.stderr, flush=True)  # noqa: T201 - this is a command-line program
