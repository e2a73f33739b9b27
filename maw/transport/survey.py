"""Asks one machine about itself within a limit: the way there, its Windows, and what it says."""

from __future__ import annotations

import math
import queue
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maw import files
from maw.errors import HostSilent, HostUnreachable, LinkLost, MawError, TransportError, printable
from maw.transport import addresses, failure, status, wsl
from maw.transport.local import LOCAL, LocalTransport
from maw.transport.openssh import OpenSshTransport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.config import SshSettings
    from maw.topology import Host
    from maw.transport.base import Transport
    from maw.transport.ssh_config import Paths

# How long an earlier address may lag behind a later one that answered, as the one in the house
# behind the one of the VPN.
HEAD_START = 0.3
# What Windows is asked ends earlier than the rest, for it may explain why the rest is silent.
WINDOWS_EARLIER = 0.3
# Beyond the limit, to find out of a machine that said nothing whether it is there at all.
LAST_LOOK = 0.2
# Bytes of an answer that are kept; no honest one is as long.
_MOST = 1 << 20


@dataclass(frozen=True)
class Windows:
    """What a Windows answered, or the error that says why it did not."""

    error: MawError | None = None
    said: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What came of asking one machine: facts, or the error that says why there are none.

    `windows` is what the Windows of a WSL answered; `seconds` is how long all of it took.
    """

    facts: status.Facts
    address: str | None = None
    error: MawError | None = None
    windows: Windows | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Survey:
    """Asks machines; `limit` is the seconds for each, connecting included."""

    where: Paths | None
    settings: SshSettings
    limit: float
    # The Windows hosts by name.
    windows: dict[str, Host] = field(default_factory=dict)

    def ask(self, host: Host | None) -> Answer:
        """Given a host (None is this machine), ask it. What is wrong with it is in the answer."""
        begun = time.monotonic()
        deadline = begun + self.limit
        try:
            answer = self._here(deadline) if host is None else self._there(host, deadline)
        except MawError as error:
            answer = Answer(status.Facts(), error=error)
        except OSError as error:
            # This machine's own trouble, such as too many processes; the others are still told of.
            failed = TransportError(host=host.name if host else LOCAL, reason=str(error))
            answer = Answer(status.Facts(), error=failed)
        return Answer(answer.facts, answer.address, answer.error, answer.windows, time.monotonic() - begun)

    def _here(self, deadline: float) -> Answer:
        worker = (sys.executable, "-m", "maw.offload.worker")
        facts, error = _facts(LocalTransport(deadline=deadline), worker, deadline)
        if error is not None and time.monotonic() >= deadline:
            error = self._silent_error(LOCAL, "its shell is busy or hangs")
        return Answer(facts, error=error)

    def _there(self, host: Host, deadline: float) -> Answer:
        address, error = self._address(host, deadline)
        if error is not None:
            return Answer(status.Facts(), error=error, windows=Windows(error) if host.windows else None)
        if host.is_windows:
            windows = self._windows(host, status.WINDOWS_VERSION, deadline)
            facts = status.Facts(heard=windows.error is None, system=status.windows_version(windows.said))
            return Answer(facts, address, windows.error)
        return self._linux(host, address, deadline)

    def _linux(self, host: Host, address: str, deadline: float) -> Answer:
        assert self.where is not None
        # Windows is asked beside its WSL, so that it costs no time.
        with ThreadPoolExecutor(1) as pool:
            asked = None
            if host.windows is not None:
                way = self.windows[host.windows]
                asked = pool.submit(self._windows, way, status.WSL_VERSION, deadline - WINDOWS_EARLIER)
            transport = OpenSshTransport(host, self.where, deadline=deadline, address=address)
            # Of the others no worker is wanted, so that none is missed.
            worker = () if {"core", "proxmox"} & set(host.roles) else host.worker_command
            worker = host.worker_command if "satellites" in host.roles else worker
            facts, error = _facts(transport, worker, deadline)
            windows = asked.result() if asked else None
        if isinstance(error, (HostSilent, LinkLost)) and time.monotonic() >= deadline:
            error = self._silent(host, address, windows)
        return Answer(facts, address, error, windows)

    def _address(self, host: Host, deadline: float) -> tuple[str, MawError | None]:
        """Choose among several addresses at once, where ssh would try one after the other."""
        if len(host.addresses) == 1:
            return host.addresses[0], None
        assert self.where is not None
        chosen, reasons = race(host.addresses, host.port, deadline)
        if chosen is None:
            reason = "; ".join(f"{address}: {reasons[address]}" for address in host.addresses)
            return "", HostUnreachable(host=host.name, addresses=", ".join(host.addresses), reason=reason)
        if self.settings.remember_seconds > 0:
            memory = addresses.memory(self.where.sockets, host)
            files.write_atomically(memory, f"{int(time.time())} {chosen}\n")
        return chosen, None

    def _windows(self, way: Host, question: str, deadline: float) -> Windows:
        assert self.where is not None
        argv = ["ssh", "-F", str(self.where.config), "-T", "-o", "BatchMode=yes", "--", way.name, question]
        try:
            answer = wsl.probe(argv, max(0.0, deadline - time.monotonic()))
        except TransportError as error:
            return Windows(error)
        if answer.status is None:
            return Windows(self._silent(way, way.addresses[0], None))
        # 255 is what ssh ends with, and wsl.exe too (-1); but ssh itself says nothing on standard output.
        if answer.status == 255 and not answer.stdout:
            said = answer.stderr.decode("utf-8", "replace")
            return Windows(failure.explain(way, self.where, said, answer.status))
        return Windows(said=answer.stdout)

    def _silent(self, host: Host, address: str, windows: Windows | None) -> HostSilent:
        """Return the error for a host that said nothing, with what can be told of the reason."""
        if windows is not None and windows.error is None:
            reason = f"its Windows ({host.windows}) does, so its WSL hangs or is just starting"
        elif accepts(address, host.port, LAST_LOOK) is None:
            reason = (
                f"{address} takes connections at port {host.port}, but nothing came: it is busy or just "
                "waking up, or its sshd or its shell's start-up files hang"
            )
        else:
            reason = f"nothing takes connections at {address}, port {host.port}: it is off, asleep or away"
        return self._silent_error(host.name, reason)

    def _silent_error(self, name: str, reason: str) -> HostSilent:
        return HostSilent(host=name, seconds=f"{self.limit:g}", reason=reason)


def _facts(
    transport: Transport, worker: Sequence[str], deadline: float
) -> tuple[status.Facts, MawError | None]:
    """Ask; what was said until the deadline is good, though the rest is missing."""
    said = bytearray()
    error: MawError | None = None

    def keep(data: bytes) -> None:
        if len(said) < _MOST:
            said.extend(data)

    try:
        with transport:
            result = transport.run(status.argv(worker, deadline - time.monotonic()), on_stdout=keep)
        if not result.ok:
            reason = f"its shell ended with {result.ending.code}; log in and look at its start-up files"
            error = TransportError(host=transport.host, reason=reason)
    except MawError as failed:
        error = failed
    facts = status.read(bytes(said))
    return facts, None if facts.heard and time.monotonic() >= deadline else error


def race(candidates: tuple[str, ...], port: int, deadline: float) -> tuple[str | None, dict[str, str]]:
    """Given addresses in order of preference, return the best that takes a connection in time.

    All are tried at once; when one answers, those before it have a moment more. Also return, for
    those that do not, why.
    """
    answers: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()
    reasons = dict.fromkeys(candidates, "no answer")

    def knock(address: str) -> None:
        answers.put((address, accepts(address, port, max(0.1, deadline - time.monotonic()))))

    for address in candidates:
        # Nobody waits for these threads: looking up a name may take longer than any limit.
        threading.Thread(target=knock, args=(address,), daemon=True).start()
    waiting, best, until = list(candidates), math.inf, deadline
    while waiting and candidates.index(waiting[0]) < best:
        try:
            address, reason = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        waiting.remove(address)
        if reason is not None:
            reasons[address] = reason
            continue
        best = min(best, candidates.index(address))
        until = min(until, time.monotonic() + HEAD_START)
    return (candidates[int(best)] if best < math.inf else None), reasons


def accepts(address: str, port: int, seconds: float) -> str | None:
    """Return None if something at that address takes a connection in time, else why not."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except OSError as error:
        return printable(error.strerror or str(error))
    return None
