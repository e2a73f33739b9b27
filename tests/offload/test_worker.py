"""The worker as a program: lines in, lines out, and nothing that one job does ends it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from maw.files import sha256_of
from maw.offload.protocol import unpack_text

HERE = Path(__file__).resolve().parent
TEXT = "The house lost power at nine. The UPS held for ten minutes. Then the disks stopped at once."


def start(*options: str, **more) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(HERE), **more.pop("environment", {})}
    argv = [sys.executable, "-m", "maw.offload.worker", *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(argv, env=environment, **pipes, **more)


def ask(lines: list[dict | bytes], *options: str, **more) -> tuple[list[dict], bytes, int]:
    """Give a fresh worker these lines; return its answers, its log and its exit status."""
    data = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    with start(*options, **more) as worker:
        output, errors = worker.communicate(data, timeout=120)
    return [json.loads(line) for line in output.splitlines()], errors, worker.returncode


def job(identifier: str, **fields) -> dict:
    return {"type": "job", "id": identifier, **fields}


def answers(said: list[dict]) -> dict:
    return {message["id"]: message for message in said if message["type"] in ("result", "error")}


def test_it_greets_then_answers_and_ends_with_its_input():
    said, errors, status = ask([job("1", text=TEXT, sentences=1, return_text=True)])
    hello, text, result = said
    assert (hello["type"], hello["protocol"], hello["engines"]) == (
        "hello",
        1,
        {"extractive": "extractive-1"},
    )
    assert (text["type"], text["id"], unpack_text([text["data"]])[0]) == ("text", "1", TEXT)
    assert (result["type"], result["engine"], result["text_sha256"]) == (
        "result",
        "extractive",
        sha256_of(TEXT),
    )
    (sentence,) = result["summary"]
    assert TEXT[sentence["start"] : sentence["end"]] == sentence["text"]
    assert (errors, status) == (b"", 0)


def test_bytes_in_parts_are_put_together_in_order():
    parts = [
        base64.b64encode(TEXT.encode()[start : start + 20]).decode() for start in range(0, len(TEXT), 20)
    ]
    lines = [{"type": "part", "id": "1", "data": part} for part in parts]
    said, _, _ = ask([*lines, job("1", parts=len(parts), return_text=True)])
    assert answers(said)["1"]["sha256"] == sha256_of(TEXT)


def test_bad_lines_and_bad_jobs_are_error_lines_and_the_good_ones_are_done():
    lines = [
        b"this is not JSON\n",
        b"\xff\xfe\x00\n",
        {"type": "job", "id": "unknown-field", "text": TEXT, "command": "rm"},
        job("nothing"),
        job("two", text=TEXT, url="http://127.0.0.1:9/"),
        {"type": "part", "id": "broken", "data": "***"},
        job("broken", parts=1),
        job("lost", parts=3),
        job("empty", parts=0),
        job("blank", text=" \n "),
        job("engine", text=TEXT, engine="oracle"),
        job("scheme", url="file:///etc/passwd"),
        job("data", data="***"),
        job("good", text=TEXT),
        {"type": "ping"},
    ]
    said, _, status = ask(lines)
    found = answers(said)
    assert found["good"]["type"] == "result"
    kinds = {key: message["kind"] for key, message in found.items() if key and message["type"] == "error"}
    assert kinds == {
        "nothing": "ProtocolError",
        "two": "ProtocolError",
        "broken": "ProtocolError",
        "lost": "ProtocolError",
        "data": "ProtocolError",
        "empty": "EmptyDocument",
        "blank": "EmptyDocument",
        "engine": "EngineUnavailable",
        "scheme": "FetchFailed",
    }
    assert sum(message["type"] == "error" and message["id"] is None for message in said) >= 2
    assert sum(message["type"] == "pong" for message in said) == 1
    assert status == 0


@pytest.mark.parametrize("trouble", ["Crash", "Exit", "Raise", "Eat", "Print"])
def test_an_engine_that_misbehaves_costs_one_job_and_not_the_worker(trouble):
    options = ["--processes=1", "--memory-megabytes=600", f"--engine=bad=troubled_engines:{trouble}"]
    said, _, status = ask([job("bad", text=TEXT, engine="bad"), job("good", text=TEXT)], *options)
    found = answers(said)
    expected = {
        "Crash": "WorkerDied",
        "Exit": "WorkerDied",
        "Raise": "ZeroDivisionError",
        "Eat": "DocumentTooLarge",
    }
    if trouble == "Print":
        assert found["bad"]["type"] == "result", "what an engine prints must not reach the answers"
    else:
        assert found["bad"]["kind"] == expected[trouble]
    assert found["good"]["type"] == "result"
    assert status == 0


def test_a_job_that_never_ends_is_stopped_when_its_time_is_up():
    options = ["--processes=1", "--engine=slow=troubled_engines:Sleep"]
    started = time.monotonic()
    said, _, _ = ask([job("slow", text=TEXT, engine="slow", timeout=1.0), job("good", text=TEXT)], *options)
    found = answers(said)
    assert found["slow"]["kind"] == "JobTimedOut"
    assert found["good"]["type"] == "result"
    assert time.monotonic() - started < 20


def test_results_come_as_they_finish():
    options = ["--processes=2", "--engine=slow=troubled_engines:Nap"]
    said, _, _ = ask([job("slow", text=TEXT, engine="slow"), job("quick", text=TEXT)], *options)
    assert list(answers(said)) == ["quick", "slow"]


def test_a_document_over_the_limit_is_refused_whether_in_parts_or_not():
    data = base64.b64encode(b"word " * 50_000).decode()
    lines = [{"type": "part", "id": "large", "data": data} for _ in range(6)]
    said, _, _ = ask([*lines, job("large", parts=6), job("good", text=TEXT)], "--document-megabytes=1")
    found = answers(said)
    assert found["large"]["kind"] == "DocumentTooLarge"
    assert found["good"]["type"] == "result"


def test_without_a_sign_of_life_it_ends_when_its_lease_does():
    with start("--lease=1") as worker:
        worker.stdout.readline()
        started = time.monotonic()
        assert worker.wait(timeout=20) == 1
        assert time.monotonic() - started < 5
        assert b"giving up" in worker.stderr.read()


def test_pings_keep_it_alive_past_its_lease():
    with start("--lease=1") as worker:
        worker.stdout.readline()
        for _ in range(6):
            time.sleep(0.4)
            worker.stdin.write(b'{"type":"ping"}\n')
            worker.stdin.flush()
            assert json.loads(worker.stdout.readline()) == {"type": "pong"}
        worker.stdin.close()
        assert worker.wait(timeout=20) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_its_inner_processes_and_its_spool_end_with_it(number, tmp_path):
    environment = {"TMPDIR": str(tmp_path)}
    with start("--engine=slow=troubled_engines:Sleep", environment=environment) as worker:
        worker.stdout.readline()
        part = {"type": "part", "id": "1", "data": base64.b64encode(TEXT.encode()).decode()}
        for line in (part, job("1", parts=1, engine="slow")):
            worker.stdin.write(json.dumps(line).encode() + b"\n")
        worker.stdin.flush()
        deadline = time.monotonic() + 20
        while not (inner := psutil.Process(worker.pid).children()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert inner
        worker.send_signal(number)
        worker.wait(timeout=20)
        _, alive = psutil.wait_procs(inner, timeout=10)
    assert not alive
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_there_is_named_and_jobs_that_need_no_disk_go_on(small_disk):
    data = base64.b64encode(os.urandom(400_000)).decode()
    lines = [{"type": "part", "id": "large", "data": data} for _ in range(10)]
    said, _, _ = ask(
        [*lines, job("large", parts=10, name="the large one"), job("good", text=TEXT)],
        environment={"TMPDIR": str(small_disk)},
    )
    found = answers(said)
    assert found["large"]["kind"] == "DiskFull"
    assert "the large one" in found["large"]["message"]
    assert found["good"]["type"] == "result"


def test_nobody_reading_its_answers_ends_it_quietly():
    worker = start("--processes", "4")
    worker.stdout.readline()
    worker.stdout.close()
    with worker.stderr:
        # Closing the input breaks once more, whatever broke before.
        with pytest.raises(BrokenPipeError), worker.stdin:
            for number in range(10_000):
                worker.stdin.write(json.dumps(job(str(number), text=TEXT)).encode() + b"\n")
                worker.stdin.flush()
        assert worker.wait(timeout=20) == 141
        assert worker.stderr.read() == b""
