"""A container's config is read as Proxmox reads it, and not a byte of it is lost."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import PctConfigError
from maw.mirror.pct import parse
from maw.mirror.pct_keys import API_ONLY, COUNTS, KEYS, PROPERTIES, Field, group_of, known, raw_allowed
from maw.mirror.pct_write import parse_api, render
from tests.mirror.samples import EVERYTHING, needs_shared

KEY_LINES = st.builds(
    "{}: {}".format,
    st.sampled_from([*KEYS, "unused0", "colour", "net99"]),
    st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), min_size=1),
)
OTHER_LINES = st.one_of(
    st.sampled_from(EVERYTHING.split("\n")),
    st.text(st.characters(exclude_characters="\n\0")),
    st.sampled_from(["[pve:pending]", "[PVE:Pending]  ", "[snap-1]", "[x]", "# %zz %E0", "delete: a", "\r"]),
)
CONFIGS = st.lists(st.one_of(KEY_LINES, OTHER_LINES)).map("\n".join)


def recorded_configs():
    folder = needs_shared("fixtures")
    return sorted([*folder.glob("*.conf"), folder / "cli" / "pvesm-extractconfig.stdout"])


def test_every_recorded_config_comes_back_byte_for_byte_and_in_proxmox_own_order():
    for path in recorded_configs():
        data = path.read_bytes()
        config = parse(data, path.name)
        assert bytes(config) == data
        assert str(config) == config.text() == data.decode()
        assert render(config).rstrip("\n") == data.decode().rstrip("\n")
        assert config.unknown == config.notes == ()


def test_the_digest_is_the_one_that_the_genuine_api_answers():
    by_name = {"unpriv-stop": "036-lxc-101", "priv-stop": "038-lxc-102", "btrfs-snapshot": "040-lxc-103"}
    for name, exchange in by_name.items():
        answer = json.loads(needs_shared("fixtures", "api", f"{exchange}-config.json").read_text())
        data = needs_shared("fixtures", f"{name}.conf").read_bytes()
        assert parse(data).digest == answer["json"]["data"]["digest"]


def test_what_the_api_answers_is_the_same_config_as_the_file():
    answer = json.loads(needs_shared("fixtures", "api", "036-lxc-101-config.json").read_text())["json"][
        "data"
    ]
    written = parse(needs_shared("fixtures", "unpriv-stop.conf").read_bytes())
    asked = parse_api(answer)
    assert (asked.main.values, asked.description) == (written.main.values, written.description)
    assert (asked.digest, str(asked)) == (written.digest, str(written))


def test_every_recorded_answer_of_the_api_is_read():
    exchanges = sorted(needs_shared("fixtures", "api").glob("*config*.json"))
    answers = [json.loads(path.read_text()) for path in exchanges]
    for answer in answers:
        data = answer["json"]["data"] if answer["status"] == 200 else None
        if isinstance(data, dict):
            assert parse_api(data).unknown == ()
        elif isinstance(data, str):
            assert render(parse(data)).rstrip("\n") == data.rstrip("\n")


def test_each_part_of_a_config_is_asked_by_type():
    config = parse(EVERYTHING, "101.conf")
    assert config.unknown == config.notes == ()
    assert config.description == "A box : 100% ünï\nsecond line\n"
    assert (config.hostname, config.lock, config.unprivileged) == ("box.example.org", "backup", False)
    assert (config.integer("memory"), config.number("cpulimit"), config.boolean("onboot")) == (
        65536,
        1.5,
        True,
    )
    assert config.get("ostype") == "debian"
    assert config.get("nothing", "else") == "else"
    assert [(one.key, one.kind, one.size, one.included) for one in config.mounts()] == [
        ("rootfs", "volume", 8 * 2**30, True),
        ("mp0", "volume", 32 * 2**20, True),
        ("mp1", "volume", 2**30, False),
        ("mp2", "bind", None, False),
        ("mp3", "device", None, False),
    ]
    assert [net.name for net in config.networks()] == ["eth0", "eth1", "eth2"]
    assert config.networks()[2].flag("link_down")
    assert [device.path for device in config.devices()] == ["/dev/ttyUSB0"]
    assert config.features()["mount"] == "nfs;cifs"
    assert config.environment == ("LANG=th_TH.UTF-8",)
    assert config.raw()[0] == ("lxc.mount.entry", "/tank/share srv/share none bind 0 0")
    assert list(config.snapshots) == ["after", "before"]
    assert config.snapshots["before"].description == "first snapshot\n"
    assert config.pending is not None
    assert config.pending.values == {"delete": "mp1", "memory": "1024"}
    assert render(config) == EVERYTHING


def test_mount_points_are_sorted_by_number():
    lines = [f"mp{number}: local:1/d{number},mp=/m{number}" for number in (10, 2, 1)]
    assert [one.key for one in parse("\n".join(lines)).mounts()] == ["mp1", "mp2", "mp10"]


@given(CONFIGS)
def test_whatever_is_read_comes_back_as_it_was(text):
    try:
        config = parse(text)
    except PctConfigError:
        return
    assert str(config) == text
    assert bytes(config) == text.encode("utf-8", "surrogateescape")


@given(st.binary())
def test_any_bytes_are_read_or_refused_with_the_line(data):
    try:
        config = parse(data)
    except PctConfigError as error:
        refused = error
    else:
        assert bytes(config) == data
        return
    assert refused.facts["line"] <= data.count(b"\n") + 1


@given(CONFIGS)
def test_what_is_written_anew_means_the_same_and_does_not_change_again(text):
    try:
        config = parse(text)
    except PctConfigError:
        return
    again = parse(render(config))
    assert render(again) == render(config)
    values = {key: value for key, value in config.main.values.items() if key != "snapstate"}
    assert (again.main.values, again.raw(), again.environment) == (values, config.raw(), config.environment)
    assert again.description.rstrip("\n") == config.description.rstrip("\n")
    assert sorted(one.text for one in again.unknown) == sorted(one.text for one in config.unknown)


@given(st.dictionaries(st.sampled_from(["hostname", "tags", "nameserver"]), st.text()), st.text())
def test_any_answer_of_the_api_is_read_or_refused(values, description):
    try:
        config = parse_api({**values, "description": description})
    except PctConfigError:
        return
    shown = "".join(f"{line}\n" for line in description.rstrip("\n").split("\n")) if description else ""
    if all(character not in description for character in "\r\ud800") and description.strip("\n"):
        assert config.description == shown.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def test_the_api_gives_numbers_truths_raw_lines_and_environment():
    config = parse_api(
        {
            "cores": 2,
            "cpulimit": 2.0,
            "onboot": True,
            "tags": None,
            "lxc": [["lxc.mount.entry", "/a b none bind 0 0"]],
            "env": "A=1\0B=2",
            "digest": "abc",
        },
    )
    assert config.main.values == {"cores": "2", "cpulimit": "2", "onboot": "1"}
    assert config.raw() == (("lxc.mount.entry", "/a b none bind 0 0"),)
    assert (config.environment, config.digest) == (("A=1", "B=2"), "abc")


@pytest.mark.parametrize(
    "answer", [{"hostname": "a\nrootfs: /"}, {"lxc": "x"}, {"lxc": [["a"]]}, {"tags": ["a"]}, {"a\nb": "c"}]
)
def test_an_answer_that_no_file_could_hold_is_refused(answer):
    with pytest.raises(PctConfigError):
        parse_api(answer)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("net0: bridge=vmbr0", "name is missing"),
        ("net0: name=eth0,name=eth1", "name is given twice"),
        ("net0: name=eth0,mtu=63", "at least 64"),
        ("net0: name=eth0,mtu=big", "whole number"),
        ("net0: name=eth0,ip=10.0.0.1", "IPv4 address"),
        ("net0: name=eth0,hwaddr=01:00:00:00:00:00", "network card"),
        ("net0: name=eth0,link_down=perhaps", "yes or no"),
        ("net0: eth0", "no name"),
        ("mp0: local:1/x", "mp is missing"),
        ("mp0: local:1/x,local:1/y,mp=/z", "volume is given twice"),
        ("mp0: local:1/x,mp=/a/../b", "without . and .."),
        ("rootfs: local:1/x,size=big", "size"),
        ("rootfs: local:1/x,=8", "lacks its name"),
        ("dev0: /etc/passwd", "below /dev"),
        ("dev0: mode=0660", "path is missing"),
        ("features: nesting=maybe", "yes or no"),
    ],
)
def test_what_proxmox_refuses_is_refused_with_its_line(line, reason):
    with pytest.raises(PctConfigError) as caught:
        parse(f"arch: amd64\n{line}\n", "101.conf")
    assert caught.value.facts["line"] == 2
    assert reason in str(caught.value)
    assert parse(f"[snap]\n{line}\n").notes, "a snapshot's value is nobody's concern today"


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("memory: lots", "memory must be a whole number"),
        ("arch: vax", "arch must be one of"),
        ("cores: 9000", "at most 8192"),
        ("hostname: $(id)", "no host name"),
        ("startup: soon", "startup order"),
        ("colour: blue", "there is no key colour"),
        ("net0: name=eth0,colour=blue", "net0 has no colour"),
        ("net32: name=eth0", "there is no key net32"),
        ("delete: a", "outside"),
        ("lxc.rootfs.path: /", "does not take lxc.rootfs.path"),
        ("just words", "cannot read it"),
        ("hostname: a\nhostname: b", "given again in line 2"),
    ],
)
def test_what_proxmox_warns_of_is_kept_and_noted(line, note):
    config = parse(line)
    assert str(config) == line
    assert any(note in one for one in config.notes)


def test_of_a_key_that_is_given_twice_the_last_counts():
    assert parse("hostname: a\nhostname: b").hostname == "b"


@pytest.mark.parametrize("text", ["", "\n\n", "\r\n"])
def test_an_empty_config_has_nothing(text):
    config = parse(text)
    assert (config.main.values, config.mounts(), config.unknown) == ({}, (), ())


def test_odd_bytes_and_line_ends_survive():
    data = "hostname: กล่อง\r\ntags: 🙂\r\n#a\u2028b\n\x85\n".encode() + b"parent: \xff\xfe\n"
    config = parse(data)
    assert bytes(config) == data
    assert (config.hostname, config.get("tags")) == ("กล่อง", "🙂")
    assert config.description == "a\u2028b\n"


def test_a_nul_byte_is_no_text():
    with pytest.raises(PctConfigError, match="line 2, it holds a NUL"):
        parse(b"arch: amd64\nhostname: a\0b\n")


def test_long_lines_are_read_at_once():
    started = time.monotonic()
    for line in ("hostname: " + "a" * 10**6, "description:" + " " * 10**6, "tags: a" + " " * 10**6 + "b"):
        assert str(parse(line)) == line
    assert all(len(note) < 300 for note in parse("arch: " + "x" * 10**6).notes)
    assert time.monotonic() - started < 10
    with pytest.raises(PctConfigError, match="larger than any config"):
        parse("#" * 5 * 2**20)


def test_a_raw_line_may_have_a_colon_or_an_equals_sign():
    text = "lxc.idmap = u 0 100000 65536\nlxc.idmap: g 0 100000 65536\n"
    assert parse(text).raw() == (("lxc.idmap", "u 0 100000 65536"), ("lxc.idmap", "g 0 100000 65536"))


# --- against the schema that a genuine server publishes


def schema():
    def walk(nodes):
        for node in nodes:
            yield node
            yield from walk(node.get("children", []))

    tree = json.loads(needs_shared("reference", "pve-apidata.json").read_text())
    found = {node["path"]: node["info"] for node in walk(tree) if "info" in node}
    config = found["/nodes/{node}/lxc/{vmid}/config"]
    return [
        config["GET"]["returns"]["properties"],
        config["PUT"]["parameters"]["properties"],
        found["/nodes/{node}/lxc"]["POST"]["parameters"]["properties"],
    ]


def assert_same(name, ours: Field, theirs: dict):
    assert ours.type == theirs["type"], name
    assert ours.minimum == theirs.get("minimum"), name
    assert ours.maximum == theirs.get("maximum"), name
    assert ours.choices == tuple(theirs.get("enum", ())), name
    assert ours.max_length == theirs.get("maxLength"), name
    assert ours.required == (not theirs.get("optional")), name
    assert ours.default_key == bool(theirs.get("default_key")), name
    assert bool(ours.format) == bool(isinstance(theirs.get("format"), str)), name
    # Perl prints a pattern as (?^:…), and nests them.
    assert bool(ours.pattern) == bool(theirs.get("pattern")), name
    if "pattern" in theirs:
        shared = re.sub(r"\(\?\^:", "(?:", theirs["pattern"])
        for text in (
            "0660",
            "vmbr0",
            "1;2",
            "nfs;cifs",
            "noatime;nodev",
            "A=1\0B=2",
            "/sbin/init",
            "",
            "\x01",
        ):
            assert bool(re.fullmatch(ours.pattern, text)) == bool(re.fullmatch(shared, text)), (name, text)


def test_no_key_of_the_schema_is_unknown_and_all_ranges_are_equal():
    for properties in schema():
        for key, theirs in properties.items():
            if key in API_ONLY:
                continue
            group = key.removesuffix("[n]")
            if group in PROPERTIES:
                assert known(group + "0" if "[n]" in key else group)
                assert set(theirs["format"]) <= set(PROPERTIES[group])
                for name, item in theirs["format"].items():
                    assert_same(f"{group}.{name}", PROPERTIES[group][name], item)
                    assert PROPERTIES[group][name].default == item.get("default"), name
                continue
            ours = KEYS[key]
            assert ours.default == theirs.get("default"), key
            assert_same(key, Field(**{**vars(ours), "required": not theirs.get("optional")}), theirs)


def test_the_only_sub_key_that_the_schema_lacks_is_the_one_added_after_it():
    theirs = {name: item for part in schema() for name, item in part.items()}
    ours = {
        f"{group}.{name}"
        for group, fields in PROPERTIES.items()
        for name in fields
        if name not in theirs[f"{group}[n]" if group in COUNTS else group]["format"]
    }
    assert ours == {"rootfs.idmap", "mp.idmap"}


def test_numbered_keys_have_their_ranges():
    assert [group_of(key) for key in ("mp255", "mp256", "mp01", "net31", "net32", "mp" + "9" * 5000)] == [
        "mp",
        "",
        "",
        "net",
        "",
        "",
    ]
    assert raw_allowed("lxc.cgroup2.memory.max")
    assert not raw_allowed("lxc.rootfs.options")
