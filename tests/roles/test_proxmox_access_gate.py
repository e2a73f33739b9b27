"""The gate on the Proxmox node: what of all that a key's holder may send reaches a program."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maw.mirror.vzdump import make_argv
from maw.transport import gate as place
from maw.transport import guard
from tests.roles.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM = Path(__file__).resolve().parents[2] / "roles" / "proxmox_access" / "files" / "maw_pve_gate.py"
RUN = "0123456789abcdef"
UPID = "UPID:pve1:0000ABCD:00112233:66778899:vzdump:101:root@pam:"
JSON = ("--output-format", "json")
ARCHIVE = "/mnt/สำรอง ข้อมูล/dump/vzdump-lxc-101-2026_11_23-01_25_11.tar.zst"
BEGIN = (
    *("pvesh", "create", "/nodes/pve1/vzdump", *JSON, "--vmid", "101", "--storage", "local"),
    *("--mode", "snapshot", "--compress", "zstd", "--remove", "0"),
)
# Every form of command that maw sends; tests/proxmox/test_gate.py has maw send them for real.
ALLOWED: list[tuple[str, ...]] = [
    ("pvesh", "get", "/version", *JSON),
    ("pvesh", "get", "/nodes", *JSON),
    ("pvesh", "get", "/cluster/status", *JSON),
    ("pvesh", "get", "/cluster/resources", *JSON, "--type", "vm"),
    ("pvesh", "get", "/access/permissions", *JSON, "--path", "/vms/101"),
    ("pvesh", "get", "/nodes/pve-1/lxc", *JSON),
    ("pvesh", "get", "/nodes/pve1/qemu", *JSON),
    ("pvesh", "get", "/nodes/pve1/storage", *JSON),
    ("pvesh", "get", "/nodes/pve1/storage/local/content", *JSON, "--content", "backup", "--vmid", "101"),
    ("pvesh", "get", f"/nodes/pve1/storage/local/content/local:backup/{ARCHIVE.rpartition('/')[2]}", *JSON),
    ("pvesh", "get", "/nodes/pve1/storage/p/content/p:backup/ct/101/2026-11-23T01:25:11Z", *JSON),
    ("pvesh", "get", "/nodes/pve1/lxc/101/config", *JSON, "--current", "1"),
    ("pvesh", "get", "/nodes/pve1/lxc/101/status/current", *JSON),
    ("pvesh", "get", "/nodes/pve1/lxc/101/feature", *JSON, "--feature", "snapshot"),
    ("pvesh", "get", f"/nodes/pve1/tasks/{UPID}/status", *JSON),
    ("pvesh", "get", f"/nodes/pve1/tasks/{UPID}/log", *JSON, "--start", "0", "--limit", "500"),
    BEGIN,
    ("pvesh", "delete", f"/nodes/pve1/tasks/{UPID}", *JSON),
    *(tuple(make_argv(101, mode, 10800.0)) for mode in ("snapshot", "suspend", "stop")),
    ("cat", "--", ARCHIVE),
    ("cat", "--", ARCHIVE.removesuffix(".tar.zst") + ".log"),
    ("cat", "--", "/var/lib/vz/dump/vzdump-lxc-101-2026_11_23-01_25_11.tar"),
]


pve_gate = load(PROGRAM)


def sent(argv: Sequence[str]) -> bytes:
    """What sshd gets when maw runs a command by the ssh program."""
    return guard.remote_command(guard.keeping_status(argv), RUN)[0].encode("utf-8", "surrogateescape")


def accepted(asked: bytes | None) -> Any:
    try:
        return pve_gate.understand(asked)
    except pve_gate.Refused:
        return None


@pytest.mark.parametrize("argv", ALLOWED, ids=lambda argv: " ".join(argv)[:60])
def test_what_maw_sends_is_understood_in_each_of_its_forms(argv: tuple[str, ...]) -> None:
    plain = shlex.join(argv).encode()
    fabric = guard.remote_command(argv, RUN)[0].encode()
    found = [accepted(text) for text in (plain, fabric, sent(argv))]
    assert [one.run for one in found] == ["", RUN, RUN]
    for one in found:
        assert (one.argv, one.reads) == ((["cat"], argv[2]) if argv[0] == "cat" else (list(argv), ""))


def test_the_guard_is_known_to_the_byte() -> None:
    text = guard.remote_command(guard.ARGV, RUN)[0]
    assert accepted(text.encode()).guard
    assert accepted(text.replace("echo ready", "echo ready; id").encode()) is None
    assert accepted(f"{text} ".encode()) is None
    assert "run its role" in refusal_of(guard.remote_command(("sh", "-c", "id"), RUN)[0].encode())


def refusal_of(asked: bytes | None) -> str:
    with pytest.raises(pve_gate.Refused) as refusal:
        pve_gate.understand(asked)
    return str(refusal.value)


PVESH = ("pvesh", "get", "/nodes", *JSON)
STREAM = tuple(make_argv(101, "stop", 60.0))
HOSTILE: list[bytes | tuple[str, ...] | None] = [
    None,
    b"",
    b" ",
    b"internal-sftp",
    b"/usr/lib/openssh/sftp-server",
    b"scp -t /root",
    b"rsync --server -logDtpr . /",
    b"pvesh get /nodes --output-format json; id",
    b"pvesh get /nodes --output-format json\nid",
    b"pvesh get /nodes --output-format json\n",
    b"pvesh get $(id) --output-format json",
    b"pvesh get `id` --output-format json",
    b"pvesh get /nodes  --output-format json",
    b"'pvesh' get /nodes --output-format json",
    b"pvesh get '/nodes --output-format json",
    b"\xff\xfe",
    b"pvesh get /nodes --output-format json \xff",
    b"x" * 100_000,
    f"export MAW_RUN={RUN}; exec pvesh get /nodes --output-format json; id".encode(),
    f"export MAW_RUN={RUN}; exec pvesh get /nodes --output-format json\0".encode(),
    b"export MAW_RUN=$(id); exec pvesh get /nodes --output-format json",
    f"export MAW_RUN={RUN} LD_PRELOAD=/tmp/x; exec pvesh get /nodes --output-format json".encode(),
    f"export MAW_RUN={RUN}; export MAW_RUN={RUN}; exec pvesh get /nodes --output-format json".encode(),
    ("sh",),
    ("sh", "-c", "id"),
    ("sh", "-c", 'trap : TERM; exec 4>&2 2>/dev/null; ("$@" 2>&4 4>&-); exit $?', "maw", "id"),
    ("/usr/bin/pvesh", "get", "/nodes", *JSON),
    ("pvesh", "ls", "/nodes", *JSON),
    ("pvesh", "set", "/nodes/pve1/lxc/101/config", *JSON, "--hookscript", "local:snippets/x"),
    ("pvesh", "get", "/nodes"),
    ("pvesh", "get", "/nodes", "--output-format", "text"),
    ("pvesh", "get", "/access/users", *JSON),
    ("pvesh", "get", "/nodes/pve1/../../access/users", *JSON),
    ("pvesh", "get", "/nodes/pve1/lxc/101/../../../access/users", *JSON),
    ("pvesh", "get", "/nodes/pve1/lxc/101/config", *JSON, "--current"),
    ("pvesh", "get", "/nodes/pve1/lxc/101/config", *JSON, "--current", "1", "--current", "1"),
    ("pvesh", "get", "/nodes/pve1/lxc/101/config", *JSON, "--snapshot", "x"),
    ("pvesh", "get", "/nodes/pve1/lxc/101/config", *JSON, "current", "1"),
    ("pvesh", "get", "/nodes/pve1/lxc/๑๐๑/config", *JSON),
    ("pvesh", "get", "/nodes/pve1/lxc/101\n/config", *JSON),
    ("pvesh", "get", "/nodes\n", *JSON),
    (*PVESH, "--noproxy", "1"),
    ("pvesh", "create", "/nodes/pve1/lxc/101/status/stop", *JSON),
    ("pvesh", "create", "/nodes/pve1/vzdump", *JSON, "--vmid", "101"),
    (*BEGIN, "--script", "/tmp/x"),
    (*BEGIN, "--prune-backups", "keep-last=1"),
    (*BEGIN[:-1], "1"),
    (*BEGIN[:-2], "--script", "/tmp/x"),
    ("pvesh", "create", "/nodes/pve1/execute", *JSON, "--commands", "[]"),
    ("pvesh", "create", "/nodes/pve1/termproxy", *JSON),
    ("pvesh", "delete", "/nodes/pve1/lxc/101", *JSON),
    ("pvesh", "delete", f"/nodes/pve1/storage/local/content/local:backup/{ARCHIVE[-43:]}", *JSON),
    ("pvesh", "delete", f"/nodes/pve1/tasks/{UPID.replace('vzdump', 'qmstart')}", *JSON),
    ("vzdump", "101"),
    ("vzdump", "--all", *STREAM[2:]),
    (*STREAM, "--script", "/tmp/x"),
    (*STREAM[:2], "--script", "/tmp/x", *STREAM[4:]),
    (*STREAM[:4], "--tmpdir", "/tmp/x", *STREAM[6:]),
    (*STREAM[:5], "/root", *STREAM[6:]),
    (*STREAM[:2], "--stdout", "--script", *STREAM[4:]),
    ("vzdump", "101,102", *STREAM[2:]),
    ("vzdump", "--script=/tmp/x", *STREAM[2:]),
    ("cat", ARCHIVE),
    ("cat", "--", ARCHIVE, "/etc/shadow"),
    ("cat", "--", "/etc/shadow"),
    ("cat", "--", "-"),
    ("cat", "--", "/etc/pve/priv/authkey.key"),
    ("cat", "--", f"/a/../etc/dump/{ARCHIVE[-43:]}"),
    ("cat", "--", f"/a/./dump/{ARCHIVE[-43:]}"),
    ("cat", "--", f"/dump/{ARCHIVE[-43:]}"),
    ("cat", "--", f"a/dump/{ARCHIVE[-43:]}"),
    ("cat", "--", f"/a//dump/{ARCHIVE[-43:]}"),
    ("cat", "--", f"/a/dump/x/{ARCHIVE[-43:]}"),
    ("cat", "--", "/a/dump/vzdump-lxc-101-2026_11_23-01_25_11.tar.zst/../../../etc/shadow"),
    ("cat", "--", "/a/dump/vzdump-qemu-101-2026_11_23-01_25_11.vma.zst"),
    ("cat", "--", f"{ARCHIVE}\n"),
    ("pct", "exec", "101", "--", "id"),
    ("pct", "config", "101"),
    ("pveum", "user", "list", *JSON),
    ("echo", "hello"),
    ("echo", "-e", f"maw-{RUN}"),
    ("env",),
    ("python3", "-c", guard._LONG),
]


@pytest.mark.parametrize("asked", HOSTILE, ids=lambda asked: repr(asked)[:70])
def test_what_mirrors_do_not_need_is_refused(asked: bytes | tuple[str, ...] | None) -> None:
    if not isinstance(asked, tuple):
        assert accepted(asked) is None
        return
    for text in (shlex.join(asked).encode(), sent(asked), guard.remote_command(asked, RUN)[0].encode()):
        assert accepted(text) is None


# Pieces that mean something to a shell, to perl or to the programs, and what is between.
WORDS = [
    "$(id)",
    "`id`",
    "{a,b}",
    "/tmp/x",
    "--script",
    "--tmpdir",
    "--stdout",
    "101",
    "1",
    "json",
    "..",
    "ก",
]
PIECES = st.sampled_from([*WORDS, *";\n'\"\\|&/-=\0\x1b *~%🙂"])
TEXT = st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=6).map("".join))
HARMLESS = re.compile(r"[A-Za-z0-9_./:@!-]+", re.ASCII)
OPTIONS: dict[str, set[str]] = {
    "pvesh": {
        *("--output-format", "--type", "--path", "--content", "--vmid", "--current", "--feature", "--start"),
        *("--limit", "--storage", "--mode", "--compress", "--remove"),
    },
    "vzdump": {"--stdout", "--dumpdir", "--mode", "--compress", "--lockwait"},
    "cat": set(),
}


def check_harmless(request: Any) -> None:
    """What reached a program has only words that mean nothing to anybody but that program."""
    if request is None or request.guard:
        return
    if request.says:
        assert re.fullmatch(r"maw-[0-9a-f]{16}", request.says, re.ASCII)
        return
    program, *rest = request.argv
    assert all(HARMLESS.fullmatch(word) for word in rest)
    assert {word for word in rest if word.startswith("-")} <= OPTIONS[program]
    assert not any(".." in word.split("/") for word in [*rest, request.reads])
    if request.reads:
        assert Path(request.reads).parent.name == "dump"
        assert Path(request.reads).name.startswith("vzdump-lxc-")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
@example(b"pvesh get /nodes --output-format json")
def test_random_bytes_reach_no_program(asked: bytes) -> None:
    check_harmless(accepted(asked))


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(ALLOWED), st.data())
def test_an_allowed_command_that_is_tampered_with_does_no_harm(argv: tuple[str, ...], data: Any) -> None:
    words = list(argv)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(words) - 1))
        how = data.draw(st.sampled_from(["replace", "insert", "append", "within", "drop"]))
        text = data.draw(TEXT)
        if how == "insert":
            words.insert(position, text)
        elif how == "append":
            words.append(text)
        elif how == "drop" and len(words) > 1:
            del words[position]
        elif how == "within":
            at = data.draw(st.integers(0, len(words[position])))
            words[position] = words[position][:at] + text + words[position][at:]
        else:
            words[position] = text
    joined = shlex.join(words).encode("utf-8", "surrogatepass")
    for asked in (joined, sent([word.encode("utf-8", "replace").decode() for word in words])):
        check_harmless(accepted(asked))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ALLOWED), st.lists(st.tuples(st.integers(0, 400), PIECES), min_size=1, max_size=3))
def test_text_put_into_a_command_line_does_no_harm(
    argv: tuple[str, ...], added: list[tuple[int, str]]
) -> None:
    text = sent(argv).decode()
    for at, piece in added:
        text = text[: at % (len(text) + 1)] + piece + text[at % (len(text) + 1) :]
    check_harmless(accepted(text.encode()))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the gate as sshd does, with programs of the test's own."""
    programs = tmp_path / "programs"
    programs.mkdir()
    copy = tmp_path / "gate"
    text = PROGRAM.read_text("utf-8")
    shell = ":/usr/bin:/bin"
    copy.write_text(
        re.sub(r'^PATH = ".*"$', f'PATH = "{programs}{shell}"', text, flags=re.MULTILINE), "utf-8"
    )
    assert str(programs) in copy.read_text("utf-8")

    def start(asked: bytes | None, program: str = "", **options: Any) -> subprocess.CompletedProcess[bytes]:
        (programs / "pvesh").write_text(f"#!/bin/sh\n{program}\n", "utf-8")
        (programs / "pvesh").chmod(0o755)
        environment: dict[bytes, bytes] = {b"PATH": b"/nowhere", b"LC_ALL": b"tr_TR", b"PERL5OPT": b"-Mx"}
        environment |= {} if asked is None else {b"SSH_ORIGINAL_COMMAND": asked}
        given = {"capture_output": True, "check": False, "timeout": 30, "env": environment, **options}
        return subprocess.run([sys.executable, "-I", str(copy)], **given)

    return start


def test_a_refusal_has_a_status_of_its_own_and_says_what_to_do(run: Callable[..., Any]) -> None:
    answer = run(b"id")
    assert (answer.returncode, answer.stdout) == (126, b"")
    assert answer.stderr.startswith(b"maw-pve-gate: refused: ")
    assert b"The key admin may do more" in answer.stderr
    assert b"opens no shell" in run(None).stderr


@pytest.mark.parametrize(
    ("ends", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)]
)
def test_the_status_is_the_commands_own_or_128_and_its_signal(
    run: Callable[..., Any], ends: str, status: int
) -> None:
    answer = run(sent(PVESH), f"echo out; echo err >&2; {ends}")
    assert (answer.returncode, answer.stdout, answer.stderr) == (status, b"out\n", b"err\n")


def test_a_command_gets_the_gates_environment_and_no_input(run: Callable[..., Any]) -> None:
    answer = run(sent(PVESH), 'cat; echo "$*"; exec env', input=b"hidden")
    said, *environment = answer.stdout.decode().splitlines()
    assert said == "get /nodes --output-format json"
    names = {line.partition("=")[0]: line.partition("=")[2] for line in environment}
    assert names.keys() - {"PWD", "_", "SHLVL", "OLDPWD"} == {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LC_ALL",
        "MAW_RUN",
    }
    assert (names["MAW_RUN"], names["LC_ALL"]) == (RUN, "C.UTF-8")


def test_a_program_that_is_missing_is_said_as_a_shell_says_it(run: Callable[..., Any]) -> None:
    answer = run(sent(STREAM))
    assert (answer.returncode, answer.stderr) == (127, b"vzdump: not found\n")


def test_only_plain_files_are_read(run: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "สำรอง" / "dump"
    folder.mkdir(parents=True)
    path = folder / ARCHIVE.rpartition("/")[2]
    read = sent(("cat", "--", str(path)))
    missing = run(read)
    assert (missing.returncode, b"No such file" in missing.stderr) == (1, True)
    path.write_bytes(b"\x28\xb5\x2f\xfd\0\xff")
    assert run(read).stdout == b"\x28\xb5\x2f\xfd\0\xff"
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert (run(read).returncode, run(read).stdout) == (1, b"")
    path.unlink()
    os.mkfifo(path)
    assert (run(read).returncode, run(read).stdout) == (1, b"")


def test_the_version_is_what_the_role_checks_before_it_replaces_the_gate() -> None:
    answer = subprocess.run(
        [sys.executable, "-I", str(PROGRAM), "--version"], capture_output=True, check=True
    )
    assert answer.stdout == b"maw-pve-gate 1\n"


def test_the_role_puts_the_gate_where_the_keys_line_calls_it() -> None:
    role = PROGRAM.parents[1]
    assert f"_proxmox_access_gate: {place.PROGRAM}" in (role / "vars" / "main.yml").read_text("utf-8")


def sleeper(run: str) -> subprocess.Popen[bytes]:
    """A command as it runs beside the guard: in a group of its own, known by its run."""
    return subprocess.Popen(
        ["sleep", "60"], env={"PATH": "/usr/bin:/bin", "MAW_RUN": run}, start_new_session=True
    )


def talk(*lines: bytes, end: bool = True) -> subprocess.Popen[bytes]:
    text = guard.remote_command(guard.ARGV, RUN)[0]
    process = subprocess.Popen(
        [sys.executable, "-I", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"SSH_ORIGINAL_COMMAND": text},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    for line in lines:
        process.stdin.write(line)
    process.stdin.flush()
    if end:
        process.stdin.close()
    return process


@pytest.fixture
def sleeping() -> Any:
    made: list[subprocess.Popen[bytes]] = []

    def make(run: str) -> subprocess.Popen[bytes]:
        made.append(sleeper(run))
        return made[-1]

    yield make
    for one in made:
        one.kill()
        one.wait()


def test_the_guard_stops_at_its_end_what_was_begun_and_not_ended(sleeping: Any) -> None:
    first, second, third = guard.new_run(), guard.new_run(), guard.new_run()
    processes = [sleeping(run) for run in (first, second, third)]
    lines = [guard.line("start", first), guard.line("start", second), guard.line("end", second)]
    with talk(*lines) as process:
        assert process.wait(timeout=20) == 0
    assert processes[0].wait(timeout=5) == -15
    assert [one.poll() for one in processes[1:]] == [None, None]


def test_the_guard_answers_and_stops_one_run_when_it_is_told(sleeping: Any) -> None:
    run = guard.new_run()
    one = sleeping(run)
    with talk(
        guard.line("ping", RUN), guard.line("start", run), guard.line("stop", run), end=False
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{RUN}\n".encode()
        assert one.wait(timeout=5) == -15
        assert process.poll() is None


@pytest.mark.parametrize("word", [b".*", b"", b"[0-9a-f]*", rb"\|PATH=", b"0", b"x" * 5000, b"\xff"])
def test_the_guard_takes_no_run_for_a_pattern(sleeping: Any, word: bytes) -> None:
    # To the shell's guard it would be a pattern for grep: a key could stop every process of the server.
    other = sleeping(guard.new_run())
    unrelated = sleeping("")
    with talk(b"start " + word + b"\n", b"stop " + word + b"\n") as process:
        assert process.wait(timeout=20) == 0
    time.sleep(0.2)
    assert (other.poll(), unrelated.poll()) == (None, None)


def test_the_guard_stops_no_run_that_was_not_begun_through_it(sleeping: Any) -> None:
    run = guard.new_run()
    one = sleeping(run)
    with talk(guard.line("stop", run)) as process:
        assert process.wait(timeout=20) == 0
    assert one.poll() is None
