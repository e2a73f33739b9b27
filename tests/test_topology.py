"""The hosts, as Ansible itself reads them."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw import topology
from maw.errors import InventoryError, UnknownHost
from maw.topology import Host, Topology, load

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parent.parent
TEMPLATE = REPOSITORY / "maw" / "templates" / "inventory"


def _inventory(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = tmp_path / "inventory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path / "inventory"


def test_the_example_has_a_core_and_a_satellite_that_are_never_contacted() -> None:
    found = load(TEMPLATE)
    assert {host.name: (host.roles, host.addresses, host.user, host.example) for host in found.hosts} == {
        "server": (("core",), ("192.168.1.129",), "root", True),
        "notebook": (("windows",), ("192.168.1.146",), "maw", True),
        "notebook-wsl": (("satellites",), ("192.168.1.146",), "root", True),
    }
    (satellite,) = found.satellites()
    assert satellite.worker_command == ("maw-worker",)
    windows = found.windows_of(satellite)
    assert windows is not None
    assert (windows.name, windows.windows_shell, windows.is_windows) == ("notebook", "cmd", True)
    assert found.distros_of(windows) == (satellite,)
    assert (satellite.wsl_distro, satellite.is_windows) == ("Ubuntu", False)


def test_the_inventory_of_the_repository_is_the_example() -> None:
    assert (REPOSITORY / "inventory" / "hosts.yml").read_bytes() == (TEMPLATE / "hosts.yml").read_bytes()


def test_a_missing_inventory_has_no_hosts(tmp_path: Path) -> None:
    assert load(tmp_path / "missing") == Topology(tmp_path / "missing", ())


EVERYTHING = {
    "hosts.yml": """
satellites:
  hosts:
    desk:
      maw_addresses: [192.0.2.7, nb.vpn.example, "fe80::1%eth0"]
      ansible_host: 192.0.2.7
      ansible_port: "2222"
      maw_worker_command: [/opt/maw/bin/maw-worker, --quiet]
    lap: {}
laptops:
  children:
    light:
      hosts:
        lap: {}
""",
    "more.ini": "[core]\nserver ansible_host=192.0.2.1 ansible_port=22022\n[core:vars]\nansible_user=root\n",
    "group_vars/satellites.yml": "ansible_user: me\nmaw_addresses: [x.lan]\n",
    "host_vars/lap.yml": "maw_addresses: 192.0.2.8\nansible_ssh_private_key_file: ~/keys/ลับ\n",
}


def test_all_the_ways_of_ansible_to_say_something_are_understood(tmp_path: Path) -> None:
    found = load(_inventory(tmp_path, EVERYTHING))
    assert {host.name: host for host in found.hosts} == {
        "desk": Host(
            "desk",
            ("192.0.2.7", "nb.vpn.example", "fe80::1%eth0"),
            port=2222,
            user="me",
            roles=("satellites",),
            aliases=("192.0.2.7",),
            worker_command=("/opt/maw/bin/maw-worker", "--quiet"),
        ),
        "lap": Host(
            "lap",
            ("192.0.2.8",),
            user="me",
            identity_file="~/keys/ลับ",
            roles=("laptops", "light", "satellites"),
        ),
        "server": Host(
            "server", ("192.0.2.1",), port=22022, user="root", roles=("core",), aliases=("192.0.2.1",)
        ),
    }


def test_hosts_keep_the_order_of_the_inventory(tmp_path: Path) -> None:
    names = ["zeta", "alpha", "mid"]
    hosts = "".join(f"    {name}: {{}}\n" for name in names)
    found = load(_inventory(tmp_path, {"hosts.yml": f"satellites:\n  hosts:\n{hosts}"}))
    assert [host.name for host in found.hosts] == names
    assert [host.addresses for host in found.hosts] == [(name,) for name in names]


@pytest.mark.parametrize(
    "text",
    [
        "satellites:\n  hosts: [\n",
        "satellites:\n\thosts:\n",
        "\x00\x01",
        "satellites:\n  hosts:\n   a: {}\n    b: {}\n",
    ],
    ids=ascii,
)
def test_an_inventory_that_ansible_cannot_read_is_an_error_and_not_an_empty_one(
    tmp_path: Path, text: str
) -> None:
    inventory = _inventory(tmp_path, {"hosts.yml": text, "fine.yml": "core:\n  hosts:\n    server: {}\n"})
    with pytest.raises(InventoryError) as caught:
        load(inventory)
    assert str(inventory) in str(caught.value)
    assert "ansible-inventory -i" in str(caught.value)


def test_a_hostile_inventory_is_refused_after_ansible_read_it(tmp_path: Path) -> None:
    inventory = _inventory(
        tmp_path, {"hosts.yml": 'satellites:\n  hosts:\n    a:\n      maw_addresses: ["-oProxyCommand=id"]\n'}
    )
    with pytest.raises(InventoryError, match="maw_addresses of host a cannot be '-oProxyCommand=id'"):
        load(inventory)


HOSTILE = [
    "-oProxyCommand=id",
    "a b",
    "a\nb",
    'a"b',
    "a'b",
    "$(id)",
    "`id`",
    "a;b",
    "",
    "a\\b",
    "a,b",
    "*",
    "!a",
    "a#b",
    "ไทย",
    "a/b",
    "a\0",
]


def _one(name: str, **variables: Any) -> list[Host]:
    listing = {"_meta": {"hostvars": {name: variables}}, "all": {}, "satellites": {"hosts": [name]}}
    return list(topology._hosts(listing, Path("/inventory")))


@pytest.mark.parametrize("word", HOSTILE, ids=ascii)
@pytest.mark.parametrize("place", ["name", "maw_addresses", "ansible_host", "ansible_user"])
def test_words_that_ssh_or_a_shell_could_misread_are_refused(place: str, word: str) -> None:
    if place == "ansible_user" and word in ("ไทย", "a b"):
        return  # a Windows account may be called so: tested below
    with pytest.raises(InventoryError):
        _one(word if place == "name" else "a", **({} if place == "name" else {place: word}))
    if place == "maw_addresses":
        with pytest.raises(InventoryError):
            _one("a", maw_addresses=["192.0.2.1", word])


@pytest.mark.parametrize("name", ["local", "auto"])
def test_the_names_that_mean_something_to_every_verb_are_refused_for_hosts(name: str) -> None:
    with pytest.raises(InventoryError):
        _one(name)


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_port": 0},
        {"ansible_port": 65536},
        {"ansible_port": "22; id"},
        {"ansible_port": True},
        {"ansible_port": 22.5},
        {"ansible_port": "-1"},
        {"maw_addresses": []},
        {"maw_addresses": 5},
        {"maw_addresses": [5]},
        {"maw_addresses": {}},
        {"ansible_user": 5},
        {"ansible_host": ["192.0.2.1"]},
        {"maw_worker_command": []},
        {"maw_worker_command": [""]},
        {"maw_worker_command": ["a", 5]},
        {"maw_worker_command": 5},
        {"ansible_ssh_private_key_file": 5},
        {"maw_wsl_distro": 5, "maw_windows": "b"},
        {"maw_expected": "often"},
    ],
    ids=str,
)
def test_values_of_the_wrong_kind_are_refused(variables: dict[str, Any]) -> None:
    with pytest.raises(InventoryError, match=next(iter(variables))):
        _one("a", **variables)


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "nb.local", "2001:db8::7", "::1", "fe80::1%eth0", "a_b-c.d", "1"]
)
def test_addresses_of_every_kind_are_accepted(address: str) -> None:
    assert _one("a", maw_addresses=[address, address])[0].addresses == (address,)


def test_a_host_that_is_not_there_is_named_with_the_nearest_first() -> None:
    found = Topology(Path("/i"), tuple(Host(name, (name,)) for name in ("server", "notebook", "desk")))
    with pytest.raises(UnknownHost) as caught:
        found.host("notebok")
    assert "no host called notebok in /i" in str(caught.value)
    assert "The hosts are: notebook, " in str(caught.value)
    assert "local" in str(caught.value)


def test_groups_that_contain_each_other_do_no_harm() -> None:
    listing = {
        "_meta": {"hostvars": {"a": {}}},
        "satellites": {"children": ["light"]},
        "light": {"children": ["satellites"], "hosts": ["a"]},
    }
    (host,) = topology._hosts(listing, Path("/i"))
    assert host.roles == ("light", "satellites")


def _listing(**hosts: dict[str, Any]) -> tuple[Host, ...]:
    listing = {"_meta": {"hostvars": hosts}, "satellites": {"hosts": list(hosts)}}
    return topology._hosts(listing, Path("/i"))


WSL = {"maw_windows": "nb", "maw_wsl_distro": "Ubuntu"}


def test_a_wsl_has_the_addresses_and_the_port_of_its_windows() -> None:
    windows, wsl = _listing(nb={"maw_addresses": ["192.0.2.1", "192.0.2.2"], "ansible_port": 2222}, w=WSL)
    assert (wsl.addresses, wsl.port, wsl.user) == (windows.addresses, 2222, "root")
    assert (windows.windows_shell, wsl.windows_shell) == ("cmd", None)
    assert wsl.aliases == (), "the address of a notebook means its Windows"


def test_the_shell_of_a_windows_host_is_what_ansible_was_told() -> None:
    assert _listing(nb={"ansible_shell_type": "powershell"})[0].windows_shell == "powershell"
    assert _listing(nb={"ansible_shell_type": "sh"})[0].windows_shell is None


@pytest.mark.parametrize("windows", ["nobody", "w", "other"])
def test_a_wsl_whose_windows_is_no_host_that_could_be_one_is_refused(windows: str) -> None:
    with pytest.raises(InventoryError, match="which is no Windows host of the inventory"):
        _listing(nb={}, other=WSL, w={**WSL, "maw_windows": windows})


@pytest.mark.parametrize("given", ["maw_windows", "maw_wsl_distro"])
def test_half_of_a_wsl_is_refused_with_what_is_missing(given: str) -> None:
    (missing,) = set(WSL) - {given}
    with pytest.raises(InventoryError, match=f"has {given} but no {missing}"):
        _listing(nb={}, w={given: WSL[given]})


@pytest.mark.parametrize(
    "distro",
    ["Ubuntu 24.04", '"Ubuntu"', "'Ubuntu'", "", "-d", "a;b", "$(id)", "%PATH%", "ไทย", "a\nb"],
)
def test_a_distro_that_wsl_exe_could_not_be_told_is_refused(distro: str) -> None:
    with pytest.raises(InventoryError, match=r"`wsl\.exe -l -q` on the notebook lists the names"):
        _listing(nb={}, w={**WSL, "maw_wsl_distro": distro})


def test_a_host_may_not_be_called_as_the_way_through_windows_is() -> None:
    with pytest.raises(InventoryError, match="nb-bridge is maw's own"):
        _listing(**{"nb": {}, "w": WSL, "nb-bridge": {}})


@pytest.mark.parametrize("user", ["สมชาย", "วิชัย ใจดี", "Jane Doe", "a.b@example.org", "é", "O.K-1"])
def test_the_names_that_windows_accounts_have_are_accepted(user: str) -> None:
    assert _one("a", ansible_user=user)[0].user == user


@pytest.mark.parametrize("group", ["satelites", "satellite", "window"])
def test_a_misspelt_group_is_refused_because_its_hosts_would_silently_be_no_satellites(group: str) -> None:
    listing = {"_meta": {"hostvars": {"a": {}}}, group: {"hosts": ["a"]}}
    with pytest.raises(InventoryError, match=f"host a is in group {group}, which means nothing to maw"):
        topology._hosts(listing, Path("/i"))


def test_groups_of_the_users_own_are_left_alone() -> None:
    listing = {"_meta": {"hostvars": {"a": {}}}, "kitchen": {"hosts": ["a"]}}
    assert topology._hosts(listing, Path("/i"))[0].roles == ("kitchen",)


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A Python beside which there is an ansible-inventory that counts its calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    real = Path(sys.executable).parent / "ansible-inventory"
    program = folder / "ansible-inventory"
    program.write_text(f'#!/bin/sh\necho x >> "{folder}/calls"\nexec "{real}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return lambda: len((folder / "calls").read_text().split()) if (folder / "calls").exists() else 0


def test_ansible_is_asked_once_until_something_changes(tmp_path: Path, counting: Callable[[], int]) -> None:
    inventory = _inventory(tmp_path, {"hosts.yml": "satellites:\n  hosts:\n    a: {}\n"})
    cache = tmp_path / "cache.json"

    def again() -> Topology:
        return load(inventory, cache=cache, write=lambda path, text: path.write_text(text, "utf-8") and None)

    first = again()
    assert counting() == 1
    assert again() == first
    assert counting() == 1, "the kept answer is used"

    (inventory / "group_vars").mkdir()
    (inventory / "group_vars" / "satellites.yml").write_text("ansible_user: me\n")
    second = again()
    assert (counting(), second.host("a").user) == (2, "me")

    for damage in (
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"key": 1}',
        cache.read_bytes().replace(b'"name"', b'"nome"'),
    ):
        before = counting()
        cache.write_bytes(damage)
        assert again() == second
        assert counting() == before + 1, damage


def test_a_kept_answer_is_of_one_place_only(tmp_path: Path, counting: Callable[[], int]) -> None:
    inventory = _inventory(tmp_path, {"hosts.yml": "satellites:\n  hosts:\n    a: {}\n"})
    shutil.copytree(inventory, tmp_path / "other")
    cache = tmp_path / "cache.json"
    write = lambda path, text: path.write_text(text, "utf-8") and None  # noqa: E731
    load(inventory, cache=cache, write=write)
    assert json.loads(cache.read_text())["hosts"][0]["name"] == "a"
    load(tmp_path / "other", cache=cache, write=write)
    assert counting() == 2


def test_without_ansible_it_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InventoryError, match="ansible-inventory program is missing"):
        load(_inventory(tmp_path, {"hosts.yml": "a:\n"}))


def test_a_file_that_may_not_be_read_is_said_so(unprivileged: Path) -> None:
    inventory = _inventory(unprivileged, {"hosts.yml": "a:\n"})
    (inventory / "hosts.yml").chmod(0)
    with pytest.raises(InventoryError, match="Permission denied"):
        load(inventory)


def test_a_folder_that_may_not_be_entered_is_said_so(unprivileged: Path) -> None:
    inventory = _inventory(unprivileged, {"hosts.yml": "a:\n"})
    unprivileged.chmod(0)
    with pytest.raises(InventoryError, match="Permission denied"):
        load(inventory)
    unprivileged.chmod(0o700)
