"""The script that opens the way into a WSL distro, run by real shells in a throw-away copy of this system."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from tests.roles.wsl_copy import (
    BRIDGE,
    KEY,
    KEYS,
    LINE,
    OTHER,
    SCRIPT,
    SETTINGS,
    Distro,
    make,
    shell,
    slow_keys,
)

__all__ = ["make", "shell", "slow_keys"]


def test_a_fresh_distro_becomes_ready(make: Callable[..., Distro], shell: list[str]) -> None:
    distro = make(shell)
    answer = distro.bootstrap()
    assert answer["ok"], answer
    assert answer["exit"] == 0
    assert answer["stderr"] == ""
    assert distro.read(BRIDGE) == SETTINGS.encode()
    assert distro.read(KEYS) == f"{LINE}\n".encode()
    assert distro.read("/etc/tmpfiles.d/maw-sshd.conf") == b"d /run/sshd 0755 root root -\n"
    public = distro.read("/etc/ssh/ssh_host_ed25519_key.pub")
    assert public is not None
    assert public.decode().split()[:2] == answer["host_key"].split()
    stat = distro.run("stat", "-c", "%a %U", "/root/.ssh", KEYS, "/etc/ssh/ssh_host_ed25519_key").stdout
    assert stat.split() == ["700", "root", "600", "root", "600", "root"]


def test_the_second_run_changes_nothing(make: Callable[..., Distro], shell: list[str]) -> None:
    distro = make(shell)
    first = distro.bootstrap()
    (distro.folder / "with-run").touch()
    second = distro.bootstrap()
    assert second["changed"] == [], second
    assert second["host_key"] == first["host_key"]


def test_looking_changes_nothing_and_tells_all(make: Callable[..., Distro], shell: list[str]) -> None:
    distro = make(shell)
    answer = distro.bootstrap("look")
    assert answer["ok"], answer
    assert {BRIDGE, KEYS, "/etc/tmpfiles.d/maw-sshd.conf", "/run/sshd", "host keys"} <= set(answer["changed"])
    for path in (BRIDGE, KEYS, "/etc/tmpfiles.d", "/etc/ssh/ssh_host_ed25519_key", "/var/lib/maw"):
        assert distro.run("test", "-e", path).returncode == 1, path


def test_removing_leaves_what_was_there_before(make: Callable[..., Distro], shell: list[str]) -> None:
    distro = make(shell)
    listing = ("find", "/etc", "/root", "!", "-type", "d", "-newer", "/etc/ssh/sshd_config")
    before = distro.run(*listing).stdout
    distro.bootstrap()
    answer = distro.bootstrap("remove")
    assert answer["ok"], answer
    assert distro.run(*listing).stdout == before
    for path in ("/root/.ssh", "/etc/tmpfiles.d", "/etc/ssh/sshd_config.d", "/var/lib/maw"):
        assert distro.run("test", "-e", path).returncode == 1, path
    assert distro.bootstrap("remove")["changed"] == []


FILES = {
    "no final newline": (f"ssh-ed25519 {OTHER} hers", f"ssh-ed25519 {OTHER} hers\n{LINE}\n"),
    "windows line ends": (
        f"ssh-ed25519 {OTHER} hers\r\n{LINE}\r\n",
        f"ssh-ed25519 {OTHER} hers\r\n{LINE}\r\n",
    ),
    "another comment": (LINE.replace("maw-bridge", "mine") + "\n", LINE.replace("maw-bridge", "mine") + "\n"),
    "from= that locks out": (f'from="192.168.1.129",{LINE}\n', f"{LINE}\n"),
    "twice": (f"{LINE}\n# note\n{LINE}\nssh-ed25519 {OTHER}\n", f"{LINE}\n# note\nssh-ed25519 {OTHER}\n"),
    "a remark with the key": (f"# {LINE}\n", f"# {LINE}\n{LINE}\n"),
    "a longer key that begins like ours": (
        f"ssh-ed25519 {KEY}AAAA other\n",
        f"ssh-ed25519 {KEY}AAAA other\n{LINE}\n",
    ),
    "a mark of utf-8 before ours": (f"\ufeff{LINE}\n", f"{LINE}\n"),
    "empty": ("", f"{LINE}\n"),
    "blank lines and Thai": ("\n# ของฉัน\n\n", f"\n# ของฉัน\n\n{LINE}\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_other_lines_stay_and_ours_is_there_once(make: Callable[..., Distro], name: str) -> None:
    before, after = FILES[name]
    distro = make()
    distro.write(KEYS, before, 0o600)
    assert distro.bootstrap()["ok"]
    assert distro.read(KEYS) == after.encode()


def test_a_key_is_added_behind_bytes_that_are_no_text(make: Callable[..., Distro]) -> None:
    distro = make()
    distro.write(KEYS, f"ssh-ed25519 {OTHER} caf\xe9\n".encode("latin-1"))
    assert distro.bootstrap()["ok"]
    assert distro.read(KEYS) == f"ssh-ed25519 {OTHER} caf\xe9\n{LINE}\n".encode("latin-1")


def test_a_file_of_keys_that_others_may_write_is_closed(make: Callable[..., Distro]) -> None:
    distro = make()
    distro.write(KEYS, f"{LINE}\n", 0o666)
    answer = distro.bootstrap()
    assert "rights of /root/.ssh/authorized_keys" in answer["changed"]
    assert distro.run("stat", "-c", "%a", KEYS).stdout.strip() == "644"


def test_a_home_that_others_may_write_is_refused(make: Callable[..., Distro]) -> None:
    distro = make()
    distro.run("chmod", "777", "/root")
    answer = distro.bootstrap()
    assert not answer["ok"]
    assert answer["exit"] == 1
    assert "chmod go-w /root" in answer["step"]


def test_the_host_keys_of_an_image_are_replaced_once_and_put_back(make: Callable[..., Distro]) -> None:
    distro = make()
    first = distro.bootstrap()["host_key"]
    answer = distro.bootstrap(maw_new_host_keys="yes")
    assert answer["new_host_keys"] is True
    assert answer["host_key"] != first
    again = distro.bootstrap(maw_new_host_keys="yes")
    assert (again["new_host_keys"], again["host_key"]) == (False, answer["host_key"])
    distro.bootstrap("remove")
    public = distro.read("/etc/ssh/ssh_host_ed25519_key.pub")
    assert public is not None
    assert " ".join(public.decode().split()[:2]) == first


def test_half_a_host_key_is_made_anew(make: Callable[..., Distro]) -> None:
    distro = make()
    distro.write("/etc/ssh/ssh_host_ed25519_key", b"", 0o600)
    answer = distro.bootstrap()
    assert answer["ok"]
    assert answer["host_key"].startswith("ssh-ed25519 ")


def test_without_internet_the_reason_and_the_ways_out_are_told(make: Callable[..., Distro]) -> None:
    distro = make()
    distro.remove("/usr/bin/python3", "/usr/local/bin/python3")
    answer = distro.bootstrap()
    assert not answer["ok"]
    assert "python3" in answer["reason"]
    assert "wsl_distro_packages_path" in answer["step"]
    assert distro.read(KEYS) is None


APT = """#!/bin/sh
echo "$@" >> /tmp/apt
case " $* " in
  *" purge "*) rm -f /usr/bin/python3; exit 0 ;;
  *" install "*) ;;
  *) exit 100 ;;
esac
for one in "$@"; do case $one in *.deb) cp "$one" /tmp/; esac; done
printf '#!/bin/sh\\nexit 0\\n' > /usr/bin/python3
chmod 755 /usr/bin/python3
"""


@pytest.fixture
def apt(make: Callable[..., Distro]) -> Distro:
    """A distro without Python, and an apt-get that can install it."""
    distro = make()
    distro.remove("/usr/bin/python3", "/usr/local/bin/python3")
    distro.write("/usr/bin/apt-get", APT, 0o755)
    return distro


def test_what_is_missing_is_installed_remembered_and_removed_again(apt: Distro) -> None:
    answer = apt.bootstrap()
    assert answer["ok"], answer
    assert answer["missing"] == []
    recorded = apt.read("/var/lib/maw/packages/wsl_distro_access")
    assert recorded is not None
    assert "python3" in recorded.decode().split()
    assert "--no-install-recommends" in (apt.folder / "tmp" / "apt").read_text()
    removed = apt.bootstrap("remove")
    assert removed["ok"], removed
    assert "purge python3" in (apt.folder / "tmp" / "apt").read_text()
    assert apt.run("test", "-e", "/var/lib/maw").returncode == 1


def test_a_package_that_another_role_needs_stays(apt: Distro) -> None:
    apt.bootstrap()
    apt.write("/var/lib/maw/packages/worker", "python3\npython3-apt\n")
    apt.bootstrap("remove")
    assert "purge" not in (apt.folder / "tmp" / "apt").read_text()
    assert apt.read("/var/lib/maw/packages/worker") is not None


def test_the_cores_files_of_packages_are_used(apt: Distro) -> None:
    debs = f"python3_3.11_amd64.deb {base64.b64encode(b'!<arch>').decode()}"
    assert apt.bootstrap(maw_debs=debs)["ok"]
    assert (apt.folder / "tmp" / "python3_3.11_amd64.deb").read_bytes() == b"!<arch>"
    said = (apt.folder / "tmp" / "apt").read_text()
    assert "--no-download" in said
    assert "update" not in said


def test_wsl_conf_is_written_if_it_is_still_what_was_read(make: Callable[..., Distro]) -> None:
    distro = make()
    content = base64.b64encode(b"[boot]\nsystemd=true\n").decode()
    assert distro.bootstrap(maw_conf=content, maw_conf_sum="missing")["ok"]
    assert distro.read("/etc/wsl.conf") == b"[boot]\nsystemd=true\n"
    answer = distro.bootstrap(maw_conf=content, maw_conf_sum="missing")
    assert not answer["ok"]
    assert "changed meanwhile" in answer["reason"]


@pytest.mark.parametrize(
    "form",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text.replace("\n", "\r\n") + "\r\n",
    ],
    ids=["mark", "carriage returns", "both"],
)
def test_a_mark_or_carriage_returns_on_the_way_do_no_harm(
    make: Callable[..., Distro], form: Callable[[str], str], shell: list[str]
) -> None:
    distro = make(shell)
    script = f"maw_do=look\nmaw_key=''\n{SCRIPT}\nmain < /dev/null\n"
    sent = f"\nprintf %s '{base64.b64encode(script.encode()).decode()}' | base64 -d | /bin/sh #\n"
    done = distro.run(*shell, "-s", stdin=form(sent))
    assert json.loads(done.stdout)["ok"] is True


def test_a_script_that_was_cut_off_does_nothing(make: Callable[..., Distro]) -> None:
    distro = make()
    script = SCRIPT
    for end in (len(script) // 3, len(script) - 20):
        done = distro.run("/bin/sh", "-s", stdin=f"maw_do=install\nmaw_key='{LINE}'\n{script[:end]}")
        assert "{" not in done.stdout
    assert distro.run("test", "-e", "/var/lib/maw").returncode == 1
