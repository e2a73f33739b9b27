"""`cutter offload`: a command on a satellite."""

from __future__ import annotations

import base64
import math
import os
import sys
from typing import Any

import click

from maw.errors import Misuse


@click.command("offload", short_help="Run a command on a satellite.")
@click.option("--on", default="auto", metavar="HOST", help="Host to run on: a name, local, or auto.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=None, help="Seconds it may take."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the output and the ending.")
@click.argument("command_line", nargs=-1, required=True, metavar="-- CMD...", type=click.UNPROCESSED)
def command(on: str, timeout: float | None, as_json: bool, command_line: tuple[str, ...]) -> int:
    """Run CMD on a satellite: exact arguments and bytes, its own exit code.

    Standard input, output and errors are those of this command. maw's own failures have exit
    codes from 240.
    """
    from maw.cli.workspace import current

    if timeout is not None and not math.isfinite(timeout):
        raise click.BadParameter("must be a number of seconds.", param_hint="--timeout")
    context = current()
    host = context.pick(on)
    if host is None and on == "auto":
        raise Misuse(
            reason=f"There is no satellite of yours in {context.workspace.inventory}. "
            "Put one there, or name where to run: --on HOST or --on local."
        )
    with context.transport(host, warm=False) as transport:
        if as_json:
            result = transport.run(command_line, stdin=_StandardInput(), timeout=timeout)
            click.echo(_as_json(result))
        else:
            result = transport.run(
                command_line,
                stdin=_StandardInput(),
                timeout=timeout,
                on_stdout=lambda data: _write(1, data),
                on_stderr=lambda data: _write(2, data),
            )
    return result.ending.code


class _StandardInput:
    """This process's standard input, as it comes."""

    def read(self, size: int, /) -> bytes:
        try:
            return os.read(0, size)
        except OSError:
            # Closed before we were started: the same as empty.
            return b""


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _as_json(result: Any) -> str:
    import json

    plain: dict[str, Any] = {
        "schema": "maw.offload/1",
        "host": result.host,
        "argv": list(result.argv),
        "exit_status": result.ending.exit_status,
        "signal": result.ending.signal,
        "seconds": round(result.seconds, 6),
    }
    for name in ("stdout", "stderr"):
        data = getattr(result, name)
        try:
            plain[name] = data.decode("utf-8")
        except UnicodeDecodeError:
            plain[f"{name}_base64"] = base64.b64encode(data).decode("ascii")
    sys.stdout.flush()
    return json.dumps(plain)
