"""Errors of mirrors, of LXD and of Proxmox."""

from __future__ import annotations

from maw.errors.base import MawError


class MirrorError(MawError):
    """{name}: {reason}. {step}."""

    exit_code = 70


class ArchiveIncomplete(MirrorError):
    """The archive of {name} is not whole: {reason}. Nothing of it was kept, the mirror before it stays as it
    was. {step}."""

    exit_code = 71


class UnsafeArchive(MirrorError):
    """The archive of {name} holds what no container's archive may: {reason}. Nothing of it was kept. Find out
    who made that archive before you use it anywhere."""

    exit_code = 72


class NotAnArchive(MirrorError):
    """{name} is no archive of a container: {reason}. Name a file that vzdump made (.tar, .tar.zst, .tar.gz or
    .tar.lzo)."""

    exit_code = 73


class PctConfigError(MirrorError):
    """The container's config {name} cannot be read: line {line}, {reason}. Mend it on the Proxmox server
    (`pct config` shows it), or look whether the archive is damaged."""

    exit_code = 74


class ModeRefused(MirrorError):
    """Container {name} cannot be backed up in mode {mode}: {reason}. Nothing was copied, and no other mode
    was taken instead. {step}."""

    exit_code = 75


class MirrorBusy(MirrorError):
    """Another sync of {name} is under way on {host}: {reason}. Wait for it, then run this again."""

    exit_code = 76


class NotOurs(MirrorError):
    """There is an instance {name} on {host} that is no mirror of maw ({reason}). It was not touched. Choose
    another name with --name."""

    exit_code = 77


class MirrorRuns(MirrorError):
    """The mirror {name} on {host} is running, and a sync would replace it. Stop it with `lxc stop {name}`
    there, or sync to another name with --name."""

    exit_code = 78


class MirrorDiffers(MirrorError):
    """The mirror {name} is not as its source; differences: {count}, the first: {first}. {step}."""

    exit_code = 79


class OriginalAnswers(MirrorError):
    """The original of {name} {reason}; two machines with one identity would disturb each other. Stop the
    original, or start the mirror beside it with an identity of its own: `cutter start {name} --beside`."""

    exit_code = 80


class UnknownMirror(MirrorError):
    """There is no mirror {name} on {host}. The mirrors there: {known}. Make it with `cutter sync`."""

    exit_code = 81


class LxdError(MawError):
    """LXD on {host}: {reason}. {step}."""

    exit_code = 85


class NoLxd(LxdError):
    """{host} has no LXD that answers: {reason}. {step}."""

    exit_code = 86


class NoPool(LxdError):
    """LXD on {host} has no storage pool that mirrors can use: {reason}. Make one there, for example with
    `lxc storage create default dir`."""

    exit_code = 87


class ProxmoxError(MawError):
    """Proxmox on {host}: {reason}. {step}."""

    exit_code = 90


class ProxmoxUnreachable(ProxmoxError):
    """The Proxmox API at {host} cannot be reached: {reason}. Check that the server is on, and its address and
    proxmox.api_port in maw.toml."""

    exit_code = 91


class ProxmoxCertificate(ProxmoxError):
    """The certificate of the Proxmox API at {host} cannot be trusted: {reason}. Nothing was sent. {step}."""

    exit_code = 92


class ProxmoxAuthentication(ProxmoxError):
    """Proxmox on {host} does not accept the API token {token}: {reason}. Make a new one with
    `maw proxmox-token --apply`."""

    exit_code = 93


class ProxmoxPermission(ProxmoxError):
    """The API token {token} may not do this on {host}: it lacks the privilege {privilege} on {path}. Grant it
    with `maw proxmox-token --apply`."""

    exit_code = 94


class NoSuchContainer(ProxmoxError):
    """There is no container {vmid} on {host}{hint}. The containers there: {known}."""

    exit_code = 95


class ContainerLocked(ProxmoxError):
    """Container {vmid} on {host} is locked ({lock}). Wait until that is over; if nothing runs there any more,
    `pct unlock {vmid}` on the server."""

    exit_code = 96


class TaskFailed(ProxmoxError):
    """The task {upid} on {host} failed: {reason}. Its log ends with: {log}. {step}."""

    exit_code = 97


class TokenUnusable(ProxmoxError):
    """The API token's file {path} cannot be used: {reason}. {step}."""

    exit_code = 98
