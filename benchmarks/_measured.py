"""Runs a command and, when it has ended, writes the CPU seconds of it and its children to a file.

Usage: python _measured.py FILE COMMAND…; signals end the command as they would without this.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

status = subprocess.run(sys.argv[2:], check=False).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
Path(sys.argv[1]).write_text(str(usage.ru_utime + usage.ru_stime), "ascii")
sys.exit(status)
