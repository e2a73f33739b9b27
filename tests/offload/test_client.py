"""The core's side: what an untrusted satellite sends is checked, and why it fails is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from maw.config import OffloadSettings, TextSettings
from maw.errors import MawError, ProtocolError, WorkerDied, WorkerMissing
from maw.offload.client import Job, WorkerClient, worker_arguments
from maw.offload.dispatch import Dispatcher
from maw.offload.worker import arguments
from maw.transport.local import LocalTransport

HERE = Path(__file__).resolve().parent
TEXT = "The house lost power at nine. The UPS held for ten minutes."


@pytest.fixture
def local():
    with LocalTransport() as transport:
        yield transport


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "document.txt"
    path.write_text(TEXT, "utf-8")
    return path


def hostile(transport: LocalTransport, mode: str) -> WorkerClient:
    return WorkerClient(transport, [sys.executable, str(HERE / "hostile_worker.py"), mode], lease=60)


def real(transport: LocalTransport) -> WorkerClient:
    return WorkerClient(transport, [sys.executable, "-m", "maw.offload.worker", "--processes=1"], lease=60)


def job(path: Path, identifier: str = "1") -> Job:
    return Job(identifier, path.name, "extractive", 2, path=path)


def test_a_real_worker_does_a_job_and_ends_when_it_is_closed(local, document):
    client = real(local)
    client.submit(job(document))
    outcome = client.next_outcome(timeout=60)
    assert outcome.text == TEXT
    assert outcome.result["summary"]
    client.close()


def test_the_worker_understands_every_option_that_the_core_gives():
    options = worker_arguments(OffloadSettings(processes=3, lease=7), TextSettings(document_megabytes=5))
    chosen = arguments(options)
    assert (chosen.processes, chosen.lease, chosen.document_megabytes) == (3, 7.0, 5)


@pytest.mark.parametrize(
    ("mode", "error", "words"),
    [
        ("banner", ProtocolError, "login script"),
        ("protocol", ProtocolError, "speaks protocol 99"),
        ("silent-death", WorkerDied, "no space left for my heart"),
    ],
)
def test_what_does_not_greet_is_no_worker(local, mode, error, words):
    with pytest.raises(error, match=words):
        hostile(local, mode)


def test_a_program_that_is_not_there_is_a_missing_worker(local):
    with pytest.raises(WorkerMissing, match="maw_worker_command"):
        WorkerClient(local, ["sh", "-c", "exit 127"], lease=60)


@pytest.mark.parametrize("mode", ["garbage", "stranger", "endless", "unpackable"])
def test_lines_that_are_none_end_the_conversation(local, document, mode):
    client = hostile(local, mode)
    client.submit(job(document))
    with pytest.raises(ProtocolError):
        client.next_outcome(timeout=60)
    client.close()


def test_what_a_satellite_says_cannot_drive_the_terminal(local, document):
    client = hostile(local, "escape")
    client.submit(job(document))
    outcome = client.next_outcome(timeout=60)
    assert "\x1b" not in outcome.error + outcome.error_kind
    assert "\n" not in outcome.error
    client.close()


def test_a_job_whose_file_vanished_is_an_error_of_that_job_alone(local, document, tmp_path):
    dispatcher = Dispatcher(lambda: real(local), "local")
    with pytest.raises(OSError, match="No such file"):
        dispatcher.submit(job(tmp_path / "vanished.txt", "0"))
    dispatcher.submit(job(document))
    outcomes = []
    while dispatcher.busy:
        outcomes += dispatcher.collect(60)
    assert [outcome.identifier for outcome in outcomes] == ["1"]
    assert outcomes[0].error is None
    dispatcher.close()


def test_a_worker_that_keeps_dying_fails_its_job_with_the_reason_and_is_given_up(local, document):
    argv = [sys.executable, "-c", DYING]
    dispatcher = Dispatcher(lambda: WorkerClient(local, argv, lease=60), "local")
    outcomes = []
    for number in range(4):
        try:
            dispatcher.submit(job(document, str(number)))
        except MawError:
            break
        while dispatcher.busy:
            outcomes += dispatcher.collect(10)
    assert {outcome.error_kind for outcome in outcomes} == {"WorkerDied"}
    assert dispatcher.failure is not None
    dispatcher.close()


DYING = """
import json, sys
print(json.dumps({"type": "hello", "protocol": 1, "version": "0", "host": "h",
                  "engines": {"extractive": "extractive-1"}, "processes": 1}), flush=True)
for line in sys.stdin:
    if json.loads(line)["type"] == "job":
        sys.exit(3)
"""
