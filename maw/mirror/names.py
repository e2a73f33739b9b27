"""Names of instances: what LXD takes, and one made from a container's host name."""

from __future__ import annotations

import re

from maw.errors import Misuse

# LXD takes 63 characters; the rest is for the names of what maw stages beside a mirror.
LONGEST = 50
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?")


def check_name(name: str) -> str:
    """Given a name for an instance, return it. Raise Misuse if LXD or maw would not take it.

    LXD's documents speak of digits only; its code refuses any name that starts with one.
    """
    if len(name) <= LONGEST and _NAME.fullmatch(name):
        return name
    shown = name if len(name) <= LONGEST else name[:LONGEST] + "…"
    raise Misuse(
        reason=f"An instance cannot be called {shown!r}: LXD wants letters, digits and hyphens, "
        f"at most {LONGEST}, a letter first and no hyphen last. Give another with --name, "
        f"for example {sanitise(name)}"
    )


def sanitise(name: str) -> str:
    """Given any text, return the nearest name that an instance may have (``3.box_ü`` gives ``ct-3-box``)."""
    clean = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    if not clean[:1].isalpha():
        clean = f"ct-{clean}" if clean else "ct"
    return clean[:LONGEST].rstrip("-")


def instance_name(hostname: str | None, vmid: int) -> str:
    """Given a container's host name and number, return the name of its mirror.

    The first label of the host name; without one ``ct101``.
    """
    label = (hostname or "").split(".")[0]
    return sanitise(label) if re.search("[A-Za-z0-9]", label) else f"ct{vmid}"
