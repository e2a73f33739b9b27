"""What the verbs share: the workspace, its settings and hosts, and a way to each host."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maw import config, files, topology
from maw.errors import Misuse
from maw.soul import store
from maw.transport.local import LOCAL, LocalTransport

if TYPE_CHECKING:
    from maw.topology import Host, Topology
    from maw.transport.base import Transport
    from maw.transport.ssh_config import Paths

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


def create(root: Path) -> list[Path]:
    """Given a folder, make a workspace of it; return what was made. What is there stays as it is."""
    workspace = config.Workspace(root)
    made = []
    for template in sorted(TEMPLATES.rglob("*")):
        path = root / template.relative_to(TEMPLATES)
        if template.is_file() and files.write_new(path, template.read_bytes()):
            made.append(path)
    if files.write_new(workspace.config_file, config.default_text()):
        made.append(workspace.config_file)
    return made + store.create(workspace.soul)


@dataclass(frozen=True)
class Context:
    """An opened workspace."""

    workspace: config.Workspace
    settings: config.Settings

    @cached_property
    def topology(self) -> Topology:
        """The hosts of the inventory."""
        cache = self.workspace.state / "topology.json"
        return topology.load(self.workspace.inventory, cache=cache, write=files.write_atomically)

    @cached_property
    def ssh_paths(self) -> Paths:
        """The paths of the generated OpenSSH config, which is up to date after this."""
        from maw.transport import ssh_config

        where = ssh_config.paths(self.workspace)
        ssh_config.write(self.topology.hosts, self.settings.ssh, where)
        return where

    def pick(self, name: str) -> Host | None:
        """Given a host's name, `local` or `auto`, return where commands run, None for this machine.

        `auto` is the first satellite whose address is no example. A notebook's Windows means the
        WSL behind it. Raise UnknownHost or Misuse.
        """
        if name == LOCAL:
            return None
        if name == "auto":
            return next((host for host in self.topology.satellites() if not host.example), None)
        host = self.machine(name)
        if not host.is_windows:
            return host
        distros = self.topology.distros_of(host)
        if len(distros) == 1:
            return distros[0]
        names = ", ".join(distro.name for distro in distros)
        raise Misuse(
            reason=f"{name} is a Windows, and commands run in a WSL. "
            + (f"Name one of {names}." if names else f"Add a host with maw_windows: {name} to the inventory.")
        )

    def machine(self, name: str) -> Host:
        """Given a host's name, return that very host, be it Windows or not.

        Raise UnknownHost, or Misuse if its address is the example's.
        """
        host = self.topology.host(name)
        if host.example:
            raise Misuse(
                reason=f"{name} still has the example's address {host.addresses[0]}. Put in your own in "
                f"{self.workspace.inventory} and delete its maw_example line."
            )
        return host

    def transport(self, host: Host | None, *, warm: bool) -> Transport:
        """Given a host (None is this machine), return the way to it.

        `warm` is for many commands or a long conversation, over Fabric; else the ssh program
        with its shared connection, which starts sooner.
        """
        if host is None:
            return LocalTransport()
        where = self.ssh_paths
        if warm:
            from maw.transport.ssh import FabricTransport

            return FabricTransport(host, where)
        from maw.transport.openssh import OpenSshTransport

        return OpenSshTransport(host, where)


def current(*, create_missing: bool = True) -> Context:
    """Return the workspace that this command uses; the user's own is made when it is missing."""
    workspace = config.find_workspace(os.environ, Path.cwd())
    if create_missing and not workspace.root.exists():
        create(workspace.root)
        click.echo(f"maw: made a workspace in {workspace.root}", err=True)
    return Context(workspace, config.load(workspace.config_file))
