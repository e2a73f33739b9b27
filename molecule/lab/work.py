"""Does what the plan says, on one LXD daemon."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab import images, machine, names, plan
from lab.errors import LabError
from lab.lock import locked
from lab.programs import progress, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.images import Image
    from lab.lxc import Lxc
    from lab.machine import File
    from lab.names import Lab
    from lab.plan import Step

_POOL_SIZE = "20GiB"
_SETUP_SECONDS = 180
# No shared connection: one that stays open answers also for a machine that does not log in any more.
_ALONE = ("-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ControlPath=none")


def look(lxc: Lxc, lab: Lab, image: Image) -> plan.Found:
    """Return what LXD has of this lab."""
    wanted = {one.instance for one in lab.machines}
    instances = {
        one["name"]: plan.Instance(one["status"], one["config"])
        for one in lxc.query("/1.0/instances?recursion=1")
        if one["name"] in wanted or one["config"].get(plan.OWNER) == str(lab.folder)
    }
    pools = {one["name"]: one["config"] or {} for one in lxc.query("/1.0/storage-pools?recursion=1")}
    networks = {one["name"]: one["config"] or {} for one in lxc.query("/1.0/networks?recursion=1")}
    aliases = [one["name"] for one in lxc.query("/1.0/images/aliases?recursion=1")]
    address = networks.get(lab.shared, {}).get("ipv4.address")
    return plan.Found(
        archive=image.archive.exists(),
        images=tuple(name for name in aliases if name.startswith(f"{lab.shared}-")),
        pool=pools[lab.shared].get(plan.OWNER, "") if lab.shared in pools else None,
        network=networks[lab.shared].get(plan.OWNER, "") if lab.shared in networks else None,
        subnet=names.subnet_of(address) if address else None,
        instances=instances,
    )


def taken_networks() -> list[str]:
    """Return the networks that this machine has a route to."""
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"], seconds=10) or b"[]")
    found = [route["dst"] for route in routes if route.get("type", "unicast") == "unicast"]
    return [network for network in found if network != "default"]


@dataclass
class Work:
    """The steps of a plan, done."""

    lxc: Lxc
    lab: Lab
    image: Image
    contents: Mapping[str, Mapping[str, File]] = field(default_factory=dict)

    def do(self, steps: Sequence[Step]) -> None:
        """Do the steps: what all share one after the other, then machine by machine, two at a time."""
        by_instance: dict[str, list[Step]] = {}
        shared = {
            plan.BUILD: lambda: images.build(self.image),
            plan.IMPORT: self._import,
            plan.POOL: self._pool,
        }
        last: list[Step] = []
        for step in steps:
            if step.kind in shared:
                progress(f"{step.kind} {step.subject}: {step.reason}")
                shared[step.kind]()
            elif step.kind in {plan.DELETE_NETWORK, plan.DELETE_POOL, plan.DELETE_IMAGE}:
                last.append(step)
            elif step.kind != plan.NETWORK:
                by_instance.setdefault(step.subject, []).append(step)
        with ThreadPoolExecutor(max_workers=4) as pool:
            # All come to their end before the first error is raised.
            waiting = [pool.submit(self._machine, name, mine) for name, mine in by_instance.items()]
        for one in waiting:
            one.result()
        for step in last:
            self._remove(step)

    def _import(self) -> None:
        images.import_(self.lxc, self.image, self.lab.shared, self.lab.folder)

    def _pool(self) -> None:
        environment = self.lxc.query("/1.0")["environment"]
        drivers = {one["Name"] for one in environment.get("storage_supported_drivers") or []}
        options = ["btrfs", f"size={_POOL_SIZE}"] if "btrfs" in drivers else ["dir"]
        owner = f"{plan.OWNER}={self.lab.folder}"
        self.lxc("storage", "create", self.lab.shared, *options, owner, seconds=120)

    def network(self) -> str:
        """Create the network in a free place; return that."""
        # Two labs at the same moment would choose the same.
        with locked("networks", "another make lab chooses a network"):
            subnet = names.choose_subnet(self.lab.prefix, taken_networks())
            progress(f"create network {self.lab.shared}: {subnet}")
            options = {
                "ipv4.address": f"{names.gateway(subnet)}/24",
                "ipv6.address": "none",
                "dns.mode": "none",
                # Nothing of this machine changes: no dnsmasq, no firewall rule, no forwarding.
                "ipv4.dhcp": "false",
                "ipv4.nat": "false",
                "ipv4.routing": "false",
                "ipv4.firewall": "false",
                plan.OWNER: str(self.lab.folder),
            }
            words = [f"{key}={value}" for key, value in options.items()]
            self.lxc("network", "create", self.lab.shared, *words)
        return subnet

    def _machine(self, instance: str, steps: Sequence[Step]) -> None:
        for step in steps:
            progress(f"{step.kind} {step.subject}: {step.reason}")
            if step.kind == plan.DELETE:
                self.lxc("delete", "--force", instance, seconds=120)
            elif step.kind == plan.CREATE:
                self._create(instance)
            elif step.kind == plan.START:
                self._start(instance)
            elif step.kind == plan.CONFIGURE:
                self._configure(instance)

    def _create(self, instance: str) -> None:
        config = {
            plan.OWNER: str(self.lab.folder),
            plan.IMAGE: self.image.alias(self.lab.shared),
            "boot.autostart": "false",
        }
        if any(one.instance == instance and one.role == names.NOTEBOOK for one in self.lab.machines):
            config["security.nesting"] = "true"
        words = [word for key, value in config.items() for word in ("--config", f"{key}={value}")]
        image = self.image.alias(self.lab.shared)
        where = ["--storage", self.lab.shared, "--network", self.lab.shared]
        self.lxc("init", image, instance, "--no-profiles", *where, *words, "--quiet", seconds=180)

    def _start(self, instance: str) -> None:
        self.lxc("start", instance, seconds=60)
        deadline = time.monotonic() + 60
        while True:
            try:
                # systemd takes commands from here on.
                self.lxc.execute(instance, "test", "-S", "/run/systemd/private", seconds=20)
            except LabError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def _configure(self, instance: str) -> None:
        one = next(one for one in self.lab.machines if one.instance == instance)
        found = self.contents[one.name]
        unpack = ("tar", "--extract", "--file=-", "--directory=/", "--no-same-owner", "--touch")
        self.lxc.execute(instance, *unpack, stdin=machine.archive(found))
        script = f"/{machine.LIBRARY}/setup.sh"
        role = "bare" if one.bare else one.role
        self.lxc.execute(instance, "/bin/sh", script, role, seconds=_SETUP_SECONDS)
        # Last: what was interrupted before is done again.
        self.lxc("config", "set", instance, f"{plan.CONTENT}={machine.content(found)}")

    def _remove(self, step: Step) -> None:
        progress(f"{step.kind} {step.subject}: {step.reason}")
        kind = {plan.DELETE_NETWORK: "network", plan.DELETE_POOL: "storage", plan.DELETE_IMAGE: "image"}[
            step.kind
        ]
        self.lxc(kind, "delete", step.subject, seconds=120)


def unreachable(config: str, questions: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Given the generated config and a command for each host, return those that fail, and why."""

    def ask(host: str) -> tuple[str, str]:
        argv = ["ssh", "-F", config, *_ALONE, "--", host, *questions[host]]
        try:
            answer = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60
            )
        except subprocess.TimeoutExpired:
            return host, "no answer within 60 s"
        said = (answer.stdout + answer.stderr).decode("utf-8", "replace").strip()
        return host, "" if answer.returncode == 0 else said or f"status {answer.returncode}"

    with ThreadPoolExecutor(max_workers=8) as pool:
        return {host: why for host, why in pool.map(ask, questions) if why}


def must_answer(config: str, questions: Mapping[str, Sequence[str]]) -> None:
    """Raise LabError unless all of these answer over ssh."""
    deadline = time.monotonic() + 30
    # A machine that has just been started does not listen yet.
    while (why := unreachable(config, questions)) and time.monotonic() < deadline:
        time.sleep(0.5)
    if why:
        said = "; ".join(f"{host}: {text}" for host, text in why.items())
        step = "Begin anew with: make lab-down lab"
        if "degraded" in said:
            step = "With many labs the kernel's inotify instances are used up; raise them with sysctl -w "
            step += "fs.inotify.max_user_instances=1024, then begin anew with: make lab-down lab"
        raise LabError(f"not every machine answers: {said}. {step}")


def summary(state: Mapping[str, Any]) -> str:
    """Given what state.json says, return it for a person."""
    lines = []
    for one in state["machines"].values():
        hosts = ", ".join(name for name in (one["host"], one.get("wsl")) if name)
        lines.append(f"{one['instance']:<18} {one['address']:<16} {hosts}")
    lines += ["", f"export MAW_WORKSPACE={state['workspace']}", f"ssh -F {state['ssh_config']} NAME"]
    return "\n".join(lines)
