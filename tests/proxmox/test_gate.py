"""All that mirrors ask a Proxmox server, through a real sshd that runs the gate for the mirror's key."""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maw import config
from maw.cli import sites
from maw.cli.workspace import Context, create
from maw.config import Workspace
from maw.errors import AuthenticationRefused, CannotRead, ModeRefused, NoSuchContainer, ProxmoxError
from maw.mirror.sources import NodeArchive
from maw.mirror.vzdump import VzdumpStream
from maw.transport import gate, keys
from maw.transport.loopback import LoopbackSatellite, find_sshd
from tests.fakes.proxmox.node import FakeNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Command = Callable[..., subprocess.CompletedProcess[bytes]]

PROGRAM = Path(__file__).resolve().parents[2] / "roles" / "proxmox_access" / "files" / "maw_pve_gate.py"


@dataclass
class Node:
    """A played node, whose sshd lets the mirror's key do what the gate allows."""

    fake: FakeNode
    server: LoopbackSatellite
    space: Workspace
    gate: Path

    @property
    def lines(self) -> Path:
        return self.server.folder / "authorized_keys"

    def context(self) -> Context:
        return Context(self.space, config.load(self.space.config_file))

    def let_in(self, *, admin: bool) -> None:
        """Let the mirror's key in, and the user's own if `admin`."""
        public = (self.space.keys / "mirror.pub").read_text("ascii")
        own = (self.server.folder / "client_key.pub").read_text("ascii") if admin else ""
        self.lines.write_text(f'{own}restrict,command="{self.gate}",from="127.0.0.1" {public}', "ascii")

    def ssh(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        argv = ["ssh", "-F", str(self.context().ssh_paths.config), "-o", "BatchMode=yes", *arguments]
        given = {
            "capture_output": True,
            "check": False,
            "timeout": 30,
            "stdin": subprocess.DEVNULL,
            **options,
        }
        return subprocess.run(argv, **given)


@pytest.fixture
def node(
    runtime_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cutter_command: Command
) -> Iterator[Node]:
    reason = FakeNode.available() or (None if find_sshd() else "no sshd program is installed here")
    if reason is not None:
        pytest.skip(reason)
    folder = runtime_root / f"gate-{secrets.token_hex(3)}"
    fake = FakeNode(folder / "node")
    fake.add_container(101, running=True)
    copy = folder / "maw-pve-gate"
    found = f'PATH = "{fake.programs}:/usr/sbin:/usr/bin:/sbin:/bin"'
    copy.write_text(re.sub(r'^PATH = ".*"$', found, PROGRAM.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    copy.chmod(0o755)
    space = Workspace(tmp_path / "space")
    create(space.root)
    monkeypatch.setenv("MAW_WORKSPACE", str(space.root))
    with LoopbackSatellite(folder / "sshd", name="pve") as server:
        host = {
            "maw_addresses": [server.address],
            "ansible_port": server.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(server.identity),
        }
        (space.inventory / "hosts.yml").write_text(json.dumps({"proxmox": {"hosts": {"pve": host}}}), "utf-8")
        keys.pin(space.known_hosts, "pve", server.host_keys)
        assert cutter_command("keys", "make", "--key", "mirror").returncode == 0
        yield Node(fake, server, space, copy)
    shutil.rmtree(folder, ignore_errors=True)


def test_the_mirrors_key_is_enough_for_all_that_mirrors_ask(node: Node) -> None:
    node.let_in(admin=False)
    with sites.open_proxmox(node.context()) as (proxmox, transport):
        assert proxmox.host == "pve"
        assert [one.vmid for one in proxmox.containers()] == [101]
        assert proxmox.config(101).values["hostname"] == "ct101"
        assert proxmox.status(101).status == "running"
        assert proxmox.supports_snapshot(101)[0] is False
        with pytest.raises(NoSuchContainer):
            proxmox.config(999)
        lines: list[str] = []
        end = proxmox.wait(proxmox.start_backup(101, "local", "stop", "zstd"), lines.append)
        assert (end.status, any("Total bytes written" in line for line in lines)) == ("OK", True)
        archive = proxmox.archives(101)[0]
        source = NodeArchive(transport, proxmox.archive_path(archive.volid), size=archive.size)
        size = 0
        while data := source.read():
            size += len(data)
        source.finish(size)
        assert (size > 10_000, source.notes) == (True, [])
        with pytest.raises(CannotRead, match="No such file"):
            NodeArchive(transport, f"{node.fake.folder}/dump/vzdump-lxc-101-2020_01_01-00_00_00.tar", size=1)


def test_a_stream_comes_whole_and_a_mode_that_is_refused_is_stopped(node: Node) -> None:
    node.let_in(admin=False)
    with sites.open_proxmox(node.context()) as (_, transport):
        stream = VzdumpStream(transport, 101, "suspend", lock_seconds=60, running=True)
        size = 0
        while data := stream.read():
            size += len(data)
        stream.finish(size)
        refused = VzdumpStream(transport, 101, "snapshot", lock_seconds=60, running=True)
        with pytest.raises(ModeRefused):
            while refused.read():
                pass
        refused.stop()


def backups(folder: Path) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in status.read_bytes() and b"vzdump" in status.read_bytes():
                found.append(int(status.parent.name))
        except OSError:
            continue
    return found


def test_a_cut_link_leaves_no_backup_running_on_the_node(
    node: Node, within: Callable[[float, Callable[[], Any]], Any]
) -> None:
    node.let_in(admin=False)
    node.fake.fault("slow", 20_000)
    with sites.open_proxmox(node.context()) as (_, transport):
        stream = VzdumpStream(transport, 101, "stop", lock_seconds=60, running=True)
        assert stream.read()
        assert backups(node.fake.folder)
        # As the kernel would end it: no word to the other side.
        guard_process = transport._guard  # type: ignore[attr-defined]
        os.killpg(guard_process._process.pid, 9)
        node.ssh("-O", "exit", "pve-mirror")
        assert within(15, lambda: not backups(node.fake.folder))
        stream.stop()


def test_the_key_opens_nothing_else(node: Node) -> None:
    node.let_in(admin=False)
    for words in ([], ["id"], ["pvesh get /nodes --output-format json; id"], ["cat -- /etc/shadow"]):
        answer = node.ssh("-T", "pve-mirror", *words)
        assert (answer.returncode, answer.stdout) == (126, b""), words
        assert b"maw-pve-gate: refused" in answer.stderr
    fresh = ("-o", "ControlPath=none")
    assert node.ssh(*fresh, "-W", f"127.0.0.1:{node.server.port}", "pve-mirror").returncode == 255
    forward = ("-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22")
    assert node.ssh(*fresh, *forward, "pve-mirror").returncode == 255
    assert b"PTY allocation request failed" in node.ssh(*fresh, "-tt", "pve-mirror").stderr
    # Over the same connection, which was opened for something else.
    assert node.ssh("-s", "pve-mirror", "sftp").returncode == 126


def test_without_the_key_mirrors_go_with_the_one_that_is_there(node: Node) -> None:
    node.let_in(admin=True)
    (node.space.keys / "mirror").unlink()
    with sites.open_proxmox(node.context()) as (_, transport):
        assert transport.run(["id"]).ok


def test_a_key_that_is_not_let_in_is_said_with_the_way_to_look(node: Node) -> None:
    with (
        pytest.raises(AuthenticationRefused, match="cutter keys check pve"),
        sites.open_proxmox(node.context()) as (proxmox, _),
    ):
        proxmox.containers()


def test_a_refusal_reaches_the_person_in_the_gates_words(node: Node) -> None:
    node.let_in(admin=False)
    with (
        sites.open_proxmox(node.context()) as (proxmox, _),
        pytest.raises(ProxmoxError, match="gate: refused"),
    ):
        proxmox._api.get("/access/users")


def test_the_key_is_shown_checked_and_changed_like_the_others(
    node: Node, cutter_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = json.loads(cutter_command("keys", "show", "pve", "--key", "mirror", "--json").stdout)["places"]
    public = (node.space.keys / "mirror.pub").read_text("ascii").split()[1]
    expected = f'restrict,command="{gate.PROGRAM}",from="127.0.0.1" ssh-ed25519 {public} maw-mirror'
    assert [one["lines"] for one in shown] == [[expected]]
    given = cutter_command("keys", "show", "pve", "--key", "mirror", "--core-address", "192.168.1.129")
    assert b'from="192.168.1.129"' in given.stdout
    assert b"role proxmox_access" in given.stdout
    # The files of keys are read in the account's home.
    home = node.server.folder / "home" / ".ssh"
    home.mkdir(mode=0o700)
    node.let_in(admin=True)
    (home / "authorized_keys").write_bytes(node.lines.read_bytes())
    node.lines.unlink()
    node.lines.symlink_to(home / "authorized_keys")
    check = json.loads(cutter_command("keys", "check", "pve", "--json").stdout)
    (line,) = [one for one in check["places"][0]["keys"] if one["key"] == "mirror"]
    assert line["problems"] == [f"its command is not the gate ({gate.PROGRAM})"]
    answer = cutter_command("keys", "rotate", "--key", "mirror", "--json")
    assert answer.returncode == 0, answer.stderr.decode()
    after = (node.space.keys / "mirror.pub").read_text("ascii").split()[1]
    text = (home / "authorized_keys").read_text("ascii")
    assert after != public
    assert (public in text, text.count(after), text.count(str(node.gate))) == (False, 1, 1)
    assert not list(node.space.keys.glob("mirror.*[!b]"))
