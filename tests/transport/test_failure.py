# ruff: noqa: E501 - the messages are as ssh prints them
"""What ssh really says, and what maw makes of it. The messages are those of OpenSSH 8.9 to 10.0."""

from __future__ import annotations

import pytest

from maw.errors import (
    AuthenticationRefused,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    LinkLost,
    TransportError,
)
from maw.transport.failure import from_ssh

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:uNiVztksCsDhcc0u9e8BrwCNGv2Wmdvxt6Vl6vhf2k0.
Please contact your system administrator.
Add correct host key in /w/known_hosts to get rid of this message.
Offending ED25519 key in /w/known_hosts:1
Host key for notebook has changed and you have requested strict checking.
Host key verification failed.
"""
UNPROTECTED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Permissions 0644 for '/w/key' are too open.
It is required that your private key files are NOT accessible by others.
This private key will be ignored.
Load key "/w/key": bad permissions
root@192.0.2.7: Permission denied (publickey).
"""
NEW = "No ED25519 host key is known for notebook and you have requested strict checking.\nHost key verification failed.\n"
TABLE = [
    ("ssh: connect to host 192.0.2.7 port 22: Connection refused\r\n", HostUnreachable),
    ("ssh: connect to host 192.0.2.7 port 22: Connection timed out\n", HostUnreachable),
    ("ssh: connect to host 192.0.2.7 port 22: Operation timed out\n", HostUnreachable),
    ("ssh: connect to host 192.0.2.7 port 22: No route to host\n", HostUnreachable),
    ("ssh: connect to host 192.0.2.7 port 22: Network is unreachable\n", HostUnreachable),
    ("ssh: connect to host 192.0.2.7 port 22: Host is down\n", HostUnreachable),
    ("ssh: Could not resolve hostname nb.invalid: Name or service not known\n", HostUnreachable),
    ("ssh: Could not resolve hostname nb.invalid: Temporary failure in name resolution\n", HostUnreachable),
    (
        "Connection timed out during banner exchange\nConnection to 192.0.2.7 port 22 timed out\n",
        HostUnreachable,
    ),
    (
        "kex_exchange_identification: Connection closed by remote host\nConnection closed by 192.0.2.7 port 22\n",
        HostUnreachable,
    ),
    (
        "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 192.0.2.7 port 22\n",
        HostUnreachable,
    ),
    ("banner exchange: Connection to 192.0.2.7 port 22: invalid format\n", HostUnreachable),
    ("root@192.0.2.7: Permission denied (publickey,password).\n", AuthenticationRefused),
    (UNPROTECTED, AuthenticationRefused),
    (
        "Received disconnect from 192.0.2.7 port 22:2: Too many authentication failures\nDisconnected from 192.0.2.7 port 22\n",
        AuthenticationRefused,
    ),
    ("Connection to 192.0.2.7 closed by remote host.\n", LinkLost),
    ("client_loop: send disconnect: Broken pipe\n", LinkLost),
    ("Timeout, server 192.0.2.7 not responding.\n", LinkLost),
    (
        "/w/ssh_config: line 3: Bad configuration option: nonsense\n/w/ssh_config: terminating, 1 bad configuration options\n",
        TransportError,
    ),
    (
        "Unable to negotiate with 192.0.2.7 port 22: no matching host key type found. Their offer: ssh-rsa\n",
        TransportError,
    ),
    ("ControlPath too long ('/long' >= 108 bytes)\n", TransportError),
    ("", TransportError),
    ("\n \r\n", TransportError),
]


def _translated(said: str, pinned: str = "SHA256:pinned") -> TransportError:
    return from_ssh(
        said, 255, host="notebook", addresses=("192.0.2.7", "10.0.0.7"), user="root", pinned=pinned
    )


@pytest.mark.parametrize(("said", "kind"), TABLE, ids=[said.strip()[:45] for said, _ in TABLE])
def test_what_ssh_says_becomes_the_right_error(said: str, kind: type[TransportError]) -> None:
    error = _translated(said)
    assert type(error) is kind
    assert "notebook" in str(error)


def test_a_changed_key_shows_both_fingerprints() -> None:
    error = _translated(CHANGED)
    assert type(error) is HostKeyChanged
    assert "SHA256:uNiVztksCsDhcc0u9e8BrwCNGv2Wmdvxt6Vl6vhf2k0" in str(error)
    assert "SHA256:pinned" in str(error)


def test_a_new_key_is_unknown_only_where_none_is_pinned() -> None:
    assert type(_translated(NEW, "none")) is HostKeyUnknown
    assert type(_translated(NEW)) is HostKeyChanged


def test_all_addresses_are_named() -> None:
    assert "at 192.0.2.7, 10.0.0.7: ssh: connect" in str(_translated(TABLE[0][0]))


def test_an_error_without_words_names_the_status() -> None:
    assert "status 255" in str(_translated(""))
