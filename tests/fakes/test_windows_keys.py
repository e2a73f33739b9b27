"""Who may log in to the stand-in: keys, what they force, and the lists that the file of keys depends on."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.fakes.conftest import ADMINISTRATORS, SSHD, Client, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.windows import WindowsNotebook

    Ask = Callable[..., subprocess.CompletedProcess[bytes]]

GRANT = "/inheritance:r /grant *S-1-5-32-544:F /grant *S-1-5-18:F"


@pytest.fixture
def log_in(client: Client, windows: WindowsNotebook) -> Callable[[], bytes]:
    """`log_in()`: what a new connection gets for `hostname`, or ssh's words when it is refused."""

    def attempt() -> bytes:
        answer = run([*client.argv(windows, "hostname")])
        return answer.stdout if answer.returncode == 0 else answer.stderr

    return attempt


def _keys(windows: WindowsNotebook, *lines: str) -> None:
    file = windows.drive / "ProgramData/ssh/administrators_authorized_keys"
    file.write_text("".join(line + "\n" for line in lines), "utf-8")


@pytest.mark.parametrize(
    "sddl",
    [
        "O:BAD:PAI(A;;FA;;;SY)(A;;FA;;;BA)",
        "O:SYD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;AU)",
        "O:BAD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;AU)",
        "O:BAD:PAI(D;;FW;;;WD)(A;;FA;;;BA)",
    ],
)
def test_a_list_with_readers_only_is_good_enough(
    windows: WindowsNotebook, log_in: Callable[[], bytes], sddl: str
) -> None:
    assert windows.acl(ADMINISTRATORS, sddl) == sddl
    assert log_in() == b"notebook\r\n"


@pytest.mark.parametrize(
    "sddl",
    [
        "O:BAD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FW;;;BU)",
        "O:BAD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1301bf;;;AU)",
        "O:BAD:PAI(A;;FA;;;WD)",
        "O:BUD:PAI(A;;FA;;;SY)(A;;FA;;;BA)",
        "O:S-1-5-21-1-2-3-1005D:PAI(A;;FA;;;SY)(A;;FA;;;BA)",
    ],
)
def test_a_list_that_is_wrong_makes_the_file_as_good_as_none(
    windows: WindowsNotebook, log_in: Callable[[], bytes], sddl: str
) -> None:
    windows.acl(ADMINISTRATORS, sddl)
    assert b"Permission denied (publickey)" in log_in()
    windows.acl(ADMINISTRATORS, "O:BAD:PAI(A;;FA;;;SY)(A;;FA;;;BA)")
    assert log_in() == b"notebook\r\n"


def test_a_change_of_the_keys_holds_at_once(
    windows: WindowsNotebook, client: Client, log_in: Callable[[], bytes]
) -> None:
    for _ in range(3):
        _keys(windows)
        assert b"Permission denied" in log_in()
        _keys(windows, "# a comment", "", client.public)
        assert log_in() == b"notebook\r\n"
    file = windows.drive / "ProgramData/ssh/administrators_authorized_keys"
    beside = file.with_name("older")
    beside.write_text("")
    assert log_in() == b"notebook\r\n"
    beside.replace(file)
    assert b"Permission denied" in log_in()


@pytest.mark.parametrize(
    ("options", "good"),
    [
        ('from="127.0.0.1"', True),
        ('restrict,from="127.0.0.1,10.0.0.0/8"', True),
        ('from="192.168.1.129"', False),
    ],
)
def test_a_key_may_be_bound_to_an_address(
    windows: WindowsNotebook, client: Client, log_in: Callable[[], bytes], options: str, good: bool
) -> None:
    _keys(windows, f"{options} {client.public}")
    assert (log_in() == b"notebook\r\n") is good


@pytest.mark.parametrize("asked", ["whoami", "exit 3", "wsl.exe -e id", "'; & |"])
@pytest.mark.parametrize("shell", ["cmd", "powershell"])
def test_a_keys_own_command_wins_over_what_was_asked(
    windows: WindowsNotebook, client: Client, asked: str, shell: str
) -> None:
    windows.configure(shell=shell)
    _keys(windows, f'restrict,command="{SSHD}",from="127.0.0.1" {client.public} maw-bridge')
    answer = run(client.argv(windows, asked))
    assert answer.stdout.startswith(b"SSH-2.0-OpenSSH")
    call = windows.calls()[-1]
    assert (call.raw, call.forced) == (SSHD, True)


def test_a_keys_own_command_goes_through_the_default_shell(windows: WindowsNotebook, client: Client) -> None:
    _keys(windows, f'command="echo \\"%USERNAME%\\" & hostname" {client.public}')
    assert run(client.argv(windows, "x")).stdout == b'"you" \r\nnotebook\r\n'


def test_a_key_with_its_own_command_gets_no_files(windows: WindowsNotebook, client: Client) -> None:
    _keys(windows, f'restrict,command="{SSHD}" {client.public}')
    argv = ["sftp", *client.options(), "-P", str(windows.port), "-b", "/dev/null", "root@127.0.0.1"]
    assert run(argv).returncode == 255


def test_the_bridge_works_with_a_key_that_can_do_nothing_else(
    windows: WindowsNotebook, client: Client
) -> None:
    _keys(windows, f'restrict,command="{SSHD}",from="127.0.0.1" {client.public}')
    assert run(client.bridge(windows, "id -un", through="anything")).stdout == b"root\n"


def test_inside_the_distro_an_address_locks_out(windows: WindowsNotebook, client: Client) -> None:
    keys = windows.distro().authorized_keys
    kept = keys.read_bytes()
    keys.write_text(f'from="127.0.0.1" {client.public}\n')
    try:
        assert b"Permission denied" in run(client.bridge(windows, "true")).stderr
    finally:
        keys.write_bytes(kept)
    assert run(client.bridge(windows, "true")).returncode == 0


def test_a_distro_without_its_folder_is_silent_but_for_a_check(windows: WindowsNotebook, ask: Ask) -> None:
    windows.distro().run_sshd.rmdir()
    try:
        silent, said = ask(SSHD), ask("wsl.exe -e /usr/sbin/sshd -t")
    finally:
        windows.distro().run_sshd.mkdir(mode=0o755)
    assert (silent.returncode, silent.stdout, silent.stderr) == (255, b"", b"")
    assert b"Missing privilege separation directory: /run/sshd" in said.stderr
    assert ask("wsl.exe -e /usr/sbin/sshd -t").returncode == 0


def test_a_distro_without_host_keys_says_what_sshd_says(windows: WindowsNotebook, ask: Ask) -> None:
    kept = {path: path.read_bytes() for path in windows.distro().etc_ssh.glob("ssh_host_*")}
    for path in kept:
        path.unlink()
    try:
        answers = [ask(SSHD), ask(f"{SSHD} -e")]
    finally:
        for path, data in kept.items():
            path.write_bytes(data)
            path.chmod(0o600)
    assert [answer.stdout for answer in answers] == [b"", b""]
    assert b"no hostkeys available" in answers[1].stderr


class TestIcacls:
    """icacls.exe."""

    def test_it_sets_lists_by_sid(self, ask: Ask, windows: WindowsNotebook) -> None:
        assert ask(f"icacls.exe {ADMINISTRATORS} {GRANT}").returncode == 0
        assert ask(f"icacls.exe {ADMINISTRATORS} /setowner *S-1-5-18").returncode == 0
        assert windows.acl(ADMINISTRATORS) == "O:SYD:PAI(A;;FA;;;BA)(A;;FA;;;SY)"

    def test_it_knows_no_english_names(self, ask: Ask) -> None:
        answer = ask(f"icacls.exe {ADMINISTRATORS} /grant Administrators:F")
        assert answer.returncode != 0
        assert b"No mapping between account names and security IDs was done." in answer.stderr

    def test_it_shows_translated_names(self, ask: Ask) -> None:
        shown = ask(f"icacls.exe {ADMINISTRATORS}").stdout.decode()
        assert f"{ADMINISTRATORS} NT-AUTORITÄT\\SYSTEM:(I)(F)\r\n" in shown
        assert shown.endswith("Successfully processed 1 files; Failed processing 0 files\r\n")

    def test_it_saves_lists_as_utf_16(self, ask: Ask, windows: WindowsNotebook) -> None:
        assert ask(f"icacls.exe {ADMINISTRATORS} {GRANT}").returncode == 0
        assert ask(f"icacls.exe {ADMINISTRATORS} /save C:\\Users\\you\\list").returncode == 0
        saved = (windows.drive / "Users/you/list").read_bytes().decode("utf-16-le")
        assert saved == "administrators_authorized_keys\r\nD:PAI(A;;FA;;;BA)(A;;FA;;;SY)\r\n"

    @pytest.mark.parametrize("arguments", ["C:\\missing", "D:\\x", f"{ADMINISTRATORS} /grant x"])
    def test_it_says_what_failed(self, ask: Ask, arguments: str) -> None:
        answer = ask(f"icacls.exe {arguments}")
        assert answer.returncode != 0
        assert b"Failed processing 1 files" in answer.stdout
        assert answer.stderr

    def test_it_does_one_kind_of_task_at_a_time(self, ask: Ask) -> None:
        answer = ask(f"icacls.exe {ADMINISTRATORS} /setowner *S-1-5-18 /grant *S-1-5-18:F")
        assert b'Invalid parameter "/grant"' in answer.stderr

    def test_a_grant_adds_and_a_removal_takes(self, ask: Ask, windows: WindowsNotebook) -> None:
        windows.acl(ADMINISTRATORS, "O:BAD:PAI(A;;FR;;;BU)")
        ask(f"icacls.exe {ADMINISTRATORS} /grant *S-1-5-32-545:W *S-1-5-11:RX")
        assert windows.acl(ADMINISTRATORS) == "O:BAD:PAI(A;;0x12019f;;;BU)(A;;0x1200a9;;;AU)"
        ask(f"icacls.exe {ADMINISTRATORS} /grant:r *S-1-5-32-545:R /remove:g *S-1-5-11")
        assert windows.acl(ADMINISTRATORS) == "O:BAD:PAI(A;;FR;;;BU)"

    def test_a_reset_inherits_again(self, ask: Ask, windows: WindowsNotebook) -> None:
        windows.acl(ADMINISTRATORS, "O:BAD:PAI(A;;FA;;;WD)")
        assert ask(f"icacls.exe {ADMINISTRATORS} /reset").returncode == 0
        assert windows.acl(ADMINISTRATORS) == "O:BAD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;AU)"


class TestSftp:
    """sftp-server.exe."""

    @pytest.fixture
    def sftp(self, client: Client, windows: WindowsNotebook, tmp_path: Path) -> Callable[..., bytes]:
        def do(*lines: str) -> bytes:
            (tmp_path / "batch").write_text("".join(line + "\n" for line in lines))
            argv = ["sftp", "-q", *client.options(), "-P", str(windows.port), "-b", str(tmp_path / "batch")]
            answer = run([*argv, "root@127.0.0.1"])
            assert answer.returncode == 0, answer.stderr
            return answer.stdout

        return do

    def test_files_go_both_ways_whole(self, sftp, windows: WindowsNotebook, tmp_path: Path) -> None:
        data = bytes(range(256)) * 5000
        (tmp_path / "there").write_bytes(data)
        sftp(f"put {tmp_path}/there /C:/Users/you/สวัสดี", f"get /c:/USERS/you/สวัสดี {tmp_path}/back")
        assert (tmp_path / "back").read_bytes() == data
        assert (windows.drive / "Users/you/สวัสดี").read_bytes() == data
        sftp("rm /C:/Users/you/สวัสดี")

    def test_the_home_is_a_folder_of_the_drive(self, sftp) -> None:
        assert b"Remote working directory: /C:/Users/you" in sftp("pwd")

    def test_folders_are_listed_made_and_removed(self, sftp, windows: WindowsNotebook) -> None:
        said = sftp("mkdir some", "ls", "rename some other", "ls", "rmdir other").decode()
        assert "some" in said
        assert "other" in said
        assert not (windows.drive / "Users/you/other").exists()

    def test_paramiko_takes_paths_with_and_without_a_first_slash(
        self, client: Client, windows: WindowsNotebook
    ) -> None:
        import paramiko

        with paramiko.SSHClient() as ssh:
            ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            key = paramiko.Ed25519Key.from_private_key_file(str(client.folder / "key"))
            ssh.connect("127.0.0.1", windows.port, username="root", pkey=key, look_for_keys=False)
            with ssh.open_sftp() as sftp:
                with sftp.open("C:/Users/you/new", "wb") as file:
                    file.write(b"new")
                with sftp.open("/C:/Users/you/old", "wb") as file:
                    file.write(b"old")
                with pytest.raises(OSError):
                    sftp.rename("C:/Users/you/new", "C:/Users/you/old")
                sftp.posix_rename("C:/Users/you/new", "C:/Users/you/old")
                with sftp.open("C:/Users/you/old", "ab") as file:
                    file.write(b"er")
                with sftp.open("C:/Users/you/OLD", "rb") as file:
                    assert file.read() == b"newer"
                with pytest.raises(FileNotFoundError):
                    sftp.stat("D:/x")
                sftp.remove("C:/Users/you/old")

    def test_a_new_file_inherits_and_a_renamed_one_keeps_its_list(
        self, sftp, windows: WindowsNotebook, tmp_path: Path, log_in: Callable[[], bytes]
    ) -> None:
        keys = windows.drive / "ProgramData/ssh/administrators_authorized_keys"
        (tmp_path / "keys").write_bytes(keys.read_bytes())
        sftp(f"put {tmp_path}/keys /C:/ProgramData/ssh/beside")
        inherited = "O:BAD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;AU)"
        assert windows.acl("C:\\ProgramData\\ssh\\beside") == inherited
        sftp("rename /C:/ProgramData/ssh/beside /C:/ProgramData/ssh/administrators_authorized_keys")
        assert log_in() == b"notebook\r\n"
        sftp(f"put {tmp_path}/keys /C:/loose")
        assert "(A;ID;0x1301bf;;;AU)" in windows.acl("C:\\loose")
        sftp("rename /C:/loose /C:/ProgramData/ssh/administrators_authorized_keys")
        assert "(A;ID;0x1301bf;;;AU)" in windows.acl(keys)
        assert b"Permission denied" in log_in()
