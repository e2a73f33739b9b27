"""win_command and win_powershell."""

from __future__ import annotations

import re
import time

from . import command_line, programs
from .ansible_arguments import Left, Module, Option, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# .NET's names; a reader of UTF-16 leaves its mark out.
_ENCODINGS = {
    "unicode": "utf-16-le",
    "utf-16": "utf-16-le",
    "utf-16le": "utf-16-le",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
}
_NO_FILE = "The system cannot find the file specified"
_NAME = re.compile(r"# maw-script: (\S+)\s*")
_CHECKS = re.compile(r"\[CmdletBinding\([^)]*\bSupportsShouldProcess(?:\s*=\s*\$true)?\s*[,)]", re.IGNORECASE)
_ANSWERS = {"result", "changed", "output", "error", "failed"}


def _exists(module: Module, option: str) -> bool:
    return module.real(module.params[option]) is not None


def _skipped(module: Module) -> bool:
    """Return whether `creates` or `removes` leave nothing to do."""
    for option, there in (("creates", True), ("removes", False)):
        if module.params[option] and _exists(module, option) is there:
            word = "exists" if there else "does not exist"
            module.result["msg"] = f"skipped, since {module.params[option]} {word}"
            return True
    return False


def _command(module: Module) -> None:
    argv = module.params["argv"]
    if argv:
        line = " ".join(command_line.quote(word) for word in argv)
    else:
        line = module.params["cmd"] or module.params["_raw_params"].strip()
    name, _ = command_line.program(line)
    module.result.update(cmd=line, rc=0)
    if _skipped(module):
        module.result["skipped"] = True
        return
    chdir = module.params["chdir"]
    if chdir:
        if module.real(chdir) is None:
            module.fail(f"Failed to run: '{line}': The directory name is invalid", rc=267)
        module.machine.cwd = chdir
    coding = _encoding(module)
    found = programs.known(module.machine, name)
    if found is None:
        module.fail(f"Failed to run: '{line}': {_NO_FILE}", rc=2)
    refused = programs.refusal(module.machine, found)
    if refused:
        module.fail(f"Failed to run: '{line}': {refused}", rc=5)
    began = time.time()
    stdin = (module.params["stdin"] or "").encode("utf-8", "surrogateescape")
    code, out, err = programs.captured(module.machine, found, line, stdin)
    ended = time.time()
    module.result.update(
        changed=True,
        stdout=out.decode(coding, "replace").removeprefix("\ufeff"),
        stderr=err.decode(coding, "replace").removeprefix("\ufeff"),
        rc=code & 0xFFFFFFFF,
        start=_written(began),
        end=_written(ended),
        delta=f"0:00:{ended - began:09.6f}",
    )
    if code != 0:
        module.fail("non-zero return code")


def _encoding(module: Module) -> str:
    name = module.params["output_encoding_override"]
    if not name:
        return "utf-8"
    if name.lower() not in _ENCODINGS:
        module.unplayed(f"output_encoding_override={name}")
    return _ENCODINGS[name.lower()]


def _written(seconds: float) -> str:
    fraction = int(seconds % 1 * 1e6)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{fraction:06}"


def _powershell(module: Module) -> None:
    from . import maw_scripts

    empty: dict[str, Any] = {"host_out": "", "host_err": "", "output": [], "error": [], "result": {}}
    module.result.update(empty, warning=[], verbose=[], debug=[], information=[])
    script = module.params["script"] or module.unplayed("a path with remote_src")
    if _skipped(module):
        return
    if module.check and not _CHECKS.search(script):
        module.result.update(changed=True, msg="skipped, running in check mode")
        return
    match = _NAME.match(script)
    if match is None:
        module.unplayed("a script without `# maw-script: NAME` in its first line")
    name = match.group(1)
    play = maw_scripts.SCRIPTS.get(name)
    if play is None:
        module.unplayed(f"the script {name}, for programs/maw_scripts.py has no function for it,")
    parameters = module.params["parameters"] or {}
    _declared(module, script, name, parameters)
    answer = play(module.machine, parameters, module.check)
    unknown = set(answer) - _ANSWERS
    if unknown or "changed" not in answer:
        wrong = f"unknown keys {', '.join(sorted(unknown))}" if unknown else "no key changed"
        raise TypeError(f"programs/maw_scripts.py: the answer of {name} has {wrong}")
    depth = module.params["depth"]
    module.result.update(
        changed=answer["changed"],
        result=flattened(answer.get("result", {}), depth),
        output=flattened(answer.get("output", []), depth),
    )
    if answer.get("error") is not None:
        message = str(answer["error"])
        exception = {"message": message, "type": "System.Management.Automation.RuntimeException"}
        module.result["error"] = [
            {"output": message, "exception": exception, "fully_qualified_error_id": message}
        ]
    if answer.get("error") is not None or answer.get("failed"):
        module.result["failed"] = True
        raise Left


def _declared(module: Module, script: str, name: str, parameters: dict[str, Any]) -> None:
    """Refuse a parameter that the script does not have, as PowerShell does."""
    begin = re.search(r"(?im)^\s*param\s*\(", script)
    declared = set()
    if begin is not None:
        depth, end = 1, begin.end()
        while depth and end < len(script):
            depth += {"(": 1, ")": -1}.get(script[end], 0)
            end += 1
        declared = {word.lower() for word in re.findall(r"\$(\w+)", script[begin.end() : end])}
    for parameter in parameters:
        if parameter.lower() not in declared:
            module.fail(f"{name}: A parameter cannot be found that matches parameter name '{parameter}'.")


def flattened(value: Any, depth: int) -> Any:
    """Return what win_powershell's `depth` leaves of a value: what lies deeper becomes its type's name."""
    if isinstance(value, dict):
        if depth < 0:
            return "System.Collections.Hashtable"
        return {key: flattened(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if depth < 0:
            return " ".join(str(item) for item in value)
        return [flattened(item, depth - 1) for item in value]
    return value


SPECS = {
    "win_command": Spec(
        _command,
        {
            "_raw_params": Option(),
            "cmd": Option(),
            "argv": Option("list", elements="str"),
            "chdir": Option("path"),
            "creates": Option("path"),
            "removes": Option("path"),
            "stdin": Option(),
            "output_encoding_override": Option(),
        },
        one_of=(("_raw_params", "argv", "cmd"),),
        exclusive=(("_raw_params", "argv", "cmd"),),
        check_mode=False,
    ),
    "win_powershell": Spec(
        _powershell,
        {
            "script": Option(),
            "parameters": Option("dict"),
            "error_action": Option(default="continue", choices=("silently_continue", "continue", "stop")),
            "creates": Option(),
            "removes": Option(),
            "depth": Option("int", 2),
        },
        one_of=(("script",),),
    ),
}
