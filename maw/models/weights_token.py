"""The hub's token: from the environment or a file, never from a command line, never shown."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maw.errors import HubTokenUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "HF_TOKEN"
_TOKEN = re.compile(r"[!-~]{8,512}")
_VAULT = b"$ANSIBLE_VAULT;"
_LARGEST = 65_536
_VAULT_SECONDS = 60
_PASSWORD_FILE = "ANSIBLE_VAULT_PASSWORD_FILE"  # noqa: S105 - a variable's name
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
    if content.startswith(_VAULT):
        content = _decrypted(path)
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
    if mode & 0o077 and not content.startswith(_VAULT):
        raise HubTokenUnusable(
            path=path,
            reason=f"others may read it (mode {mode:04o})",
            step=f"`chmod 600 {path}`; if others use this machine, make a new token on the hub too",
        )
    return content


def _decrypted(path: Path) -> bytes:
    """Have ansible-vault read the file. It asks nobody: the password comes from a file."""
    if not os.environ.get(_PASSWORD_FILE):
        raise HubTokenUnusable(
            path=path,
            reason="it is encrypted by Ansible Vault, and no password file is named",
            step=f"Set {_PASSWORD_FILE} to the file with its password",
        )
    beside = Path(sys.executable).parent / "ansible-vault"
    program = str(beside) if beside.exists() else "ansible-vault"
    try:
        answer = subprocess.run(
            [program, "view", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_VAULT_SECONDS,
            # A pager is what shows a decrypted file to people; cat hands it on.
            env={**os.environ, "PAGER": "cat", "ANSIBLE_NOCOLOR": "1"},
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"ansible-vault did not run ({type(error).__name__})"
        raise HubTokenUnusable(path=path, reason=reason, step="Check `ansible-vault --version`") from error
    if answer.returncode != 0:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = "ansible-vault refused it: " + (said[0].rstrip(". ") if said else "it did not say why")
        step = f"Check the password in the file that {_PASSWORD_FILE} names"
        raise HubTokenUnusable(path=path, reason=reason, step=step)
    return answer.stdout
