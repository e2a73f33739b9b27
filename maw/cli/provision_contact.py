"""The first contact with a machine: keys, the line to paste there, its host key pinned, a log-in proven."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from maw import files
from maw.cli.show import say, style
from maw.cli.workspace import Context
from maw.errors import (
    AuthenticationRefused,
    HostKeyChanged,
    HostUnreachable,
    KeysError,
    LinkLost,
    Misuse,
    NotFinished,
    TransportError,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from maw.topology import Host
    from maw.transport.keys import HostKey

_MARKS = {"done": "✓", "would": "·", "waiting": "…", "failed": "✗", "unknown": "?"}
_COLOURS = {"done": "green", "would": "cyan", "waiting": "yellow", "failed": "red", "unknown": "yellow"}
_PURPOSES = ("bridge", "admin")
_FOLDER = "first-contact"
# What proves a log-in; every shell has it.
_HELLO = "echo maw"
# How often a person may paste something that is none.
_TRIES = 3


@dataclass(frozen=True)
class Subject:
    """The satellite to be, and the Windows that it is in, None for a plain Linux."""

    linux: Host
    windows: Host | None

    @property
    def door(self) -> Host:
        """The machine that is logged in to first."""
        return self.windows or self.linux

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its hosts."""
        return (self.door.name,) if self.windows is None else (self.windows.name, self.linux.name)


@dataclass(frozen=True)
class Step:
    """A step and how it stands: done, would, waiting, failed or unknown."""

    name: str
    state: str
    seen: str


@dataclass
class Journal:
    """The steps of this call; each is shown as it comes, unless all are printed as JSON at the end."""

    quiet: bool
    steps: list[Step] = field(default_factory=list)
    line: str | None = None
    script: str | None = None

    def add(self, name: str, state: str, seen: str) -> None:
        """Note how a step stands."""
        self.steps.append(Step(name, state, seen))
        if not self.quiet:
            say(f"{style(_MARKS[state], fg=_COLOURS[state])} {name}: {printable(seen)}")


@dataclass
class Contact:
    """The way to the first log-in. `given` are fingerprints that were read on the machine itself."""

    context: Context
    subject: Subject
    journal: Journal
    given: frozenset[str]
    core_addresses: tuple[str, ...]
    check: bool

    def make(self) -> bool:
        """Go as far as possible; return whether the machine lets us in. Raise NotFinished and what stops it.

        With `check`, nothing is changed, and False means that it would not be let in yet.
        """
        ready = self._keys()
        if ready:
            self._compare()
            self._pin()
            doubt = self._doubt()
            if doubt is None:
                self.journal.add("first contact", "done", f"{self.subject.door.name} lets us in, proven anew")
                return True
        else:
            doubt = "the keys are not made yet"
        if self.check:
            self._would(doubt)
            return False
        self._instruct(doubt)
        return self._wait(doubt)

    @property
    def _own_key(self) -> str | None:
        """The private key of the user's own that the machine is reached with, None if it is maw's."""
        return self.subject.door.identity_file or self.context.settings.ssh.identity_file or None

    def _keys(self) -> bool:
        from maw.transport import keypairs

        if self._own_key:
            self.journal.add("keys", "done", f"{self._own_key} is your own")
            return True
        folder = self.context.workspace.keys
        missing = [one for one in _PURPOSES if not any(keypairs.stages(folder, one))]
        if missing and self.check:
            self.journal.add("keys", "would", f"would make {' and '.join(missing)} in {folder}")
            return False
        if missing:
            keypairs.prepare(folder)
            with keypairs.locked(folder):
                for purpose in _PURPOSES:
                    keypairs.make(folder, purpose)
            self._renew()
        self.journal.add("keys", "done", f"{'made' if missing else 'there already'} in {folder}")
        return True

    def _renew(self) -> None:
        """Look anew at what the generated config depends on."""
        self.context = Context(self.context.workspace, self.context.settings)

    def _public(self, purpose: str) -> HostKey:
        from maw.transport import keypairs

        folder = self.context.workspace.keys
        path = keypairs.path_of(folder, purpose)
        if self._own_key:
            raise KeysError(
                path=self._own_key,
                reason="is a key of your own, which maw does not install",
                step=f"Let it in on {self.subject.door.name} yourself, or take it out of the inventory and "
                "maw.toml so that maw's own keys are used",
            )
        found = keypairs.load(path)
        if found is None:
            raise keypairs.missing(path)
        return found.key

    def _pinned(self) -> tuple[HostKey, ...]:
        from maw.transport import keys

        return keys.pinned(self.context.workspace.known_hosts, self.subject.door.name)

    def _compare(self) -> None:
        """What was given now must not contradict what is pinned. Raise HostKeyChanged."""
        known = {key.fingerprint for key in self._pinned()}
        if known and self.given and not known & self.given:
            raise HostKeyChanged(
                host=self.subject.door.name,
                found=_listed(self.given),
                pinned=f"what is pinned, {_listed(known)}",
            )

    def _pin(self) -> None:
        """Pin the host key that the machine shows, if it is one of those given. Raise HostKeyChanged."""
        from maw.transport import keys

        door = self.subject.door
        if not self.given or self.check or self._pinned():
            return
        shown = keys.shown(door)
        accepted = [key for key in shown if key.fingerprint in self.given]
        if not accepted:
            found = _listed(key.fingerprint for key in shown)
            raise HostKeyChanged(host=door.name, found=found, pinned=f"what you gave, {_listed(self.given)}")
        keys.pin(self.context.workspace.known_hosts, door.name, accepted)
        self._renew()
        self.journal.add("host key", "done", f"pinned {_listed(key.fingerprint for key in accepted)}")

    def _doubt(self) -> str | None:
        """Log in anew, with maw's own key alone; return why that is not possible yet, None if it is.

        Raise HostKeyChanged, or another TransportError that no first contact mends.
        """
        from maw.transport.far import Line
        from maw.transport.ssh_config import ADMIN

        if not self._pinned():
            return "its host key is not pinned"
        context, door = self.context, self.subject.door
        line = Line(context.ssh_paths, context.settings.ssh)
        if not self._own_key:
            line = line.only(ADMIN, context.workspace.keys / ADMIN, context.topology.hosts)
        try:
            said = line.run(door, _HELLO)
        except (AuthenticationRefused, HostUnreachable, LinkLost) as error:
            return str(error).rstrip(".")
        if said.status != 0 or b"maw" not in said.stdout:
            raise TransportError(host=door.name, reason=f"`{_HELLO}` there says: {said.text}")
        return None

    def _would(self, doubt: str) -> None:
        door = self.subject.door.name
        self.journal.add("first contact", "would", f"{doubt}; would print a line to paste on {door}")

    def _instruct(self, doubt: str) -> None:
        """Write the script, print the line that runs it, and say what it does."""
        self.journal.add("first contact", "waiting", doubt)
        door = self.subject.door
        if self.subject.windows is None:
            public = self.context.workspace.keys / "admin.pub"
            self.journal.line = _copy_id(door, public, own=bool(self._own_key))
            words = (
                f"Run this here; it asks once for the password of {door.user or 'its account'}, "
                "and lets the key `admin` in. Then read the host key's fingerprint there: "
                "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
            )
        else:
            script = self._script()
            path = self.context.workspace.state / _FOLDER / f"{door.name}.ps1"
            from maw.provision import first_contact

            self.journal.line = first_contact.one_line(script)
            files.write_atomically(path, script)
            self.journal.script = str(path)
            words = (
                f"Paste this once into a PowerShell as administrator on {door.name}. It installs and starts "
                "Windows' OpenSSH server, lets in the keys of this workspace and nobody else's, opens the "
                f"firewall for this machine alone, and prints the host key's fingerprint. Its text: {path}"
            )
        if not self.journal.quiet:
            say()
            say(words)
            say()
            say(self.journal.line)
            say()

    def _script(self) -> str:
        from maw.provision import first_contact
        from maw.transport import core_address

        door = self.subject.door
        addresses = self.core_addresses or core_address.towards(door)
        if not addresses:
            raise Misuse(
                reason=f"There is no route to {door.name} now, so that this machine's address is not known. "
                "Give it: --core-address 192.168.1.129"
            )
        public = first_contact.Keys(admin=self._public("admin"), bridge=self._public("bridge"))
        distro = self.subject.linux.wsl_distro or ""
        return first_contact.script(public, addresses, door.windows_shell or "cmd", distro)

    def _wait(self, doubt: str) -> bool:
        """On a terminal, take the fingerprint and try again; else end here. Raise NotFinished."""
        host = self.subject.door.name
        if self.journal.quiet or not sys.stdin.isatty():
            pinned = bool(self._pinned())
            again = f"cutter satellite-init {host}" + ("" if pinned else " --fingerprint SHA256:…")
            raise NotFinished(
                host=self.subject.linux.name,
                reason=doubt,
                step=f"Run the line above there, then go on here with: {again}",
            )
        for _ in range(_TRIES):
            self._ask()
            self._pin()
            still = self._doubt()
            if still is None:
                self.journal.add("first contact", "done", f"{host} lets us in, proven by a log-in")
                return True
            click.echo(f"not yet: {still}", err=True)
        raise NotFinished(
            host=self.subject.linux.name,
            reason="it still does not let us in",
            step=f"Look whether the line ended there without an error, then: cutter satellite-init {host}",
        )

    def _ask(self) -> None:
        from maw.transport import host_keys

        if self._pinned():
            click.prompt("Press Enter when it has run", default="", show_default=False, err=True)
            return
        text: str = click.prompt("When it has run, paste the fingerprint that it printed", err=True)
        self.given = host_keys.fingerprints(text)
        if not self.given:
            click.echo(
                "That holds no fingerprint; one begins with SHA256: and has 43 more characters.", err=True
            )


def _copy_id(door: Host, public: Path, *, own: bool) -> str:
    port = ["-p", str(door.port)] if door.port != 22 else []
    key = [] if own else ["-f", "-i", str(public)]
    return shlex.join(["ssh-copy-id", *key, *port, f"{door.user or 'root'}@{door.addresses[0]}"])


def _listed(fingerprints: Iterable[str]) -> str:
    return ", ".join(sorted(fingerprints))
