"""Placeholders that were left in the inventory."""

from __future__ import annotations

from typing import Any

import pytest

from maw.provision import placeholders


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maw_example", True),
        ("maw_addresses", ["192.0.2.7"]),
        ("maw_addresses", "ADDRESS"),
        ("maw_addresses", ["2001:db8::1"]),
        ("ansible_host", "notebook.example.com"),
        ("ansible_host", "notebook.example"),
        ("token", "CHANGEME"),
        ("token", "please change-me now"),
        ("token", "replace_me"),
        ("user", "<your name>"),
        ("deep", {"list": [{"key": "YOUR_TOKEN"}]}),
        ("name", " CHANGE ME "),
    ],
)
def test_a_placeholder_is_found(name: str, value: Any) -> None:
    (found,) = placeholders.left({"notebook": {name: value}}, ["notebook"])
    assert found.host == "notebook"
    assert found.name.startswith(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maw_example", False),
        ("maw_addresses", ["192.168.1.146", "100.64.0.2", "fe80::1%eth0", "notebook"]),
        ("ansible_host", "example-notebook.lan"),
        ("text", "see http://example.com for <b>more</b>"),
        ("text", "exchange men"),
        ("secret", {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\nCHANGEME"}),
        ("number", 192),
        ("nothing", None),
    ],
)
def test_what_is_meant_is_none(name: str, value: Any) -> None:
    assert placeholders.left({"notebook": {name: value}}, ["notebook"]) == []


def test_only_the_hosts_that_are_meant_are_looked_at() -> None:
    variables = {"notebook": {"token": "CHANGEME"}, "server": {"token": "x"}}
    assert placeholders.left(variables, ["server", "gone"]) == []


def test_where_it_stands_is_said() -> None:
    (found,) = placeholders.left({"n": {"a": {"b": ["x", {"c": "CHANGEME" + "!" * 100}]}}}, ["n"])
    assert found.name == "a.b[1].c"
    assert len(found.value) == 60
