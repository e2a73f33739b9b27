"""win_ping, win_service and win_power_plan."""

from __future__ import annotations

from . import defaults
from .ansible_arguments import Module, Option, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RUNNING = {"started": "running", "restarted": "running", "stopped": "stopped"}


def _ping(module: Module) -> None:
    if module.params["data"] == "crash":
        module.fail("Unhandled exception while executing module: boom")
    module.result["ping"] = module.params["data"]


def _service(module: Module) -> None:
    services = module.machine.state["services"]
    asked = module.params["name"]
    titles = {
        title.lower(): known for known in services for title in (services[known]["display_name"], known)
    }
    name = titles.get(asked.lower())
    if name is None:
        if module.params["state"] or module.params["start_mode"]:
            module.fail(f"Service '{asked}' is not installed, need to set 'path' to create a new service")
        return
    found = dict(services[name])
    module.diff["before"] = {"name": name, **found}
    mode, state = module.params["start_mode"], module.params["state"]
    if mode is not None and mode != found["start_mode"]:
        found["start_mode"] = mode
        if module.changed():
            module.machine.change(lambda all_: all_["services"][name].update(start_mode=mode))
    if state is not None and (state == "restarted" or _RUNNING[state] != found["state"]):
        _move(module, name, state, found)
    module.diff["after"] = {"name": name, **found}
    module.result.update(
        {key: found[key] for key in ("dependencies", "description", "display_name", "path", "username")},
        exists=True,
        name=name,
        start_mode=found["start_mode"],
        state=found["state"],
        desktop_interact=False,
        can_pause_and_continue=False,
        depended_by=[],
    )


def _move(module: Module, name: str, state: str, found: dict[str, Any]) -> None:
    """Start, stop or restart a service."""
    if name == "sshd" and state == "stopped":
        module.unplayed("sshd with state=stopped, which would lock everybody out,")
    if found["start_mode"] == "disabled" and state != "stopped" and not module.check:
        module.fail(
            f"Unhandled exception while executing module: Service '{found['display_name']} ({name})' cannot "
            f"be started due to the following error: Cannot start service {name} on computer '.'."
        )
    found["state"] = _RUNNING[state]
    if not module.changed():
        return
    if name == defaults.WSL_SERVICE and state != "started":
        from . import wsl_management

        for distro in module.machine.state["distros"]:
            wsl_management.end(module.machine, distro)
    module.machine.change(lambda all_: all_["services"][name].update(state=_RUNNING[state]))


def _power_plan(module: Module) -> None:
    power = module.machine.state["power"]
    plans, name, guid = power["plans"], module.params["name"], module.params["guid"]
    if name is not None and name not in plans.values():
        module.fail(f"Defined power_plan: ({name}) is not available")
    wanted = next((known for known, plan in plans.items() if plan == name), "")
    if guid is not None:
        wanted = guid.lower().strip("{}")
    if wanted not in plans:
        module.fail(f"Defined power_plan: ({guid}) is not available")
    if power["active"] != wanted and module.changed():
        module.machine.change(lambda state: state["power"].update(active=wanted))
    module.result.update(
        power_plan_name=name if guid is None else plans[wanted],
        power_plan_enabled=True,
        all_available_plans={plan: known == wanted for known, plan in plans.items()},
    )


SPECS = {
    "win_ping": Spec(_ping, {"data": Option(default="pong")}),
    "win_service": Spec(
        _service,
        {
            "name": Option(required=True),
            "state": Option(
                choices=("started", "stopped", "restarted", "absent", "paused"),
                played=("started", "stopped", "restarted"),
            ),
            "start_mode": Option(choices=("auto", "manual", "disabled", "delayed")),
            "force_dependent_services": Option("bool", False),
        },
    ),
    "win_power_plan": Spec(_power_plan, {"name": Option(), "guid": Option()}, one_of=(("name", "guid"),)),
}
