"""The causes that maw can name for a way that fails: symptom, cause, and the next step, as data.

Texts are templates; `{said}` is what the far machine said. Neither cause nor step ends with a full
stop, so that they can stand within a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """Why something fails: how it shows, what it is, and what to do next."""

    name: str
    symptom: str
    cause: str
    step: str


SSHD_T = "wsl.exe -d {distro} -u root --exec /usr/sbin/sshd -t"
# SIDs, for the groups have other names in other languages: Administrators and SYSTEM.
_FILE = r"C:\ProgramData\ssh\administrators_authorized_keys"
# The first drops what was granted to others by name, the second what is inherited.
ACL_COMMANDS = (
    f"icacls.exe {_FILE} /reset",
    f"icacls.exe {_FILE} /inheritance:r /grant *S-1-5-32-544:F /grant *S-1-5-18:F",
    f"icacls.exe {_FILE} /setowner *S-1-5-32-544",
)
ACL = ", ".join(f"`{command}`" for command in ACL_COMMANDS)
