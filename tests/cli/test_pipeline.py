"""`maw pipeline` and `maw summarize` as a person runs them, over a real SSH connection."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jsonschema
import psutil
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/schema/pipeline.json").read_text("utf-8"))
ARGV = [sys.executable, "-c", "from maw.cli import maw; maw()"]
PROSE = (
    "The house lost power at nine in the evening. The UPS kept the server alive for ten minutes. "
    "Nobody had tested the restore of the backup since spring. In the morning the array was degraded. "
    "A new battery was ordered the same day. The restore took two hours and one file was missing."
)
THAI = "เมื่อคืนไฟดับตอนสามทุ่ม เครื่องสำรองไฟช่วยไว้ได้สิบนาที แต่ไม่มีใครเคยทดสอบการกู้คืนข้อมูล"


def answer(result: subprocess.CompletedProcess) -> dict:
    """The one JSON object of a run, checked against the published schema."""
    report = json.loads(result.stdout)
    jsonschema.validate(report, SCHEMA)
    return report


def without_times(report: dict) -> dict:
    """What must be the same when the same command is run again."""
    documents = [
        {key: value for key, value in one.items() if key not in ("seconds", "reused")}
        for one in report["documents"]
    ]
    return {"status": report["status"], "documents": documents, "analysis": report["analysis"]}


def by_source(report: dict) -> dict:
    return {Path(one["source"]).name: one for one in report["documents"]}


@pytest.fixture
def documents(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "english.txt").write_text(PROSE, "utf-8")
    (folder / "ไทย.txt").write_text(THAI, "utf-8")
    (folder / "notes.md").write_text(f"# Notes\n\n{PROSE[::1].replace('UPS', 'battery')}\n", "utf-8")
    return folder


@pytest.mark.sshd
def test_the_examples_are_summarised_over_ssh_and_every_offset_holds(workspace, maw_command, tmp_path):
    saved = tmp_path / "texts"
    result = maw_command(
        "pipeline",
        str(ROOT / "examples"),
        "--on",
        "loopback",
        "--json",
        "--save-text",
        str(saved),
        "--question",
        "What should I do before the power goes out?",
    )
    assert result.returncode == 0, result.stderr.decode()
    report = answer(result)
    assert report["status"] == "done"
    assert len(report["documents"]) >= 6
    texts = {}
    for document in report["documents"]:
        assert document["host"] == "loopback"
        text = texts[document["source"]] = Path(document["text_file"]).read_bytes().decode("utf-8")
        assert document["summary"]
        for sentence in document["summary"]:
            assert text[sentence["start"] : sentence["end"]] == sentence["text"]
    citations = report["analysis"]["citations"]
    assert len(citations) >= 5
    assert len({citation["source"] for citation in citations}) >= 3
    for citation in citations:
        assert texts[citation["source"]][citation["start"] : citation["end"]] == citation["quote"]
        assert f"[{citation['n']}]" in report["analysis"]["text"]


@pytest.mark.sshd
def test_the_record_in_the_soul_says_what_happened(workspace, maw_command, documents):
    report = answer(maw_command("pipeline", str(documents), "--on", "loopback", "--json"))
    path = Path(report["record"])
    assert path.parent == workspace.soul / "memory" / "logs"
    facts = yaml.safe_load(path.read_text("utf-8").split("---\n")[1])
    assert (facts["kind"], facts["status"], facts["engine"]) == ("pipeline", "done", "extractive")
    for entry, document in zip(facts["documents"], report["documents"], strict=True):
        assert {key: entry[key] for key in ("source", "sha256", "host", "engine", "status")} == {
            key: document[key] for key in ("source", "sha256", "host", "engine", "status")
        }


def test_what_a_person_sees_ends_with_what_was_checked(workspace, maw_command, documents):
    result = maw_command("pipeline", str(documents), "--on", "local")
    text = result.stdout.decode()
    assert result.returncode == 0
    assert result.stderr == b""
    assert "extractive on local" in text
    assert "Citations" in text
    last = text.strip().splitlines()[-1]
    assert last.startswith("done in ")
    assert "3 summarised" in last
    assert "recorded in" in last
    assert "\x1b" not in text


def test_summarize_makes_no_digest_and_no_record(workspace, maw_command, documents):
    report = answer(maw_command("summarize", str(documents), "--on", "local", "--json"))
    assert report["analysis"] is None
    assert report["record"] is None
    assert list((workspace.soul / "memory" / "logs").iterdir()) == []


def test_standard_input_is_a_document(workspace, maw_command):
    report = answer(maw_command("summarize", "-", "--on", "local", "--json", stdin=PROSE.encode()))
    assert report["documents"][0]["source"] == "-"
    assert report["documents"][0]["status"] == "done"


def test_the_same_command_again_reuses_everything_and_starts_no_worker(workspace, maw_command, documents):
    first = answer(maw_command("pipeline", str(documents), "--on", "local", "--json"))
    second = answer(maw_command("pipeline", str(documents), "--on", "local", "--json"))
    assert all(document["reused"] for document in second["documents"])
    assert without_times(first) == without_times(second)


def test_an_engine_that_is_not_there_yet_is_replaced_and_the_result_says_so(
    workspace, maw_command, documents
):
    report = answer(
        maw_command("summarize", str(documents), "--on", "local", "--engine", "t5gemma2", "--json")
    )
    assert {(one["engine"], one["fallback_for"]) for one in report["documents"]} == {
        ("extractive", "t5gemma2")
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "extractiv"], "Did you mean extractive"),
        (["--on", "loopbck"], "There is no host called loopbck"),
        (["--question", "  "], "question is empty"),
        (["--sentences", "0"], "0 is not in the range"),
    ],
)
def test_misuse_is_exit_code_2_and_says_what_to_do(workspace, maw_command, documents, arguments, words):
    result = maw_command("pipeline", str(documents), *arguments)
    assert result.returncode == 2
    assert words in result.stderr.decode()
    assert result.stdout == b""


def test_nothing_to_read_is_exit_code_2(workspace, maw_command, tmp_path):
    (tmp_path / "empty-folder").mkdir()
    result = maw_command("pipeline", str(tmp_path / "empty-folder"))
    assert result.returncode == 2
    assert b"nothing to read" in result.stderr


def test_bad_documents_each_get_a_line_and_the_others_are_done(workspace, maw_command, documents, tmp_path):
    (documents / "empty.txt").touch()
    (documents / "binary.txt").write_bytes(os.urandom(5000))
    (documents / "noise.pdf").write_bytes(b"%PDF-1.7 this is no PDF")
    (documents / "again.txt").write_text(PROSE, "utf-8")
    (documents / "tis620.txt").write_bytes(THAI.encode("tis-620"))
    (documents / "utf16.txt").write_bytes(b"\xff\xfe" + (PROSE + " Another one.").encode("utf-16-le"))
    (documents / "loop.txt").symlink_to(documents / "loop.txt")
    (documents / "picture.png").write_bytes(b"\x89PNG\r\n")
    hostile = ["$(touch hacked).txt", "new\nline 'quote\" `x`.txt", "😀 ไฟดับ.txt", "-rf.txt"]
    for number, name in enumerate(hostile):
        (documents / name).write_text(f"Document number {number}. {PROSE}", "utf-8")
    result = maw_command("pipeline", str(documents), str(tmp_path / "missing.txt"), "--on", "local", "--json")
    report = answer(result)
    assert result.returncode == 3, result.stderr.decode()
    assert report["status"] == "partial"
    found = by_source(report)
    kinds = {name: one["error_kind"] for name, one in found.items() if one["status"] == "failed"}
    assert kinds == {
        "empty.txt": "EmptyDocument",
        "binary.txt": "BinaryDocument",
        "noise.pdf": "DamagedDocument",
        "missing.txt": "CannotRead",
    }
    for one in found.values():
        if one["status"] == "failed":
            assert Path(one["source"]).name in one["error"]
            assert "\n" not in one["error"]
    duplicates = [one for one in found.values() if one["status"] == "duplicate"]
    assert [Path(one["duplicate_of"]).name for one in duplicates] == ["again.txt"]
    assert any("TIS-620" in note for note in found["tis620.txt"]["notes"])
    assert sum(one["status"] == "done" for one in found.values()) == 3 + 2 + len(hostile)
    assert {Path(one["source"]).name for one in report["skipped"]} == {"loop.txt", "picture.png"}
    assert not any("hacked" in str(path) for path in Path.cwd().iterdir())
    assert "kept apart" not in report["error"]
    assert b"4 failed" in result.stderr


def test_when_nothing_can_be_done_the_exit_code_is_4_and_there_is_no_done(workspace, maw_command, tmp_path):
    (tmp_path / "empty.txt").touch()
    result = maw_command("pipeline", str(tmp_path / "empty.txt"), "--on", "local")
    assert result.returncode == 4
    assert b"done in" not in result.stdout


@pytest.mark.sshd
def test_an_unreachable_satellite_is_named_with_the_next_step(workspace, maw_command, documents, free_port):
    inventory = workspace.inventory / "hosts.yml"
    listing = json.loads(inventory.read_text("utf-8"))
    listing["satellites"]["hosts"]["loopback"]["ansible_port"] = free_port
    inventory.write_text(json.dumps(listing), "utf-8")
    result = maw_command("pipeline", str(documents), "--on", "loopback", "--json")
    assert result.returncode == 241
    report = answer(result)
    assert {one["error_kind"] for one in report["documents"]} == {"HostUnreachable"}
    assert b"cutter nodes" in result.stderr


@pytest.mark.sshd
def test_a_satellite_without_a_worker_is_named_with_the_next_step(workspace, maw_command, documents):
    inventory = workspace.inventory / "hosts.yml"
    listing = json.loads(inventory.read_text("utf-8"))
    listing["satellites"]["hosts"]["loopback"]["maw_worker_command"] = ["no-such-worker"]
    inventory.write_text(json.dumps(listing), "utf-8")
    result = maw_command("pipeline", str(documents), "--on", "loopback", "--json")
    assert result.returncode == 31
    assert "no-such-worker" in answer(result)["error"]


@pytest.mark.sshd
def test_a_changed_host_key_stops_the_run_before_anything_is_sent(workspace, maw_command, documents):
    line = workspace.known_hosts.read_text("ascii").split()
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    workspace.known_hosts.write_text(f"{line[0]} {line[1]} {other}\n", "ascii")
    result = maw_command("pipeline", str(documents), "--on", "loopback", "--json")
    assert result.returncode == 243
    assert b"CHANGED" in result.stderr
    assert b"cutter trust loopback --fingerprint SHA256:" in result.stderr


class Pages(BaseHTTPRequestHandler):
    """A small web site with good and bad pages."""

    def do_GET(self) -> None:
        if self.path == "/good":
            body = (
                f"<html><body><article><p>{PROSE}</p><p>{PROSE.upper()}</p></article></body></html>".encode()
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif self.path == "/huge":
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 30))
            self.end_headers()
        elif self.path == "/hang":
            time.sleep(8)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.sshd
def test_pages_are_fetched_on_the_satellite_and_bad_ones_are_named(workspace, maw_command, site):
    (workspace.root / "maw.toml").write_text("[text]\nfetch_stall_seconds = 1\nfetch_seconds = 3\n", "utf-8")
    pages = ["good", "missing", "loop", "huge", "hang"]
    result = maw_command("pipeline", *(f"{site}/{page}" for page in pages), "--on", "loopback", "--json")
    assert result.returncode == 3, result.stderr.decode()
    report = answer(result)
    found = by_source(report)
    assert found["good"]["status"] == "done"
    assert found["good"]["kind"] == "html"
    assert {found[page]["status"] for page in pages[1:]} == {"failed"}
    assert "404" in found["missing"]["error"]
    assert "redirect" in found["loop"]["error"]
    assert found["huge"]["error_kind"] in ("DocumentTooLarge", "FetchFailed")


def test_thousands_of_files_are_done_in_one_run(workspace, maw_command, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5000):
        (folder / f"{number:05}.txt").write_text(
            f"File {number} says {number * 7}. {THAI} {number}.", "utf-8"
        )
    result = maw_command("summarize", str(folder), "--on", "local", "--json", "--sentences", "1")
    assert result.returncode == 0, result.stderr.decode()
    report = answer_without_schema(result)
    assert len(report["documents"]) == 5000
    assert {one["status"] for one in report["documents"]} == {"done"}


def answer_without_schema(result: subprocess.CompletedProcess) -> dict:
    """For thousands of documents: one is checked for all."""
    report = json.loads(result.stdout)
    jsonschema.validate({**report, "documents": report["documents"][:1]}, SCHEMA)
    return report


def test_a_full_disk_on_the_core_is_named_and_the_same_command_goes_on_later(
    workspace, maw_command, documents, small_disk
):
    state = workspace.state
    state.mkdir(exist_ok=True)
    (state / "ledger.sqlite3").symlink_to(small_disk / "ledger.sqlite3")
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 1_500_000)
    (documents / "long.txt").write_bytes(os.urandom(1_500_000).hex().encode())
    result = maw_command("pipeline", str(documents), "--on", "local")
    assert result.returncode == 13, (result.stdout, result.stderr)
    assert b"No space is left" in result.stderr
    assert b"done in" not in result.stdout
    filler.unlink()
    (documents / "long.txt").unlink()
    assert maw_command("pipeline", str(documents), "--on", "local").returncode == 0


def test_an_output_that_cannot_be_written_is_no_success(workspace, documents):
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [*ARGV, "summarize", str(documents), "--on", "local", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert result.returncode == 13
    assert b"could not be written" in result.stderr


@pytest.fixture
def many(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        body = " ".join(f"Room {number} holds machine {n} with {n * number} parts." for n in range(300))
        (folder / f"{number:03}.txt").write_text(body, "utf-8")
    return folder


def run_in_background(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*ARGV, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def leftovers() -> list[psutil.Process]:
    """Worker processes that still run (the satellite is this machine)."""
    everything = psutil.process_iter(["cmdline"])
    return [process for process in everything if "maw.offload.worker" in (process.info["cmdline"] or [])]


@pytest.mark.sshd
def test_kill_at_twenty_random_moments_then_the_same_command_completes_with_the_same_result(
    workspace, maw_command, many
):
    arguments = [
        "pipeline",
        str(many),
        "--on",
        "loopback",
        "--json",
        "--question",
        "which machine has most parts?",
    ]
    expected = answer(maw_command(*arguments, env={"MAW_WORKSPACE": str(_twin(workspace))}))
    chance = random.Random(20)
    attempts: dict[str, int] = {}
    for _ in range(20):
        process = run_in_background(*arguments)
        time.sleep(chance.uniform(0.05, 1.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        finished = _finished(workspace)
        for key, number in attempts.items():
            assert finished.get(key) == number, "a finished job was done again"
        attempts = finished
    result = maw_command(*arguments)
    assert result.returncode == 0, result.stderr.decode()
    report = answer(result)
    assert without_times(report) == without_times(expected)
    assert sum(one["reused"] for one in report["documents"]) >= len(attempts)
    for key, number in attempts.items():
        assert _finished(workspace)[key] == number, "a finished job was done again"
    _, alive = psutil.wait_procs(leftovers(), timeout=15)
    assert not alive, "a worker outlived its core"


def _twin(workspace) -> Path:
    """A second workspace with the same satellite, for an undisturbed run."""
    import shutil

    twin = workspace.root.parent / "twin"
    shutil.copytree(workspace.root, twin, ignore=shutil.ignore_patterns(".maw"))
    return twin


def _finished(workspace) -> dict[str, int]:
    path = workspace.state / "ledger.sqlite3"
    if not path.exists():
        return {}
    with closing(sqlite3.connect(path, timeout=10)) as database:
        # The file is there before the first transaction has made its tables.
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchall():
            return {}
        rows = database.execute("SELECT key, attempts FROM jobs WHERE state = 'done'").fetchall()
    return dict(rows)


@pytest.mark.sshd
@pytest.mark.parametrize("victim", ["worker", "inner", "sshd"])
def test_what_dies_on_the_satellite_mid_run_is_started_again_and_all_is_done(workspace, many, victim):
    process = run_in_background("pipeline", str(many), "--on", "loopback", "--json")
    deadline = time.monotonic() + 30
    while len(_finished(workspace)) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    _kill(victim)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    report = json.loads(output)
    assert report["status"] == "done"
    assert len(report["documents"]) == 60


def _kill(victim: str) -> None:
    if victim == "sshd":
        (worker, *_) = leftovers()
        worker.parent().kill()
    else:
        word = "maw.offload.worker" if victim == "worker" else "maw.offload.executor"
        for process in psutil.process_iter(["cmdline"]):
            if word in (process.info["cmdline"] or []):
                process.kill()
                return
        pytest.fail(f"no {victim} was found to kill")


@pytest.mark.sshd
def test_interrupting_is_exit_code_130_and_leaves_no_worker(workspace, many):
    process = run_in_background("pipeline", str(many), "--on", "loopback")
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors.decode()
    assert b"Run the same command again" in errors
    assert b"Traceback" not in errors
    _, alive = psutil.wait_procs(leftovers(), timeout=15)
    assert not alive


@pytest.mark.sshd
def test_two_runs_at_once_share_the_work_and_agree(workspace, many):
    arguments = ["summarize", str(many), "--on", "loopback", "--json"]
    both = [run_in_background(*arguments) for _ in range(2)]
    reports = []
    for process in both:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
        reports.append(without_times(json.loads(output)))
    assert reports[0] == reports[1]
    assert set(_finished(workspace).values()) == {1}, "a job was done twice"
