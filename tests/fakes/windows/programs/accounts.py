"""Accounts by name and by SID. Groups have translated names; SYSTEM is called so everywhere."""

from __future__ import annotations

import re

from .state import Machine

_SERVICES = {"localservice": "S-1-5-19", "local service": "S-1-5-19", "networkservice": "S-1-5-20"}
_SYSTEM = ("system", "localsystem", "local system")


def sid(machine: Machine, name: str) -> str | None:
    """Given a SID or the name of an account, with or without its domain, return the SID, or None."""
    if re.fullmatch(r"S-1-\d+(-\d+)+", name, re.IGNORECASE):
        return name.upper()
    own = f"{machine.state['name']}\\{machine.state['account']}"
    if name.startswith(".\\"):
        name = f"{machine.state['name']}\\{name[2:]}"
    low = name.lower()
    for known, full in {**machine.state["names"], machine.state["sid"]: own}.items():
        if low in (full.lower(), full.lower().rpartition("\\")[2]):
            return str(known)
    if low.rpartition("\\")[2] in _SYSTEM:
        return "S-1-5-18"
    return _SERVICES.get(low.rpartition("\\")[2])


def name(machine: Machine, identifier: str) -> str:
    """Return an account's name, or the SID if it has none here."""
    own = f"{machine.state['name'].upper()}\\{machine.state['account']}"
    return str({**machine.state["names"], machine.state["sid"]: own}.get(identifier, identifier))
