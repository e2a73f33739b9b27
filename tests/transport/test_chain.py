# ruff: noqa: E501 - a row of a table is one line
"""What the doctor asks next, and what it makes of the answers: decided from data, nothing is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from maw.topology import Host
from maw.transport import causes, chain, doctor, windows_files
from maw.transport.chain import Facts, Greeting, Heard, Here, KeyFile, State, Subject
from maw.transport.keys import HostKey
from maw.transport.ssh_config import Paths

NOW = 1_800_000_000.0
CONFIG = Path("/d/ssh_config")
WHERE = Paths(Path("/w/ssh_config"), Path("/w/known_hosts"), Path("/run/m"))
KEY, OTHER = HostKey("ssh-ed25519", "AAAAkey1"), HostKey("ssh-ed25519", "AAAAkey2")
INNER = HostKey("ssh-ed25519", "AAAAin12")
LINUX = Host("server", ("192.168.1.129",), user="root", roles=("core",))
WINDOWS = Host("notebook", ("192.168.1.146", "100.64.0.2"), user="สมชาย", windows_shell="cmd")
WSL = Host(
    "notebook-wsl",
    WINDOWS.addresses,
    user="root",
    windows="notebook",
    wsl_distro="Ubuntu",
    roles=("satellites",),
)
HOSTS = (LINUX, WINDOWS, WSL)
PINS = {"server": (OTHER,), "notebook": (KEY,), "notebook-wsl": (INNER,)}
GREETING = b"SSH-2.0-OpenSSH_for_Windows_9.5\r\n"
INSIDE = b"clock %d\nrun_sshd yes\nlxd yes\nall done\n" % NOW
LISTED = "  NAME      STATE           VERSION\r\n* Ubuntu    Running         2\r\n  Debian    Stopped         1\r\n"
VERSIONS = "WSL version: 2.5.7.0\r\nKernel version: 6.6.87.2-1\r\nWindows version: 10.0.26200.1\r\n"
FOREVER = b"[general]\r\ninstanceIdleTimeout=-1\r\n[wsl2]\r\nvmIdleTimeout=-1\r\n"


def _subject(host: Host = WSL, **changes: object) -> Subject:
    windows = {"notebook": WINDOWS, "notebook-wsl": WINDOWS}.get(host.name)
    return dataclasses.replace(Subject(host, windows, HOSTS, WHERE, PINS), **changes)


def _heard(stdout: bytes = b"", stderr: bytes = b"", status: int | None = 0) -> Heard:
    return Heard(stdout, stderr, status, NOW)


WELL = {
    **{f"keys of {one}": _heard(f"{one} ssh-ed25519 AAAAkey1\n".encode()) for one in WINDOWS.addresses},
    "shell": _heard(b"Windows_NT\r\n"),
    "exit-code": _heard(status=3),
    "wsl-version": _heard(VERSIONS.encode("utf-16-le")),
    "wsl-list": _heard(LISTED.encode("utf-16-le")),
    "wslconfig": _heard(FOREVER),
    "sshd-test": _heard(),
    "host-key-file": _heard(b"ssh-ed25519 AAAAin12 root@nb\n"),
    "bridge": _heard(b"SSH-2.0-OpenSSH_9.6p1\r\n", status=None),
    "login": _heard(INSIDE),
}


def _facts(
    here: Here | None = None, greetings: tuple[Greeting, ...] | None = None, **answers: Heard | None
) -> Facts:
    """A healthy notebook, with these answers changed; None takes one away."""
    heard = {**WELL, **{name.replace("_", "-"): answer for name, answer in answers.items()}}
    known = here or Here(
        (), "OpenSSH_9.2", "", "/run/m/short", (KeyFile(Path("/k/bridge"), "bridge", exists=True),)
    )
    answering = tuple(Greeting(one, GREETING, seconds=0.01) for one in WINDOWS.addresses)
    return Facts(known, greetings or answering, {name: one for name, one in heard.items() if one is not None})


def _steps(facts: Facts, host: Host = WSL, **changes: object) -> dict[str, chain.Step]:
    found = doctor.judge(_subject(host, **changes), facts)
    # Of several steps of one name, the one that is worst for the reader.
    order = [State.SKIPPED, State.OK, State.WARNING, State.FAILED]
    return {step.name: step for step in sorted(found, key=lambda step: order.index(step.state))}


def test_a_healthy_chain_has_no_failure_no_warning_and_one_thing_that_cannot_be_told() -> None:
    steps = _steps(_facts())
    assert {name for name, step in steps.items() if step.state is not State.OK} == {"sign-out"}
    assert steps["sign-out"].state is State.SKIPPED


CHANGED = [
    ("wrong-shell", State.FAILED, "shell", {"shell": _heard(b"%OS%\r\n"), "exit_code": _heard(status=1)}),
    ("exit-code", State.WARNING, "exit-code", {"exit_code": _heard(status=1)}),
    ("no-windows", State.FAILED, "shell", {"shell": _heard(b"%OS%\n"), "exit_code": _heard(status=127)}),
    ("profile-noise", State.WARNING, "shell", {"shell": _heard("สวัสดี\r\nWindows_NT\r\n".encode())}),
    ("profile-noise", State.WARNING, "bridge", {"bridge": _heard(b"Welcome\r\nSSH-2.0-x\r\n", status=None)}),
    ("noise", State.FAILED, "bridge", {"bridge": _heard(b"w\0s\0l\0SSH-2.0-x\r\n", status=None)}),
    (
        "old-wsl",
        State.WARNING,
        "wsl",
        {"wsl_version": _heard(VERSIONS.replace("2.5.7", "2.4.8").encode("utf-16-le"))},
    ),
    (
        "old-wsl",
        State.WARNING,
        "wsl",
        {"wsl_version": _heard("Usage: wsl.exe [Argument]".encode("utf-16-le"))},
    ),
    (
        "no-wsl-exe",
        State.FAILED,
        "wsl",
        {"wsl_version": _heard(b"", b"'wsl.exe' is not recognized", 1), "wsl_list": _heard(b"", b"", 1)},
    ),
    (
        "no-distro",
        State.FAILED,
        "distro",
        {"wsl_list": _heard(LISTED.replace("Ubuntu", "Fedora").encode("utf-16-le"))},
    ),
    (
        "wsl-1",
        State.FAILED,
        "distro",
        {"wsl_list": _heard(LISTED.replace("Running         2", "Stopped 1").encode())},
    ),
    (
        "no-run-sshd",
        State.FAILED,
        "sshd",
        {"sshd_test": _heard(b"", b"Missing privilege separation directory", 255)},
    ),
    ("host-key-changed", State.FAILED, "distro-key", {"host_key_file": _heard(b"ssh-ed25519 AAAAnew1 x\n")}),
    (
        "inner-refused",
        State.FAILED,
        "login",
        {"login": _heard(b"", b"root@x: Permission denied (publickey).", 255)},
    ),
    ("shell-broken", State.FAILED, "login", {"login": _heard(b"This account is not available\n", b"", 1)}),
    ("idle-stop", State.WARNING, "idle-stop", {"wslconfig": _heard(b"", b"No such file", 1)}),
    (
        "idle-stop",
        State.WARNING,
        "idle-stop",
        {"wslconfig": _heard(FOREVER.replace(b"[general]", b"[wsl2]"))},
    ),
    (
        "idle-stop",
        State.WARNING,
        "idle-stop",
        {"wslconfig": _heard(FOREVER.replace(b"vmIdleTimeout=-1", b""))},
    ),
    ("clock", State.FAILED, "clock", {"login": _heard(b"clock %d\nall done\n" % (NOW - 10 * 365 * 86400))}),
    ("clock", State.WARNING, "clock", {"login": _heard(b"clock %d\nall done\n" % (NOW + 90))}),
    (
        "host-key-elsewhere",
        State.FAILED,
        "host-key",
        {"keys of 100.64.0.2": _heard(b"x ssh-ed25519 AAAAkey2\n")},
    ),
    (
        "host-key-changed",
        State.FAILED,
        "host-key",
        {"keys of 100.64.0.2": _heard(b"x ssh-ed25519 AAAAnew1\n")},
    ),
]


@pytest.mark.parametrize(
    ("cause", "state", "name", "answers"), CHANGED, ids=[f"{row[0]}-{n}" for n, row in enumerate(CHANGED)]
)
def test_an_answer_that_is_not_well_names_its_cause(
    cause: str, state: State, name: str, answers: dict[str, Heard]
) -> None:
    step = _steps(_facts(**answers))[name]
    assert (step.state, step.cause_name) == (state, cause)
    assert step.step


def test_a_profile_that_prints_before_every_answer_hides_nothing() -> None:
    noise = "สวัสดี\r\nWelcome 1.2.3\r\n".encode()
    names = ("shell", "wsl-version", "wsl-list", "sshd-test", "host-key-file")
    noisy = {name.replace("-", "_"): _heard(noise + WELL[name].stdout) for name in names}
    steps = _steps(_facts(**noisy))
    assert {step.cause_name for step in steps.values()} == {None, "profile-noise"}
    assert steps["wsl"].seen == "2.5.7.0"


def test_the_whole_chain_is_skipped_with_the_reason_when_no_address_answers() -> None:
    silent = tuple(Greeting(one, b"", "timed out", "connect") for one in WINDOWS.addresses)
    steps = _steps(Facts(_facts().here, silent))
    assert steps["address"].cause_name == "no-answer"
    for name in (
        "windows-login",
        "shell",
        "wsl",
        "distro",
        "sshd",
        "bridge-login",
        "bridge",
        "login",
        "idle-stop",
    ):
        assert steps[name].state is State.SKIPPED, name
        assert "address 192.168.1.146" in steps[name].seen


@pytest.mark.parametrize(
    ("greeting", "cause"),
    [
        (Greeting("a", b"", "Name or service not known", "name"), "no-such-name"),
        (Greeting("a", b"", "Connection refused", "connect"), "nothing-listens"),
        (Greeting("a", b"", "No route to host", "connect"), "no-route"),
        (Greeting("a", b"", "Network is unreachable", "connect"), "no-route"),
        (Greeting("a", b"", "timed out", "connect"), "no-answer"),
        (Greeting("a", b"", "timed out", "greet"), "silent"),
        (Greeting("a", b"", "the connection was closed", "done"), "silent"),
        (Greeting("a", b"HTTP/1.1 400 Bad Request\r\n", "", "done"), "not-ssh"),
    ],
)
def test_an_address_tells_how_far_one_comes(greeting: Greeting, cause: str) -> None:
    alone = _steps(Facts(_facts().here, (greeting,)))["address"]
    assert (alone.state, alone.cause_name) == (State.FAILED, cause)
    beside = _steps(_facts(greetings=(greeting, Greeting("b", GREETING))))["address"]
    assert (beside.state, beside.cause_name) == (State.WARNING, cause), "another address answers"


def test_nothing_is_asked_of_a_machine_that_does_not_answer_or_with_a_config_that_is_refused() -> None:
    silent = Facts(_facts().here, (Greeting("a", b"", "timed out", "connect"),))
    assert chain.questions(_subject(), silent, CONFIG) == ()
    broken = dataclasses.replace(_facts().here, config_error="no")
    assert chain.questions(_subject(), _facts(broken), CONFIG) == ()
    gone = dataclasses.replace(_facts().here, missing=("ssh",))
    assert chain.questions(_subject(), _facts(gone), CONFIG) == ()


def _names(facts: Facts, host: Host = WSL) -> set[str]:
    return {question.name for question in chain.questions(_subject(host), facts, CONFIG)}


def test_what_is_asked_follows_from_what_was_heard() -> None:
    first = dataclasses.replace(_facts(), heard={})
    assert _names(first) == {"keys of 192.168.1.146", "keys of 100.64.0.2", "shell", "bridge"}
    assert _names(first, WINDOWS) == {"keys of 192.168.1.146", "keys of 100.64.0.2", "shell"}
    assert _names(first, LINUX) == {"keys of 192.168.1.146", "keys of 100.64.0.2", "login"}
    of_windows = {"exit-code", "wsl-version", "wsl-list", "wslconfig", "sshd-test", "host-key-file"}
    second = first.with_answers({name: WELL[name] for name in WELL if name not in {*of_windows, "login"}})
    assert _names(second) == {*of_windows, "login"}
    assert _names(_facts()) == set(), "then all is known"


REFUSED = _heard(b"", b"you@192.0.2.7: Permission denied (publickey).\r\n", 255)


def test_only_what_a_working_key_can_see_is_asked() -> None:
    one = {name: WELL[name] for name in WELL if name.startswith("keys of")}
    both = dataclasses.replace(_facts(), heard={**one, "shell": REFUSED, "bridge": REFUSED})
    assert _names(both) == set(), "with no key that works, nothing more can be seen"
    bridge_only = dataclasses.replace(_facts(), heard={**one, "shell": REFUSED, "bridge": WELL["bridge"]})
    assert _names(bridge_only) == {"login"}
    admin_only = _facts(bridge=REFUSED, login=None)
    of_keys = _names(admin_only)
    assert of_keys == {"keys-file", "own-keys-file", "user", "groups", "acl-saved"}
    assert _names(admin_only.with_answers(dict.fromkeys(of_keys, _heard()))) == {"acl"}


ACL_WELL = "administrators_authorized_keys\r\nO:BAG:DUD:PAI(A;;FA;;;SY)(A;;FA;;;BA)\r\n"
LINE = b'restrict,command="wsl.exe -d Ubuntu -u root --exec /usr/sbin/sshd -i"%s ssh-ed25519 AAAAbridge maw-bridge\r\n'
USER = _heard(b'"nb\\you","S-1-5-21-1-2-3-1001"\r\n')
ADMIN, NO_ADMIN = _heard(b'"x","S-1-5-32-544",""\r\n'), _heard(b'"x","S-1-5-32-545",""\r\n')
OURS, NOT_OURS = _heard(LINE % b""), _heard(b"# AAAAbridge\r\nssh-ed25519 AAAAadmin maw-admin\r\n")
OPEN = _heard(ACL_WELL.replace("(A;;FA;;;BA)", "(A;;FA;;;BU)").encode("utf-16-le"))
OWNED = _heard(ACL_WELL.replace("O:BA", "O:S-1-5-21-1-2-3-1001").encode("utf-16-le"))
MISSING = _heard(b"", b"File not found", 1)
WHY = [
    ("keys-acl", {"acl": OPEN, "groups": ADMIN, "keys_file": OURS}),
    ("keys-acl", {"acl": OPEN, "keys_file": OURS}),
    ("outer-refused", {"acl": OWNED, "user": USER, "groups": ADMIN, "keys_file": OURS}),
    ("outer-refused", {"acl": OPEN, "groups": NO_ADMIN, "keys_file": NOT_OURS, "own_keys_file": OURS}),
    ("bridge-key-missing", {"keys_file": NOT_OURS, "own_keys_file": MISSING}),
    ("bridge-key-missing", {"groups": NO_ADMIN, "keys_file": OURS, "own_keys_file": NOT_OURS}),
    ("bridge-key-in-profile", {"groups": ADMIN, "keys_file": NOT_OURS, "own_keys_file": OURS}),
    ("bridge-key-from", {"keys_file": _heard(LINE % b',from="192.168.1.1"'), "own_keys_file": MISSING}),
    ("outer-refused", {"keys_file": OURS, "own_keys_file": MISSING}),
    ("outer-refused", {}),
]


@pytest.mark.parametrize(("cause", "answers"), WHY, ids=[f"{cause}-{n}" for n, (cause, _) in enumerate(WHY)])
def test_a_refused_bridge_key_is_explained_as_far_as_the_other_key_sees(
    cause: str, answers: dict[str, Heard]
) -> None:
    facts = _facts(bridge=REFUSED, login=None, **{"acl": _heard(ACL_WELL.encode("utf-16-le")), **answers})
    steps = _steps(facts, bridge_keys=("AAAAbridge",))
    assert (steps["bridge-login"].state, steps["bridge-login"].cause_name) == (State.FAILED, cause)
    assert steps["bridge"].state is steps["login"].state is State.SKIPPED
    assert steps["windows-login"].state is State.OK


def test_when_neither_key_works_the_three_causes_and_the_commands_stand_there() -> None:
    steps = _steps(dataclasses.replace(_facts(), heard={**WELL, "shell": REFUSED, "bridge": REFUSED}))
    for name in ("windows-login", "bridge-login"):
        assert steps[name].cause_name == "outer-refused"
        assert "icacls.exe" in str(steps[name].step)


def test_the_commands_that_are_printed_are_those_that_maw_itself_uses() -> None:
    path = windows_files.ADMINISTRATORS_FILE
    assert (f"icacls.exe {path} /reset", *windows_files.grant_commands(path)) == causes.ACL_COMMANDS


def test_what_sshd_says_itself_explains_its_silence_on_the_bridge() -> None:
    said = _heard(b"", b"Missing privilege separation directory: /run/sshd\r\n", 255)
    steps = _steps(_facts(sshd_test=said, bridge=_heard(status=255), login=None))
    assert steps["sshd"].cause_name == steps["bridge"].cause_name == "no-run-sshd"
    alone = _steps(_facts(sshd_test=None, bridge=_heard(status=255), login=None))
    assert alone["bridge"].cause_name == "sshd-silent"


def test_a_bridge_that_says_nothing_in_time_is_not_called_refused() -> None:
    steps = _steps(_facts(bridge=_heard(status=None), login=None))
    assert steps["bridge"].cause_name == "bridge-silent"
    assert steps["bridge-login"].state is State.SKIPPED


def test_two_names_for_one_machine_are_told_by_the_address_or_by_the_key() -> None:
    twin = Host("laptop", ("10.0.0.1",))
    assert "inventory" in _steps(_facts())
    same_key = _steps(_facts(), hosts=(*HOSTS, twin), pins={**PINS, "laptop": (KEY,)})["inventory"]
    assert (same_key.state, same_key.cause_name) == (State.WARNING, "same-machine")
    assert "laptop" in str(same_key.cause)
    same_address = dataclasses.replace(twin, addresses=("100.64.0.2",))
    assert _steps(_facts(), hosts=(*HOSTS, same_address))["inventory"].cause_name == "same-machine"
    other_port = dataclasses.replace(same_address, port=2222)
    assert _steps(_facts(), hosts=(*HOSTS, other_port))["inventory"].state is State.OK
    second_distro = dataclasses.replace(WSL, name="notebook-debian", wsl_distro="Debian")
    assert _steps(_facts(), hosts=(*HOSTS, second_distro))["inventory"].state is State.OK


@pytest.mark.parametrize(
    ("key", "state", "cause"),
    [
        (KeyFile(Path("/k/bridge"), "bridge", exists=False), State.FAILED, "key-file-bad"),
        (KeyFile(Path("/k/bridge"), "bridge", exists=True, mode=0o644), State.FAILED, "key-file-open"),
        (
            KeyFile(Path("/k/bridge"), "bridge", exists=True, problem="invalid format"),
            State.FAILED,
            "key-file-bad",
        ),
    ],
)
def test_a_private_key_that_ssh_would_ignore_is_named(key: KeyFile, state: State, cause: str) -> None:
    step = _steps(_facts(dataclasses.replace(_facts().here, keys=(key,))))["keys"]
    assert (step.state, step.cause_name) == (state, cause)
    assert "/k/bridge" in str(step.cause)


def test_a_control_path_of_200_characters_is_named_with_its_length() -> None:
    here = dataclasses.replace(_facts().here, control_path="/" + "x" * 199)
    step = _steps(_facts(here))["ssh-config"]
    assert (step.state, step.cause_name) == (State.FAILED, "control-path")
    assert "200 bytes" in str(step.cause)


def test_a_clock_ten_years_off_is_named_with_both_times_and_whose_it_is() -> None:
    step = _steps(_facts(login=_heard(b"clock %d\nall done\n" % (NOW - 10 * 365 * 86400))))["clock"]
    assert "here it is 2027-01-15 08:00:00 UTC, on notebook-wsl 2017-01-17 08:00:00 UTC" in str(step.cause)
    assert "notebook-wsl is certainly wrong" in str(step.cause)


def test_a_clock_of_ours_that_cannot_be_is_named_though_nobody_answers() -> None:
    silent = (Greeting("a", b"", "timed out", "connect"),)
    for now, cause in ((NOW, None), (0.0, "clock")):
        steps = _steps(Facts(dataclasses.replace(_facts().here, now=now), silent))
        assert (steps["clock"].cause_name if "clock" in steps else None) == cause


@pytest.mark.parametrize("said", [b"clock -1\n", "clock ๑๒\n".encode(), b"clock 99999999999999999999\n", b""])
def test_a_clock_that_is_no_number_is_not_compared(said: bytes) -> None:
    assert _steps(_facts(login=_heard(said + b"all done\n")))["clock"].state is State.SKIPPED


def test_texts_of_hostile_machines_are_made_harmless() -> None:
    hostile = "\x1b[31m\u202e{account}สวัสดี".encode()
    answers = {name.replace("-", "_"): _heard(hostile, hostile, 1) for name in WELL}
    found = doctor.judge(_subject(), _facts(greetings=(Greeting("a", hostile),), **answers))
    found += doctor.judge(_subject(), _facts(**answers))
    for step in found:
        assert f"{step.seen}{step.cause}{step.step}{step.title}".isprintable(), step
