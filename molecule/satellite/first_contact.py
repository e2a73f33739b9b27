"""Plays the person at the notebook: pastes the line of `cutter satellite-init`, hands the fingerprint over.

Beside that it makes the files that a notebook without internet is given. Usage: first_contact.py LAB_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.end_to_end.bare import (  # noqa: E402 - found by the line above
    NOTEBOOK,
    BareNotebook,
    distro_image,
    wsl_package,
)


def main(folder: Path) -> None:
    """Do it."""
    notebook = BareNotebook(folder, state=json.loads((folder / "state.json").read_text("utf-8")))
    said = json.loads(notebook.verb("satellite-init", NOTEBOOK, "--json").stdout)
    fingerprint = notebook.first_contact(said["line"])
    pinned = notebook.verb("trust", NOTEBOOK, "--fingerprint", fingerprint)
    if pinned.returncode:
        sys.exit(pinned.stderr)
    distro_image(folder)
    wsl_package(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
