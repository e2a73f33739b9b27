"""What the lab decides, without a container: names, networks, steps, daemons, packages."""

from __future__ import annotations

import ipaddress
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.lab.conftest import lab_program

# After the conftest, which says where this package is.
from lab import install, machine, names, plan  # isort: skip
from lab.errors import LabError  # isort: skip

FOLDER = Path("/somewhere/.lab/maw")
IMAGE = "maw-lab-1"
CONTENTS = {"core": "c", "pve": "p", "notebook": "n", "notebook2": "n2"}


def lab(**wanted) -> names.Lab:
    return names.Lab("maw", FOLDER, **wanted)


def instance(status="Running", image=IMAGE, content="c", owner=str(FOLDER)) -> plan.Instance:
    return plan.Instance(status, {plan.IMAGE: image, plan.CONTENT: content, plan.OWNER: owner})


def found(**changes) -> plan.Found:
    whole = {
        "archive": True,
        "images": (IMAGE,),
        "pool": str(FOLDER),
        "network": str(FOLDER),
        "instances": {
            "maw-core": instance(content="c"),
            "maw-pve": instance(content="p"),
            "maw-notebook": instance(content="n"),
        },
    }
    return plan.Found(**{**whole, **changes})


def kinds(steps) -> list[tuple[str, str]]:
    return [(step.kind, step.subject) for step in steps]


def test_from_nothing_everything_is_made_in_an_order_that_works():
    steps = plan.up(lab(), IMAGE, CONTENTS, plan.Found())
    assert kinds(steps)[:4] == [
        (plan.BUILD, IMAGE),
        (plan.IMPORT, IMAGE),
        (plan.POOL, "maw-lab"),
        (plan.NETWORK, "maw-lab"),
    ]
    for name in ("core", "pve", "notebook"):
        mine = [step.kind for step in steps if step.subject == f"maw-{name}"]
        assert mine == [plan.CREATE, plan.START, plan.CONFIGURE]
    assert all(step.reason for step in steps)


def test_where_all_is_there_nothing_is_done():
    assert plan.up(lab(), IMAGE, CONTENTS, found()) == []


@pytest.mark.parametrize(
    ("core", "wanted"),
    [
        (instance(status="Stopped"), [plan.START]),
        (instance(status="Frozen"), [plan.START]),
        (instance(content="old"), [plan.CONFIGURE]),
        (instance(image="maw-lab-0"), [plan.DELETE, plan.CREATE, plan.START, plan.CONFIGURE]),
    ],
)
def test_only_what_is_wrong_with_a_machine_is_done(core, wanted):
    there = found(instances={**found().instances, "maw-core": core})
    assert kinds(plan.up(lab(), IMAGE, CONTENTS, there)) == [(kind, "maw-core") for kind in wanted]


def test_more_and_fewer_satellites_add_and_remove_notebooks():
    more = plan.up(lab(satellites=2), IMAGE, CONTENTS, found())
    assert {step.subject for step in more} == {"maw-notebook2"}
    assert kinds(plan.up(lab(satellites=0), IMAGE, CONTENTS, found())) == [(plan.DELETE, "maw-notebook")]


def test_an_old_image_is_removed_after_the_machines_are_made_anew():
    steps = plan.up(lab(), "maw-lab-2", CONTENTS, found())
    assert kinds(steps)[0] == (plan.IMPORT, "maw-lab-2")
    assert kinds(steps)[-1] == (plan.DELETE_IMAGE, IMAGE)


def test_down_removes_machines_before_what_they_use():
    order = [kind for kind, _ in kinds(plan.down(lab(), found()))]
    assert order == [*[plan.DELETE] * 3, plan.DELETE_NETWORK, plan.DELETE_IMAGE, plan.DELETE_POOL]
    assert plan.down(lab(), plan.Found()) == []


@pytest.mark.parametrize(
    "there",
    [
        found(pool=""),
        found(network="/elsewhere/.lab/maw"),
        found(instances={"maw-core": instance(owner="/elsewhere/.lab/maw")}),
        found(instances={"maw-core": plan.Instance("Running")}),
    ],
)
def test_what_another_made_is_neither_changed_nor_removed(there):
    with pytest.raises(LabError, match="make lab PREFIX=other"):
        plan.up(lab(), IMAGE, CONTENTS, there)
    with pytest.raises(LabError, match="make lab PREFIX=other"):
        plan.down(lab(), there)


@pytest.mark.parametrize(
    "prefix", ["", "Maw", "1a", "a-", "-a", "a" * 11, "มอว์", "a b", "../a", "$(id)", "a\n", "a.b"]
)
def test_a_prefix_that_cannot_be_a_name_is_refused(prefix):
    with pytest.raises(LabError, match="cannot be a prefix"):
        names.Lab(prefix, FOLDER)


def test_names_of_interfaces_are_short_enough_for_linux():
    assert len(names.Lab("a" * 10, FOLDER).shared) <= 15


@pytest.mark.parametrize("count", [-1, 51])
def test_an_impossible_number_of_satellites_is_refused(count):
    with pytest.raises(LabError, match="0 to 50"):
        lab(satellites=count)


def test_an_unknown_machine_is_refused_with_the_known_ones():
    with pytest.raises(LabError, match="core, pve, notebook"):
        lab(only=("notebok",))


def test_all_machines_have_addresses_of_their_own_in_the_network():
    machines = lab(satellites=50).machines
    addresses = {one.address("10.200.3.0/24") for one in machines}
    assert len(addresses) == len(machines) == 52
    assert names.gateway("10.200.3.0/24") not in addresses
    assert all(ipaddress.IPv4Address(one) in ipaddress.IPv4Network("10.200.3.0/24") for one in addresses)


def test_a_prefix_keeps_its_network_unless_that_is_taken():
    first = names.choose_subnet("maw", [])
    assert names.choose_subnet("maw", ["192.168.1.0/24", "0.0.0.0/0", "10.0.0.7"]) == first
    second = names.choose_subnet("maw", [first])
    assert second != first
    wide = str(ipaddress.IPv4Network(first).supernet(new_prefix=12))
    assert not ipaddress.IPv4Network(names.choose_subnet("maw", [wide])).subnet_of(
        ipaddress.IPv4Network(wide)
    )
    with pytest.raises(LabError, match="ip route"):
        names.choose_subnet("maw", ["10.0.0.0/8"])


def known(**changes) -> plan.Daemons:
    nothing = {"answering": {}, "own_exists": False, "root": True, "program": "/usr/bin/lxd"}
    return plan.Daemons(**{**nothing, **changes})


SNAP = Path("/var/snap/lxd/common/lxd")
PACKAGE = Path("/var/lib/lxd")


@pytest.mark.parametrize(
    ("daemons", "nested", "own", "folder"),
    [
        (known(), True, True, None),
        (known(answering={SNAP: True}), True, False, SNAP),
        (known(answering={PACKAGE: True, SNAP: True}, root=False), True, False, PACKAGE),
        (known(answering={PACKAGE: False, SNAP: True}), True, False, SNAP),
        (known(answering={PACKAGE: False}), True, True, None),
        (known(answering={PACKAGE: False}), False, False, PACKAGE),
        (known(answering={PACKAGE: True}, own_exists=True), True, True, None),
    ],
)
def test_a_daemon_that_answers_and_can_nest_is_used_else_one_of_our_own(daemons, nested, own, folder):
    choice = plan.choose_daemon(daemons, nested=nested)
    assert (choice.own, choice.folder) == (own, folder)
    assert choice.reason


@pytest.mark.parametrize(
    ("daemons", "said"),
    [
        (known(root=False), "systemctl start lxd"),
        (known(root=False, answering={PACKAGE: False}), "SATELLITES=0"),
        (known(program=None), "not installed"),
    ],
)
def test_without_a_usable_daemon_the_message_says_what_to_do(daemons, said):
    with pytest.raises(LabError, match=said):
        plan.choose_daemon(daemons, nested=True)


ALL = frozenset(
    {
        *("mmdebstrap", "zstd", "rsync", "ssh", "ip", "setsid", "lxc", "lxd", "dnsmasq", "newuidmap"),
        *("iptables", "mkfs.btrfs", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    }
)


@pytest.mark.parametrize("system", ["debian", "ubuntu"])
def test_a_machine_that_has_everything_needs_nothing(system):
    assert install.missing(ALL, system, lxd_answers=False) == ([], [])


def test_debian_gets_lxd_as_a_package_and_ubuntu_as_a_snap():
    packages, snaps = install.missing(frozenset(), "debian", lxd_answers=False)
    assert {"lxd", "lxd-client", "mmdebstrap", "btrfs-progs"} <= set(packages)
    assert snaps == []
    packages, snaps = install.missing(frozenset(), "ubuntu", lxd_answers=False)
    assert "mmdebstrap" in packages
    assert "debian-archive-keyring" in packages
    assert not any("lxd" in name for name in packages)
    assert snaps == ["lxd"]


def test_an_lxd_that_answers_needs_no_packages_of_its_own():
    packages, snaps = install.missing(frozenset({"mmdebstrap"}), "debian", lxd_answers=True)
    assert not {"lxd", "dnsmasq-base", "iptables"} & set(packages)
    assert snaps == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian"),
        ("ID=ubuntu\nID_LIKE=debian\n", "ubuntu"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "ubuntu"),
        ("ID=fedora\n", "fedora"),
        ("", ""),
    ],
)
def test_the_distribution_is_told_from_os_release(text, name):
    assert install.distribution(text) == name


def test_keys_say_on_each_side_only_what_they_may_do():
    keys = {"admin": "ssh-ed25519 AAAA maw-admin", "bridge": "ssh-ed25519 BBBB maw-bridge"}
    from lab import windows

    wanted = lab()
    notebook = next(one for one in wanted.machines if one.role == names.NOTEBOOK)
    inside = machine.files(wanted, notebook, "10.200.3.0/24", keys)["root/.ssh/authorized_keys"]
    assert inside.data == b"restrict,pty,port-forwarding ssh-ed25519 BBBB maw-bridge\n"
    assert inside.mode == 0o600
    outside = windows.files(wanted, "10.200.3.0/24", keys)
    lines = outside["var/lib/windows/drive/ProgramData/ssh/administrators_authorized_keys"].data.decode()
    command = "wsl.exe -d Ubuntu -u root --exec /usr/sbin/sshd -i"
    allowed = "10.200.3.1,10.200.3.129"
    assert lines.splitlines() == [
        f'restrict,command="{command}",from="{allowed}" ssh-ed25519 BBBB maw-bridge',
        "ssh-ed25519 AAAA maw-admin",
    ]


def test_the_hash_of_a_machine_changes_with_each_of_its_files():
    one = {"a": machine.File(b"1"), "b": machine.File(b"2")}
    others = [
        {"a": machine.File(b"12"), "b": machine.File(b"")},
        {"a": machine.File(b"1", 0o600), "b": machine.File(b"2")},
        {"a": machine.File(b"1")},
        {"a": machine.File(b"1"), "c": machine.File(b"2")},
    ]
    assert machine.content(one) not in {machine.content(other) for other in others}
    assert machine.content(dict(reversed(one.items()))) == machine.content(one)


def test_the_archive_of_a_machine_makes_no_folder_of_the_system_anew():
    files = {"etc/hosts": machine.File(b"x"), "root/.ssh/authorized_keys": machine.File(b"y", 0o600)}
    with tarfile.open(fileobj=BytesIO(machine.archive(files))) as tar:
        assert [(one.name, oct(one.mode)) for one in tar] == [
            ("etc/hosts", "0o644"),
            ("root/.ssh", "0o700"),
            ("root/.ssh/authorized_keys", "0o600"),
        ]


def test_the_program_refuses_what_it_does_not_know_and_says_what_it_wants(tmp_path):
    assert lab_program("sideways").returncode == 2
    answer = lab_program("up", "--prefix", "../x", "--root", tmp_path)
    assert answer.returncode == 1
    assert answer.stderr.startswith("lab: '../x' cannot be a prefix")
    answer = lab_program("status", "--root", tmp_path)
    assert answer.returncode == 1
    assert "make lab" in answer.stdout
    assert list(tmp_path.iterdir()) == []
