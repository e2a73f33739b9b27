"""The doctor at a notebook in which one thing is wrong: each row of the table is reproduced, and named."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from maw import config
from maw.cli.workspace import Context
from maw.transport import addresses, causes, chain, doctor, keys, ssh_config, symptoms, wsl
from maw.transport.chain import State, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maw.topology import Host
    from tests.fakes.windows import WindowsNotebook

    Look = Callable[..., dict[str, Step]]

ADMINISTRATORS_FILE = "ProgramData/ssh/administrators_authorized_keys"
FOREVER = "[general]\r\ninstanceIdleTimeout=-1\r\n[wsl2]\r\nvmIdleTimeout=-1\r\n"
# A host key that nobody has.
GONE = keys.HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIGoneGoneGoneGoneGoneGoneGoneGoneGoneGoneGone")
# Steps that are no part of a fault: Windows cannot tell the one, nobody set the other on the stand-in.
ALWAYS = {"sign-out", "idle-stop"}


@pytest.fixture
def context(notebook: WindowsNotebook) -> Context:
    workspace = config.Workspace(Path(os.environ["MAW_WORKSPACE"]))
    return Context(workspace, config.load(workspace.config_file))


@pytest.fixture
def look(context: Context, notebook: WindowsNotebook) -> Iterator[Look]:
    """`look(name, hosts=…)`: the doctor's steps by name, of several of one name the worst."""

    def examine(name: str = "notebook-wsl", hosts: tuple[Host, ...] = (), **options: Any) -> dict[str, Step]:
        hosts = hosts or context.topology.hosts
        (host,) = [host for host in hosts if host.name == name]
        begun = time.monotonic()
        where = ssh_config.paths(context.workspace)
        found = doctor.examine(host, hosts, context.settings.ssh, where, **options)
        assert time.monotonic() - begun < 30
        order = [State.SKIPPED, State.OK, State.WARNING, State.FAILED]
        return {step.name: step for step in sorted(found, key=lambda step: order.index(step.state))}

    yield examine
    notebook.reset()


def _not_well(steps: dict[str, Step]) -> dict[str, str | None]:
    return {
        name: step.cause_name
        for name, step in steps.items()
        if step.state in (State.FAILED, State.WARNING) and name not in ALWAYS
    }


@contextmanager
def _changed(path: Path, content: bytes | None) -> Iterator[None]:
    """A file with another content for a while, or without the file."""
    kept, mode = path.read_bytes(), path.stat().st_mode
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(kept)
        path.chmod(mode)


def _command_lines() -> list[list[str]]:
    return [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]


def _runs(notebook: WindowsNotebook) -> bool:
    """Whether the distro's instance runs; asking the instance itself would keep it awake."""
    return (notebook.distro().root / "instance.json").exists()


def test_of_a_healthy_notebook_every_hop_is_looked_at_and_well(look: Look) -> None:
    steps = look()
    assert _not_well(steps) == {}, steps
    assert {name for name, step in steps.items() if step.state is State.SKIPPED} == {"sign-out"}
    assert steps["shell"].seen == "cmd"
    assert steps["wsl"].seen == "2.7.14.0"
    assert steps["distro"].seen.startswith("WSL 2, ")
    assert steps["distro-key"].seen.endswith(", as pinned")
    assert steps["bridge"].seen == "the distro's sshd greets"


def test_windows_alone_is_looked_at_without_its_wsl(look: Look) -> None:
    steps = look("notebook")
    assert _not_well(steps) == {}
    assert "wsl" in steps
    assert not {"bridge", "distro", "login", "sshd"} & set(steps)


def test_nothing_is_changed_there_and_no_connection_is_kept(
    look: Look, notebook: WindowsNotebook, context: Context
) -> None:
    def files() -> set[Path]:
        return {path for path in notebook.drive.rglob("*") if path.is_file()}

    before = files()
    look()
    assert files() == before
    sockets = ssh_config.paths(context.workspace).sockets
    assert [path.name for path in sockets.iterdir() if path.is_socket()] == []


class TestWsl:
    """What comes instead of the distro's greeting."""

    @pytest.mark.parametrize("changes", [{"distros": {}}, {"distro_account": "somebody"}])
    def test_a_distro_that_this_account_does_not_have(
        self, look: Look, notebook: WindowsNotebook, changes: dict[str, Any]
    ) -> None:
        notebook.configure(**changes)
        found = _not_well(look())
        assert found["bridge"] == "no-distro"
        assert found["distro"] == "no-distro"
        assert "bridge-login" not in found, "Windows does let the key in"

    def test_a_distro_whose_name_is_in_quotes(self, look: Look, notebook: WindowsNotebook) -> None:
        path = notebook.drive / ADMINISTRATORS_FILE
        with _changed(path, path.read_bytes().replace(b"-d Ubuntu", b'-d \\"Ubuntu\\"')):
            steps = look()
        assert _not_well(steps) == {"bridge": "no-distro"}
        assert "in quotes" in str(steps["bridge"].cause)

    @pytest.mark.parametrize(
        ("state", "cause", "shell"),
        [
            ("missing", "no-wsl-exe", "cmd"),
            ("missing", "no-wsl-exe", "powershell"),
            ("access-denied", "store-wsl", "cmd"),
            ("access-denied", "store-wsl", "powershell"),
            ("store-0x80070780", "store-wsl", "cmd"),
            ("local-system", "local-system", "cmd"),
        ],
    )
    def test_a_wsl_exe_that_does_not_start(
        self, look: Look, notebook: WindowsNotebook, state: str, cause: str, shell: str
    ) -> None:
        notebook.configure(wsl=state, shell=shell)
        found = _not_well(look())
        assert found["bridge"] == cause
        if state != "local-system":
            assert found["wsl"] == cause, "its version cannot be asked either"

    def test_installing_over_ssh_is_refused_with_a_code_that_is_known(
        self, notebook: WindowsNotebook, context: Context
    ) -> None:
        argv = ["ssh", "-F", str(context.ssh_paths.config), "-o", "ControlPath=none", "notebook"]
        heard = doctor.run([*argv, "wsl.exe --install -d Debian"], 20)
        cause = symptoms.of_bridge(
            heard.stdout,
            heard.stderr,
            heard.status,
            host="notebook-wsl",
            windows="notebook",
            distro="Debian",
            account="you",
            shell="cmd",
        )
        assert cause is not None
        assert cause.name == "window-station"
        assert "--import" in cause.step

    def test_an_old_wsl_is_a_warning(self, look: Look, notebook: WindowsNotebook) -> None:
        notebook.configure(wsl_version="2.4.8.0")
        steps = look()
        assert _not_well(steps) == {"wsl": "old-wsl"}
        assert steps["wsl"].state is State.WARNING

    def test_a_distro_that_takes_long_to_start_is_not_called_broken(
        self, look: Look, notebook: WindowsNotebook, within
    ) -> None:
        notebook.configure(cold_start_seconds=8, idle_seconds=0.1)
        assert within(10, lambda: not _runs(notebook))
        steps = look(limit=4.0)
        assert within(20, lambda: _runs(notebook)), "it comes up in the end"
        assert steps["bridge"].cause_name == "bridge-silent"
        assert "just starting" in str(steps["bridge"].cause)


class TestSshd:
    """What the distro's sshd needs."""

    def test_the_folder_run_sshd_is_missing(self, look: Look, notebook: WindowsNotebook) -> None:
        notebook.distro().run_sshd.rmdir()
        try:
            found = _not_well(look())
        finally:
            notebook.distro().run_sshd.mkdir(mode=0o755)
        assert found == {"sshd": "no-run-sshd", "bridge": "no-run-sshd"}

    def test_the_host_keys_are_missing(self, look: Look, notebook: WindowsNotebook, tmp_path: Path) -> None:
        folder = notebook.distro().etc_ssh
        away = tmp_path / "away"
        away.mkdir()
        for path in folder.glob("ssh_host_*"):
            shutil.move(path, away)
        try:
            steps = look()
        finally:
            for path in away.iterdir():
                shutil.move(path, folder)
        assert _not_well(steps) == {"sshd": "no-host-keys", "bridge": "no-host-keys"}
        assert steps["distro-key"].state is State.SKIPPED

    def test_sshd_config_has_an_error(self, look: Look, notebook: WindowsNotebook) -> None:
        with _changed(notebook.distro().etc_ssh / "sshd_config", b"Nonsense yes\n"):
            steps = look()
        assert _not_well(steps) == {"sshd": "sshd-config", "bridge": "sshd-config"}
        assert "Nonsense" in str(steps["bridge"].cause)

    def test_without_the_administration_key_the_silence_alone_is_explained(
        self, look: Look, notebook: WindowsNotebook, context: Context
    ) -> None:
        path = notebook.drive / ADMINISTRATORS_FILE
        lines = path.read_bytes().splitlines(keepends=True)
        notebook.distro().run_sshd.rmdir()
        try:
            with _changed(path, b"".join(line for line in lines if b"maw-admin" not in line)):
                steps = look()
        finally:
            notebook.distro().run_sshd.mkdir(mode=0o755)
        assert _not_well(steps) == {"windows-login": "outer-refused", "bridge": "sshd-silent"}
        assert "/run/sshd" in str(steps["bridge"].cause)
        assert steps["sshd"].state is steps["idle-stop"].state is State.SKIPPED

    def test_the_distro_refuses_the_key(self, look: Look, notebook: WindowsNotebook) -> None:
        with _changed(notebook.distro().authorized_keys, b""):
            steps = look()
        assert _not_well(steps) == {"login": "inner-refused"}

    def test_a_from_in_the_distro_locks_everybody_out_and_is_named(
        self, look: Look, notebook: WindowsNotebook
    ) -> None:
        path = notebook.distro().authorized_keys
        with _changed(path, path.read_bytes().replace(b"restrict,", b'from="127.0.0.1",restrict,')):
            steps = look()
        assert _not_well(steps) == {"login": "inner-refused"}
        assert "from=" in str(steps["login"].cause)

    def test_the_distro_shows_another_host_key(self, look: Look, context: Context) -> None:
        keys.pin(context.workspace.known_hosts, "notebook-wsl", [GONE])
        steps = look()
        assert steps["distro-key"].cause_name == "host-key-changed"
        assert steps["login"].cause_name in ("host-key-changed", "host-key-unknown")


class TestKeysOfWindows:
    """Windows refuses a key."""

    def test_others_may_write_to_the_file(self, look: Look, notebook: WindowsNotebook) -> None:
        path = notebook.drive / ADMINISTRATORS_FILE
        kept = notebook.acl(path)
        notebook.acl(path, "O:BAG:SYD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;BU)")
        try:
            steps = look()
        finally:
            notebook.acl(path, kept)
        assert _not_well(steps) == {"windows-login": "outer-refused", "bridge-login": "outer-refused"}
        for part in ("administrators_authorized_keys", "may write to that file", "in its profile"):
            assert part in str(steps["bridge-login"].cause)
        for command in causes.ACL_COMMANDS:
            assert f"`{command}`" in str(steps["bridge-login"].step)

    def test_the_commands_that_are_printed_mend_it(
        self, look: Look, notebook: WindowsNotebook, context: Context
    ) -> None:
        path = notebook.drive / ADMINISTRATORS_FILE
        kept = notebook.acl(path)
        argv = ["ssh", "-F", str(context.ssh_paths.config), "notebook"]
        assert doctor.run([*argv, "ver"], 20).status == 0, "this connection is open before the fault"
        notebook.acl(path, "O:BUG:SYD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;BU)")
        try:
            assert "bridge-login" in _not_well(look())
            for command in causes.ACL_COMMANDS:
                heard = doctor.run([*argv, command], 20)
                assert heard.status == 0, heard
            assert _not_well(look()) == {}
        finally:
            notebook.acl(path, kept)

    def test_the_bridges_key_is_not_in_the_file(self, look: Look, notebook: WindowsNotebook) -> None:
        path = notebook.drive / ADMINISTRATORS_FILE
        lines = path.read_bytes().splitlines(keepends=True)
        with _changed(path, b"".join(line for line in lines if b"maw-bridge" not in line)):
            found = _not_well(look())
        assert found == {"bridge-login": "bridge-key-missing"}
        assert not list(notebook.drive.rglob(chain.SAVED_ACL)), "what was saved to look at it is removed"

    def test_the_bridges_key_is_in_the_profile_of_an_administrator(
        self, look: Look, notebook: WindowsNotebook
    ) -> None:
        path = notebook.drive / ADMINISTRATORS_FILE
        lines = path.read_bytes().splitlines(keepends=True)
        own = notebook.drive / "Users" / notebook.account / ".ssh" / "authorized_keys"
        own.parent.mkdir()
        own.write_bytes(b"".join(line for line in lines if b"maw-bridge" in line))
        try:
            with _changed(path, b"".join(line for line in lines if b"maw-bridge" not in line)):
                found = _not_well(look())
        finally:
            shutil.rmtree(own.parent)
        assert found == {"bridge-login": "bridge-key-in-profile"}

    def test_the_bridges_key_is_for_another_address(self, look: Look, notebook: WindowsNotebook) -> None:
        path = notebook.drive / ADMINISTRATORS_FILE
        with _changed(path, path.read_bytes().replace(b'from="127.0.0.1"', b'from="192.168.1.129"')):
            steps = look()
        assert _not_well(steps) == {"bridge-login": "bridge-key-from"}
        assert "192.168.1.129" in str(steps["bridge-login"].cause)


class TestShell:
    """What reads commands on Windows."""

    def test_power_shell_gives_every_failure_the_exit_code_1(
        self, look: Look, notebook: WindowsNotebook, context: Context
    ) -> None:
        notebook.configure(shell="powershell")
        steps = look()
        assert _not_well(steps) == {"shell": "wrong-shell", "exit-code": "exit-code"}
        assert steps["exit-code"].state is State.WARNING
        as_it_is = [
            replace(host, windows_shell="powershell") if host.is_windows else host
            for host in context.topology.hosts
        ]
        steps = look(hosts=tuple(as_it_is))
        assert _not_well(steps) == {"exit-code": "exit-code"}
        assert steps["bridge"].state is steps["login"].state is State.OK, "the bridge does not mind"

    def test_a_profile_that_prints_is_a_warning_with_its_words(
        self, look: Look, notebook: WindowsNotebook
    ) -> None:
        notebook.configure(shell="powershell", profile_noise="สวัสดี \x1b[31mfrom the profile\r\n")
        steps = look()
        assert {"bridge": "profile-noise"}.items() <= _not_well(steps).items()
        assert "สวัสดี" in str(steps["bridge"].cause)
        assert "\x1b" not in str(steps["bridge"].cause)
        assert steps["login"].state is State.OK


class TestLifetime:
    """What works, and ends later."""

    def test_the_distro_stops_when_its_last_client_has_gone(
        self, look: Look, notebook: WindowsNotebook, context: Context, within
    ) -> None:
        notebook.configure(idle_seconds=0.5)
        argv = ["ssh", "-F", str(context.ssh_paths.config), "-o", "ControlPath=none", "notebook"]
        distro = "wsl.exe -d Ubuntu -u root --exec"
        assert doctor.run([*argv, f"{distro} /bin/sleep 0.1"], 20).status == 0
        assert within(10, lambda: not _runs(notebook)), "works, dies after the last client"
        steps = look()
        assert (steps["idle-stop"].state, steps["idle-stop"].cause_name) == (State.WARNING, "idle-stop")
        assert "instanceIdleTimeout=-1" in str(steps["idle-stop"].step)

    def test_with_both_timeouts_off_there_is_no_warning(self, look: Look, notebook: WindowsNotebook) -> None:
        path = notebook.drive / "Users" / notebook.account / ".wslconfig"
        path.write_text(FOREVER, "utf-8")
        try:
            assert look()["idle-stop"].state is State.OK
            path.write_text(FOREVER.replace("instanceIdleTimeout=-1", "instanceIdleTimeout=15000"), "utf-16")
            step = look()["idle-stop"]
        finally:
            path.unlink()
        assert step.state is State.WARNING
        assert "instanceIdleTimeout" in step.seen
        assert "vmIdleTimeout" not in step.seen

    def test_signing_out_ends_what_runs_and_the_doctor_says_what_it_cannot_tell(
        self, look: Look, notebook: WindowsNotebook, context: Context, within
    ) -> None:
        notebook.configure(terminate_on_sign_out=True, idle_seconds=0.1)
        assert within(10, lambda: not _runs(notebook))
        notebook.configure(idle_seconds=60)
        answer: list[wsl.Answer] = []
        argv = ["ssh", "-F", str(context.ssh_paths.config), "-o", "ControlPath=none", "notebook"]
        command = [*argv, "wsl.exe -d Ubuntu -u root --exec /bin/sleep 61.25"]
        running = threading.Thread(target=lambda: answer.append(wsl.probe(command, 30)))
        running.start()
        # The instance runs a moment before the command in it; a new one would be made for that.
        assert within(10, lambda: ["/bin/sleep", "61.25"] in _command_lines())
        begun = time.monotonic()
        notebook.sign_out()
        running.join()
        assert time.monotonic() - begun < 10, "all dies when the person signs out"
        step = look()["sign-out"]
        assert step.state is State.SKIPPED
        assert "scheduled task at startup" in step.seen


class TestNetwork:
    """Addresses, host keys, and a notebook that sleeps."""

    def test_a_notebook_that_sleeps_is_told_from_one_that_is_off(
        self, look: Look, notebook: WindowsNotebook
    ) -> None:
        notebook.sleep()
        try:
            begun = time.monotonic()
            steps = look()
            assert time.monotonic() - begun < 8
        finally:
            notebook.wake()
        assert _not_well(steps) == {"address": "silent"}
        assert "asleep" in str(steps["address"].cause)
        assert steps["bridge"].state is steps["login"].state is State.SKIPPED

    def test_a_notebook_that_falls_asleep_while_it_is_looked_at_ends_in_time(
        self, look: Look, notebook: WindowsNotebook
    ) -> None:
        asked: list[str] = []

        def progress(what: str) -> None:
            asked.append(what)
            if "bridge" in what:
                notebook.sleep()

        begun = time.monotonic()
        try:
            steps = look(limit=6.0, progress=progress)
        finally:
            notebook.wake()
        assert time.monotonic() - begun < 8
        assert steps["login"].state is State.SKIPPED
        assert steps["windows-login"].state is State.FAILED

    def test_an_address_of_two_that_is_dead_is_a_warning(
        self, look: Look, context: Context, free_port: int
    ) -> None:
        both = [replace(host, addresses=("127.0.0.77", "127.0.0.1")) for host in context.topology.hosts]
        steps = look(hosts=tuple(both))
        assert _not_well(steps) == {"address": "nothing-listens"}
        assert steps["address"].state is State.WARNING
        assert steps["login"].state is State.OK

    def test_an_address_with_the_key_of_another_machine_names_that_machine(
        self, look: Look, context: Context, notebook: WindowsNotebook
    ) -> None:
        other = replace(context.topology.hosts[0], name="server", addresses=("192.0.2.1",), windows=None)
        other = replace(other, wsl_distro=None, windows_shell=None)
        known_hosts = context.workspace.known_hosts
        keys.pin(known_hosts, "server", notebook.host_keys)
        keys.pin(known_hosts, "notebook", [GONE])
        steps = look(hosts=(*context.topology.hosts, other))
        assert steps["host-key"].cause_name == "host-key-elsewhere"
        assert "server" in str(steps["host-key"].cause)

    @pytest.mark.parametrize("pins", [0, 1])
    def test_a_host_key_that_is_new_or_changed_is_shown(
        self, look: Look, context: Context, pins: int
    ) -> None:
        keys.pin(context.workspace.known_hosts, "notebook", [GONE] * pins)
        steps = look()
        assert steps["host-key"].cause_name == ("host-key-changed" if pins else "host-key-unknown")
        assert "SHA256:" in steps["host-key"].seen
        assert "windows-login" in _not_well(steps), "and ssh refused to go on"

    def test_two_names_of_one_machine_are_named(self, look: Look, context: Context) -> None:
        (windows,) = [host for host in context.topology.hosts if host.is_windows]
        twin = replace(windows, name="laptop")
        steps = look(hosts=(*context.topology.hosts, twin))
        assert _not_well(steps) == {"inventory": "same-machine"}
        assert "laptop" in str(steps["inventory"].cause)

    def test_a_clock_ten_years_off_is_named_with_both_times(self, look: Look) -> None:
        steps = look(clock=lambda: time.time() - 10 * 365.25 * 86400)
        assert _not_well(steps) == {"clock": "clock"}
        now = time.gmtime()
        assert f"on notebook-wsl {now.tm_year}-" in str(steps["clock"].cause)
        assert "this machine is certainly wrong" in str(steps["clock"].cause)

    def test_a_remembered_address_is_shown(self, look: Look, context: Context) -> None:
        both = tuple(replace(host, addresses=("127.0.0.1", "localhost")) for host in context.topology.hosts)
        where = context.ssh_paths
        addresses.memory(where.sockets, both[0]).write_text(f"{int(time.time())} localhost\n")
        host = next(host for host in both if host.name == "notebook-wsl")
        steps = doctor.examine(host, both, context.settings.ssh, where)
        seen = {step.title: step.seen for step in steps}
        assert "taken now" in seen["address localhost"]
        assert "taken now" not in seen["address 127.0.0.1"]


class TestHere:
    """What is wrong on this machine."""

    @pytest.mark.parametrize(
        ("change", "cause"),
        [
            (lambda path: path.chmod(0o644), "key-file-open"),
            (lambda path: path.write_text("no key\n"), "key-file-bad"),
        ],
    )
    def test_a_private_key_that_ssh_would_not_take(
        self, look: Look, context: Context, change: Callable[[Path], object], cause: str
    ) -> None:
        change(context.workspace.keys / "bridge")
        steps = look()
        assert steps["keys"].cause_name == cause
        assert str(context.workspace.keys / "bridge") in str(steps["keys"].cause)
        assert steps["bridge-login"].state is State.FAILED

    def test_a_folder_of_sockets_that_others_may_read(self, look: Look, context: Context) -> None:
        folder = ssh_config.paths(context.workspace).sockets
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        steps = look()
        folder.chmod(0o700)
        assert _not_well(steps) == {"ssh-config": "folder-open"}
        assert steps["bridge"].state is State.SKIPPED

    def test_a_runtime_folder_with_200_characters_is_not_used(
        self, look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{tmp_path}/{'x' * 200}")
        assert _not_well(look()) == {}

    def test_without_ssh_the_package_is_named(
        self, look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with monkeypatch.context() as changed:
            changed.setenv("PATH", str(tmp_path))
            steps = look()
        assert _not_well(steps) == {"programs": "no-program"}
        assert "openssh-client" in str(steps["programs"].step)


class TestLimits:
    """Whatever hangs, the doctor ends."""

    @staticmethod
    @contextmanager
    def _server(said: bytes) -> Iterator[int]:
        """Greets with these words and then says nothing more."""
        kept: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                try:
                    while True:
                        link, _ = server.accept()
                        kept.append(link)
                        link.sendall(said)
                except OSError:
                    return

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            yield server.getsockname()[1]
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
        for link in kept:
            link.close()

    @pytest.mark.parametrize("said", [b"", pytest.param(b"SSH-2.0-x\r\n", marks=pytest.mark.slow)])
    def test_a_machine_that_hangs_at_any_stage(self, look: Look, context: Context, said: bytes) -> None:
        with self._server(said) as port:
            hanging = tuple(replace(host, port=port) for host in context.topology.hosts)
            steps = look(hosts=hanging)
        assert any(step.state is State.FAILED for step in steps.values())
        assert steps["login"].state is State.SKIPPED

    def test_an_answer_without_end_is_cut_off(self) -> None:
        begun = time.monotonic()
        heard = doctor.run(["yes"], 20)
        assert heard.status is None
        assert time.monotonic() - begun < 5

    def test_a_program_that_does_not_end_is_ended_with_what_it_started(self, lasting: str, running) -> None:
        heard = doctor.run(["sh", "-c", f"sleep {lasting}; true"], 0.5)
        assert heard.status is None
        assert running(lasting) == []

    def test_a_name_that_is_not_resolved_in_time_is_said_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waiting = threading.Event()

        def resolve(*_: object, **__: object) -> None:
            waiting.wait(30)
            raise OSError("too late for the test")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        (greeting,) = doctor.greet(["slow.example"], 22, 0.2)
        waiting.set()
        assert greeting.stage == "name"
        assert "not resolved in time" in greeting.error
