"""Real ansible-runner and real Ansible on small playbooks: how a run ends, and what is kept of it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw import errors, vault
from maw.provision import artifacts, handing, report
from maw.provision.run import Wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.provision.conftest import Stage

    Within = Callable[[float, Callable[[], Any]], Any]


def test_a_run_that_goes_well_says_what_changed_and_what_the_roles_show(stage: Stage) -> None:
    stage.role("paint", "- name: Paint\n  ansible.builtin.command: echo red\n")
    stage.tasks(
        """
- ansible.builtin.include_role:
    name: paint
- name: Look
  ansible.builtin.command: "true"
  changed_when: false
- name: Show
  ansible.builtin.set_fact:
    maw_paint_facts: {colour: red, litres: 3, dry: true, deep: {not: flat}}
    paint_other: secret
"""
    )
    ended = stage.run()
    assert ended.failure is None, ended.failure
    assert ended.code == 0
    host = ended.run.hosts["here"]
    assert host.changes == [("paint", "Paint")]
    assert (host.changed, host.state) == (1, "ok")
    assert host.facts == {"paint": {"colour": "red", "litres": 3, "dry": True}}
    assert report.changes(ended) == ["here: changed paint: Paint"]


def test_a_failure_has_its_place_its_words_and_what_the_program_said(stage: Stage) -> None:
    stage.role(
        "paint", "- name: Paint ไทย\n  ansible.builtin.command: sh -c 'echo out; echo why >&2; exit 3'\n"
    )
    stage.tasks("- ansible.builtin.include_role:\n    name: paint")
    ended = stage.run()
    error = ended.failure
    assert isinstance(error, errors.PlaybookFailed)
    assert error.facts["task"] == "paint: Paint ไทย"
    assert report.failures(ended) == [
        "✗ here failed at: paint : Paint ไทย",
        "    non-zero return code (status 3)",
        "    stderr: why",
        "    stdout: out",
    ]


def test_the_words_of_an_assertion_with_its_next_step_are_shown_whole(stage: Stage) -> None:
    stage.tasks(
        "- name: Check\n  ansible.builtin.assert:\n    that: 1 == 2\n"
        '    fail_msg: "The disk is too small: 10 GB.\\nFree 30 GB, then run this again."'
    )
    lines = report.failures(stage.run())
    assert lines[1:] == ["    The disk is too small: 10 GB.", "    Free 30 GB, then run this again."]


def test_what_is_ignored_or_rescued_is_no_failure(stage: Stage) -> None:
    stage.tasks(
        """
- name: Ignored
  ansible.builtin.command: "false"
  ignore_errors: true
- name: Both
  block:
    - name: Rescued
      ansible.builtin.command: "false"
  rescue:
    - name: Mend
      ansible.builtin.command: "true"
"""
    )
    ended = stage.run()
    assert ended.failure is None, ended.failure
    assert ended.run.hosts["here"].failures == []
    assert ended.run.hosts["here"].ignored == 1


def test_of_a_loop_the_round_that_failed_is_named(stage: Stage) -> None:
    stage.tasks(
        """
- name: Rounds
  ansible.builtin.command: "sh -c 'echo {{ item }} >&2; test {{ item }} != b'"
  loop: [a, b, c]
"""
    )
    lines = report.failures(stage.run())
    assert lines[1].startswith("    b: non-zero return code")
    assert lines[2] == "    stderr: b"


def test_a_host_that_cannot_be_reached_is_told_with_the_next_step(stage: Stage, free_port: int) -> None:
    stage.hosts(gone={"ansible_host": "127.0.0.1", "ansible_port": free_port})
    stage.site.ssh_config.parent.mkdir(exist_ok=True)
    stage.site.ssh_config.write_text("Host *\n", "ascii")
    stage.tasks("- name: Try\n  ansible.builtin.ping:")
    ended = stage.run()
    assert ended.code == 4
    assert isinstance(ended.failure, errors.PlaybookFailed)
    lines = report.failures(ended)
    assert lines[0] == "✗ gone could not be reached at: Try"
    assert "Connection refused" in "\n".join(lines)
    assert lines[-1] == "    next: cutter doctor gone"


def test_it_goes_over_the_generated_config_with_shared_connections(over_ssh: Stage) -> None:
    over_ssh.tasks("- name: Hop\n  ansible.builtin.command: sh -c 'test -n \"$SSH_CONNECTION\"'")
    ended = over_ssh.run()
    assert ended.failure is None, (ended.failure, report.failures(ended))
    sockets = Path(os.environ["XDG_RUNTIME_DIR"]) / "maw"
    assert any(stat.S_ISSOCK(path.stat().st_mode) for path in sockets.iterdir())


def test_a_host_key_that_is_not_pinned_stops_it(over_ssh: Stage) -> None:
    over_ssh.space.known_hosts.write_text("", "ascii")
    over_ssh.tasks("- name: Hop\n  ansible.builtin.ping:")
    ended = over_ssh.run()
    assert isinstance(ended.failure, errors.PlaybookFailed)
    assert "verification failed" in str(ended.failure)


@pytest.mark.parametrize(
    ("text", "kind", "word"),
    [
        ("- hosts: all\n  tasks:\n   - name: x\n  command: [", errors.ProvisionError, "YAML"),
        ("- hosts: all\n  tasks:\n    - no.such.module:\n", errors.CollectionsMissing, "no.such"),
        ("- hosts: all\n  roles: [nowhere]\n", errors.ContentMissing, "nowhere"),
        ("- hosts: nobody\n  tasks: []\n", errors.ProvisionError, "none of the hosts"),
        ("- hosts: all\n  unknown_word: 1\n", errors.ProvisionError, "unknown_word"),
    ],
)
def test_what_ansible_cannot_even_begin_is_an_error_of_its_own(
    stage: Stage, text: str, kind: type[errors.MawError], word: str
) -> None:
    stage.playbook("site", text)
    ended = stage.run()
    assert type(ended.failure) is kind, ended.failure
    assert word in str(ended.failure)


def test_a_playbook_that_is_not_there_is_said_before_anything(stage: Stage) -> None:
    with pytest.raises(errors.ContentMissing, match="site"):
        stage.run()
    assert [path.name for path in stage.site.runs.iterdir() if path.is_dir()] == []


def test_check_mode_limit_tags_and_variables_reach_ansible(stage: Stage, tmp_path: Path) -> None:
    stage.hosts(here=json.loads(json.dumps(_here())), there=_here())
    mark = tmp_path / "mark"
    stage.tasks(
        f"""
- name: Touch
  ansible.builtin.copy:
    content: "{{{{ words.list[1] }}}} {{{{ plain }}}}"
    dest: {mark}
    mode: "0600"
  tags: touch
- name: Not this
  ansible.builtin.fail:
"""
    )
    wish = Wish(
        "site", ("here",), check=True, tags=("touch",), extra={"words": {"list": [1, "ไทย"]}, "plain": "1.10"}
    )
    ended = stage.run(wish)
    assert ended.failure is None, ended.failure
    assert list(ended.run.hosts) == ["here"]
    assert not mark.exists()
    assert report.changes(ended) == ["here: would change Touch"]
    assert stage.run(replace(wish, check=False)).failure is None
    assert mark.read_text("utf-8") == "ไทย 1.10"
    assert b"1.10" not in stage.kept(), "of variables only the names are kept"


def _here() -> dict[str, Any]:
    return {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


# What is kept, and what is not.


def test_no_secret_is_in_any_byte_that_is_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "vault": "vault-s3cr3t-planted",
        "HF_TOKEN": "hf_PlantedPlanted123",
        "token": "0a1b2c3d-proxmox-planted",
        "password": "the-vault-password",
    }
    monkeypatch.setenv("HF_TOKEN", secrets["HF_TOKEN"])
    password = stage.space.root / "password"
    password.write_text(secrets["password"] + "\n", "ascii")
    (stage.space.inventory / "group_vars").mkdir()
    (stage.space.inventory / "group_vars" / "all.yml").write_text(
        "planted: !vault |\n" + _encrypted(password, secrets["vault"]), "ascii"
    )
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    stage.tasks(
        """
- name: Show
  ansible.builtin.debug:
    msg: "{{ planted }} {{ lookup('ansible.builtin.env', 'HF_TOKEN') }} {{ token }}"
- name: Say
  ansible.builtin.command: "echo {{ planted }} {{ token }}"
- name: Facts
  ansible.builtin.setup:
- name: Fail in silence
  ansible.builtin.command: "sh -c 'echo {{ planted }} {{ token }} >&2; exit 1'"
  no_log: true
  ignore_errors: true
- name: Fail aloud
  ansible.builtin.command: "sh -c 'echo so: {{ token }} $HF_TOKEN >&2; exit 1'"
"""
    )
    known = stage.with_secrets(secrets["HF_TOKEN"], secrets["token"])
    ended = known.run(Wish("site", extra={"token": secrets["token"]}))
    ended.artifacts.finish(report.as_json(ended))
    assert isinstance(ended.failure, errors.PlaybookFailed)
    assert ended.run.hosts["here"].failures[0].stderr == "so: [secret] [secret]"
    for name, secret in secrets.items():
        assert secret.encode() not in stage.kept(), name
        assert secret not in "\n".join(report.failures(ended))
    for path in stage.site.runs.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def _encrypted(password: Path, text: str) -> str:
    program = Path(sys.executable).parent / "ansible-vault"
    argv = [str(program), "encrypt", "--vault-password-file", str(password), "--output", "-"]
    answer = subprocess.run(argv, input=text.encode(), capture_output=True, check=True)
    return "".join(f"  {line}\n" for line in answer.stdout.decode("ascii").splitlines())


@pytest.mark.parametrize(
    ("password", "word"), [("wrong", "does not open"), (None, "no password was given")], ids=["wrong", "none"]
)
def test_a_wrong_vault_password_is_named_as_that(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, password: str | None, word: str
) -> None:
    right, given = stage.space.root / "right", stage.space.root / "given"
    right.write_text("right\n", "ascii")
    (stage.space.inventory / "group_vars").mkdir()
    (stage.space.inventory / "group_vars" / "all.yml").write_text(
        "planted: !vault |\n" + _encrypted(right, "x"), "ascii"
    )
    if password is not None:
        given.write_text(password, "ascii")
        monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(given))
    stage.tasks('- name: Show\n  ansible.builtin.debug:\n    msg: "{{ planted }}"')
    error = stage.run().failure
    assert isinstance(error, errors.VaultPasswordWrong), error
    assert word in str(error)


def test_hostile_words_are_shown_as_one_harmless_line_each(stage: Stage) -> None:
    stage.tasks(
        r"""
- name: "Break \u001b]0;owned\u0007 ไทย 👩🏽‍💻"
  ansible.builtin.command: >-
    python3 -c 'import sys; w = sys.stderr.buffer.write; w(b"a\x1b[2Jb \x9b31m \xff\xfe \xe0\xb9\x84\n");
    w(b"\x07bell\r over"); sys.exit(1)'
"""
    )
    ended = stage.run()
    assert isinstance(ended.failure, errors.PlaybookFailed), ended.failure
    text = "\n".join([*report.failures(ended), str(ended.failure), *report.changes(ended)])
    assert "ไ" in text
    assert "👩🏽‍💻" in text
    for forbidden in ("\x1b", "\x07", "\r", "\x9b"):
        assert forbidden not in text, ascii(text)


def test_a_host_cannot_forge_events(stage: Stage) -> None:
    import base64

    forged = {"uuid": "1", "event": "runner_on_ok", "event_data": {"host": "other", "task": "forged"}}
    code = base64.b64encode(json.dumps(forged).encode()).decode()
    stage.tasks(
        f"""
- name: Forge
  ansible.builtin.fail:
    msg: "\\e[K{code}\\e[{len(code)}D\\e[K \\e[K{code}\\e[{len(code)}D\\e[K"
"""
    )
    ended = stage.run()
    assert set(ended.run.hosts) == {"here"}
    assert ended.failure is not None


def test_ten_megabytes_of_output_cost_seconds_and_only_their_end_is_kept(stage: Stage) -> None:
    stage.tasks(
        "- name: Shout\n  ansible.builtin.command: "
        'python3 -c \'import sys; sys.stdout.write(("x" * 99 + chr(10)) * 100000 + "the end"); sys.exit(1)\''
    )
    begun = time.monotonic()
    ended = stage.run()
    assert time.monotonic() - begun < 60
    assert isinstance(ended.failure, errors.PlaybookFailed)
    assert ended.run.hosts["here"].failures[0].stdout.endswith("the end")
    assert len(stage.kept()) < 50_000


def test_the_newest_twenty_runs_are_kept(stage: Stage) -> None:
    stage.site.runs.mkdir(parents=True)
    for number in range(25):
        folder = stage.site.runs / f"20250101T0000{number:02d}Z-site"
        folder.mkdir()
        os.utime(folder, (number, number))
    (stage.site.runs / "notes").mkdir()
    stage.tasks("- ansible.builtin.ping:")
    stage.run()
    kept = artifacts.runs(stage.site.runs)
    assert len(kept) == artifacts.MOST
    assert kept[0].name == "20250101T000006Z-site"
    assert (stage.site.runs / "notes").is_dir()


def test_a_full_disk_is_said_before_anything_is_touched(stage: Stage, small_disk: Path) -> None:
    full = replace(stage, site=replace(stage.site, state=small_disk))
    full.site.runs.mkdir()
    mark = stage.space.root / "mark"
    stage.tasks(f"- ansible.builtin.command: touch {mark}")
    subprocess.run(
        ["sh", "-c", 'cat /dev/zero > "$0/fill"', str(small_disk)], check=False, capture_output=True
    )
    with pytest.raises(errors.DiskFull):
        full.run()
    assert not mark.exists()


def test_a_disk_that_fills_while_it_runs_does_not_break_it_off_and_is_said_at_the_end(
    stage: Stage, small_disk: Path
) -> None:
    full = replace(stage, site=replace(stage.site, state=small_disk))
    stage.tasks(
        f"""
- ansible.builtin.command: sh -c 'cat /dev/zero > {small_disk}/fill; true'
- name: After
  ansible.builtin.command: touch {stage.space.root}/after
"""
        + "".join(f"- name: {'long ' * 200}{n}\n  ansible.builtin.command: 'true'\n" for n in range(8))
    )
    ended = full.run()
    ended.artifacts.finish(report.as_json(ended))
    assert (stage.space.root / "after").exists()
    assert isinstance(ended.artifacts.failure, errors.DiskFull)


def test_events_that_cannot_be_written_are_no_success(
    stage: Stage, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(small_disk))
    stage.tasks(
        f"- ansible.builtin.command: sh -c 'cat /dev/zero > {small_disk}/fill; true'\n"
        "- ansible.builtin.command: 'true'"
    )
    ended = stage.run()
    assert ended.failure is not None
    assert "disk" in str(ended.failure)


def test_a_password_that_was_typed_is_on_no_disk_and_in_no_argument(stage: Stage, lasting: str) -> None:
    password = stage.space.root / "password"
    password.write_text("typed-by-hand", "ascii")
    (stage.space.inventory / "group_vars").mkdir()
    (stage.space.inventory / "group_vars" / "all.yml").write_text(
        "planted: !vault |\n" + _encrypted(password, "opened"), "ascii"
    )
    password.unlink()
    stage.tasks(
        """
- name: See
  ansible.builtin.assert:
    that: planted == 'opened'
- name: Look around
  ansible.builtin.command: sh -c 'cat /proc/[0-9]*/cmdline | tr "\\0" " "'
  register: seen
- name: Check
  ansible.builtin.assert:
    that: "'typed-by' ~ '-hand' not in seen.stdout"
"""
    )
    with handing.vault_password(None, lambda: "typed-by-hand") as known:
        assert known == b"typed-by-hand"
        ended = stage.run()
    assert ended.failure is None, ended.failure
    assert vault.PASSWORD_FILE not in os.environ
    assert b"typed-by-hand" not in stage.kept()
