"""A host through Fabric, from the same generated OpenSSH config: the fast way when warm.

Fabric accepts any host key by default, even a changed one; here only pinned keys pass.
paramiko leaves Nagle's algorithm on, which costs about 40 ms a command; here it is off.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from maw.errors import (
    AuthenticationRefused,
    CannotRead,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    LinkLost,
    TransportError,
)
from maw.transport import addresses, failure, guard, keys, repairs, wsl
from maw.transport.base import CHUNK, Ending, Transport, check
from maw.transport.process import POLL_MILLISECONDS, STOP_SECONDS
from maw.transport.ssh_config import effective

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import fabric
    import paramiko

    from maw.topology import Host
    from maw.transport.base import Sink
    from maw.transport.ssh_config import Paths

# Linux's numbers; Python names them only where it was built with them.
_TCP_USER_TIMEOUT = 18
# How long sshd may take to notice that a session ended.
FREED_SECONDS = 2.0
# What paramiko says of a server that takes the connection and then is silent or hangs up.
_GREETING = re.compile("banner|No existing session|Negotiation failed")


def connect(host: Host, where: Paths) -> fabric.Connection:
    """Given a host and the generated config, return an open Fabric connection to it.

    An address that was remembered and does not answer now is forgotten, and the others tried.
    Raise HostKeyUnknown, HostKeyChanged, AuthenticationRefused, HostUnreachable, BridgeFailed or
    another TransportError.
    """
    try:
        return _connect(host, where)
    except HostUnreachable:
        if not addresses.forget(where.sockets, host):
            raise
        return _connect(host, where)


def _connect(host: Host, where: Paths) -> fabric.Connection:
    import logging

    import fabric
    import paramiko

    # Its threads log tracebacks of what is raised here too, and Python prints what nobody handles.
    logger = logging.getLogger("paramiko")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    options = effective(where.config, host.name)

    class PinnedConnection(fabric.Connection):  # type: ignore[misc]
        """A connection over a socket that we open, under the name that its key is pinned for."""

        def open_gateway(self) -> socket.socket:
            if host.windows is not None:
                return wsl.open_socket(wsl.proxy_argv(where.config, host), host=host.name)
            return _socket(options)

    identities = [Path(name).expanduser() for name in options.get("identityfile", [])]
    connection = PinnedConnection(
        host.name,
        user=options["user"][0],
        port=22,  # paramiko then looks the key up by the bare name, as HostKeyAlias does
        config=fabric.Config(lazy=True),
        gateway="socket",
        connect_timeout=int(options["connecttimeout"][0]),
        connect_kwargs={
            "key_filename": [str(path) for path in identities if path.exists()],
            "allow_agent": options.get("identitiesonly", ["no"])[0] != "yes",
            "look_for_keys": False,
            "banner_timeout": int(options["connecttimeout"][0]),
            "transport_factory": repairs.transport_class(),
        },
    )
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        if where.known_hosts.exists():
            connection.client.load_host_keys(str(where.known_hosts))
    except (OSError, ValueError, paramiko.hostkeys.InvalidHostKey) as error:
        raise CannotRead(path=where.known_hosts, reason=str(error)) from error
    try:
        connection.open()
    except Exception as error:
        # paramiko's errors have no common root; `translate` hands back what it does not know.
        # Fabric's own `close` does nothing before the log-in is complete.
        connection.client.close()
        raise _explained(error, host, where, user=options["user"][0]) from error
    return connection


def _explained(error: Exception, host: Host, where: Paths, *, user: str) -> Exception:
    translated = translate(error, host, user=user, known_hosts=where.known_hosts)
    if host.windows is None or not isinstance(translated, HostUnreachable):
        return translated
    # All that paramiko saw is the end of a socket; what came out of the bridge says more.
    return failure.of_bridge(host, where) or translated


def _socket(options: dict[str, list[str]]) -> socket.socket:
    address, port = options["hostname"][0], int(options["port"][0])
    link = socket.create_connection((address, port), timeout=int(options["connecttimeout"][0]))
    link.settimeout(None)
    alive = int(options["serveraliveinterval"][0])
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # paramiko's keepalive does not notice that nobody answers; the kernel's does.
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, alive)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, alive)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    link.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, alive * 3 * 1000)
    return link


def translate(error: Exception, host: Host, *, user: str, known_hosts: Path) -> Exception:
    """Given what paramiko or the system raised, return maw's error for it (or itself if unknown)."""
    import paramiko

    if isinstance(error, paramiko.BadHostKeyException):
        known = ", ".join(key.fingerprint for key in keys.pinned(known_hosts, host.name))
        found = keys.HostKey(error.key.get_name(), error.key.get_base64()).fingerprint
        return HostKeyChanged(host=host.name, found=found, pinned=known)
    if isinstance(error, paramiko.AuthenticationException | paramiko.PasswordRequiredException):
        return AuthenticationRefused(host=host.name, user=user, reason=str(error))
    if isinstance(error, paramiko.SSHException):
        if "not found in known_hosts" in str(error):
            return HostKeyUnknown(host=host.name)
        if "No authentication methods available" in str(error):
            return AuthenticationRefused(host=host.name, user=user, reason="there is no private key to show")
        if isinstance(error.__cause__, OSError | EOFError) or _GREETING.search(str(error)):
            return _unreachable(host, error)
        return TransportError(host=host.name, reason=str(error) or type(error).__name__)
    if isinstance(error, OSError | EOFError):
        return _unreachable(host, error)
    if isinstance(
        error, paramiko.ssh_exception.ConfigParseError | paramiko.ssh_exception.CouldNotCanonicalize
    ):
        return TransportError(host=host.name, reason=str(error))
    return error


def _unreachable(host: Host, error: Exception) -> HostUnreachable:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return HostUnreachable(host=host.name, addresses=", ".join(host.addresses), reason=reason)


class FabricTransport(Transport):
    """Runs commands on a host over one Fabric connection that stays open."""

    def __init__(self, host: Host, where: Paths) -> None:
        self.host = host.name
        self._connect: Callable[[], fabric.Connection] = lambda: connect(host, where)
        self._connection: fabric.Connection | None = None
        self._guard: paramiko.Channel | None = None
        self._lock = threading.Lock()
        self._running = 0
        self._ended = threading.Condition()

    @property
    def connection(self) -> fabric.Connection:
        """The Fabric connection, opened at first use. Raise as `connect` does."""
        if self._connection is None or not self._connection.is_connected:
            self._connection = self._connect()
            self._guard = None
        return self._connection

    def _session(self) -> paramiko.Channel:
        """Open a session. sshd takes MaxSessions of them (10 by default): beyond, wait for one to end."""
        import paramiko

        patience = time.monotonic() + FREED_SECONDS
        while True:
            try:
                return repairs.prepare(self.connection.transport.open_session())
            except paramiko.ChannelException as error:
                with self._ended:
                    if self._running:
                        self._ended.wait(POLL_MILLISECONDS / 1000)
                        patience = time.monotonic() + FREED_SECONDS
                    elif time.monotonic() < patience:
                        # The last one ended here; sshd may not have noticed yet.
                        self._ended.wait(0.05)
                    else:
                        raise TransportError(
                            host=self.host, reason=f"sshd there refuses another session ({error})"
                        ) from error
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise LinkLost(host=self.host, reason=str(error) or "the connection is closed") from error

    def count(self, change: int) -> None:
        """Given 1 or -1, note that a session began or ended; those who wait for one are told."""
        with self._ended:
            self._running += change
            self._ended.notify_all()

    def _execute(self, channel: paramiko.Channel, command: str) -> None:
        import paramiko

        try:
            channel.exec_command(command.encode("utf-8", "surrogateescape"))
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise LinkLost(host=self.host, reason=str(error) or "the connection is closed") from error

    def _start_guard(self) -> None:
        if self._guard is not None and not self._guard.closed:
            return
        channel = self._session()
        command, _ = guard.remote_command(guard.ARGV, guard.new_run())
        self._execute(channel, command)
        said = channel.makefile("rb").readline()
        if said != b"ready\n":
            raise TransportError(
                host=self.host, reason=f"its login shell answered {said!r} instead of a guard"
            )
        self._guard = channel

    def tell(self, verb: str, run: str) -> bool:
        """Given a verb and a run, tell the guard; return whether it was still there."""
        if self._guard is None:
            return False
        try:
            repairs.send(self._guard, guard.line(verb, run))
        except (OSError, EOFError):
            return False
        return True

    def open(self, argv: Sequence[str], *, on_stderr: Sink, stdin: bool = True) -> FabricChannel:
        """Given an argument list, start it on the host. Raise TransportError."""
        check(argv)
        with self._lock:
            self._start_guard()
            # On a connection that had to be made anew here, there would be no guard.
            channel = self._session()
            self.count(1)
        run = guard.new_run()
        command, first = guard.remote_command(argv, run)
        try:
            self._begin(channel, run, command)
        except BaseException:
            self.count(-1)
            raise
        return FabricChannel(self, channel, run, on_stderr=on_stderr, stdin=stdin, first_input=first)

    def _begin(self, channel: paramiko.Channel, run: str, command: str) -> None:
        if not self.tell("start", run):
            raise LinkLost(host=self.host, reason="the connection ended before the command began")
        self._execute(channel, command)

    def break_link(self) -> None:
        """Close the connection at once; the guard there then stops what runs."""
        if self._connection is not None:
            self._connection.client.close()

    def close(self) -> None:
        """Close the connection; what still runs there on our behalf is stopped."""
        if self._guard is not None:
            with contextlib.suppress(OSError, EOFError):
                repairs.end_input(self._guard)
        if self._connection is not None:
            self._connection.close()
        self._connection = self._guard = None


class FabricChannel:
    """A command that runs in one session of a Fabric connection."""

    def __init__(
        self,
        transport: FabricTransport,
        channel: paramiko.Channel,
        run: str,
        *,
        on_stderr: Sink,
        stdin: bool,
        first_input: bytes,
    ) -> None:
        self._transport = transport
        self._channel = channel
        self._run = run
        self._on_stderr = on_stderr
        self._stopped: float | None = None
        self._finished = False
        # One descriptor that turns readable for output, errors and the end alike.
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        # A command that is gone already takes no input; `finish` says how it went.
        with contextlib.suppress(BrokenPipeError, LinkLost):
            if first_input:
                self.send(first_input)
        if not stdin:
            self.end_input()

    def send(self, data: bytes | memoryview) -> None:
        """Give the command's standard input these bytes. Raise LinkLost or BrokenPipeError."""
        try:
            repairs.send(self._channel, data)
        except (OSError, EOFError) as error:
            if self._channel.get_transport().is_active():
                raise BrokenPipeError(str(error)) from error
            raise LinkLost(host=self._transport.host, reason="the connection was closed") from error

    def end_input(self) -> None:
        """Close the command's standard input."""
        with contextlib.suppress(OSError, EOFError):
            repairs.end_input(self._channel)

    def receive(self) -> bytes:
        """Return the next bytes of its standard output, b"" at the end; errors go to the sink."""
        channel = self._channel
        while True:
            if channel.recv_stderr_ready():
                self._on_stderr(channel.recv_stderr(CHUNK))
            elif channel.recv_ready():
                return channel.recv(CHUNK)
            elif channel.eof_received or channel.closed:
                if not (channel.recv_ready() or channel.recv_stderr_ready()):
                    return b""
            elif self._overdue():
                return b""
            else:
                self._poll.poll(POLL_MILLISECONDS)

    def _overdue(self) -> bool:
        """Whether it was told to stop and did not: something hides there, or has no ears."""
        return self._stopped is not None and time.monotonic() > self._stopped + STOP_SECONDS

    def stop(self) -> None:
        """Stop the command's process group: TERM, then KILL two seconds later."""
        self._stopped = self._stopped or time.monotonic()
        if not self._transport.tell("stop", self._run):
            self._transport.break_link()

    def finish(self) -> Ending:
        """Wait for the end and return it. Raise LinkLost if the link went before the command did."""
        try:
            return self._ending()
        finally:
            if not self._finished:
                self._finished = True
                self._transport.count(-1)

    def _ending(self) -> Ending:
        while not self._channel.status_event.wait(POLL_MILLISECONDS / 1000) and not self._overdue():
            pass
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        signal_name = repairs.exit_signal(self._channel)
        self._transport.tell("end", self._run)
        with contextlib.suppress(OSError, EOFError):
            repairs.close(self._channel)
        if status >= 0:
            return Ending(status)
        if signal_name:
            return Ending(None, signal_name)
        raise LinkLost(host=self._transport.host, reason="the connection ended before the command did")
