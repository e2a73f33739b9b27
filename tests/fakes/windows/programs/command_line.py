"""How Windows programs get their arguments: one string, which each takes apart as it likes."""

from __future__ import annotations

BLANKS = " \t"


def program(line: str) -> tuple[str, str]:
    """Given a command line, return the program's name without quotes, and the rest from its blank on."""
    if line.startswith('"'):
        end = line.find('"', 1)
        end = len(line) if end < 0 else end
        return line[1:end], line[end + 1 :]
    end = next((i for i, character in enumerate(line) if character in BLANKS), len(line))
    return line[:end], line[end:]


def split(line: str) -> list[str]:
    """Split as CommandLineToArgvW does; the first word is a program's name, which knows no escapes."""
    if not line or line[0] in BLANKS:
        first, rest = "", line
    else:
        first, rest = program(line)
    return [first, *_arguments(rest.lstrip(BLANKS))]


def _arguments(text: str) -> list[str]:
    found: list[str] = []
    if not text:
        return found
    word: list[str] = []
    quotes = slashes = at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character in BLANKS and quotes == 0:
            found.append("".join(word))
            word, slashes = [], 0
            while at < len(text) and text[at] in BLANKS:
                at += 1
            if at == len(text):
                return found
        elif character == '"':
            del word[len(word) - (slashes + 1) // 2 :]
            if slashes % 2:
                word.append('"')
            else:
                quotes += 1
            slashes = 0
            # A third quote in a row is a quote; two are an end and nothing.
            while at < len(text) and text[at] == '"':
                at += 1
                quotes += 1
                if quotes == 3:
                    word.append('"')
                    quotes = 0
            if quotes == 2:
                quotes = 0
        else:
            slashes = slashes + 1 if character == "\\" else 0
            word.append(character)
    found.append("".join(word))
    return found


def quote(word: str) -> str:
    """Quote one argument as Microsoft's C runtime takes it apart again."""
    if word and not any(character in ' \t"' for character in word):
        return word
    written = ['"']
    slashes = 0
    for character in word:
        if character == "\\":
            slashes += 1
            continue
        written.append("\\" * (slashes * 2 + 1 if character == '"' else slashes) + character)
        slashes = 0
    return "".join([*written, "\\" * slashes * 2, '"'])


def blank_word(text: str) -> tuple[str, str]:
    """Return the next word and the rest, split on blanks only: quotes are a part of the word."""
    text = text.lstrip(BLANKS)
    end = next((i for i, character in enumerate(text) if character in BLANKS), len(text))
    return text[:end], text[end:].lstrip(BLANKS)
