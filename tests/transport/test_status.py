"""What a machine is asked about itself, and how its answer is read."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as any_of

from maw.transport import status
from maw.transport.status import Battery, Container, Facts, Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ask = Callable[..., Facts]

WORKER = (sys.executable, "-m", "maw.offload.worker")
SHELLS = [["sh"], ["bash"], ["dash"], ["busybox", "sh"]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """`ask(worker, seconds, **programs)`: ask this machine, which has these programs (shell text) too."""
    places, lxd = tmp_path / "bin", tmp_path / "lxd"
    places.mkdir()
    lxd.mkdir()

    def run(worker: tuple[str, ...] = WORKER, seconds: float = 2, **programs: str) -> Facts:
        for name, text in programs.items():
            (places / name).write_text(f"#!/bin/sh\n{text}\n")
            (places / name).chmod(0o755)
        if "lxc" in programs:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(lxd / "unix.socket"))
        environment = {**os.environ, "PATH": f"{places}:{os.environ['PATH']}", "LXD_DIR": str(lxd)}
        answer = subprocess.run(
            status.argv(worker, seconds), capture_output=True, env=environment, check=True, timeout=20
        )
        assert answer.stderr == b""
        return status.read(answer.stdout)

    return run


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_shell_of_linux_can_answer(shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed here")
    question = status.argv(WORKER, 10)
    answer = subprocess.run([*shell, *question[1:]], capture_output=True, check=True, timeout=20)
    facts = status.read(answer.stdout)
    assert answer.stderr == b""
    assert facts.heard
    for field in ("cores", "memory_total_kb", "memory_available_kb", "disk_total_kb", "disk_free_kb"):
        assert getattr(facts, field) > 0, field
    assert facts.uptime_seconds is not None
    assert facts.load is not None
    assert facts.kernel == os.uname().release
    assert facts.identity is not None
    assert facts.worker is not None
    assert facts.worker.engines["extractive"]
    assert facts.notes == ()


def test_the_identity_is_that_of_the_running_system(ask: Ask) -> None:
    assert ask().identity == ask().identity
    inside = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *status.argv(WORKER, 2)],
        capture_output=True,
        check=False,
    )
    if inside.returncode != 0:
        pytest.skip(f"no namespace can be made here: {inside.stderr.decode().strip()}")
    other = status.read(inside.stdout).identity
    assert other is not None
    assert other != ask().identity, "a container is another machine, though the kernel is the same"


def test_the_containers_of_lxd_are_listed(ask: Ask) -> None:
    facts = ask(
        lxc="echo 'If this is your first time, run: lxd init' >&2; echo web,RUNNING; echo db-1,STOPPED"
    )
    assert facts.lxd is not None
    assert facts.lxd.error is None
    assert facts.lxd.instances == (Container("web", "running"), Container("db-1", "stopped"))
    assert facts.notes == ()


def test_an_lxd_without_a_container_is_there(ask: Ask) -> None:
    assert ask(lxc="true").lxd == status.Containers()


def test_an_lxd_that_hangs_is_said_so_and_the_rest_is_there(
    ask: Ask, lasting: str, running: Callable[[str], list[int]], within: Callable[..., bool]
) -> None:
    begun = time.monotonic()
    facts = ask(seconds=1, lxc=f"trap '' TERM; sleep {lasting}; sleep {lasting}")
    assert time.monotonic() - begun < 2
    assert facts.lxd == status.Containers(error="it did not answer in time")
    assert facts.notes == ("its LXD does not tell: it did not answer in time",)
    assert facts.worker is not None
    assert facts.disk_free_kb is not None
    assert within(2, lambda: not running(lasting))


def test_an_lxd_that_refuses_is_quoted(ask: Ask) -> None:
    facts = ask(lxc="echo 'Error: permission denied \x1b[31m' >&2; exit 1")
    assert facts.lxd == status.Containers(error=r"permission denied \x1b[31m")


def test_without_its_socket_lxd_is_not_asked(ask: Ask, tmp_path: Path) -> None:
    assert ask(lxc=f"touch {tmp_path}/asked").lxd == status.Containers()
    assert (tmp_path / "asked").exists()
    (tmp_path / "asked").unlink()
    (tmp_path / "lxd" / "unix.socket").unlink()
    assert ask().lxd is None
    assert not (tmp_path / "asked").exists()


def test_a_proxmox_node_tells_its_version_and_containers(ask: Ask) -> None:
    facts = ask(
        pveversion="echo 'pve-manager/8.2.4/faa83925c9641325 (running kernel: 6.8.8-2-pve)'",
        pct="echo 'VMID       Status     Lock         Name'; echo '101        running                 web';"
        "echo '102        stopped    backup       สวัสดี'",
    )
    assert facts.proxmox is not None
    assert (facts.proxmox.version, facts.proxmox.error) == ("8.2.4", None)
    assert facts.proxmox.instances == (Container("101", "running"), Container("102", "stopped"))


def test_a_proxmox_node_whose_cluster_hangs_is_up_with_the_reason(ask: Ask, lasting: str) -> None:
    facts = ask(seconds=1, pveversion="echo pve-manager/8.2.4/x", pct=f"exec sleep {lasting}")
    assert facts.proxmox is not None
    assert (facts.proxmox.version, facts.proxmox.error) == ("8.2.4", "it did not answer in time")
    assert facts.notes == ("its Proxmox does not tell: it did not answer in time",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exit 3", "it ended with 3"),
        ("echo 'ImportError: no maw' >&2; exit 1", "ImportError: no maw"),
        ("exec sleep 60", "it did not answer in time"),
        ("echo hello", "it is another program"),
        ('echo \'{"type": "hello"}\'', "it is another program"),
        ("yes", "y"),
        ("head -c 300000 /dev/zero", "it ended with 141"),
        ("cat", "it is another program"),
    ],
)
def test_a_worker_that_does_not_greet_is_none_with_the_reason(ask: Ask, text: str, why: str) -> None:
    facts = ask(("odd-worker",), 1, **{"odd-worker": text})
    assert facts.worker is None
    assert facts.notes == (f"its worker does not greet: {why}",)
    assert facts.disk_free_kb is not None


def test_a_worker_that_is_missing_is_named(ask: Ask) -> None:
    assert ask(("no-such-worker", "--x")).notes == ("it has no worker: there is no no-such-worker",)


def test_a_machine_that_needs_no_worker_misses_none(ask: Ask) -> None:
    facts = ask(())
    assert (facts.heard, facts.worker, facts.notes) == (True, None, ())


def test_logs_before_the_greeting_do_no_harm(ask: Ask) -> None:
    text = f"echo 'maw-worker: note' >&2; exec {sys.executable} -m maw.offload.worker"
    assert ask(("logging-worker",), 10, **{"logging-worker": text}).worker is not None


def test_batteries_are_read_as_the_kernel_shows_them(tmp_path: Path) -> None:
    supplies = {
        "AC": {"type": "Mains"},
        "BAT0": {"type": "Battery", "capacity": "87", "status": "Not charging"},
        "BAT1": {"type": "Battery", "capacity": "12"},
        "mouse": {"type": "Battery", "scope": "Device", "capacity": "5", "status": "Discharging"},
    }
    for name, content in supplies.items():
        (tmp_path / name).mkdir()
        for key, value in content.items():
            (tmp_path / name / key).write_text(value + "\n")
    cover = f'mount --bind {tmp_path} /sys/class/power_supply && exec "$@"'
    answer = subprocess.run(
        ["unshare", "--mount", "sh", "-c", cover, "sh", *status.argv(WORKER, 2)],
        capture_output=True,
        check=False,
    )
    if not answer.stdout:
        pytest.skip(f"nothing can be mounted here: {answer.stderr.decode().strip()}")
    assert status.read(answer.stdout).batteries == (Battery(87, "Not charging"), Battery(12, None))


@given(any_of.binary() | any_of.text().map(lambda text: text.encode("utf-8", "replace")))
def test_no_answer_can_break_the_reading(answer: bytes) -> None:
    keys = [field.name for field in fields(Facts)] + ["asked", "done", "battery", "lxd_status", "containers"]
    whole = b"kernel 1\nasked lxd\nasked proxmox\nasked containers\nasked worker\n"
    for key in keys:
        whole += key.encode() + b" " + answer + b"\n"
    facts = status.read(whole)
    assert facts.heard
    for text in (facts.system, *facts.notes):
        assert text is None or (text.isprintable() and len(text) < 2000)


@pytest.mark.parametrize(
    "value",
    ["", ".", "-1", "1e9", "²", "½", "nan", "inf", "0x1", "1" * 39, "1" * 5000, "1_0", "+1", "٣"],
)
@pytest.mark.parametrize("key", ["load", "cores", "memory_total_kb", "memory_available_kb", "uptime_seconds"])
def test_a_number_that_is_none_is_left_out(key: str, value: str) -> None:
    assert getattr(status.read(f"kernel x\n{key} {value}\n".encode()), key) is None


@pytest.mark.parametrize("line", ["", "101", "-1 Full", "1e1 Full", "87 \x1b[31m", "1000 Full"])
def test_a_battery_that_is_none_is_left_out(line: str) -> None:
    assert status.read(f"kernel x\nbattery {line}\n".encode()).batteries == ()


def test_names_are_names_of_containers_or_left_out() -> None:
    lines = [
        "ok,RUNNING",
        "x" * 64 + ",RUNNING",
        "../x,RUNNING",
        "$(id),RUNNING",
        "สวัสดี,RUNNING",
        "a,running",
        "a,",
    ]
    answer = "kernel x\nasked lxd\nlxd_status 0\n" + "".join(f"lxd {line}\n" for line in lines)
    facts = status.read(answer.encode())
    assert facts.lxd is not None
    assert facts.lxd.instances == (Container("ok", "running"),)


def test_what_was_cut_off_is_missing_and_said_so() -> None:
    facts = status.read(b"kernel 6.1\nload 1.25\nmemory_total_kb 123456\nmemory_available_kb 99")
    assert (facts.heard, facts.load, facts.memory_total_kb) == (True, 1.25, 123456)
    assert facts.memory_available_kb is None, "more digits may have been on their way"
    assert facts.notes == ("it did not say everything in time",)
    assert not status.read(b"").heard
    assert not status.read(b"kern").heard


def test_texts_are_shortened_and_made_harmless() -> None:
    facts = status.read(("system " + '"\x1b[31m\u202e' + "x" * 500 + '"\nkernel a\n').encode())
    assert facts.system is not None
    assert facts.system.startswith(r"\x1b[31m\u202exxx")
    assert len(facts.system) < 120


def test_the_engines_of_a_worker_are_texts() -> None:
    line = b'{"type":"hello","version":"9","engines":{"a":"one","b":2,"\\u001b":"three"}}'
    assert status.read(b"kernel x\nasked worker\nworker " + line + b"\n").worker == Worker(
        "9", {"a": "one", r"\x1b": "three"}
    )


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("5.15.167.4-microsoft-standard-WSL2", 2),
        ("6.6.87.2-microsoft-standard-WSL2+", 2),
        ("4.4.0-19041-Microsoft", 1),
        ("6.1.0-13-amd64", None),
    ],
)
def test_a_wsl_is_known_by_its_kernel(kernel: str, kind: int | None) -> None:
    assert status.read(f"kernel {kernel}\n".encode()).wsl == kind


ENGLISH = "WSL version: 2.5.9.0\r\nKernel version: 6.6.87.2-1\r\nWindows: 10.0.26100.4652\r\n"
FRENCH = "Version WSL : 2.0.14.0\r\nVersion du noyau : 5.15.133.1-1\r\nVersion WSLg : 1.0.59\r\n"
CHINESE = "WSL 版本： 2.1.5.0\r\n内核版本： 5.15.146.1-2\r\nWSLg 版本： 1.0.60\r\n"
HELP = "Invalid command line option: --version\r\nCopyright (c) Microsoft.\r\nUsage: wsl.exe 10.0.1 2.0.0\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16"])
@pytest.mark.parametrize(
    ("said", "version"),
    [
        (ENGLISH, "2.5.9.0"),
        (FRENCH, "2.0.14.0"),
        (CHINESE, "2.1.5.0"),
        (HELP, None),
        ("", None),
        ("x\0", None),
    ],
)
def test_the_version_of_wsl_is_read_in_any_language(said: str, version: str | None, encoding: str) -> None:
    assert status.wsl_version(said.encode(encoding)) == version


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (b"\r\nMicrosoft Windows [Version 10.0.26100.4652]\r\n", "Windows 10.0.26100.4652"),
        (b"\r\nMicrosoft Windows [\xe0\xb9\x80 10.0.19045]\r\n", "Windows 10.0.19045"),
        (b"", None),
        (b"\xff\xfe\x00", None),
    ],
)
def test_the_version_of_windows_is_read(said: bytes, version: str | None) -> None:
    assert status.windows_version(said) == version


def test_what_windows_is_asked_holds_nothing_that_its_shells_change() -> None:
    for question in (status.WSL_VERSION, status.WINDOWS_VERSION):
        assert not set(question) & set("%^&|<>()!\"'`$;{}[]*?~#@")
