"""Brings a lab up and down, whole."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import daemon, machine, names, plan, sweep, windows, workspace
from lab.daemon import Own
from lab.errors import LabError
from lab.images import Image
from lab.lock import locked
from lab.lxc import Lxc
from lab.programs import progress
from lab.work import Work, look, must_answer, summary, taken_networks, unreachable
from lab.workspace import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.machine import File
    from lab.names import Lab

__all__ = ["down", "status", "summary", "up"]


def _own(lab: Lab) -> Own:
    return Own(daemon.ROOT / lab.prefix)


def up(lab: Lab) -> dict[str, Any]:
    """Bring the lab up, or back to what is wanted. Return its state, with the steps that were done."""
    with locked(lab.prefix, f"another make lab works on {lab.prefix}"):
        place, own, image = Place(lab), _own(lab), Image()
        keys = workspace.prepare(place)
        nested = any(one.role == names.NOTEBOOK for one in lab.machines)
        choice = plan.choose_daemon(daemon.look(own, place.notes), nested=nested)
        lxc = daemon.use(choice, own, lab.folder, place.notes)
        found = look(lxc, lab, image)
        subnet = found.subnet or names.choose_subnet(lab.prefix, taken_networks())
        contents = _contents(lab, subnet, keys)
        steps = _plan(lab, image, contents, found)
        work = Work(lxc, lab, image, contents)
        if any(step.kind == plan.NETWORK for step in steps):
            created = work.network()
            if created != subnet:
                # Another lab took it in between.
                subnet, work.contents = created, _contents(lab, created, keys)
        if steps:
            place.state.unlink(missing_ok=True)
        work.do(steps)
        changed = _write(place, lxc, subnet)
        state = workspace.describe(lab, subnet, lxc.folder, choice.own)
        if steps or changed or workspace.read_state(place) != state:
            must_answer(state["ssh_config"], _questions(state))
        changed |= workspace.write_text(place.state, json.dumps(state, indent=2) + "\n")
        return {**state, "changed": bool(steps) or changed, "steps": [asdict(step) for step in steps]}


def _plan(
    lab: Lab, image: Image, contents: Mapping[str, Mapping[str, File]], found: plan.Found
) -> list[plan.Step]:
    hashes = {name: machine.content(files) for name, files in contents.items()}
    return plan.up(lab, image.alias(lab.shared), hashes, found)


def _contents(lab: Lab, subnet: str, keys: Mapping[str, str]) -> dict[str, dict[str, File]]:
    found = {}
    for one in lab.machines:
        found[one.name] = machine.files(lab, one, subnet, keys)
        if one.role == names.NOTEBOOK:
            found[one.name] |= windows.files(lab, subnet, keys, bare=one.bare)
    return found


def _write(place: Place, lxc: Lxc, subnet: str) -> bool:
    """Write what the lab is known by; return whether that changed anything."""
    space, lab = place.workspace, place.lab
    host_keys = {}
    for one in lab.machines:
        path = workspace.linux_host_key()
        if one.bare:
            continue
        if one.role == names.NOTEBOOK:
            host_keys[one.host] = lxc.read(one.instance, windows.HOST_KEY).decode()
            host_keys[one.wsl] = lxc.read(one.instance, path).decode()
        else:
            host_keys[one.host] = lxc.read(one.instance, path).decode()
    changed = workspace.write_text(space.inventory / "hosts.yml", workspace.inventory(lab, subnet))
    changed |= workspace.pin(space, host_keys)
    # Always: whoever used this workspace with other settings has left another config there.
    workspace.generate(space)
    return changed


def _questions(state: Mapping[str, Any]) -> dict[str, list[str]]:
    """Given what state.json says, return what each host is asked, to see that it answers.

    A bare notebook lets nobody in.
    """
    asked = {}
    for one in state["machines"].values():
        if one.get("bare"):
            continue
        asked[one.get("wsl", one["host"])] = ["systemctl", "is-system-running", "--wait"]
        if "wsl" in one:
            asked[one["host"]] = ["ver"]
    return asked


def down(lab: Lab) -> dict[str, Any]:
    """Remove the lab wholly. Return what was done."""
    with locked(lab.prefix, f"another make lab works on {lab.prefix}"):
        place, own = Place(lab), _own(lab)
        steps: list[plan.Step] = []
        changed = lab.folder.exists() or own.folder.exists()
        if place.workspace.root.exists():
            workspace.close_connections(place.workspace)
        with contextlib.ExitStack() as notes:
            notes.callback(shutil.rmtree, place.notes, ignore_errors=True)
            lxc = _used(place, own)
            if lxc is not None:
                place.notes.mkdir(mode=0o700, parents=True, exist_ok=True)
                steps = plan.down(lab, look(lxc, lab, Image()))
                Work(lxc, lab, Image()).do(steps)
                if lxc == own.lxc:
                    _refuse_others(lxc)
        own.stop()
        changed |= sweep.clean(own, lab)
        _forget(lab.folder)
        return {
            "schema": "maw.lab/1",
            "up": False,
            "prefix": lab.prefix,
            "changed": bool(steps) or changed,
            "steps": [asdict(step) for step in steps],
        }


def _used(place: Place, own: Own) -> Lxc | None:
    """The daemon that has this lab; our own is started for that. None if there is none."""
    if own.folder.exists():
        own.claim(place.lab.folder)
        try:
            own.start()
        except LabError as error:
            # Its data are damaged: then its folder, processes and network are removed without asking it.
            progress(f"the LXD daemon is removed unasked: {error}")
            return None
        return own.lxc
    state = workspace.read_state(place)
    known = daemon.look(own, place.notes).answering
    folders = [Path(state["lxd_dir"])] if state else list(known)
    return next((Lxc(folder, place.notes) for folder in folders if folder in known), None)


def _refuse_others(lxc: Lxc) -> None:
    """A daemon of our own may be used by others too; it is not stopped under them."""
    others = [one["name"] for one in lxc.query("/1.0/instances?recursion=1")]
    if others:
        raise LabError(
            f"the containers of this lab are removed, but others use its LXD daemon: {', '.join(others)}. "
            f"Remove them, with LXD_DIR={lxc.folder}, and run this again."
        )


def _forget(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    above = folder.parent
    if above.exists() and {path.name for path in above.iterdir()} <= {".gitignore"}:
        shutil.rmtree(above)


def status(lab: Lab) -> dict[str, Any]:
    """Return the lab's state, `up` only if every machine answers now."""
    state = workspace.read_state(Place(lab))
    if state is None:
        return {"schema": "maw.lab/1", "up": False, "prefix": lab.prefix, "reason": "it was not brought up"}
    why = unreachable(state["ssh_config"], _questions(state))
    if why:
        return {**state, "up": False, "reason": "; ".join(f"{host}: {text}" for host, text in why.items())}
    return state
