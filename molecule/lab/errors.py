"""What can go wrong with the lab; each message ends with the next step."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot be brought up, down or asked; the message says why and what to do."""


class MissingProgramsError(LabError):
    """Programs are missing on this machine."""

    def __init__(self, what: str, commands: str, installable: bool) -> None:
        hint = "Or let the lab do it: make lab INSTALL=1" if installable else "That needs root."
        super().__init__(f"the lab needs {what}. Install it with: {commands}. {hint}")
