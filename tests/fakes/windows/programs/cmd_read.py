"""What cmd.exe makes of the text after /c: variables, carets, quotes, operators, redirections.

As in cmd: a double quote only turns the meaning of operators and carets off and on, it stays in
the text; a single quote means nothing; percent signs are read first, everywhere; the text ends
with its first line.
"""

from __future__ import annotations

from .state import Machine

LONGEST = 8191
TOO_LONG = "The command line is too long.\r\n"
_START = " \t,;="


class Unexpected(Exception):
    """A text that is no command; its argument is the part that was not expected."""


class Command:
    """One command: its text as the program gets it, and its redirections (handle, operator, target)."""

    def __init__(self, text: str, redirections: list[tuple[int, str, str]]) -> None:
        self.text = text
        self.redirections = redirections


class Both:
    """Two parts with an operator between them: `&`, `&&`, `||` or `|`."""

    def __init__(self, operator: str, left: object, right: object) -> None:
        self.operator = operator
        self.left = left
        self.right = right


def expand(text: str, machine: Machine) -> str:
    """Replace %NAME% by variables; one that is not defined stays as it was written."""
    parts: list[str] = []
    while True:
        before, percent, rest = text.partition("%")
        parts.append(before)
        name, end, after = rest.partition("%")
        if not percent or not end:
            return "".join([*parts, percent, rest])
        value = _value(name, machine)
        if value is None:
            parts.append(percent + name)
            text = end + after
        else:
            parts.append(value)
            text = after


def _value(text: str, machine: Machine) -> str | None:
    name, colon, change = text.partition(":")
    value = machine.variable(name) if name else None
    if value is None or not colon:
        return value
    if change.startswith("~"):
        numbers = [int(number) for number in change[1:].split(",")]
        start = numbers[0] if numbers[0] >= 0 else max(0, len(value) + numbers[0])
        if len(numbers) == 1:
            return value[start:]
        return value[start : start + numbers[1]] if numbers[1] >= 0 else value[start : numbers[1]]
    old, _, new = change.partition("=")
    return value.replace(old, new) if old else value


def parse(text: str, machine: Machine) -> object | None:
    """Given the text after /c, return a Command, a Both, or None for an empty text. Raise Unexpected."""
    line = expand(text, machine).replace("\r", "").split("\n", 1)[0]
    reader = _Reader(line)
    if not line.strip(_START + "@"):
        return None
    tree = reader.sequence(inside=False)
    if reader.at < len(line):
        raise Unexpected(line[reader.at])
    return tree


class _Reader:
    def __init__(self, line: str) -> None:
        self.line = line
        self.at = 0

    def sequence(self, inside: bool) -> object:
        left = self._chain("||", inside)
        while self._operator() == "&":
            self.at += 1
            self._blanks()
            if self.at == len(self.line) or (inside and self.line[self.at] == ")"):
                break
            left = Both("&", left, self._chain("||", inside))
        return left

    def _chain(self, operator: str, inside: bool) -> object:
        lower = {"||": "&&", "&&": "|"}.get(operator, "")
        left = self._chain(lower, inside) if lower else self._single(inside)
        while self._operator() == operator:
            self.at += len(operator)
            left = Both(operator, left, self._chain(lower, inside) if lower else self._single(inside))
        return left

    def _operator(self) -> str:
        rest = self.line[self.at : self.at + 2]
        return rest if rest in ("&&", "||") else rest[:1] if rest[:1] in ("&", "|") else ""

    def _blanks(self) -> None:
        while self.at < len(self.line) and self.line[self.at] in _START + "@":
            self.at += 1

    def _single(self, inside: bool) -> object:
        self._blanks()
        if self.at < len(self.line) and self.line[self.at] == "(":
            self.at += 1
            tree = self.sequence(inside=True)
            if self.line[self.at : self.at + 1] != ")":
                raise Unexpected(")")
            self.at += 1
            self._blanks()
            return tree
        command = self._command(inside)
        if not command.text.strip() and not command.redirections:
            raise Unexpected(self._operator() or self.line[self.at : self.at + 1] or "the end")
        return command

    def _command(self, inside: bool) -> Command:
        text: list[str] = []
        redirections: list[tuple[int, str, str]] = []
        quoted = False
        while self.at < len(self.line):
            character = self.line[self.at]
            if character == '"':
                quoted = not quoted
            elif not quoted and (character in "&|" or (inside and character == ")")):
                break
            elif not quoted and character == "^":
                self.at += 1
                character = self.line[self.at : self.at + 1]
            elif not quoted and character in "<>":
                redirections.append(self._redirection(text))
                continue
            text.append(character)
            self.at += 1
        return Command("".join(text), redirections)

    def _redirection(self, text: list[str]) -> tuple[int, str, str]:
        operator = self.line[self.at]
        handle = 0 if operator == "<" else 1
        # A digit right before counts as a handle only where it is a word of its own.
        if text and text[-1] in "0123456789" and (len(text) == 1 or text[-2] in " \t"):
            handle = int(text.pop())
        self.at += 1
        if self.line[self.at : self.at + 1] == ">":
            operator = ">>"
            self.at += 1
        if self.line[self.at : self.at + 1] == "&":
            target = self.line[self.at : self.at + 2]
            self.at += 2
            return handle, operator, target
        self._blanks()
        target, quoted = "", False
        while self.at < len(self.line):
            character = self.line[self.at]
            if character == '"':
                quoted = not quoted
            elif not quoted and character in ' \t&|<>()"':
                break
            else:
                target += character
            self.at += 1
        if not target:
            raise Unexpected(operator)
        return handle, operator, target
