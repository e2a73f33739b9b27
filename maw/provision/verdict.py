"""What the end of a run means: done, or which error. Exit code and events tell it, never a recap."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maw.errors import (
    ContentMissing,
    Interrupted,
    MawError,
    PlaybookFailed,
    ProvisionError,
    VaultPasswordWrong,
)
from maw.provision import requirements

if TYPE_CHECKING:
    from maw.provision.content import Content
    from maw.provision.model import Run

# Ansible's words, and no more than these: a role's own may be about a vault too.
_VAULT = re.compile(r"(?i)decryption failed|no vault secrets|the vault password file .* was not found")
_NONE = re.compile(r"(?i)no vault secrets? (?:were )?found(?! that could decrypt)|attempting to decrypt but")
_NO_SPACE = "No space left on device"
_LONGEST_REASON = 300
# ansible-playbook's exit codes: hosts failed, or could not be reached.
_HOSTS = (2, 4)
_KILLED = 128


def about_vault(said: str) -> VaultPasswordWrong | None:
    """Given what Ansible said, return the error if it is about a vault's password."""
    if _VAULT.search(said) is None:
        return None
    if _NONE.search(said):
        return VaultPasswordWrong(
            reason="something is encrypted, and no password was given",
            step="Name the file that holds it with --vault-password-file FILE, or ask for it with "
            "--vault-password-file -",
        )
    return VaultPasswordWrong(
        reason="that password does not open what is encrypted",
        step="Name the right one with --vault-password-file FILE; "
        "`ansible-vault view FILE` on a file of yours tells which it is",
    )


def failure(
    run: Run, code: int | None, playbook: str, content: Content, *, stopped: bool = False
) -> MawError | None:
    """Given a run, its exit code (None: it was killed) and whether it was told to stop, return its error.

    None means that it was carried out wholly, on at least one host.
    """
    if stopped:
        done = sum(host.ok for host in run.hosts.values())
        return Interrupted(after=f" after {done} tasks of {playbook}; what was started was stopped")
    if code == 0:
        return _unproven(run, playbook)
    vault = about_vault(run.said_of_failures)
    if vault is not None:
        return vault
    modules = run.missing_modules()
    if modules:
        return requirements.missing(_collections(modules), content.requirements)
    role = run.missing_role()
    if role is not None:
        return ContentMissing(what=f"The role {role}", path=content.roles)
    if code is None or code >= _KILLED:
        how = "" if code is None else f" by signal {code - _KILLED}"
        step = "Look whether this machine ran out of memory (journalctl -k), then run it again"
        return ProvisionError(playbook=playbook, reason=f"Ansible was killed{how}", step=step)
    if run.failed:
        return _of_hosts(run, playbook)
    return _of_ansible(run, code, playbook)


def _unproven(run: Run, playbook: str) -> ProvisionError | None:
    step = "Run it again"
    if not run.ended:
        reason = "Ansible ended without saying what it did"
    elif run.lost:
        reason = f"{run.lost} of its events could not be read, so that nobody knows what came of them"
        step = "Look whether the disk of temporary files is full, then run it again"
    elif not run.hosts:
        reason = "it meets none of the hosts"
        step = "Name other hosts with --limit, or add them to the playbook's groups in the inventory"
    elif run.failed:
        return _of_hosts(run, playbook)
    else:
        return None
    return ProvisionError(playbook=playbook, reason=reason, step=step)


def _of_hosts(run: Run, playbook: str) -> PlaybookFailed:
    host = run.failed[0]
    one = host.failures[-1]
    task = f"{one.role}: {one.task}" if one.role else one.task
    return PlaybookFailed(
        failed=len(run.failed),
        total=len(run.hosts),
        playbook=playbook,
        host=host.name,
        task=task,
        reason=short(one.message),
    )


def _of_ansible(run: Run, code: int, playbook: str) -> ProvisionError:
    said = run.errors or [one.message for one in run.said]
    reason = short(said[-1]) if said else f"ansible-playbook ended with status {code} and said nothing"
    step = "Mend what it names and run it again"
    if run.lost or _NO_SPACE in reason:
        step = "The disk of temporary files here may be full: free some space and run it again"
    return ProvisionError(playbook=playbook, reason=reason, step=step)


def short(text: str) -> str:
    """Given a message of many lines, return it as one that fits in an error."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"


def _collections(modules: list[str]) -> list[str]:
    found = [
        ".".join(name.split(".")[:2]) if name.count(".") >= 2 else f"the one with {name}" for name in modules
    ]
    return list(dict.fromkeys(found))
