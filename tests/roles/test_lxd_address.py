"""How the addresses of the mirrors' network are chosen."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.loading import load

_PLUGINS = Path(__file__).resolve().parents[2] / "roles" / "lxd" / "filter_plugins"
RANGES = ["10.119.0.0/16", "172.30.0.0/15", "192.168.192.0/18"]


plugin = load(_PLUGINS / "lxd_address.py")


def _used(*words: str) -> list[dict[str, str]]:
    return [{"network": word, "what": "interface eth0"} for word in words]


networks = st.builds(
    lambda number, width: str(ipaddress.ip_network((number, width), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)
near = st.builds(
    lambda third, width: str(ipaddress.ip_network(f"10.119.{third}.77/{width}", strict=False)),
    st.integers(0, 255),
    st.integers(17, 32),
)


@given(st.lists(st.one_of(networks, near), max_size=40))
def test_what_is_chosen_meets_nothing_and_is_the_bridges_own_address(words: list[str]) -> None:
    answer = plugin.address(_used(*words), "", RANGES, None)
    if answer["problem"]:
        assert answer["address"] == ""
        return
    chosen = ipaddress.ip_interface(answer["address"])
    assert chosen.ip == chosen.network.network_address + 1
    assert chosen.network.prefixlen == 24
    assert any(chosen.network.subnet_of(ipaddress.ip_network(one)) for one in RANGES)
    assert not any(chosen.network.overlaps(ipaddress.ip_network(word)) for word in words)


@given(st.lists(near, max_size=40))
def test_a_free_block_is_found_if_there_is_one(words: list[str]) -> None:
    taken = [ipaddress.ip_network(word) for word in words]
    blocks = list(ipaddress.ip_network(RANGES[0]).subnets(new_prefix=24))
    free = [block for block in blocks if not any(block.overlaps(one) for one in taken)]
    answer = plugin.address(_used(*words), "", RANGES[:1], None)
    assert answer["address"] == (f"{free[0].network_address + 1}/24" if free else "")
    assert bool(answer["problem"]) is not bool(free)


def test_it_is_chosen_once() -> None:
    there = {"name": "mawbr0", "config": {"ipv4.address": "10.119.7.1/24"}}
    answer = plugin.address(_used("10.119.7.0/24"), "", RANGES, there)
    assert (answer["address"], answer["problem"]) == ("10.119.7.1/24", "")


def test_a_route_to_all_that_is_no_clash_and_a_tunnel_over_all_of_ten_is() -> None:
    assert plugin.address(_used("0.0.0.0/0"), "", RANGES, None)["address"] == "10.119.0.1/24"
    assert plugin.address(_used("10.0.0.0/8"), "", RANGES, None)["address"] == "172.30.0.1/24"


def test_where_nothing_is_free_it_is_said_by_whom_with_the_next_step() -> None:
    answer = plugin.address(_used("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"), "", RANGES, None)
    assert "interface eth0" in answer["problem"]
    assert "lxd_network_address" in answer["problem"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("10.119.0.1", "leaves no room"),
        ("10.119.0.0/24", "leaves no room"),
        ("10.119.0.255/24", "leaves no room"),
        ("10.119.0.1/30", "leaves no room"),
        ("10.119.0.1/33", "no IPv4 address"),
        ("fd00::1/64", "no IPv4 address"),
        ("mawbr0", "no IPv4 address"),
        ("8.8.8.1/24", "private network"),
        ("127.0.5.1/24", "private network"),
        ("169.254.7.1/24", "private network"),
        ("192.168.1.1/24", "meets 192.168.1.146/24"),
        ("192.168.0.1/16", "meets 192.168.1.146/24"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_the_reason(wanted: str, words: str) -> None:
    answer = plugin.address(_used("192.168.1.146/24"), wanted, RANGES, None)
    assert words in answer["problem"]
    assert answer["address"] == ""


def test_a_wanted_address_is_taken_and_not_changed_under_instances() -> None:
    there = {"config": {"ipv4.address": "10.119.0.1/24"}, "used_by": ["/1.0/profiles/maw"]}
    assert plugin.address([], "10.50.0.1/24", RANGES, there)["address"] == "10.50.0.1/24"
    there["used_by"].append("/1.0/instances/web?project=default")
    answer = plugin.address([], "10.50.0.1/24", RANGES, there)
    assert "instances use it: web" in answer["problem"]


@pytest.mark.parametrize("word", ["10.119.0.0/25", "fd00::/8", "somewhere"])
def test_a_range_that_is_none_is_said(word: str) -> None:
    assert word in plugin.address([], "", [word], None)["problem"]


def test_all_that_the_machine_and_the_inventory_know_is_avoided_but_not_our_own_network() -> None:
    machine = {
        "networks": [
            {"network": "10.119.0.1/24", "interface": "mawbr0"},
            {"network": "172.20.16.1/20", "interface": "eth0"},
        ],
        "nameservers": ["10.255.255.254", "fd00::53"],
    }
    lxd = {
        "networks": [
            {
                "name": "lxdbr0",
                "config": {"ipv4.address": "10.7.0.1/24", "ipv4.routes": "10.8.0.0/24, 10.9.0.0/24"},
            },
            {"name": "mawbr0", "config": {"ipv4.address": "10.119.0.1/24"}},
            {"name": "eth0", "config": None},
            {"name": "lxdbr1", "config": {"ipv4.address": "none"}},
        ]
    }
    found = plugin.taken(machine, lxd, "mawbr0", ["192.168.1.129", "core.example"], ["10.66.0.0/16"])
    assert [one["network"] for one in found] == [
        "172.20.16.1/20",
        "10.7.0.1/24",
        "10.8.0.0/24",
        "10.9.0.0/24",
        "10.255.255.254",
        "192.168.1.129/24",
        "10.66.0.0/16",
    ]
    # The core is not in any route of a WSL behind NAT; its whole home network is avoided.
    answer = plugin.address(found, "", ["192.168.1.0/24"], None)
    assert "192.168.1.129 of the inventory" in answer["problem"]
