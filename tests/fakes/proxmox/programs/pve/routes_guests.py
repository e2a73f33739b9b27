"""Calls about guests: lists, configs, states, snapshots."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from . import config, guests, snapshots, tasks
from .api import Call, ParameterError, Route
from .state import PveError

if TYPE_CHECKING:
    from collections.abc import Callable

_SUBDIRECTORIES = [
    "config",
    "pending",
    "status",
    "vncproxy",
    "termproxy",
    "vncwebsocket",
    "spiceproxy",
    "migrate",
    "clone",
    "rrd",
    "rrddata",
    "firewall",
    "snapshot",
    "resize",
    "interfaces",
]


def _list(call: Call) -> list[dict]:
    visible = [vmid for vmid in call.node.guests() if call.who.may(f"/vms/{vmid}", "VM.Audit")]
    found = []
    for vmid in visible:
        entry = guests.status(call.node, vmid)
        del entry["ha"]
        found.append(entry)
    return found


def _machines(call: Call) -> list[dict]:
    numbers = call.node.guests("qemu")
    return [guests.machine(call.node, n) for n in numbers if call.who.may(f"/vms/{n}", "VM.Audit")]


def _audit(call: Call) -> str:
    vmid: str = call["vmid"]
    call.who.need(f"/vms/{vmid}", "VM.Audit")
    call.node.text(vmid)
    return vmid


def _config(call: Call) -> dict:
    vmid = _audit(call)
    name = call.get("snapshot")
    section = _snapshot(call, vmid, str(name)) if name else call.node.current(vmid)
    data = section.data()
    if not call.who.may(f"/vms/{vmid}", "VM.Config.Options"):
        data.pop("env", None)
    return {**data, "digest": snapshots.digest(call.node, vmid)}


def _snapshot(call: Call, vmid: str, name: str) -> config.Section:
    for section in call.node.sections(vmid)[1:]:
        if section.name == name:
            return section
    raise PveError(f"snapshot '{name}' does not exist")


def _snapshot_config(call: Call) -> dict:
    return _snapshot(call, _audit(call), call["snapname"]).data()


def _machine_config(call: Call) -> dict:
    call.who.need(f"/vms/{call['vmid']}", "VM.Audit")
    return call.node.current(call["vmid"], "qemu").data()


def _machine_status(call: Call) -> dict:
    call.who.need(f"/vms/{call['vmid']}", "VM.Audit")
    found = guests.machine(call.node, call["vmid"])
    return {**found, "qmpstatus": found["status"]}


def _put_config(call: Call) -> None:
    vmid = call["vmid"]
    call.who.need(f"/vms/{vmid}", "VM.Config.Options")
    call.node.check_lock(vmid)
    for name, value in call.values.items():
        if name not in ("vmid", "node", "digest", "description"):
            call.node.set_key(vmid, name, str(value))
    if "description" in call.values:
        sections = call.node.sections(vmid)
        kept = [line for line in sections[0].lines if not line.startswith("#")]
        lines = str(call["description"]).splitlines()
        sections[0].lines = [f"#{config.encode_description(line)}" for line in lines] + kept
        call.node.write(vmid, sections)


def _pending(call: Call) -> list[dict]:
    return [{"key": key, "value": value} for key, value in _config(call).items()]


def _status(call: Call) -> dict:
    return guests.status(call.node, int(_audit(call)))


def _feature(call: Call) -> dict:
    vmid = _audit(call)
    if call["feature"] != "snapshot":
        return {"hasFeature": 0}
    return {"hasFeature": int(call.node.supports_snapshots(vmid, all_volumes=True))}


def _interfaces(call: Call) -> list[dict] | None:
    vmid = _audit(call)
    if not call.node.pid(vmid):
        return None
    names = {"lo": "00:00:00:00:00:00"}
    for key, value in call.node.current(vmid).values().items():
        found = re.search(r"\bname=([^,]+)", value) if re.fullmatch(r"net\d+", key) else None
        address = re.search(r"\bhwaddr=([^,]+)", value)
        if found and address:
            names[found[1]] = address[1].lower()
    return [
        {"name": name, "hwaddr": mac, "hardware-address": mac, "ip-addresses": []}
        for name, mac in names.items()
    ]


def _change(kind: str, check: Callable[..., None], action: Callable[..., None]) -> Callable[[Call], str]:
    def answer(call: Call) -> str:
        vmid = call["vmid"]
        call.who.need(f"/vms/{vmid}", "VM.PowerMgmt")
        check(call.node, vmid)
        return tasks.at_once(call.node, kind, vmid, call.who, lambda: action(call.node, vmid))

    return answer


def _take(call: Call) -> str:
    vmid, name = call["vmid"], str(call["snapname"])
    call.who.need(f"/vms/{vmid}", "VM.Snapshot")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]+", name):
        raise ParameterError({"snapname": f"invalid format - invalid configuration ID '{name}'\n"})
    description = str(call.get("description", ""))
    return tasks.at_once(
        call.node, "vzsnapshot", vmid, call.who, lambda: snapshots.take(call.node, vmid, name, description)
    )


def _remove(call: Call) -> str:
    vmid, name = call["vmid"], call["snapname"]
    call.who.need(f"/vms/{vmid}", "VM.Snapshot")
    return tasks.at_once(
        call.node, "vzdelsnapshot", vmid, call.who, lambda: snapshots.remove(call.node, vmid, name)
    )


def _snapshots(call: Call) -> list[dict[str, Any]]:
    return snapshots.listed(call.node, _audit(call))


_CT = "/nodes/{node}/lxc/{vmid}"
_NAMED = "/snapshot/{snapname}"
ROUTES = [
    Route("GET", "/nodes/{node}/lxc", _list),
    Route("GET", "/nodes/{node}/qemu", _machines, frozenset({"full"})),
    Route("GET", "/nodes/{node}/qemu/{vmid}/status/current", _machine_status),
    Route("GET", "/nodes/{node}/qemu/{vmid}/snapshot", lambda _: [{"name": "current"}]),
    Route("GET", "/nodes/{node}/qemu/{vmid}/config", _machine_config, frozenset({"current", "snapshot"})),
    Route("GET", _CT, lambda call: _audit(call) and [{"subdir": name} for name in _SUBDIRECTORIES]),
    Route("GET", f"{_CT}/config", _config, frozenset({"current", "snapshot"})),
    Route("PUT", f"{_CT}/config", _put_config, frozenset({"*"})),
    Route("GET", f"{_CT}/pending", _pending),
    Route("GET", f"{_CT}/status/current", _status),
    Route(
        "POST",
        f"{_CT}/status/start",
        _change("vzstart", guests.check_start, guests.start),
        frozenset({"debug", "skiplock"}),
    ),
    Route(
        "POST",
        f"{_CT}/status/stop",
        _change("vzstop", guests.check_stop, guests.stop),
        frozenset({"skiplock", "overrule-shutdown"}),
    ),
    Route(
        "POST",
        f"{_CT}/status/shutdown",
        _change("vzshutdown", guests.check_stop, guests.stop),
        frozenset({"forceStop", "timeout"}),
    ),
    Route("GET", f"{_CT}/feature", _feature, frozenset({"feature", "snapname"}), frozenset({"feature"})),
    Route("GET", f"{_CT}/interfaces", _interfaces),
    Route("GET", f"{_CT}/snapshot", _snapshots),
    Route("POST", f"{_CT}/snapshot", _take, frozenset({"snapname", "description"}), frozenset({"snapname"})),
    Route("DELETE", _CT + _NAMED, _remove, frozenset({"force"})),
    Route("GET", f"{_CT}{_NAMED}/config", _snapshot_config),
]
