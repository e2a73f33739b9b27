"""An existing configuration of the distro's sshd: named and refused where it is in the way, never changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.roles.wsl_copy import BRIDGE, CONFIG, KEYS, SETTINGS, Distro, make, slow_keys

__all__ = ["make", "slow_keys"]


CONFLICTS = {
    "PubkeyAuthentication no": "pubkeyauthentication no",
    "AllowUsers you him": "allowusers you him",
    "AllowGroups ssh": "allowgroups ssh",
    "DenyUsers r*": "denyusers r*",
    "PermitRootLogin no": "permitrootlogin no",
    "PermitRootLogin forced-commands-only": "permitrootlogin forced-commands-only",
    "AuthorizedKeysFile /etc/keys/%u": "authorizedkeysfile /etc/keys/%u",
    "AuthenticationMethods publickey,publickey": "authenticationmethods publickey,publickey",
    "ForceCommand /bin/false": "forcecommand /bin/false",
    "ChrootDirectory /srv": "chrootdirectory /srv",
    "DisableForwarding yes": "disableforwarding yes",
    "AllowStreamLocalForwarding no": "allowstreamlocalforwarding no",
    "AllowTcpForwarding local": "allowtcpforwarding local",
    "Match User root\n  PubkeyAuthentication no": "pubkeyauthentication no",
}


@pytest.mark.parametrize("setting", CONFLICTS)
def test_a_foreign_setting_that_keeps_the_bridge_out_is_named_and_refused(
    make: Callable[..., Distro], setting: str
) -> None:
    distro = make()
    config = f"{CONFIG}{setting}\n" if "Match" in setting else f"{setting}\n{CONFIG}"
    distro.write("/etc/ssh/sshd_config", config)
    answer = distro.bootstrap()
    assert not answer["ok"]
    assert CONFLICTS[setting] in answer["reason"]
    assert "/etc/ssh/sshd_config:" in answer["step"]
    assert distro.read("/etc/ssh/sshd_config") == config.encode()
    assert distro.read(BRIDGE) is None, "ours is taken back"
    assert distro.read(KEYS) is None, "no key was written"


HARMLESS = {
    "AllowUsers r*": None,
    "AllowUsers you root": None,
    "DenyUsers root@10.0.0.1": None,
    "Match Address 10.0.0.0/8\n  PubkeyAuthentication no": None,
    "Match User you\n  ForceCommand /bin/false": None,
    "Port 2222\nX11Forwarding no": None,
}


@pytest.mark.parametrize("setting", HARMLESS)
def test_a_foreign_setting_that_does_no_harm_stays(make: Callable[..., Distro], setting: str) -> None:
    distro = make()
    config = f"{CONFIG}{setting}\n"
    distro.write("/etc/ssh/sshd_config", config)
    assert distro.bootstrap()["ok"]
    assert distro.read("/etc/ssh/sshd_config") == config.encode()


def test_a_foreign_file_of_our_name_stays(make: Callable[..., Distro]) -> None:
    distro = make()
    distro.write(BRIDGE, "Port 2222\n")
    answer = distro.bootstrap()
    assert answer["ok"]
    assert distro.read(BRIDGE) == b"Port 2222\n"
    assert any(BRIDGE in text for text in answer["warnings"])


def test_an_older_file_of_ours_is_replaced_kept_and_put_back(make: Callable[..., Distro]) -> None:
    distro = make()
    old = "# by hand\r\nPasswordAuthentication no\r\n"
    distro.write(BRIDGE, old)
    assert distro.bootstrap()["ok"]
    assert distro.read(BRIDGE) == SETTINGS.encode()
    distro.bootstrap("remove")
    assert distro.read(BRIDGE) == old.encode()


def test_a_broken_configuration_is_refused_with_sshds_own_words(make: Callable[..., Distro]) -> None:
    distro = make()
    distro.write("/etc/ssh/sshd_config", CONFIG + "Nonsense 1\n")
    answer = distro.bootstrap()
    assert not answer["ok"]
    assert "Nonsense" in answer["reason"]
    assert distro.read(BRIDGE) is None
