"""The script for a new notebook, and the line to paste: what is put in is what arrives."""

from __future__ import annotations

import base64
import gzip
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maw.errors import Misuse
from maw.provision import first_contact
from maw.transport import authorized
from maw.transport.keys import HostKey


def key(fill: bytes = b"\x01") -> HostKey:
    blob = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + fill * 32
    return HostKey("ssh-ed25519", base64.b64encode(blob).decode("ascii"))


KEYS = first_contact.Keys(key(b"\x01"), key(b"\x02"))
CORE = "192.168.1.129"


def script(
    keys: first_contact.Keys = KEYS,
    addresses: tuple[str, ...] = (CORE,),
    shell: str = "cmd",
    distro: str = "Ubuntu",
) -> str:
    return first_contact.script(keys, addresses, shell, distro)


def assigned(text: str, name: str) -> str:
    match = re.search(rf"^\${name} = (?:@\()?'([^']*)'", text, re.MULTILINE)
    assert match is not None, name
    return match.group(1)


def test_the_values_stand_in_the_script() -> None:
    text = script(shell="powershell", distro="Ubuntu-24.04", addresses=(CORE, "192.168.1.146"))
    assert assigned(text, "CoreAddresses") == "192.168.1.129,192.168.1.146"
    assert assigned(text, "DefaultShell") == "powershell"
    assert assigned(text, "Distro") == "Ubuntu-24.04"
    assert "@@" not in text


def test_the_lines_of_the_keys_are_what_sshd_reads() -> None:
    text = script()
    admin, bridge = (
        authorized.entries(assigned(text, name).encode())[0] for name in ("AdminLine", "BridgeLine")
    )
    assert (admin.key, admin.options_text, admin.comment) == (KEYS.admin, b"", "maw-admin")
    assert (bridge.key, bridge.comment) == (KEYS.bridge, "maw-bridge")
    assert bridge.has("restrict")
    assert bridge.values("command") == ("wsl.exe -d Ubuntu -u root --exec /usr/sbin/sshd -i",)
    assert bridge.values("from") == (CORE,)


def test_without_addresses_the_bridge_is_not_limited_to_any() -> None:
    text = script(addresses=())
    assert not authorized.entries(assigned(text, "BridgeLine").encode())[0].has("from")
    assert assigned(text, "CoreAddresses") == ""


def test_the_script_changes_no_configuration_of_sshd() -> None:
    writes = [
        line for line in script().splitlines() if re.search(r"Write|Set-Content|Move-Item|Out-File", line)
    ]
    assert not [line for line in writes if "sshd_config" in line and "Stop-Here" not in line]


def test_the_script_says_done_once_and_its_errors_have_a_next_step() -> None:
    text = script()
    assert len(re.findall(r"'DONE\.", text)) == 1
    assert "'NOT DONE: '" in text
    assert "'Next step: '" in text
    # A reason and a next step.
    calls = re.findall(r"^.*\bStop-Here (.+)$", text, re.MULTILINE)
    assert len(calls) > 8
    for call in calls[1:]:
        assert len(re.findall(r"""(?:'(?:[^']|'')*'|"(?:[^"`]|`.)*")""", call)) >= 2, call


@pytest.mark.parametrize(
    "distro",
    [
        "",
        "Ub untu",
        "Ubuntu'",
        'Ubuntu"',
        "$x",
        "Ubuntu\n",
        "-x",
        "Ubuntu;calc",
        "Ubuntu\u2019",
        "อูบุนตู",
        "a`b",
        "@@A@@",
    ],
)
def test_a_hostile_name_of_a_distro_is_refused(distro: str) -> None:
    with pytest.raises(Misuse, match="no name of a distro"):
        script(distro=distro)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "core",
        "192.168.1.0/24",
        "192.168.1.129'",
        "192.168.1.129\n",
        "fe80::1%eth0",
        "192.168.1.129,*",
        "$x",
        "0300.1.1.1",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Misuse, match="no address of the core"):
        script(addresses=(CORE, address))


@pytest.mark.parametrize("shell", ["", "bash", "cmd\n", "pwsh", "cmd'"])
def test_another_shell_is_refused(shell: str) -> None:
    with pytest.raises(Misuse, match="cmd, powershell"):
        script(shell=shell)


@pytest.mark.parametrize(
    "bad",
    [
        HostKey("ssh-ed25519", "AAAA' ; calc '"),
        HostKey("ssh-ed25519\n", "AAAAC3"),
        HostKey('command="x" ssh-ed25519', "AAAAC3"),
        HostKey("ssh-ed25519", "AAAAC3\nssh-ed25519 AAAAC3"),
        HostKey("ssh-ed25519", ""),
    ],
)
def test_what_is_no_key_is_refused(bad: HostKey) -> None:
    for keys in (first_contact.Keys(bad, KEYS.bridge), first_contact.Keys(KEYS.admin, bad)):
        with pytest.raises(Misuse, match="no public key"):
            script(keys)


@given(st.text(min_size=1))
def test_no_value_leaves_its_quotes(value: str) -> None:
    template = "$a = '@@VALUE@@'\n"
    try:
        text = first_contact.filled(template, {"VALUE": value})
    except Misuse:
        assert re.search("[^ -~]|['`$]", value)
    else:
        assert text == f"$a = '{value}'\n"
        assert text.count("'") == 2
        assert text.isascii()


def test_a_value_that_looks_like_a_placeholder_is_not_filled_in_again() -> None:
    text = first_contact.filled("'@@A@@' '@@B@@'", {"A": "@@B@@", "B": "x"})
    assert text == "'@@B@@' 'x'"


def test_a_placeholder_without_a_value_is_found() -> None:
    with pytest.raises(AssertionError, match="differ"):
        first_contact.filled("'@@A@@' '@@B@@'", {"A": "x"})


@given(
    st.lists(st.ip_addresses(v=4).map(str), max_size=6, unique=True),
    st.sampled_from(first_contact.SHELLS),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True),
    st.binary(min_size=32, max_size=32),
)
def test_the_line_holds_the_very_script(addresses: list[str], shell: str, distro: str, noise: bytes) -> None:
    blob = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + noise
    keys = first_contact.Keys(HostKey("ssh-ed25519", base64.b64encode(blob).decode()), KEYS.bridge)
    text = first_contact.script(keys, addresses, shell, distro)
    line = first_contact.one_line(text)
    assert first_contact.unpacked(line) == text
    # As PowerShell does it: between the single quotes, base64, gzip, ASCII.
    packed = re.search(r"FromBase64String\('([A-Za-z0-9+/=]+)'\)", line)
    assert packed is not None
    assert gzip.decompress(base64.b64decode(packed.group(1), validate=True)).decode("ascii") == text


def test_the_line_has_nothing_that_cmd_or_powershell_would_read() -> None:
    line = first_contact.one_line(script(addresses=tuple(f"192.168.1.{number}" for number in range(1, 9))))
    assert len(line) < first_contact.LONGEST
    assert not set(line) & set("$%`^!|<>\r\n\t")
    assert line.count('"') == 2
    assert line.endswith('"')
    assert line.isascii()
    # An ampersand within double quotes is a letter for both.
    assert line.index('"') < line.index("&")


def test_the_line_starts_windows_powershell_whatever_shell_it_is_pasted_into() -> None:
    assert first_contact.one_line("exit 0").startswith(
        "powershell.exe -NoProfile -ExecutionPolicy Bypass -Command "
    )


def test_a_script_that_is_too_long_for_a_line_is_refused_with_the_way_out() -> None:
    import random

    noise = "".join(random.Random(1).choices("0123456789abcdefghijklmnop", k=20000))
    with pytest.raises(Misuse, match="as a file"):
        first_contact.one_line(f"# {noise}")


def test_the_same_values_give_the_same_line() -> None:
    assert first_contact.one_line(script()) == first_contact.one_line(script())
