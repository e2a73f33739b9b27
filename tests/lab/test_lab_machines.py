"""The machines of the lab, over the one generated config: ssh, ansible, rsync, sftp, cutter, LXD in LXD."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab
ANSIBLE = str(Path(sys.executable).parent / "ansible")
WSL = "notebook-wsl"
WINDOWS = "notebook"


@pytest.fixture(autouse=True)
def notebook_there(lab):
    if WINDOWS not in lab.state["machines"]:
        pytest.skip("this lab has no notebook: make lab SATELLITES=1")


def test_every_machine_answers_over_ssh_with_all_of_systemd_running(lab):
    assert {"server", "pve", WSL} <= set(lab.hosts)
    for host in lab.hosts:
        answer = lab.ssh(host, "systemctl", "is-system-running", "--wait")
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"running\n", b""), host


def test_every_machine_is_another_one(lab):
    said = {host: lab.ssh(host, "hostname; cat /etc/machine-id").stdout.split() for host in lab.hosts}
    names = {host: words[0].decode() for host, words in said.items()}
    assert names["server"] == "core"
    assert names["pve"] == "pve"
    assert names[WSL] == "notebook"
    assert len({words[1] for words in said.values()}) == len(lab.hosts)


def test_the_windows_side_answers_as_windows(lab):
    answer = lab.ssh(WINDOWS, "ver")
    assert answer.returncode == 0, answer.stderr
    assert b"Microsoft Windows" in answer.stdout


def test_the_bridge_key_starts_nothing_but_an_sshd_of_the_wsl(lab):
    answer = lab.ssh(f"{WINDOWS}-bridge", "echo", "hello")
    assert answer.stdout.startswith(b"SSH-2.0-OpenSSH")
    assert b"hello" not in answer.stdout


def test_windows_and_wsl_have_different_host_keys_and_both_are_pinned(lab):
    lines = [line.split() for line in (lab.workspace / "known_hosts").read_text("utf-8").splitlines()]
    pinned = {words[0]: words[2] for words in lines}
    assert len(set(pinned.values())) == len(pinned) == len(lab.hosts) + len(_notebooks(lab))
    inside = lab.run("lxc", "file", "pull", f"{_instance(lab)}/etc/ssh/ssh_host_ed25519_key.pub", "-")
    assert inside.stdout.split()[1].decode() == pinned[WSL]


def _notebooks(lab) -> list[str]:
    return [name for name, machine in lab.state["machines"].items() if "wsl" in machine]


def _instance(lab) -> str:
    return lab.state["machines"][WINDOWS]["instance"]


def test_nothing_listens_in_the_wsl(lab):
    units = lab.ssh(WSL, "systemctl", "is-enabled", "ssh.service", "ssh.socket")
    assert units.stdout.split() == [b"masked", b"masked"]


def test_ansible_pings_every_linux_machine(lab):
    answer = lab.run(
        ANSIBLE, "-i", lab.workspace / "inventory", "-m", "ping", "all:!windows", cwd=lab.workspace
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count(b'"ping": "pong"') == len(lab.hosts)
    assert b"WARNING" not in answer.stderr


def test_ansible_gathers_facts_of_the_wsl(lab):
    answer = lab.run(ANSIBLE, "-i", lab.workspace / "inventory", "-m", "setup", WSL, cwd=lab.workspace)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    facts = json.loads(answer.stdout.partition(b"=>")[2])["ansible_facts"]
    assert facts["ansible_hostname"] == "notebook"
    assert facts["ansible_distribution"] == "Debian"
    assert facts["ansible_service_mgr"] == "systemd"
    assert facts["ansible_user_id"] == "root"


def _attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in _names(path)}


def _names(path: Path) -> list[str]:
    # Access lists are attributes to the kernel: system.posix_acl_access.
    return sorted(os.listxattr(path, follow_symlinks=False))


def _entries(root: Path) -> dict[bytes, tuple]:
    """Everything that rsync -aHAX promises of each entry, with hard links as groups of names."""
    linked: dict[tuple[int, int], list[bytes]] = {}
    paths = sorted(root.rglob("*"))
    for path in paths:
        status = path.lstat()
        linked.setdefault((status.st_dev, status.st_ino), []).append(os.fsencode(path.relative_to(root)))
    found = {}
    for path in paths:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        target = str(path.readlink()) if path.is_symlink() else ""
        same = tuple(linked[status.st_dev, status.st_ino])
        found[os.fsencode(path.relative_to(root))] = (
            *(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns),
            *(content, target, same, _attributes(path)),
        )
    return found


def _tree(root: Path) -> None:
    (root / "งานวิจัย" / ("ก" * 20)).mkdir(parents=True)
    (root / "งานวิจัย" / "บันทึก ไฟดับ.txt").write_text("ไฟดับตอนสามทุ่ม\n", "utf-8")
    (root / "a b'c\"$(id)&%PATH%^!.bin").write_bytes(secrets.token_bytes(100_000))
    (root / os.fsdecode(b"no-utf8-\xff\xfe")).write_bytes(b"\0\x1a\r\n")
    (root / "empty").touch()
    for number in range(5):
        (root / f"link{number}").hardlink_to(root / "empty")
    (root / "dangling").symlink_to("nowhere/ไทย")
    os.mkfifo(root / "pipe")
    sparse = root / "sparse"
    with sparse.open("wb") as file:
        file.truncate(1_000_000)
    os.setxattr(root / "empty", "user.สี", "แดง".encode())
    os.chown(root / "sparse", 1234, 4321)
    (root / "sparse").chmod(0o2751)
    for path, entry in (("empty", "u:1234:rw"), ("งานวิจัย", "d:u:4321:rwx")):
        subprocess.run(["setfacl", "-m", entry, str(root / path)], check=True)
    # In the past: rsync leaves the time of a folder or link alone that is right to the second.
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_234_567_890_123_456_789 + number * 10**9), follow_symlinks=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="owners of files need root")
def test_rsync_keeps_links_lists_attributes_and_thai_names_there_and_back(lab, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    there.mkdir()
    _tree(there)
    remote = f"/root/rsync-{secrets.token_hex(4)}"
    shell = f"ssh -F {lab.config}"
    try:
        for source, target in ((f"{there}/", f"{WSL}:{remote}/"), (f"{WSL}:{remote}/", f"{back}/")):
            answer = lab.run("rsync", "-aHAX", "--numeric-ids", "-e", shell, source, target)
            assert (answer.returncode, answer.stderr) == (0, b"")
        listed = lab.ssh(WSL, "find", remote, "-mindepth", "1", "-print0").stdout
        assert listed.count(b"\0") == len(_entries(there)) > 12
    finally:
        lab.ssh(WSL, "rm", "-rf", remote)
    assert _entries(back) == _entries(there)


def test_sftp_moves_files_both_ways(lab, tmp_path):
    data = secrets.token_bytes(300_000)
    (tmp_path / "ไป.bin").write_bytes(data)
    name = f"/root/sftp-{secrets.token_hex(4)}"
    batch = f'put "{tmp_path}/ไป.bin" {name}\nget {name} "{tmp_path}/back"\nrm {name}\n'
    answer = lab.run("sftp", "-F", lab.config, "-b", "-", WSL, input=batch.encode())
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "back").read_bytes() == data


def test_a_container_runs_inside_the_wsl(lab):
    name = f"t{secrets.token_hex(4)}"
    try:
        made = lab.ssh(WSL, "lxc", "launch", "busybox", name, "--quiet", "</dev/null")
        assert made.returncode == 0, made.stderr
        assert lab.says(WSL, "lxc", "exec", name, "--", "hostname").strip() == name
        state = json.loads(lab.ssh(WSL, "lxc", "query", f"/1.0/instances/{name}").stdout)
        assert state["status"] == "Running"
    finally:
        gone = lab.ssh(WSL, "lxc", "delete", "--force", name)
    assert gone.returncode == 0, gone.stderr


def test_cutter_shows_the_machines_of_the_lab(lab, lab_workspace, cutter_command):
    answer = cutter_command("nodes", "--json")
    nodes = {node["name"]: node for node in json.loads(answer.stdout)["nodes"]}
    for host in lab.hosts:
        assert nodes[host]["state"] == "up", nodes[host]


def test_a_copy_of_the_workspace_leaves_the_labs_own_config_alone(lab, lab_workspace, cutter_command):
    before = Path(lab.config).read_bytes()
    answer = cutter_command("ssh-config")
    assert answer.stdout.decode().strip() == str(lab_workspace / ".maw" / "ssh_config")
    assert Path(lab.config).read_bytes() == before
