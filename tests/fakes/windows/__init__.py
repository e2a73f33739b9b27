"""The Windows stand-in: a notebook with OpenSSH, cmd or PowerShell, and WSL, on this machine."""

from tests.fakes.windows.notebook import Call, Distro, WindowsNotebook

__all__ = ["Call", "Distro", "WindowsNotebook"]
