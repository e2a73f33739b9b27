"""The bridge: a notebook's WSL behind its Windows, as a plain SSH host."""

from __future__ import annotations

import itertools
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maw import config
from maw.cli.workspace import Context
from maw.errors import (
    AuthenticationRefused,
    BridgeFailed,
    HostKeyChanged,
    HostKeyUnknown,
    LinkLost,
    TransportError,
)
from maw.transport import keys, ssh_config, wsl
from maw.transport.openssh import OpenSshTransport
from maw.transport.ssh import FabricTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maw.transport.base import Transport
    from tests.fakes.windows import WindowsNotebook

# Says its arguments and its input, byte for byte, with nothing but the shell's own words.
ECHO = ["sh", "-c", 'for word; do printf "%s\\0" "$word"; done; printf "\\0"; exec cat', "echo"]
ALL_BYTES = bytes(range(256))
HOSTILE = ["", " ", "$(id)", "%PATH%", "^", "!", "a\nb", "'", '"', "\\", "`", "&|<>;*?", "สวัสดี", "🙂", "\x1a"]


@pytest.fixture
def context(notebook: WindowsNotebook) -> Context:
    workspace = config.Workspace(Path(os.environ["MAW_WORKSPACE"]))
    return Context(workspace, config.load(workspace.config_file))


@pytest.fixture
def to_wsl(context: Context) -> Iterator[Callable[..., Transport]]:
    """`to_wsl("openssh" or "fabric", **changes of the ssh settings)`: a new transport, closed at the end."""
    opened: list[Transport] = []
    number = itertools.count()

    def make(kind: str, **changes: int) -> Transport:
        where = context.ssh_paths
        if changes:
            where = replace(where, config=where.config.with_name(f"config-{next(number)}"))
            ssh_config.write(context.topology.hosts, replace(context.settings.ssh, **changes), where)
        host = context.topology.host("notebook-wsl")
        transport = FabricTransport(host, where) if kind == "fabric" else OpenSshTransport(host, where)
        opened.append(transport)
        return transport

    yield make
    for transport in opened:
        transport.close()


def _said(arguments: list[str], data: bytes) -> bytes:
    words = [argument.encode("utf-8", "surrogateescape") for argument in arguments]
    return b"".join(word + b"\0" for word in words) + b"\0" + data


def test_commands_run_in_the_distro_and_not_in_windows(to_wsl, ssh_kind: str) -> None:
    result = to_wsl(ssh_kind).run(["sh", "-c", "echo $SSH_CONNECTION; uname -s; id -u"])
    assert result.stdout.split() == [b"UNKNOWN", b"65535", b"UNKNOWN", b"65535", b"Linux", b"0"]


@pytest.mark.parametrize("status", [0, 1, 67, 87, 127, 255])
def test_exit_codes_pass_also_those_that_wsl_exe_mangles(to_wsl, ssh_kind: str, status: int) -> None:
    assert to_wsl(ssh_kind).run(["sh", "-c", f"exit {status}"]).ending.exit_status == status


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thousand_random_argument_lists_and_inputs_arrive_byte_for_byte(to_wsl) -> None:
    fabric, openssh = to_wsl("fabric"), to_wsl("openssh")
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
    raw = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
    arguments = st.lists(text | raw | st.sampled_from(HOSTILE), max_size=8)
    inputs = st.binary(max_size=3000) | st.sampled_from([b"", ALL_BYTES, b"\r\n", b"\x1a", b"\xff\xfe"])
    seen = 0

    @settings(max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(arguments, inputs)
    def check(words: list[str], data: bytes) -> None:
        nonlocal seen
        seen += 1
        expected = _said(words, data)
        for transport in (fabric, openssh):
            assert transport.run([*ECHO, *words], stdin=data).stdout == expected

    check()
    assert seen >= 2000


@pytest.mark.parametrize("size", [1 << 20, 20 << 20])
def test_a_large_input_of_all_bytes_comes_back_as_it_went(to_wsl, ssh_kind: str, size: int) -> None:
    data = random.Random(size).randbytes(size - 256) + ALL_BYTES
    result = to_wsl(ssh_kind).run([*ECHO, *HOSTILE], stdin=data)
    assert result.stdout == _said(HOSTILE, data)


def test_arguments_longer_than_a_command_line_of_windows_arrive(to_wsl, ssh_kind: str) -> None:
    words = ["ก" * 40_000, "%PATH%" * 1000]
    assert to_wsl(ssh_kind).run([*ECHO, *words], stdin=b"x").stdout == _said(words, b"x")


def test_fifty_commands_at_once_share_one_connection(to_wsl, notebook: WindowsNotebook) -> None:
    transport = to_wsl("fabric")
    transport.run(["true"])
    before = len(notebook.calls())
    results: list[bytes] = []

    def one(number: int) -> None:
        results.append(transport.run(["sh", "-c", f"sleep 0.1; echo {number}"]).stdout)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(result) for result in results) == list(range(50))
    assert len(notebook.calls()) == before, "no further connection was made"


@pytest.mark.timeout(120)
def test_fifty_plain_ssh_commands_at_once_all_succeed(context: Context) -> None:
    """Beyond MaxSessions ssh makes a connection of its own; none may fail."""
    config = str(context.ssh_paths.config)
    _plain(["ssh", "-F", config, "notebook-wsl", "true"])
    with Path("said").open("w+b") as said:
        argv = ["ssh", "-F", config, "notebook-wsl", "sleep 0.2; echo fine"]
        started = [
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL)
            for _ in range(50)
        ]
        assert [process.wait(timeout=100) for process in started] == [0] * 50
        said.seek(0)
        assert said.read() == b"fine\n" * 50


def _proxies(config: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(config) in (process.info["cmdline"] or []) and "notebook-bridge" in process.info["cmdline"]
    ]


def test_the_end_of_the_proxy_is_the_end_of_the_run_and_takes_no_time(to_wsl, context: Context) -> None:
    transport = to_wsl("fabric")
    transport.run(["true"])
    proxies = [process for process in _proxies(context.ssh_paths.config) if process.ppid() == os.getpid()]
    (proxy,) = proxies
    timer = threading.Timer(0.5, proxy.kill)
    timer.start()
    used, started = sum(os.times()[:2]), time.monotonic()
    with pytest.raises(LinkLost):
        transport.run(["sleep", "60"])
    timer.join()
    assert time.monotonic() - started < 5
    assert sum(os.times()[:2]) - used < 1, "paramiko's own ProxyCommand would take all of a core"


def test_nothing_is_left_of_a_closed_transport(to_wsl, within: Callable[..., bool]) -> None:
    before = {child.pid for child in psutil.Process().children()}
    transport = to_wsl("fabric")
    transport.run(["true"])
    children = {child.pid for child in psutil.Process().children()} - before
    assert children
    transport.close()
    assert within(5, lambda: not {child.pid for child in psutil.Process().children()} & children)


@pytest.mark.parametrize("kind", ["openssh", "fabric"])
def test_a_notebook_that_falls_asleep_is_an_error_within_the_keepalive_time(
    to_wsl, notebook: WindowsNotebook, kind: str
) -> None:
    transport = to_wsl(kind, keepalive_seconds=1, persist_seconds=0)
    transport.run(["true"])
    timer = threading.Timer(0.5, notebook.sleep)
    timer.start()
    started = time.monotonic()
    try:
        with pytest.raises(LinkLost):
            transport.run(["sleep", "60"])
        assert time.monotonic() - started < 15
    finally:
        timer.join()
        notebook.wake()


def test_a_notebook_that_was_cut_off_is_reached_again_by_the_same_transport(
    to_wsl, ssh_kind: str, notebook: WindowsNotebook
) -> None:
    transport = to_wsl(ssh_kind, persist_seconds=0)
    transport.run(["true"])
    notebook.cut()
    said = b""
    for _ in range(5):
        try:
            said = transport.run(["echo", "again"]).stdout
            break
        except TransportError:
            # It may learn only now that the link is gone.
            time.sleep(0.2)
    assert said == b"again\n"


def test_a_missing_distro_is_named_as_the_cause(to_wsl, ssh_kind: str, notebook: WindowsNotebook) -> None:
    notebook.configure(distros={})
    try:
        with pytest.raises(BridgeFailed, match="Ubuntu"):
            to_wsl(ssh_kind, persist_seconds=0).run(["true"])
    finally:
        notebook.reset()


def test_a_distro_without_its_folder_for_sshd_is_named_as_the_cause(
    to_wsl, ssh_kind: str, notebook: WindowsNotebook
) -> None:
    folder = notebook.distro().run_sshd
    folder.rmdir()
    try:
        with pytest.raises(BridgeFailed, match="/run/sshd"):
            to_wsl(ssh_kind, persist_seconds=0).run(["true"])
    finally:
        folder.mkdir(mode=0o755)


@pytest.mark.parametrize("side", ["notebook", "notebook-wsl"])
def test_another_host_key_on_either_side_stops_everything(
    to_wsl, ssh_kind: str, context: Context, tmp_path: Path, side: str
) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    kind, blob = (tmp_path / "other.pub").read_text().split()[:2]
    keys.pin(context.workspace.known_hosts, side, [keys.HostKey(kind, blob)])
    with pytest.raises(HostKeyChanged) as caught:
        to_wsl(ssh_kind).run(["true"])
    assert caught.value.facts["host"] == side


@pytest.mark.parametrize("side", ["notebook", "notebook-wsl"])
def test_a_side_that_is_not_pinned_is_not_trusted(to_wsl, ssh_kind: str, context: Context, side: str) -> None:
    keys.pin(context.workspace.known_hosts, side, [])
    with pytest.raises(HostKeyUnknown) as caught:
        to_wsl(ssh_kind).run(["true"])
    assert caught.value.facts["host"] == side


def test_a_refused_key_says_which_side_refused_it(
    to_wsl, ssh_kind: str, context: Context, notebook: WindowsNotebook
) -> None:
    kept = notebook.distro().authorized_keys.read_bytes()
    notebook.distro().authorized_keys.write_bytes(b"")
    try:
        with pytest.raises(AuthenticationRefused) as caught:
            to_wsl(ssh_kind, persist_seconds=0).run(["true"])
    finally:
        notebook.distro().authorized_keys.write_bytes(kept)
    assert caught.value.facts["host"] == "notebook-wsl"


def test_the_bridges_key_can_do_nothing_else_on_windows(context: Context) -> None:
    where = context.ssh_paths
    answer = subprocess.run(
        ["ssh", "-F", str(where.config), "-o", "ControlPath=none", "notebook-bridge", "whoami"],
        input=b"",
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert answer.stdout.startswith(b"SSH-2.0-"), "whatever is asked, the distro's sshd greets"


def test_a_power_shell_with_a_noisy_profile_does_no_harm(
    to_wsl, ssh_kind: str, notebook: WindowsNotebook
) -> None:
    notebook.configure(shell="powershell", profile_noise="สวัสดี from the profile\r\n" * 20)
    try:
        result = to_wsl(ssh_kind, persist_seconds=0).run([*ECHO, *HOSTILE], stdin=ALL_BYTES)
    finally:
        notebook.reset()
    assert result.stdout == _said(HOSTILE, ALL_BYTES)


def _plain(argv: list[str], **options: object) -> bytes:
    # ssh's master keeps standard error open in the background: a file, not a pipe.
    with Path("errors").open("w+b") as errors:
        answer = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
            timeout=60,
            **options,
        )
        errors.seek(0)
        assert answer.returncode == 0, (answer.stdout + errors.read()).decode("utf-8", "replace")
    return answer.stdout


def test_a_person_with_ssh_reaches_the_distro(context: Context) -> None:
    words = [*ECHO, *HOSTILE]
    said = _plain(["ssh", "-F", str(context.ssh_paths.config), "notebook-wsl", shlex.join(words)])
    assert said == _said(HOSTILE, b"")


def test_sftp_reaches_the_distro(context: Context, tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(ALL_BYTES * 5000)
    (tmp_path / "batch").write_text(f"put {tmp_path}/given {tmp_path}/taken\n")
    _plain(["sftp", "-q", "-F", str(context.ssh_paths.config), "-b", str(tmp_path / "batch"), "notebook-wsl"])
    assert (tmp_path / "taken").read_bytes() == ALL_BYTES * 5000


def test_rsync_reaches_the_distro(context: Context, tmp_path: Path) -> None:
    (tmp_path / "given" / "โฟลเดอร์").mkdir(parents=True)
    (tmp_path / "given" / "โฟลเดอร์" / "$(id) %PATH%").write_bytes(ALL_BYTES)
    os.link(tmp_path / "given" / "โฟลเดอร์" / "$(id) %PATH%", tmp_path / "given" / "link")
    rsync = ["rsync", "-aHAX", "-e", f"ssh -F {context.ssh_paths.config}"]
    _plain([*rsync, f"{tmp_path}/given/", f"notebook-wsl:{tmp_path}/taken/"])
    assert (tmp_path / "taken" / "โฟลเดอร์" / "$(id) %PATH%").read_bytes() == ALL_BYTES
    assert (tmp_path / "taken" / "link").stat().st_nlink == 2


@pytest.mark.parametrize("module", ["ping", "setup"])
def test_ansible_reaches_the_distro(context: Context, module: str) -> None:
    _ = context.ssh_paths
    ansible = str(Path(sys.executable).parent / "ansible")
    said = _plain([ansible, "notebook-wsl", "-m", f"ansible.builtin.{module}"], cwd=context.workspace.root)
    assert {"ping": b'"ping": "pong"', "setup": b'"ansible_system": "Linux"'}[module] in said


@pytest.mark.usefixtures("notebook")
def test_windows_means_its_wsl_for_whoever_runs_a_command(cutter_command) -> None:
    for name in ("notebook", "notebook-wsl", "auto"):
        answer = cutter_command(
            "offload", "--on", name, "--", "sh", "-c", "echo $SSH_CONNECTION; cat", stdin=b"x"
        )
        assert (answer.returncode, answer.stdout) == (0, b"UNKNOWN 65535 UNKNOWN 65535\nx"), answer.stderr


@pytest.mark.usefixtures("notebook")
def test_documents_are_summarised_in_the_distro(maw_command) -> None:
    text = "Charge the phone before the power goes out. It is a long evening. Fill two bottles with water.\n"
    Path("note.txt").write_text(text, "utf-8")
    answer = maw_command("summarize", "note.txt", "--on", "notebook-wsl", "--json")
    assert answer.returncode == 0, answer.stderr
    assert b'"host": "notebook-wsl"' in answer.stdout or b"notebook-wsl" in answer.stdout


class TestSocketPair:
    """What stands between paramiko and the proxy."""

    def test_bytes_pass_both_ways_and_closing_ends_the_program(self) -> None:
        link = wsl.open_socket(["cat"], host="x")
        with link:
            link.sendall(ALL_BYTES)
            assert link.recv(1024) == ALL_BYTES
        assert link.process.returncode is not None

    def test_the_end_of_the_program_is_the_end_of_the_stream(self) -> None:
        with wsl.open_socket(["true"], host="x") as link:
            assert link.recv(1) == b""

    def test_a_program_that_does_not_listen_is_killed(self) -> None:
        link = wsl.open_socket(["sh", "-c", "trap '' TERM; echo x; while :; do sleep 0.1; done"], host="x")
        assert link.recv(1) == b"x"
        started = time.monotonic()
        link.close()
        assert link.process.returncode == -signal.SIGKILL
        assert time.monotonic() - started < 4

    def test_a_missing_ssh_program_is_said_so(self) -> None:
        with pytest.raises(TransportError, match="ssh program is not installed"):
            wsl.open_socket(["/missing/ssh"], host="x")
        with pytest.raises(TransportError, match="ssh program is not installed"):
            wsl.probe(["/missing/ssh"], 1)


class TestProbe:
    """What comes out of a proxy command, without SSH around it."""

    def test_a_greeting_is_enough(self) -> None:
        started = time.monotonic()
        answer = wsl.probe(["sh", "-c", "echo noise; echo SSH-2.0-x; sleep 60"], 20)
        assert answer == wsl.Answer(b"noise\nSSH-2.0-x\n", b"", None)
        assert time.monotonic() - started < 5

    def test_an_end_brings_what_was_said_and_the_status(self) -> None:
        answer = wsl.probe(["sh", "-c", "printf '\\377\\376T\\0'; echo bad >&2; exit 42"], 20)
        assert answer == wsl.Answer(b"\xff\xfeT\0", b"bad\n", 42)

    def test_silence_ends_with_the_time(self) -> None:
        started = time.monotonic()
        assert wsl.probe(["sleep", "60"], 0.5) == wsl.Answer(b"", b"", None)
        assert time.monotonic() - started < 5

    def test_a_flood_ends_too(self) -> None:
        assert len(wsl.probe(["yes"], 20).stdout) < 1 << 18
