"""Which pool and which network mirrors get, and what is said when a host cannot hold any."""

from __future__ import annotations

from typing import Any

import pytest

from maw.errors import LxdError, NoLxd, NoPool
from maw.mirror import site

PROFILE = {"root": {"type": "disk", "path": "/", "pool": "main"}, "eth0": {"type": "nic", "network": "br0"}}


class Answers:
    """An LXD that gives fixed answers."""

    host = "notebook"

    def __init__(self, **answers: Any) -> None:
        self._answers = {"networks/br0/leases": [], **answers}

    def get(self, path: str) -> Any:
        return self._answers[path]

    def instances(self) -> list[dict[str, Any]]:
        return self._answers.get("instances", [])


def pools(**drivers: str) -> Answers:
    found = [{"name": name, "driver": driver} for name, driver in drivers.items()]
    return Answers(**{"storage-pools": found})


@pytest.mark.parametrize(
    ("lxd", "wanted", "profile", "chosen"),
    [
        (pools(main="btrfs", other="dir"), "", PROFILE, ("main", "btrfs")),
        (pools(main="btrfs", other="dir"), "other", PROFILE, ("other", "dir")),
        (pools(main="zfs", other="dir"), "", PROFILE, ("other", "dir")),
        (pools(only="dir"), "", {}, ("only", "dir")),
    ],
)
def test_the_pool_is_the_one_asked_for_or_the_profiles_or_the_only_one(
    lxd: Any, wanted: str, profile: Any, chosen: tuple[str, str]
) -> None:
    assert site._pool(lxd, wanted, profile) == chosen


@pytest.mark.parametrize(
    ("lxd", "wanted", "word"),
    [
        (pools(), "", "none at all"),
        (pools(main="zfs"), "", "main (zfs)"),
        (pools(one="dir", two="dir"), "", "mirror.pool"),
        (pools(one="dir"), "three", "three"),
        (pools(one="zfs", two="dir"), "one", "dir and btrfs"),
    ],
)
def test_without_a_usable_pool_it_is_said_what_there_is(lxd: Any, wanted: str, word: str) -> None:
    with pytest.raises(NoPool) as caught:
        site._pool(lxd, wanted, {})
    assert word in str(caught.value)


def network(**config: str) -> dict[str, Any]:
    return {"name": "br0", "type": "bridge", "managed": True, "config": config}


def test_a_bridge_is_known_with_its_address_and_whether_it_has_dhcp() -> None:
    lxd = Answers(networks=[network(**{"ipv4.address": "10.77.0.1/24"})])
    found = site._bridge(lxd, "", PROFILE)
    assert found is not None
    assert (found.name, found.address, found.dhcp) == ("br0", "10.77.0.1/24", True)
    lxd = Answers(networks=[network(**{"ipv4.address": "10.77.0.1/24", "ipv4.dhcp": "false"})])
    assert not site._bridge(lxd, "", PROFILE).dhcp
    assert site._bridge(Answers(networks=[]), "", {}) is None
    with pytest.raises(LxdError, match="br9"):
        site._bridge(lxd, "br9", PROFILE)


def test_a_mirrors_own_address_is_free_for_it() -> None:
    mine = {"name": "web", "config": {"user.maw.addresses": "eth0=10.77.0.9/24"}, "devices": {}}
    other = {"name": "db", "config": {"user.maw.addresses": "eth0=10.77.0.8/24"}, "devices": {}}
    leases = [{"hostname": "x", "address": "10.77.0.7"}, {"hostname": "web", "address": "10.77.0.9"}]
    lxd = Answers(instances=[mine, other], **{"networks/br0/leases": leases})
    assert site._taken(lxd, "br0", "web") == {"10.77.0.8", "10.77.0.7"}


FACTS = {
    "root": True,
    "lxd_dir": "/var/lib/lxd",
    "looked": ["/var/lib/lxd"],
    "server": {},
    "tar": "tar (GNU tar) 1.34",
    "python": "3.11.2",
}


@pytest.mark.parametrize(
    ("changes", "error", "word"),
    [
        ({"root": False}, LxdError, "root"),
        ({"lxd_dir": None}, NoLxd, "unix.socket"),
        ({"server": None, "lxd_error": "refused"}, NoLxd, "refused"),
        ({"tar": "bsdtar 3.7"}, LxdError, "GNU tar"),
        ({"python": "3.8.10"}, LxdError, "3.9"),
    ],
)
def test_what_a_host_lacks_is_said(changes: dict[str, Any], error: type[Exception], word: str) -> None:
    facts = {
        name: value for name, value in {**FACTS, **changes}.items() if value is not None or name == "lxd_dir"
    }
    with pytest.raises(error, match=word):
        site._check(facts, "notebook")
    site._check(FACTS, "notebook")
