"""What the machine can fetch: the addresses of its table `web` and nothing else; no packet leaves."""

from __future__ import annotations

import os

from .state import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Unreachable(Exception):
    """An address that gives nothing: what .NET says, and the status if a server answered."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def fetch(machine: Machine, url: str, proxy: str | None = None) -> str:
    """Return the local path of what an address gives. Raise Unreachable.

    A machine with a proxy reaches the internet through it only.
    """
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0]
    state: dict[str, Any] = machine.state
    if not state["internet"]:
        raise Unreachable(f"The remote name could not be resolved: '{host}'")
    if proxy is not None and proxy.rstrip("/") != (state["proxy"] or "").rstrip("/"):
        raise Unreachable(
            "The remote name could not be resolved: '{}'".format(proxy.partition("://")[2] or proxy)
        )
    if proxy is None and state["proxy"] is not None:
        raise Unreachable("Unable to connect to the remote server")
    path = state["web"].get(url)
    if path is None or not os.path.isfile(path):
        raise Unreachable("The remote server returned an error: (404) Not Found.", 404)
    return str(path)
