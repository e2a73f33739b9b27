"""What goes wrong on the way to a host, told from the symptom: pure, so that every verb can use it.

`of_bridge` reads what came out of a bridge instead of the greeting of the distro's sshd, `of_ssh` what
the ssh program says. `docs/doctor.md` is made from `CAUSES`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from maw.errors import printable
from maw.transport.causes import Cause
from maw.transport.causes_bridge import BRIDGE
from maw.transport.causes_way import STANDING, WAY

__all__ = ["CAUSES", "Cause", "named", "noise_of", "of_bridge", "of_ssh", "quoted", "text_of"]

CAUSES: dict[str, Cause] = {cause.name: cause for cause in (*BRIDGE, *WAY, *STANDING)}
GREETING = b"SSH-"
# Characters of a far machine's words that are quoted.
_LONGEST_QUOTE = 240
# paramiko gives up after so many lines without a greeting, ssh after ten times as many.
_MOST_NOISE_LINES = 90


@dataclass(frozen=True)
class _Sign:
    """A pattern in what was said, and the cause that it betrays."""

    pattern: re.Pattern[str]
    cause: str


def _signs(*pairs: tuple[str, str]) -> tuple[_Sign, ...]:
    return tuple(_Sign(re.compile(pattern, re.IGNORECASE), cause) for pattern, cause in pairs)


# The first that is found counts. Codes come before words: Windows speaks its owner's language.
_BRIDGE = _signs(
    (r"0x8004032E|WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED|from the local system", "local-system"),
    (r"0x800705b3|requires elevation|interactive window station", "window-station"),
    (r"0x80070780|ERROR_CANT_ACCESS_FILE|cannot be accessed by the system", "store-wsl"),
    (r"WSL_E_DISTRO_NOT_FOUND|no distribution with the supplied name", "no-distro"),
    (r"WSL_E_DEFAULT_DISTRO_NOT_FOUND|has no installed distributions", "no-distro-at-all"),
    (r"WSL_E_USER_NOT_FOUND|getpwnam\(|User not found", "no-linux-user"),
    (
        r"WSL_OPTIONAL_COMPONENT_REQUIRED|Subsystem for Linux (is not installed|has not)|wsl.exe --install",
        "no-wsl",
    ),
    (r"HCS_E_SERVICE_NOT_AVAILABLE|HCS_E_HYPERV_NOT_INSTALLED|0x80370102|0x80370114", "no-virtual-machine"),
    (r"VIRTUAL_MACHINE_PLATFORM_REQUIRED|0x80041002", "no-virtual-machine"),
    (r"ERROR_SHARING_VIOLATION|0x80070020|MountVhd|ext4\.vhdx", "no-disk"),
    (r"0x800705aa|0x8007000e|E_OUTOFMEMORY|Insufficient system resources", "no-memory"),
    (r"execvpe\(?/usr/sbin/sshd|/usr/sbin/sshd\b.*(No such file|not found)", "no-sshd"),
    (r"/run/sshd must be owned", "run-sshd-open"),
    (r"Missing privilege separation directory", "no-run-sshd"),
    (r"no hostkeys available", "no-host-keys"),
    (r"Privilege separation user sshd does not exist", "no-sshd-user"),
    (r"sshd_config\S*[: ].*(Bad configuration|terminating|line \d+)|sshd_config\S*: No such", "sshd-config"),
    (r"Invalid command line (argument|option)|0x80070057|E_INVALIDARG", "wsl-arguments"),
    (r"command line is too long|The filename or extension is too long", "too-long"),
    (r"ExecutionPolicy|running scripts is disabled|PSSecurityException", "profile-refused"),
    (r"CommandNotFoundException", "no-wsl-exe"),
    # cmd puts the name in quotes in every language; who else begins a line with it?
    (r"(^|\n)\s*'\"?wsl(\.exe)?\"?' |is not recognized as (an internal|the name)", "no-wsl-exe"),
    (r"Access is denied|การเข้าถึงถูกปฏิเสธ|E_ACCESSDENIED|0x80070005", "store-wsl"),
    (r"cannot find the (path|file) specified|0x8007000[23]", "no-wsl-exe"),
)

# What only the ssh program says of the way to Windows, and what is no fault of the bridge then.
_OUTER = _signs(
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key verification failed|host key is known for", ""),
    (r"UNPROTECTED PRIVATE KEY FILE|bad permissions", "key-file-open"),
    (r"Permission denied \(", "outer-refused"),
    (r"Too many authentication failures", "too-many-keys"),
    (r"ssh_config\S*[: ].*Bad configuration|Bad owner or|ControlPath too long|too long for Unix domain", ""),
    (r"Could not resolve|Connection (refused|timed out|reset)|Operation timed out|No route to host", ""),
    (r"Network is unreachable|Host is down|banner exchange|kex_exchange_identification", ""),
    (r"Unable to negotiate|Connection closed by", ""),
)

# Lines with which ssh warns of something that is not the matter here.
_NOTICES = re.compile(r"^(\*\* |Warning: |debug\d: |mux_client).*$", re.MULTILINE)

_SSH = _signs(
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", "host-key-changed"),
    (r"host key is known for|Host key verification failed", "host-key-unknown"),
    (r"UNPROTECTED PRIVATE KEY FILE|bad permissions", "key-file-open"),
    (r"no such identity|Load key .*(invalid format|error in libcrypto|No such file)", "key-file-bad"),
    (r"banner line contains invalid characters|banner line too long", "utf16-greeting"),
    (r"ControlPath too long|too long for Unix domain socket|path .* too long", "control-path"),
    (r"Bad owner or permissions on|Bad configuration option|terminating, \d+ bad", "config-refused"),
    (r"Too many authentication failures", "too-many-keys"),
    (r"Permission denied \(|Permission denied, please", "refused"),
    (r"Unable to negotiate", "no-common-algorithm"),
    (r"administratively prohibited|open failed", "forwarding-refused"),
    (r"Could not resolve hostname|Name or service not known", "no-such-name"),
    (r"Connection refused", "nothing-listens"),
    (r"No route to host|Network is unreachable|Host is down", "no-route"),
    (r"Connection timed out during banner exchange|banner exchange", "silent"),
    (r"timed out", "no-answer"),
    (r"closed by UNKNOWN port 65535|Error reading SSH protocol banner", "sshd-silent"),
    (r"not responding|Broken pipe|closed by remote host|Connection (reset|closed) by", "link-lost"),
)


def named(name: str, **facts: object) -> Cause:
    """Given a cause's name and what is known, return it with its texts filled in.

    What a far machine said is made harmless to a terminal. Raise KeyError for an unknown name.
    """
    cause = CAUSES[name]
    known = {key: printable(value) for key, value in facts.items()}
    return replace(cause, cause=cause.cause.format_map(known), step=cause.step.format_map(known))


def of_bridge(
    stdout: bytes,
    stderr: bytes,
    status: int | None,
    *,
    host: str,
    windows: str,
    distro: str | None,
    account: str,
    shell: str,
) -> Cause | None:
    """Given what came out of a bridge, return why no sshd greeted there.

    `status` is None if it still ran when the time was up. `account` is the Windows account that logs
    in, `shell` what reads commands there; "" is unknown. None means that the distro's sshd greets, or
    that ssh did not get into Windows at all: then what it said is the matter (`of_ssh`).
    """
    before, greets, _ = stdout.partition(GREETING)
    facts = {
        "host": host,
        "windows": windows,
        "distro": distro or "the default one",
        "account": f"the account {account}" if account else "the account that logs in",
        "profile": account or "ACCOUNT",
        "shell": shell or "its shell",
    }
    if greets:
        # Lines of plain text before the greeting are allowed; ssh refuses NUL, and UTF-16 has many.
        harmful = b"\0" in before or before.count(b"\n") > _MOST_NOISE_LINES
        return named("noise", said=quoted(text_of(before)), **facts) if harmful else None
    said, warned = text_of(stdout), _NOTICES.sub("", text_of(stderr))
    if not stdout.strip():
        outer = _first(_OUTER, warned)
        if outer is not None:
            return named(outer, said=quoted(warned), **facts) if outer else None
    found = _first(_BRIDGE, f"{said}\n{warned}")
    if found is not None:
        return named(found, said=quoted(f"{said}\n{warned}"), **facts)
    if not (said + warned).strip():
        if status is None:
            return named("bridge-silent", **facts)
        # Status 1 is sshd's own for missing host keys, and PowerShell's for everything.
        first = "no-host-keys-silent" if status == 1 and shell != "powershell" else "sshd-silent"
        return named(first, status=status, **facts)
    if b"\0" in stdout:
        return named("wsl-says", said=quoted(said), **facts)
    return named("no-greeting", said=quoted(f"{said}\n{warned}"), status=_ended(status), **facts)


def of_ssh(
    said: str,
    *,
    host: str,
    user: str = "this user",
    address: str = "its address",
    windows: str | None = None,
) -> Cause | None:
    """Given what the ssh program wrote to standard error, return the cause, None if it is not known.

    `windows` is given for a WSL host: the Windows on the way there.
    """
    found = _first(_SSH, said)
    if found is None:
        return None
    facts: dict[str, object] = {"host": host, "user": user, "address": address, "windows": windows or host}
    facts |= {"distro": "DISTRO", "account": f"the account {user}", "profile": user}
    if found == "refused" and windows is not None:
        found = "inner-refused"
    return named(found, said=quoted(_last_line(said)), **facts)


def noise_of(stdout: bytes) -> str:
    """Given what came out of a bridge, return the text that stood before the greeting, "" if none."""
    before, greets, _ = stdout.partition(GREETING)
    return quoted(text_of(before)) if greets else ""


def text_of(data: bytes) -> str:
    """Given what a Windows program wrote, return it as text.

    wsl.exe writes UTF-16LE, others the code page of the machine or UTF-8, and one stream may have
    both. Of code pages, the Thai one is tried: it keeps ASCII, as all do.
    """
    data = data.replace(b"\xff\xfe", b"")
    first = data.find(b"\0")
    if first < 0:
        return _narrow(data)
    start = max(0, first - 1)
    # Thai letters have no NUL: go back while the pairs are plausible letters.
    while start >= 2 and data[start - 1] in _HIGH_BYTES:
        start -= 2
    wide = data[start:]
    return _narrow(data[:start]) + wide[: len(wide) // 2 * 2].decode("utf-16-le", "replace")


# High bytes of Latin, Greek, Cyrillic and Thai letters; not those of tabs and line ends.
_HIGH_BYTES = frozenset(range(0x10)) - {0x09, 0x0A, 0x0D}


def _narrow(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp874", "replace")


def quoted(text: str) -> str:
    """Given what a far machine said, return it as one short line, harmless to a terminal."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 1] + "…"


def _first(signs: tuple[_Sign, ...], text: str) -> str | None:
    return next((sign.cause for sign in signs if sign.pattern.search(text)), None)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")


def _ended(status: int | None) -> str:
    return "still running" if status is None else f"status {status}"


def page() -> str:
    """Return docs/doctor.md without its first line: every symptom, cause and next step."""
    example = {
        "host": "notebook-wsl",
        "windows": "notebook",
        "distro": "Ubuntu",
        "account": "the account you",
        "profile": "you",
        "user": "you",
        "address": "192.168.1.146",
        "other": "server",
        "shell": "powershell",
        "status": "status 1",
        "said": "…",
    }
    lines = [
        "# What the doctor finds",
        "",
        "`cutter doctor HOST` looks at each hop of the way to a host, and names the cause of what does not",
        "work. The same causes stand in the errors of the other verbs. In the tables, … is what the far",
        "machine said; a notebook is `notebook`, its WSL `notebook-wsl`.",
    ]
    parts = (
        ("Windows, and the WSL in it", BRIDGE),
        ("The way to a machine", WAY),
        ("What works now and fails later", STANDING),
    )
    for title, causes in parts:
        lines += ["", f"## {title}", "", "| Symptom | Cause | Next step |", "|---|---|---|"]
        for cause in causes:
            filled = named(cause.name, **example)
            cells = (filled.symptom, filled.cause, filled.step)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
