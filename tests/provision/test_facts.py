"""What is known of a host after a run."""

from __future__ import annotations

import calendar
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import maw
from maw import errors
from maw.provision import artifacts, facts
from maw.provision.events import Seen
from maw.provision.model import HostRun, Run
from maw.provision.run import Ended, Wish

NOW = calendar.timegm((2026, 1, 31, 12, 0, 0))


def ended(playbook: str = "satellite", *, failed: bool = False, roles: Any = None, **wish: Any) -> Ended:
    host = HostRun("notebook", facts=roles if roles is not None else {"lxd": {"version": "5.21"}})
    if failed:
        host.failures.append(Seen("failed", message="no"))
    failure = errors.Misuse(reason="no") if failed else None
    kept = artifacts.Artifacts(Path("/nowhere"))
    return Ended(
        Wish(playbook, **wish), Run({"notebook": host}), 2 if failed else 0, False, 1.0, kept, failure
    )


def test_a_whole_playbook_says_whether_a_host_is_complete() -> None:
    known = facts.after(None, ended(), "notebook", "abc", NOW)
    assert known == facts.Provisioned(
        "notebook",
        "2026-01-31T12:00:00Z",
        "satellite",
        True,
        maw.__version__,
        "abc",
        {"lxd": {"version": "5.21"}},
    )
    broken = facts.after(known, ended(failed=True, roles={"worker": {"a": 1}}), "notebook", "abc", NOW)
    assert broken is not None
    assert broken.complete is False
    assert set(broken.roles) == {"lxd", "worker"}
    stopped = facts.after(None, replace(ended(), stopped=True), "notebook", "abc", NOW)
    assert stopped is not None
    assert stopped.complete is False


def test_parts_of_it_add_what_they_show_and_say_nothing_of_the_whole() -> None:
    known = facts.after(None, ended(failed=True), "notebook", "abc", NOW)
    for part in (
        ended("keys", roles={"ssh_trust": {"keys": 2}}),
        ended(tags=("lxd",), roles={"ssh_trust": {"keys": 2}}),
    ):
        after = facts.after(known, part, "notebook", "new", NOW + 5)
        assert after is not None
        assert known is not None
        assert after == replace(known, roles={**known.roles, "ssh_trust": {"keys": 2}})
        assert facts.after(None, part, "notebook", "new", NOW) is None


def test_what_was_removed_is_forgotten_only_when_all_of_it_went() -> None:
    known = facts.after(None, ended(), "notebook", "abc", NOW)
    assert facts.after(known, ended("remove"), "notebook", "abc", NOW) is None
    assert facts.after(known, ended("remove", failed=True), "notebook", "abc", NOW) == known


def test_it_is_kept_and_read_again_for_hosts_of_the_inventory(tmp_path: Path) -> None:
    facts.keep(tmp_path, ended(), "abc", NOW, ["notebook"])
    found = facts.read(tmp_path, "notebook")
    assert found == facts.after(None, ended(), "notebook", "abc", NOW)
    assert facts.read(tmp_path, "other") is None
    facts.keep(tmp_path, ended("remove"), "abc", NOW, ["notebook"])
    assert facts.read(tmp_path, "notebook") is None
    facts.keep(tmp_path, ended(), "abc", NOW, ["another"])
    facts.keep(tmp_path, ended(check=True), "abc", NOW, ["notebook"])
    assert not list((tmp_path / "provisioned").iterdir())


def test_a_full_disk_is_said(small_disk: Path) -> None:
    with (small_disk / "fill").open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass
    with pytest.raises(errors.DiskFull):
        facts.keep(small_disk, ended(), "abc", NOW, ["notebook"])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, None),
        ({"complete": False}, "did not come to its end"),
        ({"version": "0.0.1"}, "by maw 0.0.1"),
        ({"when": "2025-01-01T00:00:00Z"}, "395 days ago"),
    ],
)
def test_what_is_not_complete_or_old_is_remarked(changes: dict[str, Any], word: str | None) -> None:
    known = facts.after(None, ended(), "notebook", "abc", NOW)
    assert known is not None
    remark = replace(known, **changes).remark(NOW)
    assert (remark is None) if word is None else (remark is not None and word in remark)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "maw.provisioned/1", "host": 3}', "\xff"])
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "provisioned").mkdir()
    (tmp_path / "provisioned" / "notebook.json").write_text(text, "latin-1")
    assert facts.read(tmp_path, "notebook") is None


def test_a_record_with_hostile_values_is_none(tmp_path: Path) -> None:
    facts.keep(tmp_path, ended(), "abc", NOW, ["notebook"])
    path = tmp_path / "provisioned" / "notebook.json"
    good = json.loads(path.read_bytes())
    for name, value in (("when", 3), ("when", "yesterday"), ("roles", []), ("more", 1)):
        path.write_text(json.dumps({**good, name: value}), "utf-8")
        assert facts.read(tmp_path, "notebook") is None, name
