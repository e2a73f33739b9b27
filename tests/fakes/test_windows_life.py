"""The stand-in sleeps, wakes, is cut off, stops, lives beside another, and installs from files only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.conftest import SSHD, Client, needs, run, started
from tests.fakes.windows import WindowsNotebook
from tests.fakes.windows.programs import machine

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS = Path(machine.__file__).parent


def _mounts(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]


def test_asleep_nothing_answers_and_awake_all_goes_on(
    tmp_path: Path, client: Client, lasting: str, running: Callable[[str], list[int]], within
) -> None:
    with started(tmp_path / "nb", client) as notebook:  # noqa: SIM117  - the command needs the notebook
        with subprocess.Popen(
            client.bridge(notebook, f"read line; echo got $line; sleep {lasting}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as held:
            assert held.stdin is not None
            assert held.stdout is not None
            assert within(10, lambda: notebook.calls())
            time.sleep(0.5)
            notebook.sleep()
            held.stdin.write(b"a line\n")
            held.stdin.flush()
            answers: list[bytes] = []
            reader = threading.Thread(target=lambda: answers.append(held.stdout.readline()))  # type: ignore[union-attr]
            reader.start()
            reader.join(1)
            assert not answers
            probe = socket.create_connection((notebook.address, notebook.port), timeout=1)
            with probe, pytest.raises(TimeoutError):
                probe.recv(4)
            notebook.wake()
            reader.join(10)
            assert answers == [b"got a line\n"]
            assert within(5, lambda: running(lasting))
            notebook.cut()
            assert held.wait(timeout=10) == 255


def test_after_a_cut_the_next_connection_works(tmp_path: Path, client: Client) -> None:
    with started(tmp_path / "nb", client) as notebook:
        with subprocess.Popen(client.argv(notebook, "wsl.exe -e cat"), stdin=subprocess.PIPE) as held:
            time.sleep(1)
            notebook.cut()
            assert held.wait(timeout=10) == 255
        assert notebook.distro().running
        assert run(client.bridge(notebook, "echo again")).stdout == b"again\n"


@pytest.mark.parametrize("asleep", [False, True])
def test_stopping_leaves_no_process_and_no_mount(
    tmp_path: Path, client: Client, lasting: str, running: Callable[[str], list[int]], within, asleep: bool
) -> None:
    with started(tmp_path / "nb", client) as notebook:
        commands = [
            f"wsl.exe -e sleep {lasting}",
            f'wsl.exe -e sh -c "setsid sleep {lasting} & sleep {lasting}"',
        ]
        held = [subprocess.Popen(client.argv(notebook, each), stdin=subprocess.DEVNULL) for each in commands]
        assert within(10, lambda: len(running(lasting)) == 3)
        if asleep:
            notebook.sleep()
        notebook.stop()
        assert not running(lasting)
        for process in held:
            assert process.wait(timeout=10) == 255
        assert notebook._members() == set()
        assert _mounts(tmp_path) == []
        shutil.rmtree(tmp_path / "nb" / "distros")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((notebook.address, notebook.port), timeout=1)


def test_a_notebook_starts_again_as_it_was(tmp_path: Path, client: Client) -> None:
    with started(tmp_path / "nb", client, shell="powershell") as notebook:
        keys, inner = notebook.host_keys, notebook.distro().host_keys
        assert len({key.base64 for key in (*keys, *inner)}) == 4
        notebook.stop()
        notebook.start()
        assert (notebook.host_keys, notebook.distro().host_keys) == (keys, inner)
        assert run(client.bridge(notebook, "echo here")).stdout == b"here\n"
        assert notebook.calls()[-1].shell == "powershell"


def test_two_notebooks_do_not_disturb_each_other(
    tmp_path: Path, client: Client, lasting: str, running: Callable[[str], list[int]], within
) -> None:
    with started(tmp_path / "1", client) as one, started(tmp_path / "2", client, name="notebook2") as two:
        (one.drive / "mine").write_text("one")
        assert run(client.argv(two, "type C:\\mine")).returncode == 1
        assert run(client.bridge(one, "hostname")).stdout == b"notebook\n"
        assert run(client.bridge(two, "hostname; echo two > /root/mine")).stdout == b"notebook2\n"
        assert run(client.bridge(one, "cat /root/mine")).returncode == 1
        with subprocess.Popen(client.argv(two, f"wsl.exe -e sleep {lasting}")) as held:
            assert within(10, lambda: running(lasting))
            one.sleep()
            assert run(client.bridge(two, "echo awake")).stdout == b"awake\n"
            one.stop()
            assert running(lasting)
            two.stop()
            assert held.wait(timeout=10) == 255


def test_many_first_log_ins_at_once_start_one_instance(tmp_path: Path, client: Client) -> None:
    with started(tmp_path / "nb", client) as notebook:
        notebook.configure(cold_start_seconds=0.5)
        argv = client.argv(notebook, "wsl.exe -e readlink /proc/self/ns/pid")
        held = [subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for _ in range(6)]
        said = {process.communicate(timeout=30)[0] for process in held}
        assert len(said) == 1
        assert b"pid:" in said.pop()


def test_the_distro_has_a_home_of_its_own_and_sees_python_and_tmp(
    client: Client, windows: WindowsNotebook, tmp_path: Path
) -> None:
    (tmp_path / "seen").write_text("seen")
    command = f"cat {tmp_path}/seen; {sys.executable} -c 'import maw; print(maw.__name__)'; echo x > ~/here"
    answer = run(client.bridge(windows, f"cd {Path.cwd().anchor}; cd {PROGRAMS.parents[3]}; {command}"))
    assert answer.stdout == b"seenmaw\n"
    assert (windows.distro().root / "root" / "here").read_text() == "x\n"
    assert not Path("/root/here").exists()


def test_an_unknown_setting_is_refused(windows: WindowsNotebook) -> None:
    with pytest.raises(KeyError, match="colour"):
        windows.configure(colour="blue")


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    reason = WindowsNotebook.available()
    assert reason is not None
    assert "needs root" in reason


def test_a_port_that_is_taken_is_said_with_sshds_words(tmp_path: Path) -> None:
    needs()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"Address already in use|Cannot bind"):
            WindowsNotebook(tmp_path / "nb", port=taken.getsockname()[1]).start()


class TestInstalled:
    """A machine that was set up from files only: the system itself plays the distro."""

    @pytest.fixture
    def folder(self, tmp_path: Path, client: Client, free_port: int):
        needs()
        copy = tmp_path / "opt" / "windows"
        shutil.copytree(PROGRAMS.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
        folder = tmp_path / "var"
        program = ["/usr/bin/python3", "-I", str(copy / "programs" / "machine.py")]
        options = ["--account", "root", "--address", "127.0.0.1", "--port", str(free_port)]
        subprocess.run([*program, "install", str(folder), *options], check=True)
        keys = folder / "drive/ProgramData/ssh/administrators_authorized_keys"
        keys.write_text(client.public + "\n")
        with subprocess.Popen([*program, "run", str(folder)], stderr=subprocess.DEVNULL) as process:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", free_port), timeout=1).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.02)
            yield folder, free_port
            process.terminate()
            assert process.wait(timeout=10) is not None

    @staticmethod
    def _ask(client: Client, port: int, command: str) -> subprocess.CompletedProcess[bytes]:
        return run(["ssh", *client.options(), "-p", str(port), "root@127.0.0.1", command])

    def test_it_serves_windows_and_the_system_as_its_distro(self, folder, client: Client) -> None:
        where, port = folder
        assert self._ask(client, port, "echo %USERNAME%").stdout == b"root\r\n"
        assert self._ask(client, port, "wsl.exe -d Ubuntu -u root -e readlink /proc/self/ns/mnt").stdout == (
            f"{Path('/proc/self/ns/mnt').readlink()}\n".encode()
        )
        assert self._ask(client, port, 'wsl.exe -e sh -c "exit 3"').returncode == 3
        assert self._ask(client, port, "wsl.exe -e no-such-thing").returncode == 1
        assert len((where / "calls.jsonl").read_text().splitlines()) == 3
        assert self._ask(client, port, SSHD).stdout.startswith(b"SSH-2.0-")

    def test_its_own_sshd_needs_no_folder_of_the_distro(self, folder, client: Client, tmp_path: Path) -> None:
        _, port = folder
        run_folder = self._ask(client, port, "wsl.exe -e ls -d /run/sshd").stdout
        assert run_folder == b"/run/sshd\n", "programs of the distro see the system's own /run"
        assert [line for line in _mounts(Path("/run")) if line.startswith("tmpfs /run tmpfs")] == [], (
            "and only they"
        )

    def test_terminate_ends_what_was_started(
        self, folder, client: Client, lasting: str, running: Callable[[str], list[int]], within
    ) -> None:
        _, port = folder
        argv = ["ssh", *client.options(), "-p", str(port), "root@127.0.0.1", f"wsl.exe -e sleep {lasting}"]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as held:
            assert within(10, lambda: running(lasting))
            assert self._ask(client, port, "wsl.exe --terminate Ubuntu").returncode == 0
            assert held.wait(timeout=10) != 0
        assert not running(lasting)


def test_its_programs_need_nothing_that_a_minimal_python_lacks() -> None:
    listing = subprocess.run(
        ["sh", "-c", "dpkg -L libpython3.11-minimal python3.11-minimal"], capture_output=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip("this system has no Debian Python 3.11 to compare with")
    have = set(listing.stdout.decode().split())
    names = [path.stem for path in PROGRAMS.glob("*.py") if path.stem not in ("start", "__init__")]
    code = """if True:
        import sys, importlib.machinery
        folder, have, names = sys.argv[1], set(sys.argv[2].split()), sys.argv[3:]

        class Minimal(importlib.machinery.PathFinder):
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                spec = super().find_spec(name, path, target)
                origin = spec.origin if spec else None
                if origin and origin not in have and not origin.startswith(folder):
                    raise ModuleNotFoundError(name)
                return spec

        sys.meta_path[-1] = Minimal
        sys.path.insert(0, folder)
        for name in names:
            __import__("programs." + name)
    """
    argv = ["/usr/bin/python3.11", "-I", "-S", "-c", code, str(PROGRAMS.parent), " ".join(have), *names]
    answer = subprocess.run(argv, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr.decode()
