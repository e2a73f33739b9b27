"""The Proxmox stand-in: a node's programs and API over a folder, and its genuine-looking archives."""

from tests.fakes.proxmox.node import FakeNode

__all__ = ["FakeNode"]
