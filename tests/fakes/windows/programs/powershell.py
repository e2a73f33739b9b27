"""What powershell.exe -c makes of a text, as far as starting programs goes. Scripts are not emulated.

Dollar signs, backticks, semicolons, ampersands and both kinds of quotes are live; the profile
speaks first; a program's exit code becomes 1 unless the text ends with `exit $LASTEXITCODE`.
"""

from __future__ import annotations

from . import command_line, programs
from .state import Machine

_UNKNOWN = (
    "{0} : The term '{0}' is not recognized as the name of a cmdlet, function, script file, "
    "or operable program.\r\n"
)
_AMPERSAND = (
    "The ampersand (&) character is not allowed. The & operator is reserved for future use; "
    'wrap an ampersand in double quotation marks ("&") to pass it as part of a string.'
)
# Windows' own limit for any command line.
LONGEST = 32767
ENCODED = ("-encodedcommand", "-enc", "-ec", "-e")


class ParseError(Exception):
    """A text that does not parse: nothing of it runs."""


class _Word:
    """A word: its text, and whether it is a string, which as a statement is printed and not run."""

    def __init__(self, text: str, is_string: bool) -> None:
        self.text = text
        self.is_string = is_string


def run(machine: Machine, text: str) -> int:
    """Do what sshd does with PowerShell as default shell: `powershell.exe -c "<text, escaped>"`."""
    line = f"powershell.exe -c {command_line.quote(text)}"
    if len(line) > LONGEST:
        machine.err("exec request failed on channel 0\r\n")
        return 1
    return program(machine, command_line.split(line)[1:])


def program(machine: Machine, arguments: list[str]) -> int:
    """Given the arguments of powershell.exe, run the text after -c; return the exit code."""
    words = [word.lower() for word in arguments]
    coded = next((i for i, word in enumerate(words) if word in ENCODED), None)
    if coded is not None and coded + 1 < len(arguments):
        from . import ansible_bootstrap

        return ansible_bootstrap.encoded(machine, arguments[coded + 1])
    place = next((i for i, word in enumerate(words) if word in ("-c", "-command")), None)
    text = " ".join(arguments if place is None else arguments[place + 1 :])
    if machine.state["profile_noise"] and "-noprofile" not in words[:place]:
        machine.out(machine.state["profile_noise"])
    return script(machine, text)


def script(machine: Machine, text: str) -> int:
    """Run a script as far as it is programs, strings and variables; return the exit code."""
    last: list[int] = [0]
    try:
        statements = _Reader(text).statements()
    except ParseError as error:
        machine.err(f"{error}\r\n    + FullyQualifiedErrorId : ParserError\r\n")
        return 1
    good = True
    for statement in statements:
        words, called = [], False
        for raw in statement:
            if raw == "&":
                called = True
                continue
            words.append(_evaluated(raw, machine, last[0]))
        if not words:
            continue
        if words[0].text.lower() == "exit" and not words[0].is_string:
            try:
                return int(words[1].text) if len(words) > 1 else 0
            except ValueError:
                return 0
        good = _statement(machine, words, called, last)
    return 0 if good else 1


def _statement(machine: Machine, words: list[_Word], called: bool, last: list[int]) -> bool:
    """Run one statement; return what PowerShell then holds in `$?`."""
    name = words[0].text
    if words[0].is_string and not called:
        machine.out(name + "\r\n")
        return True
    if name.lower() in ("echo", "write-output"):
        for word in words[1:]:
            machine.out(word.text + "\r\n")
        return True
    found = programs.known(machine, name)
    if found is None:
        machine.err(_UNKNOWN.format(name))
        return False
    refused = programs.refusal(machine, found)
    if refused:
        machine.err(f"Program '{found}' failed to run: {refused.rstrip('.')}\r\n")
        return False
    # Windows PowerShell wraps arguments with blanks, leaves quotes in them as they are, drops empty ones.
    given = [f'"{word.text}"' if " " in word.text else word.text for word in words[1:] if word.text]
    path = f'"{name}"' if " " in name else name
    last[0] = programs.run(machine, found, " ".join([path, *given]))
    return last[0] == 0


class _Reader:
    """Takes a text apart into statements; a statement is a list of raw words."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def statements(self) -> list[list[str]]:
        found: list[list[str]] = [[]]
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in " \t\r":
                self.at += 1
            elif character in ";\n":
                self.at += 1
                found.append([])
            elif character == "#":
                self.at = (self.text + "\n").index("\n", self.at)
            elif character == "&":
                if found[-1]:
                    raise ParseError(_AMPERSAND)
                self.at += 1
                found[-1].append("&")
            elif character in "|<>(){}":
                raise ParseError(f"The stand-in's PowerShell runs programs only, it knows no {character}")
            else:
                found[-1].append(self._word())
        return found

    def _word(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in " \t\r\n;&|<>(){}":
            character = self.text[self.at]
            self.at += 2 if character == "`" else 1
            if character in "'\"":
                self._string(character)
        return self.text[start : self.at]

    def _string(self, quote: str) -> None:
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 2 if character == "`" and quote == '"' else 1
            if character == quote:
                if self.text[self.at : self.at + 1] != quote:
                    return
                self.at += 1
        raise ParseError(f"The string is missing the terminator: {quote}.")


def _evaluated(raw: str, machine: Machine, code: int) -> _Word:
    """Given a raw word, return it with variables, escapes and quotes done."""
    text: list[str] = []
    at, quote = 0, ""
    while at < len(raw):
        character = raw[at]
        following = raw[at + 1 : at + 2]
        at += 1
        if quote == "'":
            if character != "'":
                text.append(character)
            elif following == "'":
                text.append("'")
                at += 1
            else:
                quote = ""
        elif character == "`":
            text.append({"n": "\n", "r": "\r", "t": "\t", "0": "\0"}.get(following, following))
            at += 1
        elif character == "$":
            value, at = _variable(raw, at, machine, code)
            text.append(value)
        elif character == '"' and quote == '"' and following == '"':
            text.append('"')
            at += 1
        elif character in "'\"" and quote in ("", character):
            quote = "" if quote else character
        else:
            text.append(character)
    return _Word("".join(text), raw[:1] in ("'", '"', "$"))


def _variable(raw: str, at: int, machine: Machine, code: int) -> tuple[str, int]:
    end = at
    if raw[at : at + 1] == "{":
        end = raw.find("}", at)
        name, end = raw[at + 1 : end], end + 1
    else:
        while end < len(raw) and (raw[end].isalnum() or raw[end] in "_:?"):
            end += 1
        name = raw[at:end]
    if not name:
        return "$", at
    low = name.lower()
    if low.startswith("env:"):
        return machine.variable(name[4:]) or "", end
    return {"lastexitcode": str(code), "true": "True", "false": "False", "home": machine.cwd}.get(
        low, ""
    ), end
