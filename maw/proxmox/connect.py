"""Which way to ask the server: over HTTPS with the token where there is one, else over SSH."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from maw.errors import Misuse, ProxmoxUnreachable
from maw.proxmox.https import HttpsApi
from maw.proxmox.model import path_of
from maw.proxmox.shell import ShellApi
from maw.proxmox.token import read_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.config import ProxmoxSettings
    from maw.proxmox.model import Api
    from maw.topology import Host, Topology
    from maw.transport.base import Transport


def server_of(topology: Topology, settings: ProxmoxSettings) -> Host:
    """Given the hosts and the settings, return the Proxmox server. Raise UnknownHost or Misuse."""
    if settings.host:
        return topology.host(settings.host)
    found = [host for host in topology.hosts if "proxmox" in host.roles]
    if len(found) == 1:
        return found[0]
    names = ", ".join(host.name for host in found)
    raise Misuse(
        reason=f"Several hosts are in group proxmox: {names}. Name one in proxmox.host in maw.toml."
        if found
        else f"No host of {topology.inventory} is in group proxmox. Put the Proxmox server there, or name it "
        "in proxmox.host in maw.toml."
    )


def token_file(settings: ProxmoxSettings, root: Path) -> Path:
    """Given the settings and the workspace's folder, return the path of the token's file."""
    return root / Path(settings.token_file).expanduser()


def over_https(host: Host, settings: ProxmoxSettings, root: Path, secret: str) -> HttpsApi:
    """Given the server and the secret, return the API at the first of its addresses that answers.

    Raise ProxmoxUnreachable if none does, ProxmoxCertificate, or ProxmoxAuthentication.
    """
    failures = []
    for address in host.addresses:
        api = HttpsApi(address, settings, secret, name=host.name, root=root)
        try:
            api.get(path_of("version"))
        except ProxmoxUnreachable as error:
            api.close()
            failures.append((address, error))
            continue
        return api
    reasons = "; ".join(f"{address}: {error.facts['reason']}" for address, error in failures)
    raise ProxmoxUnreachable(host=host.name, reason=reasons) from failures[-1][1]


def open_api(host: Host, settings: ProxmoxSettings, root: Path, transport: Callable[[], Transport]) -> Api:
    """Given the server, return the way to ask it: HTTPS if the token's file is there, else SSH.

    `transport` makes the way over SSH when it is needed. Raise TokenUnusable or ProxmoxError.
    """
    path = token_file(settings, root)
    if settings.token_file and path.exists():
        return over_https(host, settings, root, read_secret(path))
    return ShellApi(transport(), seconds=settings.answer_seconds)
