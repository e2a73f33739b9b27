"""The process of a backup that the API started: `runner.py FOLDER`, the order on standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

    from pve import vzdump
    from pve.access import Who
    from pve.state import Node

    node = Node(Path(sys.argv[1]))
    order = json.load(sys.stdin)
    who = Who(node, order["user"], order["token"])
    sys.exit(vzdump.as_task(node, order["upid"], order["params"], who))
