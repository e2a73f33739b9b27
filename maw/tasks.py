"""The verbs of `maw` and `cutter` as an Invoke collection, generated from the doors.

`inv --list` shows them; `inv pipeline --src FILE` is `maw pipeline FILE`. Nothing is written
twice: names, help texts and defaults are the Click commands' own.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click
from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import Task

from maw.cli.program import CUTTER, MAW, load
from maw.errors import MawError

if TYPE_CHECKING:
    from collections.abc import Mapping


def collection() -> Collection:
    """Return the collection: maw's verbs, and below `cutter` those of cutter."""
    root = _group("maw", {verb: load(place) for verb, place in MAW.items()})
    root.add_collection(_group("cutter", {verb: load(place) for verb, place in CUTTER.items()}))
    return root


def _group(program: str, verbs: Mapping[str, click.Command]) -> Collection:
    group = Collection(program.rpartition(" ")[2])
    for verb, command in sorted(verbs.items()):
        if isinstance(command, click.Group):
            group.add_collection(_group(f"{program} {verb}", command.commands))
        else:
            group.add_task(task(program, verb, command))
    return group


def task(program: str, verb: str, command: click.Command) -> Task[Any]:
    """Given a verb and its Click command, return the Invoke task that does the same."""
    names = {_name(parameter): parameter for parameter in command.params}

    def body(_context: object, **values: Any) -> None:
        try:
            code = command.main(
                _arguments(names, values), prog_name=f"{program} {verb}", standalone_mode=False
            )
        except click.ClickException as error:
            raise Exit(error.format_message(), code=error.exit_code) from error
        except MawError as error:
            raise Exit(str(error), code=error.exit_code) from error
        if isinstance(code, int) and code:
            raise Exit(code=code)

    body.__name__ = verb.replace("-", "_")
    body.__doc__ = command.help
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("context", kind)]
    parameters += [inspect.Parameter(name, kind, default=_default(names[name])) for name in names]
    body.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return Task(
        body,
        name=verb,
        positional=[],
        iterable=[name for name, parameter in names.items() if _many(parameter)],
        help={name: help_text for name, parameter in names.items() if (help_text := _help(parameter))},
        auto_shortflags=False,
    )


def _name(parameter: click.Parameter) -> str:
    """The option as it is typed: `as_json` is `--json`."""
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len).lstrip("-").replace("-", "_")
    return str(parameter.name)


def _many(parameter: click.Parameter) -> bool:
    return parameter.nargs == -1 or bool(getattr(parameter, "multiple", False))


def _help(parameter: click.Parameter) -> str | None:
    if isinstance(parameter, click.Option):
        return parameter.help
    return (
        "as on the command line; may be given several times" if _many(parameter) else "as on the command line"
    )


def _default(parameter: click.Parameter) -> Any:
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return False
    # Every value arrives as text, and Click converts it as on its own command line.
    return None if not _many(parameter) else []


def _arguments(names: Mapping[str, click.Parameter], values: Mapping[str, Any]) -> list[str]:
    options: list[str] = []
    words: list[str] = []
    for name, parameter in names.items():
        value = values.get(name)
        if value is None or value is False or value == []:
            continue
        if not isinstance(parameter, click.Option):
            words += [str(word) for word in value] if _many(parameter) else [str(value)]
        elif parameter.is_flag:
            options.append(max(parameter.opts, key=len))
        else:
            for one in value if _many(parameter) else [value]:
                options += [max(parameter.opts, key=len), str(one)]
    return [*options, "--", *words] if words else options
