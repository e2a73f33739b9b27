"""A rotation in a process of its own, that kills itself before its Nth action on the world.

An action is a program that is started, or a file of keys that is linked, renamed or removed. Without a
number it runs to the end and prints how many there were.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from maw import config
from maw.cli.workspace import Context
from maw.transport import far, keypairs, places, rotation

_lock = threading.Lock()
_seen = 0


def main(root: str, purpose: str, last: int) -> None:
    """Rotate a key of a workspace."""
    workspace = config.Workspace(Path(root))
    context = Context(workspace, config.load(workspace.config_file))
    hosts, where = context.topology.hosts, context.ssh_paths
    listed = places.places(hosts, context.settings.ssh)
    folder = workspace.keys

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        global _seen
        if event == "os.remove" and Path(str(arguments[0])).parent != folder:
            return
        if event in ("subprocess.Popen", "os.rename", "os.link", "os.remove"):
            with _lock:
                _seen += 1
                if _seen == last:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    with keypairs.locked(folder, seconds=10) as lock:
        line = far.Line(where, context.settings.ssh, lock)
        rotation.Rotation(folder, purpose, line, hosts, places.targets(listed, purpose)).run()
    print(_seen)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
