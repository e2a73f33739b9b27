"""What the doctor makes of what it heard of Windows, and of the WSL in it. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from maw.transport import status, symptoms, windows_files, wsl
from maw.transport.chain import State, Step
from maw.transport.verdicts import BEFORE, bad, because, of_login, ok, skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maw.transport.chain import Facts, Heard, Subject

# An older one stalls on piped input.
_OLDEST_WSL = (2, 5)
_LISTED = re.compile(r"^\s*(\*?)\s*(\S+)\s+(.*\S)\s+([12])\s*$", re.MULTILINE)


def windows(subject: Subject, facts: Facts, before: Sequence[Step]) -> list[Step]:
    """Judge Windows: the log-in with the administration key, its shell, its wsl.exe."""
    assert subject.windows is not None
    title = "Windows log-in, administration key"
    heard = facts.heard.get("shell")
    if heard is None:
        steps = [skipped("windows-login", title, because(before, BEFORE))]
    elif heard.ssh_failed:
        why = of_login(subject, subject.windows, heard)
        if why.name == "refused":
            why = _named("outer-refused", subject, said=symptoms.quoted(heard.said))
        steps = [bad("windows-login", title, symptoms.quoted(heard.said) or "nothing came", why)]
    else:
        steps = [ok("windows-login", title, f"as {subject.windows.user or 'this user'}")]
    usable = heard is not None and not heard.ssh_failed
    reason = "" if usable else because([*before, *steps], (*BEFORE, "windows-login"))
    return [*steps, *_shell(subject, facts, reason), *_wsl(subject, facts, reason)]


def quiet(facts: Facts, name: str) -> Heard | None:
    """Return the answer of Windows to a question, without what the profile of its shell prints first."""
    heard, first = facts.heard.get(name), facts.heard.get("shell")
    if heard is None or first is None:
        return heard
    lines = first.stdout.rstrip().splitlines(keepends=True)
    return replace(heard, stdout=heard.stdout.removeprefix(b"".join(lines[:-1])))


def _shell(subject: Subject, facts: Facts, reason: str) -> list[Step]:
    assert subject.windows is not None
    title = "Windows' shell"
    if reason:
        return [skipped("shell", title, reason)]
    lines = [line for line in symptoms.text_of(facts.heard["shell"].stdout).splitlines() if line.strip()]
    last = lines[-1].strip() if lines else ""
    exit_code = facts.heard.get("exit-code")
    ended = exit_code.status if exit_code else None
    found = {"Windows_NT": "cmd", "%OS%": "powershell"}.get(last)
    if ended in (126, 127) or found is None:
        said = symptoms.quoted(f"{last or 'nothing'}; cmd.exe ended with status {ended}")
        return [bad("shell", title, said, _named("no-windows", subject, said=said))]
    steps = []
    if found != subject.windows.windows_shell:
        why = _named("wrong-shell", subject, shell=found, said=subject.windows.windows_shell)
        steps.append(bad("shell", title, found, why))
    else:
        steps.append(ok("shell", title, found))
    if len(lines) > 1:
        said = symptoms.quoted("\n".join(lines[:-1]))
        steps.append(
            bad(
                "shell",
                title,
                "its profile prints",
                _named("profile-noise", subject, said=said),
                State.WARNING,
            )
        )
    if ended == 1:
        seen = "cmd.exe /c exit 3 ended with 1"
        steps.append(
            bad("exit-code", "Windows' exit codes", seen, _named("exit-code", subject), State.WARNING)
        )
    elif ended == 3:
        steps.append(ok("exit-code", "Windows' exit codes", "pass"))
    else:
        steps.append(skipped("exit-code", "Windows' exit codes", f"cmd.exe /c exit 3 ended with {ended}"))
    return steps


def _wsl(subject: Subject, facts: Facts, reason: str) -> list[Step]:
    version = quiet(facts, "wsl-version")
    if reason or version is None:
        step = skipped("wsl", "wsl.exe", reason or "because the time was up")
    else:
        step = _version(subject, facts, version)
    return [step, *_distro(subject, facts, [step], reason)] if subject.is_wsl else [step]


def _version(subject: Subject, facts: Facts, version: Heard) -> Step:
    found = status.wsl_version(version.stdout)
    if found is not None:
        if tuple(int(part) for part in found.split(".")[:2]) < _OLDEST_WSL:
            return bad("wsl", "wsl.exe", found, _named("old-wsl", subject, said=found), State.WARNING)
        return ok("wsl", "wsl.exe", found)
    listed = quiet(facts, "wsl-list")
    if listed is not None and _LISTED.search(symptoms.text_of(listed.stdout)):
        why = _named("old-wsl", subject, said="of Windows itself, which does not know its own version,")
        return bad("wsl", "wsl.exe", "does not tell its version", why, State.WARNING)
    why_not = _of_wsl(subject, version)
    return bad("wsl", "wsl.exe", symptoms.quoted(_text(version)) or f"status {version.status}", why_not)


def _distro(subject: Subject, facts: Facts, before: list[Step], reason: str) -> list[Step]:
    title = f"distro {subject.host.wsl_distro}"
    listed = quiet(facts, "wsl-list")
    if reason or before[0].state is State.FAILED or listed is None:
        return [skipped("distro", title, reason or because(before, ("wsl",)))]
    found = _LISTED.findall(symptoms.text_of(listed.stdout))
    mine = next(
        (one for one in found if one[1].casefold() == (subject.host.wsl_distro or "").casefold()), None
    )
    names = ", ".join(name for _, name, _, _ in found) or "none"
    if mine is None:
        return [
            bad("distro", title, f"there are: {names}", _named("no-distro", subject, said=f"it has {names}"))
        ]
    default, _, state, number = mine
    if number == "1":
        return [bad("distro", title, "WSL 1", _named("wsl-1", subject))]
    seen = f"WSL 2, {symptoms.quoted(state)}" + (", the default" if default else "")
    return [ok("distro", title, seen)]


def inside(subject: Subject, facts: Facts, before: Sequence[Step]) -> list[Step]:
    """Judge what the administration key sees in the distro: whether its sshd could start, its host key."""
    steps = []
    needed = (*BEFORE, "windows-login", "wsl", "distro")
    heard, title = quiet(facts, "sshd-test"), "the distro's sshd"
    refused = next((s for s in before if s.name in ("wsl", "distro") and s.state is State.FAILED), None)
    if heard is None or refused is not None:
        steps.append(skipped("sshd", title, because(before, needed)))
    elif heard.status == 0 and not _text(heard).strip():
        steps.append(ok("sshd", title, "sshd -t has nothing to say"))
    else:
        steps.append(
            bad("sshd", title, symptoms.quoted(_text(heard)) or _ended(heard), _of_wsl(subject, heard))
        )
    heard, title = quiet(facts, "host-key-file"), "the distro's host key"
    shown = _public_key(heard.stdout) if heard else None
    if shown is None:
        reason = because([*before, *steps], (*needed, "sshd"))
        return [*steps, skipped("distro-key", title, reason)]
    pinned = subject.pins.get(subject.host.name, ())
    if any(key.base64 == shown for key in pinned):
        return [*steps, ok("distro-key", title, f"{_fingerprint(shown)}, as pinned")]
    name = "host-key-changed" if pinned else "host-key-unknown"
    why = symptoms.named(name, host=subject.host.name)
    return [*steps, bad("distro-key", title, _fingerprint(shown), why)]


def bridge(subject: Subject, facts: Facts, before: Sequence[Step]) -> list[Step]:
    """Judge the bridge: whether Windows takes its key, and whether the distro's sshd greets."""
    title, further = "Windows log-in, bridge key", "the bridge"
    heard = facts.heard.get("bridge")
    if heard is None:
        reason = because(before, BEFORE)
        return [skipped("bridge-login", title, reason), skipped("bridge", further, reason)]
    if wsl.GREETING in heard.stdout:
        steps = [ok("bridge-login", title, f"as {subject.door.user or 'this user'}")]
        return [*steps, _greets(subject, heard)]
    cause = _bridge_cause(subject, heard)
    said = symptoms.quoted(_text(heard)) or _ended(heard)
    if not heard.stdout and (cause is None or cause.name in _OUTER):
        why = cause or of_login(subject, subject.door, heard)
        step = bad("bridge-login", title, said, _why_refused(subject, facts, why))
        return [step, skipped("bridge", further, f"because of {title}")]
    if cause is None:
        cause = _named("no-greeting", subject, said=said, status=_ended(heard))
    # What sshd says itself is more than what its silence does.
    sshd = next((step for step in before if step.name == "sshd" and step.state is State.FAILED), None)
    if sshd is not None and cause.name in ("sshd-silent", "no-host-keys-silent"):
        assert sshd.cause_name is not None
        assert sshd.cause is not None
        assert sshd.step is not None
        cause = symptoms.Cause(sshd.cause_name, "", sshd.cause, sshd.step)
    if cause.name == "bridge-silent":
        first = skipped("bridge-login", title, "nothing came, so that it cannot be told")
    else:
        first = ok("bridge-login", title, f"as {subject.door.user or 'this user'}")
    return [first, bad("bridge", further, said, cause)]


_OUTER = ("outer-refused", "too-many-keys", "key-file-open")


def _greets(subject: Subject, heard: Heard) -> Step:
    noise = symptoms.noise_of(heard.stdout)
    harm = _bridge_cause(subject, heard)
    if harm is not None:
        return bad("bridge", "the bridge", noise, harm)
    if noise:
        why = _named("profile-noise", subject, said=noise)
        return bad("bridge", "the bridge", "the distro's sshd greets, after other text", why, State.WARNING)
    return ok("bridge", "the bridge", "the distro's sshd greets")


def _why_refused(subject: Subject, facts: Facts, why: symptoms.Cause) -> symptoms.Cause:
    """Given a refusal of the bridge's key, return the cause as far as the administration key sees it."""
    if why.name != "outer-refused":
        return why
    administrator = windows_files.ADMINISTRATORS in _words(facts, "groups", windows_files.ADMINISTRATORS)
    who = re.search(r"S-1(?:-[0-9]+)+", _words(facts, "user"))
    sddl = _words(facts, "acl")
    writers = windows_files.others_that_write(sddl, who.group() if who else "") if sddl else ()
    if writers and administrator:
        return _named("keys-acl", subject, said=", ".join(writers))
    ours = _line_of(subject, _words(facts, "keys-file" if administrator else "own-keys-file"))
    if ours is None and administrator and _line_of(subject, _words(facts, "own-keys-file")):
        return _named("bridge-key-in-profile", subject)
    if ours is None and facts.heard.keys() >= {"keys-file", "own-keys-file"}:
        path = windows_files.ADMINISTRATORS_FILE if administrator else windows_files.OWN_FILE
        return _named("bridge-key-missing", subject, said=path)
    limits = re.search(r'from="([^"]*)"', ours or "")
    return _named("bridge-key-from", subject, said=symptoms.quoted(limits.group(1))) if limits else why


def _words(facts: Facts, name: str, default: str = "") -> str:
    """Return what was said to a question that went well, else the default."""
    heard = facts.heard.get(name)
    return symptoms.text_of(heard.stdout) if heard is not None and heard.status == 0 else default


def _line_of(subject: Subject, content: str) -> str | None:
    """Given a file of authorized keys, return the line of the bridge's key."""
    lines = [line for line in content.splitlines() if not line.startswith("#")]
    return next((line for line in lines if any(key in line for key in subject.bridge_keys)), None)


def lifetime(subject: Subject, facts: Facts, before: Sequence[Step]) -> list[Step]:
    """Judge what may end a distro that works."""
    heard, title = facts.heard.get("wslconfig"), "idle stop"
    if heard is None or heard.status is None:
        step = skipped("idle-stop", title, because(before, (*BEFORE, "windows-login")))
    else:
        text = symptoms.text_of(heard.stdout) if heard.status == 0 else ""
        short = [name for name, section in _TIMEOUTS if not _never(text, section, name)]
        if short:
            seen = " and ".join(short) + (" not -1" if text else " not set: there is no .wslconfig")
            why = _named("idle-stop", subject, said=seen)
            step = bad("idle-stop", title, seen, why, State.WARNING)
        else:
            step = ok("idle-stop", title, "WSL stays up without clients")
    reason = (
        "Windows does not tell which session WSL belongs to. If all ends when somebody signs out: start it "
        "before anybody signs in, by a scheduled task at startup"
    )
    return [step, skipped("sign-out", "sign-out", reason)]


_TIMEOUTS = (("instanceIdleTimeout", "general"), ("vmIdleTimeout", "wsl2"))


def _never(text: str, section: str, name: str) -> bool:
    """Whether a .wslconfig says that this timeout never comes: a negative number."""
    current, value = "", ""
    for line in text.lstrip("\ufeff").splitlines():
        content = line.split("#")[0].strip()
        if content.startswith("["):
            current = content.strip("[]").strip().casefold()
        key, equals, given = content.partition("=")
        if equals and current == section and key.strip().casefold() == name.casefold():
            value = given.strip()
    return re.fullmatch(r"-[1-9][0-9]*", value) is not None


def _named(name: str, subject: Subject, **facts: object) -> symptoms.Cause:
    account = subject.door.user
    known: dict[str, object] = {
        "host": subject.host.name,
        "windows": subject.door.name,
        "distro": subject.host.wsl_distro or "DISTRO",
        "account": f"the account {account}" if account else "the account that logs in",
        "profile": account or "ACCOUNT",
        "user": account or "this user",
        "said": "",
    }
    return symptoms.named(name, **{**known, **facts})


def _bridge_cause(subject: Subject, heard: Heard) -> symptoms.Cause | None:
    return symptoms.of_bridge(
        heard.stdout,
        heard.stderr,
        heard.status,
        host=subject.host.name,
        windows=subject.door.name,
        distro=subject.host.wsl_distro,
        account=subject.door.user or "",
        shell=subject.door.windows_shell or "",
    )


def _of_wsl(subject: Subject, heard: Heard) -> symptoms.Cause:
    """Given a command of wsl.exe that failed, return its cause."""
    cause = _bridge_cause(subject, heard)
    if cause is None or cause.name == "no-greeting":
        said = symptoms.quoted(_text(heard)) or "nothing"
        return _named("wsl-says", subject, said=f"{said}; {_ended(heard)}")
    return cause


def _text(heard: Heard) -> str:
    return f"{symptoms.text_of(heard.stdout)}\n{symptoms.text_of(heard.stderr)}".strip()


def _ended(heard: Heard) -> str:
    return "nothing came in time" if heard.status is None else f"ended with status {heard.status}"


def _public_key(said: bytes) -> str | None:
    words = symptoms.text_of(said).split()
    place = next((number for number, word in enumerate(words) if word == "ssh-ed25519"), None)
    if place is None or place + 1 >= len(words):
        return None
    try:
        base64.b64decode(words[place + 1], validate=True)
    except (binascii.Error, ValueError):
        return None
    return words[place + 1]


def _fingerprint(blob: str) -> str:
    from maw.transport import keys

    return keys.HostKey("ssh-ed25519", blob).fingerprint
