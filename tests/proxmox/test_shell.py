"""The API through `pvesh`: recorded commands, and a pvesh of our own that runs for real."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw.errors import (
    CommandTimedOut,
    ContainerLocked,
    NoSuchContainer,
    ProxmoxError,
    ProxmoxPermission,
    TaskFailed,
)
from maw.proxmox.client import Proxmox
from maw.proxmox.model import path_of
from maw.proxmox.shell import ShellApi
from maw.transport.base import Ending, Result, Transport
from maw.transport.local import LocalTransport
from tests.proxmox.replay import COMMANDS, needs

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recorded(Transport):
    """A host where each command was run before: it says what it said then."""

    host = "pve"

    def __init__(self, *answers: tuple[int, bytes, bytes]) -> None:
        self.answers = list(answers)
        self.argvs: list[list[str]] = []

    def run(self, argv: Any, **_: Any) -> Result:
        self.argvs.append(list(argv))
        code, stdout, stderr = self.answers.pop(0)
        return Result(tuple(argv), self.host, Ending(code), stdout, stderr, 0.0)


def recorded(name: str) -> tuple[int, bytes, bytes]:
    place = COMMANDS / name
    code = int(place.with_suffix(".rc").read_text())
    return code, place.with_suffix(".stdout").read_bytes(), place.with_suffix(".stderr").read_bytes()


def command(name: str) -> list[str]:
    return shlex.split((COMMANDS / f"{name}.cmd").read_text())


@needs(COMMANDS)
def test_a_config_is_asked_for_as_recorded() -> None:
    transport = Recorded(recorded("pvesh-config-json"))
    found = ShellApi(transport).get("/nodes/pve1/lxc/101/config")
    assert found["hostname"] == "tiny-unpriv"
    assert found["description"] == "A tiny container\nsecond line: ünï % 100%\n# heading\n"
    assert transport.argvs == [command("pvesh-config-json")]


@needs(COMMANDS)
def test_containers_come_as_over_https() -> None:
    transport = Recorded(recorded("pvesh-lxc-json"))
    found = Proxmox(ShellApi(transport), node="pve1").containers()
    assert [one.vmid for one in found][:2] == [101, 102]
    assert transport.argvs == [command("pvesh-lxc-json")]


@needs(COMMANDS)
def test_a_missing_container_and_a_missing_path_are_explained() -> None:
    with pytest.raises(NoSuchContainer, match="no container 999 on pve"):
        ShellApi(Recorded(recorded("pvesh-missing"))).get("/nodes/pve1/lxc/999/config")
    with pytest.raises(ProxmoxError, match=r"does not know get /nosuch \(No 'get' handler"):
        ShellApi(Recorded(recorded("pvesh-bad-path"))).get("/nosuch")


@needs(COMMANDS)
def test_a_backup_runs_to_its_end_and_gives_its_upid() -> None:
    transport = Recorded(recorded("pvesh-vzdump"))
    upid = Proxmox(ShellApi(transport), node="pve1").start_backup(101, "backup", "suspend", "0")
    assert upid == "UPID:pve1:00002386:00079F7A:6B0392F5:vzdump:101:root@pam:"
    (argv,) = transport.argvs
    assert argv[:3] == command("pvesh-vzdump")[:3]
    assert argv[argv.index("--remove") + 1] == "0"


@needs(COMMANDS)
def test_without_root_it_says_so() -> None:
    with pytest.raises(ProxmoxError, match="only root may ask"):
        ShellApi(Recorded(recorded("pct-nonroot"))).get("/nodes")


LOCALE = b'perl: warning: Setting locale failed.\nperl: warning: Falling back to the standard locale ("C").\n'
PARAMETERS = b"""400 Parameter verification failed.
compress: value 'xz' does not have a value in the enumeration '0, 1, gzip, lzo, zstd'
vmid: property is missing
pvesh create <api_path> [OPTIONS] [FORMAT_OPTIONS]
"""
LOG = b"INFO: starting new backup job\nERROR: Backup of VM 104 failed - %s\nTASK ERROR: job errors\n"


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [
        ((255, b"", PARAMETERS), ProxmoxError, "compress: value 'xz'"),
        (
            (255, b"", b"403 Permission check failed (/, VM.Audit)\n"),
            ProxmoxPermission,
            "VM.Audit on /.",
        ),
        ((255, b"", LOCALE + b"CT is locked (backup)\n"), ContainerLocked, "104 on pve is locked (backup)"),
        ((255, b"", LOCALE), ProxmoxError, "Falling back"),
        ((255, b"", b""), ProxmoxError, "ended with 255 and said nothing"),
        ((255, LOG % b"CT is locked (snapshot)", b"job errors\n"), ContainerLocked, "(snapshot)"),
        ((255, LOG % b"unable to find VM '999'", b"job errors\n"), NoSuchContainer, "999"),
        ((255, LOG % b"no space left", b"job errors\n"), TaskFailed, "no space left | TASK ERROR"),
        ((127, b"", b"sh: 1: pvesh: not found\n"), ProxmoxError, "none of the programs"),
        ((0, b"no json", b""), ProxmoxError, "the JSON of `pvesh`"),
    ],
)
def test_what_pvesh_says_is_explained(answer: Any, kind: type[ProxmoxError], word: str) -> None:
    with pytest.raises(kind) as caught:
        ShellApi(Recorded(answer)).post("/nodes/pve1/lxc/104/config")
    assert type(caught.value) is kind
    assert word in str(caught.value)


def test_no_output_is_no_data() -> None:
    assert ShellApi(Recorded((0, b"", b""))).delete("/nodes/pve1/tasks/x") is None


PVESH = """\
import json, sys, time
if "slow" in sys.argv[2]:
    time.sleep(20)
print(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTransport]:
    program = tmp_path / "bin" / "pvesh"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{PVESH}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with LocalTransport() as transport:
        yield transport


def test_arguments_reach_the_program_as_they_are(local: LocalTransport) -> None:
    path = path_of("nodes", "pve1", "storage", "b", "content", "b:backup/vz dump; $(id) ไทย.tar")
    said = ShellApi(local).get(path, note="it's; rm -rf", flag=True, number=0, nothing=None)
    assert said == [
        *["get", "/nodes/pve1/storage/b/content/b:backup/vz dump; $(id) ไทย.tar", "--output-format", "json"],
        *["--note", "it's; rm -rf", "--flag", "1", "--number", "0"],
    ]


def test_a_question_has_a_time_limit(local: LocalTransport) -> None:
    with pytest.raises(CommandTimedOut):
        ShellApi(local, seconds=0.5).get("/slow")


def test_a_host_without_pvesh_is_no_proxmox_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalTransport() as transport, pytest.raises(ProxmoxError, match="none of the programs"):
        ShellApi(transport).get("/nodes")
