"""The worker's service: the launcher, a socket, and the worker behind it, as real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from maw.config import OffloadSettings, TextSettings
from maw.offload import launcher, protocol, serve
from maw.offload.client import worker_arguments

HERE = Path(__file__).resolve().parent
LAUNCHER = Path(launcher.__file__)
TEXT = "The house lost power at nine. The UPS held for ten minutes. Then the disks stopped at once."


class Service:
    """What systemd does for a socket with Accept=yes: one process for each connection."""

    def __init__(self, path: Path, most: int = 8, **environment: str) -> None:
        self.path, self._most = path, most
        self.environment = {**os.environ, "PYTHONPATH": str(HERE), **environment}
        self.processes: list[subprocess.Popen] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                if sum(one.poll() is None for one in self.processes) < self._most:
                    argv = [sys.executable, "-ISP", str(LAUNCHER), "--serve"]
                    pipes = {"stdin": connection, "stdout": connection, "stderr": subprocess.PIPE}
                    self.processes.append(subprocess.Popen(argv, env=self.environment, **pipes))
                connection.close()

    def below(self) -> list[psutil.Process]:
        """Every process of the service that is there now."""
        found = []
        for one in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(one.pid)
                found += [process, *process.children(recursive=True)]
        return found

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for one in self.processes:
            one.terminate()
            one.communicate(timeout=20)


@pytest.fixture
def service(tmp_path):
    running = Service(tmp_path / "worker.sock")
    yield running
    running.close()


def start(path: Path, *options: str, **environment: str) -> subprocess.Popen:
    argv = [sys.executable, "-ISP", str(LAUNCHER), *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        argv, env={**os.environ, launcher.SOCKET_VARIABLE: str(path), **environment}, **pipes
    )


def ask(path: Path, lines: list[dict], *options: str) -> tuple[list[dict], bytes, int]:
    with start(path, *options) as worker:
        data = b"".join(protocol.encode(line) for line in lines)
        output, errors = worker.communicate(data, timeout=120)
    return [json.loads(line) for line in output.splitlines()], errors, worker.returncode


def job(identifier: str, **fields) -> dict:
    return {"type": "job", "id": identifier, **fields}


def send(path: Path, line: bytes, descriptors: list[int]) -> tuple[dict | None, socket.socket]:
    """Give the service this first line by hand; return its answer."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(path))
    with contextlib.suppress(BrokenPipeError):
        if descriptors:
            socket.send_fds(connection, [line], descriptors)
        else:
            connection.sendall(line)
    try:
        with connection.makefile("rb") as stream:
            answer = stream.readline()
    except ConnectionResetError:
        answer = b""
    return (json.loads(answer) if answer else None), connection


def until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def test_through_the_service_the_lines_are_those_of_the_worker_itself(service, tmp_path):
    lines = [job("1", text=TEXT, sentences=1), job("bad", text=TEXT, engine="oracle"), {"type": "ping"}]
    through, errors, status = ask(service.path, lines, "--processes=1")
    here, _, own_status = ask(tmp_path / "none.sock", lines, "--processes=1")
    assert (errors, status, own_status) == (b"", 0, 0)

    def timeless(said: list[dict]) -> list:
        said = [{k: v for k, v in one.items() if k not in ("seconds", "cpu_seconds")} for one in said]
        return sorted(said, key=str)

    assert timeless(through) == timeless(here)
    assert len(service.processes) == 1


def test_the_options_that_the_core_sends_are_all_taken(service):
    options = worker_arguments(OffloadSettings(), TextSettings())
    assert {option.partition("=")[0] for option in options} <= set(serve.OPTIONS)
    said, errors, status = ask(service.path, [job("1", text=TEXT)], *options, "--processes", "2")
    assert (errors, status, said[0]["processes"]) == (b"", 0, 2)
    assert said[1]["type"] == "result"


def test_many_megabytes_arrive_byte_for_byte(service):
    text = "".join(f"Sentence {number} says ผู้ใช้ที่ดี. " for number in range(60_000))
    said, _, status = ask(service.path, [job("1", text=text, sentences=1, return_text=True)])
    pieces = [line["data"] for line in said if line["type"] == "text"]
    assert protocol.unpack_text(pieces)[0].strip() == text.strip()
    assert status == 0


def test_what_the_worker_says_on_standard_error_arrives_there(service):
    said, errors, status = ask(
        service.path, [job("1", text=TEXT, engine="bad")], "--engine=bad=troubled_engines:Crash"
    )
    assert said[-1]["kind"] == "WorkerDied"
    assert b"maw-worker: " in errors
    assert status == 0


def test_the_workers_own_exit_status_comes_back(service):
    with start(service.path, "--lease=0.5") as worker:
        assert worker.stdout.readline().startswith(b'{"type":"hello"')
        assert worker.wait(timeout=20) == 1
        assert b"nothing was heard" in worker.stderr.read()


def test_a_signal_that_ends_the_worker_ends_the_launcher(service):
    with start(service.path) as worker:
        worker.stdout.readline()
        (behind,) = psutil.Process(service.processes[0].pid).children()
        behind.kill()
        assert worker.wait(timeout=20) == -signal.SIGKILL
        assert service.processes[0].wait(timeout=20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_a_launcher_that_is_killed_takes_the_worker_with_it_though_its_input_stays_open(service, number):
    with start(service.path, "--processes=1", "--engine=bad=troubled_engines:Sleep") as worker:
        worker.stdout.readline()
        worker.stdin.write(protocol.encode(job("1", text=TEXT, engine="bad")))
        worker.stdin.flush()
        until(lambda: len(service.below()) >= 3)
        running = service.below()
        worker.send_signal(number)
        assert worker.wait(timeout=20) == -number
        _, alive = psutil.wait_procs(running, timeout=20)
        assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_service_that_is_killed_ends_the_launcher_and_leaves_nothing(service, number):
    with start(service.path, "--processes=1") as worker:
        worker.stdout.readline()
        until(lambda: len(service.below()) >= 2)
        running = service.below()
        service.processes[0].send_signal(number)
        assert worker.wait(timeout=20) == (143 if number == signal.SIGTERM else launcher.BUSY)
        _, alive = psutil.wait_procs(running, timeout=20)
        assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


def test_the_end_of_the_input_ends_it_after_the_jobs_that_came(service):
    with start(service.path, "--processes=1") as worker:
        worker.stdin.write(protocol.encode(job("1", text=TEXT)))
        worker.stdin.close()
        worker.stdin = None
        output = worker.stdout.read()
        assert worker.wait(timeout=20) == 0
    assert b'"type":"result"' in output


def test_nobody_reading_the_answers_ends_all_of_it(service):
    worker = start(service.path)
    worker.stdout.readline()
    worker.stdout.close()
    with pytest.raises(BrokenPipeError):
        for number in range(10_000):
            worker.stdin.write(protocol.encode(job(str(number), text=TEXT)))
            worker.stdin.flush()
    assert worker.wait(timeout=20) == 141
    assert b"Traceback" not in worker.stderr.read()
    worker.stderr.close()
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.close()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\n", "not JSON"),
        (b"[" * 40_000 + b"\n", "not JSON"),
        (b"\xff\xfe\x00\n", "not JSON"),
        (b'{"type":"job","id":"1","text":"x"}\n', "of type options"),
        (b'{"type":"options","options":[],"user":"root"}\n', "no other"),
        (b'{"type":"options","options":"--lease=5"}\n', "not a list of texts"),
        (b'{"type":"options","options":[5]}\n', "not a list of texts"),
        (b'{"type":"options","options":["--lease=1","--exec=sh"]}\n', "no option '--exec'"),
        (b'{"type":"options","options":["--mem=5"]}\n', "no option '--mem'"),
        (b'{"type":"options","options":["--serve"]}\n', "no option '--serve'"),
        (b'{"type":"options","options":["--lease=-1"]}\n', "no value of --lease"),
        (b'{"type":"options","options":["--lease"]}\n', "no value of --lease"),
        (b'{"type":"options","options":["--processes=1\\n"]}\n', "no value of --processes"),
        (b'{"type":"options","options":["--engine=a=os.path:join(1)"]}\n', "no value of --engine"),
        (json.dumps({"type": "options", "options": ["--lease=5"] * 100}).encode() + b"\n", "more than 64"),
        (b'{"type":"options","options":[]}\n{"type":"ping"}\n', "more than one line"),
        (b"x" * (launcher.LONGEST_LINE + 5000) + b"\n", "longer than"),
    ],
)
def test_a_first_line_that_is_not_options_is_refused_with_the_reason(service, line, reason):
    with Path(os.devnull).open("r+b") as nothing:
        answer, connection = send(service.path, line, [nothing.fileno()] * 3)
    connection.close()
    # What is too long may be refused while it is still being sent.
    assert answer is None or (answer["type"] == "refused" and reason in answer["value"])
    process = service.processes[0]
    assert process.wait(timeout=20) == 2
    assert reason.encode() in process.stderr.read()
    assert psutil.Process(os.getpid()).children(recursive=True) == [] or not service.below()[1:]


@pytest.mark.parametrize("count", [0, 1, 2, 4, 40])
def test_another_number_of_descriptors_is_refused(service, count):
    with Path(os.devnull).open("r+b") as nothing:
        answer, connection = send(
            service.path, b'{"type":"options","options":[]}\n', [nothing.fileno()] * count
        )
    connection.close()
    assert answer is not None
    assert answer["type"] == "refused"
    assert "descriptors" in answer["value"]


def test_a_connection_that_says_nothing_is_given_up(tmp_path):
    ours, theirs = socket.socketpair()
    code = "from maw.offload import serve; serve.PATIENCE = 0.3; serve.main()"
    with ours, theirs:
        done = subprocess.run([sys.executable, "-c", code], stdin=theirs, capture_output=True, timeout=20)
    assert done.returncode == 2
    assert b"no line of options came within 0.3 s" in done.stderr


def test_a_wrong_option_is_refused_through_the_service_with_status_2(service):
    said, errors, status = ask(service.path, [], "--exec=sh")
    assert (said, status) == ([], 2)
    assert b"there is no option '--exec'" in errors


def test_a_service_that_is_full_is_said_to_be_busy(tmp_path):
    full = Service(tmp_path / "full.sock", most=0)
    said, errors, status = ask(full.path, [job("1", text=TEXT)])
    full.close()
    assert (said, status) == ([], launcher.BUSY)
    assert b"busy" in errors


def test_without_a_service_the_worker_runs_here_and_says_why_if_its_socket_is_there(tmp_path):
    said, errors, status = ask(tmp_path / "none.sock", [job("1", text=TEXT)])
    assert (said[-1]["type"], errors, status) == ("result", b"", 0)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "left.sock"))
    left.close()
    said, errors, status = ask(tmp_path / "left.sock", [job("1", text=TEXT)])
    assert (said[-1]["type"], status) == ("result", 0)
    assert b"without the limits of its service" in errors


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_need_no_service(service, option):
    with start(service.path, option) as worker:
        output, errors = worker.communicate(timeout=20)
    assert (worker.returncode, errors) == (0, b"")
    assert b"maw-worker" in output
    assert service.processes == []


def test_a_connection_gets_no_more_memory_than_the_service_allows(tmp_path):
    small = Service(tmp_path / "small.sock", **{serve.LIMIT_VARIABLE: "600"})
    options = ["--memory-megabytes=100000", "--processes=1", "--engine=bad=troubled_engines:Eat"]
    lines = [job("bad", text=TEXT, engine="bad"), job("good", text=TEXT)]
    for given in (options, options[1:]):
        said, _, status = ask(small.path, lines, *given)
        found = {line["id"]: line for line in said[1:]}
        assert found["bad"]["kind"] == "DocumentTooLarge"
        assert "600 MB" in found["bad"]["message"]
        assert (found["good"]["type"], status) == ("result", 0)
    small.close()


def test_a_module_in_the_folder_where_it_is_started_is_not_taken_for_a_library(service, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('taken')\n")
    argv = [sys.executable, "-ISP", str(LAUNCHER)]
    for path in (service.path, tmp_path / "none.sock"):
        environment = {**os.environ, launcher.SOCKET_VARIABLE: str(path)}
        done = subprocess.run(
            argv,
            input=protocol.encode(job("1", text=TEXT)),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            timeout=60,
        )
        assert b'"type":"result"' in done.stdout


def test_the_worker_program_serves_too_and_says_what_that_needs():
    argv = [sys.executable, "-m", "maw.offload.worker", "--serve"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"needs a unix socket as standard input" in done.stderr
    done = subprocess.run([*argv, "--lease=5"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"they come with each connection" in done.stderr
