"""Files that Ansible Vault encrypts: read and written by ansible-vault, which asks nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.errors import MawError

# What such a file begins with.
MARK = b"$ANSIBLE_VAULT;"
_SECONDS = 60
# The variable in which Ansible is told of the file with the password.
PASSWORD_FILE = "ANSIBLE_VAULT_PASSWORD_FILE"  # noqa: S105 - a variable's name


def _run(path: Path, arguments: Sequence[str], given: bytes, refusal: type[MawError]) -> bytes:
    """Given the file that it is about, arguments and input, run ansible-vault and return its output.

    The password comes from the file that the environment names. Raise `refusal`, with path, reason and step.
    """
    if not os.environ.get(PASSWORD_FILE):
        raise refusal(
            path=path,
            reason="it is encrypted by Ansible Vault, and no password file is named",
            step=f"Set {PASSWORD_FILE} to the file with its password",
        )
    try:
        answer = subprocess.run(
            [_program(), *arguments],
            input=given,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            # A pager is what shows a decrypted file to people; cat hands it on.
            env={**os.environ, "PAGER": "cat", "ANSIBLE_NOCOLOR": "1"},
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"ansible-vault did not run ({type(error).__name__})"
        raise refusal(path=path, reason=reason, step="Check `ansible-vault --version`") from error
    if answer.returncode != 0:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = "ansible-vault refused it: " + (said[0].rstrip(". ") if said else "it did not say why")
        step = f"Check the password in the file that {PASSWORD_FILE} names"
        raise refusal(path=path, reason=reason, step=step)
    return answer.stdout


def view(path: Path, refusal: type[MawError]) -> bytes:
    """Given an encrypted file, return its content. Raise `refusal`.

    ansible-vault ends it with a line feed, if it did not end so.
    """
    return _run(path, ["view", str(path)], b"", refusal)


def encrypt(path: Path, content: bytes, refusal: type[MawError]) -> bytes:
    """Given the file that it is for and its content, return that encrypted. Raise `refusal`."""
    return _run(path, ["encrypt", "--output", "-"], content, refusal)


def _program() -> str:
    beside = Path(sys.executable).parent / "ansible-vault"
    return str(beside) if beside.exists() else "ansible-vault"
