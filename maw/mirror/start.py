"""Starts a mirror: not beside its original, unless it gets an identity of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw.errors import LxdError, OriginalAnswers
from maw.files import sha256_of
from maw.mirror import mirrors, pct, plan, run
from maw.mirror.mapping import map_config
from maw.mirror.model import START_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maw.mirror.pct import Config
    from maw.mirror.plan import Instance
    from maw.mirror.site import Site

# Seconds in which a container that starts and falls over would have fallen.
_STEADY_SECONDS = 1.5
# Of a mirror that has a machine id of its own.
_BESIDE = "user.maw.beside"
# A machine that is there takes or refuses a connection; one that is not does neither.
_PORTS = (22, 80, 443)
_PROBE_SECONDS = 1.0


@dataclass(frozen=True)
class Started:
    """A mirror that runs."""

    name: str
    host: str
    addresses: list[str]
    beside: bool
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"schema": START_SCHEMA, **self.__dict__}


@dataclass(frozen=True)
class Original:
    """What is known of the original: `runs` is None if its server could not be asked, `why` says it."""

    runs: bool | None
    why: str
    answering: tuple[str, ...] = ()


def decide(name: str, original: Original, *, beside: bool) -> list[str]:
    """Given what is known of the original, return notes, or raise OriginalAnswers."""
    if beside:
        return []
    if original.runs:
        raise OriginalAnswers(name=name, reason=f"runs ({original.why})")
    if original.answering:
        raise OriginalAnswers(name=name, reason=f"answers at {', '.join(original.answering)}")
    if original.runs is None:
        return [f"could not ask whether the original runs ({original.why}); no address of it answers nearby"]
    return []


def answering(addresses: Sequence[str]) -> tuple[str, ...]:
    """Given addresses, return those where a machine answers: an echo, or any port that takes or refuses.

    Only addresses of a network that this machine is in are asked: for others a router may answer.
    """
    near = [address for address in addresses if _is_near(address)]
    probes = [(address, port) for address in near for port in _PORTS]
    with ThreadPoolExecutor(max_workers=16) as pool:
        there = {address for address, up in pool.map(_port_answers, probes) if up}
        there |= {address for address, up in pool.map(_echoes, set(near) - there) if up}
    return tuple(address for address in near if address in there)


def _is_near(address: str) -> bool:
    """Whether the way to an address has no router in it."""
    program = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return False
    argv = [program, "-json", "route", "get", address]
    answer = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if answer.returncode != 0:
        return False
    routes = json.loads(answer.stdout or b"[]")
    return bool(routes) and "gateway" not in routes[0] and routes[0].get("type") != "local"


def _port_answers(probe: tuple[str, int]) -> tuple[str, bool]:
    address, port = probe
    try:
        socket.create_connection((address, port), timeout=_PROBE_SECONDS).close()
    except ConnectionRefusedError:
        return address, True
    except OSError:
        return address, False
    return address, True


def _echoes(address: str) -> tuple[str, bool]:
    ping = shutil.which("ping")
    if ping is None:
        # The ports have been asked already.
        return address, False
    argv = [ping, "-n", "-q", "-c", "1", "-W", "1", address]
    answer = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return address, answer.returncode == 0


def config_of(site: Site, one: Instance, work: Path) -> Config:
    """Given a mirror, return the config of its original as it was when it was synced."""
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="config-", dir=work) as folder:
        path = Path(folder) / "pct.conf"
        mirrors.fetch(site, one.name, run.CONFIG_FILE, path)
        return pct.parse(path.read_bytes(), f"of {one.name}")


def start(
    site: Site,
    one: Instance,
    *,
    ask: Callable[[Config], Original],
    beside: bool,
    work: Path,
) -> Started:
    """Given a stopped mirror, start it and see that it stays up.

    Raise OriginalAnswers, LxdError, TransportError. A mirror that runs already is no error.
    """
    notes: list[str] = []
    if one.running:
        notes.append("it was running already")
        beside = _BESIDE in one.config
    else:
        beside = beside or _BESIDE in one.config
        config = config_of(site, one, work)
        notes += decide(one.name, ask(config) if not beside else Original(None, ""), beside=beside)
        with run.locked(site, one.name):
            if beside and _BESIDE not in one.config:
                _own_identity(site, one, config)
            site.lxd.change_config(one.name, {plan.STARTED: run.now()})
            site.lxd.set_state(one.name, "start")
            _steady(site, one.name)
    return Started(one.name, site.host, _addresses(site, one.name), beside, notes)


def _own_identity(site: Site, one: Instance, config: Config) -> None:
    """Clear what must not be the same on two machines, and write down what the manifest says now."""
    mapped = map_config(config, site.target, name=one.owner)
    edits, _, _, lines = run.fit(site, one.name, config, mapped, beside=True)
    if edits:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "edits"
            mirrors.fetch(site, one.name, run.EDITS_FILE, path)
            known = json.loads(path.read_bytes())
        edited = json.dumps({**known, **lines}, sort_keys=True).encode()
        run.store(site, one.name, run.EDITS_FILE, edited)
        site.lxd.change_config(one.name, {run.EDITED: sha256_of(edited)})
    site.lxd.change_config(one.name, {_BESIDE: "true"})


def _steady(site: Site, name: str) -> None:
    """Raise LxdError unless it still runs after a moment."""
    deadline = time.monotonic() + _STEADY_SECONDS
    while True:
        state = site.lxd.state(name)
        if state["status"] != "Running":
            raise LxdError(
                host=site.host,
                reason=f"{name} was started and is {state['status'].lower()} again",
                step=f"Look there with `lxc info {name} --show-log`",
            )
        if time.monotonic() >= deadline:
            return
        time.sleep(0.25)


def _addresses(site: Site, name: str) -> list[str]:
    network = site.lxd.state(name).get("network") or {}
    return [
        entry["address"]
        for card, found in sorted(network.items())
        for entry in found["addresses"]
        if card != "lo" and entry["scope"] == "global"
    ]
