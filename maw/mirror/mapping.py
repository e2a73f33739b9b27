"""A Proxmox container's config becomes an LXD instance: pure, safe by default, and nothing is dropped unsaid.

Every key gives at least one row that says what it becomes; what the mirror does not have is
a loss with its reason. A mirror never starts by itself, gets a new network address, and is
never more privileged than asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maw.mirror.mapping_devices import map_mounts, map_networks, map_passed_devices, map_root
from maw.mirror.mapping_model import Bridge, Draft, Interface, Loss, Mapped, Note, Row, Target, safe
from maw.mirror.mapping_raw import map_environment, map_raw
from maw.mirror.names import check_name, instance_name, sanitise
from maw.mirror.pct_keys import KEYS, group_of
from maw.mirror.pct_lines import PENDING
from maw.mirror.property_string import parse_startup, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.mirror.pct import Config
    from maw.mirror.pct_lines import Section

__all__ = [
    "Bridge",
    "Interface",
    "Loss",
    "Mapped",
    "Note",
    "Row",
    "Target",
    "check_name",
    "instance_name",
    "map_config",
    "sanitise",
]

MEBIBYTE = 2**20
# LXD keeps its settings in a database that it copies often: a config of this size has gone wrong.
LARGEST_KEPT = 65536
_ARCHITECTURES = {
    "amd64": "x86_64",
    "i386": "i686",
    "arm64": "aarch64",
    "armhf": "armv7l",
    "riscv32": "riscv32",
    "riscv64": "riscv64",
}
# What a machine runs beside its own.
_RUNS_TOO = {"x86_64": "i686", "aarch64": "armv7l"}
_KEPT = {
    "cmode": "LXD has one console only",
    "console": "LXD has one console only",
    "debug": "of Proxmox's own log",
    "lock": "what Proxmox was doing with the original",
    "parent": "of Proxmox's snapshots, which no archive holds",
    "protection": "a mirror must stay replaceable by its next generation",
    "snapstate": "of Proxmox's snapshots, which no archive holds",
    "snaptime": "of Proxmox's snapshots, which no archive holds",
    "tags": "LXD has no tags",
    "template": "LXD has no templates of that kind",
    "tty": "LXD has one console only",
}
_REWRITTEN = {
    "nameserver": "the guest's resolv.conf names the bridge of the mirror's host",
    "ostype": "decides which network files of the guest are rewritten",
    "searchdomain": "the guest's resolv.conf and hosts",
    "timezone": "the guest's localtime",
}


def map_config(
    config: Config,
    target: Target,
    *,
    name: str,
    privileged: bool = False,
    vmid: int | None = None,
    node: str = "",
) -> Mapped:
    """Given a container's config and the target, return the instance that mirrors it under `name`.

    A privileged source becomes unprivileged unless `privileged`; an unprivileged one always
    stays so. Raise Misuse if LXD would not take the name.
    """
    draft = Draft(check_name(name), target)
    draft.config["boot.autostart"] = "false"
    _origin(draft, config, vmid, node)
    architecture = _architecture(draft, config)
    description = safe(config.description).strip()
    if config.description:
        draft.carry("description", config.description.strip(), "description")
    _privilege(draft, config, privileged)
    _memory(draft, config)
    for key in sorted(config.main.values):
        if key in _MAPPERS:
            _MAPPERS[key](draft, config, key, config.main.values[key])
        elif key in _KEPT:
            draft.keep(key, config.main.values[key], _KEPT[key])
        elif key in _REWRITTEN:
            draft.keep(key, config.main.values[key], _REWRITTEN[key])
    map_root(draft, config)
    map_mounts(draft, config)
    map_networks(draft, config)
    map_passed_devices(draft, config)
    _features(draft, config)
    map_environment(draft, config)
    map_raw(draft, config)
    _rest(draft, config)
    return Mapped(
        architecture=architecture,
        description=description,
        config=draft.config,
        devices=draft.devices,
        interfaces=tuple(draft.interfaces),
        losses=tuple(draft.losses),
        notes=tuple(draft.notes),
        rows=tuple(draft.rows),
        name=draft.name,
    )


def _origin(draft: Draft, config: Config, vmid: int | None, node: str) -> None:
    if vmid is not None:
        draft.config["user.pve.vmid"] = str(vmid)
    if node:
        draft.config["user.pve.node"] = safe(node)
    draft.config["user.pve.digest"] = config.digest
    text = safe(str(config))
    if len(text) <= LARGEST_KEPT:
        draft.config["user.pve.config"] = text
    else:
        draft.note("config", "the whole config is too large to be kept in user.pve.config")


def _architecture(draft: Draft, config: Config) -> str:
    written = config.get("arch")
    own = draft.target.architecture
    found = _ARCHITECTURES.get(written or "amd64", "")
    if not found:
        draft.lose(
            "arch", written or "", f"no architecture of Proxmox's; {own} of {draft.target.host} is taken"
        )
        return own
    if written is not None:
        draft.carry("arch", written, f"architecture {found}")
    if found not in (own, _RUNS_TOO.get(own)):
        draft.note(
            "arch", f"{draft.target.host} is {own} and cannot run {found}: this mirror is a backup only"
        )
    return found


def _privilege(draft: Draft, config: Config, privileged: bool) -> None:
    written = config.get("unprivileged")
    shown = "0" if written is None else written
    if config.unprivileged:
        draft.set("unprivileged", shown, "security.privileged", "false")
        if privileged:
            draft.note("unprivileged", "the original is unprivileged, and so is its mirror")
    elif privileged:
        draft.set("unprivileged", shown, "security.privileged", "true", "as on the server, because you asked")
        draft.note("unprivileged", f"root in this mirror is root on {draft.target.host}")
    else:
        draft.set("unprivileged", shown, "security.privileged", "false", "made unprivileged, which is safer")
        draft.note("unprivileged", "the original is privileged; its mirror is not, unless you ask for it")


def _memory(draft: Draft, config: Config) -> None:
    written = config.get("memory")
    # Proxmox runs a container without the key with this much.
    wanted = 512 if written is None else config.integer("memory")
    shown = "512 (default)" if written is None else written
    if not wanted:
        draft.lose("memory", shown, "no amount of memory")
        return
    most = max(draft.target.memory_bytes // MEBIBYTE, 1)
    why = ""
    if wanted > most:
        why = f"clamped to what {draft.target.host} has"
        draft.note("memory", f"{wanted} MiB became {most} MiB, which is all that {draft.target.host} has")
    draft.set("memory", shown, "limits.memory", f"{min(wanted, most)}MiB", why)


def _hostname(draft: Draft, _config: Config, key: str, value: str) -> None:
    draft.keep(key, value, "the guest's own hostname stays; the instance has its own name")


def _cores(draft: Draft, config: Config, key: str, value: str) -> None:
    wanted = config.integer(key)
    if not wanted:
        draft.lose(key, value, "no number of cores")
        return
    most = max(draft.target.cores, 1)
    why = ""
    if wanted > most:
        why = f"clamped to what {draft.target.host} has"
        draft.note(key, f"{wanted} cores became {most}, which is all that {draft.target.host} has")
    draft.set(key, value, "limits.cpu", str(min(wanted, most)), why)


def _cpulimit(draft: Draft, config: Config, key: str, value: str) -> None:
    wanted = config.number(key)
    if wanted is None:
        draft.lose(key, value, "no number of cores")
    elif wanted <= 0:
        draft.carry(key, value, "no limit")
    else:
        most = max(draft.target.cores, 1)
        why = ""
        if wanted > most:
            why = f"clamped to what {draft.target.host} has"
            draft.note(key, f"a limit of {wanted:g} cores became {most}, all that {draft.target.host} has")
        share = max(round(min(wanted, most) * 100), 1)
        draft.set(key, value, "limits.cpu.allowance", f"{share}ms/100ms", why)


def _cpuunits(draft: Draft, _config: Config, key: str, value: str) -> None:
    draft.config["user.pve.cpuunits"] = safe(value)
    draft.lose(key, value, "LXD has no weight of that kind; limits.cpu.priority is the nearest, by hand")


def _swap(draft: Draft, config: Config, key: str, value: str) -> None:
    wanted = config.integer(key)
    if wanted is None:
        draft.lose(key, value, "no amount of swap")
        return
    draft.set(key, value, "limits.memory.swap", "true" if wanted else "false")
    if wanted:
        draft.keep(key, value, "LXD knows swap as yes or no, not its size")
        draft.note(key, f"the mirror may swap, but not only {wanted} MB: LXD has no such limit")


def _onboot(draft: Draft, config: Config, key: str, value: str) -> None:
    draft.keep(key, value, "boot.autostart=false: a mirror never starts by itself")
    if config.boolean(key):
        draft.note(key, "the original starts with its server; the mirror starts only when you start it")


def _startup(draft: Draft, _config: Config, key: str, value: str) -> None:
    draft.keep(key, value, "a mirror never starts by itself, so that its order has no effect")
    parts = parse_startup(value) or {}
    down = parts.get("down")
    if down:
        draft.set(f"{key}.down", str(down), "boot.host_shutdown_timeout", str(down))
    for part in ("order", "up"):
        if part in parts:
            draft.carry(f"{key}.{part}", str(parts[part]), "user.pve.startup", "no effect on a mirror")


def _hookscript(draft: Draft, _config: Config, key: str, value: str) -> None:
    draft.config["user.pve.hookscript"] = safe(value)
    draft.lose(key, value, "the script lies on the Proxmox server and drives Proxmox")


def _entrypoint(draft: Draft, _config: Config, key: str, value: str) -> None:
    draft.config["user.pve.entrypoint"] = safe(value)
    if value == KEYS[key].default:
        draft.carry(key, value, "LXD's default")
        return
    by_hand = f"by hand: `lxc config set {draft.name} raw.lxc 'lxc.init.cmd=…'`"
    draft.lose(key, value, f"LXD starts /sbin/init; {by_hand}")


_MAPPERS: dict[str, Callable[[Draft, Config, str, str], None]] = {
    "cores": _cores,
    "cpulimit": _cpulimit,
    "cpuunits": _cpuunits,
    "entrypoint": _entrypoint,
    "hookscript": _hookscript,
    "hostname": _hostname,
    "onboot": _onboot,
    "startup": _startup,
    "swap": _swap,
}


def _features(draft: Draft, config: Config) -> None:
    if "features" in config.main.values:
        draft.config["user.pve.features"] = safe(config.main.values["features"])
    for feature, value in sorted(config.features().items()):
        key = f"features.{feature}"
        if value == "0":
            draft.carry(key, value, "off, as in LXD")
        elif feature == "nesting":
            draft.set(key, value, "security.nesting", "true")
        elif feature == "keyctl":
            draft.carry(key, value, "LXD allows it to every container")
        elif feature == "fuse":
            draft.carry(key, value, "/dev/fuse, which LXD gives every container")
        elif feature == "mknod":
            draft.lose(key, value, f"it widens what the guest may do; {_switch(draft, 'mknod', 'true')}")
        elif feature == "mount":
            kinds = ",".join(re.findall(r"\w+", value, re.ASCII))
            by_hand = f"{_switch(draft, 'mount', 'true')} and `…mount.allowed={kinds}`"
            draft.lose(key, value, f"it widens what the guest may do; {by_hand}")
        elif feature == "force_rw_sys":
            draft.lose(key, value, "LXD has nothing like it")


def _switch(draft: Draft, call: str, content: str) -> str:
    return f"by hand: `lxc config set {draft.name} security.syscalls.intercept.{call}={content}`"


def _rest(draft: Draft, config: Config) -> None:
    """Put down what no function above has: unused volumes, other sections, what Proxmox does not know."""
    mapped = {row.key for row in draft.rows}
    for key, value in sorted(config.main.values.items()):
        if group_of(key) == "unused":
            draft.keep(key, value, "a volume that the container does not use")
        elif key in KEYS and key not in mapped:
            draft.keep(key, value, wrong(KEYS[key], value) or "LXD has nothing like it")
    for one in config.main.unknown:
        draft.lose(one.key or f"line {one.line}", one.text, "Proxmox does not know it either")
    if config.pending is not None:
        for key, value in _everything(config.pending):
            draft.lose(f"[{PENDING}] {key}", value, "not in force on the server yet")
    for name in sorted(config.snapshots):
        draft.lose(
            f"[{name}]", "a snapshot", "no archive holds snapshots; mirrors have generations of their own"
        )


def _everything(section: Section) -> list[tuple[str, str]]:
    found = sorted(section.values.items())
    if section.description:
        found.append(("description", section.description.strip()))
    found += [("env", entry) for entry in section.environment]
    found += section.raw
    return found + [(f"line {one.line}", one.text) for one in section.unknown if not one.key]
