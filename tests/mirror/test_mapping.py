"""A container's config becomes an LXD instance, and of every key it is said where it went."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import Misuse, PctConfigError
from maw.mirror.mapping import check_name, instance_name, map_config, sanitise
from maw.mirror.pct import parse
from maw.mirror.pct_keys import KEYS, PROPERTIES, group_of
from tests.mirror.samples import EVERYTHING, bridge, needs_shared, target

SUB_VALUES = st.sampled_from(
    ["1", "0", "eth0", "vmbr0", "10.0.0.9/24", "dhcp", "local:1/x", "/srv", "64", "8G"]
)
PROPERTY_LINES = st.sampled_from(
    ["net0", "net1", "mp0", "mp1", "rootfs", "features", "dev0", "unused0"]
).flatmap(
    lambda key: st.dictionaries(st.sampled_from([*PROPERTIES[group_of(key)], "colour"]), SUB_VALUES).map(
        lambda options: f"{key}: " + ",".join(f"{name}={value}" for name, value in options.items())
    )
)
WHOLE_LINES = st.builds(
    "{}: {}".format, st.sampled_from([*KEYS, "colour"]), st.one_of(SUB_VALUES, st.text(min_size=1))
)
RAW_LINES = st.builds(
    "lxc.{}: {}".format,
    st.sampled_from(
        ["prlimit.nofile", "prlimit.x", "sysctl.kernel.sem", "environment", "environment.runtime", "x"]
    ),
    st.one_of(st.text(), st.sampled_from(["1024", "1:unlimited", "A=b", "A"])),
)
LINES = st.one_of(PROPERTY_LINES, WHOLE_LINES, RAW_LINES, st.sampled_from(EVERYTHING.split("\n")), st.text())


def mapped(text=EVERYTHING, **options):
    where = options.pop("target", None) or target()
    return map_config(parse(text), where, name=options.pop("name", "box"), **options)


def why(result, key):
    return next((loss.why for loss in result.losses if loss.key == key), "")


def test_a_whole_container_becomes_an_instance():
    result = mapped(vmid=101, node="pve1")
    kept = {key for key in result.config if key.startswith("user.pve.")}
    assert {key: value for key, value in result.config.items() if key not in kept} == {
        "boot.autostart": "false",
        "boot.host_shutdown_timeout": "30",
        "environment.LANG": "th_TH.UTF-8",
        "limits.cpu": "4",
        "limits.cpu.allowance": "150ms/100ms",
        "limits.kernel.nofile": "1024:65536",
        "limits.memory": "8192MiB",
        "limits.memory.swap": "true",
        "linux.sysctl.kernel.shmmax": "68719476736",
        "security.nesting": "true",
        "security.privileged": "false",
    }
    assert result.devices == {
        "root": {"type": "disk", "path": "/", "pool": "default", "size": f"{8 * 2**30 + 32 * 2**20}B"},
        "eth0": {
            "type": "nic",
            "name": "eth0",
            "network": "lxdbr0",
            "limits.ingress": "40000kbit",
            "limits.egress": "40000kbit",
        },
        "eth1": {"type": "nic", "name": "eth1", "network": "lxdbr0"},
    }
    assert (result.architecture, result.name) == ("x86_64", "box")
    assert result.description == "A box : 100% ünï\nsecond line"
    assert (result.config["user.pve.vmid"], result.config["user.pve.node"]) == ("101", "pve1")
    assert result.config["user.pve.config"] == EVERYTHING
    assert result.config["user.pve.net0"].startswith("name=eth0,bridge=vmbr0")
    assert {loss.key for loss in result.losses} == {
        "cpuunits",
        "dev0.path",
        "entrypoint",
        "features.force_rw_sys",
        "features.mknod",
        "features.mount",
        "hookscript",
        "lxc.cap.drop",
        "lxc.mount.entry",
        "mp0.ro",
        "mp1.mp",
        "mp1.volume",
        "mp2.mp",
        "mp2.volume",
        "mp3.mp",
        "mp3.volume",
        "net0.firewall",
        "net0.mtu",
        "net1.gw6",
        "net1.ip6",
        "net1.tag",
        "net1.trunks",
        "net2.name",
        "[after]",
        "[before]",
        "[pve:pending] delete",
        "[pve:pending] memory",
    }


def everything_of(config):
    """Return every key, sub-key, line and section that a config has."""
    names = set(config.main.values) - set(config.main.properties)
    for key, options in config.main.properties.items():
        names |= {f"{key}.{option}" if group_of(key) != "unused" else key for option in options}
    names |= {key for key, _ in config.raw()}
    names |= {"env"} if config.environment else set()
    names |= {"description"} if config.description else set()
    names |= {one.key or f"line {one.line}" for one in config.main.unknown}
    return names | {f"[{name}]" for name in config.snapshots}


@given(st.lists(LINES).map("\n".join), st.booleans(), st.sampled_from(["dir", "btrfs"]), st.booleans())
def test_nothing_of_any_config_is_dropped_unsaid(text, privileged, driver, networked):
    where = target(pool_driver=driver, bridge=bridge() if networked else None)
    try:
        config = parse(text)
    except PctConfigError:
        return
    result = map_config(config, where, name="box", privileged=privileged)
    assert everything_of(config) <= {row.key for row in result.rows}
    lost = {(loss.key, loss.value) for loss in result.losses}
    assert all(row.becomes or (row.key, row.value) in lost for row in result.rows)
    assert all(loss.why for loss in result.losses)
    assert len(result.config["user.pve.config"]) >= len(text)
    assert result == map_config(config, where, name="box", privileged=privileged)


@given(st.lists(LINES).map("\n".join))
def test_whatever_the_config_says_lxd_can_hold_the_instance_and_it_is_safe(text):
    try:
        result = mapped(text)
    except PctConfigError:
        return
    json.dumps([result.config, result.devices]).encode()
    assert result.config["boot.autostart"] == "false"
    assert result.config["security.privileged"] == "false"
    assert not any(key.startswith(("raw.", "security.syscalls")) for key in result.config)
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9_.]*", key) for key in result.config)
    for name, device in result.devices.items():
        assert re.fullmatch(r"[A-Za-z0-9_.:-]{1,63}", name)
        assert device["type"] in ("disk", "nic")
        assert "hwaddr" not in device
        assert all(isinstance(value, str) for value in device.values())
    assert "source" not in result.devices["root"]
    assert len({device.get("name") for device in result.devices.values()}) <= len(result.devices)


def test_every_recorded_container_is_mapped_and_only_the_known_is_lost():
    for path in sorted(needs_shared("fixtures").glob("*.conf")):
        lost = {loss.key for loss in mapped(path.read_bytes()).losses}
        assert lost <= {"mp1.volume", "mp1.mp", "net1.name", "[before-upgrade]", "[second]"}, path.name


def test_a_privileged_source_becomes_unprivileged_unless_asked_for():
    assert mapped("rootfs: a:1/x").config["security.privileged"] == "false"
    assert any(note.key == "unprivileged" for note in mapped("rootfs: a:1/x").notes)
    assert mapped("rootfs: a:1/x", privileged=True).config["security.privileged"] == "true"
    assert mapped("unprivileged: 1", privileged=True).config["security.privileged"] == "false"


def test_resources_are_clamped_to_the_target_and_that_is_said():
    small = target(cores=2, memory_bytes=2**30)
    result = mapped("cores: 8\ncpulimit: 6\nmemory: 4096", target=small)
    assert result.config["limits.cpu"] == "2"
    assert result.config["limits.cpu.allowance"] == "200ms/100ms"
    assert result.config["limits.memory"] == "1024MiB"
    assert {note.key for note in result.notes} >= {"cores", "cpulimit", "memory"}
    assert mapped("").config["limits.memory"] == "512MiB", "Proxmox's default holds on the mirror too"


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("cpulimit: 0.25", "limits.cpu.allowance", "25ms/100ms"),
        ("cpulimit: 0.0001", "limits.cpu.allowance", "1ms/100ms"),
        ("cpulimit: 0", "limits.cpu.allowance", None),
        ("cores: lots", "limits.cpu", None),
        ("swap: 0", "limits.memory.swap", "false"),
        ("lxc.environment: A=b c", "environment.A", "b c"),
        ("lxc.environment: PATH", "environment.PATH", None),
        ("lxc.environment.runtime: 1A=b", "environment.1A", None),
        ("lxc.prlimit.memlock: unlimited", "limits.kernel.memlock", "unlimited"),
        ("lxc.prlimit.memlock: $(id)", "limits.kernel.memlock", None),
        ("lxc.sysctl.kernel.sem: 250 32000 32 128", "linux.sysctl.kernel.sem", "250 32000 32 128"),
    ],
)
def test_a_line_becomes_its_setting(line, key, value):
    assert mapped(line).config.get(key) == value


def test_an_old_lxd_is_not_given_what_it_does_not_know():
    old = target(extensions=frozenset())
    result = mapped(target=old)
    assert not any(key.startswith(("limits.kernel", "linux.sysctl")) for key in result.config)
    assert "too old" in why(result, "lxc.prlimit.nofile")
    assert "too old" in why(result, "lxc.sysctl.kernel.shmmax")
    assert result.devices["eth1"] == {"type": "nic", "name": "eth1", "nictype": "bridged", "parent": "lxdbr0"}


def test_a_bridge_that_lxd_does_not_manage_is_a_parent_and_takes_an_mtu():
    result = mapped(target=target(bridge=bridge(name="br0", managed=False)))
    assert result.devices["eth0"]["parent"] == "br0"
    assert result.devices["eth0"]["mtu"] == "1400"
    assert why(mapped("net0: name=eth0,mtu=9000", target=target(bridge=bridge(managed=False))), "net0.mtu")


def test_without_a_bridge_there_are_no_cards():
    result = mapped(target=target(bridge=None))
    assert list(result.devices) == ["root"]
    assert "no bridge" in why(result, "net0.name")


def test_cards_whose_names_lxd_could_not_take_are_losses_or_renamed():
    result = mapped("net0: name=root\nnet1: name=eth0\nnet2: name=eth0\nnet3: name=e\nnet4: name=..")
    assert set(result.devices) == {"root", "net0", "eth0", "net2"}
    assert result.devices["net0"]["name"] == "root"
    assert why(result, "net3.name")
    assert why(result, "net4.name")


def test_the_root_disk_has_a_size_only_where_the_pool_can_and_all_sizes_are_known():
    assert "size" not in mapped(target=target(pool_driver="dir")).devices["root"]
    assert "no sizes" in why(mapped(target=target(pool_driver="dir")), "rootfs.size")
    assert "size" not in mapped("rootfs: a:1/x,size=0T").devices["root"]
    assert "size" not in mapped("rootfs: a:1/x,size=1G\nmp0: a:1/y,mp=/y,backup=1").devices["root"]
    assert mapped("rootfs: a:1/x,size=1.5G").devices["root"]["size"] == f"{3 * 2**29}B"


def test_it_is_said_why_the_content_of_a_mount_point_is_missing():
    result = mapped()
    assert "backup=1" in why(result, "mp1.volume")
    assert "/tank/media lies on the Proxmox server" in why(result, "mp2.volume")
    assert "disk of the Proxmox server" in why(result, "mp3.volume")


def test_a_foreign_architecture_is_a_backup_only():
    assert any("backup only" in note.text for note in mapped("arch: arm64").notes)
    assert mapped("arch: arm64").architecture == "aarch64"
    assert not any(note.key == "arch" for note in mapped("arch: i386").notes)
    assert mapped("arch: vax").architecture == "x86_64"
    assert why(mapped("arch: vax"), "arch")


def test_what_would_be_pasted_into_a_shell_is_offered_only_when_it_is_plain():
    assert "lxc config set box raw.lxc" in why(mapped("lxc.cap.drop: sys_admin"), "lxc.cap.drop")
    assert "lxc config" not in why(mapped("lxc.cap.drop: '; rm -rf /"), "lxc.cap.drop")
    assert "lxc config" not in why(mapped("dev0: /dev/$(id)"), "dev0.path")


def test_a_config_of_megabytes_is_not_put_into_the_database():
    result = mapped("#" + "x" * 100_000)
    assert "user.pve.config" not in result.config
    assert any(note.key == "config" for note in result.notes)


@pytest.mark.parametrize("name", ["a", "web", "web-01", "A1", "x" * 50])
def test_a_good_name_is_taken(name):
    assert check_name(name) == sanitise(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "101",
        "1a",
        "-a",
        "a-",
        "a.b",
        "../..",
        "$(id)",
        "a b",
        "กล่อง",
        "a_b",
        "x" * 51,
        "a\n",
        "a/b",
        "x" * 10**6,
    ],
)
def test_a_bad_name_is_refused_with_another_to_take(name):
    with pytest.raises(Misuse, match="--name") as caught:
        check_name(name)
    assert len(str(caught.value)) < 400
    with pytest.raises(Misuse):
        mapped("", name=name)


@given(st.text())
def test_any_text_can_be_made_a_name(text):
    assert check_name(sanitise(text)) == sanitise(text)
    assert check_name(instance_name(text, 101))


def test_a_mirror_is_named_after_its_host_name_or_number():
    assert instance_name("web.example.org", 101) == "web"
    assert instance_name(None, 101) == instance_name("…", 101) == "ct101"
    assert instance_name("3d", 101) == "ct-3d"
