"""The maw workspace of a lab: keys, pinned host keys, inventory, generated ssh_config."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import names
from lab.errors import LabError
from lab.programs import run
from lab.windows import ACCOUNT, DISTRO
from maw import files
from maw.cli import workspace as maw_workspace
from maw.config import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.names import Lab, Machine

STATE = "state.json"
_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"


@dataclass(frozen=True)
class Place:
    """Where a lab's workspace and state lie."""

    lab: Lab

    @property
    def workspace(self) -> Workspace:
        """The maw workspace."""
        return Workspace(self.lab.folder / "workspace")

    @property
    def state(self) -> Path:
        """The file that says that the lab is up, and where."""
        return self.lab.folder / STATE

    @property
    def notes(self) -> Path:
        """A folder for lxc's own files."""
        return self.lab.folder / "client"


def prepare(place: Place) -> dict[str, str]:
    """Make the workspace and its keys, if they are missing; return the public keys."""
    place.notes.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Nothing of a lab is ever committed.
    files.write_new(place.lab.folder.parent / ".gitignore", "*\n")
    space = place.workspace
    if not space.config_file.exists():
        maw_workspace.create(space.root)
    space.keys.mkdir(mode=0o700, exist_ok=True)
    public = {}
    for purpose in ("admin", "bridge"):
        path = space.keys / purpose
        if not path.exists():
            run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"maw-{purpose}", "-f", path],
                seconds=20,
            )
        public[purpose] = path.with_suffix(".pub").read_text("utf-8").strip()
    return public


def write_text(path: Path, text: str) -> bool:
    """Given a file and its whole content, write it unless it is so already; return whether it was written."""
    try:
        if path.read_text("utf-8") == text:
            return False
    except FileNotFoundError:
        # Written below.
        pass
    files.write_atomically(path, text)
    return True


def inventory(lab: Lab, subnet: str) -> str:
    """Given the lab and its network, return the inventory."""
    import yaml

    groups: dict[str, dict[str, Any]] = {}
    linux = {"ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3"}
    for machine in lab.machines:
        address = [machine.address(subnet)]
        if machine.role != names.NOTEBOOK:
            group = "core" if machine.role == names.CORE else "proxmox"
            _add(groups, group, machine.host, {"maw_addresses": address, **linux})
        else:
            windows = {"maw_addresses": address, "ansible_user": ACCOUNT, "ansible_shell_type": "cmd"}
            _add(groups, "windows", machine.host, windows)
            wsl = {"maw_windows": machine.host, "maw_wsl_distro": DISTRO, **linux}
            _add(groups, "satellites", machine.wsl, wsl)
    text = yaml.safe_dump({"all": {"children": groups}}, sort_keys=False, default_flow_style=None)
    return f"---\n# Made by `make lab`; edits here are lost.\n{text}"


def _add(groups: dict[str, dict[str, Any]], group: str, host: str, variables: dict[str, Any]) -> None:
    groups.setdefault(group, {"hosts": {}})["hosts"][host] = variables


def pin(space: Workspace, host_keys: Mapping[str, str]) -> bool:
    """Given each host's public key as it was read from the inside, pin these; return whether that changed."""
    lines = [" ".join([name, *line.split()[:2]]) for name, line in host_keys.items()]
    return write_text(space.known_hosts, "".join(f"{line}\n" for line in lines))


def linux_host_key() -> str:
    """Return the path of a Linux machine's public host key."""
    return _HOST_KEY


def generate(space: Workspace) -> None:
    """Let maw itself write the OpenSSH config. Raise LabError with what it says."""
    code = "from maw.cli import cutter; cutter()"
    environment = {
        "MAW_WORKSPACE": str(space.root),
        "PYTHONPATH": str(Path(maw_workspace.__file__).parents[2]),
    }
    run([sys.executable, "-c", code, "ssh-config"], seconds=60, environment=environment)


def describe(lab: Lab, subnet: str, lxd: Path, own: bool) -> dict[str, Any]:
    """Return what state.json says of a lab that is up."""
    place = Place(lab)
    return {
        "schema": "maw.lab/1",
        "up": True,
        "prefix": lab.prefix,
        "lxd_dir": str(lxd),
        "own_daemon": own,
        "subnet": subnet,
        "workspace": str(place.workspace.root),
        "ssh_config": str(place.workspace.state / "ssh_config"),
        "machines": {machine.name: _shown(machine, subnet) for machine in lab.machines},
    }


def _shown(machine: Machine, subnet: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "instance": machine.instance,
        "host": machine.host,
        "address": machine.address(subnet),
    }
    if machine.bare:
        shown["bare"] = True
    return {**shown, "wsl": machine.wsl} if machine.role == names.NOTEBOOK else shown


def read_state(place: Place) -> dict[str, Any] | None:
    """Return what state.json says, None if the lab was never up."""
    try:
        state: dict[str, Any] = json.loads(place.state.read_bytes())
    except (OSError, ValueError):
        # Missing, or not whole: then it is not known to be up.
        return None
    return state


def close_connections(space: Workspace) -> None:
    """End the shared connections of this workspace: they would outlive the machines."""
    from maw.transport import ssh_config

    config = space.state / "ssh_config"
    if not config.exists():
        return
    for host in _hosts(config):
        options = ssh_config.effective(config, host)
        path = Path(options.get("controlpath", ["none"])[0])
        if path.exists():
            try:
                run(["ssh", "-F", config, "-O", "exit", host], seconds=10)
            except LabError:
                # Nobody listens there any more: a socket that was left over.
                path.unlink(missing_ok=True)


def _hosts(config: Path) -> list[str]:
    lines = config.read_text("utf-8").splitlines()
    listed = [line.split()[2].split(",") for line in lines if line.startswith("Match originalhost ")]
    return [name for group in listed for name in group]
