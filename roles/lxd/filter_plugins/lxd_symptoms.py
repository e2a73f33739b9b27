"""What LXD, liblxc and snapd say when a machine cannot run containers: cause and next step. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UPDATE = "on Windows `wsl --update`, then `wsl --shutdown`, and run this again"
_NO_NAT = (
    "; or set lxd_network_nat and lxd_network_firewall to false, and containers then reach only the host"
)
_MOST_LINES = 12
# What LXD does itself before liblxc is started.
_NETWORK = r"rule|iptables|nft|dnsmasq"


@dataclass(frozen=True)
class Symptom:
    """A text that is met, what it means, what to do on a WSL and on another machine."""

    pattern: str
    cause: str
    wsl: str
    linux: str = ""


SYMPTOMS = (
    Symptom(
        r"no space left on device.*(clone|userns|namespace)|(clone|unshare).*no space left on device"
        r"|max_user_namespaces",
        "user namespaces are switched off, or their number is used up",
        "see `cat /proc/sys/user/max_user_namespaces`; remove the line that lowers it from /etc/sysctl.d",
    ),
    Symptom(
        r"no space left on device|disk quota exceeded",
        "the disk or the pool is full",
        "make room (`df -h`), on Windows too: a WSL's disk grows on drive C:",
        "make room: see `df -h`, and `btrfs filesystem usage` for a btrfs pool",
    ),
    Symptom(
        r"wsl-user/distro-\d+",
        "this WSL has its control groups below /wsl-user/distro-N, where a container's group cannot be made "
        "(microsoft/WSL#41492, WSL 2.9.8 and later)",
        _UPDATE + "; until it is mended there, take a WSL of the 2.7 line",
    ),
    Symptom(
        r"snap\.lxd\.(activate|daemon)[^\n]*(fail|exit)|start snap \"lxd\"",
        "the snap's service does not start (on WSL 2.7.12 a known fault, microsoft/WSL#41452)",
        "see `journalctl -u snap.lxd.activate -u snap.lxd.daemon`, and whether /etc/wsl.conf has "
        "systemd=true; then " + _UPDATE,
        "see `journalctl -u snap.lxd.activate -u snap.lxd.daemon`",
    ),
    Symptom(
        r"could not process rule|nf_tables.*(fail|no such|not supported)|RULE_APPEND failed|CHAIN_ADD failed"
        r"|failed adding (outbound nat|forward|dhcp)[^\n]*rules|nft.*(operation not supported|no such file)",
        "the kernel lacks modules of nftables that LXD's network needs (microsoft/WSL#6044, #13479)",
        _UPDATE + _NO_NAT,
        "load or install the kernel's nftables modules (nf_tables, nft_chain_nat, nft_masq)",
    ),
    Symptom(
        r"iptables[^\n]*(no chain/target/match|table does not exist|can't initialize|can.t initialize)"
        r"|no chain/target/match by that name|extension masquerade[^\n]*not supported"
        r"|bad rule \(does a matching",
        "the kernel lacks modules of iptables that LXD's network needs (microsoft/WSL#4158)",
        _UPDATE + _NO_NAT,
        "load or install the kernel's iptables modules (iptable_nat, iptable_filter, xt_MASQUERADE, "
        "xt_comment)",
    ),
    Symptom(
        r"not a directory - failed to open \d+/|cgroup[^\n]*(hybrid|version 1)|failed to (open|create"
        r"|mount)[^\n]*"
        r"(cpuacct|cpuset|net_cls|cgroup/(memory|systemd))",
        "control groups of version 1 are mixed with version 2",
        "add `kernelCommandLine = cgroup_no_v1=all` below [wsl2] in .wslconfig on Windows, then `wsl "
        "--shutdown`",
        "boot with `systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all`",
    ),
    Symptom(
        r"failed to (create|enter|delegate|attach to) (\w+ )?(\"[^\"]*\" )?cgroup|no (usable )?cgroup"
        r"|cgroup2? filesystem"
        r"|failed to initialize cgroup|cgfsng[^\n]*(permission denied|no such file|read-only)",
        "the kernel's control groups cannot be used",
        "see `mount | grep cgroup`: there must be one, cgroup2 at /sys/fs/cgroup; then " + _UPDATE,
        "see `mount | grep cgroup`: there must be one, cgroup2 at /sys/fs/cgroup, and it must be writable",
    ),
    Symptom(
        r"idmapped mount|mount_setattr|idmap[^\n]*(not (supported|permitted)|function not implemented"
        r"|invalid argument)",
        "the kernel has no idmapped mounts for this file system",
        _UPDATE + "; or take a pool of driver dir (lxd_pool_driver) on ext4",
        "take a kernel of 5.15 or newer, or a pool of driver dir (lxd_pool_driver) on ext4",
    ),
    Symptom(
        r"newuidmap|newgidmap|failed to set up id mapping|uid_map|gid_map|no uid/gid allocation"
        r"|idmap range|no map found"
        r"|doesn't have a uid/gid",
        "the ids for containers are not there",
        "see root's lines in /etc/subuid and /etc/subgid, and that uidmap is installed; restart LXD",
    ),
    Symptom(
        r"clone_newuser|failed to clone[^\n]*user|unshare[^\n]*(invalid argument|operation not permitted)",
        "the kernel makes no user namespaces",
        "see `cat /proc/sys/user/max_user_namespaces`; then " + _UPDATE,
        "see `sysctl user.max_user_namespaces kernel.unprivileged_userns_clone`",
    ),
    Symptom(
        r"(unknown|wrong) (filesystem|fs) type.*overlay|overlay[^\n]*(invalid argument|not supported"
        r"|no such device)",
        "the kernel lacks overlay",
        _UPDATE,
        "load the kernel's module overlay",
    ),
    Symptom(
        r"unknown filesystem type '?btrfs|mkfs\.btrfs|losetup|loop device",
        "a btrfs pool cannot be made here: no btrfs, or no loop devices",
        "set lxd_pool_driver to dir",
    ),
    Symptom(
        r"apparmor",
        "AppArmor's profile for the container cannot be loaded",
        "install the package apparmor in the distro; then " + _UPDATE,
        "install the package apparmor; in a container, allow nesting for it on its host",
    ),
    Symptom(
        r"seccomp",
        "the kernel refuses the container's filter of system calls (seccomp)",
        _UPDATE,
        "see `zgrep SECCOMP /proc/config.gz`; in a container, allow nesting for it on its host",
    ),
    Symptom(
        r"(veth|bridge)[^\n]*(operation not supported|unknown device type|not supported)"
        r"|(operation not supported|unknown device type)[^\n]*(veth|bridge)",
        "the kernel has no bridges or no veth",
        _UPDATE,
        "load the kernel's modules bridge and veth",
    ),
    Symptom(
        r"dnsmasq[^\n]*(address already in use|failed to create listening|permission denied|exit)",
        "LXD's dnsmasq cannot listen on the bridge",
        "see `ss -lunp 'sport = 53 or sport = 67'`: another name server listens on every address; "
        "bind it to its own",
    ),
    Symptom(
        r"dnsmasq[^\n]*(not found|no such file)",
        "dnsmasq is not installed",
        "install dnsmasq-base",
    ),
    Symptom(
        r"lxcfs|transport endpoint is not connected",
        "lxcfs, which shows a container its own memory and processors, does not run",
        "`systemctl restart lxcfs` (with the snap: `snap restart lxd`)",
    ),
    Symptom(
        r"udhcpc[^\n]*(no lease|failing|ended with)",
        "the container is on the bridge and gets no address: DHCP does not come through",
        "see `journalctl -u lxd -u snap.lxd.daemon | grep dnsmasq`, and whether a firewall "
        "(nft list ruleset, ufw, Docker) drops udp 67 on the bridge",
    ),
    Symptom(
        r"/bin/ping[^\n]*ended with",
        "the container has an address, and the bridge does not answer it",
        "see whether a firewall (nft list ruleset, ufw, Docker) drops what comes from the bridge",
    ),
    Symptom(
        r"(failed to mount|mount)[^\n]*(proc|sysfs|devpts)[^\n]*(permission|operation not permitted)"
        r"|(permission denied|operation not permitted) - failed to mount",
        "the kernel does not let a container mount what it needs",
        _UPDATE,
        "this machine is a container itself: allow nesting for it on its host (security.nesting=true)",
    ),
    Symptom(
        r"exec format error",
        "the programs of this machine are of another architecture than its kernel",
        "take a distro of the machine's own architecture",
    ),
    Symptom(
        r"cannot allocate memory|out of memory",
        "the memory is used up",
        "see `free -m`; give the WSL more with memory= below [wsl2] in .wslconfig",
        "see `free -m`",
    ),
    Symptom(
        r"connection refused|unix\.socket|timed out",
        "LXD does not answer",
        "see `journalctl -u lxd -u snap.lxd.daemon`",
    ),
)


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"lxd_why": why, "lxd_verdict": verdict}


def why(text: str, machine: Mapping[str, Any]) -> dict[str, str]:
    """Given what was said and the machine, return the cause, the next step and the line that tells it.

    >>> why("Error: Could not process rule: No such file or directory", {"wsl": 0})["cause"].split(" that")[0]
    'the kernel lacks modules of nftables'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # What liblxc warns of or only tells stands in the log of a container that is well, too.
    errors = [line for line in lines if re.search(r"\b(ERROR|Error:)", line)]
    told = [line for line in lines if not re.search(r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|ERROR)\b", line)]
    for group in (errors, told):
        for symptom in SYMPTOMS:
            line = next((line for line in group if re.search(symptom.pattern, line, re.IGNORECASE)), None)
            if line is not None:
                step = symptom.wsl if machine.get("wsl") or not symptom.linux else symptom.linux
                return {"cause": symptom.cause, "step": step, "line": line[:300]}
    return {"cause": "", "step": "", "line": (errors or told or lines or [""])[-1][:300]}


def verdict(
    probe: Mapping[str, Any], machine: Mapping[str, Any], network: str, address: str
) -> dict[str, Any]:
    """Given what the probe saw, the machine, our network and its address, return ok and a message."""
    if probe["error"]:
        return {"ok": False, "message": _failed(probe, machine)}
    look = f"See `lxc network show {network}` and `ip link show master {network}`, then run this again."
    if probe.get("bridge") != network:
        place = probe.get("bridge") or "no bridge at all"
        message = f"a container starts, but its network card is on {place} instead of {network}. {look}"
        return {"ok": False, "message": message}
    got = str(probe.get("address", ""))
    if got and ipaddress.ip_interface(got).ip not in ipaddress.ip_interface(address).network:
        who = f"which is not of {network} ({address}): another DHCP server answers there"
        return {"ok": False, "message": f"a container gets the address {got}, {who}. {look}"}
    if probe.get("left"):
        message = f"the probe's container could not be removed: {probe['left']}. See `lxc list maw-probe`."
        return {"ok": False, "message": message}
    shown = f"with the address {got}" if got else "no address was asked for: no busybox with udhcpc is here"
    return {"ok": True, "message": f"a container starts on {network}, {shown}"}


_STAGES = {
    "image": "a container's image cannot be given to LXD",
    "create": "a container cannot be made",
    "start": "a container cannot start",
    "command": "a container starts, but no command can be run in it",
    "bridge": "a container starts, but LXD does not tell its network",
    "address": "a container starts, but gets no address",
    "ping": "a container starts and has an address, but its bridge does not answer",
}


# Where liblxc's log can tell something.
_OF_LIBLXC = ("start", "command")


def _failed(probe: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    said, log = str(probe["error"]), str(probe.get("log", ""))
    found = _cause(str(probe["stage"]), said, log, machine)
    place = f"kernel {machine.get('kernel', '')}"
    place += f", WSL {machine.get('wsl_version') or 'of an unknown version'}" if machine.get("wsl") else ""
    lines = [line.strip() for line in log.splitlines() if re.search(r"\b(ERROR|WARN)\b", line)][-_MOST_LINES:]
    told = "\n".join(["", "liblxc's log:", *lines]) if lines and probe["stage"] in _OF_LIBLXC else ""
    begin = f"{_STAGES[str(probe['stage'])]} ({place})"
    if not found["cause"]:
        return f"{begin}: {said}. See there `journalctl -u lxd -u snap.lxd.daemon`.{told}"
    return f"{begin}: {found['cause']}. Next: {found['step']}. LXD said: {said}.{told}"


def _cause(stage: str, said: str, log: str, machine: Mapping[str, Any]) -> dict[str, str]:
    found, deeper = why(said, machine), why(log, machine)
    groups = "control groups" in found["cause"] + deeper["cause"]
    if groups and str(machine.get("own_cgroup", "")).startswith("/wsl-user/"):
        return why(str(machine["own_cgroup"]), machine)
    # Of a container that does not start LXD itself often knows only that liblxc failed.
    return deeper if stage == "start" and deeper["cause"] and not re.search(_NETWORK, said) else found
