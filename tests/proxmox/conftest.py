"""What the tests of the Proxmox room share."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw.config import ProxmoxSettings
from maw.proxmox.https import HttpsApi
from tests.proxmox.replay import SECRET, Certificate, Server, make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1 that a CA of its own has signed."""
    return make_certificate(Path(tmp_path_factory.mktemp("certificate")))


@pytest.fixture
def api_of(certificate: Certificate) -> Callable[..., HttpsApi]:
    """`api_of(server, **settings)`: the client of that server, its certificate pinned."""
    made = []

    def make(server: Server, **changes: Any) -> HttpsApi:
        settings = ProxmoxSettings(api_port=server.port, fingerprint=server.certificate.fingerprint)
        settings = dataclasses.replace(settings, **changes)
        made.append(HttpsApi("127.0.0.1", settings, SECRET, name="pve"))
        return made[-1]

    yield make
    for one in made:
        one.close()
