# ruff: noqa: E501 - the messages are as the programs print them
"""What Windows, wsl.exe, sshd and ssh really say, and the cause that maw names.

Messages of wsl.exe are those of its source (localization/strings), those of cmd and PowerShell of
Windows 11, those of sshd and ssh of OpenSSH 9.
"""

from __future__ import annotations

import re
import string

import pytest

from maw.errors import BridgeFailed
from maw.transport import symptoms
from maw.transport.failure import from_ssh

NO_DISTRO = (
    "There is no distribution with the supplied name.\r\nError code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n"
)
NO_DISTRO_THAI = "ไม่มีการกระจายที่มีชื่อที่ให้มา\r\nรหัสข้อผิดพลาด: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n"
POWERSHELL_MISSING = """\
wsl.exe : The term 'wsl.exe' is not recognized as the name of a cmdlet, function, script file, or operable program. \r
At line:1 char:1\r
+ wsl.exe -d Ubuntu -u root --exec /usr/sbin/sshd -i\r
    + CategoryInfo          : ObjectNotFound: (wsl.exe:String) [], CommandNotFoundException\r
    + FullyQualifiedErrorId : CommandNotFoundException\r
"""
POWERSHELL_DENIED = "Program 'wsl.exe' failed to run: Access is deniedAt line:1 char:1\r\n    + FullyQualifiedErrorId : NativeCommandFailed\r\n"
WIDE = [
    (NO_DISTRO, "no-distro"),
    (NO_DISTRO_THAI, "no-distro"),
    (
        "Windows Subsystem for Linux has no installed distributions.\r\nError code: Wsl/WSL_E_DEFAULT_DISTRO_NOT_FOUND\r\n",
        "no-distro-at-all",
    ),
    ("User not found.\r\nError code: Wsl/Service/CreateInstance/WSL_E_USER_NOT_FOUND\r\n", "no-linux-user"),
    (
        "The Windows Subsystem for Linux is not installed. You can install by running 'wsl.exe --install'.\r\n",
        "no-wsl",
    ),
    (
        "The requested operation requires elevation. Run it in an interactive window station.\r\nError code: Wsl/0x800705b3\r\n",
        "window-station",
    ),
    (
        "Running WSL as local system is not supported.\r\nError code: Wsl/WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED\r\n",
        "local-system",
    ),
    ("Error code: Wsl/Service/CreateInstance/0x8004032E\r\n", "local-system"),
    ("The file cannot be accessed by the system.\r\nError code: Wsl/0x80070780\r\n", "store-wsl"),
    (
        "WSL2 is not able to start because virtualization is not enabled on this machine.\r\nError code: Wsl/Service/CreateInstance/CreateVm/HCS/HCS_E_HYPERV_NOT_INSTALLED\r\n",
        "no-virtual-machine",
    ),
    (
        "Failed to attach disk 'C:\\Users\\you\\ext4.vhdx' to WSL2: The system cannot find the path specified.\r\n",
        "no-disk",
    ),
    (
        "Insufficient system resources exist.\r\nError code: Wsl/Service/CreateInstance/CreateVm/0x800705aa\r\n",
        "no-memory",
    ),
    (
        "Invalid command line argument: -x\r\nPlease use 'wsl.exe --help' to get a list of supported arguments.\r\n",
        "wsl-arguments",
    ),
    ("Catastrophic failure\r\nError code: Wsl/Service/E_UNEXPECTED\r\n", "wsl-says"),
    ("ข้อผิดพลาดร้ายแรง\r\n", "wsl-says"),
]
NARROW = [
    (b"Access is denied.\r\n", "store-wsl"),
    ("การเข้าถึงถูกปฏิเสธ\r\n".encode("cp874"), "store-wsl"),
    (b"The file cannot be accessed by the system.\r\n", "store-wsl"),
    (POWERSHELL_DENIED.encode(), "store-wsl"),
    (
        b"'wsl.exe' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n",
        "no-wsl-exe",
    ),
    ("'wsl.exe' ไม่ได้รับการยอมรับว่าเป็นคำสั่งภายในหรือภายนอก\r\n".encode("cp874"), "no-wsl-exe"),
    (POWERSHELL_MISSING.encode(), "no-wsl-exe"),
    (b"The system cannot find the path specified.\r\n", "no-wsl-exe"),
    (b"The command line is too long.\r\n", "too-long"),
    (
        b". : File C:\\Users\\you\\profile.ps1 cannot be loaded because running scripts is disabled on this system.\r\n",
        "profile-refused",
    ),
    (b"Missing privilege separation directory: /run/sshd\r\n", "no-run-sshd"),
    (b"/run/sshd must be owned by root and not group or world-writable.\r\n", "run-sshd-open"),
    (
        b"Unable to load host key: /etc/ssh/ssh_host_ed25519_key\r\nsshd: no hostkeys available -- exiting.\r\n",
        "no-host-keys",
    ),
    (
        b"/etc/ssh/sshd_config: line 5: Bad configuration option: Nonsense\r\n/etc/ssh/sshd_config: terminating, 1 bad configuration options\r\n",
        "sshd-config",
    ),
    (b'/etc/ssh/sshd_config.d/10-bridge.conf line 2: unsupported option "x".\r\n', "sshd-config"),
    (b"Privilege separation user sshd does not exist\r\n", "no-sshd-user"),
    (
        b"<3>WSL (12 - Relay) ERROR: CreateProcessCommon:800: execvpe(/usr/sbin/sshd) failed: No such file or directory\r\n",
        "no-sshd",
    ),
    (b"Welcome to PowerShell!\r\n", "no-greeting"),
    (b"you@192.0.2.7: Permission denied (publickey,keyboard-interactive).\r\n", "outer-refused"),
    (b"Received disconnect from 192.0.2.7 port 22:2: Too many authentication failures\r\n", "too-many-keys"),
]
# Then it is ssh that could not get into Windows, and `of_ssh` or `from_ssh` have the word.
OUTER = [
    b"ssh: connect to host 192.0.2.7 port 22: Connection refused\r\n",
    b"ssh: connect to host 192.0.2.7 port 22: Connection timed out\r\n",
    b"ssh: Could not resolve hostname nb.invalid: Name or service not known\r\n",
    b"Connection timed out during banner exchange\r\n",
    b"kex_exchange_identification: Connection closed by remote host\r\n",
    b"@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\nHost key verification failed.\r\n",
    b"No ED25519 host key is known for notebook and you have requested strict checking.\r\nHost key verification failed.\r\n",
]
SSH = [
    ("kex_exchange_identification: banner line contains invalid characters\n", "utf16-greeting"),
    ("Connection closed by UNKNOWN port 65535\n", "sshd-silent"),
    (
        "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535\n",
        "sshd-silent",
    ),
    ("Error reading SSH protocol banner", "sshd-silent"),
    ("you@192.0.2.7: Permission denied (publickey).\n", "refused"),
    (
        "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.\n",
        "host-key-changed",
    ),
    (
        "No ED25519 host key is known for nb and you have requested strict checking.\nHost key verification failed.\n",
        "host-key-unknown",
    ),
    ("ssh: connect to host 192.0.2.7 port 22: Connection refused\n", "nothing-listens"),
    ("ssh: connect to host 192.0.2.7 port 22: Connection timed out\n", "no-answer"),
    ("ssh: connect to host 192.0.2.7 port 22: No route to host\n", "no-route"),
    ("ssh: Could not resolve hostname nb.invalid: Name or service not known\n", "no-such-name"),
    ("Connection timed out during banner exchange\n", "silent"),
    ("ControlPath too long ('/long' >= 108 bytes)\n", "control-path"),
    ('unix_listener: path "/long" too long for Unix domain socket\n', "control-path"),
    ('Load key "/w/key": invalid format\nyou@h: Permission denied (publickey).\n', "key-file-bad"),
    (
        "Permissions 0644 for '/w/key' are too open.\n@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nyou@h: Permission denied (publickey).\n",
        "key-file-open",
    ),
    ("Bad owner or permissions on /w/ssh_config\n", "config-refused"),
    (
        "Unable to negotiate with 192.0.2.7 port 22: no matching host key type found. Their offer: ssh-rsa\n",
        "no-common-algorithm",
    ),
    ("client_loop: send disconnect: Broken pipe\n", "link-lost"),
    ("Timeout, server notebook not responding.\n", "link-lost"),
    ("channel 0: open failed: administratively prohibited: open failed\n", "forwarding-refused"),
]


def _of_bridge(stdout: bytes = b"", stderr: bytes = b"", status: int | None = 255, shell: str = "cmd"):
    return symptoms.of_bridge(
        stdout,
        stderr,
        status,
        host="notebook-wsl",
        windows="notebook",
        distro="Ubuntu",
        account="สมชาย",
        shell=shell,
    )


@pytest.mark.parametrize(("text", "name"), WIDE, ids=[f"{name}-{n}" for n, (_, name) in enumerate(WIDE)])
@pytest.mark.parametrize(
    "before", [b"", b"profile says hello\r\n", b"\xff\xfe"], ids=["plain", "noise", "mark"]
)
def test_utf_16_text_of_wsl_exe_names_the_cause_and_is_quoted(text: str, name: str, before: bytes) -> None:
    cause = _of_bridge(before + text.encode("utf-16-le"))
    assert cause is not None
    assert cause.name == name
    assert symptoms.quoted(text.splitlines()[0])[:30] in cause.cause, "the reader sees what was said"


def test_the_same_text_in_utf_8_names_the_same_cause() -> None:
    """WSL_UTF8=1 is set on that Windows."""
    for text, name in WIDE:
        if name != "wsl-says":
            cause = _of_bridge(text.encode())
            assert cause is not None
            assert cause.name == name


@pytest.mark.parametrize(("said", "name"), NARROW, ids=[f"{name}-{n}" for n, (_, name) in enumerate(NARROW)])
@pytest.mark.parametrize("shell", ["cmd", "powershell", ""])
def test_what_comes_on_standard_error_names_the_cause(said: bytes, name: str, shell: str) -> None:
    cause = _of_bridge(b"", said, 1, shell)
    assert cause is not None
    assert cause.name == name


@pytest.mark.parametrize("said", OUTER)
def test_a_failure_before_windows_is_not_called_one_of_the_bridge(said: bytes) -> None:
    assert _of_bridge(b"", said) is None


@pytest.mark.parametrize(
    ("status", "shell", "name"),
    [
        (255, "cmd", "sshd-silent"),
        (1, "cmd", "no-host-keys-silent"),
        (1, "", "no-host-keys-silent"),
        (1, "powershell", "sshd-silent"),
        (None, "cmd", "bridge-silent"),
    ],
)
def test_an_end_without_a_word_is_told_by_its_status(status: int | None, shell: str, name: str) -> None:
    cause = _of_bridge(
        b"", b"** WARNING: connection is not using a post-quantum key exchange.\r\n", status, shell
    )
    assert cause is not None
    assert cause.name == name
    assert "/run/sshd" in cause.cause or name == "bridge-silent"


def test_a_greeting_is_no_fault_and_neither_is_plain_text_before_it() -> None:
    assert _of_bridge(b"SSH-2.0-OpenSSH_9.6\r\n", status=None) is None
    assert _of_bridge(b"Welcome!\r\nSSH-2.0-OpenSSH_9.6\r\n", status=None) is None
    assert symptoms.noise_of(b"Welcome!\r\nSSH-2.0-OpenSSH_9.6\r\n") == "Welcome!"
    assert symptoms.noise_of(b"SSH-2.0-OpenSSH_9.6\r\n") == ""


def test_text_that_ssh_refuses_before_a_greeting_is_named() -> None:
    warning = "wsl: Unknown key 'wsl2.typo' in C:\\Users\\you\\.wslconfig:2\r\n".encode("utf-16-le")
    for before in (warning, b"line\r\n" * 200):
        cause = _of_bridge(before + b"SSH-2.0-OpenSSH_9.6\r\n", status=None)
        assert cause is not None
        assert cause.name == "noise"
    assert "Unknown key" in _of_bridge(warning + b"SSH-2.0-x\r\n").cause


@pytest.mark.parametrize(("said", "name"), SSH, ids=[f"{name}-{n}" for n, (_, name) in enumerate(SSH)])
def test_what_ssh_says_names_the_cause(said: str, name: str) -> None:
    cause = symptoms.of_ssh(said, host="notebook", user="you", address="192.0.2.7")
    assert cause is not None
    assert cause.name == name


def test_a_refusal_inside_the_distro_is_another_matter_than_one_of_windows() -> None:
    cause = symptoms.of_ssh(
        "root@notebook-wsl: Permission denied (publickey).\n", host="notebook-wsl", windows="notebook"
    )
    assert cause is not None
    assert cause.name == "inner-refused"
    assert "from=" in cause.cause


def test_what_is_not_known_is_not_guessed() -> None:
    assert symptoms.of_ssh("", host="x") is None
    assert symptoms.of_ssh("something new\n", host="x") is None


def test_of_a_refused_key_all_three_causes_are_named_with_the_commands() -> None:
    cause = _of_bridge(b"", NARROW[-2][0])
    assert cause is not None
    for part in ("not in administrators_authorized_keys", "may write to that file", "key is in its profile"):
        assert part in cause.cause
    assert "*S-1-5-32-544:F /grant *S-1-5-18:F" in cause.step
    assert "/setowner *S-1-5-32-544" in cause.step


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\xff", bytes(range(256)) * 9, b"\xff\xfe", "🙂\x1b[2J\u202e".encode()]
)
@pytest.mark.parametrize("status", [None, 0, 1, 255])
def test_hostile_bytes_give_a_cause_that_a_terminal_can_show(data: bytes, status: int | None) -> None:
    for stdout, stderr in ((data, b""), (b"", data), (data, data)):
        cause = _of_bridge(stdout, stderr, status)
        assert cause is not None
        assert f"{cause.cause}{cause.step}".isprintable()
        assert len(cause.cause) < 1200


def test_braces_that_a_machine_says_are_shown_as_they_are() -> None:
    cause = _of_bridge(b"", b"{account} {0} {} is not here\r\n", 1)
    assert cause is not None
    assert "{account} {0} {}" in cause.cause


def test_utf_16_and_bytes_of_a_code_page_in_one_stream_are_both_read() -> None:
    said = "สวัสดี\r\n".encode("cp874") + "ไม่พบ Ubuntu\r\n".encode("utf-16-le")
    assert symptoms.text_of(said) == "สวัสดี\r\nไม่พบ Ubuntu\r\n"


class TestTable:
    """The causes as data."""

    @pytest.mark.parametrize("name", symptoms.CAUSES)
    def test_a_cause_has_all_its_texts_and_can_stand_within_a_sentence(self, name: str) -> None:
        cause = symptoms.CAUSES[name]
        for text in (cause.symptom, cause.cause, cause.step):
            assert text
            assert not text.endswith((".", " "))
            assert "  " not in text
        assert re.fullmatch(r"[a-z0-9-]+", name)

    def test_texts_ask_only_for_facts_that_are_given(self) -> None:
        known = {
            "host",
            "windows",
            "distro",
            "account",
            "profile",
            "said",
            "status",
            "shell",
            "user",
            "address",
            "other",
        }
        for cause in symptoms.CAUSES.values():
            for text in (cause.cause, cause.step):
                wanted = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
                assert wanted <= known, cause.name

    def test_every_sign_names_a_cause_of_the_table(self) -> None:
        signs = (*symptoms._BRIDGE, *symptoms._OUTER, *symptoms._SSH)
        assert {sign.cause for sign in signs} - {""} <= set(symptoms.CAUSES)

    def test_the_names_are_each_used_once(self) -> None:
        parts = (symptoms.BRIDGE, symptoms.WAY, symptoms.STANDING)
        assert len(symptoms.CAUSES) == sum(len(part) for part in parts)

    def test_the_error_of_every_verb_reads_well(self) -> None:
        cause = _of_bridge(NO_DISTRO.encode("utf-16-le"))
        assert cause is not None
        error = BridgeFailed(host="notebook-wsl", windows="notebook", cause=cause.cause, step=cause.step)
        assert ".." not in str(error)
        assert (
            "through notebook: There is no distro Ubuntu for the account สมชาย (There is no distribution"
            in str(error)
        )

    def test_the_errors_of_the_transport_and_the_causes_agree_on_what_is_unreachable(self) -> None:
        unreachable = {"nothing-listens", "no-answer", "no-route", "no-such-name", "silent"}
        for said, name in SSH:
            error = from_ssh(said, 255, host="x", addresses=("192.0.2.7",), user="x", pinned="x")
            if name in unreachable:
                assert type(error).__name__ == "HostUnreachable", said
