"""From a bare notebook to a satellite, and back: the verbs as a person uses them, on real machines."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.bare import NOTEBOOK, WSL, BareNotebook, distro_image, wsl_package
from tests.lab.running import IN_CI, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
INTERRUPTIONS = 10


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareNotebook]:
    """A bare notebook."""
    if os.geteuid() != 0:
        pytest.skip("a lab of its own needs root, to start an LXD daemon")
    if shutil.which("lxd", path="/usr/bin") is None or shutil.which("mmdebstrap") is None:
        reason = "the distribution's LXD and mmdebstrap are not installed here (make lab INSTALL=1)"
        if IN_CI and Path("/etc/debian_version").exists():
            pytest.fail(reason)
        pytest.skip(reason)
    bare = BareNotebook(tmp_path_factory.mktemp("bare"))
    try:
        bare.up()
        yield bare
    finally:
        bare.down()


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a notebook without internet is given from the core."""
    folder = tmp_path_factory.mktemp("given")
    values = {
        "windows_host_wsl_msi_path": str(wsl_package(folder)),
        "windows_host_wsl_msi_sha256": "",
        "windows_host_distro_image_path": str(distro_image(folder)),
        "windows_host_distro_image_sha256": "",
        "wsl_distro_packages_path": "",
        "lxd_pool_minimum_gb": "1",
        "windows_host_reboot_allowed": "true",
    }
    return [word for name, value in values.items() for word in ("--extra-vars", f"{name}={value}")]


@pytest.fixture(scope="module")
def before(notebook: BareNotebook) -> dict[str, Any]:
    """What was on the notebook's disk, and what its Windows kept, before anything of maw."""
    return {"disk": notebook.listing(), "windows": notebook.windows()}


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What one test saw and a later one compares with."""
    return {}


@pytest.fixture(scope="module")
def fingerprint(notebook: BareNotebook, before: dict[str, Any]) -> str:
    """The first contact, as the person at the notebook makes it."""
    first = notebook.verb("satellite-init", NOTEBOOK, "--json")
    answer = json.loads(first.stdout)
    assert first.returncode != 0, "it is not finished before the line was pasted"
    assert (answer["finished"], answer["error_kind"]) == (False, "NotFinished")
    return notebook.first_contact(answer["line"])


def test_it_is_finished_after_ten_interruptions_and_pasting_one_line(
    notebook: BareNotebook, given: list[str], fingerprint: str, seen: dict[str, Any]
) -> None:
    chance = random.Random(5)
    command = ["satellite-init", NOTEBOOK, "--fingerprint", fingerprint, *given]
    for number in range(INTERRUPTIONS):
        process = subprocess.Popen(
            notebook.argv(*command),
            env=notebook.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        time.sleep(chance.uniform(3, 12 + 3 * number))
        # In turn as a person stops it, and as a machine that goes down does.
        process.send_signal(signal.SIGINT if number % 2 else signal.SIGKILL)
        process.communicate(timeout=120)
    last = notebook.verb(*command)
    assert last.returncode == 0, last.stdout + last.stderr
    assert f"done: {WSL} is a satellite" in last.stdout
    seen["interrupted"] = notebook.listing()


@pytest.fixture(scope="module")
def satellite(notebook: BareNotebook, given: list[str], fingerprint: str) -> BareNotebook:
    """The notebook, as a satellite. That is quick when it is one already."""
    answer = notebook.verb("satellite-init", NOTEBOOK, "--fingerprint", fingerprint, *given)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return notebook


def test_a_second_run_changes_nothing(satellite: BareNotebook, given: list[str]) -> None:
    answer = satellite.verb("satellite-init", NOTEBOOK, *given, "--json")
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert said["finished"]
    changes = {host["host"]: host["changes"] for host in said["provision"]["hosts"]}
    assert changes == {NOTEBOOK: [], WSL: []}


def test_the_main_job_runs_on_it(satellite: BareNotebook) -> None:
    answer = satellite.verb(
        "pipeline",
        ROOT / "examples",
        "--on",
        WSL,
        "--question",
        "What about the power?",
        "--json",
        program="maw",
    )
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    assert {document["status"] for document in report["documents"]} == {"done"}


def test_the_nodes_show_it_complete(satellite: BareNotebook) -> None:
    answer = satellite.verb("nodes", "--limit", "20", "--json")
    (node,) = [one for one in json.loads(answer.stdout)["nodes"] if one["name"] == WSL]
    assert node["state"] == "up", node
    assert node["worker"]["version"]
    assert node["provisioned"]["complete"]
    assert set(node["provisioned"]["roles"]) >= {"wsl_distro", "ssh_trust", "lxd", "worker"}


def test_a_container_of_a_server_becomes_a_mirror_there(satellite: BareNotebook) -> None:
    archive = ROOT.parent / "shared" / "fixtures" / "raw-gzip.tar.gz"
    if not archive.exists():
        pytest.skip("the fixtures' archives are not here (../shared)")
    where = ["--on", WSL]
    answer = satellite.verb("sync", "--archive", archive, "--name", "mirror", *where, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["differences"] == 0
    assert "mirror" in satellite.lxd()["instances"][0]


def test_removing_it_leaves_the_notebook_as_it_was(
    satellite: BareNotebook, before: dict[str, Any], given: list[str]
) -> None:
    answer = satellite.verb(
        *("provision", "remove", "--limit", f"{NOTEBOOK},{WSL}", "--yes", *given),
        *("--extra-vars", "lxd_remove_mirrors=true", "--extra-vars", "windows_host_remove_distro=true"),
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert differences(before["disk"], satellite.listing()) == ([], [], [])
    was, now = before["windows"], satellite.windows()
    # WSL itself, and its feature, stay.
    for part in ("power", "firewall", "tasks", "distros", "registry"):
        assert now[part] == was[part], part
    assert now["services"]["sshd"] == was["services"]["sshd"]


def differences(was: dict[str, Any], now: dict[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """The paths that are new, gone, and other than they were."""
    new, gone = sorted(set(now) - set(was)), sorted(set(was) - set(now))
    return new, gone, sorted(path for path in set(was) & set(now) if was[path] != now[path])


def test_a_way_without_interruptions_ends_in_the_same_state(
    notebook: BareNotebook, given: list[str], seen: dict[str, Any]
) -> None:
    if "interrupted" not in seen:
        pytest.skip("the test that interrupts was not run")
    first = json.loads(notebook.verb("satellite-init", NOTEBOOK, "--json").stdout)
    fingerprint = notebook.first_contact(first["line"])
    answer = notebook.verb("satellite-init", NOTEBOOK, "--fingerprint", fingerprint, *given)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    # What the probe's container was given by DHCP is another address each time.
    assert differences(seen["interrupted"], notebook.listing()) == ([], [], ["/var/lib/maw/lxd/proof"])
