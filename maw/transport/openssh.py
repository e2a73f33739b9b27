"""A host through the ssh program and the shared connection that it keeps open.

It starts in milliseconds when the connection is there already, so the doors use it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from maw.errors import TransportError
from maw.transport import guard, keys
from maw.transport.base import Transport, check
from maw.transport.failure import from_ssh
from maw.transport.process import GuardProcess, ProcessChannel
from maw.transport.ssh_config import effective

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maw.topology import Host
    from maw.transport.base import Sink


class OpenSshTransport(Transport):
    """Runs commands on a host by ``ssh -F CONFIG``."""

    def __init__(self, host: Host, *, config: Path, known_hosts: Path) -> None:
        self.host = host.name
        self._details = host
        self._known_hosts = known_hosts
        self._config = config
        self._plain: tuple[str, ...] = ("ssh", "-F", str(config), "-T", "-o", "BatchMode=yes")
        self._ssh: tuple[str, ...] = self._plain
        self._guard: GuardProcess | None = None
        self._lock = threading.Lock()

    def _start_guard(self) -> GuardProcess:
        # The guard opens the shared connection, so the command after it finds one.
        if self._guard is None or not self._guard.alive:
            self.close()
            self._ssh = (*self._plain, *self._chosen_address())
            command, _ = guard.remote_command(guard.ARGV, guard.new_run())
            try:
                self._guard = GuardProcess((*self._ssh, "--", self.host, command), explain=self._explain)
            except FileNotFoundError as error:
                raise TransportError(
                    host=self.host,
                    reason="the ssh program is not installed here (apt install openssh-client)",
                ) from error
        return self._guard

    def _chosen_address(self) -> tuple[str, ...]:
        # Else every command would try the addresses again, and wait for a dead one.
        if len(self._details.addresses) == 1:
            return ()
        address = effective(self._config, self.host)["hostname"][0]
        return ("-o", f"HostName={address.replace('%', '%%')}")

    def _explain(self, said: str, status: int) -> TransportError:
        known = ", ".join(key.fingerprint for key in keys.pinned(self._known_hosts, self.host)) or "none"
        return from_ssh(
            said,
            status,
            host=self.host,
            addresses=self._details.addresses,
            user=self._details.user or "this user",
            pinned=known,
        )

    def open(self, argv: Sequence[str], *, on_stderr: Sink, stdin: bool = True) -> ProcessChannel:
        """Given an argument list, start it on the host. Raise TransportError."""
        check(argv)
        with self._lock:
            guard_process = self._start_guard()
        run = guard.new_run()
        command, first = guard.remote_command(guard.keeping_status(argv), run)
        return ProcessChannel(
            (*self._ssh, "--", self.host, command),
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
