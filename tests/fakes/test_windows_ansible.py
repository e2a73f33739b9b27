"""Genuine Ansible over genuine SSH against the stand-in: files, lists, registry and programs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from tests.fakes.conftest import ADMINISTRATORS, Client, run, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.playing import Player
    from tests.fakes.windows import WindowsNotebook

ALL_BYTES = bytes(range(256)) * 33


def _win(module: str, *, collection: str = "ansible.windows", **options: Any) -> dict[str, Any]:
    return {f"{collection}.{module}": options}


def test_files_and_folders_are_made_and_taken_away(player: Player, windows: WindowsNotebook) -> None:
    folder = "C:\\Data\\a folder"
    first = player.twice(
        windows,
        _win("win_file", path=folder, state="directory"),
        _win("win_copy", content="one\r\ntwo ก\n", dest=f"{folder}\\text.txt"),
        _win("win_file", path="C:\\Data\\never", state="absent"),
    )
    assert first.changed == [True, True, False]
    assert (windows.drive / "Data/a folder/text.txt").read_bytes() == "one\r\ntwo ก\n".encode()
    looked = player.run(
        windows,
        _win("win_stat", path=f"{folder}\\TEXT.txt", checksum_algorithm="sha256"),
        _win("win_stat", path=folder),
        _win("win_stat", path="D:\\elsewhere"),
        _win("win_file", path="c:/data", state="absent"),
    )
    file, directory, nothing, gone = looked.results
    assert file["stat"]["checksum"] == hashlib.sha256("one\r\ntwo ก\n".encode()).hexdigest()
    assert (file["stat"]["size"], file["stat"]["isreg"], file["stat"]["isdir"]) == (13, True, False)
    assert (directory["stat"]["isdir"], directory["stat"]["size"]) == (True, 13)
    assert nothing["stat"] == {"exists": False}
    assert gone["changed"]
    assert not (windows.drive / "Data").exists()


def test_a_copy_is_equal_to_the_byte_and_leaves_no_temporary_file(
    player: Player, windows: WindowsNotebook, tmp_path: Path
) -> None:
    (tmp_path / "source.bin").write_bytes(ALL_BYTES)
    copy = _win("win_copy", src=str(tmp_path / "source.bin"), dest="C:\\Users\\you\\copy.bin", backup=True)
    assert player.twice(windows, copy).changed == [True]
    target = windows.drive / "Users/you/copy.bin"
    assert target.read_bytes() == ALL_BYTES
    target.write_bytes(b"changed")
    again = player.run(windows, copy)
    kept = again.last["backup_file"].replace("\\", "/").removeprefix("C:/")
    assert (windows.drive / kept).read_bytes() == b"changed"
    assert target.read_bytes() == ALL_BYTES
    assert list((windows.drive / "Users/you/AppData/Local/Temp").iterdir()) == []


def test_a_folder_is_copied_with_all_that_is_in_it(
    player: Player, windows: WindowsNotebook, tmp_path: Path
) -> None:
    for name in ("one", "deep/two", "deep/ก ข"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    (tmp_path / "tree/empty").mkdir()
    copy = _win("win_copy", src=f"{tmp_path}/tree/", dest="C:\\Tree")
    assert player.twice(windows, copy).changed == [True]
    found = {
        path.relative_to(windows.drive / "Tree").as_posix() for path in (windows.drive / "Tree").rglob("*")
    }
    assert found == {"one", "deep", "deep/two", "deep/ก ข", "empty"}
    moved = player.twice(
        windows, _win("win_copy", src="C:\\Tree\\deep\\two", dest="C:\\Tree\\empty\\", remote_src=True)
    )
    assert moved.last["dest"] == "C:\\Tree\\empty\\two"
    assert (windows.drive / "Tree/empty/two").read_text() == "deep/two"


def test_a_template_gets_windows_line_ends(player: Player, windows: WindowsNotebook, tmp_path: Path) -> None:
    (tmp_path / "plays/wslconfig.j2").write_text("[wsl2]\nmemory={{ size }}GB\n")
    task = _win("win_template", src="wslconfig.j2", dest="C:\\Users\\you\\.wslconfig")
    assert player.twice(windows, task, vars={"size": 8}).changed == [True]
    assert (windows.drive / "Users/you/.wslconfig").read_bytes() == b"[wsl2]\r\nmemory=8GB\r\n"
    failed = player.run(windows, _win("win_template", src="wslconfig.j2", dest="C:\\No\\x"), vars={"size": 8})
    assert failed.status == 2
    assert "Destination directory 'C:\\No' does not exist" in failed.last["msg"]


def test_lists_are_set_so_that_sshd_takes_the_file(
    player: Player, windows: WindowsNotebook, client: Client
) -> None:
    windows.acl(ADMINISTRATORS, "O:BAD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1301bf;;;AU)")
    assert run(client.argv(windows, "hostname")).returncode == 255
    windows.acl(ADMINISTRATORS, "O:BAD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;AU)")
    entry = {"path": ADMINISTRATORS, "rights": "FullControl", "type": "allow"}
    tasks = [
        _win("win_acl", user="S-1-5-32-544", **entry),
        _win("win_acl", user="SYSTEM", **entry),
        _win("win_acl_inheritance", path=ADMINISTRATORS),
        _win("win_owner", path=ADMINISTRATORS, user="S-1-5-18"),
    ]
    assert all(player.twice(windows, *tasks).changed)
    assert windows.acl(ADMINISTRATORS) == "O:SYD:PAI(A;;FA;;;BA)(A;;FA;;;SY)"
    assert run(client.argv(windows, "hostname")).stdout == b"notebook\r\n"
    absent = player.twice(
        windows, _win("win_acl", user="VORDEFINIERT\\Administratoren", state="absent", **entry)
    )
    assert absent.changed == [True]
    assert windows.acl(ADMINISTRATORS) == "O:SYD:PAI(A;;FA;;;SY)"
    unknown = player.run(windows, _win("win_acl", user="Administrators", **entry))
    assert "Administrators is not a valid user or group" in unknown.last["msg"]


def test_a_registry_value_of_each_kind_is_kept(
    player: Player, windows: WindowsNotebook, client: Client
) -> None:
    values = [
        ("string", "ก text", "REG_SZ    ก text"),
        ("dword", 4294967295, "REG_DWORD    0xffffffff"),
        ("qword", "0x1F", "REG_QWORD    0x1f"),
        ("multistring", ["one", "two"], "REG_MULTI_SZ    one\\0two"),
        ("binary", "hex:be,ef,00", "REG_BINARY    BEEF00"),
        ("expandstring", "%TEMP%\\x", "REG_EXPAND_SZ    %TEMP%\\x"),
    ]
    key = "HKLM:\\SOFTWARE\\maw\\Test"
    tasks = [_win("win_regedit", path=key, name=kind, data=data, type=kind) for kind, data, _ in values]
    assert all(player.twice(windows, *tasks).changed)
    query = "reg query HKEY_LOCAL_MACHINE\\Software\\MAW\\test"
    said = run(client.argv(windows, query)).stdout.decode()
    for kind, _, written in values:
        assert f"    {kind}    {written}\r\n" in said
    other = player.run(windows, _win("win_regedit", path=key, name="DWORD", data="7", type="string"))
    assert (other.last["data_changed"], other.last["data_type_changed"]) == (True, True)
    gone = player.twice(
        windows,
        _win("win_regedit", path=key, name="QWord", state="absent"),
        _win("win_regedit", path="HKLM:\\SOFTWARE\\maw", state="absent"),
    )
    assert gone.changed == [True, True]
    assert run(client.argv(windows, query)).returncode == 1


def test_a_new_default_shell_holds_from_the_next_connection_on(
    tmp_path: Path, player: Player, client: Client
) -> None:
    with started(tmp_path / "nb", client) as notebook:
        notebook.configure(profile_noise="Hallo\r\n")
        value = {"path": "HKLM:\\SOFTWARE\\OpenSSH", "name": "DefaultShell"}
        powershell = "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe"
        played = player.run(
            notebook,
            _win("win_regedit", data=powershell, **value),
            {"ansible.builtin.raw": "echo %COMSPEC%"},
            {"ansible.builtin.meta": "reset_connection"},
            {"ansible.builtin.raw": "echo %COMSPEC% $env:OS"},
        )
        assert played.status == 0, played.said
        assert played.results[1]["stdout"] == "C:\\Windows\\system32\\cmd.exe\r\n"
        assert played.last["stdout"].splitlines() == ["Hallo", "%COMSPEC%", "Windows_NT"]
        assert [call.shell for call in notebook.calls()][-1] == "cmd", "nothing was started since"
        through = player.twice(
            notebook,
            _win("win_copy", content="x", dest="C:\\x"),
            _win("win_regedit", data=powershell, **value),
            shell="powershell",
        )
        assert through.changed == [True, False]
        assert notebook.calls()[-1].shell == "powershell"
        back = player.run(notebook, _win("win_regedit", state="absent", **value), shell="powershell")
        assert back.changed == [True]
        assert run(client.argv(notebook, "reg query HKLM\\SOFTWARE\\OpenSSH /v DefaultShell")).returncode == 1
        other = player.run(notebook, _win("win_regedit", data="C:\\bash.exe", **value), shell="powershell")
        assert other.status == 2
        assert "no default shell C:\\bash.exe" in other.last["msg"]


def test_a_command_gets_its_arguments_input_and_environment(player: Player, windows: WindowsNotebook) -> None:
    argv = ["wsl.exe", "-d", "Ubuntu", "-u", "root", "--exec", "printf", "%s|", "a  b", 'c "d" \\', ""]
    played = player.run(
        windows,
        _win("win_command", argv=argv),
        _win("win_command", argv=["wsl.exe", "--exec", "sh", "-c", "cat; echo err >&2"], stdin="ก\nb"),
        _win("win_command", _raw_params="wsl.exe --list --quiet", output_encoding_override="unicode"),
        {**_win("win_command", cmd="wsl.exe -l -q"), "environment": {"WSL_UTF8": "1"}},
        _win("win_command", cmd="whoami.exe", creates="C:\\Users"),
        _win("win_command", argv=["cmd.exe", "/c", "cd"], chdir="C:\\ProgramData\\ssh"),
    )
    assert played.status == 0, played.said
    said = [result.get("stdout") for result in played.results]
    assert said == ['a  b|c "d" \\||', "ก\nb", "Ubuntu\r\n", "Ubuntu\r\n", None, "C:\\ProgramData\\ssh\r\n"]
    assert played.results[1]["stderr"] == "err\n"
    assert played.results[4]["skipped"]


def test_a_command_that_fails_tells_its_code_and_words(player: Player, windows: WindowsNotebook) -> None:
    tasks = [
        (["wsl.exe", "-d", "Missing"], 4294967295, "There is no distribution with the supplied name."),
        (["wsl.exe", "-e", "sh", "-c", "exit 3"], 3, ""),
        (["no-such.exe"], 2, None),
    ]
    played = player.run(
        windows,
        *(
            {**_win("win_command", argv=argv, output_encoding_override="utf-16"), "failed_when": False}
            for argv, _, _ in tasks
        ),
    )
    for result, (argv, code, said) in zip(played.results, tasks, strict=True):
        assert result["rc"] == code, argv
        if said is None:
            assert "The system cannot find the file specified" in result["msg"]
        else:
            assert (result["msg"], said in result["stdout"]) == ("non-zero return code", True)
    assert player.run(windows, _win("win_command", argv=["no-such.exe"])).status == 2
    skipped = player.run(windows, _win("win_command", cmd="hostname"), options=("--check",))
    assert skipped.last["skipped"]


def test_ping_raw_and_a_wait_for_the_connection_answer(player: Player, windows: WindowsNotebook) -> None:
    played = player.run(
        windows,
        _win("win_ping", data="hello"),
        {"ansible.builtin.raw": "hostname & exit 0"},
        {"ansible.builtin.wait_for_connection": {"timeout": 5}},
    )
    assert played.status == 0, played.said
    assert (played.results[0]["ping"], played.results[1]["stdout"]) == ("hello", "notebook\r\n")
