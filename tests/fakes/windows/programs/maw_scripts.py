"""What maw's own PowerShell scripts do on Windows, played in Python; README.md tells the interface.

A script given to win_powershell is known by its first line, `# maw-script: NAME`.
"""

from __future__ import annotations

import base64
import hashlib
import os

from . import acl, ansible_firewall, ansible_packages, defaults, drive, registry, scheduled, state, tree, web
from .state import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Script = Callable[[Machine, "dict[str, Any]", bool], "dict[str, Any]"]

_RULE = "OpenSSH-Server-In-TCP"
_SSH = "HKLM:\\SOFTWARE\\OpenSSH"
_FOLDER_ACL = "O:BAD:PAI(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)"
_TIMES = {"Standby": "standby-timeout-ac", "Hibernate": "hibernate-timeout-ac"}
_MICROSOFT = "CN=Microsoft Corporation, O=Microsoft Corporation, L=Redmond, S=Washington, C=US"
# What a text at the end of a stand-in's MSI says: Windows finds its signature bad.
_TAMPERED = b"tampered"


def survey(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Look at all that the role decides by."""
    known, home = machine.state, machine.variables["USERPROFILE"]
    wslconfig = tree.real(machine, home + "\\.wslconfig")
    shell = registry.get(machine, _SSH, "DefaultShell")
    found = {
        "administrator": known["administrator"],
        "account": f"{known['name'].upper()}\\{known['account']}",
        "profile": home,
        "local_app_data": home + "\\AppData\\Local",
        "edition": known["edition"],
        "build": known["build"],
        "architecture": "AMD64",
        "memory_gb": round(known["memory_bytes"] / 2**30),
        "virtualization": known["virtualization"],
        "disk_free_gb": known["disk_free_bytes"] // 2**30,
        "restart_pending": ["servicing"] if known["reboot_pending"] else [],
        "feature": known["features"].get(defaults.VIRTUAL_MACHINES, "missing")
        if known["administrator"]
        else "unknown",
        "wsl": _wsl(machine),
        "distros": _distros(machine),
        "unreachable": _unreachable(machine, parameters.get("Urls") or [], parameters.get("Proxy") or None),
        "client": os.environ.get("SSH_CONNECTION", "").split(" ")[0],
        "sshd_problems": _sshd_problems(machine),
        "sshd_running": known["services"]["sshd"]["state"] == "running",
        "default_shell": shell[1] if shell else "",
        "firewall": _firewall(machine),
        "power": {
            "standby": known["power"]["timeouts"]["standby-timeout-ac"] * 60,
            "hibernate": known["power"]["timeouts"]["hibernate-timeout-ac"] * 60,
            "lid": known["power"].get("lid_ac", 1),
        },
        "wslconfig": _base64(wslconfig),
        "wslconfig_exists": wslconfig is not None,
        "state": "{}",
    }
    path = tree.real(machine, parameters["StateFile"])
    if known["administrator"] and path is not None:
        found["state"] = tree.read(machine, parameters["StateFile"]).decode("utf-8")
    return {"changed": False, "result": found}


def _base64(path: str | None) -> str:
    if path is None:
        return ""
    with open(path, "rb") as file:
        return base64.b64encode(file.read()).decode("ascii")


def _wsl(machine: Machine) -> dict[str, str]:
    if machine.state["wsl"] == "missing":
        return {"kind": "none", "version": "0"}
    kind = "msi" if machine.state["wsl"] == "ok" else "store"
    return {"kind": kind, "version": machine.state["wsl_version"]}


def _distros(machine: Machine) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "version": found.get("version", 2),
            "installed": found.get("state", "installed") == "installed",
            "folder": found.get("folder") or f"C:\\Users\\{machine.state['account']}\\wsl\\{name}",
        }
        for name, found in machine.state["distros"].items()
    ]


def _unreachable(machine: Machine, urls: list[str], proxy: str | None) -> list[str]:
    found = []
    for url in urls:
        try:
            web.fetch(machine, url, proxy)
        except web.Unreachable as error:
            # An answer of any kind is a way there, but the proxy's own.
            if error.status in (None, 407):
                found.append(f"{url} ({error})")
    return found


def _sshd_problems(machine: Machine) -> list[str]:
    path = "C:\\ProgramData\\ssh\\sshd_config"
    if tree.real(machine, path) is None:
        return []
    found, match = [], ""
    for number, line in enumerate(tree.read(machine, path).decode("utf-8").splitlines(), 1):
        words = line.split()
        if words[:1] and words[0].lower() == "match":
            match = " ".join(words[1:]).lower()
        elif match in ("", "all", "group administrators") and [word.lower() for word in words] == [
            "pubkeyauthentication",
            "no",
        ]:
            found.append(f"line {number} of {path}: {line.strip()}")
    return found


def _rule(of: dict[str, Any]) -> dict[str, Any] | None:
    return next((rule for rule in of["firewall"] if rule["id"] == _RULE), None)


def _firewall(machine: Machine) -> dict[str, Any]:
    rule = _rule(machine.state)
    if rule is None:
        return {"exists": False, "enabled": False, "profile": "", "addresses": []}
    addresses = ["Any" if word == "*" else word for word in rule["RemoteAddresses"].split(",")]
    names = [name for bit, name in ((1, "Domain"), (2, "Private"), (4, "Public")) if rule["Profiles"] & bit]
    return {
        "exists": True,
        "enabled": rule["Enabled"],
        "profile": "Any" if rule["Profiles"] == ansible_firewall.ALL_PROFILES else ", ".join(names),
        "addresses": [word.removesuffix("/255.255.255.255") for word in addresses],
    }


def _set_rule(of: dict[str, Any], addresses: list[str], profile: str, enabled: bool) -> None:
    rule = _rule(of)
    if rule is None:
        rule = {**defaults.DEFAULTS["firewall"][0]}
        of["firewall"].append(rule)
    bits = {"domain": 1, "private": 2, "public": 4}
    words = [word.strip().lower() for word in profile.split(",")]
    whole = ansible_firewall.ALL_PROFILES
    rule.update(
        RemoteAddresses=",".join(
            "*" if word == "Any" else ansible_firewall.address(word) for word in addresses
        ),
        Profiles=whole if words == ["any"] else sum(bits[word] for word in words),
        Enabled=enabled,
        Action=1,
    )


def remember(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Write what was here before the first change; what is remembered already stays."""
    path = parameters["StateFile"]
    known: dict[str, Any] = {}
    if tree.real(machine, path) is not None:
        known = state.decode(tree.read(machine, path).decode("utf-8"))
    old = state.encode(known)
    known.setdefault("version", 1)
    before, distros = known.setdefault("before", {}), known.setdefault("distros", {})
    for name, value in (parameters.get("Before") or {}).items():
        before.setdefault(name, value)
    name = parameters.get("Distro")
    if name and distros.get(name, {}).get("folder") != parameters["DistroFolder"]:
        distros[name] = {"folder": parameters["DistroFolder"]}
    changed = state.encode(known) != old
    if changed and not check_mode:
        folder = tree.make(machine, path.rpartition("\\")[0])
        store = acl.Store(machine)
        store.set(folder, acl.parse(_FOLDER_ACL, store.get(folder).owner))
        tree.write(machine, path, state.encode(known).encode("utf-8"))
    return {"changed": changed}


def feature(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Enable the optional feature of WSL 2; it is there after a restart."""
    name = defaults.VIRTUAL_MACHINES
    if name not in machine.state["features"]:
        return {"changed": False, "error": f"this Windows has no optional feature {name}"}
    now = machine.state["features"][name]
    changed = now not in ("Enabled", "EnablePending")
    if changed and not check_mode:
        machine.change(lambda all_: all_["features"].update({name: "EnablePending"}))
    restart = now == "EnablePending" or (changed and not check_mode)
    return {"changed": changed, "result": {"restart_needed": restart}}


def signature(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Tell who signed a file. An MSI is Microsoft's, unless its last word tells otherwise."""
    data = tree.read(machine, parameters["Path"])
    signed = data.startswith(ansible_packages.MSI)
    status = "HashMismatch" if data.endswith(_TAMPERED) else "Valid" if signed else "NotSigned"
    found = {
        "valid": status == "Valid",
        "status": status,
        "signer": _MICROSOFT if signed else "",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return {"changed": False, "result": found}


def firewall(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Let the rule of the SSH server hold for some addresses alone."""
    if not check_mode:
        machine.change(lambda all_: _set_rule(all_, parameters["Addresses"], "Any", True))
    return {"changed": True}


def power(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Set what happens on mains; a value of -1 leaves a setting alone."""
    wanted = {name: int(value) for name, value in parameters.items() if int(value) >= 0}

    def change(all_: dict[str, Any]) -> None:
        for name, value in wanted.items():
            if name in _TIMES:
                all_["power"]["timeouts"][_TIMES[name]] = value // 60
            else:
                all_["power"]["lid_ac"] = value

    if wanted and not check_mode:
        machine.change(change)
    return {"changed": bool(wanted)}


def boot_task(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Make the task that starts WSL with Windows, as the account that is logged in."""
    path = f"{parameters['Folder']}{parameters['Name']}"
    wanted = {
        "username": machine.state["sid"],
        "logon_type": "s4u",
        "description": f"Made by maw, and taken away with it. It starts WSL for {machine.state['sid']}.",
        "triggers": [{"type": "boot"}],
        "actions": [{"path": parameters["Program"], "arguments": parameters["Arguments"]}],
        "disallow_start_if_on_batteries": False,
        "stop_if_going_on_batteries": False,
        "execution_time_limit": "PT10M",
        "enabled": True,
    }
    found = machine.state["tasks"].get(path, {})
    changed = any(found.get(key) != value for key, value in wanted.items())
    if changed and not check_mode:
        machine.change(lambda all_: all_["tasks"].update({path: {**scheduled.NEW, **wanted}}))
    return {"changed": changed}


def farewell(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Put the firewall and the shell back, and forget."""
    if check_mode:
        return {"changed": True}
    old = parameters.get("Firewall") or {}
    if old and _rule(machine.state) is not None:
        machine.change(lambda all_: _set_rule(all_, old["addresses"], old["profile"], old["enabled"]))
    shell = parameters.get("DefaultShell")
    if shell:
        registry.put(machine, _SSH, "DefaultShell", "string", shell)
    else:
        registry.remove(machine, _SSH, "DefaultShell")
    folder = parameters["StateFile"].rpartition("\\")[0]
    if drive.resolve(machine, folder) is not None:
        tree.remove(machine, folder)
    return {"changed": True}


def authorized_keys(machine: Machine, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Look at a file of keys, or replace it as a whole, with the rights that sshd insists on."""
    path, action = parameters["Path"], parameters["Action"]
    real = str(drive.resolve(machine, path))
    store = acl.Store(machine)

    def read() -> bytes | None:
        if not os.path.isfile(real):
            return None
        with open(real, "rb") as file:
            return file.read()

    old = read()
    if action != "look":
        known = "missing" if old is None else hashlib.sha256(old).hexdigest()
        if known != parameters.get("Expected", ""):
            return {"changed": False, "error": f"{path} was changed meanwhile. Run this again."}
    if action == "write" and not check_mode:
        with open(real + ".maw-new", "wb") as file:
            file.write(base64.b64decode(parameters.get("Content", "")))
        os.replace(real + ".maw-new", real)
        store.set(path, acl.parse("O:BAD:PAI(A;;FA;;;BA)(A;;FA;;;SY)"))
    elif action == "delete" and not check_mode:
        os.unlink(real)
        store.remove(path)
    new = read()
    result = {
        "exists": new is not None,
        "content": base64.b64encode(new or b"").decode("ascii"),
        "sddl": store.get(path).sddl if new is not None else "",
        "sid": machine.state["sid"],
        "administrator": machine.state["administrator"],
    }
    return {"changed": action != "look", "result": result}


SCRIPTS: dict[str, Script] = {
    "authorized-keys": authorized_keys,
    "survey": survey,
    "remember": remember,
    "feature": feature,
    "signature": signature,
    "firewall": firewall,
    "power": power,
    "boot_task": boot_task,
    "farewell": farewell,
}
