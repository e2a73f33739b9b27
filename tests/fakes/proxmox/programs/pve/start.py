"""Find the state, refuse who is not root, do what the program is called."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from .state import Node

_MODULES = {
    "vzdump": "vzdump",
    "pct": "pct",
    "pvesh": "pvesh",
    "pvesm": "pvesm",
    "pveum": "small",
    "pveversion": "small",
}
_NOT_ROOT = "Unable to load access control list: Unknown error -1"


def main(program: Path) -> None:
    """Given the path of a program, do what it does and end."""
    sys.stdout.reconfigure(line_buffering=True)
    code = _run(program)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or 141
    # At once: whatever a closed pipe still holds is lost in the real ones too.
    os._exit(code)


def _run(program: Path) -> int:
    if os.geteuid() != 0:
        for number in (1, 2, 3):
            print(f"ipcc_send_rec[{number}] failed: Unknown error -1", file=sys.stderr)
        print(_NOT_ROOT, file=sys.stderr)
        return 255
    node = Node(find_state(program))
    module = importlib.import_module(f".{_MODULES[program.name]}", __package__)
    code: int = module.main(node, program.name, sys.argv[1:])
    return code


def find_state(program: Path) -> Path:
    """Return the folder of the node: `FAKE_PVE`, or what the file `state` beside the program names."""
    given = os.environ.get("FAKE_PVE")
    if given:
        return Path(given)
    return Path(program.resolve().with_name("state").read_text("utf-8").strip())
