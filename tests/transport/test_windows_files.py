"""Windows' file of keys."""

from __future__ import annotations

import contextlib
import getpass
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from maw.errors import AuthenticationRefused, RotationUnfinished, TransportError
from maw.transport import far, keypairs, ssh_config, windows_files
from maw.transport.windows_files import ADMINISTRATORS_FILE, OWN_FILE, others_that_write
from tests.transport.cluster import Cluster, login, notebooks

if TYPE_CHECKING:
    from maw.topology import Host
    from maw.transport.far import Line
    from tests.fakes.windows import WindowsNotebook

__all__ = ["notebooks"]
ME = "S-1-5-21-1004336348-1177238915-682003330-1001"
TRUSTED_INSTALLER = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"


@pytest.mark.parametrize(
    ("sddl", "writers"),
    [
        ("D:PAI(A;;FA;;;BA)(A;;FA;;;SY)", ()),
        ("O:BAG:SYD:PAI(A;;FA;;;S-1-5-32-544)(A;;FA;;;S-1-5-18)", ()),
        (f"O:{TRUSTED_INSTALLER}D:(A;;FA;;;{ME})", ()),
        (f"O:{ME}D:(A;;FA;;;SY)", ()),
        # Others may read and run.
        ("D:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;AU)(A;;FR;;;WD)(A;;FRFX;;;BU)", ()),
        ("D:(A;;0xa0000000;;;WD)", ()),
        ("D:(A;;GRGX;;;WD)", ()),
        # An entry for what is made below it, and one that denies.
        ("D:(A;OICIIO;FA;;;BU)", ()),
        ("D:(D;;FA;;;BU)(A;;FA;;;SY)", ()),
        ("D:(A;;FA;;;AU)", ("AU",)),
        ("D:(A;;0x1301bf;;;BU)(A;;FW;;;WD)(A;;FW;;;WD)", ("BU", "WD")),
        ("D:(A;;FRSD;;;BU)", ("BU",)),
        ("D:(A;;FRWD;;;BU)", ("BU",)),
        ("O:BUD:(A;;FA;;;SY)", ("the owner BU",)),
        ("D:NO_ACCESS_CONTROL", ("everybody",)),
        ("D:(XA;;FW;;;WD;(Member_of {SID(BA)}))", ("WD",)),
        ("", ("everybody",)),
    ],
)
def test_whoever_may_write_is_found_as_sshd_does(sddl: str, writers: tuple[str, ...]) -> None:
    assert others_that_write(sddl, ME) == writers


def test_rights_are_given_by_number_for_names_are_translated() -> None:
    program = r"icacls.exe C:\ProgramData\ssh\administrators_authorized_keys"
    assert windows_files.grant_commands(ADMINISTRATORS_FILE) == (
        f"{program} /inheritance:r /grant *S-1-5-32-544:F /grant *S-1-5-18:F",
        f"{program} /setowner *S-1-5-32-544",
    )


@pytest.mark.parametrize(
    "content", ["ssh-ed25519 A".encode("utf-16"), "ssh".encode("utf-16-le"), b"\xfe\xff\0s"]
)
def test_utf_16_is_what_sshd_cannot_read(content: bytes) -> None:
    assert windows_files.encoding_problem(content)


def test_utf_8_with_a_mark_is_fine() -> None:
    assert windows_files.encoding_problem("\ufeffssh-ed25519 ชื่อ".encode()) is None


@pytest.fixture
def line(notebook: WindowsNotebook) -> Line:
    from maw.cli.workspace import current

    context = current()
    return far.Line(context.ssh_paths, context.settings.ssh)


@pytest.fixture
def host(notebook: WindowsNotebook) -> Host:
    from maw.cli.workspace import current

    return current().topology.host("notebook")


@pytest.fixture(autouse=True)
def restored(request: pytest.FixtureRequest) -> object:
    """The session's notebook is left as it was."""
    with contextlib.ExitStack() as stack:
        if "notebook" in request.fixturenames:
            windows: WindowsNotebook = request.getfixturevalue("notebook")
            file = windows.drive / "ProgramData/ssh/administrators_authorized_keys"
            content, acl = file.read_bytes(), windows.acl(file)
            stack.callback(lambda: (file.write_bytes(content), windows.acl(file, acl), windows.reset()))
        yield


def test_the_file_is_read_and_replaced_with_its_rights(
    notebook: WindowsNotebook, line: Line, host: Host
) -> None:
    user = windows_files.account(line, host)
    assert user == windows_files.Account(ME, administrator=True)
    content = windows_files.read(line, host, user.path)
    file = notebook.drive / "ProgramData/ssh/administrators_authorized_keys"
    assert content == file.read_bytes()
    new = content + "# ชื่อ\r\n".encode() + bytes(range(128, 256))
    windows_files.replace(line, host, user, content, new)
    assert file.read_bytes() == new
    assert notebook.acl(file) == "O:BAD:PAI(A;;FA;;;BA)(A;;FA;;;SY)"
    assert windows_files.acl(line, host, user.path) == "D:PAI(A;;FA;;;BA)(A;;FA;;;SY)"
    assert [path.name for path in file.parent.iterdir() if ".maw-" in path.name] == []
    assert list((notebook.drive / "Users" / notebook.account).iterdir()) == []


def test_what_changed_meanwhile_is_not_overwritten(notebook: WindowsNotebook, line: Line, host: Host) -> None:
    user = windows_files.account(line, host)
    file = notebook.drive / "ProgramData/ssh/administrators_authorized_keys"
    before = file.read_bytes()
    with pytest.raises(TransportError, match="changed there meanwhile"):
        windows_files.replace(line, host, user, before + b"#", before + b"# more\n")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir() if ".maw-" in path.name] == []


def test_what_a_killed_one_left_is_swept(notebook: WindowsNotebook, line: Line, host: Host) -> None:
    user = windows_files.account(line, host)
    file = notebook.drive / "ProgramData/ssh/administrators_authorized_keys"
    (file.parent / f"{file.name}.maw-0badcafe").write_text("half")
    (file.parent / f"{file.name}.bak").write_text("the owner's")
    before = file.read_bytes()
    windows_files.replace(line, host, user, before, before + b"# more\n")
    assert sorted(p.name for p in file.parent.glob(f"{file.name}.*")) == [f"{file.name}.bak"]
    (file.parent / f"{file.name}.bak").unlink()


def test_no_file_is_none(notebook: WindowsNotebook, line: Line, host: Host) -> None:
    assert windows_files.read(line, host, r"C:\ProgramData\ssh\nothing") is None


@pytest.mark.parametrize("account", ["you", "สมชาย ใจดี"])
def test_an_account_that_is_no_administrator_has_its_file_in_its_profile(
    notebooks: list[tuple[Cluster, WindowsNotebook]], account: str
) -> None:
    cluster, notebook = notebooks[0]
    profile = notebook.drive / "Users" / account
    (profile / ".ssh").mkdir(parents=True)
    file = profile / ".ssh" / "authorized_keys"
    shutil.move(notebook.drive / "ProgramData/ssh/administrators_authorized_keys", file)
    sid = notebook.state["sid"]
    notebook.configure(administrator=False, account=account)
    for path in (profile, profile / ".ssh"):
        notebook.acl(path, f"O:{sid}D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;{sid})")
    context = cluster.context
    line = far.Line(context.ssh_paths, context.settings.ssh)
    user = windows_files.account(line, context.topology.host("notebook"))
    assert (user.administrator, user.path) == (False, OWN_FILE)
    for purpose in ("bridge", "admin"):
        cluster.rotation(purpose).run()
    text = file.read_text()
    assert text.count("\n") == 2
    for purpose in ("bridge", "admin"):
        assert cluster.key(purpose).base64 in text
    assert [path.name for path in file.parent.iterdir()] == ["authorized_keys"]


def test_a_profile_that_is_not_there_is_not_made(
    notebooks: list[tuple[Cluster, WindowsNotebook]],
) -> None:
    cluster, notebook = notebooks[0]
    # The connection is there already; a new one would be refused.
    assert login(cluster.context.ssh_paths.config, "notebook")
    notebook.configure(administrator=False, account="nobody-yet")
    with pytest.raises(RotationUnfinished, match=r"the key admin is not in \.ssh"):
        cluster.rotation("admin").run()
    assert not (notebook.drive / "Users" / "nobody-yet").exists()


def test_a_key_that_is_refused_is_said_so(notebook: WindowsNotebook, line: Line, host: Host) -> None:
    stranger = line.where.config.parent / "stranger"
    stranger.mkdir()
    keypairs.make(stranger, "admin")
    alone = line.only(ssh_config.ADMIN, stranger / "admin", [replace(host, user=getpass.getuser())])
    with pytest.raises(AuthenticationRefused):
        alone.run(host, "echo in")


def test_a_wrong_acl_is_mended_by_the_next_change(notebook: WindowsNotebook, line: Line, host: Host) -> None:
    file = notebook.drive / "ProgramData/ssh/administrators_authorized_keys"
    # It is refused from now on, yet the connection is there.
    assert line.run(host, "echo in").status == 0
    notebook.acl(file, "O:BAD:PAI(A;;FA;;;BA)(A;;FA;;;SY)(A;;FA;;;WD)")
    user = windows_files.account(line, host)
    assert others_that_write(windows_files.acl(line, host, user.path), user.sid) == ("WD",)
    before = file.read_bytes()
    windows_files.replace(line, host, user, before, before + b"# mended\n")
    assert others_that_write(windows_files.acl(line, host, user.path), user.sid) == ()
