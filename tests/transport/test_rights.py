"""What a key may do, what is wrong with a line, and what `cutter keys check` makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maw.config import SshSettings
from maw.topology import Host
from maw.transport import authorized, gate, installing, keypairs, keys_check, places, rights, wsl
from maw.transport.keys_check import Seen
from maw.transport.places import Held, Kind, Place
from maw.transport.windows_files import Account
from tests.transport.cluster import NEW, OLD, OTHER

WINDOWS = Host("notebook", ("192.168.1.146",), windows_shell="cmd", user="you")
UBUNTU = Host("notebook-wsl", ("192.168.1.146",), windows="notebook", wsl_distro="Ubuntu", user="root")
SERVER = Host("server", ("192.168.1.129",))
ON_WINDOWS = Place(WINDOWS, Kind.WINDOWS, ("admin", "bridge"), (UBUNTU,))
IN_UBUNTU = Place(UBUNTU, Kind.DISTRO, ("bridge",))
ON_SERVER = Place(SERVER, Kind.LINUX, ("admin",))
ME = Account("S-1-5-21-1", administrator=True)
GOOD_ACL = "D:PAI(A;;FA;;;BA)(A;;FA;;;SY)"
COMMAND = wsl.sshd_command("Ubuntu")


def own(key: authorized.HostKey) -> keypairs.Private:
    return keypairs.Private(None, key, False, key)  # type: ignore[arg-type]


OURS = {"bridge": keypairs.Stages(own(OLD)), "admin": keypairs.Stages(own(NEW))}


def looked(
    place: Place, *lines: str, sddl: str = GOOD_ACL, addresses: tuple[str, ...] = (), reached: bool = False
) -> keys_check.Looked:
    content = "".join(line + "\n" for line in lines).encode()
    account = ME if place.kind is Kind.WINDOWS else None
    return keys_check.judge(
        place, Seen(Held("FILE", content, "", account), sddl, "", addresses), OURS, reached
    )


def problems(found: keys_check.Looked) -> list[str]:
    return [*found.problems, *(problem for key in found.keys for problem in key.problems)]


def line(options: str, key: authorized.HostKey = OLD) -> str:
    return authorized.line(options, key, "comment")


def test_the_lines_that_are_shown_are_the_ones_that_are_right() -> None:
    public = {"bridge": OLD, "admin": NEW}
    shown = installing.instruction(ON_WINDOWS, public, ("192.168.1.129", "100.64.0.1"))
    assert shown.lines == (
        f'restrict,command="{COMMAND}",from="192.168.1.129,100.64.0.1" ssh-ed25519 {OLD.base64} maw-bridge',
        f"ssh-ed25519 {NEW.base64} maw-admin",
    )
    assert problems(looked(ON_WINDOWS, *shown.lines, addresses=("100.64.0.1",))) == []
    inside = installing.instruction(IN_UBUNTU, public, ())
    assert inside.lines == (f"restrict,pty,port-forwarding ssh-ed25519 {OLD.base64} maw-bridge",)
    assert problems(looked(IN_UBUNTU, *inside.lines)) == []
    plain = installing.instruction(ON_SERVER, public, ())
    assert plain.lines == (f"ssh-ed25519 {NEW.base64} maw-admin",)
    assert problems(looked(ON_SERVER, *plain.lines)) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "do everything that the account may"),
        (f'restrict,command="{COMMAND}"', "start the sshd of the distro Ubuntu as root, nothing else"),
        (
            f'command="{COMMAND}",no-pty,no-agent-forwarding,no-x11-forwarding,no-user-rc',
            "start the sshd of the distro Ubuntu as root, with port-forwarding",
        ),
        ("restrict,pty", "run commands, with pty"),
        ("restrict", "run commands, nothing else"),
        (
            'restrict,command="uptime",from="10.0.0.1"',
            "run one command: uptime, nothing else, only from 10.0.0.1",
        ),
        ('expiry-time="20300101"', "do everything that the account may, only until 20300101"),
        ("cert-authority", "sign certificates whose holders may do everything that the account may"),
    ],
)
def test_what_a_key_may_do_is_said_in_words(options: str, words: str) -> None:
    (entry,) = authorized.entries(line(options).encode())
    assert rights.may(entry, ["Ubuntu"]) == words


@pytest.mark.parametrize(
    ("place", "key", "options", "problem"),
    [
        (ON_WINDOWS, OLD, "", "has no command="),
        (ON_WINDOWS, OLD, "restrict", "has no command="),
        (ON_WINDOWS, OLD, f'command="{COMMAND}"', "has no restrict"),
        (ON_WINDOWS, OLD, 'restrict,command="wsl.exe -d Debian -u root"', "is not the bridge's"),
        (ON_WINDOWS, NEW, 'command="whoami"', "nothing else can be run"),
        (IN_UBUNTU, OLD, 'restrict,pty,port-forwarding,from="10.0.0.1"', "locks everybody out"),
        (IN_UBUNTU, OLD, 'command="uptime"', "nothing else can be run"),
        (IN_UBUNTU, OLD, "restrict,pty", "may not forward ports"),
        (ON_SERVER, NEW, 'command="uptime"', "nothing else can be run"),
    ],
)
def test_a_line_of_ours_that_is_wrong_is_found(
    place: Place, key: authorized.HostKey, options: str, problem: str
) -> None:
    good = {ON_WINDOWS: (line(f'restrict,command="{COMMAND}"'), line("", NEW))}.get(place, ())
    kept = [one for one in good if key.base64 not in one]
    assert problem in problems(looked(place, line(options, key), *kept))[0]


ON_PVE = Place(
    Host("pve", ("192.168.1.10",), user="root", roles=("proxmox",)), Kind.LINUX, ("admin", "mirror")
)


def test_the_mirrors_line_is_shown_with_its_gate_and_the_admins_without() -> None:
    shown = installing.instruction(ON_PVE, {"mirror": OLD, "admin": NEW}, ("192.168.1.129",))
    assert shown.lines == (
        f'restrict,command="{gate.PROGRAM}",from="192.168.1.129" ssh-ed25519 {OLD.base64} maw-mirror',
        f"ssh-ed25519 {NEW.base64} maw-admin",
    )
    assert gate.PROGRAM in shown.where
    ours = {
        "mirror": keypairs.Stages(own(OLD)),
        "admin": keypairs.Stages(own(NEW)),
        "bridge": keypairs.Stages(),
    }
    content = "".join(f"{one}\n" for one in shown.lines).encode()
    seen = Seen(Held("FILE", content), "", "", ("192.168.1.129",))
    found = keys_check.judge(ON_PVE, seen, ours, reached=False)
    assert problems(found) == []
    assert found.keys[0].may == (
        "read and back up containers through maw's gate, nothing else, only from 192.168.1.129"
    )
    elsewhere = keys_check.judge(ON_PVE, replace(seen, addresses=("192.168.1.7",)), ours, reached=False)
    assert "does not let this machine in" in problems(elsewhere)[0]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("", "has no command="),
        ("restrict", "has no command="),
        ('restrict,command="/bin/sh"', "is not the gate"),
        (f'command="{gate.PROGRAM}"', "has no restrict"),
    ],
)
def test_a_mirrors_line_that_allows_more_is_found(options: str, word: str) -> None:
    (entry,) = authorized.entries(f"{line(options)}\n".encode())
    assert any(word in one for one in rights.problems(entry, ON_PVE, "mirror"))


def test_keys_of_others_are_listed_and_not_judged() -> None:
    found = looked(IN_UBUNTU, line("restrict,pty,port-forwarding"), line('from="10.0.0.1"', OTHER))
    assert [(key.key, key.comment) for key in found.keys] == [("bridge", "comment"), (None, "comment")]
    assert problems(found) == []


def test_a_key_that_is_not_there_or_twice_is_found() -> None:
    assert "the key admin is not there" in problems(looked(ON_SERVER, line("", OTHER)))[0]
    (twice,) = problems(looked(ON_SERVER, line("", NEW), line("no-pty", NEW)))
    assert "twice" in twice


@pytest.mark.parametrize(
    ("limit", "matches"),
    [
        ("192.168.1.129", True),
        ("192.168.1.0/24", True),
        ("192.168.1.1,192.168.1.129", True),
        ("192.168.1.*", True),
        ("*", True),
        ("!192.168.1.129,*", False),
        ("192.168.1.12", False),
        ("", False),
        ("core.example", False),
        ("fe80::/10", False),
    ],
)
def test_from_is_compared_with_where_this_machine_comes_from(limit: str, matches: bool) -> None:
    assert rights.from_matches(limit, ["192.168.1.129"]) is matches
    lines = (line(f'restrict,command="{COMMAND}",from="{limit}"'), line("", NEW))
    found = problems(looked(ON_WINDOWS, *lines, addresses=("192.168.1.129",)))
    assert bool(found) is not matches
    # Whoever was let in by it knows better: there may be a router between.
    assert problems(looked(ON_WINDOWS, *lines, addresses=("192.168.1.129",), reached=True)) == []


def test_rights_and_encoding_of_windows_file_are_judged() -> None:
    lines = (line(f'restrict,command="{COMMAND}"'), line("", NEW))
    (wrong,) = problems(looked(ON_WINDOWS, *lines, sddl="D:AI(A;;FA;;;BA)(A;;0x1301bf;;;AU)"))
    assert "AU" in wrong
    assert "icacls.exe FILE" in wrong
    held = Held("FILE", "\n".join(lines).encode("utf-16"), "", ME)
    found = keys_check.judge(ON_WINDOWS, Seen(held, GOOD_ACL), OURS, reached=False)
    assert "UTF-16" in found.problems[0]


def test_a_place_without_a_file_or_without_an_answer_is_a_problem() -> None:
    gone = keys_check.judge(ON_SERVER, Seen(Held("FILE", None)), OURS, reached=False)
    assert "no such file" in gone.problems[0]
    away = keys_check.judge(ON_SERVER, Seen(None, error="server is away."), OURS, reached=False)
    report = keys_check.Report((), (gone, away))
    assert report.all_problems[1] == "server, its file of keys: server is away."


def test_one_key_for_two_distros_is_a_problem() -> None:
    two = Place(WINDOWS, Kind.WINDOWS, ("bridge",), (UBUNTU, Host("other", ("a",), wsl_distro="Debian")))
    found = problems(looked(two, line(f'restrict,command="{COMMAND}"')))
    assert "cannot open several distros" in found[0]
    assert len(installing.instruction(two, {"bridge": OLD}, ()).lines) == 1


def test_places_are_those_that_our_keys_open() -> None:
    own_key = Host("mine", ("10.0.0.1",), identity_file="~/.ssh/id")
    example = Host("example", ("192.168.1.146",), example=True)
    hosts = [SERVER, UBUNTU, own_key, example, WINDOWS]
    assert places.places(hosts, SshSettings()) == (ON_SERVER, ON_WINDOWS, IN_UBUNTU)
    assert places.places(hosts, SshSettings(identity_file="~/.ssh/id")) == ()
    # Windows with the user's own key, and our bridge through it.
    theirs = Host("notebook", ("a",), windows_shell="cmd", identity_file="~/.ssh/id")
    (first, second) = places.places([theirs, UBUNTU], SshSettings())
    assert (first.purposes, second) == (("bridge",), IN_UBUNTU)
    (target,) = places.targets((first, second), "bridge")
    assert (target.places, target.proofs) == ((first, second), (UBUNTU,))
    assert places.targets((first, second), "admin") == ()


def test_the_mirrors_key_belongs_on_proxmox_servers_whatever_other_key_they_have() -> None:
    pve = Host("pve", ("192.168.1.10",), roles=("proxmox",))
    mine = Host("mine", ("192.168.1.11",), roles=("proxmox",), identity_file="~/.ssh/mine")
    example = Host("other", ("192.168.1.12",), roles=("proxmox",), example=True)
    hosts = [pve, mine, example, SERVER]
    found = places.places(hosts, SshSettings(), mirror=True)
    assert {one.host.name: one.purposes for one in found} == {
        "pve": ("admin", "mirror"),
        "mine": ("mirror",),
        "server": ("admin",),
    }
    assert [one.host.name for one in places.places(hosts, SshSettings())] == ["pve", "server"]
    assert [(one.host.name, one.purposes) for one in places.of(found, "mirror")] == [
        ("pve", ("mirror",)),
        ("mine", ("mirror",)),
    ]
    first, second = places.targets(found, "mirror")
    assert [(one.name, one.places[0].host.name, one.proofs[0].name) for one in (first, second)] == [
        ("pve", "pve", "pve-mirror"),
        ("mine", "mine", "mine-mirror"),
    ]
