"""Decides what of LXD is taken away again: what the role made, and nothing that somebody uses. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MARK = "user.maw.lxd"
_MIRROR = "user.maw.mirror"
_PROBE = "user.maw.probe"
_PROBE_IMAGE = "maw.probe"


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"lxd_removal": removal}


def removal(lxd: Mapping[str, Any], remove_mirrors: bool) -> dict[str, Any]:
    """Given LXD as it is and whether mirrors may go, return the requests, what is kept and why, and `bare`.

    `bare` is whether nothing of anybody's is left in LXD then, so that LXD itself may go.
    """
    if not lxd["dir"] or lxd["error"]:
        return {"steps": [], "kept": [], "bare": not lxd["dir"]}
    steps, gone = _instances(lxd["instances"], remove_mirrors)
    for one in lxd["images"]:
        if one["properties"].get(_PROBE_IMAGE) == "1":
            path = f"/1.0/images/{one['fingerprint']}"
            gone.add(path)
            steps.append(_step(path, "remove the probe's image"))
    kept = []
    for kind, listed in (("profiles", "profiles"), ("networks", "networks"), ("storage-pools", "pools")):
        for one in lxd[listed]:
            if str((one.get("config") or {}).get(_MARK, "")) != "1":
                continue
            path = f"/1.0/{kind}/{one['name']}"
            users = [user for user in _users(one, kind) if user not in gone]
            if users:
                word = {"profiles": "profile", "networks": "network", "storage-pools": "pool"}[kind]
                kept.append(
                    f"{word} {one['name']}, which is used by {', '.join(_shown(user) for user in users)}"
                )
            else:
                gone.add(path)
                steps.append(_step(path, f"remove {kind} {one['name']}"))
    return {"steps": steps, "kept": kept, "bare": _bare(lxd, gone)}


def _step(path: str, reason: str) -> dict[str, Any]:
    return {"method": "DELETE", "path": path, "body": None, "reason": reason}


def _instances(
    listed: Sequence[Mapping[str, Any]], remove_mirrors: bool
) -> tuple[list[dict[str, Any]], set[str]]:
    steps: list[dict[str, Any]] = []
    gone = set()
    for one in listed:
        probe = one["marks"].get(_PROBE) == "1"
        if not probe and not (remove_mirrors and _MIRROR in one["marks"]):
            continue
        project = "" if one["project"] == "default" else f"?project={one['project']}"
        path = f"/1.0/instances/{one['name']}"
        word = "probe" if probe else "mirror"
        if one["status"] != "Stopped":
            body = {"action": "stop", "force": True, "timeout": 30}
            state = {
                "method": "PUT",
                "path": f"{path}/state{project}",
                "body": body,
                "reason": f"stop {word} {one['name']}",
            }
            steps.append(state)
        steps.append(_step(path + project, f"remove {word} {one['name']}"))
        gone.add(path + project)
    return steps, gone


def _users(one: Mapping[str, Any], kind: str) -> list[str]:
    users = list(dict.fromkeys(one.get("used_by") or ()))
    if kind == "storage-pools":
        # Copies of images go with their pool.
        users = [user for user in users if not user.startswith("/1.0/images/")]
    return users


def _shown(path: str) -> str:
    place, _, project = path.partition("?project=")
    words = place.removeprefix("/1.0/").split("/")
    name = unquote(words[-1])
    kind = {"instances": "instance", "profiles": "profile", "storage-pools": "volume", "networks": "network"}
    return f"{kind.get(words[0], words[0])} {name}" + (f" of project {project}" if project else "")


def _bare(lxd: Mapping[str, Any], gone: set[str]) -> bool:
    left = [one["name"] for one in lxd["instances"] if not _is_gone(one, gone)]
    left += [one["name"] for one in lxd["pools"] if f"/1.0/storage-pools/{one['name']}" not in gone]
    left += [
        one["name"]
        for one in lxd["networks"]
        if one.get("managed") and f"/1.0/networks/{one['name']}" not in gone
    ]
    left += [one["fingerprint"] for one in lxd["images"] if f"/1.0/images/{one['fingerprint']}" not in gone]
    left += [one["name"] for one in lxd["projects"] if one["name"] != "default"]
    for one in lxd["profiles"]:
        empty = one["name"] == "default" and not one.get("devices") and not one.get("config")
        if not empty and f"/1.0/profiles/{one['name']}" not in gone:
            left.append(one["name"])
    return not left and not lxd["config"]


def _is_gone(one: Mapping[str, Any], gone: set[str]) -> bool:
    project = "" if one["project"] == "default" else f"?project={one['project']}"
    return f"/1.0/instances/{one['name']}{project}" in gone
