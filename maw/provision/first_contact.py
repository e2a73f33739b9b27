"""The script that a new notebook's owner runs once, as text, and as the one line to paste. Pure.

The template, `first_contact.ps1`, has its placeholders between two lines that say so. What is put
there stands within single quotes of PowerShell, so that nothing in it is ever evaluated.
"""

from __future__ import annotations

import base64
import gzip
import ipaddress
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from maw.errors import Misuse
from maw.transport import authorized, keypairs, wsl
from maw.transport.ssh_config import ADMIN, BRIDGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maw.transport.keys import HostKey

SHELLS = ("cmd", "powershell")
# What cmd takes as one line; PowerShell takes more.
LONGEST = 8191
_TEMPLATE = "first_contact.ps1"
_PLACEHOLDER = re.compile(r"@@([A-Z_]+)@@")
# Printable ASCII but the quotes: PowerShell reads typographic quotes as quotes too.
_PLAIN = re.compile(r"[ !\"#%&()*+,./0-9:;<=>?@A-Z\[\\\]^_a-z{|}~-]*")
_DISTRO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEY = re.compile(r"AAAA[A-Za-z0-9+/]+={0,2}")
_KIND = re.compile(r"(?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+")
_BEFORE = (
    'powershell.exe -NoProfile -ExecutionPolicy Bypass -Command "& ([scriptblock]::Create('
    "(New-Object IO.StreamReader((New-Object IO.Compression.GZipStream("
    "[IO.MemoryStream][Convert]::FromBase64String('"
)
_AFTER = "'),[IO.Compression.CompressionMode]::Decompress)))).ReadToEnd()))\""


@dataclass(frozen=True)
class Keys:
    """The core's two public keys: one may do everything, one opens the bridge and nothing else."""

    admin: HostKey
    bridge: HostKey


def script(keys: Keys, addresses: Sequence[str], shell: str, distro: str) -> str:
    """Given the core's keys and addresses, Windows' shell for SSH and the distro's name, return the script.

    Without addresses the firewall and the bridge's key stay open to every address. Raise Misuse if a
    value cannot stand in it.
    """
    if shell not in SHELLS:
        raise Misuse(reason=f"Windows' shell for SSH is one of {', '.join(SHELLS)}, not {shell!r}.")
    if _DISTRO.fullmatch(distro) is None:
        raise Misuse(
            reason=f"{distro!r} is no name of a distro. Letters, digits, dots, hyphens and underscores are; "
            "set maw_wsl_distro in the inventory to one of these, as Ubuntu."
        )
    plain = [_address(address) for address in addresses]
    limit = f',from="{",".join(plain)}"' if plain else ""
    bridge = f'restrict,command="{wsl.sshd_command(distro)}"{limit}'
    return filled(
        template(),
        {
            "ADMIN_LINE": authorized.line("", _key(keys.admin), keypairs.comment(ADMIN)),
            "BRIDGE_LINE": authorized.line(bridge, _key(keys.bridge), keypairs.comment(BRIDGE)),
            "CORE_ADDRESSES": ",".join(plain),
            "DEFAULT_SHELL": shell,
            "DISTRO": distro,
        },
    )


def template() -> str:
    """Return the script with its placeholders."""
    return resources.files("maw.provision").joinpath(_TEMPLATE).read_text(encoding="ascii")


def filled(text: str, values: Mapping[str, str]) -> str:
    """Given a text with placeholders and a value for each of them, return the text with the values.

    Raise Misuse for a value that a quoted string of PowerShell cannot hold as it is.
    """
    for name, value in values.items():
        if _PLAIN.fullmatch(value) is None:
            raise Misuse(
                reason=f"{value!r} cannot stand in the script for the notebook ({name}): only printable "
                "ASCII without single quotes, backquotes and dollar signs can. Change it in the inventory."
            )
    missing = set(_PLACEHOLDER.findall(text)) ^ set(values)
    assert not missing, f"placeholders and values differ: {missing}"
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], text)


def one_line(text: str) -> str:
    """Given a script, return the one line that runs it, to paste into PowerShell or cmd.

    In it there is no dollar sign, no percent sign and no quote that either of the two would read. Raise
    Misuse if it becomes longer than cmd takes.
    """
    packed = gzip.compress(text.encode("ascii"), mtime=0)
    line = _BEFORE + base64.b64encode(packed).decode("ascii") + _AFTER
    if len(line) >= LONGEST:
        raise Misuse(
            reason=f"The line for the notebook would have {len(line)} characters, and cmd takes fewer than "
            f"{LONGEST}. Bring the script over as a file instead, or give fewer addresses."
        )
    return line


def unpacked(line: str) -> str:
    """Given what `one_line` returned, return the script in it."""
    packed = line.removeprefix(_BEFORE).removesuffix(_AFTER)
    return gzip.decompress(base64.b64decode(packed, validate=True)).decode("ascii")


def _address(text: str) -> str:
    try:
        # As text, for a number of an interface (fe80::1%eth0) means nothing on another machine.
        found = ipaddress.ip_address(text)
    except ValueError:
        found = None
    if found is None or "%" in text or text != str(found):
        raise Misuse(
            reason=f"{text!r} is no address of the core. Give plain ones, as 192.168.1.129: "
            "maw_addresses of the core in the inventory."
        )
    return text


def _key(key: HostKey) -> HostKey:
    if _KIND.fullmatch(key.kind) is None or _KEY.fullmatch(key.base64) is None:
        raise Misuse(
            reason=f"{key.kind} {key.base64} is no public key. `cutter keys make` makes the two keys."
        )
    return key
