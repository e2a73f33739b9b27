"""win_scheduled_task, and tasks that start with the machine."""

from __future__ import annotations

import os
import re

from . import accounts, programs
from .ansible_arguments import Module, Option, Spec, expanded
from .state import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COMMON = ("type", "enabled", "start_boundary", "end_boundary", "execution_time_limit")
# The keys of each kind of trigger that is played, as community.windows has them; other kinds are refused.
TRIGGERS: dict[str, tuple[str, ...]] = {
    "boot": (*_COMMON, "delay"),
    "logon": (*_COMMON, "delay", "user_id"),
    "registration": (*_COMMON, "delay"),
    "time": (*_COMMON, "random_delay"),
    "daily": (*_COMMON, "random_delay", "days_interval"),
}
ACTION = ("path", "arguments", "working_directory")
_DURATIONS = ("delay", "random_delay", "execution_time_limit")
_DURATION = re.compile(r"-?P(?=.)(\d+Y)?(\d+M)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?")
# A task that is new has these.
NEW: dict[str, Any] = {
    "allow_demand_start": True,
    "allow_hard_terminate": True,
    "disallow_start_if_on_batteries": True,
    "enabled": True,
    "execution_time_limit": "PT72H",
    "hidden": False,
    "logon_type": "interactive_token",
    "multiple_instances": 2,
    "priority": 7,
    "restart_count": 0,
    "run_level": "limited",
    "run_only_if_idle": False,
    "run_only_if_network_available": False,
    "start_when_available": False,
    "stop_if_going_on_batteries": True,
    "wake_to_run": False,
    "triggers": [],
    "username": None,
}
_OWN = ("name", "path", "state", "password", "update_password")


def _task(module: Module) -> None:
    params, tasks = module.params, module.machine.state["tasks"]
    if re.search(r'[\\/:*?"<>|]', params["name"]):
        module.fail(
            f"Invalid task name '{params['name']}'. The following characters are not valid: \\/:*?\"<>|"
        )
    path = "\\" + params["path"].strip("\\")
    whole = f"{path.rstrip(chr(92))}\\{params['name']}"
    whole = next((known for known in tasks if known.lower() == whole.lower()), whole)
    if params["state"] == "absent":
        if whole in tasks and module.changed():
            module.machine.change(lambda state: state["tasks"].pop(whole, None))
        return
    wanted = {key: value for key, value in params.items() if key not in _OWN and value is not None}
    if "username" in wanted:
        wanted["username"] = _account(module)
    _check(module, wanted)
    found = tasks.get(whole)
    if found is None and not wanted.get("actions"):
        module.fail(
            "cannot create a task with no actions, set at least one action with a path to an executable"
        )
    # A password cannot be compared: it is set again each time, unless update_password is false.
    again = params["password"] is not None and params["update_password"]
    if found is not None and not again and all(found.get(key) == value for key, value in wanted.items()):
        return
    if module.changed():
        task = {**(NEW if found is None else found), **wanted}
        module.machine.change(lambda state: state["tasks"].update({whole: task}))


def _account(module: Module) -> str:
    found = accounts.sid(module.machine, module.params["username"])
    return found or module.fail(f"Failed to translate the account '{module.params['username']}' to a SID")


def _check(module: Module, wanted: dict[str, Any]) -> None:
    logon = wanted.get("logon_type")
    if logon == "s4u" and module.params["password"] is None:
        module.fail("password must be set when logon_type=s4u")
    if logon == "service_account" and wanted.get("username") not in ("S-1-5-18", "S-1-5-19", "S-1-5-20"):
        module.fail(
            "username must be SYSTEM, LOCAL SERVICE or NETWORK SERVICE when logon_type=service_account"
        )
    for action in wanted.get("actions") or []:
        _keys(module, "action", action, ACTION)
        if "path" not in action:
            module.fail("action entry must contain the key 'path'")
    for trigger in wanted.get("triggers") or []:
        if "type" not in trigger:
            module.fail("a trigger entry must contain a key 'type'")
        if trigger["type"] not in TRIGGERS:
            module.unplayed(f"the trigger {trigger['type']}")
        _keys(module, "trigger", trigger, TRIGGERS[trigger["type"]])
        for key in _DURATIONS:
            if key in trigger and not _DURATION.fullmatch(str(trigger[key])):
                module.fail(
                    f"trigger option '{key}' must be in the XML duration format but was '{trigger[key]}'"
                )


def _keys(module: Module, what: str, entry: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(entry) - set(known))
    if unknown:
        module.unplayed(f"the key {', '.join(unknown)} of a {what}")


def run(machine: Machine, path: str) -> None:
    """Start a task's programs now, each as a process of its own that is not waited for."""
    for action in machine.state["tasks"][path]["actions"]:
        program = expanded(machine, action["path"])
        found = programs.known(machine, program)
        if found is None or programs.refusal(machine, found) is not None:
            continue
        line = f'"{program}" {action.get("arguments") or ""}'.rstrip()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() == 0:
                nothing = os.open("/dev/null", os.O_RDWR)
                for place in range(3):
                    os.dup2(nothing, place)
                os.closerange(3, 256)
                programs.run(machine, found, line)
            os._exit(0)
        os.waitpid(pid, 0)


def run_at_boot(machine: Machine) -> None:
    """Start what starts with the machine; a trigger's delay is not waited for."""
    for path, task in machine.state["tasks"].items():
        kinds = [trigger["type"] for trigger in task["triggers"] if trigger.get("enabled", True)]
        if task["enabled"] and "boot" in kinds:
            run(machine, path)


_LOGON = ("none", "password", "s4u", "interactive_token", "group", "service_account", "token_or_password")
_OPTIONS = {
    "name": Option(required=True),
    "path": Option(default="\\"),
    "state": Option(default="present", choices=("present", "absent")),
    "actions": Option("list", elements="dict"),
    "triggers": Option("list", elements="dict"),
    "description": Option(),
    "author": Option(),
    "username": Option(aliases=("user",)),
    "password": Option(),
    "update_password": Option("bool", True),
    "logon_type": Option(
        choices=_LOGON, played=("none", "password", "s4u", "interactive_token", "service_account")
    ),
    "run_level": Option(choices=("limited", "highest"), aliases=("runlevel",)),
    "allow_demand_start": Option("bool"),
    "allow_hard_terminate": Option("bool"),
    "disallow_start_if_on_batteries": Option("bool"),
    "enabled": Option("bool"),
    "execution_time_limit": Option(),
    "hidden": Option("bool"),
    "multiple_instances": Option("int", choices=(0, 1, 2, 3)),
    "priority": Option("int"),
    "restart_count": Option("int"),
    "restart_interval": Option(),
    "run_only_if_idle": Option("bool"),
    "run_only_if_network_available": Option("bool"),
    "start_when_available": Option("bool"),
    "stop_if_going_on_batteries": Option("bool"),
    "wake_to_run": Option("bool"),
}
SPECS = {"win_scheduled_task": Spec(_task, _OPTIONS)}
