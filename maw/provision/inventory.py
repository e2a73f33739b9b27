"""The variables of the inventory's hosts, as Ansible sees them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw.errors import ContentMissing, InventoryError
from maw.provision import verdict

if TYPE_CHECKING:
    from collections.abc import Mapping


def program(name: str) -> str:
    """Given the name of one of Ansible's programs, return its path. Raise ContentMissing."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ContentMissing(what=f"The program {name}", path=beside.parent)
    return found


def variables(inventory: Path, environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Given the inventory and Ansible's environment, return the variables of each host.

    Raise InventoryError, or VaultPasswordWrong.
    """
    settings = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true", "ANSIBLE_NOCOLOR": "true"}
    answer = subprocess.run(
        [program("ansible-inventory"), "-i", str(inventory), "--list"],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**environment, **settings},
    )
    if answer.returncode != 0:
        said = answer.stderr.decode("utf-8", "replace").strip()
        wrong = verdict.about_vault(said)
        if wrong is not None:
            raise wrong
        reason = " ".join(said.splitlines()[-3:]) or f"status {answer.returncode}"
        raise InventoryError(path=inventory, reason=reason)
    listing: dict[str, Any] = json.loads(answer.stdout)
    found: dict[str, dict[str, Any]] = listing.get("_meta", {}).get("hostvars", {})
    return found
