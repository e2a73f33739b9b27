"""The hub's token: from the environment or a file, never from a command line, never shown."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from maw import vault
from maw.errors import HubTokenUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "HF_TOKEN"
_TOKEN = re.compile(r"[!-~]{8,512}")
_LARGEST = 65_536
_FORM = "Put in the token alone, on one line, as the hub showed it (hf_…)"


def read_token(path: Path, environment: Mapping[str, str]) -> str | None:
    """Given the token's file and the environment, return the token, None if there is none.

    HF_TOKEN comes first. The file has mode 0600 or was made by Ansible Vault. Raise HubTokenUnusable.
    """
    given = environment.get(VARIABLE, "").strip()
    if given:
        if not _TOKEN.fullmatch(given):
            reason = "it holds something else than a token"
            raise HubTokenUnusable(path=f"(the variable {VARIABLE})", reason=reason, step=_FORM)
        return given
    content = _read(path)
    if content is None:
        return None
    if content.startswith(vault.MARK):
        content = vault.view(path, HubTokenUnusable)
    token = content.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        reason = "it holds something else than a token on one line" if token else "it is empty"
        raise HubTokenUnusable(path=path, reason=reason, step=_FORM)
    return token


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        step = "Check its owner and mode"
        raise HubTokenUnusable(path=path, reason=error.strerror or str(error), step=step) from error
    if len(content) > _LARGEST:
        raise HubTokenUnusable(path=path, reason="it is too large to be a token", step=_FORM)
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077 and not content.startswith(vault.MARK):
        raise HubTokenUnusable(
            path=path,
            reason=f"others may read it (mode {mode:04o})",
            step=f"`chmod 600 {path}`; if others use this machine, make a new token on the hub too",
        )
    return content
