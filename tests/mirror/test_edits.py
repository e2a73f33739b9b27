"""What Proxmox rewrites in a guest at each start is made right for the mirror's place."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.mirror.edit_model import LARGEST, with_block, without_block
from maw.mirror.edits import PROBE, READ, Edit, Seen, paths, plan_edits
from maw.mirror.ifupdown import rewrite
from maw.mirror.mapping import map_config
from maw.mirror.network_plan import Card, choose_address
from maw.mirror.pct import parse
from tests.mirror.samples import bridge, debian_rootfs, needs_shared, target

CONFIG = """\
hostname: web
nameserver: 10.78.0.1
net0: name=eth0,bridge=vmbr0,gw=10.78.0.1,hwaddr=BC:24:11:00:01:05,ip=10.78.0.105/24
net1: name=eth1,bridge=vmbr0,ip=dhcp,ip6=auto
net2: name=eth2,bridge=vmbr0,ip=dhcp,link_down=1
searchdomain: lab.invalid
timezone: Asia/Bangkok
unprivileged: 1
"""
OSTYPES = (
    "debian",
    "devuan",
    "ubuntu",
    "centos",
    "fedora",
    "opensuse",
    "archlinux",
    "alpine",
    "gentoo",
    "nixos",
)
CLIENT = {"sbin/dhclient": Seen("file", b"")}
NETWORKD = {"usr/lib/systemd/systemd-networkd": Seen("file", b"")}


def text(content, **facts):
    return Seen("file", content if isinstance(content, bytes) else content.encode(), **facts)


def plan(seen, ostype="debian", config=CONFIG, where=None, **options):
    where = where or target(bridge=bridge(dhcp=options.pop("dhcp", True)))
    config = parse(config + (f"ostype: {ostype}\n" if ostype else ""))
    mapped = map_config(config, where, name="web")
    return plan_edits(config, mapped, where, seen, **options)


def after(seen, edits):
    """Return what is seen once the edits are done."""
    result = dict(seen)
    for one in edits:
        if one.kind == "remove":
            del result[one.path]
        elif one.kind == "symlink":
            result[one.path] = Seen("symlink", target=one.content.decode())
        else:
            result[one.path] = Seen("file", one.content, None, one.mode, one.uid, one.gid)
    return result


def written(edits, path):
    return next((one.content.decode() for one in edits if one.path == path and one.kind == "file"), None)


def test_the_genuine_debian_container_gets_a_fixed_address_for_it_has_no_dhcp_client():
    seen = debian_rootfs()
    config = parse(needs_shared("fixtures", "debian-stop.conf").read_bytes())
    where = target()
    mapped = map_config(config, where, name="web")
    looked_at = {path: seen[path] for path in paths(config) if path in seen}
    edits, notes, addresses = plan_edits(config, mapped, where, looked_at)
    address = addresses["eth0"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network("10.77.0.0/24")
    assert list(addresses) == ["eth0"]
    assert written(edits, "etc/network/interfaces") == (
        "auto lo\niface lo inet loopback\niface lo inet6 loopback\n\n"
        "# interfaces(5) file used by ifup(8) and ifdown(8)\n"
        "# Include files from /etc/network/interfaces.d:\nsource /etc/network/interfaces.d/*\n\n"
        f"auto eth0\niface eth0 inet static\n\taddress {address}\n\tnetmask 255.255.255.0\n"
        "\tgateway 10.77.0.1\n\niface eth1 inet manual\n\n"
    )
    assert written(edits, "etc/hosts") == (
        "# --- BEGIN PVE ---\n127.0.0.1 localhost.localnet localhost\n::1 localhost.localnet localhost\n"
        f"{address} web.lab.invalid web\n# --- END PVE ---\n"
    )
    assert written(edits, "etc/resolv.conf") == (
        "# --- BEGIN PVE ---\nsearch lab.invalid\nnameserver 10.77.0.1\n# --- END PVE ---\n"
    )
    assert {one.path for one in edits} == {
        "etc/network/interfaces",
        "etc/hosts",
        "etc/resolv.conf",
        "etc/systemd/system/container-getty@1.service",
        "etc/systemd/system/container-getty@2.service",
    }
    assert {note.key for note in notes} >= {"eth0", "eth1", "etc/localtime"}
    assert plan_edits(config, mapped, where, after(looked_at, edits))[0] == ()


def test_the_genuine_debian_container_beside_its_original_loses_its_machine_id():
    seen = debian_rootfs()
    edits, _, _ = plan(seen, beside=True)
    one = next(one for one in edits if one.path == "etc/machine-id")
    assert (one.kind, one.content, one.mode) == ("file", b"", 0o444)
    assert not any("ssh" in edit.path for edit in edits)
    assert not any("machine-id" in edit.path for edit in plan(seen)[0])


def test_a_machine_id_of_dbus_own_is_removed():
    edits, _, _ = plan({"var/lib/dbus/machine-id": text("abc\n")}, beside=True)
    assert Edit("var/lib/dbus/machine-id", "remove", b"", 0, why=edits[-1].why) == edits[-1]


def test_with_a_dhcp_client_every_card_asks_for_its_address():
    edits, _, addresses = plan(CLIENT)
    assert addresses == {"eth0": "", "eth1": ""}
    assert written(edits, "etc/network/interfaces") == (
        "auto lo\niface lo inet loopback\n\n"
        "auto eth0\niface eth0 inet dhcp\n\nauto eth1\niface eth1 inet dhcp\n\n"
    )
    assert "127.0.1.1 web.lab.invalid web\n" in written(edits, "etc/hosts")


@pytest.mark.parametrize(
    ("ostype", "seen", "path", "lines"),
    [
        ("alpine", {}, "etc/network/interfaces", ["iface eth0 inet static"]),
        ("devuan", {}, "etc/network/interfaces", ["iface eth0 inet static"]),
        ("ubuntu", NETWORKD, "etc/systemd/network/eth0.network", ["Name = eth0", "DHCP = ipv4"]),
        (
            "archlinux",
            {},
            "etc/systemd/network/eth0.network",
            ["DHCP = no", "Gateway = 10.77.0.1", "DNS = 10.77.0.1"],
        ),
        ("nixos", NETWORKD, "etc/systemd/network/eth1.network", ["DHCP = ipv4", "Domains = lab.invalid"]),
        ("fedora", NETWORKD, "etc/systemd/network/eth0.network", ["DHCP = ipv4"]),
        (
            "ubuntu",
            {"usr/lib/os-release": text('ID=ubuntu\nVERSION_ID="16.04"\n')},
            "etc/network/interfaces",
            ["iface eth0 inet static"],
        ),
        (
            "centos",
            {"etc/redhat-release": text("AlmaLinux release 9.4\n")},
            "etc/sysconfig/network-scripts/ifcfg-eth0",
            ["DEVICE=eth0", "BOOTPROTO=none", "NETMASK=255.255.255.0", "GATEWAY=10.77.0.1", "DNS1=10.77.0.1"],
        ),
        (
            "centos",
            {"etc/redhat-release": text("AlmaLinux release 10.0\n")},
            "etc/NetworkManager/system-connections/eth0.nmconnection",
            ["interface-name=eth0", "method=manual", "gateway=10.77.0.1", "dns-search=lab.invalid"],
        ),
        ("opensuse", {}, "etc/sysconfig/network/ifcfg-eth0", ["STARTMODE=onboot", "BOOTPROTO=static"]),
        ("opensuse", {}, "etc/sysconfig/network/ifroute-eth0", ["default 10.77.0.1 0.0.0.0 eth0"]),
        ("gentoo", {}, "etc/conf.d/net", ['routes_eth0="default gw 10.77.0.1"', 'config_eth1="null"']),
        ("gentoo", {}, "etc/conf.d/hostname", ['hostname="web"']),
    ],
)
def test_each_system_gets_its_own_kind_of_network_files(ostype, seen, path, lines):
    edits, _, _ = plan(seen, ostype)
    content = written(edits, path)
    assert content is not None
    assert all(line in content.split("\n") for line in lines), content


def test_a_connection_of_networkmanager_is_for_root_alone():
    edits, _, _ = plan({"etc/redhat-release": text("CentOS Stream release 10\n")}, "centos")
    assert next(one.mode for one in edits if one.path.endswith("eth0.nmconnection")) == 0o600


@pytest.mark.parametrize("ostype", OSTYPES)
@pytest.mark.parametrize("clients", [{}, {**CLIENT, **NETWORKD}])
@pytest.mark.parametrize("dhcp", [True, False])
def test_once_done_there_is_nothing_left_to_do(ostype, clients, dhcp):
    seen = {
        **clients,
        "etc/redhat-release": text("AlmaLinux release 9.4\n"),
        "etc/hosts": text("127.0.0.1 localhost\n10.0.0.1 other\n"),
        "etc/hostname": text("old\n"),
        "etc/localtime": Seen("symlink", target="/usr/share/zoneinfo/Etc/UTC"),
        "etc/timezone": text("Etc/UTC\n"),
        "usr/share/zoneinfo/Asia/Bangkok": text(""),
        "usr/lib/systemd/system/container-getty@.service": text(""),
        "etc/machine-id": text("c3b1\n"),
        "var/lib/dbus/machine-id": text("c3b1\n"),
        "etc/systemd/network/eth2.network": text("[Match]\nName = eth2\n"),
        "etc/sysconfig/network-scripts/route-eth0": text(with_block(None, "10.78.0.1 dev eth0\n")),
    }
    edits, _, addresses = plan(seen, ostype, dhcp=dhcp, beside=True)
    assert edits
    assert len({one.path for one in edits}) == len(edits)
    assert plan(after(seen, edits), ostype, dhcp=dhcp, beside=True)[0] == ()
    assert (addresses["eth0"] == "") == (dhcp and bool(clients))
    assert not any("ssh" in one.path for one in edits)


def test_an_unmanaged_guest_is_left_alone_and_that_is_said():
    edits, notes, addresses = plan({"etc/hostname": text("x\n")}, "unmanaged", beside=True)
    assert (edits, addresses) == ((), {})
    assert "alone" in notes[0].text


def test_a_config_without_ostype_is_told_by_what_the_guest_says_it_is():
    assert written(plan({"usr/lib/os-release": text("ID=alpine\n")}, "")[0], "etc/network/interfaces")
    assert plan({}, "")[0] == ()


def test_a_file_that_proxmox_is_told_to_ignore_is_left_and_named():
    ignored = ("etc/.pve-ignore.hosts", "etc/network/.pve-ignore.interfaces", "etc/.pve-ignore.localtime")
    zone = {"usr/share/zoneinfo/Asia/Bangkok": text("")}
    edits, notes, _ = plan({**zone, **{path: text("") for path in ignored}})
    assert {one.path for one in edits} == {"etc/hostname", "etc/resolv.conf"}
    assert {note.key for note in notes} >= {"etc/hosts", "etc/network/interfaces", "etc/localtime"}


def test_a_link_to_a_resolver_of_the_guest_is_left_and_named():
    edits, notes, _ = plan(
        {"etc/resolv.conf": Seen("symlink", target="../run/systemd/resolve/stub-resolv.conf")}
    )
    assert "etc/resolv.conf" not in {one.path for one in edits}
    assert any(note.key == "etc/resolv.conf" and "link" in note.text for note in notes)


def test_an_existing_file_keeps_its_mode_and_owner():
    edits, _, _ = plan({"etc/hosts": text("", mode=0o640, uid=5, gid=6)})
    one = next(one for one in edits if one.path == "etc/hosts")
    assert (one.mode, one.uid, one.gid) == (0o640, 5, 6)


def test_bytes_that_are_no_text_survive_in_what_stays():
    edits, _, _ = plan({"etc/hosts": text(b"# \xff\xfe\n10.0.0.7 nas\n")})
    content = next(one.content for one in edits if one.path == "etc/hosts")
    assert content.startswith(b"# \xff\xfe\n10.0.0.7 nas\n# --- BEGIN PVE ---\n")


def test_a_time_zone_is_set_only_where_the_guest_has_it():
    zone = "usr/share/zoneinfo/Asia/Bangkok"
    edits, _, _ = plan({zone: text(""), "etc/timezone": text("Etc/UTC\n")})
    assert written(edits, "etc/timezone") == "Asia/Bangkok\n"
    assert (
        next(one.content for one in edits if one.path == "etc/localtime")
        == b"/usr/share/zoneinfo/Asia/Bangkok"
    )
    relative = {zone: text(""), "etc/localtime": Seen("symlink", target="../usr/share/zoneinfo/Asia/Bangkok")}
    assert "etc/localtime" not in {one.path for one in plan(relative)[0]}
    assert "etc/localtime" not in {one.path for one in plan({})[0]}


def test_a_console_that_the_guest_has_a_unit_for_is_not_masked():
    unit = "etc/systemd/system/container-getty@1.service"
    seen = {"lib/systemd/system/container-getty@.service": text(""), unit: text("[Unit]\n")}
    edits, notes, _ = plan(seen)
    masks = [one for one in edits if "getty" in one.path]
    assert [(one.path[-9:], one.kind, one.content) for one in masks] == [
        ("2.service", "symlink", b"/dev/null")
    ]
    assert any(note.key == unit for note in notes)


@pytest.mark.parametrize(
    "here", [None, bridge(address=None, dhcp=False), bridge(address="nonsense", dhcp=False)]
)
def test_without_an_address_on_the_bridge_there_is_none_in_the_guest(here):
    seen = {"etc/resolv.conf": text(with_block(None, "nameserver 10.78.0.1\n"))}
    edits, notes, addresses = plan(seen, where=target(bridge=here))
    assert addresses == {}
    assert "etc/resolv.conf" not in {one.path for one in edits}
    assert any(note.key == "etc/resolv.conf" for note in notes)
    assert here is None or any("no address" in note.text for note in notes)


def test_an_address_is_chosen_by_name_and_never_one_that_is_taken():
    first = choose_address("web", bridge())
    assert first == choose_address("web", bridge())
    taken = bridge(taken=frozenset({str(first), "10.77.0.9"}))
    assert choose_address("web", taken) not in (None, first)
    full = frozenset(f"10.77.0.{number}" for number in range(2, 255))
    assert choose_address("web", bridge(taken=full)) is None
    assert str(choose_address("web", bridge(taken=full - {"10.77.0.77"}))) == "10.77.0.77/24"
    assert choose_address("web", bridge(address="10.77.0.1/31")) is None
    assert choose_address("web", bridge(address="fd00::1/64")) is None


@given(st.text(), st.integers(8, 30), st.sets(st.integers(0, 40)))
def test_any_chosen_address_is_a_free_host_of_the_network(name, prefix, numbers):
    network = ipaddress.ip_network(f"10.0.0.0/{prefix}")
    where = bridge(
        address=f"10.0.0.1/{prefix}", taken=frozenset(str(network[0] + number) for number in numbers)
    )
    chosen = choose_address(name, where)
    if chosen is not None:
        assert chosen.network == network
        assert chosen.ip not in (network[0], network[1], network[-1])
        assert str(chosen.ip) not in where.taken


def test_stanzas_of_other_cards_and_options_of_the_guest_stay():
    old = (
        "# mine\nauto lo eth0 eth2 wg0\nallow-hotplug eth2\niface lo inet loopback\n"
        "iface eth0 inet static\n    address 10.78.0.105/24\n    gateway 10.78.0.1\n    mtu 1400\n"
        "    # why\n    post-up ip route add 10.9.0.0/16 \\\n      via 10.78.0.2\n"
        "    up iptables-restore /etc/rules\n"
        "\t# --- BEGIN PVE ---\n\tpost-up echo 10.78.0.1\n\t# --- END PVE ---\n"
        "iface eth0 inet static\n    address 10.78.0.106/24\n    mtu 9000\n"
        "iface eth0 inet6 static\n    address fd00::5/64\n"
        "iface wg0 inet static\n    address 10.9.9.9/24\n    gateway 10.9.9.1\n"
        "iface eth2 inet dhcp\n"
    )
    address = ipaddress.IPv4Interface("10.77.0.9/24")
    cards = [Card("eth0", "static", address, "10.77.0.1"), Card("eth2", "down")]
    new, dropped = rewrite(old, cards)
    assert new == (
        "# mine\nauto lo eth0 wg0\niface lo inet loopback\n"
        "iface eth0 inet static\n\taddress 10.77.0.9\n\tnetmask 255.255.255.0\n\tgateway 10.77.0.1\n"
        "\tmtu 1400\n"
        "    # why\n\tup iptables-restore /etc/rules\n\n"
        "iface wg0 inet static\n    address 10.9.9.9/24\n    gateway 10.9.9.1\n"
        "iface eth2 inet manual\n\n"
    )
    assert [line.split()[0] for line in dropped] == ["post-up", "post-up", "mtu"]
    assert rewrite(new, cards) == (new, [])


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "auto eth0 eth1",
                "allow-hotplug eth1",
                "iface eth0 inet static",
                "iface eth0 inet6 auto",
                "iface eth1 inet dhcp",
                "iface eth9 inet dhcp",
                "\taddress 10.0.0.1/24",
                "\tup true \\",
                "# --- BEGIN PVE ---",
                "# --- END PVE ---",
                "",
                "source x",
            ]
        ),
        st.text(),
    )
)


@given(LINES)
def test_rewriting_twice_changes_nothing_more(lines):
    address = ipaddress.IPv4Interface("10.77.0.9/24")
    cards = [Card("eth0", "static", address, "10.77.0.1"), Card("eth1", "down")]
    new, _ = rewrite("\n".join(lines), cards)
    assert rewrite(new, cards)[0] == new
    assert new.count("\taddress 10.77.0.9\n") == 1


@given(st.text(), st.text(st.characters(exclude_characters="\n#"), min_size=1))
def test_a_block_is_replaced_and_taken_away_again(old, line):
    body = f"{line}\n"
    new = with_block(old, body)
    assert body in new
    assert with_block(new, body) == new
    assert without_block(with_block("a\n", body)) == "a\n"
    assert with_block(None, "") == ""


SEEN = st.builds(
    Seen,
    st.sampled_from(["file", "folder", "symlink", "missing", "other"]),
    st.one_of(st.none(), st.binary(), st.just(b"x" * (LARGEST + 1))),
    st.one_of(st.none(), st.text()),
    st.integers(0, 0o7777),
    st.integers(0, 65535),
    st.integers(0, 65535),
)


@given(
    st.dictionaries(st.sampled_from(list(dict.fromkeys([*READ, *PROBE]))), SEEN),
    st.sampled_from([*OSTYPES, "unmanaged", ""]),
    st.booleans(),
    st.booleans(),
)
def test_whatever_the_rootfs_holds_there_are_edits_or_notes_and_no_error(seen, ostype, dhcp, beside):
    edits, _, addresses = plan(seen, ostype, dhcp=dhcp, beside=beside)
    for one in edits:
        here = seen.get(one.path, Seen("missing"))
        assert here.kind in ("file", "missing") or one.kind == "symlink"
        assert one.kind != "file" or one.content != here.content or here.kind == "missing"
        assert not one.path.startswith("/")
        assert ".." not in one.path.split("/")
    assert set(addresses) <= {"eth0", "eth1"}
    again = plan(after(seen, edits), ostype, dhcp=dhcp, beside=beside)
    assert again[0] == ()


def test_the_paths_to_look_at_are_those_of_the_container():
    config = parse("net0: name=lan0\ntimezone: Asia/Bangkok\n")
    assert {"etc/systemd/network/lan0.network", "usr/share/zoneinfo/Asia/Bangkok"} < set(paths(config))
    assert {*READ, *PROBE} <= set(paths(config))
    assert len(paths(config)) == len(set(paths(config)))
    assert not any(".." in path.split("/") for path in paths(parse("net0: name=..\ntimezone: ../../etc\n")))


def test_a_card_that_the_guest_set_up_itself_stays_so():
    edits, _, addresses = plan(CLIENT, config="net0: name=eth0,ip=manual\nnet1: name=eth1\nhostname: a\n")
    assert addresses == {}
    assert written(edits, "etc/network/interfaces") == "auto lo\niface lo inet loopback\n\n"


def test_names_that_are_none_are_not_written():
    edits, _, _ = plan({}, config="hostname: $(id)\nsearchdomain: a b;$(c)\nnet0: name=eth0,ip=dhcp\n")
    assert not any(b"$" in one.content for one in edits)
    assert dataclasses.is_dataclass(edits[0])
