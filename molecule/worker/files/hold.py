"""Holds a connection open, says what systemd and the kernel say of it, and kills its launcher."""

import json
import subprocess
import sys
import time
from pathlib import Path


def systemctl(*words):
    """Given words for systemctl, return the words that it says."""
    return subprocess.run(["systemctl", *words], check=True, capture_output=True, text=True).stdout.split()


def units():
    """Return the connections that are there."""
    return [word for word in systemctl("list-units", "--no-legend", "--plain", "maw-worker@*") if "@" in word]


before = set(units())
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
launcher = subprocess.Popen(["/usr/local/bin/maw-worker", "--processes=1"], **pipes)
launcher.stdout.readline()
(unit,) = set(units()) - before
shown = systemctl("show", unit, "--property=MemoryMax,MemoryHigh,TasksMax,ControlGroup")
properties = dict(line.split("=", 1) for line in shown)
processes = Path("/sys/fs/cgroup" + properties["ControlGroup"] + "/cgroup.procs").read_text().split()
uids = [Path("/proc", process).stat().st_uid for process in processes]
launcher.kill()
deadline = time.monotonic() + 10
while unit in units() and time.monotonic() < deadline:
    time.sleep(0.1)
json.dump({"properties": properties, "uids": uids, "left": sorted(set(units()) - before)}, sys.stdout)
