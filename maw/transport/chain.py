"""The way to a host, hop by hop: what the doctor looks at, and what it asks next. Pure.

A look is in rounds: `questions` says from what was heard so far what can be asked next, all of one
round at once; `maw.transport.verdicts` makes steps of the answers; `maw.transport.doctor` asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from maw.transport import status, windows_files, wsl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maw.topology import Host
    from maw.transport.keys import HostKey
    from maw.transport.ssh_config import Paths

SAVED_ACL = "maw-doctor.acl"
# The files that are fetched from Windows, by question; the last is removed there after.
FETCHED = {
    "wslconfig": ".wslconfig",
    "keys-file": "/" + windows_files.ADMINISTRATORS_FILE.replace("\\", "/"),
    "own-keys-file": windows_files.OWN_FILE.replace("\\", "/"),
    "acl": SAVED_ACL,
}
# What every Linux answers, whatever the log-in shell.
INSIDE = (
    "sh -c 'echo clock $(date +%s); [ -d /run/sshd ] && echo run_sshd yes; "
    "for path in ${LXD_DIR:-/var/lib/lxd} /var/snap/lxd/common/lxd; do "
    "[ -S $path/unix.socket ] && echo lxd yes; done; echo all done'"
)


class State(StrEnum):
    """How a step went."""

    OK = "ok"
    FAILED = "failed"
    WARNING = "warning"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Step:
    """One thing that was looked at: what was seen, and when it is not well, why and what to do."""

    name: str
    title: str
    state: State
    seen: str
    cause_name: str | None = None
    cause: str | None = None
    step: str | None = None


@dataclass(frozen=True)
class Subject:
    """The host that is looked at, and what the workspace knows of it."""

    host: Host
    # The Windows that is logged in to: the host itself, or the one around the WSL; else None.
    windows: Host | None
    hosts: tuple[Host, ...]
    where: Paths
    pins: Mapping[str, tuple[HostKey, ...]] = field(default_factory=dict)
    # The public halves of the bridge's keys, in base64.
    bridge_keys: tuple[str, ...] = ()

    @property
    def door(self) -> Host:
        """The machine that listens: the Windows of a WSL, else the host itself."""
        return self.windows or self.host

    @property
    def is_wsl(self) -> bool:
        """Whether the host is a WSL behind a Windows."""
        return self.host.windows is not None


@dataclass(frozen=True)
class KeyFile:
    """A private key of ours. `problem` is what ssh-keygen says of it, "" if it can be used."""

    path: Path
    purpose: str
    exists: bool
    mode: int = 0o600
    problem: str = ""
    public: str = ""


@dataclass(frozen=True)
class Here:
    """What is so on this machine."""

    missing: tuple[str, ...] = ()
    ssh_version: str = ""
    # Why the generated config or the folder of sockets cannot be used.
    config_error: str = ""
    control_path: str = ""
    keys: tuple[KeyFile, ...] = ()
    # The address that is taken for a while without looking again.
    remembered: str | None = None
    now: float = 0.0


@dataclass(frozen=True)
class Greeting:
    """What came of knocking at an address: the line it greeted with, or the error."""

    address: str
    said: bytes = b""
    error: str = ""
    # How far it came: "name", "connect", "greet" or "done".
    stage: str = "done"
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether an SSH server greeted."""
        return wsl.GREETING in self.said


@dataclass(frozen=True)
class Heard:
    """The answer to one question; `status` is None if it was cut off. `at` is our clock then."""

    stdout: bytes = b""
    stderr: bytes = b""
    status: int | None = 0
    at: float = 0.0

    @property
    def said(self) -> str:
        """What ssh, or the far machine, said of a failure."""
        return self.stderr.decode("utf-8", "replace")

    @property
    def ssh_failed(self) -> bool:
        """Whether the ssh program itself failed: it ends with 255, and writes nothing to our output."""
        return self.status is None or (self.status == 255 and not self.stdout)


@dataclass(frozen=True)
class Facts:
    """What has been found out so far."""

    here: Here
    greetings: tuple[Greeting, ...] = ()
    heard: Mapping[str, Heard] = field(default_factory=dict)

    def with_answers(self, answers: Mapping[str, Heard]) -> Facts:
        """Return these facts and the answers of one more round."""
        return replace(self, heard={**self.heard, **answers})

    @property
    def answering(self) -> tuple[str, ...]:
        """The addresses at which an SSH server greeted, in the inventory's order."""
        return tuple(greeting.address for greeting in self.greetings if greeting.ok)


@dataclass(frozen=True)
class Question:
    """A program to run here, and the seconds it may take. `reads` is a file that then has the answer."""

    name: str
    argv: tuple[str, ...]
    seconds: float
    reads: Path | None = None


def questions(subject: Subject, facts: Facts, config: Path) -> tuple[Question, ...]:
    """Given what was heard so far and a config without shared connections, return what to ask next.

    Nothing that depends on an answer which did not come is asked. () means that all is known.
    """
    if facts.here.config_error or "ssh" in facts.here.missing or not facts.answering:
        return ()
    asked = [*_first(subject, facts, config), *_of_windows(subject, facts, config)]
    asked += [*_of_distro(subject, facts, config), *_of_keys(subject, facts, config)]
    return tuple(question for question in asked if question.name not in facts.heard)


def _first(subject: Subject, facts: Facts, config: Path) -> list[Question]:
    asked = []
    if "ssh-keyscan" not in facts.here.missing:
        for address in facts.answering:
            scan = ("ssh-keyscan", "-T", "4", "-p", str(subject.door.port), "--", address)
            asked.append(Question(f"keys of {address}", scan, 5))
    if subject.windows is None:
        asked.append(Question("login", _ssh(config, subject.host.name, INSIDE), 8))
        return asked
    asked.append(Question("shell", _ssh(config, subject.windows.name, "echo %OS%"), 8))
    if subject.is_wsl:
        bridge = tuple(wsl.proxy_argv(config, subject.host, quiet=False))
        asked.append(Question("bridge", bridge, 12))
    return asked


def _of_windows(subject: Subject, facts: Facts, config: Path) -> list[Question]:
    heard = facts.heard.get("shell")
    if subject.windows is None or heard is None or heard.ssh_failed:
        return []
    name = subject.windows.name
    asked = [
        Question("exit-code", _ssh(config, name, "cmd.exe /c exit 3"), 6),
        Question("wsl-version", _ssh(config, name, status.WSL_VERSION), 6),
        Question("wsl-list", _ssh(config, name, "wsl.exe -l -v"), 6),
        _fetched("wslconfig", config, name),
    ]
    if subject.is_wsl:
        within = f"wsl.exe -d {subject.host.wsl_distro} -u root --exec"
        asked += [
            Question("sshd-test", _ssh(config, name, f"{within} /usr/sbin/sshd -t"), 10),
            Question(
                "host-key-file",
                _ssh(config, name, f"{within} /bin/cat /etc/ssh/ssh_host_ed25519_key.pub"),
                10,
            ),
        ]
    return asked


def _of_distro(subject: Subject, facts: Facts, config: Path) -> list[Question]:
    bridge = facts.heard.get("bridge")
    if bridge is None or wsl.GREETING not in bridge.stdout:
        return []
    return [Question("login", _ssh(config, subject.host.name, INSIDE), 10)]


def _of_keys(subject: Subject, facts: Facts, config: Path) -> list[Question]:
    """Why Windows refuses the bridge's key, where the administration key may look."""
    bridge, shell = facts.heard.get("bridge"), facts.heard.get("shell")
    if bridge is None or shell is None or shell.ssh_failed or "Permission denied" not in bridge.said:
        return []
    assert subject.windows is not None
    name = subject.windows.name
    if "acl-saved" not in facts.heard:
        save = f"icacls.exe {windows_files.ADMINISTRATORS_FILE} /save {SAVED_ACL}"
        return [
            _fetched("keys-file", config, name),
            _fetched("own-keys-file", config, name),
            Question("user", _ssh(config, name, windows_files.USER), 6),
            Question("groups", _ssh(config, name, windows_files.GROUPS), 6),
            Question("acl-saved", _ssh(config, name, save), 6),
        ]
    return [_fetched("acl", config, name)]


def _ssh(config: Path, name: str, command: str) -> tuple[str, ...]:
    return ("ssh", "-F", str(config), "-T", "-o", "BatchMode=yes", "--", name, command)


def _fetched(name: str, config: Path, host: str) -> Question:
    argv = ("sftp", "-q", "-F", str(config), "-o", "BatchMode=yes", "-b", str(batch_file(config, name)), host)
    return Question(name, argv, 6, reads=config.parent / name)


def batch_file(config: Path, question: str) -> Path:
    """Given the doctor's config and a question of FETCHED, return the file with the commands for sftp."""
    return config.parent / f"{question}.batch"


def batches(config: Path) -> dict[Path, str]:
    """Given the doctor's config, return the files with commands for sftp."""
    return {
        batch_file(config, question): (
            # Of what was saved to be fetched nothing stays there, though fetching it fails.
            f'-get "{path}" "{config.parent / question}"\nrm "{path}"\n'
            if question == "acl"
            else f'get "{path}" "{config.parent / question}"\n'
        )
        for question, path in FETCHED.items()
    }
