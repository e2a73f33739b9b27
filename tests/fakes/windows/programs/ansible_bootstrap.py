"""`powershell.exe -EncodedCommand …` as Ansible sends it: the bootstrap with a module, and its small scripts.

The bootstrap reads two JSON texts from standard input: the exec wrapper, which is not looked at, and the
manifest, which names the module with its arguments. Whatever is not known fails and says so.
"""

from __future__ import annotations

import base64
import os
import re

from .state import Machine, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SEPARATOR = b"\n\0\0\0\0\n"
_BOOTSTRAP = ("ConvertFrom-Json -InputObject $codeJson", "$input | & $cmd @splat")
_STRICT = "Set-StrictMode -Version Latest\n"
_KEEP_CODE = re.compile(
    r";?\s*If \(-not \$\?\) \{ If \(Get-Variable LASTEXITCODE -ErrorAction SilentlyContinue\) "
    r"\{ exit \$LASTEXITCODE \} Else \{ exit 1 \} \}\s*$"
)
_BOOT_TIME = (
    "(Get-CimInstance -ClassName Win32_OperatingSystem -Property LastBootUpTime).LastBootUpTime.ToFileTime()"
)
_REBOOT = re.compile(
    r"C:\\Windows\\System32\\shutdown\.exe /r /t (\d+) /c '(?:[^']|'')*' \| Set-Variable stdout"
)
_LOGON = re.compile(
    r"Get-Item -LiteralPath 'HKLM:\\SOFTWARE\\[^']*AutoLogonChecked' -ErrorAction Stop; '([^']*)'"
)
_REMOVE = re.compile(r"Remove-Item '((?:[^']|'')*)' -Force( -Recurse)?;?")
_EXISTS = re.compile(r"If \(Test-Path '((?:[^']|'')*)'\)\n\{\n\$res = 0;\n\}")
# Seconds from 1601 to 1970.
_FILE_TIME = 11_644_473_600
MODULES = {
    "ansible.windows": {
        "win_ping": "ansible_system",
        "win_service": "ansible_system",
        "win_regedit": "ansible_registry",
        "win_command": "ansible_programs",
        "win_powershell": "ansible_programs",
        "win_stat": "ansible_files",
        "win_file": "ansible_files",
        "win_copy": "ansible_copy",
        "win_acl": "ansible_lists",
        "win_acl_inheritance": "ansible_lists",
        "win_owner": "ansible_lists",
        "win_get_url": "ansible_packages",
        "win_package": "ansible_packages",
    },
    "community.windows": {
        "win_power_plan": "ansible_system",
        "win_firewall_rule": "ansible_firewall",
        "win_scheduled_task": "scheduled",
    },
}


def encoded(machine: Machine, text: str) -> int:
    """Given the argument of -EncodedCommand, run it; return the exit code."""
    try:
        script = base64.b64decode(text, validate=True).decode("utf-16-le")
    except ValueError:
        machine.err(
            "Cannot process the command because the value specified with -EncodedCommand is not valid.\r\n"
        )
        return 1
    script = _KEEP_CODE.sub("", script.replace("\r\n", "\n").removeprefix(_STRICT)).strip()
    if all(part in script for part in _BOOTSTRAP):
        return _bootstrap(machine)
    return _small(machine, script)


def _say(text: str) -> None:
    # The exec wrapper sets the console to UTF-8.
    write_all(1, (text + "\r\n").encode("utf-8", "surrogatepass"))


def _small(machine: Machine, script: str) -> int:
    """Run one of the scripts that Ansible's shell plugins and win_reboot have."""
    from . import reboot

    if script == _BOOT_TIME:
        _say(str(int((machine.state["boot_time"] + _FILE_TIME) * 10**7)))
        return 0
    if match := _REBOOT.search(script):
        return _reboot(machine, int(match.group(1)))
    if match := _LOGON.fullmatch(script):
        _say(match.group(1))
        return 0
    if script == "C:\\Windows\\System32\\shutdown.exe /a":
        return reboot.abort(machine)
    if match := _REMOVE.fullmatch(script):
        return _remove(machine, match.group(1).replace("''", "'"), bool(match.group(2)))
    if match := _EXISTS.match(script):
        from . import drive

        real = drive.resolve(machine, match.group(1).replace("''", "'"))
        missing = real is None or not os.path.exists(real)
        _say(str(int(missing)))
        return int(missing)
    from . import powershell

    return powershell.script(machine, script)


def _reboot(machine: Machine, seconds: int) -> int:
    import json

    from . import programs

    line = f"shutdown.exe /r /t {seconds}"
    code, _, said = programs.captured(machine, "shutdown.exe", line)
    _say(json.dumps({"stdout": "", "stderr": said.decode("utf-8").strip(), "rc": code}))
    return 0


def _remove(machine: Machine, path: str, recurse: bool) -> int:
    from . import tree

    real = tree.real(machine, path)
    if real is None:
        machine.err(f"Cannot find path '{path}' because it does not exist.\r\n")
        return 1
    if os.path.isdir(real) and os.listdir(real) and not recurse:
        machine.err(f"The item at {path} has children and the Recurse parameter was not specified.\r\n")
        return 1
    tree.remove(machine, path)
    return 0


def _bootstrap(machine: Machine) -> int:
    import json

    pieces = []
    while piece := os.read(0, 1 << 20):
        pieces.append(piece)
    parts = b"".join(pieces).split(_SEPARATOR)
    if len(parts) < 2:
        return _fail("The bootstrap got no manifest on its standard input")
    manifest = json.loads(parts[1])
    actions = manifest["actions"]
    if len(actions) != 1:
        names = ", ".join(action["name"] for action in actions)
        return _fail(f"The Windows stand-in plays no become, async or coverage; it was asked for {names}")
    name, params = actions[0]["name"], actions[0]["params"]
    if name == "module_wrapper.ps1":
        return _module(machine, params)
    if name == "powershell_mkdtemp.ps1":
        from . import ansible_arguments, tree

        path = f"{ansible_arguments.expanded(machine, params['Directory'])}\\{params['Name']}"
        if tree.real(machine, path) is not None:
            return _fail(f"An item with the specified name {path} already exists.")
        _say(tree.make(machine, path))
        return 0
    if name == "powershell_expand_user.ps1":
        path = params["Path"]
        _say(f"C:\\Users\\{machine.state['account']}{path[1:]}" if path[:2] in ("~", "~\\") else path)
        return 0
    return _fail(f"The Windows stand-in does not play Ansible's {name}")


def _fail(message: str) -> int:
    import json

    _say(json.dumps({"failed": True, "msg": message}))
    return 1


def _module(machine: Machine, params: dict[str, Any]) -> int:
    import importlib
    import json

    name = params["Script"].removesuffix(".ps1").removeprefix("ansible_collections.")
    name = name.replace(".plugins.modules.", ".")
    if not params.get("ForModule"):
        return _fail(f"The Windows stand-in runs no scripts of its own accord: {name}")
    collection, _, short = name.rpartition(".")
    homes = MODULES.get(collection, {})
    if short not in homes:
        return _fail(f"The Windows stand-in does not play the module {name}")
    given = next(item["Value"] for item in params["Variables"] if item["Name"] == "complex_args")
    for key, value in (params["Environment"] or {}).items():
        machine.set_variable(key, str(value))
    machine.own["codepage"] = machine.state["codepage"] = "utf-8"
    home = importlib.import_module(f".{homes[short]}", __package__)
    from .ansible_arguments import Module

    module = Module(machine, name, given)
    machine.log(short, name, [json.dumps(module.given)])
    answer = module.answer(home.SPECS[short])
    _say(json.dumps(answer))
    return int(bool(answer.get("failed")))
