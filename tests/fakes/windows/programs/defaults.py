"""What a machine is unless it is told otherwise; README.md names what each setting means."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WSL_SERVICE = "WSLService"
WSL_PRODUCT = "{408A5C50-34F2-4025-968E-A21D6A515D48}"
VIRTUAL_MACHINES = "VirtualMachinePlatform"
LINUX_FEATURE = "Microsoft-Windows-Subsystem-Linux"
BALANCED = "381b4222-f694-41f0-9685-ff5bb260df2e"
# A notebook of 2026 with 16 GB; times that power plans have are minutes, 0 is never.
_POWER: dict[str, Any] = {
    "active": BALANCED,
    "plans": {
        BALANCED: "Ausbalanciert",
        "8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c": "Höchstleistung",
        "a1841308-3541-4fab-bc81-f71556f20b4a": "Energiesparmodus",
    },
    # What closing the lid does on mains: 0 nothing, 1 sleep.
    "lid_ac": 1,
    "timeouts": {
        "monitor-timeout-ac": 10,
        "monitor-timeout-dc": 5,
        "standby-timeout-ac": 30,
        "standby-timeout-dc": 15,
        "hibernate-timeout-ac": 0,
        "hibernate-timeout-dc": 180,
        "disk-timeout-ac": 20,
        "disk-timeout-dc": 10,
    },
}
_RULE: dict[str, Any] = {
    "id": "OpenSSH-Server-In-TCP",
    "Name": "OpenSSH SSH Server (sshd)",
    "Description": "Inbound rule for OpenSSH SSH Server (sshd)",
    "Grouping": "OpenSSH Server",
    "ApplicationName": "%SystemRoot%\\system32\\OpenSSH\\sshd.exe",
    "ServiceName": None,
    "Enabled": True,
    "Direction": 1,
    "Action": 1,
    "Profiles": 2,
    "Protocol": 6,
    "LocalAddresses": "*",
    "RemoteAddresses": "*",
    "LocalPorts": "22",
    "RemotePorts": "*",
    "IcmpTypesAndCodes": None,
}


def service(display_name: str, state: str, start_mode: str, path: str) -> dict[str, Any]:
    """Return a Windows service as the state keeps it."""
    return {
        "display_name": display_name,
        "description": display_name,
        "state": state,
        "start_mode": start_mode,
        "path": path,
        "username": "LocalSystem",
        "dependencies": [],
    }


_SSH = "C:\\Windows\\System32\\OpenSSH"
WSL_SERVICE_STATE = service("WSL Service", "running", "auto", '"C:\\Program Files\\WSL\\wslservice.exe"')
DEFAULTS: dict[str, Any] = {
    "shell": "cmd",
    "shell_changes": [],
    "registry_shell": None,
    "registry": {"HKLM\\SOFTWARE\\OpenSSH": {}},
    "profile_noise": "",
    "parser": "linux",
    "wine_prefix": None,
    "container": False,
    "wsl": "ok",
    "wsl_version": "2.7.14.0",
    "wsl_msi_version": "2.7.14.0",
    "wsl_msi_product": WSL_PRODUCT,
    "wsl_msi_exit_code": 0,
    "packages": {WSL_PRODUCT: "Windows Subsystem for Linux"},
    "file_versions": {},
    "features": {VIRTUAL_MACHINES: "Enabled", LINUX_FEATURE: "Disabled"},
    "capabilities": {"OpenSSH.Client~~~~0.0.1.0": "Installed", "OpenSSH.Server~~~~0.0.1.0": "Installed"},
    "distro_account": None,
    "idle_seconds": 15,
    "cold_start_seconds": 0,
    "terminate_on_sign_out": False,
    "administrator": True,
    "edition": "Professional",
    "build": 26200,
    "memory_bytes": 16 * 2**30,
    "disk_free_bytes": 200 * 10**9,
    "virtualization": True,
    "boot_time": 1_790_000_000.0,
    "reboot_pending": False,
    "reboot_seconds": 1,
    "shutdown": None,
    "internet": True,
    "proxy": None,
    "web": {},
    "services": {
        "sshd": service("OpenSSH SSH Server", "running", "auto", f"{_SSH}\\sshd.exe"),
        "ssh-agent": service("OpenSSH Authentication Agent", "stopped", "disabled", f"{_SSH}\\ssh-agent.exe"),
        WSL_SERVICE: dict(WSL_SERVICE_STATE),
    },
    "tasks": {},
    "firewall": [dict(_RULE)],
    "power": _POWER,
    "codepage": "utf-8",
    "environment": {},
    "visible": [],
    "sid": "S-1-5-21-1004336348-1177238915-682003330-1001",
    # Names of groups are translated, as on most people's Windows.
    "names": {
        "S-1-5-18": "NT-AUTORITÄT\\SYSTEM",
        "S-1-5-32-544": "VORDEFINIERT\\Administratoren",
        "S-1-5-32-545": "VORDEFINIERT\\Benutzer",
        "S-1-5-11": "NT-AUTORITÄT\\Authentifizierte Benutzer",
        "S-1-1-0": "Jeder",
    },
}
# A fresh notebook that has an sshd and nothing else of what maw needs.
BARE: dict[str, Any] = {
    "wsl": "missing",
    "packages": {},
    "features": {VIRTUAL_MACHINES: "Disabled", LINUX_FEATURE: "Disabled"},
    "distros": {},
    "services": {name: value for name, value in DEFAULTS["services"].items() if name != WSL_SERVICE},
}
# What the inbox sshd writes at its first start. The stand-in's sshd does not read it.
SSHD_CONFIG = """# This is the sshd server system-wide configuration file.  See
# sshd_config(5) for more information.

#Port 22
#AddressFamily any
#PubkeyAuthentication yes
AuthorizedKeysFile\t.ssh/authorized_keys

#PasswordAuthentication yes
#PermitEmptyPasswords no

# override default of no subsystems
Subsystem\tsftp\tsftp-server.exe

Match Group administrators
       AuthorizedKeysFile __PROGRAMDATA__/ssh/administrators_authorized_keys
"""
