"""The post-conditions: what must hold before maw says done."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import HostUnreachable, NothingSucceeded, PartialSuccess
from maw.offload.client import WorkerClient
from maw.offload.jobs import Ledger
from maw.pipeline import finish
from maw.pipeline.report import Document, Request
from maw.pipeline.run import Pipeline
from maw.text.sources import Source
from maw.transport.local import LocalTransport

HOSTILE = Path(__file__).resolve().parents[1] / "offload" / "hostile_worker.py"
TEXT = "The house lost power at nine. The UPS held for ten minutes."


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("false-summary", "AnswerRejected", "not what the text says there"),
        ("outside", "AnswerRejected", "outside the text"),
        ("empty", "AnswerRejected", "it is empty"),
        ("not-a-list-of-sentences", "AnswerRejected", "not a list of sentences"),
        ("other-input", "DocumentChanged", "changed while it was being read"),
        ("other-text", "AnswerRejected", "did not arrive whole"),
        ("garbage", "ProtocolError", "not JSON"),
    ],
)
def test_an_answer_that_does_not_hold_is_never_done(tmp_path, mode, kind, words):
    path = tmp_path / "document.txt"
    path.write_text(TEXT, "utf-8")
    request = Request(sources=[Source("document.txt", "file", path)])
    with Ledger(tmp_path / "ledger.sqlite3") as ledger, LocalTransport() as transport:
        argv = [sys.executable, str(HOSTILE), mode]
        run = Pipeline(
            request,
            ledger=ledger,
            connect=lambda: WorkerClient(transport, argv, lease=60),
            host="local",
            stdin=sys.stdin,
            on_document=lambda _: None,
        )
        report = run.run(tmp_path / "soul")
        counts = ledger.counts()
    (document,) = report.documents
    assert report.status == "failed"
    assert (document.status, document.error_kind) == ("failed", kind)
    assert words in document.error
    assert counts == {"failed": 1}
    assert "status: failed" in Path(report.record).read_text("utf-8")


def test_a_file_that_may_not_be_read_fails_without_a_worker_being_started(unprivileged):
    secret = unprivileged / "secret.txt"
    secret.write_text(TEXT, "utf-8")
    secret.chmod(0)
    with Ledger(unprivileged / "ledger.sqlite3") as ledger:
        run = Pipeline(
            Request(sources=[Source("secret.txt", "file", secret)]),
            ledger=ledger,
            connect=lambda: pytest.fail("nothing was there to send"),
            host="local",
            stdin=sys.stdin,
            on_document=lambda _: None,
        )
        report = run.run(None)
    (document,) = report.documents
    assert (document.status, document.error_kind) == ("failed", "CannotRead")
    assert "secret.txt" in document.error
    assert "Permission denied" in document.error


def documents(*states: str) -> list[Document]:
    return [
        Document(f"{number}.txt", status=state, error_kind="TextError") for number, state in enumerate(states)
    ]


def test_the_whole_is_done_partial_or_failed():
    assert finish.status(documents("done", "duplicate")) == "done"
    assert finish.status(documents("done", "failed")) == "partial"
    assert finish.status(documents("failed", "failed")) == "failed"


def test_the_verdict_is_the_link_when_nothing_could_be_done_for_its_sake():
    down = HostUnreachable(host="notebook", addresses="192.168.1.146", reason="No route to host")
    assert finish.verdict(documents("done"), None) is None
    assert isinstance(finish.verdict(documents("done", "failed"), down), PartialSuccess)
    assert finish.verdict(documents("failed"), down) is down
    assert isinstance(finish.verdict(documents("failed"), None), NothingSucceeded)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("folder/บันทึก.txt", "บันทึก.txt.txt"),
        ("../../etc/passwd", "passwd.txt"),
        ("https://example.org/a?b=c", "a_b=c.txt"),
        ("https://example.org/", "example.org.txt"),
        ("..", "text.txt"),
        ("-", "-.txt"),
    ],
)
def test_a_text_is_saved_under_a_name_that_cannot_leave_its_folder(source, name):
    assert finish.file_name(source) == name


@given(st.text(min_size=1))
def test_any_source_gives_a_file_name_that_fits(source):
    name = finish.file_name(source)
    assert "/" not in name
    assert name not in (".", "..")
    assert len(name.encode("utf-8", "surrogatepass")) <= 255
