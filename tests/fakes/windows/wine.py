"""Debian's Wine for the parser "wine": one prefix for each test run, our small Windows programs in it."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.fakes.windows.programs import wine_run

SOURCE = Path(__file__).with_name("wsl.c")
COMPILER = "x86_64-w64-mingw32-gcc"
WINE = "/usr/bin/wine"


def missing() -> str | None:
    """Return what is missing for a genuine cmd.exe here, or None."""
    if not os.access(WINE, os.X_OK):
        return "no Wine is installed here (apt install wine)"
    if shutil.which(COMPILER) is None:
        return "no compiler for Windows is installed here (apt install gcc-mingw-w64-x86-64)"
    return None


@functools.cache
def prefix() -> Path:
    """Make a Wine prefix, which takes some seconds; it is gone when Python ends."""
    folder = Path(tempfile.mkdtemp(prefix="maw-wine-"))
    environment = wine_run.environment(str(folder))
    atexit.register(_remove, folder, environment, os.getpid())
    # Wine's background processes keep what they inherit open.
    quiet: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    subprocess.run([WINE, "wineboot", "--init"], check=True, env=environment, timeout=120, **quiet)
    windows = folder / "drive_c" / "windows"
    program = windows / "sshd-run.exe"
    subprocess.run([COMPILER, "-O1", "-Wall", "-o", str(program), str(SOURCE)], check=True)
    for name in wine_run.NATIVE:
        target = windows / "system32" / f"{name}.exe"
        target.unlink(missing_ok=True)
        shutil.copyfile(program, target)
    shutil.copyfile(program, windows / "argv.exe")
    own = folder / "drive_c" / "Program Files" / "WSL"
    own.mkdir(parents=True)
    shutil.copyfile(program, own / "wsl.exe")
    # The server stays, else each command would wait a second for a new one.
    subprocess.run(["/usr/lib/wine/wineserver", "-p"], check=False, env=environment, **quiet)
    return folder


def _remove(folder: Path, environment: dict[str, str], owner: int) -> None:
    if os.getpid() != owner:
        return
    subprocess.run(["/usr/lib/wine/wineserver", "-k", "-w"], check=False, env=environment, timeout=20)
    shutil.rmtree(folder, ignore_errors=True)
