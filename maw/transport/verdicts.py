"""What the doctor makes of what it heard: one step for each thing that was looked at. Pure.

This has this machine and the network; `verdicts_wsl` has Windows and its WSL.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from maw.errors import printable
from maw.transport import symptoms
from maw.transport.chain import State, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maw.topology import Host
    from maw.transport.chain import Facts, Greeting, Heard, KeyFile, Subject
    from maw.transport.keys import HostKey

# Bytes that Linux allows for the path of a socket.
LONGEST_SOCKET = 107
# Without these steps nothing further can be looked at.
BEFORE = ("inventory", "programs", "ssh-config", "address", "host-key")
# Seconds between two clocks that are remarkable, and that are wrong.
_CLOCK_NOTABLE, _CLOCK_WRONG = 60, 600
# Before this was written, 2026-01-01, no clock can be.
_EARLIEST = 1_767_225_600


def ok(name: str, title: str, seen: str) -> Step:
    """Return a step that went well."""
    return Step(name, title, State.OK, printable(seen))


def bad(name: str, title: str, seen: str, why: symptoms.Cause, state: State = State.FAILED) -> Step:
    """Return a step that did not go well, with its cause."""
    return Step(name, title, state, printable(seen), why.name, why.cause, why.step)


def skipped(name: str, title: str, because: str) -> Step:
    """Return a step that could not be looked at."""
    return Step(name, title, State.SKIPPED, printable(because))


def find(steps: Iterable[Step], *names: str) -> Step | None:
    """Return the first of these steps that did not go well, as the reason why a later one is skipped."""
    return next((s for s in steps if s.name in names and s.state in (State.FAILED, State.SKIPPED)), None)


def inventory(subject: Subject) -> list[Step]:
    """Judge the host's entry in the inventory."""
    host, door = subject.host, subject.door
    title = "inventory"
    seen = ", ".join(door.addresses) + f", port {door.port}"
    if host.example:
        why = symptoms.named("example", host=host.name, address=host.addresses[0])
        return [bad("inventory", title, seen, why)]
    if subject.is_wsl:
        seen = f"distro {host.wsl_distro} of {door.name}, {seen}"
    steps = [ok("inventory", title, seen + (f", account {door.user}" if door.user else ""))]
    for other in subject.hosts:
        reason = _same(subject, door, other) or (_same(subject, host, other) if subject.is_wsl else "")
        if reason:
            why = symptoms.named("same-machine", host=host.name, other=other.name, said=reason)
            steps.append(bad("inventory", title, f"{other.name} too", why, State.WARNING))
    return steps


def _same(subject: Subject, host: Host, other: Host) -> str:
    """Return why two entries seem to be one machine; "" if they do not, or are its two sides."""
    if other.name in (subject.host.name, subject.door.name):
        return ""
    key = next(
        (key for key in subject.pins.get(host.name, ()) if key in subject.pins.get(other.name, ())), None
    )
    if key is not None:
        return f"both are pinned to {key.fingerprint}"
    if host.windows or other.windows:
        # All distros of a Windows have its address.
        return ""
    shared = [address for address in host.addresses if address in other.addresses]
    return f"both are at {shared[0]}, port {host.port}" if shared and host.port == other.port else ""


def here(subject: Subject, facts: Facts) -> list[Step]:
    """Judge this machine: its programs, the generated config, the keys."""
    steps = []
    known = facts.here
    if known.missing:
        why = symptoms.named("no-program", said=", ".join(known.missing))
        steps.append(bad("programs", "programs here", f"missing: {', '.join(known.missing)}", why))
    else:
        steps.append(ok("programs", "programs here", known.ssh_version))
    length = len(known.control_path.encode("utf-8", "surrogateescape"))
    if length > LONGEST_SOCKET:
        why = symptoms.named("control-path", said=f"{length} bytes: {known.control_path}")
        steps.append(bad("ssh-config", "ssh config", f"{length} bytes", why))
    elif known.config_error:
        name = "folder-open" if "private folder" in known.config_error else "config-refused"
        steps.append(
            bad("ssh-config", "ssh config", "cannot be used", symptoms.named(name, said=known.config_error))
        )
    else:
        seen = f"{subject.where.config}, sockets of {length} of {LONGEST_SOCKET} bytes"
        steps.append(ok("ssh-config", "ssh config", seen))
    return [*steps, _keys(known.keys)]


def _keys(keys: Sequence[KeyFile]) -> Step:
    title = "private keys"
    if not keys:
        return ok("keys", title, "none of the cluster's own: those of the user, or an agent's")
    there = [key for key in keys if key.exists]
    if not there:
        paths = ", ".join(str(key.path) for key in keys)
        return bad("keys", title, "missing", symptoms.named("key-file-bad", said=f"there is no {paths}"))
    for key in there:
        if key.mode & 0o077:
            why = symptoms.named("key-file-open", said=f"{key.path} has mode {key.mode:04o}")
            return bad("keys", title, f"{key.path} has mode {key.mode:04o}", why)
        if key.problem:
            why = symptoms.named("key-file-bad", said=f"{key.path}: {key.problem}")
            return bad("keys", title, "cannot be used", why)
    return ok("keys", title, ", ".join(f"{key.path.name} ({key.purpose})" for key in there))


def network(subject: Subject, facts: Facts) -> list[Step]:
    """Judge each address, and the host key that it shows."""
    door = subject.door
    taken = facts.here.remembered or next(iter(facts.answering), None)
    steps = []
    for greeting in facts.greetings:
        step = _address(door, greeting)
        if step.state is State.FAILED and facts.answering:
            # Another one answers: that is what several addresses are for.
            step = replace(step, state=State.WARNING)
        if len(facts.greetings) > 1 and greeting.address == taken:
            step = replace(step, seen=f"{step.seen}; taken now")
        steps.append(step)
    asked = [(address, facts.heard.get(f"keys of {address}")) for address in facts.answering]
    return [*steps, *(_host_key(subject, address, heard) for address, heard in asked)]


def _address(door: Host, greeting: Greeting) -> Step:
    title = f"address {greeting.address}"
    facts: dict[str, object] = {"host": door.name, "address": greeting.address, "said": greeting.error}
    if greeting.ok:
        line = greeting.said[greeting.said.index(b"SSH-") :].split(b"\n")[0]
        return ok("address", title, f"{symptoms.quoted(symptoms.text_of(line))} in {greeting.seconds:.2f} s")
    if greeting.stage == "name":
        return bad("address", title, greeting.error, symptoms.named("no-such-name", **facts))
    if greeting.stage == "connect":
        refused, away = "refused" in greeting.error, "route" in greeting.error or "unreach" in greeting.error
        name = "nothing-listens" if refused else "no-route" if away else "no-answer"
        return bad("address", title, greeting.error, symptoms.named(name, **facts))
    if greeting.said:
        said = symptoms.quoted(symptoms.text_of(greeting.said))
        return bad("address", title, said, symptoms.named("not-ssh", **{**facts, "said": said}))
    return bad("address", title, f"connects, but {greeting.error}", symptoms.named("silent", **facts))


def _host_key(subject: Subject, address: str, heard: Heard | None) -> Step:
    door = subject.door
    title = f"host key at {address}"
    if heard is None:
        return skipped("host-key", title, "it was not asked for: no ssh-keyscan here, or the time was up")
    shown = _scanned(heard.stdout)
    if not shown:
        return skipped("host-key", title, "it showed none in time")
    pinned = subject.pins.get(door.name, ())
    same = next((key for key in shown if key in pinned), None)
    if same is not None:
        return ok("host-key", title, f"{same.fingerprint}, as pinned")
    fingerprints = ", ".join(key.fingerprint for key in shown)
    other = next((name for name, keys in subject.pins.items() if set(keys) & set(shown)), None)
    if other is not None:
        facts = {"host": door.name, "other": other, "address": address}
        return bad("host-key", title, fingerprints, symptoms.named("host-key-elsewhere", **facts))
    name = "host-key-changed" if pinned else "host-key-unknown"
    return bad("host-key", title, fingerprints, symptoms.named(name, host=door.name))


def _scanned(said: bytes) -> tuple[HostKey, ...]:
    from maw.transport import keys

    words = [line.split() for line in said.decode("utf-8", "replace").splitlines()]
    return tuple(keys.HostKey(word[1], word[2]) for word in words if len(word) == 3 and word[0] != "#")


def login(subject: Subject, facts: Facts, before: Sequence[Step]) -> list[Step]:
    """Judge the log-in to the host itself, a Linux; then its clock, and LXD."""
    names = (*BEFORE, "bridge") if subject.is_wsl else BEFORE
    title = f"log-in to {subject.host.name}"
    heard = facts.heard.get("login")
    if heard is None:
        return [skipped("login", title, because(before, names)), *_own_clock(facts.here.now)]
    if heard.status != 0 or b"all done" not in heard.stdout:
        why = of_login(subject, subject.host, heard)
        return [
            bad("login", title, symptoms.quoted(symptoms.text_of(heard.stderr)) or "nothing came", why),
            *_own_clock(facts.here.now),
        ]
    words = dict(line.partition(" ")[::2] for line in heard.stdout.decode("utf-8", "replace").splitlines())
    lxd = "LXD runs" if words.get("lxd") == "yes" else "no LXD runs, which only mirrors need"
    steps = [ok("login", title, f"as {subject.host.user or 'this user'}; {lxd}")]
    return [*steps, _clock(subject.host.name, words.get("clock", ""), heard.at)]


def of_login(subject: Subject, host: Host, heard: Heard) -> symptoms.Cause:
    """Given the answer to a log-in that failed, return its cause."""
    known = symptoms.of_ssh(
        heard.said,
        host=host.name,
        user=host.user or "this user",
        address=", ".join(subject.door.addresses),
        windows=host.windows,
    )
    if known is not None:
        return known
    if heard.status is None:
        return symptoms.named("silent", host=host.name, address=host.name)
    said = symptoms.quoted(symptoms.text_of(heard.stdout + heard.stderr)) or "nothing"
    return symptoms.named("shell-broken", host=host.name, said=f"status {heard.status}, {said}")


def _own_clock(now: float) -> list[Step]:
    """Judge our own clock, where there is none to compare it with."""
    if now >= _EARLIEST:
        return []
    seen = f"here it is {_time(now)}, which cannot be"
    return [bad("clock", "clocks", seen, symptoms.named("clock", said=seen))]


def _time(value: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))


def _clock(host: str, said: str, at: float) -> Step:
    if not (said.isascii() and said.isdecimal() and len(said) < 12):
        return skipped("clock", "clocks", f"{host} did not tell its time")
    there = int(said)
    away = abs(there - at)
    if away <= _CLOCK_NOTABLE:
        return ok("clock", "clocks", f"{away:.0f} s apart")
    seen = f"here it is {_time(at)}, on {host} {_time(there)}"
    wrong = [name for name, value in (("this machine", at), (host, there)) if value < _EARLIEST]
    said = seen + (f"; the one of {' and of '.join(wrong)} is certainly wrong" if wrong else "")
    state = State.FAILED if away > _CLOCK_WRONG else State.WARNING
    return bad("clock", "clocks", seen, symptoms.named("clock", said=said), state)


def because(before: Sequence[Step], names: Sequence[str]) -> str:
    """Given the steps before, say which of those that this one needs kept it from being looked at."""
    needed = find(before, *names)
    return f"because of {needed.title}" if needed else "because the time was up"
