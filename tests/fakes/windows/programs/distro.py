"""How a program starts in a distro: as which user, where, with which environment. And how its end is told."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:/usr/local/games"
WINDOWS_PATH = "/mnt/c/Windows/system32:/mnt/c/Windows"
NO_USER = 67


def user(name: str) -> tuple[str, int, int, str, str] | None:
    """Given a name, a number or "" for the default user, return name, uid, gid, home and shell."""
    with open("/etc/passwd", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.rstrip("\n").split(":")
            if len(fields) == 7 and (name or "root") in (fields[0], fields[2]):
                return fields[0], int(fields[2]), int(fields[3]), fields[5], fields[6] or "/bin/sh"
    return None


def environment(distro: str, name: str, home: str, shell: str) -> dict[str, str]:
    """Return what a program in WSL gets: no PAM and no /etc/environment play a part."""
    return {
        "HOME": home,
        "HOSTTYPE": "x86_64",
        "LANG": "C.UTF-8",
        "LOGNAME": name,
        "NAME": os.uname().nodename,
        "PATH": f"{PATH}:/usr/lib/wsl/lib:{WINDOWS_PATH}",
        "SHELL": shell,
        "TERM": "xterm-256color",
        "USER": name,
        "WSL2_GUI_APPS_ENABLED": "1",
        "WSL_DISTRO_NAME": distro,
        "WSL_INTEROP": "/run/WSL/1_interop",
    }


def start(request: dict[str, Any], streams: tuple[int, int, int]) -> None:
    """In a forked process: become the program of a request. Never returns."""
    status = 1
    try:
        status = _become(request, streams)
    except Exception as error:  # noqa: BLE001  - whatever happens, this process ends here
        os.write(2, f"<3>WSL ({os.getpid()}) ERROR: {error!r}\n".encode("utf-8", "replace"))
    finally:
        os._exit(status)


def _become(request: dict[str, Any], streams: tuple[int, int, int]) -> int:
    import _signal as signal  # type: ignore[import-not-found]  # signal itself imports enum

    os.setsid()
    for place, handle in enumerate(streams):
        os.dup2(handle, place)
    os.closerange(3, 256)
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    found = user(request["user"])
    if found is None:
        return NO_USER
    name, uid, gid, home, shell = found
    if uid != os.geteuid():
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)
    for folder in (request["cd"], home, "/"):
        try:
            os.chdir(home if folder == "~" else folder)
            break
        except OSError:
            continue
    variables = environment(request["distro"], name, home, shell)
    argv = request["argv"]
    if argv is None:
        text = request["text"]
        base = os.path.basename(shell)
        argv = [shell, "-c", text] if text else [base if request["shell"] == "none" else f"-{base}"]
        program = shell
    else:
        program = argv[0]
    words = [os.fsencode(word.encode("utf-8", "surrogateescape")) for word in argv]
    try:
        os.execvpe(program, words, variables)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        said = f"<3>WSL ({os.getpid()}) ERROR: CreateProcessCommon:640: execvpe({program}) failed: {reason}\n"
        os.write(2, said.encode("utf-8", "surrogateescape"))
    return 1


def exit_code(status: int) -> int:
    """Given what waitpid says, return the exit code as a shell counts it."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
