"""Errors of provisioning: playbooks that maw runs, and what they need."""

from __future__ import annotations

from maw.errors.base import MawError


class ProvisionError(MawError):
    """The playbook {playbook} could not be carried out: {reason}. {step}."""

    exit_code = 100


class PlaybookFailed(ProvisionError):
    """{failed} of {total} hosts did not get through {playbook}; first {host}, at {task}: {reason}. What was
    done before stays. Mend it and run the same command again: what is done is not done twice."""

    exit_code = 101


class ProvisionBusy(ProvisionError):
    """Another run is under way in this workspace ({reason}). Wait for its end, then run this again."""

    exit_code = 102


class CollectionsMissing(ProvisionError):
    """Ansible collections are missing or too old here: {names}. Nothing was touched. Install them with
    `{command}`, then run this again."""

    exit_code = 103


class VaultPasswordWrong(ProvisionError):
    """Ansible Vault refuses: {reason}. {step}."""

    exit_code = 104


class PlaceholderLeft(ProvisionError):
    """{host} still has a placeholder: {name} is {value}. Nothing was touched. Put your own in {path} and run
    this again."""

    exit_code = 105


class ContentMissing(ProvisionError):
    """{what} of maw's playbooks cannot be found in {path}. Install maw anew: what it is made of is not
    complete."""

    exit_code = 106


class NotFinished(ProvisionError):
    """{host} is not ready yet: {reason}. {step}."""

    exit_code = 107
