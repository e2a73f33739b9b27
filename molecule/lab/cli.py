"""`python molecule/lab up|down|status`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lab import bring, install
from lab.errors import LabError
from lab.names import Lab
from maw.errors import MawError

ROOT = Path(__file__).resolve().parents[2] / ".lab"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="Real system containers that play the cluster.")
    parser.add_argument("verb", choices=("up", "down", "status"))
    parser.add_argument(
        "--prefix", default="maw", help="begins every name; labs of different prefixes are apart"
    )
    parser.add_argument("--satellites", type=int, default=1, help="how many notebooks (default 1)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="MACHINE", help="only this one; repeatable"
    )
    parser.add_argument(
        "--bare",
        action="append",
        default=[],
        metavar="NOTEBOOK",
        help="it gets no key and no WSL",
    )
    parser.add_argument("--install", action="store_true", help="install what is missing (needs root)")
    parser.add_argument("--root", type=Path, default=ROOT, help="where workspaces and states lie")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Given the arguments, do what they say; return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        folder = given.root.resolve() / given.prefix
        lab = Lab(given.prefix, folder, given.satellites, tuple(given.only), tuple(given.bare))
        if given.verb == "up":
            install.require(do=given.install)
            result = bring.up(lab)
        elif given.verb == "down":
            result = bring.down(lab)
        else:
            result = bring.status(lab)
    except (LabError, MawError) as error:
        print(f"lab: {error}", file=sys.stderr)  # noqa: T201 - this is a command-line program
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted. Run it again to go on.", file=sys.stderr)  # noqa: T201
        return 130
    print(json.dumps(result, indent=2) if given.json else _text(given.verb, result))  # noqa: T201
    return 0 if given.verb != "status" or result["up"] else 1


def _text(verb: str, result: dict[str, Any]) -> str:
    steps = [f"{one['kind']} {one['subject']} ({one['reason']})" for one in result.get("steps", [])]
    if verb == "down":
        return "\n".join([*steps, "the lab is down" if result["changed"] else "there is no lab"])
    if not result["up"]:
        return f"the lab is not up: {result['reason']}. Bring it up with: make lab"
    done = steps or (["nothing to do"] if verb == "up" else [])
    return "\n".join([*done, bring.summary(result)])
