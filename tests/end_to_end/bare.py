"""A notebook as it comes from the shop, in a lab of its own: what `cutter satellite-init` is for."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maw.provision import first_contact
from tests.lab.running import ENVIRONMENT, lab_program

LISTING = Path(__file__).with_name("listing.py")
NOTEBOOK, WSL = "notebook", "notebook-wsl"
DRIVE = "/var/lib/windows/drive"
KEYS = f"{DRIVE}/ProgramData/ssh/administrators_authorized_keys"
HOST_KEY = f"{DRIVE}/ProgramData/ssh/ssh_host_ed25519_key.pub"


@dataclass
class BareNotebook:
    """A lab of one bare notebook, with a workspace that knows only its addresses."""

    folder: Path
    prefix: str = field(default_factory=lambda: f"e{secrets.token_hex(3)}")
    state: dict[str, Any] = field(default_factory=dict)

    def up(self) -> None:
        """Bring it up."""
        given = ["--only", NOTEBOOK, "--bare", NOTEBOOK]
        answer = lab_program("up", "--prefix", self.prefix, "--root", self.folder / "labs", *given, "--json")
        assert answer.returncode == 0, answer.stderr
        self.state = json.loads(answer.stdout)
        # Its keys are made by the verb under test.
        shutil.rmtree(self.workspace / "keys")
        (self.workspace / "known_hosts").unlink(missing_ok=True)

    def down(self) -> None:
        """Remove it."""
        answer = lab_program("down", "--prefix", self.prefix, "--root", self.folder / "labs")
        assert answer.returncode == 0, answer.stderr

    @property
    def workspace(self) -> Path:
        """The workspace."""
        return Path(self.state["workspace"])

    @property
    def environment(self) -> dict[str, str]:
        """The developer's environment, with maw using this workspace."""
        return {**ENVIRONMENT, "MAW_WORKSPACE": str(self.workspace), "NO_COLOR": "1"}

    def lxc(self, *arguments: str | Path, stdin: bytes = b"") -> bytes:
        """Run `lxc` on this lab's daemon."""
        where = {"LXD_DIR": self.state["lxd_dir"], "LXD_CONF": str(self.folder / "lxc")}
        answer = subprocess.run(
            ["lxc", *map(str, arguments)],
            env={**ENVIRONMENT, **where},
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    @property
    def instance(self) -> str:
        """LXD's name of the notebook."""
        return str(self.state["machines"][NOTEBOOK]["instance"])

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        return self.lxc("file", "pull", f"{self.instance}{path}", "-")

    def write(self, path: str, content: bytes) -> None:
        """Write a file."""
        where = f"{self.instance}{path}"
        self.lxc("file", "push", "-", where, "--create-dirs", "--mode", "0644", stdin=content)

    def verb(self, *argv: str | Path, program: str = "cutter") -> subprocess.CompletedProcess[str]:
        """Run a verb of maw to its end."""
        return subprocess.run(
            self.argv(*argv, program=program),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    @staticmethod
    def argv(*argv: str | Path, program: str = "cutter") -> list[str]:
        """Return a verb's command."""
        return [sys.executable, "-c", f"from maw.cli import {program}; {program}()", *map(str, argv)]

    def first_contact(self, line: str) -> str:
        """Play the person who pastes the line; return the fingerprint that it prints.

        PowerShell is not here: what its script would write, the keys' lines, is taken out of it.
        """
        script = first_contact.unpacked(line)
        lines = re.findall(r"^\$(?:Admin|Bridge)Line = '(.*)'$", script, re.MULTILINE)
        assert len(lines) == 2, script
        self.write(KEYS, "".join(f"{one}\r\n" for one in lines).encode())
        path = self.folder / "host_key.pub"
        path.write_bytes(self.read(HOST_KEY))
        answer = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True)
        return answer.stdout.split()[1]

    def listing(self) -> dict[str, Any]:
        """Return what is on its disk, by path."""
        self.lxc("file", "push", LISTING, f"{self.instance}/run/listing.py")
        self.lxc("exec", self.instance, "--", "sh", "-c", "python3 -I /run/listing.py > /run/listing.json")
        lines = self.read("/run/listing.json").decode("utf-8", "replace").splitlines()
        return {entry[0]: entry[1:] for entry in map(json.loads, lines)}

    def windows(self) -> dict[str, Any]:
        """Return what the stand-in for Windows keeps, without what counts starts and connections."""
        return json.loads(self.read("/var/lib/windows/state.json"))

    def lxd(self) -> dict[str, Any]:
        """Return what LXD in it has."""
        found = {}
        for kind in ("instances", "profiles", "networks", "storage-pools", "images"):
            said = b""
            while not said.strip():
                # LXD 5.0 drops the output of a fast command now and then.
                own = ("--env", "LXD_CONF=/run/lxc-of-the-test")
                said = self.lxc("exec", *own, self.instance, "--", "lxc", "query", f"/1.0/{kind}")
            found[kind] = json.loads(said)
        return found


def distro_image(folder: Path) -> Path:
    """Return an archive that `wsl --import` takes; the stand-in does not unpack it."""
    path = folder / "rootfs.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("etc")
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    return path


def wsl_package(folder: Path) -> Path:
    """Return a file that the stand-in takes for WSL's MSI."""
    path = folder / "wsl.2.7.14.0.x64.msi"
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + os.urandom(2048))
    return path
