"""The guard: a small shell program beside every command, so that nothing outlives its link.

sshd leaves a command running when its connection goes, and a killed ssh client tells it
nothing. So maw opens one session of the guard per host, and tells it which runs are under way.
When the guard's standard input ends (link lost, maw killed, machine gone) it stops the process
groups of all runs that were not reported finished. A run is known by a random word in its
environment, ``MAW_RUN``.
"""

from __future__ import annotations

import secrets
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The kernel takes at most 128 KiB in one argument, and a command over SSH is one argument of
# the login shell; beyond this the command travels on standard input.
LONGEST_COMMAND = 100_000

# Found by a word in /proc/PID/environ. The scan is repeated, because a command may be
# between fork and exec when the link goes.
SCRIPT = r"""
trap '' HUP INT PIPE
signal() {
  found=
  for environ in $(grep -ls "MAW_RUN=$2" /proc/[0-9]*/environ 2>/dev/null); do
    found=yes; pid=${environ#/proc/}; pid=${pid%/environ}
    group=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f3)
    [ -n "$group" ] && kill -s "$1" -- "-$group" 2>/dev/null
  done
  [ -n "$found" ]
}
stop() {
  if signal TERM "$1"; then sleep 0.1; signal 0 "$1" || return; sleep 0.4; else sleep 0.5; fi
  signal TERM "$1" || return
  sleep 1.5; signal KILL "$1"; sleep 0.5; signal KILL "$1"
}
runs=
echo ready
while read -r verb run; do
  case $verb in
    start) runs="$runs $run" ;;
    ping) echo "$run" ;;
    stop) (stop "$run") </dev/null >/dev/null 2>&1 & ;;
    end)
      kept=
      for known in $runs; do [ "$known" = "$run" ] || kept="$kept $known"; done
      runs=$kept ;;
  esac
done
for run in $runs; do (stop "$run") </dev/null >/dev/null 2>&1 & done
wait
"""

ARGV = ("sh", "-c", SCRIPT)

# Reads the argument list from standard input, up to the byte, and becomes that command.
_LONG = (
    "import os,signal,sys\n"
    "for s in signal.SIGPIPE,signal.SIGXFSZ: signal.signal(s,signal.SIG_DFL)\n"
    "def take(n):\n"
    " b=b''\n"
    " while len(b)<n:\n"
    "  d=os.read(0,n-len(b))\n"
    "  if not d: sys.exit(255)\n"
    "  b+=d\n"
    " return b\n"
    "a=take(int(take(12))).split(b'\\0')\n"
    "try: os.execvp(a[0],a)\n"
    "except OSError as e: sys.stderr.write('%s: %s\\n'%(a[0].decode(errors='replace'),e.strerror));"
    " sys.exit(127)"
)


def new_run() -> str:
    """Return a fresh random name for one run, 16 hexadecimal digits."""
    return secrets.token_hex(8)


def line(verb: str, run: str) -> bytes:
    """Given a verb (start, stop, end, ping) and a run, return the guard's input line."""
    return f"{verb} {run}\n".encode("ascii")


def remote_command(argv: Sequence[str], run: str) -> tuple[str, bytes]:
    """Given an argument list and its run, return the text for a POSIX login shell, and bytes.

    The bytes must come first on standard input; there are none but for very long commands.
    The shell becomes the command (exec), so that its exit status or signal is the command's own.
    """
    command = f"export MAW_RUN={run}; exec {shlex.join(argv)}"
    if len(command.encode("utf-8", "surrogateescape")) <= LONGEST_COMMAND:
        return command, b""
    packed = b"\0".join(argument.encode("utf-8", "surrogateescape") for argument in argv)
    return f"export MAW_RUN={run}; exec {shlex.join(['python3', '-c', _LONG])}", b"%012d" % len(
        packed
    ) + packed


# The ssh program exits with 255 whatever signal ended the command, so a shell stays to turn
# it into 128 + n, and outlives a TERM for the whole group to do so. Its own remarks ("Killed")
# are kept out of the command's standard error; dash would still print them without the ( ).
_KEEP_STATUS = 'trap : TERM; exec 4>&2 2>/dev/null; ("$@" 2>&4 4>&-); exit $?'


def keeping_status(argv: Sequence[str]) -> tuple[str, ...]:
    """Given an argument list, return one whose exit status is 128 + n if signal n ended the first."""
    return ("sh", "-c", _KEEP_STATUS, "maw", *argv)
