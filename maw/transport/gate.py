"""The mirror's own way to a Proxmox server: its key runs one program there, the gate.

The gate lets pass what mirrors need; it is `roles/proxmox_access/files/maw_pve_gate.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maw.topology import MIRROR

if TYPE_CHECKING:
    from maw.topology import Host

# Where the role proxmox_access puts it.
PROGRAM = "/usr/local/sbin/maw-pve-gate"


def alias(name: str) -> str:
    """Given the name of a Proxmox server, return the name under which the mirror's key goes to it."""
    return name + MIRROR


def guards(host: Host) -> bool:
    """Given a host, return whether the mirror's key may be let in there."""
    return "proxmox" in host.roles and host.windows is None
