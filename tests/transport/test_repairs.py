"""paramiko's race between a sender and a command that ends does not cost the connection."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from maw.config import SshSettings
from maw.topology import load
from maw.transport import ssh_config
from maw.transport.ssh import FabricTransport

ROUNDS = 240


@pytest.mark.sshd
@pytest.mark.parametrize("stdin", [None, b"x" * 100_000], ids=["no input", "input that nobody reads"])
def test_commands_that_end_while_their_input_is_sent_leave_the_connection_whole(workspace, satellite, stdin):
    where = ssh_config.paths(workspace)
    host = load(workspace.inventory).host(satellite.name)

    ssh_config.write([host], SshSettings(), where)
    with FabricTransport(host, where) as transport:
        first = transport.connection

        def one(number: int) -> int | None:
            return transport.run(["sh", "-c", f"exit {number % 200}"], stdin=stdin).ending.exit_status

        with ThreadPoolExecutor(12) as pool:
            endings = list(pool.map(one, range(ROUNDS)))
        assert endings == [number % 200 for number in range(ROUNDS)]
        assert transport.connection is first
