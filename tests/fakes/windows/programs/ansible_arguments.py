"""The arguments of an Ansible module, and what it answers: as Ansible.Basic.cs does on Windows.

An option that is not played is refused, with the name of the stand-in in the message.
"""

from __future__ import annotations

import re

from . import drive
from .state import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_TRUE = ("y", "yes", "on", "1", "true", "t", "1.0")
_FALSE = ("n", "no", "off", "0", "false", "f", "0.0")
ALGORITHMS = ("md5", "sha1", "sha256", "sha384", "sha512")


class Failed(Exception):
    """A module that fails: its message and what else it answers."""

    def __init__(self, message: str, **more: object) -> None:
        super().__init__(message)
        self.more = more


class Left(Exception):
    """A module that has nothing more to do."""


class Option:
    """An option of a module, as its documentation has it.

    `played` are the choices that are played, if not all are; `internal`: only an action plugin gives it.
    """

    def __init__(
        self,
        kind: str = "str",
        default: object = None,
        *,
        required: bool = False,
        choices: tuple[Any, ...] = (),
        played: tuple[Any, ...] = (),
        aliases: tuple[str, ...] = (),
        elements: str = "",
        internal: bool = False,
    ) -> None:
        self.kind = kind
        self.default = default
        self.required = required
        self.choices = choices
        self.played = played or choices
        self.aliases = aliases
        self.elements = elements
        self.internal = internal


class Spec:
    """A module: its options, and how it is played."""

    def __init__(
        self,
        play: Callable[[Module], None],
        options: dict[str, Option],
        *,
        one_of: tuple[tuple[str, ...], ...] = (),
        exclusive: tuple[tuple[str, ...], ...] = (),
        check_mode: bool = True,
    ) -> None:
        self.play = play
        self.options = options
        self.one_of = one_of
        self.exclusive = exclusive
        self.check_mode = check_mode


class Module:
    """One run of a module."""

    def __init__(self, machine: Machine, name: str, given: dict[str, Any]) -> None:
        self.machine = machine
        self.name = name
        self.given = {key: value for key, value in given.items() if not key.startswith("_ansible_")}
        self.check = bool(given.get("_ansible_check_mode"))
        self.diff_wanted = bool(given.get("_ansible_diff"))
        self.params: dict[str, Any] = {}
        self.result: dict[str, Any] = {"changed": False}
        self.diff: dict[str, Any] = {}
        self.warnings: list[str] = []

    def fail(self, message: str, **more: object) -> NoReturn:
        """Fail as the real module would. Raise Failed."""
        raise Failed(message, **more)

    def unplayed(self, what: str) -> NoReturn:
        """Refuse what only the real module does. Raise Failed."""
        raise Failed(f"The Windows stand-in does not play {what} of {self.name}")

    def changed(self) -> bool:
        """Note a change; return whether it is to be made."""
        self.result["changed"] = True
        return not self.check

    def real(self, path: str) -> str | None:
        """Return the real path of a Windows path if there is something, else None."""
        import os

        real = drive.resolve(self.machine, path)
        return real if real is not None and os.path.exists(real) else None

    def answer(self, spec: Spec) -> dict[str, Any]:
        """Check the arguments, play the module, and return what it answers."""
        try:
            self.params = checked(self, spec)
            if self.check and not spec.check_mode:
                self.result["skipped"] = True
                self.result["msg"] = f"remote module ({self.name}) does not support check mode"
            else:
                spec.play(self)
        except Left:
            pass
        except Failed as error:
            self.result.update(error.more, failed=True, msg=str(error))
        self.result["invocation"] = {"module_args": self.params or self.given}
        if self.diff_wanted and self.diff:
            self.result["diff"] = self.diff
        if self.warnings:
            self.result["warnings"] = self.warnings
        return self.result


def checked(module: Module, spec: Spec) -> dict[str, Any]:
    """Given what a task gave, return all options with their values. Raise Failed."""
    names = {alias: name for name, option in spec.options.items() for alias in (name, *option.aliases)}
    unknown = sorted(set(module.given) - set(names))
    if unknown:
        known = ", ".join(sorted(name for name, option in spec.options.items() if not option.internal))
        raise Failed(
            f"Unsupported parameters for ({module.name}) module: {', '.join(unknown)}. "
            f"The Windows stand-in plays: {known}"
        )
    given = {names[name]: value for name, value in module.given.items() if value is not None}
    missing = [name for name, option in spec.options.items() if option.required and name not in given]
    if missing:
        raise Failed(f"missing required arguments: {', '.join(missing)}")
    for group in spec.exclusive:
        if len([name for name in group if name in given]) > 1:
            raise Failed(f"parameters are mutually exclusive: {', '.join(group)}")
    for group in spec.one_of:
        if not any(name in given for name in group):
            raise Failed(f"one of the following is required: {', '.join(group)}")
    found = {}
    for name, option in spec.options.items():
        value = given.get(name, option.default)
        found[name] = None if value is None else _value(module, name, option, value)
    return found


def _value(module: Module, name: str, option: Option, value: Any) -> Any:
    try:
        value = _converted(module, option.kind, value)
        if option.elements:
            value = [_converted(module, option.elements, item) for item in value]
    except (TypeError, ValueError) as error:
        raise Failed(
            f"argument for {name} is of type {type(value).__name__} and we were unable to convert to "
            f"{option.kind}: {error}"
        ) from error
    if option.choices and value not in option.choices:
        choices = ", ".join(map(str, option.choices))
        raise Failed(f"value of {name} must be one of: {choices}. Got no match for: {value}")
    if option.choices and value not in option.played:
        module.unplayed(f"{name}={value}")
    return value


def _converted(module: Module, kind: str, value: Any) -> Any:
    if kind == "bool":
        text = str(value).lower()
        if text not in _TRUE + _FALSE:
            raise ValueError(f"{value} cannot be converted to a bool")
        return text in _TRUE
    if kind == "int":
        return int(value)
    if kind in ("str", "path"):
        if isinstance(value, (dict, list)):
            raise TypeError("it is no text")
        text = str(value)
        return expanded(module.machine, text) if kind == "path" else text
    if kind == "list":
        if isinstance(value, str):
            return [item.strip() for item in value.split(",")]
        return value if isinstance(value, list) else [value]
    if kind == "dict" and not isinstance(value, dict):
        raise TypeError("it is no dict")
    return value


def expanded(machine: Machine, text: str) -> str:
    """Return a text with %NAME% replaced by the machine's variables."""

    def replaced(match: re.Match[str]) -> str:
        value = machine.variable(match.group(1))
        return match.group(0) if value is None else value

    return re.sub("%([^%]+)%", replaced, text)
