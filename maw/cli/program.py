"""How a door opens: find the verb, run it, print what went wrong, leave with the right code."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

import maw
from maw.errors import Interrupted, MawError, printable
from maw.files import NO_SPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

# Verb -> "module:command". A verb's module is imported when it is run or listed.
MAW: Mapping[str, str] = {
    "auto": "maw.cli.auto:command",
    "demo": "maw.cli.demo:command",
    "init": "maw.cli.init:command",
    "pipeline": "maw.cli.pipeline:pipeline",
    "proxmox-token": "maw.cli.proxmox_token:command",
    "summarize": "maw.cli.pipeline:summarize",
    "weights": "maw.cli.weights:command",
}
CUTTER: Mapping[str, str] = {
    "doctor": "maw.cli.doctor:command",
    "keys": "maw.cli.keys:command",
    "mirrors": "maw.cli.mirrors:mirrors",
    "nodes": "maw.cli.nodes:command",
    "offload": "maw.cli.offload:command",
    "provision": "maw.cli.provision:command",
    "satellite-init": "maw.cli.satellite_init:command",
    "ssh-config": "maw.cli.trust:ssh_config",
    "start": "maw.cli.mirrors:start",
    "sync": "maw.cli.sync:command",
    "trust": "maw.cli.trust:trust",
    "verify": "maw.cli.mirrors:verify",
}


class Door(click.Group):
    """A program whose verbs are imported only when they are needed."""

    def __init__(self, name: str, verbs: Mapping[str, str], help_text: str) -> None:
        super().__init__(name, help=help_text, no_args_is_help=True)
        self._verbs = verbs
        self.params.append(_version_option(name))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the verbs."""
        return sorted(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Given a verb, return its command, or None if there is none of that name."""
        if cmd_name not in self._verbs:
            return None
        return load(self._verbs[cmd_name])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Given the words of the command line, return the verb's command; name the nearest if unknown."""
        if args and args[0] not in self._verbs and not args[0].startswith("-"):
            nearest = difflib.get_close_matches(args[0], self._verbs, n=1, cutoff=0.0)[0]
            word = printable(args[0])
            raise click.UsageError(f"There is no verb '{word}'. Did you mean '{nearest}'?", ctx)
        return super().resolve_command(ctx, args)


def _version_option(name: str) -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            click.echo(f"{name} {maw.__version__}")
            ctx.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Show the version.",
    )


def load(place: str) -> click.Command:
    """Given "module:command", return the command."""
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command


def door(name: str) -> click.Command:
    """Given a program's name, return it."""
    if name == "maw":
        return Door("maw", MAW, "One server and spare notebooks become one small AI cluster.")
    if name == "cutter":
        return Door(
            "cutter",
            CUTTER,
            "Drive the cluster: its nodes, commands that run on them, mirrors of containers.",
        )
    return load("maw.cli.auto:command")


def run(name: str) -> NoReturn:
    """Given a program's name, run it on the command line and leave with its exit code."""
    code = 0
    open_closed_streams()
    try:
        answer = door(name).main(prog_name=name, standalone_mode=False)
        code = answer if isinstance(answer, int) else 0
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = complain(name, Interrupted(after=""))
    except MawError as error:
        code = complain(name, error)
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has enough; the code is the one of a program that SIGPIPE ends.
        # SystemExit is what Click makes of it when it sees it first, and of nothing else here.
        code = 141
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        with contextlib.suppress(OSError):  # it may be standard error that is full
            click.echo(
                f"{name}: the output could not be written: {error.strerror}. Free some space there.",
                err=True,
            )
        code = 13
    leave(code)


def open_closed_streams() -> None:
    """Give each of the three standard streams that was closed before the start the null device.

    Else the next file or connection would get its number, and our output.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def complain(name: str, error: MawError) -> int:
    """Given an error, print its line to standard error and return its exit code."""
    with contextlib.suppress(OSError):  # the code still tells when standard error is full
        click.echo(
            click.style(f"{name}: ", fg="red", bold=True) + str(error),
            err=True,
            color=colour(sys.stderr.isatty()),
        )
    return error.exit_code


def colour(terminal: bool) -> bool:
    """Given whether a stream is a terminal, return whether to colour it (NO_COLOR says never)."""
    return terminal and not os.environ.get("NO_COLOR")


def leave(code: int) -> NoReturn:
    """Leave with `code`, whatever state the standard streams are in."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Said already, or the reader is gone: the interpreter must not say it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)
