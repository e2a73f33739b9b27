"""Sets a machine up from files only: `machine.py install FOLDER …`, `machine.py run FOLDER`.

Standard library only; it also runs in a container that has nothing of maw.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HERE = Path(__file__).resolve().parent
if __package__:
    from . import acl, defaults
    from .state import save_file
else:
    sys.path.insert(0, str(HERE.parent))
    from programs.state import save_file  # type: ignore[import-not-found, no-redef]

    from programs import acl, defaults  # type: ignore[import-not-found, no-redef]

KINDS = ("ed25519", "ecdsa")
# As Debian ships it; the bridge's own file comes beside it.
DISTRO_CONFIG = """Include /etc/ssh/sshd_config.d/*.conf
KbdInteractiveAuthentication no
UsePAM no
X11Forwarding yes
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
"""
BRIDGE_CONFIG = """PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
"""


def find(program: str) -> str:
    """Return the path of a program of the system. Raise FileNotFoundError."""
    folders = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin".split(":")
    found = [f"{folder}/{program}" for folder in folders if os.access(f"{folder}/{program}", os.X_OK)]
    if not found:
        raise FileNotFoundError(f"no {program} program is installed here (apt install openssh-server)")
    return found[0]


def keygen(folder: Path) -> None:
    """Make the host keys of an sshd, as its first start does; those that are there stay."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    started = []
    for kind in KINDS:
        path = folder / f"ssh_host_{kind}_key"
        if not path.exists():
            argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)]
            started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL))
    for process in started:
        if process.wait() != 0:
            raise OSError(f"ssh-keygen ended with {process.returncode}")


def install(folder: Path, changes: dict[str, Any], *, address: str, port: int) -> None:
    """Make a machine's folder. What is there already stays, but for the settings."""
    ssh = folder / "drive" / "ProgramData" / "ssh"
    for path in (ssh / "logs", folder / "drive" / "Users" / changes["account"], folder / "distros"):
        path.mkdir(parents=True, exist_ok=True)
    keygen(ssh)
    if not (ssh / "sshd_config").exists():
        (ssh / "sshd_config").write_bytes(defaults.SSHD_CONFIG.replace("\n", "\r\n").encode("utf-8"))
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    state = {
        **defaults.DEFAULTS,
        "boot_time": time.time(),
        "id": os.urandom(8).hex(),
        "name": "notebook",
        "python": python,
        "programs": str(HERE),
        **changes,
    }
    save_file(str(folder / "state.json"), state)
    if not (folder / "acl.json").exists():
        home = acl.parse(acl.HOME.format(state["sid"]))
        lists = {
            "c:\\programdata\\ssh": list(acl.SSH_FOLDER),
            f"c:\\users\\{state['account'].lower()}": [home.owner, home.dacl],
        }
        save_file(str(folder / "acl.json"), lists)
    (folder / "sshd_config").write_text(_config(folder, state, address, port), "utf-8")


def make_distro(root: Path, *, fresh: bool = False) -> None:
    """Make the folders of a distro: as after `apt install openssh-server` and the bridge's settings.

    A fresh one is as `wsl --import` leaves it: no keys, no settings, no /run/sshd.
    """
    ssh = root / "etc_ssh"
    (ssh / "sshd_config.d").mkdir(parents=True, exist_ok=True)
    (ssh / "sshd_config").write_text(DISTRO_CONFIG, "utf-8")
    if fresh:
        (root / "root").mkdir(mode=0o700, exist_ok=True)
        (root / "run").mkdir(mode=0o755, exist_ok=True)
        return
    keygen(ssh)
    (ssh / "sshd_config.d" / "10-bridge.conf").write_text(BRIDGE_CONFIG, "utf-8")
    home = root / "root" / ".ssh"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (root / "root", home):
        path.chmod(0o700)
    (home / "authorized_keys").touch(mode=0o600)
    (root / "run" / "sshd").mkdir(mode=0o755, parents=True, exist_ok=True)


def _config(folder: Path, state: dict[str, Any], address: str, port: int) -> str:
    ssh = folder / "drive" / "ProgramData" / "ssh"
    # sshd wants a command whose folders only root may write: /bin/sh is one, our folder may not be.
    words = [str(HERE / "keys.sh"), str(folder), state["python"], str(HERE)]
    words += [str(ssh / "administrators_authorized_keys")]
    words += [str(folder / "drive" / "Users" / state["account"] / ".ssh" / "authorized_keys")]
    script = " ".join('"{}"'.format(word.replace("%", "%%")) for word in words)
    options = {
        "AddressFamily": "inet6" if ":" in address else "inet",
        "ListenAddress": f"[{address}]:{port}" if ":" in address else f"{address}:{port}",
        "AuthorizedKeysFile": "none",
        "AuthorizedKeysCommand": f"/bin/sh {script}",
        "AuthorizedKeysCommandUser": "root",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "MaxStartups": "100",
        "PrintMotd": "no",
        "PrintLastLog": "no",
        "UseDNS": "no",
        "SetEnv": f'HOME="{folder}"',
        "Subsystem": "sftp sftp-server.exe",
    }
    keys_of_host = [f'HostKey "{ssh}/ssh_host_{kind}_key"\n' for kind in KINDS]
    return "".join([*keys_of_host, *(f"{key} {value}\n" for key, value in options.items())])


def run_argv(folder: Path) -> list[str]:
    """Return the command that is the machine's sshd, in the foreground."""
    return [find("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")]


def _keep(folder: Path) -> int:
    """Run the sshd with a /run of its own, for the distro's /run/sshd may be missing; wait for its end."""
    script = 'mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", *run_argv(folder)]
    (folder / "keeper").write_text(f"{os.getpid()}\n", "ascii")
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: process.terminate())
        return process.wait()


def _account(name: str, folder: Path) -> None:
    """Make the user as whom Windows is logged in to; its programs start distros' as anyone, so it is root."""
    with open("/etc/passwd", encoding="utf-8", errors="surrogateescape") as file:
        if any(line.startswith(f"{name}:") for line in file):
            return
    options = ["--non-unique", "--uid", "0", "--gid", "0", "--no-create-home", "--home-dir", str(folder)]
    # "*" is no password; useradd's own "!" is a locked account, which sshd refuses keys too.
    options += ["--password", "*", "--shell", "/bin/sh"]
    subprocess.run(["useradd", *options, "--", name], check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["install", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--account", default="you", help="the Windows account; also a user of the system")
    parser.add_argument("--name", default="notebook", help="the computer's name")
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=22)
    parser.add_argument("--parser", choices=["linux", "wine"], default="linux")
    parser.add_argument("--shell", choices=["cmd", "powershell"], default="cmd")
    parser.add_argument("--distro", default="Ubuntu", help="the system itself plays this distro")
    parser.add_argument("--bare", action="store_true", help="a fresh notebook: no WSL, no distro, no keys")
    return parser.parse_args()


def main() -> None:
    """Install a machine, or become its sshd."""
    given = _arguments()
    folder = given.folder.resolve()
    if given.what == "run":
        sys.exit(_keep(folder))
    _account(given.account, folder)
    changes = {
        "account": given.account,
        "name": given.name,
        "parser": given.parser,
        "shell": given.shell,
        "container": True,
        "distros": {given.distro: {"root": None, "version": 2}},
        **(defaults.BARE if given.bare else {}),
    }
    install(folder, changes, address=given.address, port=given.port)


if __name__ == "__main__":
    main()
