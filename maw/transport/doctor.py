"""Walks the way to a host, hop by hop, and names the cause of what does not work.

All log-ins are new ones: a shared connection would prove nothing. What to ask is decided by
`chain`, what to make of it by `verdicts`; here it is asked, each question within its time.
"""

from __future__ import annotations

import os
import queue
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maw.errors import MawError, TransportError
from maw.transport import addresses, chain, keys, ssh_config, symptoms, verdicts, verdicts_wsl, wsl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maw.config import SshSettings
    from maw.topology import Host
    from maw.transport.chain import Facts, Question, Step, Subject
    from maw.transport.ssh_config import Paths

# Seconds for all of it, whatever hangs; and for an address to greet.
LIMIT = 27.0
_GREETING_SECONDS = 4.0
# What is read of an answer. None that makes sense is longer.
_MOST = 1 << 16
_PROGRAMS = ("ssh", "ssh-keygen", "ssh-keyscan", "sftp")


def examine(
    host: Host,
    hosts: Sequence[Host],
    settings: SshSettings,
    where: Paths,
    *,
    limit: float = LIMIT,
    clock: Callable[[], float] = time.time,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Step]:
    """Given a host and all of the inventory, look at each hop of the way to it; return the steps.

    Nothing is changed anywhere. `limit` is the most seconds for all of it; `progress` is told what is
    being looked at.
    """
    deadline = time.monotonic() + limit
    windows = next((other for other in hosts if other.name == host.windows), None)
    windows = host if host.is_windows else windows
    pins = {other.name: keys.pinned(where.known_hosts, other.name) for other in hosts}
    subject = chain.Subject(host, windows, tuple(hosts), where, pins)
    with tempfile.TemporaryDirectory(prefix="maw-doctor-") as folder:
        config = Path(folder) / ssh_config.FILE_NAME
        progress("this machine")
        facts = chain.Facts(look_here(subject, settings, config, clock()))
        subject = replace(subject, bridge_keys=_public_halves(facts.here.keys))
        if not host.example:
            progress(", ".join(subject.door.addresses))
            greetings = greet(subject.door.addresses, subject.door.port, min(_GREETING_SECONDS, limit))
            facts = replace(facts, greetings=greetings)
        if facts.answering and not facts.here.config_error:
            _write(subject, settings, config, facts.answering[0])
        while asked := chain.questions(subject, facts, config):
            progress(", ".join(question.name for question in asked))
            if time.monotonic() >= deadline:
                break
            facts = facts.with_answers(_ask_together(asked, deadline, clock))
    return judge(subject, facts)


def judge(subject: Subject, facts: Facts) -> list[Step]:
    """Given all that was found out, return the steps in the order of the way."""
    steps = verdicts.inventory(subject)
    steps += verdicts.here(subject, facts)
    steps += verdicts.network(subject, facts)
    if subject.windows is not None:
        steps += verdicts_wsl.windows(subject, facts, steps)
    if subject.is_wsl:
        steps += verdicts_wsl.inside(subject, facts, steps)
        steps += verdicts_wsl.bridge(subject, facts, steps)
    if not subject.host.is_windows:
        steps += verdicts.login(subject, facts, steps)
    if subject.is_wsl:
        steps += verdicts_wsl.lifetime(subject, facts, steps)
    return steps


def look_here(subject: Subject, settings: SshSettings, config: Path, now: float) -> chain.Here:
    """Given a host, return what matters of this machine for the way to it.

    `config` is where the doctor's own is written, which shares no connections.
    """
    where = subject.where
    missing = tuple(program for program in _PROGRAMS if shutil.which(program) is None)
    version, error = "", ""
    try:
        ssh_config.write(subject.hosts, settings, where)
        _write(subject, settings, config, subject.door.addresses[0])
    except MawError as failed:
        error = str(failed)
    if "ssh" not in missing:
        version = run(["ssh", "-V"], 3).said.strip()
    if "ssh" not in missing and not error:
        # Only ssh knows whether it takes the file.
        answer = run(["ssh", "-F", str(config), "-G", "--", subject.host.name], 3)
        error = "" if answer.status == 0 else symptoms.quoted(answer.said)
    # The name of a socket, as long as it gets while ssh makes it.
    return chain.Here(
        missing=missing,
        ssh_version=version,
        config_error=error,
        control_path=str(where.sockets / f"{where.mark}b{'0' * 40}.{'0' * 16}"),
        keys=_key_files(subject, settings, missing),
        remembered=addresses.chosen(where.sockets, subject.door, seconds=settings.remember_seconds),
        now=now,
    )


def _write(subject: Subject, settings: SshSettings, config: Path, address: str) -> None:
    """Write the doctor's config: one address, so that none is tried again for each question."""
    near = [
        replace(host, addresses=(address,))
        for host in subject.hosts
        if host.name in (subject.host.name, subject.door.name)
    ]
    ssh_config.write(near, settings, replace(subject.where, config=config, shared=False))
    for path, commands in chain.batches(config).items():
        path.write_text(commands, "utf-8")


def _key_files(subject: Subject, settings: SshSettings, missing: Sequence[str]) -> tuple[chain.KeyFile, ...]:
    purposes = [(ssh_config.ADMIN, subject.door)]
    if subject.is_wsl:
        purposes.append((ssh_config.BRIDGE, subject.host))
    found = []
    for purpose, host in purposes:
        named = host.identity_file or settings.identity_file
        stages = [Path(named).expanduser()] if named else subject.where.identities.get(purpose, ())
        found += [_key_file(path, purpose, missing) for path in stages]
    return tuple(found)


def _key_file(path: Path, purpose: str, missing: Sequence[str]) -> chain.KeyFile:
    try:
        mode = path.stat().st_mode & 0o7777
    except FileNotFoundError:
        return chain.KeyFile(path, purpose, exists=False)
    except OSError as error:
        return chain.KeyFile(path, purpose, exists=True, problem=error.strerror or str(error))
    public, problem = "", ""
    if "ssh-keygen" not in missing and not mode & 0o077:
        answer = run(["ssh-keygen", "-y", "-P", "", "-f", str(path)], 3)
        public = answer.stdout.decode("ascii", "replace")
        problem = "" if answer.status == 0 else symptoms.quoted(answer.said) or "ssh-keygen cannot read it"
    return chain.KeyFile(path, purpose, exists=True, mode=mode, problem=problem, public=public)


def _public_halves(found: Sequence[chain.KeyFile]) -> tuple[str, ...]:
    words = [key.public.split() for key in found if key.purpose == ssh_config.BRIDGE]
    return tuple(word[1] for word in words if len(word) > 1)


def greet(candidates: Sequence[str], port: int, seconds: float) -> tuple[chain.Greeting, ...]:
    """Given addresses, knock at all at once and return how each greeted."""
    answers: queue.SimpleQueue[chain.Greeting] = queue.SimpleQueue()
    for address in candidates:
        # Nobody waits for these threads: looking up a name may take longer than any limit.
        knock = threading.Thread(
            target=lambda one: answers.put(_greet(one, port, seconds)), args=(address,), daemon=True
        )
        knock.start()
    found: dict[str, chain.Greeting] = {}
    deadline = time.monotonic() + seconds + 0.5
    while len(found) < len(candidates):
        try:
            greeting = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[greeting.address] = greeting
    late = "its name was not resolved in time"
    return tuple(found.get(one) or chain.Greeting(one, error=late, stage="name") for one in candidates)


def _greet(address: str, port: int, seconds: float) -> chain.Greeting:
    begun = time.monotonic()
    stage, said = "name", b""
    try:
        socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
        stage = "connect"
        with socket.create_connection((address, port), timeout=seconds) as link:
            stage = "greet"
            while not _greeted(said):
                link.settimeout(max(0.01, begun + seconds - time.monotonic()))
                data = link.recv(1024)
                if not data:
                    break
                said += data
    except OSError as error:
        if not _greeted(said):
            return chain.Greeting(address, said, error.strerror or str(error) or "no answer", stage)
    error_text = "" if _greeted(said) else "the connection was closed"
    return chain.Greeting(address, said, error_text, "done", time.monotonic() - begun)


def _greeted(said: bytes) -> bool:
    return b"\n" in said.partition(wsl.GREETING)[2] or len(said) >= _MOST


def _ask_together(
    asked: Sequence[Question], deadline: float, clock: Callable[[], float]
) -> dict[str, chain.Heard]:
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = pool.map(lambda question: ask(question, deadline, clock), asked)
        return dict(zip([question.name for question in asked], answers, strict=True))


def ask(question: Question, deadline: float, clock: Callable[[], float]) -> chain.Heard:
    """Given a question, ask it within its time and return the answer."""
    seconds = max(0.1, min(question.seconds, deadline - time.monotonic()))
    if question.name == "bridge":
        # It greets and then waits, so that its end is not waited for.
        try:
            answer = wsl.probe(question.argv, seconds)
        except TransportError as error:
            return chain.Heard(stderr=str(error).encode(), status=None, at=clock())
        return chain.Heard(answer.stdout, answer.stderr, answer.status, clock())
    heard = replace(run(question.argv, seconds), at=clock())
    if question.reads is None or heard.status != 0:
        return heard
    try:
        with question.reads.open("rb") as file:
            return replace(heard, stdout=file.read(_MOST))
    except OSError as error:
        return replace(heard, stderr=str(error).encode(), status=1)


def run(argv: Sequence[str], seconds: float) -> chain.Heard:
    """Given an argument list, run it here for at most `seconds` and return what it said."""
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            return chain.Heard(stderr=str(error).encode(), status=None)
        with process:
            said = _read(process, deadline)
            patience = 0.0 if len(said) >= _MOST else max(0.0, deadline - time.monotonic())
            try:
                status = process.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                status = None
                # And what it started, such as sftp's ssh. It is not reaped yet, so the number is its own.
                os.killpg(process.pid, signal.SIGKILL)
        errors.seek(0)
        return chain.Heard(said, errors.read(_MOST), status)


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    assert process.stdout is not None
    descriptor, said = process.stdout.fileno(), b""
    while len(said) < _MOST:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(descriptor, _MOST) if readable else b""
        if not data:
            break
        said += data
    return said
