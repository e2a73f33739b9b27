"""A command on a host, warm and cold, beside plain ssh; bytes through each way."""

from __future__ import annotations

import os
import subprocess
import sys

from _shared import figure, lab, seconds


def main() -> None:
    data = os.urandom(50_000_000)
    with lab() as (context, host):
        config = str(context.ssh_paths.config)
        plain = ["ssh", "-F", config, host.name, "true"]
        subprocess.run(plain, check=True)
        shared = seconds(lambda: subprocess.run(plain, check=True), 30)
        figure("ssh host true, over a ControlMaster", shared * 1000, "ms")
        for warm, name in ((True, "Fabric"), (False, "ssh program")):
            with context.transport(host, warm=warm) as transport:
                taken = seconds(lambda transport=transport: transport.run(["true"]), 30)
                figure(f"transport.run, warm, {name}", taken * 1000, "ms", f"{taken / shared:.2f} x ssh")
                taken = seconds(lambda transport=transport: transport.run(["cat"], stdin=data), 3)
                figure(f"50 MB there and back, {name}", 50 / taken, "MB/s")
        taken = seconds(
            lambda: subprocess.run(
                ["ssh", "-F", config, host.name, "cat"], input=data, check=True, stdout=-3
            ),
            3,
        )
        figure("50 MB there and back, ssh", 50 / taken, "MB/s")
        _offload(context.workspace.root, config, host.name)


def _offload(root: object, config: str, name: str) -> None:
    environment = {**os.environ, "MAW_WORKSPACE": str(root)}
    argv = [
        sys.executable,
        "-c",
        "from maw.cli import cutter; cutter()",
        "offload",
        "--on",
        name,
        "--",
        "true",
    ]

    def leave() -> None:
        subprocess.run(["ssh", "-F", config, "-O", "exit", name], capture_output=True, check=False)

    def offload() -> None:
        subprocess.run(argv, env=environment, check=True)

    def cold_offload() -> None:
        leave()
        offload()

    def cold_ssh() -> None:
        subprocess.run(["ssh", "-F", config, "-o", "ControlPath=none", name, "true"], check=True)

    leaving = seconds(leave)
    plain = seconds(cold_ssh)
    figure("ssh host true, new connection", plain * 1000, "ms")
    cold = seconds(cold_offload) - leaving
    figure("cutter offload -- true, cold, more than that", (cold - plain) * 1000, "ms", "target: at most 150")
    warm = seconds(offload)
    figure(
        "cutter offload -- true, second call", warm * 1000, "ms", f"{warm / plain:.2f} x a new ssh connection"
    )
    leave()


if __name__ == "__main__":
    main()
