"""What a machine is asked about itself, and how its answer is read.

The question is one small shell program that any Linux can run. The answer is lines of "KEY VALUE".
Whoever sends them may be hostile, so numbers are read as numbers, and texts are shortened and
freed of control characters. What cannot be read is left out, never guessed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maw.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What is slow or can hang runs beside the rest, has a limit of its own, and says how it ended.
# Every line is one write, so that no line breaks into another.
SCRIPT = r"""
limit=$1; shift
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/snap/bin
say() { printf '%s %s\n' "$1" "$2"; }
have() { command -v "$1" >/dev/null 2>&1; }
within() { if have timeout; then timeout -k 0.2 "$limit" "$@"; else "$@"; fi; }
socket() {
  for path in "${LXD_DIR:-/var/lib/lxd}/unix.socket" /var/snap/lxd/common/lxd/unix.socket; do
    [ -S "$path" ] && return
  done
  return 1
}
lines() { head -c 65536 | head -n 400 | cut -b 1-3000 | while IFS= read -r line; do say "$1" "$line"; done; }
ask() {
  part=$1; shift; say asked "$part"
  { { within "$@" </dev/null 2>&1; say "${part}_status" $? >&3; } | lines "$part"; } 3>&1
}
say kernel "$(uname -r)"
say system "$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null)"
say identity "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) $(readlink /proc/self/ns/pid 2>/dev/null)"
while read -r key value unit; do case $key in MemTotal:) say memory_total_kb "$value" ;;
MemAvailable:) say memory_available_kb "$value" ;; esac; done < /proc/meminfo
read -r load rest < /proc/loadavg; say load "$load"
read -r up rest < /proc/uptime; say uptime_seconds "${up%.*}"
say cores "$(grep -c '^processor' /proc/cpuinfo)"
for supply in /sys/class/power_supply/*; do
  type=; scope=; capacity=; state=
  { read -r type < "$supply/type"; read -r scope < "$supply/scope"
    read -r capacity < "$supply/capacity"; read -r state < "$supply/status"; } 2>/dev/null
  if [ "$type" = Battery ] && [ "$scope" != Device ]; then say battery "$capacity $state"; fi
done
ask disk df -Pk / &
if [ $# = 0 ]; then :; elif have "$1"; then ask worker "$@" & else say no_worker "$1"; fi
notes=
# Else lxc leaves a folder in the home of who only looked.
if have lxc && socket && notes=$(mktemp -d 2>/dev/null); then
  ask lxd env "LXD_CONF=$notes" lxc list --format csv -c ns &
fi
if have pveversion; then ask proxmox pveversion & fi
if have pct; then ask containers pct list & fi
wait
[ -z "$notes" ] || rm -rf "$notes"
say all done
"""
# The part of all its time that a machine gives to what may hang there; the rest is for the way.
_SHARE = 0.7
# What is read of an answer at most: lines, and characters of a text.
_MOST_LINES = 2000
_LONGEST = 100
_MOST_BATTERIES = 4
_CONTAINER = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,62}),([A-Z][A-Z ]{0,19})")
_PCT = re.compile(r"([0-9]{1,10}) +([a-z]{1,20})( .*)?")
_DISK = re.compile(r"\S.* ([0-9]{1,15}) +([0-9]{1,15}) +([0-9]{1,15}) +[0-9]+% .*")
_PVE = re.compile(r"pve-manager/([0-9][0-9A-Za-z.~-]{0,30})[/ ].*")
_BATTERY = re.compile(r"([0-9]{1,3}) ([A-Z][A-Za-z ]{0,20})?")
_IDENTITY = re.compile(r"[0-9a-f-]{36} pid:\[[0-9]+\]")
_WSL_VERSION = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,6}){2,3}(?![0-9.])")
_WINDOWS_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6}){2,3}")

# What Windows is asked: constant texts, without a character that cmd or PowerShell would change.
WSL_VERSION = "wsl.exe --version"
WINDOWS_VERSION = "cmd.exe /c ver"


@dataclass(frozen=True)
class Battery:
    """One battery: its charge in percent, and what the kernel calls its state."""

    percent: int
    state: str | None


@dataclass(frozen=True)
class Container:
    """A container or virtual machine of LXD (`name`), or of a Proxmox node (its number)."""

    name: str
    state: str


@dataclass(frozen=True)
class Containers:
    """What LXD or a Proxmox node runs; `error` says why it could not be asked."""

    instances: tuple[Container, ...] = ()
    version: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Worker:
    """The worker of a machine, and the model behind each engine that it has."""

    version: str
    engines: dict[str, str]


@dataclass
class Facts:
    """What a machine said of itself. Sizes are in kilobytes; None is what it did not say.

    `identity` is the same for two ways to one running system, and for nothing else; `heard` is
    whether it said anything that was asked; `notes` are sentences about what is missing.
    """

    heard: bool = False
    identity: str | None = None
    cores: int | None = None
    load: float | None = None
    memory_total_kb: int | None = None
    memory_available_kb: int | None = None
    disk_total_kb: int | None = None
    disk_free_kb: int | None = None
    uptime_seconds: int | None = None
    batteries: tuple[Battery, ...] = ()
    system: str | None = None
    kernel: str | None = None
    lxd: Containers | None = None
    proxmox: Containers | None = None
    worker: Worker | None = None
    notes: tuple[str, ...] = ()

    @property
    def wsl(self) -> int | None:
        """Whether its kernel says that it is a WSL: 1, 2, or None."""
        kernel = self.kernel or ""
        if "microsoft" not in kernel.lower():
            return None
        return 1 if "Microsoft" in kernel else 2


def argv(worker: Sequence[str], seconds: float) -> list[str]:
    """Given the worker's command (or none) and the seconds for all, return the command that asks."""
    return ["sh", "-c", SCRIPT, "maw", f"{max(0.3, seconds * _SHARE):.1f}", *worker]


def read(answer: bytes) -> Facts:
    """Given what came back, whole or cut off, return what it says."""
    said: dict[str, list[str]] = {}
    whole = answer[: answer.rfind(b"\n") + 1]
    for line in whole.decode("utf-8", "replace").split("\n")[:_MOST_LINES]:
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value.strip())

    def one(key: str) -> str:
        return said.get(key, [""])[0]

    facts = Facts(heard="kernel" in said)
    facts.kernel = short(one("kernel")) or None
    facts.system = short(one("system").strip("\"'")) or None
    facts.identity = one("identity") if _IDENTITY.fullmatch(one("identity")) else None
    facts.cores = whole_number(one("cores"))
    facts.load = decimal(one("load"))
    facts.memory_total_kb = whole_number(one("memory_total_kb"))
    facts.memory_available_kb = whole_number(one("memory_available_kb"))
    facts.uptime_seconds = whole_number(one("uptime_seconds"))
    disk = _DISK.fullmatch(said.get("disk", [""])[-1])
    if disk:
        facts.disk_total_kb, facts.disk_free_kb = int(disk[1]), int(disk[3])
    facts.batteries = tuple(_batteries(said.get("battery", [])))
    facts.lxd = _lxd(said)
    facts.proxmox = _proxmox(said)
    facts.worker = _worker(said)
    facts.notes = tuple(_notes(said, facts))
    return facts


def short(text: str) -> str:
    """Given a text from far away, return it for a terminal: one line, not long."""
    return printable(text[:_LONGEST])


def whole_number(text: str) -> int | None:
    """Given a text, return the number that it is, None if it is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def decimal(text: str) -> float | None:
    """Given a text, return the number that it is, None if it is none."""
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None


def wsl_version(answer: bytes) -> str | None:
    """Given what ``wsl.exe --version`` said, in whatever language, return the version of WSL.

    A WSL that came with Windows does not know the option, and says how it is used instead.
    """
    text = windows_text(answer).strip()
    found = _WSL_VERSION.findall(text)
    # Later lines are the versions of the kernel, of WSLg and of Windows.
    return found[0] if len(found) >= 2 and found[0] in text.splitlines()[0] else None


def windows_version(answer: bytes) -> str | None:
    """Given what ``ver`` said, return the version of Windows."""
    found = _WINDOWS_VERSION.search(windows_text(answer))
    return f"Windows {found[0]}" if found else None


def windows_text(answer: bytes) -> str:
    """Given what a program of Windows said, UTF-16 or not, return it as text."""
    return answer.decode("utf-16-le" if b"\0" in answer[:200] else "utf-8", "replace").lstrip("\ufeff")


def _batteries(lines: Sequence[str]) -> list[Battery]:
    found = [_BATTERY.fullmatch(f"{line} " if " " not in line else line) for line in lines[:_MOST_BATTERIES]]
    return [Battery(int(match[1]), match[2] or None) for match in found if match and int(match[1]) <= 100]


def _answered(said: dict[str, list[str]], part: str) -> str | None:
    """Return why a part that was asked did not answer, None if it did."""
    status = said.get(f"{part}_status", [""])[0]
    if status == "0":
        return None
    if status in ("", "124", "137"):
        return "it did not answer in time"
    last = next((line for line in reversed(said.get(part, [])) if line), f"it ended with {status}")
    return short(last.removeprefix("Error: "))


def _lxd(said: dict[str, list[str]]) -> Containers | None:
    if "lxd" not in said.get("asked", ()):
        return None
    matches = [_CONTAINER.fullmatch(line) for line in said.get("lxd", [])]
    instances = tuple(Container(match[1], match[2].lower()) for match in matches if match)
    error = _answered(said, "lxd")
    return Containers(() if error else instances, error=error)


def _proxmox(said: dict[str, list[str]]) -> Containers | None:
    asked = said.get("asked", ())
    if "proxmox" not in asked:
        return None
    version = _PVE.fullmatch(said.get("proxmox", [""])[0])
    matches = [_PCT.fullmatch(line) for line in said.get("containers", [])]
    return Containers(
        tuple(Container(match[1], match[2]) for match in matches if match),
        version=version[1] if version else None,
        error=_answered(said, "proxmox")
        or (_answered(said, "containers") if "containers" in asked else None),
    )


def _worker(said: dict[str, list[str]]) -> Worker | None:
    """The greeting is the first line of docs/worker.md's protocol; logs may stand before it."""
    for line in said.get("worker", []):
        try:
            hello: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(hello, dict) or hello.get("type") != "hello":
            continue
        version, engines = hello.get("version"), hello.get("engines")
        if isinstance(version, str) and isinstance(engines, dict):
            pairs = [(name, model) for name, model in engines.items() if isinstance(model, str)]
            return Worker(short(version), {short(name): short(model) for name, model in pairs[:20]})
    return None


def _notes(said: dict[str, list[str]], facts: Facts) -> Iterable[str]:
    asked = said.get("asked", ())
    if facts.heard and "all" not in said:
        yield "it did not say everything in time"
    if "no_worker" in said:
        yield f"it has no worker: there is no {short(said['no_worker'][0])}"
    elif "worker" in asked and facts.worker is None:
        yield f"its worker does not greet: {_answered(said, 'worker') or 'it is another program'}"
    if facts.lxd is not None and facts.lxd.error:
        yield f"its LXD does not tell: {facts.lxd.error}"
    if facts.proxmox is not None and facts.proxmox.error:
        yield f"its Proxmox does not tell: {facts.proxmox.error}"
