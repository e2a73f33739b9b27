"""A host through the ssh program and the shared connection that it keeps open.

It starts in milliseconds when the connection is there already, so the doors use it.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from maw.errors import AuthenticationRefused, HostSilent, HostUnreachable, TransportError
from maw.transport import addresses, failure, guard
from maw.transport.base import Transport, check
from maw.transport.process import GuardProcess, ProcessChannel
from maw.transport.ssh_config import effective

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.topology import Host
    from maw.transport.base import Sink
    from maw.transport.ssh_config import Paths


class OpenSshTransport(Transport):
    """Runs commands on a host by ``ssh -F CONFIG``.

    What is not over at the `deadline` (of `time.monotonic`), connecting included, is let go of at
    once: HostSilent before the host said anything, LinkLost after. An `address` is one of the host's
    that is known to answer, an `alias` another name of the config that leads to it, with another key.
    """

    def __init__(
        self,
        host: Host,
        where: Paths,
        *,
        deadline: float = math.inf,
        address: str | None = None,
        alias: str | None = None,
    ) -> None:
        self.host = host.name
        self._name = alias or host.name
        self._details = host
        self._where = where
        self._deadline = deadline
        self._address = address
        self._begun = time.monotonic()
        self._plain: tuple[str, ...] = ("ssh", "-F", str(where.config), "-T", "-o", "BatchMode=yes")
        self._ssh: tuple[str, ...] = self._plain
        self._guard: GuardProcess | None = None
        self._lock = threading.Lock()

    def _start_guard(self) -> GuardProcess:
        # The guard opens the shared connection, so the command after it finds one.
        if self._guard is None or not self._guard.alive:
            self.close()
            try:
                self._guard = self._new_guard()
            except HostUnreachable:
                # The address that was remembered may be of a network that it has left.
                if self._address or not addresses.forget(self._where.sockets, self._details):
                    raise
                self._guard = self._new_guard()
        return self._guard

    def _new_guard(self) -> GuardProcess:
        self._ssh = (*self._plain, *self._chosen_address())
        command, _ = guard.remote_command(guard.ARGV, guard.new_run())
        try:
            return GuardProcess(
                (*self._ssh, "--", self._name, command), explain=self._explain, deadline=self._deadline
            )
        except FileNotFoundError as error:
            raise TransportError(
                host=self.host,
                reason="the ssh program is not installed here (apt install openssh-client)",
            ) from error

    def _chosen_address(self) -> tuple[str, ...]:
        # Else every command would try the addresses again, and wait for a dead one.
        if len(self._details.addresses) == 1 or self._details.windows is not None:
            return ()
        address = self._address or effective(self._where.config, self._name)["hostname"][0]
        return ("-o", f"HostName={address.replace('%', '%%')}")

    @property
    def _late(self) -> bool:
        return time.monotonic() >= self._deadline

    def _explain(self, said: str, status: int) -> TransportError:
        if self._late:
            seconds = f"{self._deadline - self._begun:.0f}"
            return HostSilent(host=self.host, seconds=seconds, reason="nothing came back")
        # Looking at the bridge takes a moment longer, and is worth it.
        seconds_left = max(0.3, self._deadline - time.monotonic())
        error = failure.explain(self._details, self._where, said, status, seconds=min(15.0, seconds_left))
        if self._name != self.host and isinstance(error, AuthenticationRefused):
            hint = f"{error.facts['reason']} (as {self._name}: `cutter keys check {self.host}` looks why)"
            return AuthenticationRefused(host=self.host, user=error.facts["user"], reason=hint)
        return error

    def open(self, argv: Sequence[str], *, on_stderr: Sink, stdin: bool = True) -> ProcessChannel:
        """Given an argument list, start it on the host. Raise TransportError."""
        check(argv)
        with self._lock:
            guard_process = self._start_guard()
        run = guard.new_run()
        command, first = guard.remote_command(guard.keeping_status(argv), run)
        return ProcessChannel(
            (*self._ssh, "--", self._name, command),
            host=self.host,
            guard_process=guard_process,
            run=run,
            on_stderr=on_stderr,
            stdin=stdin,
            far=True,
            first_input=first,
        )

    def close(self) -> None:
        """Stop what still runs there on our behalf; the shared connection stays for the next call."""
        if self._guard is not None:
            self._guard.close()
            self._guard = None
