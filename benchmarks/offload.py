"""What a job costs around its engine, over SSH; whether memory stays flat; who does the work."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from _shared import figure, lab

from maw.offload.client import Job, WorkerClient, worker_arguments

HERE = Path(__file__).resolve().parent
JOBS = 10_000


def main() -> None:
    with lab() as (context, host), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.txt"
        path.write_text("A line about nothing in particular, of some length.\n" * 40, "utf-8")
        command = ["env", f"PYTHONPATH={HERE}", *host.worker_command]
        settings = context.settings
        options = worker_arguments(dataclasses.replace(settings.offload, processes=1), settings.text)
        with context.transport(host, warm=True) as transport:
            client = WorkerClient(
                transport, [*command, *options, "--engine", "null=_null_engine:Null"], lease=60
            )
            _one_by_one(client, path)
            _many(client, path)
            client.close()
        _shares(context.workspace.root, context.workspace.inventory / "hosts.yml", Path(folder))


def _one_by_one(client: WorkerClient, path: Path) -> None:
    taken = []
    for number in range(600):
        started = time.perf_counter()
        client.submit(Job(f"warm-{number}", "job", "null", 1, path=path))
        client.next_outcome()
        taken.append(time.perf_counter() - started)
    figure(
        "a 2 kB job there and back, one at a time",
        statistics.median(taken[100:]) * 1000,
        "ms",
        "target: at most 1",
    )


def _many(client: WorkerClient, path: Path) -> None:
    this = psutil.Process()
    sizes: list[tuple[int, int]] = []
    done, sent = 0, 0
    started = time.perf_counter()
    while done < JOBS:
        while sent < JOBS and not client.full:
            client.submit(Job(str(sent), "job", "null", 1, path=path))
            sent += 1
        outcome = client.next_outcome()
        assert outcome is not None
        assert outcome.result is not None, outcome.error
        done += 1
        if done in (JOBS // 10, JOBS):
            sizes.append((this.memory_info().rss, _worker_size()))
    taken = time.perf_counter() - started
    figure(f"{JOBS} jobs of 2 kB, each", taken / JOBS * 1000, "ms", f"{taken:.1f} s in all")
    for side, name in enumerate(("core", "satellite")):
        early, late = sizes[0][side], sizes[-1][side]
        figure(f"memory of the {name}, last job against first tenth", late / early, "x", f"{late >> 20} MiB")


def _worker_size() -> int:
    return sum(process.memory_info().rss for process in _workers())


def _workers() -> list[psutil.Process]:
    everything = psutil.process_iter(["cmdline"])
    return [
        one
        for one in everything
        if any(word.startswith("maw.offload.") for word in one.info["cmdline"] or [])
    ]


def _shares(root: Path, inventory: Path, folder: Path) -> None:
    """CPU seconds of the whole core process beside those of the whole worker, for a real run."""
    text = "\n".join(path.read_text("utf-8") for path in sorted((HERE.parent / "examples").glob("*.md")))
    documents = folder / "documents"
    documents.mkdir()
    for number in range(60):
        (documents / f"{number}.txt").write_text(f"Document {number}.\n" + text * 36, "utf-8")
    megabytes = sum(path.stat().st_size for path in documents.iterdir()) / 1e6
    listing = json.loads(inventory.read_text("utf-8"))
    (variables,) = listing["satellites"]["hosts"].values()
    there = folder / "satellite-cpu"
    variables["maw_worker_command"] = [
        sys.executable,
        str(HERE / "_measured.py"),
        str(there),
        *variables["maw_worker_command"],
    ]
    inventory.write_text(json.dumps(listing), "utf-8")
    argv = [sys.executable, "-c", "from maw.cli import maw; maw()", "pipeline", str(documents), "--json"]
    environment = {**os.environ, "MAW_WORKSPACE": str(root)}
    subprocess.run(
        [sys.executable, "-c", "from maw.cli import cutter; cutter()", "ssh-config"],
        env=environment,
        check=True,
        capture_output=True,
    )
    # The core's children are counted too: ssh -G, and the local ends of what it starts.
    here = folder / "core-cpu"
    subprocess.run(
        [sys.executable, str(HERE / "_measured.py"), str(here), *argv],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    core, satellite = float(here.read_text("ascii")), float(there.read_text("ascii"))
    note = f"{core:.2f} s / {satellite:.2f} s, {megabytes:.0f} MB; target: under 5"
    figure("core's CPU against the satellite's, summarising", core / satellite * 100, "%", note)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    main()
