"""What the verbs of mirrors share: the site, the Proxmox server, and what is known of each mirror."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw import files
from maw.errors import FileError, Misuse
from maw.transport.local import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maw.cli.workspace import Context
    from maw.mirror.model import Report
    from maw.mirror.site import Site
    from maw.proxmox.client import Proxmox
    from maw.topology import Host
    from maw.transport.base import Transport


def pick(context: Context, on: str | None) -> Host | None:
    """Given --on, return the host that holds mirrors, None for this machine. Raise Misuse, UnknownHost."""
    word = on or context.settings.mirror.on
    host = context.pick(word)
    if host is None and word == "auto":
        raise Misuse(
            reason=f"There is no satellite of yours in {context.workspace.inventory}. Put one there, or name "
            "the host of mirrors: --on HOST, or --on local for the LXD of this machine."
        )
    return host


@contextlib.contextmanager
def open_site(context: Context, host: Host | None) -> Iterator[Site]:
    """Given a host (None is this machine), yield its LXD and storage. Raise TransportError or LxdError."""
    from maw.lxd.forward import forwarded
    from maw.mirror.far import Far
    from maw.mirror.site import site

    settings = context.settings.mirror

    def reach(socket: str) -> contextlib.AbstractContextManager[Path]:
        if host is None:
            return contextlib.nullcontext(Path(socket))
        return forwarded(host.name, socket, context.ssh_paths)

    with (
        context.transport(host, warm=False) as transport,
        site(Far(transport), reach, pool=settings.pool, network=settings.network) as found,
    ):
        yield found


@contextlib.contextmanager
def open_proxmox(context: Context) -> Iterator[tuple[Proxmox, Transport]]:
    """Yield the Proxmox server and the way for bytes to it. Raise Misuse, TransportError, ProxmoxError."""
    from maw.proxmox.client import Proxmox
    from maw.proxmox.connect import open_api, server_of

    settings = context.settings.proxmox
    server = server_of(context.topology, settings)
    with _to_server(context, context.machine(server.name)) as transport:
        api = open_api(server, settings, context.workspace.root, lambda: transport)
        yield Proxmox(api, node=settings.node), transport


def _to_server(context: Context, host: Host) -> Transport:
    """The way with the mirror's own key if there is one, which may do less than the others."""
    from maw.transport import gate
    from maw.transport.openssh import OpenSshTransport
    from maw.transport.ssh_config import MIRROR

    where = context.ssh_paths
    if MIRROR in where.identities and gate.guards(host):
        return OpenSshTransport(host, where, alias=gate.alias(host.name))
    return context.transport(host, warm=False)


def work_folder(context: Context) -> Path:
    """Return the folder for what a sync needs for a while."""
    return context.workspace.state / "mirrors"


def _note(context: Context, host: str, name: str) -> Path:
    return context.workspace.mirrors / host / f"{name}.json"


def remember(context: Context, report: Report) -> None:
    """Write down what a sync made: the host of the mirror may be stolen, this machine is not."""
    text = json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n"
    files.write_atomically(_note(context, report.host, report.name), text)


def known_manifest(context: Context, host: str, name: str) -> str | None:
    """Given a mirror, return the hash of its manifest as written down here, None if it is not."""
    try:
        kept: dict[str, Any] = json.loads(_note(context, host, name).read_bytes())
    except FileNotFoundError:
        # Synced from another workspace, or moved here.
        return None
    except ValueError as error:
        path = _note(context, host, name)
        raise FileError(path=path, reason=f"is damaged ({error}); sync that mirror anew") from error
    return str(kept["manifest"])


def where(host: Host | None) -> str:
    """Given a host, return its name for people."""
    return LOCAL if host is None else host.name
