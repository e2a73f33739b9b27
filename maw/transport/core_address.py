"""From which address of this machine a host sees us."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maw.topology import Host


def towards(host: Host) -> tuple[str, ...]:
    """Given a host, return this machine's address on the way to each of its addresses; nothing is sent.

    What has no route from here now gives none.
    """
    found = []
    for address in host.addresses:
        try:
            for family, kind, _, _, place in socket.getaddrinfo(address, host.port, type=socket.SOCK_DGRAM):
                with socket.socket(family, kind) as probe:
                    # For UDP this only looks the route up.
                    probe.connect(place)
                    # Of an address of one link only, sshd compares what is before the link's name.
                    found.append(str(probe.getsockname()[0]).partition("%")[0])
                break
        except OSError:
            continue
    return tuple(dict.fromkeys(found))
