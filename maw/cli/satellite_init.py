"""`cutter satellite-init`: a notebook becomes a satellite, from the first contact to a worker that greets."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maw.cli.provision_contact import Contact, Journal, Subject
from maw.cli.provision_run import options
from maw.errors import MawError, Misuse, NotFinished, TransportError, printable

if TYPE_CHECKING:
    from maw.cli.workspace import Context
    from maw.provision.run import Ended

SCHEMA = "maw.satellite-init/1"
_UNKNOWN = (
    "whether downloads succeed, and how long they take",
    "whether Windows wants a restart, and what comes behind it",
    "what a task finds that an earlier one would have made",
)
# The roles' names for what --core-address gives.
_CORE_ADDRESSES = ("ssh_trust_core_addresses", "windows_host_core_addresses")
_NO_WAY = "all that is done inside the WSL, for there is no way into it yet"


@click.command("satellite-init", short_help="Make a notebook a satellite.")
@click.argument("host")
@click.option("--fingerprint", metavar="SHA256:…", help="What the line that was pasted there printed.")
@click.option(
    "--from",
    "--from-file",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file from that machine with its fingerprint or its public host keys.",
)
@click.option(
    "--core-address",
    metavar="ADDRESS,…",
    help="The addresses that this machine comes from; found out if not given.",
)
@options
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object (docs/schema/satellite-init.json)."
)
def command(
    host: str,
    fingerprint: str | None,
    file: Path | None,
    core_address: str | None,
    check: bool,
    tags: str | None,
    extra_vars: tuple[str, ...],
    vault_password_file: str | None,
    as_json: bool,
) -> None:
    """Make HOST a satellite: a notebook (its Windows' name or its WSL's), or a plain Linux.

    For a new notebook it prints one line, to be pasted there once into a PowerShell as administrator, and
    goes on when the fingerprint that the line prints is pasted back here, or given with --fingerprint or
    --from. Stopped at any moment, the same command goes on where it stopped. At the end it looks whether
    all works, and only then says done.
    """
    from maw.cli import provision_run as shared
    from maw.provision import lock, run
    from maw.transport import host_keys

    wish = run.Wish("satellite", (), check, shared.tags_of(tags), shared.extra_of(extra_vars))
    addresses = tuple(word.strip() for word in (core_address or "").split(",") if word.strip())
    given = host_keys.handed_over(file) if file is not None else frozenset()
    if fingerprint is not None:
        given |= _fingerprint(fingerprint)
    with shared.opened(vault_password_file) as (context, password):
        subject = subject_of(context, host)
        shared.refuse_placeholders(context, subject.names)
        with lock.held(context.workspace.state / run.FOLDER, f"satellite-init {host}") as held:
            journal = Journal(quiet=as_json)
            contact = Contact(context, subject, journal, given, addresses, check)
            making = Making(subject, journal, contact, wish, password, held)
            making.carry_out(as_json=as_json)


def _fingerprint(text: str) -> frozenset[str]:
    from maw.transport import host_keys

    found = host_keys.fingerprints(text)
    if not found:
        raise Misuse(
            reason=f"{text!r} is no fingerprint. One begins with SHA256: and has 43 more characters, as "
            "ssh-keygen -lf prints it."
        )
    return found


def subject_of(context: Context, name: str) -> Subject:
    """Given a host's name, return the satellite that is meant. Raise UnknownHost or Misuse."""
    known = context.topology
    host = known.host(name)
    if host.is_windows:
        distros = known.distros_of(host)
        if len(distros) != 1:
            names = ", ".join(distro.name for distro in distros)
            raise Misuse(
                reason=f"Name the WSL that is meant: {names}."
                if names
                else f"{name} is a Windows without a WSL in {known.inventory}. Add a host with "
                f"maw_windows: {name} and maw_wsl_distro: Ubuntu to group satellites there."
            )
        return Subject(distros[0], host)
    if host.windows is None and "satellites" not in host.roles:
        raise Misuse(
            reason=f"{name} is no satellite in {known.inventory}, and not in its group satellites. "
            "Put it there, or name another."
        )
    return Subject(host, known.windows_of(host))


@dataclass
class Making:
    """One call of the verb, behind all that is refused."""

    subject: Subject
    journal: Journal
    contact: Contact
    wish: Any
    password: bytes
    lock: Path
    ended: Ended | None = None
    finished: bool = False

    def carry_out(self, *, as_json: bool) -> None:
        """Do it, and print what came of it, an error too."""
        error: MawError | None = None
        try:
            self._steps()
        except MawError as caught:
            error = caught
        if as_json:
            click.echo(json.dumps(self._as_json(error), ensure_ascii=True))
        elif error is None:
            self._conclude()
        if error is not None:
            raise error

    @property
    def _context(self) -> Context:
        return self.contact.context

    def _steps(self) -> None:
        if not self.contact.make():
            return
        self._playbook()
        if self.wish.check:
            return
        if self.wish.tags:
            return
        self._look()
        self.finished = True

    def _playbook(self) -> None:
        from dataclasses import replace

        from maw.cli import provision_run as shared
        from maw.provision import report

        names = self.subject.names
        if self.wish.check and self.subject.windows is not None and not self._is_open():
            names = (self.subject.windows.name,)
            self.journal.add("the WSL", "unknown", _NO_WAY)
        given = list(self.contact.core_addresses)
        own = dict.fromkeys(_CORE_ADDRESSES, given) if given else {}
        site = shared.site_of(self._context, self.wish.extra, self.password, {self.subject.door.name: own})
        self.ended = shared.carry_out(self._context, site, replace(self.wish, limit=names), self.lock)
        if not self.journal.quiet:
            shared.show_changes(self.ended)
            shared.show_failures(self.ended)
        failed = self.ended.failure or self.ended.artifacts.failure
        seen = f"{report.summary(self.ended)} (recorded in {shared.where(self.ended)})"
        self.journal.add("playbook", "failed" if failed else "would" if self.wish.check else "done", seen)
        shared.finish(self.ended)

    def _is_open(self) -> bool:
        """Whether the bridge into the WSL is there already."""
        from maw.transport.far import Line

        try:
            return (
                Line(self._context.ssh_paths, self._context.settings.ssh)
                .run(self.subject.linux, "true")
                .status
                == 0
            )
        except TransportError:
            return False

    def _look(self) -> None:
        """Look whether the satellite works: each hop of the way, and the worker. Raise NotFinished."""
        from maw.cli.workspace import Context
        from maw.transport import doctor, ssh_config

        # The playbook has pinned and let in more.
        self.contact.context = Context(self._context.workspace, self._context.settings)
        context, linux = self._context, self.subject.linux
        steps = doctor.examine(
            linux, context.topology.hosts, context.settings.ssh, ssh_config.paths(context.workspace)
        )
        failed = [step for step in steps if step.state == "failed"]
        if failed:
            self.journal.add("the way", "failed", f"{failed[0].title}: {failed[0].seen}")
            raise NotFinished(
                host=linux.name,
                reason=f"the playbook went through, but on the way to it this failed: {failed[0].title}",
                step=f"`cutter doctor {linux.name}` names the cause; then run this again",
            )
        warnings = sum(step.state == "warning" for step in steps)
        note = f", {warnings} with a remark (cutter doctor {linux.name})" if warnings else ""
        self.journal.add("the way", "done", f"{len(steps)} hops and rights looked at{note}")
        self._worker()

    def _worker(self) -> None:
        from maw.offload.client import WorkerClient, worker_arguments

        context, linux = self._context, self.subject.linux
        settings = context.settings
        arguments = [*linux.worker_command, *worker_arguments(settings.offload, settings.text)]
        try:
            with context.transport(linux, warm=True) as transport:
                client = WorkerClient(transport, arguments, lease=settings.offload.lease)
                engines, version = client.engines, client.hello.get("version", "")
                client.close()
        except MawError as error:
            self.journal.add("worker", "failed", str(error))
            raise NotFinished(
                host=linux.name,
                reason=f"its worker does not greet: {str(error).rstrip('.')}",
                step="Mend it and run this again",
            ) from error
        named = ", ".join(f"{engine} ({model})" for engine, model in engines.items()) or "no engine"
        self.journal.add("worker", "done", f"greets, version {version}, with {named}")

    def _unknown(self) -> list[str]:
        if not self.wish.check:
            return []
        inside = any(step.state == "unknown" for step in self.journal.steps) or self.ended is None
        return [*((_NO_WAY,) if inside and self.subject.windows else ()), *_UNKNOWN]

    def _next(self) -> list[str]:
        name = self.subject.linux.name
        if self.finished:
            return ["cutter nodes", f"maw pipeline FILE --on {name}"]
        tail = " --fingerprint SHA256:…" if self.journal.line and not self.contact.given else ""
        return [f"cutter satellite-init {self.subject.door.name}{tail}"]

    def _conclude(self) -> None:
        from maw.cli.show import say, style

        if self.wish.check:
            say("nothing was changed. Check mode cannot know:")
            for one in self._unknown():
                say(f"  - {one}")
            return
        if not self.finished:
            say(f"done with {', '.join(self.wish.tags)}. Whether all works was not looked at.")
        else:
            say(f"{style('done', fg='green')}: {printable(self.subject.linux.name)} is a satellite")
        say(f"next: {', or '.join(self._next())}")

    def _as_json(self, error: MawError | None) -> dict[str, Any]:
        from maw.provision import report

        return {
            "schema": SCHEMA,
            "host": self.subject.linux.name,
            "windows": self.subject.windows.name if self.subject.windows else None,
            "check": self.wish.check,
            "finished": self.finished,
            "steps": [asdict(step) for step in self.journal.steps],
            "line": self.journal.line,
            "script": self.journal.script,
            "provision": report.as_json(self.ended) if self.ended else None,
            "unknown": self._unknown(),
            "next": self._next(),
            "error": str(error) if error else None,
            "error_kind": type(error).__name__ if error else None,
        }
