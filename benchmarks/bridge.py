"""WSL through Windows (the stand-in) beside the same machine's sshd reached directly."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _shared import figure, seconds

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from maw.config import SshSettings
from maw.topology import Host
from maw.transport import keys, ssh_config, wsl
from maw.transport.loopback import LoopbackSatellite
from maw.transport.ssh import FabricTransport
from tests.fakes.windows import WindowsNotebook

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTES = 400
ALIASES = ("direct", "notebook-wsl", "notebook-bridge")


@contextlib.contextmanager
def cluster() -> Iterator[tuple[ssh_config.Paths, dict[str, Host]]]:
    """Start a notebook and a plain satellite; end quietly where that cannot be."""
    reason = WindowsNotebook.available()
    if reason is not None:
        print(f"skipped: {reason}")
        sys.exit(0)
    with tempfile.TemporaryDirectory(prefix="maw-bench-") as folder:
        root = Path(folder)
        with LoopbackSatellite(root / "direct", name="direct") as direct, WindowsNotebook(root / "nb") as nb:
            public = (root / "direct" / "client_key.pub").read_text("ascii").strip()
            nb.authorize(f'restrict,command="{wsl.sshd_command("Ubuntu")}" {public}')
            nb.distro().authorize(f"restrict,pty,port-forwarding {public}")
            key, user = str(direct.identity), "root"
            hosts = {
                "direct": Host("direct", (direct.address,), direct.port, user, key),
                "notebook": Host("notebook", (nb.address,), nb.port, user, key, windows_shell="cmd"),
                "notebook-wsl": Host(
                    "notebook-wsl", (nb.address,), nb.port, user, key, windows="notebook", wsl_distro="Ubuntu"
                ),
            }
            (root / "s").mkdir(mode=0o700)
            where = ssh_config.Paths(root / "ssh_config", root / "known_hosts", root / "s")
            keys.pin(where.known_hosts, "direct", direct.host_keys)
            keys.pin(where.known_hosts, "notebook", nb.host_keys)
            keys.pin(where.known_hosts, "notebook-wsl", nb.distro().host_keys)
            ssh_config.write(list(hosts.values()), SshSettings(), where)
            try:
                yield where, hosts
            finally:
                leave(where)


def leave(where: ssh_config.Paths) -> None:
    for name in ALIASES:
        argv = ["ssh", "-F", str(where.config), "-O", "exit", name]
        subprocess.run(argv, capture_output=True, check=False)


def main() -> None:
    with cluster() as (where, hosts):
        pairs = [("direct", hosts["direct"]), ("bridge", hosts["notebook-wsl"])]
        _logins(where, pairs)
        _bulk(where, pairs)
        _fabric(where, pairs)
        _proxies(where, hosts["notebook-wsl"])


def _ssh(where: ssh_config.Paths, host: Host, command: str) -> None:
    with tempfile.TemporaryFile() as errors:  # ssh's background master keeps a pipe open
        argv = ["ssh", "-F", str(where.config), host.name, command]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stderr=errors)


def _logins(where: ssh_config.Paths, pairs: list[tuple[str, Host]]) -> None:
    cold: dict[str, float] = {}
    warm: dict[str, float] = {}
    for label, host in pairs:
        taken = []
        for _ in range(11):
            leave(where)
            started = time.perf_counter()
            _ssh(where, host, "true")
            taken.append(time.perf_counter() - started)
        cold[label] = sorted(taken)[5]
        warm[label] = seconds(lambda host=host: _ssh(where, host, "true"), 40)
    for label in cold:
        note = (
            "" if label == "direct" else f"{cold[label] / cold['direct']:.2f} x direct; target: at most 1.6"
        )
        figure(f"ssh, new connection, {label}", cold[label] * 1000, "ms", note)
    for label in warm:
        note = (
            "" if label == "direct" else f"{warm[label] / warm['direct']:.2f} x direct; target: at most 1.1"
        )
        figure(f"ssh, over a ControlMaster, {label}", warm[label] * 1000, "ms", note)


def _bulk(where: ssh_config.Paths, pairs: list[tuple[str, Host]]) -> None:
    rates: dict[str, list[float]] = {"direct": [], "bridge": []}
    for _ in range(5):
        for label, host in pairs:
            zeros = f"head -c {MEGABYTES}000000 /dev/zero"
            ssh = shlex.join(["ssh", "-F", str(where.config), host.name, "cat > /dev/null"])
            started = time.perf_counter()
            subprocess.run(["sh", "-c", f"{zeros} | {ssh}"], check=True, stderr=subprocess.DEVNULL)
            rates[label].append(MEGABYTES / (time.perf_counter() - started))
    direct, bridge = (sorted(rates[label])[2] for label in ("direct", "bridge"))
    figure(f"{MEGABYTES} MB, ssh cat, direct", direct, "MB/s")
    figure(f"{MEGABYTES} MB, ssh cat, bridge", bridge, "MB/s", f"{bridge / direct:.2f} x direct; target: 0.6")


def _fabric(where: ssh_config.Paths, pairs: list[tuple[str, Host]]) -> None:
    for label, host in pairs:
        with FabricTransport(host, where) as transport:
            taken = seconds(lambda transport=transport: transport.run(["true"]), 40)
            figure(f"Fabric, warm command, {label}", taken * 1000, "ms")
            done: list[bool] = []

            def fifty(transport: FabricTransport = transport, done: list[bool] = done) -> None:
                threads = [
                    threading.Thread(target=lambda: done.append(transport.run(["true"]).ok))
                    for _ in range(50)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

            taken = seconds(fifty, 3)
            note = f"{len(done)} commands, {done.count(False)} failed"
            figure(f"Fabric, 50 commands at once, one connection, {label}", taken * 1000, "ms", note)


def _proxies(where: ssh_config.Paths, host: Host) -> None:
    """The socket pair beside paramiko's own ProxyCommand: speed, and what the proxy's death costs."""
    import paramiko

    argv = wsl.proxy_argv(where.config, host)
    data = os.urandom(64_000_000)
    for label, make in (
        ("socket pair", lambda: wsl.open_socket(argv, host=host.name)),
        ("paramiko.ProxyCommand", lambda: paramiko.ProxyCommand(shlex.join(argv))),
    ):
        link: Any = make()
        client = paramiko.SSHClient()
        client.load_host_keys(str(where.known_hosts))
        client.connect(
            host.name,
            username="root",
            key_filename=str(host.identity_file),
            sock=link,
            look_for_keys=False,
            allow_agent=False,
        )
        with client.open_sftp() as sftp:
            taken = seconds(lambda sftp=sftp: sftp.putfo(io.BytesIO(data), "/dev/null", confirm=False), 3)
        figure(f"64 MB put, {label}", 64 / taken, "MB/s")
        channel = client.get_transport().open_session()
        channel.exec_command("sleep 60")
        link.process.kill()
        used, started = sum(os.times()[:2]), time.monotonic()
        while not channel.closed and time.monotonic() - started < 5:
            time.sleep(0.01)
        waited = time.monotonic() - started
        figure(f"the proxy is killed: noticed after, {label}", waited, "s", "5 s is never")
        figure(f"the proxy is killed: CPU time till then, {label}", sum(os.times()[:2]) - used, "s")
        client.close()


if __name__ == "__main__":
    if shutil.which("ssh") is None:
        sys.exit("skipped: no ssh program is installed here")
    main()
