"""The environment and the raw ``lxc.*`` lines of a container: a few are safe, the rest are losses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maw.mirror.mapping_model import safe

if TYPE_CHECKING:
    from maw.mirror.mapping_model import Draft
    from maw.mirror.pct import Config

# LXD takes any name, but LXC and shells choke on odd ones.
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII | re.DOTALL)
_LIMIT = re.compile(r"(?:unlimited|\d{1,19})(?::(?:unlimited|\d{1,19}))?", re.ASCII)
_LIMIT_NAMES = """
as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack
"""
_LIMITS = frozenset(_LIMIT_NAMES.split())
_SYSCTL_VALUE = re.compile(r"[0-9][0-9 \t]{0,100}", re.ASCII)
# The first that fits says why a raw line is not carried.
_REASONS = (
    ("lxc.mount", "it mounts what lies on the Proxmox server, and no archive holds that"),
    ("lxc.hook", "the script lies on the Proxmox server"),
    ("lxc.idmap", "the mirror gets the ids of its own LXD"),
    ("lxc.id_map", "the mirror gets the ids of its own LXD"),
    ("lxc.net", "the mirror's cards are LXD devices"),
    ("lxc.apparmor", "it weakens what shuts the guest in"),
    ("lxc.aa_", "it weakens what shuts the guest in"),
    ("lxc.cap.", "capabilities are LXD's to decide"),
    ("lxc.seccomp", "it weakens what shuts the guest in"),
    ("lxc.cgroup2.devices", "devices are LXD's to hand out"),
    ("lxc.cgroup.devices", "devices are LXD's to hand out"),
    ("lxc.environment", "it takes its value from the server"),
)


def map_environment(draft: Draft, config: Config) -> None:
    """Given a draft and a config, map the environment of the guest's first process."""
    for entry in config.environment:
        _variable(draft, "env", entry)


def _variable(draft: Draft, key: str, entry: str) -> None:
    match = _VARIABLE.fullmatch(entry)
    if match is None:
        draft.lose(key, entry, "no NAME=value with a plain name")
    else:
        draft.set(key, entry, f"environment.{match[1]}", match[2])


def map_raw(draft: Draft, config: Config) -> None:
    """Given a draft and a config, map the raw lines that are safe anywhere, and put down the others."""
    for key, value in config.raw():
        name = key.split(".", 2)[-1]
        if key == "lxc.environment" and "=" in value:
            _variable(draft, key, value)
        elif key.startswith(("lxc.prlimit.", "lxc.limit.")):
            _limit(draft, key, name, value)
        elif key.startswith("lxc.sysctl."):
            _sysctl(draft, key, name, value)
        else:
            reason = next(
                (why for start, why in _REASONS if key.startswith(start)), "it speaks to LXC directly"
            )
            # Only what is one plain line can be offered to be pasted into a shell.
            plain = re.fullmatch(r"[\w./:=, -]{1,200}", value, re.ASCII)
            by_hand = f"; by hand: `lxc config set {draft.name} raw.lxc '{key}={value}'`" if plain else ""
            draft.lose(key, value, reason + by_hand)


def _limit(draft: Draft, key: str, name: str, value: str) -> None:
    if name not in _LIMITS or not _LIMIT.fullmatch(value):
        draft.lose(key, value, "no limit that LXD could set")
    elif not draft.has("kernel_limits"):
        draft.lose(key, value, f"the LXD of {draft.target.host} is too old for limits.kernel")
    else:
        draft.set(key, value, f"limits.kernel.{name}", safe(value))


def _sysctl(draft: Draft, key: str, name: str, value: str) -> None:
    if not _SYSCTL_VALUE.fullmatch(value):
        draft.lose(key, value, "no number that LXD could set")
    elif not draft.has("linux_sysctl"):
        draft.lose(key, value, f"the LXD of {draft.target.host} is too old for linux.sysctl")
    else:
        draft.set(key, value, f"linux.sysctl.{name}", safe(value))
