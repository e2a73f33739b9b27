"""A stage of a backup's pipe: passes bytes on slowly, in part, or until the disk is full.

throttle.py BYTES_PER_SECOND KILL_AFTER PID FULL_AFTER TEXT CODE: 0 stands for no limit.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_BLOCK = 65536


def main() -> int:
    """Pass bytes on until the end, or until the first limit."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    rate, kill_after, pid, full_after = (int(word) for word in sys.argv[1:5])
    text, code = sys.argv[5], int(sys.argv[6])
    block = max(512, min(_BLOCK, rate // 20)) if rate else _BLOCK
    start, passed = time.monotonic(), 0
    limit = min((n for n in (kill_after, full_after) if n), default=0)
    while data := os.read(0, min(block, limit - passed) if limit else block):
        _write(data)
        passed += len(data)
        if limit and passed >= limit:
            break
        if rate and (ahead := passed / rate - (time.monotonic() - start)) > 0:
            time.sleep(ahead)
    if limit and passed >= limit:
        if limit == kill_after:
            os.kill(pid, signal.SIGKILL)
            return 0
        os.write(2, text.encode())
        return code
    return 0


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main())
