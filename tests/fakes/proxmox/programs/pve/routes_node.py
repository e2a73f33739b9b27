"""Calls about the node itself: version, tasks, backups, rights."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

from . import access, guests, options, pvesm, tasks
from .api import Answer, Call, ParameterError, Route
from .state import PveError

_STARTED = time.monotonic()
_BACKUP = frozenset((options.FLAGS | options.NUMBERS | options.TEXTS | {"vmid", "maxfiles"}) - {"node"})
_ROOT_ONLY = ("dumpdir", "tmpdir", "script", "job-id")


def _version(call: Call) -> dict:
    return call.node.info()["version"]


def _index(*names: str) -> list[dict]:
    return [{"subdir": name} for name in names]


def _nodes(call: Call) -> list[dict]:
    return [{**_usage(call), "node": call.node.name, "id": f"node/{call.node.name}", "type": "node"}]


def _usage(call: Call) -> dict[str, Any]:
    disk = shutil.disk_usage(call.node.folder)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": 0.1,
        "disk": disk.used,
        "level": "",
        "maxcpu": os.cpu_count(),
        "maxdisk": disk.total,
        "maxmem": memory,
        "mem": memory // 4,
        "ssl_fingerprint": call.node.info().get("fingerprint", ""),
        "status": "online",
        "uptime": int(time.monotonic() - _STARTED) + 1,
    }


def _resources(call: Call) -> list[dict]:
    found = []
    for vmid in call.node.guests():
        if not call.who.may(f"/vms/{vmid}", "VM.Audit"):
            continue
        state = guests.status(call.node, vmid)
        kept = [
            "disk",
            "diskread",
            "diskwrite",
            "maxdisk",
            "maxmem",
            "mem",
            "name",
            "netin",
            "netout",
            "status",
            "tags",
            "uptime",
            "vmid",
            "cpu",
            "lock",
        ]
        entry = {key: state[key] for key in kept if key in state}
        entry |= {"id": f"lxc/{vmid}", "type": "lxc", "node": call.node.name, "template": 0}
        found.append({**entry, "maxcpu": state["cpus"], "memhost": 0})
    if call.get("type") in (None, "node"):
        found += _nodes(call)
    return found


def _cluster_status(call: Call) -> list[dict]:
    name = call.node.name
    entry = {"type": "node", "ip": "127.0.0.1", "local": 1, "level": "", "name": name, "nodeid": 0}
    return [{**entry, "id": f"node/{name}", "online": 1}]


def _next_id(call: Call) -> str:
    used = {*call.node.guests("lxc"), *call.node.guests("qemu")}
    return str(next(number for number in range(100, 10**9) if number not in used))


def _permissions(call: Call) -> dict:
    asked = call.get("userid")
    if asked is None:
        return call.who.permissions()
    call.who.need("/access", "Sys.Audit")
    user, _, token = str(asked).partition("!")
    return access.Who(call.node, user, token or None).permissions()


def _domains(_call: Call) -> list[dict]:
    return [
        {"realm": "pve", "comment": "Proxmox VE authentication server", "type": "pve"},
        {"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"},
    ]


def _users(call: Call) -> list[dict]:
    return [
        {"userid": name, "enable": 1, "expire": 0, "realm-type": name.rpartition("@")[2]}
        for name in sorted(access.load(call.node)["users"])
        if call.who.may("/access/groups", "User.Modify", "Sys.Audit") or name == call.who.user
    ]


def _task_list(call: Call) -> Answer:
    everything = call.who.may(f"/nodes/{call.node.name}", "Sys.Audit")
    found = [task for task in tasks.listed(call.node) if everything or task["user"] == call.who.user]
    running = call.get("source") == "active"
    found = [
        task for task in found if (task["status"] == "RUNNING") == running or call.get("source") == "all"
    ]
    if call.get("errors"):
        found = [task for task in found if task["status"] not in ("OK", "RUNNING")]
    for name, key in (("vmid", "id"), ("typefilter", "type")):
        if call.get(name):
            found = [task for task in found if task[key] == str(call.get(name))]
    start, limit = int(call.get("start", 0)), int(call.get("limit", 50))
    return Answer(found[start : start + limit], total=len(found))


def _own(call: Call, *wanted: str) -> str:
    """A task is for whoever started it, and for who may see all."""
    upid: str = call["upid"]
    try:
        user = tasks.parse(upid)["user"]
    except PveError as error:
        raise ParameterError({"upid": error.text}) from None
    if user != call.who.user:
        call.who.need(f"/nodes/{call.node.name}", *wanted)
    return upid


def _task_index(call: Call) -> list[dict]:
    _own(call, "Sys.Audit")
    return [{"name": "log"}, {"name": "status"}]


def _task_status(call: Call) -> dict:
    upid = _own(call, "Sys.Audit")
    if not tasks.exists(call.node, upid):
        raise ParameterError({"upid": "no such task"})
    return tasks.status(call.node, upid)


def _task_log(call: Call) -> Answer:
    lines = tasks.log(call.node, _own(call, "Sys.Audit"))
    if call.get("download"):
        return Answer(None, text="".join(line + "\n" for line in lines))
    start, limit = int(call.get("start", 0)), int(call.get("limit", 50))
    data = [{"n": number, "t": line} for number, line in enumerate(lines, 1)]
    return Answer(data[start : start + limit] if limit else data[start:], total=len(lines))


def _task_stop(call: Call) -> None:
    tasks.stop(call.node, _own(call, "Sys.Modify"))


def backup_params(call: Call) -> dict:
    """Return the parameters of a backup as vzdump takes them, checked as the API does."""
    given = {name: value for name, value in call.values.items() if name in _BACKUP}
    words = str(given.pop("vmid", "") or "").replace(";", ",").replace(" ", ",").split(",")
    paths = given.pop("exclude-path", [])
    params: dict = {"vmid": [word for word in words if word], **{k: str(v) for k, v in given.items()}}
    if paths:
        params["exclude-path"] = list(paths) if isinstance(paths, list) else [paths]
    try:
        options.check(params)
    except options.UsageError as error:
        raise ParameterError(error.errors) from None
    for name in _ROOT_ONLY:
        if name in params and (call.who.user != access.ROOT or call.by_token):
            raise ParameterError({name: "Only root may set this option."})
    if "stdout" in params:
        raise ParameterError({"stdout": "option is only allowed on the command line interface."})
    if not params["vmid"] and not options.is_set(params, "all"):
        raise ParameterError({"vmid": "property is missing"})
    return {**params, "node": call.node.name}


def _backup(call: Call) -> str:
    params = backup_params(call)
    for name in ("bwlimit", "ionice", "performance"):
        if name in params:
            call.who.need("/", "Sys.Modify")
    if "prune-backups" in params:
        call.who.need(f"/storage/{params.get('storage', 'local')}", "Datastore.Allocate")
    known = call.node.info()["storages"]
    storage = params.get("storage", "local")
    if storage in known and "dumpdir" not in params:
        call.who.need(f"/storage/{storage}", "Datastore.AllocateSpace")
    return tasks.backup(call.node, params, call.who)


def _defaults(call: Call) -> dict:
    texts = {"mailnotification": "always", "mode": "snapshot", "compress": "0", "notification-mode": "auto"}
    numbers = {"ionice": 7, "all": 0, "lockwait": 180, "pigz": 0, "stop": 0, "zstd": 1, "stopwait": 10}
    flags = {"stdexcludes": 1, "quiet": 0, "remove": 1, "bwlimit": 0}
    lists = {"performance": {"pbs-entries-max": 1048576, "max-workers": 16}, "fleecing": {"enabled": 0}}
    places = {"storage": "local", "dumpdir": str(call.node.dump_folder("local"))}
    return {**texts, **numbers, **flags, **lists, **places, "prune-backups": "keep-all=1"}


def _extract(call: Call) -> str:
    volid = str(call["volume"])
    storage = volid.partition(":")[0]
    owner = [e["vmid"] for e in call.node.archives(storage) if e["volid"] == volid]
    for vmid in owner:
        call.who.need(f"/vms/{vmid}", "VM.Backup")
    call.who.need(f"/storage/{storage}", "Datastore.AllocateSpace", "Datastore.Audit")
    return pvesm.extract(call.node, volid)


_TASK = "/nodes/{node}/tasks/{upid}"
ROUTES = [
    Route("GET", "/", lambda _: _index("version", "cluster", "nodes", "storage", "access", "pools")),
    Route("GET", "/version", _version),
    Route("GET", "/nodes", _nodes),
    Route("GET", "/nodes/{node}/version", _version),
    Route("GET", "/cluster/resources", _resources, frozenset({"type"})),
    Route("GET", "/cluster/status", _cluster_status),
    Route("GET", "/cluster/nextid", _next_id, frozenset({"vmid"})),
    Route("GET", "/cluster/backup", lambda _: []),
    Route("GET", "/pools", lambda _: []),
    Route("GET", "/access/permissions", _permissions, frozenset({"path", "userid"})),
    Route("GET", "/access/domains", _domains),
    Route("GET", "/access/users", _users, frozenset({"enabled", "full"})),
    Route("GET", "/access/ticket", lambda _: None),
    Route(
        "GET",
        "/nodes/{node}/tasks",
        _task_list,
        frozenset(
            [
                "errors",
                "limit",
                "since",
                "source",
                "start",
                "statusfilter",
                "typefilter",
                "until",
                "userfilter",
                "vmid",
            ]
        ),
    ),
    Route("GET", _TASK, _task_index),
    Route("DELETE", _TASK, _task_stop),
    Route("GET", f"{_TASK}/status", _task_status),
    Route("GET", f"{_TASK}/log", _task_log, frozenset({"start", "limit", "download"})),
    Route("POST", "/nodes/{node}/vzdump", _backup, _BACKUP),
    Route("GET", "/nodes/{node}/vzdump/defaults", _defaults, frozenset({"storage"})),
    Route(
        "GET", "/nodes/{node}/vzdump/extractconfig", _extract, frozenset({"volume"}), frozenset({"volume"})
    ),
]
