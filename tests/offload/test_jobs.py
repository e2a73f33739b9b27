"""The ledger: nothing is lost by a kill, nothing is done twice, two at once do not clash."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from maw.errors import DiskFull, LedgerError
from maw.files import sha256_of
from maw.offload.jobs import Ledger, is_gone, job_key, this_owner

HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent)}


def complete(ledger, key, text="text", **more):
    """Record a job as done, as the pipeline does."""
    content = text.encode("utf-8", "surrogatepass")
    result = {"text_sha256": sha256_of(content), "characters": len(text), **more}
    ledger.complete(key, result, zlib.compress(content), host="loopback")
    return result


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite3") as opened:
        yield opened


def as_another_process(path: Path, statement: str) -> str:
    program = (
        f"import sys; from pathlib import Path; from maw.offload.jobs import Ledger; "
        f"ledger = Ledger(Path(sys.argv[1])); {statement}"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_a_job_is_ours_then_done_with_its_result_and_text(ledger):
    assert ledger.claim("key", "source").state == "ours"
    assert ledger.finished("key") is None
    result = complete(ledger, "key", "ข้อความ 😀 \ud800")
    claim = ledger.claim("key", "source")
    assert (claim.state, claim.result, claim.host) == ("done", result, "loopback")
    assert ledger.text(sha256_of("ข้อความ 😀 \ud800")) == "ข้อความ 😀 \ud800"


def test_a_failed_job_is_taken_again(ledger):
    ledger.claim("key", "source")
    ledger.fail("key", "the reason", host="loopback")
    assert ledger.counts() == {"failed": 1}
    assert ledger.claim("key", "source").state == "ours"


def test_what_a_living_process_has_leased_is_busy_for_another(ledger):
    ledger.claim("key", "source")
    assert as_another_process(ledger.path, "print(ledger.claim('key', 's').state)") == "busy"


def test_the_lease_of_a_killed_process_is_free_at_once(ledger):
    statement = "ledger.claim('key', 's'); print('held', flush=True); import time; time.sleep(60)"
    program = (
        f"import sys; from pathlib import Path; from maw.offload.jobs import Ledger; "
        f"ledger = Ledger(Path(sys.argv[1])); {statement}"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(ledger.path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert ledger.claim("key", "source").state == "busy"
        holder.send_signal(signal.SIGKILL)
    assert ledger.claim("key", "source").state == "ours"


def test_closing_the_ledger_gives_its_leases_back(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    with Ledger(path) as first:
        first.claim("key", "source")
    assert as_another_process(path, "print(ledger.claim('key', 's').state)") == "ours"


def test_the_key_depends_on_every_part_of_a_job():
    job = {"content": "a", "engine": "e", "model": "m", "parameters": {"n": 1}}
    keys = {
        job_key(**{**job, part: other})
        for part, other in [
            ("content", "b"),
            ("engine", "f"),
            ("model", "n"),
            ("parameters", {"n": 2}),
            ("content", "a"),
        ]
    }
    assert len(keys) == 5
    assert job_key(**job) in keys


def test_a_kill_at_any_moment_leaves_a_readable_ledger_and_whole_results(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    program = (
        "import sys; from pathlib import Path; from maw.offload.jobs import Ledger\n"
        "from test_jobs import complete\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "for n in range(10**9):\n"
        "    ledger.claim(str(n), 's'); complete(ledger, str(n), 'text %d' % n * 50, n=n)\n"
        "    print(n, flush=True)\n"
    )
    for delay in (0.0, 0.02, 0.05, 0.09, 0.14):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, env=HERE
        ) as writer:
            writer.stdout.readline()
            time.sleep(delay)
            writer.kill()
            said = writer.stdout.read().split()
        with Ledger(path) as ledger:
            finished = [int(word) for word in said[:-1]]
            for number in finished:
                assert ledger.finished(str(number)).result["n"] == number
                assert ledger.text(sha256_of(f"text {number}" * 50)) == f"text {number}" * 50


def test_two_processes_that_start_at_once_share_one_new_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    program = (
        "import sys; from pathlib import Path; from maw.offload.jobs import Ledger\n"
        "with Ledger(Path(sys.argv[1])) as ledger:\n"
        "    print(sum(ledger.claim(str(n), 's').state == 'ours' for n in range(200)))\n"
        "    sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    both = [subprocess.Popen([sys.executable, "-c", program, str(path)], **pipes) for _ in range(4)]
    # All stay alive until each has counted, so that no lease is given back meanwhile.
    taken = [int(process.stdout.readline()) for process in both]
    for process in both:
        process.communicate(b"")
        assert process.returncode == 0
    assert sum(taken) == 200


def test_a_run_that_was_killed_is_taken_up_and_a_closed_one_is_not(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    killed = as_another_process(path, "print(ledger.open_run('key'), flush=True); import os; os._exit(0)")
    with Ledger(path) as ledger:
        assert ledger.open_run("key") == killed
        assert ledger.open_run("other") != killed
        ledger.close_run(killed)
        assert ledger.open_run("key") != killed


def test_a_run_of_a_living_process_is_its_own(ledger):
    mine = ledger.open_run("key")
    assert as_another_process(ledger.path, "print(ledger.open_run('key'))") != mine


def test_a_file_that_is_no_ledger_is_named_with_the_next_step(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(os.urandom(5000))
    with pytest.raises(LedgerError, match="Move it aside"):
        Ledger(path)


def test_a_ledger_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(LedgerError, match="another version"):
        Ledger(path)


def test_a_full_disk_is_named_and_the_ledger_stays_readable(small_disk):
    with Ledger(small_disk / "ledger.sqlite3") as ledger:
        ledger.claim("small", "s")
        complete(ledger, "small")
        ledger.claim("large", "s")
        with pytest.raises(DiskFull, match="No space is left"):
            complete(ledger, "large", os.urandom(4_000_000).hex())
        assert ledger.finished("small") is not None
        assert ledger.finished("large") is None


def test_an_owner_is_gone_only_when_its_process_is():
    assert not is_gone(this_owner())
    assert not is_gone("another-host:1:1")
    host, pid, _ = this_owner().rsplit(":", 2)
    assert is_gone(f"{host}:{pid}:12345")
