"""Changing keys everywhere, interrupted wherever it may be."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maw.cli.workspace import create
from maw.config import SshSettings, Workspace
from maw.errors import DiskFull, HostKeyChanged, HostKeyUnknown, KeysError, RotationUnfinished
from maw.transport import authorized, far, keypairs, keys, places, rotation, ssh_config
from maw.transport.loopback import find_sshd
from maw.transport.rotation import Move, next_move
from tests.transport import rotating
from tests.transport.cluster import Cluster, Satellite, login, notebooks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.windows import WindowsNotebook

__all__ = ["notebooks"]
needs_sshd = pytest.mark.skipif(find_sshd() is None, reason="no sshd program is installed here")
FOREIGN = "# kept\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ== another\r\n\n"


@pytest.fixture
def linux(tmp_path: Path) -> Iterator[tuple[Cluster, Satellite]]:
    """A workspace with one plain Linux host, which knows the key `admin` and others."""
    if find_sshd() is None:
        pytest.skip("no sshd program is installed here")
    with Satellite(tmp_path / "satellite", name="server") as server:
        space = Workspace(tmp_path / "workspace")
        create(space.root)
        variables = {"maw_addresses": ["127.0.0.1"], "ansible_port": server.port}
        inventory = {"core": {"hosts": {"server": variables}}}
        (space.inventory / "hosts.yml").write_text(json.dumps(inventory), "utf-8")
        keys.pin(space.known_hosts, "server", server.host_keys)
        keypairs.prepare(space.keys)
        with keypairs.locked(space.keys):
            keypairs.make(space.keys, "admin")
        public = (space.keys / "admin.pub").read_text("ascii")
        server.file.write_text(FOREIGN + "no-agent-forwarding " + public)
        server.file.chmod(0o640)
        yield Cluster(space), server


def test_the_next_move_is_told_from_the_files_alone() -> None:
    for current, coming, previous, begin in itertools.product((False, True), repeat=4):
        move = next_move(current, coming, previous, begin=begin)
        if not current:
            assert move is (Move.PROMOTE if coming and previous else Move.LOST)
        elif previous:
            # What is half removed is removed first, whatever else was begun.
            assert move is Move.CLEAN
        elif coming:
            assert move is Move.SPREAD
        else:
            assert move is (Move.MAKE if begin else Move.DONE)


@pytest.mark.parametrize("halt", range(1, 8))
def test_renaming_keys_goes_on_wherever_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halt: int
) -> None:
    keypairs.prepare(tmp_path)
    keypairs.make(tmp_path, "bridge")
    keypairs.make(tmp_path, "bridge", ".next")
    old, new = (keypairs.load(tmp_path / name) for name in ("bridge", "bridge.next"))
    count = itertools.count(1)
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if next(count) == halt:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    try:
        keypairs.promote(tmp_path, "bridge")
    except KeyboardInterrupt:
        assert halt <= 4
        for stage in keypairs.STAGES:
            found = keypairs.load(tmp_path / f"bridge{stage}")
            # ssh would offer the wrong key.
            assert found is None or found.beside in (None, found.key)
        has = keypairs.stages(tmp_path, "bridge")
        assert {one.key for one in has} == {old.key, new.key} if old and new else False
        move = next_move(bool(has.current), bool(has.next), bool(has.previous), begin=False)
        assert move in (Move.SPREAD, Move.PROMOTE)
        keypairs.promote(tmp_path, "bridge")
    assert old is not None
    assert new is not None
    has = keypairs.stages(tmp_path, "bridge")
    assert has.current is not None
    assert has.previous is not None
    assert (has.current.key, has.next, has.previous.key) == (new.key, None, old.key)
    assert has.current.beside == new.key


@needs_sshd
def test_the_key_is_changed_and_all_else_in_the_file_stays(linux: tuple[Cluster, Satellite]) -> None:
    cluster, server = linux
    old = cluster.key()
    told: list[str] = []
    new, was = cluster.rotation(tell=told.append).run()
    assert (was, new) == (old, cluster.key())
    assert new != old
    assert (
        server.file.read_bytes().decode()
        == f"{FOREIGN}no-agent-forwarding {new.kind} {new.base64} maw-admin\n"
    )
    assert server.file.stat().st_mode & 0o777 == 0o640
    assert (server.folder / "home/.ssh/authorized_keys").is_symlink()
    assert cluster.stages() == ["admin"]
    assert (cluster.workspace.keys / "admin").stat().st_mode & 0o777 == 0o600
    assert login(cluster.ordinary_config(), "server")
    assert sum("logging in with the new key alone" in line for line in told) == 2
    assert not list(server.folder.glob("*.maw-*"))
    assert not list(cluster.workspace.state.glob("ssh_config-only-*"))


@needs_sshd
def test_killed_before_each_of_its_actions_on_a_plain_host_it_never_locks_out(
    linux: tuple[Cluster, Satellite],
) -> None:
    cluster, _ = linux
    _kill_at_each_step(cluster, "admin", ["server"], step=7)


def _kill_at_each_step(
    cluster: Cluster, purpose: str, names: list[str], *, step: int = 1, more: int = 0
) -> int:
    """Kill a rotation before every `step`th of its actions, `more` times at any moment; count the kills."""
    ordinary = cluster.ordinary_config()
    whole = cluster.rotate_in_a_process(purpose)
    assert whole.returncode == 0, whole.stderr
    actions = int(whole.stdout)
    kills = 0
    for last in [*range(1, actions + 1, step), *([-1] * more)]:
        before = cluster.key(purpose)
        if last > 0:
            killed = cluster.rotate_in_a_process(purpose, last)
            assert killed.returncode == -9, killed.stderr
        else:
            _kill_at_some_moment(cluster, purpose)
        kills += 1
        for name in names:
            assert login(ordinary, name), f"locked out of {name} by a kill before action {last}"
        again = cluster.rotate_in_a_process(purpose)
        assert again.returncode == 0, again.stderr
        assert cluster.stages(purpose) == [purpose]
        assert cluster.key(purpose) != before or last < 0 or last >= actions - 1
        for name in names:
            assert login(ordinary, name), f"locked out of {name} after the rotation went on"
    return kills


def _kill_at_some_moment(cluster: Cluster, purpose: str) -> None:
    source = Path(rotating.__file__).parents[2]
    argv = [sys.executable, rotating.__file__, str(cluster.workspace.root), purpose, "0"]
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    try:
        process.wait(timeout=random.uniform(0.2, 2.5))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@needs_sshd
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_rotations_killed_at_every_step_never_lock_out_of_a_notebook(
    notebooks: list[tuple[Cluster, WindowsNotebook]],
) -> None:
    (first, _), (second, _) = notebooks
    names = ["notebook", "notebook-wsl"]
    with ThreadPoolExecutor(2) as pool:
        bridge = pool.submit(_kill_at_each_step, first, "bridge", names, more=7)
        admin = pool.submit(_kill_at_each_step, second, "admin", names, more=6)
        assert bridge.result() + admin.result() >= 100
    for cluster, notebook in notebooks:
        assert not list(cluster.workspace.state.glob("*keys-*"))
        file = notebook.drive / "ProgramData/ssh/administrators_authorized_keys"
        entries = authorized.entries(file.read_bytes())
        assert {entry.key for entry in entries} == {cluster.key("admin"), cluster.key("bridge")}
        assert len(entries) == 2
        assert sorted(path.name for path in file.parent.glob("*.maw-*")) == []
        assert notebook.acl(file) == "O:BAD:PAI(A;;FA;;;BA)(A;;FA;;;SY)"


@needs_sshd
def test_a_host_that_is_down_stops_the_change_before_anything_is_removed(
    linux: tuple[Cluster, Satellite], free_port: int
) -> None:
    cluster, server = linux
    before = server.file.read_bytes()
    (up,) = cluster.context.topology.hosts
    down = replace(up, name="attic", port=free_port)
    keys.pin(cluster.workspace.known_hosts, "attic", server.host_keys)
    context = cluster.context
    ssh_config.write([up, down], context.settings.ssh, context.ssh_paths)
    changing = cluster.rotation(hosts=[up, down])
    ssh_config.write([up, down], context.settings.ssh, changing.line.where)
    with pytest.raises(RotationUnfinished, match=r"attic.*nothing of it was removed anywhere"):
        changing.run()
    assert cluster.stages() == ["admin", "admin.next"]
    assert before.strip() in server.file.read_bytes()
    assert login(cluster.ordinary_config(), "server")
    # It is no more in the inventory: the same command goes on.
    coming = cluster.key(stage=".next")
    assert cluster.rotation().run()[0] == coming


@needs_sshd
def test_a_host_that_goes_down_after_that_keeps_the_old_key_here(linux: tuple[Cluster, Satellite]) -> None:
    cluster, server = linux

    def tell(what: str) -> None:
        if what == "renaming admin.next":
            server.stop()

    with pytest.raises(RotationUnfinished, match=r"server.*admin\.previous is kept"):
        cluster.rotation(tell=tell).run()
    assert cluster.stages() == ["admin", "admin.previous"]
    text = server.file.read_bytes()
    # Starting writes the file anew, as a reinstalled host would: put back what was there.
    server.start()
    server.file.write_bytes(text)
    cluster.rotation().run()
    assert cluster.stages() == ["admin"]
    assert len(authorized.entries(server.file.read_bytes())) == 2


@needs_sshd
def test_a_proof_does_not_ride_on_a_connection_that_is_there(linux: tuple[Cluster, Satellite]) -> None:
    cluster, server = linux
    where = cluster.context.ssh_paths
    assert login(where.config, "server")
    # The file that is changed is not the one that its sshd reads.
    link = server.folder / "home" / ".ssh" / "authorized_keys"
    link.unlink()
    shutil.copy(server.file, link)
    before = server.file.read_bytes()
    with pytest.raises(RotationUnfinished, match="refused to log in"):
        cluster.rotation().run()
    assert server.file.read_bytes() == before
    assert cluster.stages() == ["admin", "admin.next"]


@needs_sshd
def test_the_old_key_is_put_back_when_the_new_one_suddenly_fails(linux: tuple[Cluster, Satellite]) -> None:
    cluster, server = linux
    old = cluster.key()
    log_ins = itertools.count(1)

    def tell(what: str) -> None:
        if "alone" in what and next(log_ins) == 2:
            assert authorized.of_key(server.file.read_bytes(), old) == ()
            shutil.copy(cluster.workspace.keys / "admin.pub", server.folder / "revoked")

    with pytest.raises(RotationUnfinished, match="refused to log in"):
        cluster.rotation(tell=tell).run()
    assert authorized.of_key(server.file.read_bytes(), old)
    assert cluster.stages() == ["admin", "admin.previous"]
    assert login(cluster.ordinary_config(), "server")
    (server.folder / "revoked").write_text("")
    cluster.rotation().run()
    assert authorized.of_key(server.file.read_bytes(), old) == ()


@needs_sshd
def test_a_host_without_the_key_is_named_and_nothing_is_added_there(linux: tuple[Cluster, Satellite]) -> None:
    cluster, server = linux
    with keypairs.locked(cluster.workspace.keys):
        keypairs.make(cluster.workspace.keys, "bridge")
    text = server.file.read_bytes()
    target = places.targets(
        [places.Place(cluster.context.topology.host("server"), places.Kind.LINUX, ("admin",))], "admin"
    )
    changing = cluster.rotation()
    changing.purpose = "bridge"
    changing.targets = target
    with pytest.raises(RotationUnfinished, match="the key bridge is not in ~/"):
        changing.run()
    assert server.file.read_bytes() == text


@needs_sshd
def test_a_full_disk_there_leaves_the_file_as_it_is(
    linux: tuple[Cluster, Satellite], small_disk: Path
) -> None:
    cluster, server = linux
    shutil.copy(server.file, small_disk / "authorized_keys")
    (server.folder / "home/.ssh/authorized_keys").unlink()
    (server.folder / "home/.ssh/authorized_keys").symlink_to(small_disk / "authorized_keys")
    server.file.unlink()
    server.file.symlink_to(small_disk / "authorized_keys")
    before = server.file.read_bytes()
    with pytest.raises(OSError, match="No space"), (small_disk / "much").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    place = places.places(cluster.context.topology.hosts, cluster.context.settings.ssh)[0]
    line = far.Line(cluster.context.ssh_paths, cluster.context.settings.ssh)
    held = places.hold(line, place)
    with pytest.raises(DiskFull, match="server"):
        places.replace(line, place, held, before + b"# more\n" * 1000)
    assert server.file.read_bytes() == before
    assert sorted(path.name for path in small_disk.iterdir()) == ["authorized_keys", "much"]


@needs_sshd
def test_a_file_that_was_changed_meanwhile_is_left(linux: tuple[Cluster, Satellite]) -> None:
    cluster, server = linux

    def tell(what: str) -> None:
        if "writing" in what:
            with server.file.open("a") as file:
                file.write("# somebody was faster\n")

    with pytest.raises(RotationUnfinished, match="changed meanwhile"):
        cluster.rotation(tell=tell).run()
    assert server.file.read_text().endswith("# somebody was faster\n")
    cluster.rotation().run()
    assert server.file.read_text().endswith("# somebody was faster\n")


@needs_sshd
def test_rights_that_are_too_wide_are_seen_and_mended(linux: tuple[Cluster, Satellite]) -> None:
    cluster, server = linux
    server.file.chmod(0o666)
    told: list[str] = []
    cluster.rotation(tell=told.append).run()
    assert any("others may write to the file (mode 666)" in line for line in told)
    assert server.file.stat().st_mode & 0o777 == 0o644


@needs_sshd
def test_two_rotations_at_once_are_kept_apart(linux: tuple[Cluster, Satellite]) -> None:
    cluster, _ = linux
    with (
        keypairs.locked(cluster.workspace.keys),
        pytest.raises(KeysError, match="in use"),
        keypairs.locked(cluster.workspace.keys, seconds=0.1),
    ):
        pytest.fail("both were let in")


@needs_sshd
def test_what_a_killed_rotation_started_still_holds_the_lock(linux: tuple[Cluster, Satellite]) -> None:
    cluster, _ = linux
    context = cluster.context
    with keypairs.locked(cluster.workspace.keys) as lock:
        line = far.Line(context.ssh_paths, context.settings.ssh, lock)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(line.run, context.topology.host("server"), "sleep 1.5")
            with pytest.raises(KeysError), keypairs.locked(cluster.workspace.keys, seconds=0.3):
                pytest.fail("both were let in")
            assert running.result().status == 0
    # The connection that stays open in the background does not hold it.
    with keypairs.locked(cluster.workspace.keys, seconds=0):
        pass


@needs_sshd
def test_an_unknown_host_key_stops_everything(linux: tuple[Cluster, Satellite]) -> None:
    cluster, server = linux
    before = server.file.read_bytes()
    keys.pin(cluster.workspace.known_hosts, "server", ())
    with pytest.raises(HostKeyUnknown):
        cluster.rotation().run()
    keys.pin(cluster.workspace.known_hosts, "server", [cluster.key()])
    with pytest.raises(HostKeyChanged):
        cluster.rotation().run()
    assert server.file.read_bytes() == before


@needs_sshd
def test_a_plan_changes_nothing_and_says_what_it_could_not_look_at(linux: tuple[Cluster, Satellite]) -> None:
    cluster, server = linux
    before = server.file.read_bytes()
    move, planned = cluster.rotation().plan()
    assert move is Move.MAKE
    assert [(one.host, one.adds, one.removes, one.error) for one in planned] == [("server", True, True, None)]
    assert server.file.read_bytes() == before
    assert cluster.stages() == ["admin"]
    server.stop()
    for name in cluster.context.ssh_paths.sockets.iterdir():
        subprocess.run(
            ["ssh", "-F", "/dev/null", "-o", f"ControlPath={name}", "-O", "exit", "nobody"],
            capture_output=True,
            check=False,
        )
    _, planned = cluster.rotation().plan()
    assert planned[0].error is not None


def test_lost_keys_are_said_so(tmp_path: Path) -> None:
    keypairs.prepare(tmp_path)
    line = far.Line(ssh_config.Paths(tmp_path / "c", tmp_path / "k", tmp_path / "s"), SshSettings())
    changing = rotation.Rotation(tmp_path, "admin", line, [], [])
    with pytest.raises(KeysError, match="is not there"):
        changing.run()
    keypairs.make(tmp_path, "admin", ".previous")
    with pytest.raises(KeysError, match=r"admin\.previous is there. Rename"):
        changing.run()
