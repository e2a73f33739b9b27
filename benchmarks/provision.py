"""The second run of playbooks/satellite.yml by maw, beside Ansible without pipelining and connection reuse.

Needs the lab (`make lab`) and root. Both run the same tasks on the same machines; neither changes anything.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".lab" / "maw" / "state.json"
HOSTS = "notebook,notebook-wsl"
# The lab's distro was there before maw, and its disks are small.
VARIABLES = {"windows_host_adopt_distro": True, "lxd_pool_minimum_gb": 1}
ROUNDS = 3


def maw(workspace: Path) -> float:
    """Seconds of a run by `cutter provision`. Raise RuntimeError if it changed anything or failed."""
    words = [
        word for name, value in VARIABLES.items() for word in ("--extra-vars", f"{name}={json.dumps(value)}")
    ]
    command = [sys.executable, "-c", "from maw.cli import cutter; cutter()", "provision", "satellite"]
    begun = time.monotonic()
    answer = subprocess.run(
        [*command, "--limit", HOSTS, *words, "--json"],
        env={**os.environ, "MAW_WORKSPACE": str(workspace)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begun
    if answer.returncode:
        raise RuntimeError(answer.stdout[-2000:] + answer.stderr[-2000:])
    return seconds


def plain(workspace: Path, config: Path) -> float:
    """Seconds of a run by `ansible-playbook`, each task with a connection and files of its own."""
    environment = {
        **os.environ,
        "MAW_WORKSPACE": str(workspace),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(workspace / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_PIPELINING": "false",
        "ANSIBLE_SSH_ARGS": f"-F {config} -o ControlMaster=no -o ControlPath=none",
    }
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        str(ROOT / "playbooks" / "satellite.yml"),
    ]
    command += ["--inventory", str(workspace / "inventory"), "--limit", HOSTS]
    begun = time.monotonic()
    answer = subprocess.run(
        [*command, "--extra-vars", json.dumps(VARIABLES)],
        env=environment,
        cwd=workspace,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise RuntimeError(answer.stdout[-3000:])
    return time.monotonic() - begun


def unshared(workspace: Path, folder: Path) -> Path:
    """Write the OpenSSH config of a workspace without shared connections; return its path."""
    from maw import config, topology
    from maw.transport import ssh_config

    place = config.Workspace(workspace)
    paths = dataclasses.replace(ssh_config.paths(place), config=folder / "ssh_config", shared=False)
    hosts = topology.load(place.inventory).hosts
    return ssh_config.write(hosts, config.load(place.config_file).ssh, paths)


def main() -> None:
    """Print the figures, one a line."""
    if not STATE.exists():
        sys.exit("the lab is not up: make lab")
    workspace = Path(json.loads(STATE.read_text("utf-8"))["workspace"])
    print(f"# first run: {maw(workspace):.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        config = unshared(workspace, Path(folder))
        times: dict[str, list[float]] = {"maw": [], "plain": []}
        for _ in range(ROUNDS):
            times["maw"].append(maw(workspace))
            times["plain"].append(plain(workspace, config))
    ours, theirs = (statistics.median(times[name]) for name in ("maw", "plain"))
    print(f"provision/second run, maw: {ours:.1f} s")
    print(f"provision/second run, without pipelining and connection reuse: {theirs:.1f} s")
    print(f"provision/ratio: {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
