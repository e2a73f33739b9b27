"""How long `maw --version` and `maw --help` take beside an empty Python program."""

from __future__ import annotations

import subprocess
import sys

from _shared import figure, seconds


def main() -> None:
    empty = seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    figure("python -c pass", empty * 1000, "ms")
    for option in ("--version", "--help"):
        argv = [sys.executable, "-c", "from maw.cli import maw; maw()", option]
        taken = seconds(lambda argv=argv: subprocess.run(argv, check=True, capture_output=True))
        figure(f"maw {option}, more than that", (taken - empty) * 1000, "ms", "target: at most 120")


if __name__ == "__main__":
    main()
