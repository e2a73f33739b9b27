"""The command line of vzdump, and the words it refuses it with."""

from __future__ import annotations

import re

from .state import PveError

USAGE = "vzdump {<vmid>} [OPTIONS]"
FLAGS = frozenset(
    ["all", "mailnotification", "protected", "quiet", "remove", "stdexcludes", "stdout", "stop"]
)
MODES = ("snapshot", "suspend", "stop")
COMPRESSIONS = ("0", "1", "gzip", "lzo", "zstd")
NUMBERS = frozenset(["bwlimit", "ionice", "lockwait", "pigz", "stopwait", "zstd"])
TEXTS = frozenset(
    [
        "compress",
        "dumpdir",
        "exclude",
        "exclude-path",
        "fleecing",
        "job-id",
        "mailto",
        "mode",
        "node",
        "notes-template",
        "notification-mode",
        "pbs-change-detection-mode",
        "performance",
        "pool",
        "prune-backups",
        "script",
        "storage",
        "tmpdir",
    ]
)
_TRUE = {"1": "1", "on": "1", "yes": "1", "true": "1", "0": "0", "off": "0", "no": "0", "false": "0"}


class UsageError(PveError):
    """Parameters that are refused: what is wrong with which."""

    def __init__(self, errors: dict[str, str]) -> None:
        lines = [f"{name}: {text}" for name, text in sorted(errors.items())]
        super().__init__("\n".join(["400 Parameter verification failed.", *lines, USAGE]))
        self.errors = errors


def parse(arguments: list[str]) -> dict:
    """Given the command line of vzdump, return its parameters, in order. Raise UsageError."""
    params: dict = {"vmid": []}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            params["vmid"] += [part for part in re.split(r"[,;\s]+", word) if part]
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name not in FLAGS | NUMBERS | TEXTS:
            raise PveError(f"Unknown option: {name}\n400 unable to parse option\n{USAGE}")
        if not equals:
            value = _next_value(name, rest)
        if name == "exclude-path":
            params.setdefault(name, []).append(value)
        else:
            params[name] = _TRUE.get(value.lower(), value) if name in FLAGS else value
    check(params)
    return params


def _next_value(name: str, rest: list[str]) -> str:
    if name in FLAGS:
        return rest.pop(0) if rest and rest[0].lower() in _TRUE else "1"
    if not rest:
        raise PveError(f"Option {name} requires an argument\n400 unable to parse option\n{USAGE}")
    return rest.pop(0)


def check(params: dict) -> None:
    """Raise UsageError if a parameter is not as the schema of vzdump wants it."""
    errors = {}
    for vmid in params["vmid"]:
        if not re.fullmatch(r"[1-9][0-9]{2,8}", str(vmid)):
            errors["vmid"] = "invalid format - value does not look like a valid VM ID\n"
    for name, allowed in (("mode", MODES), ("compress", COMPRESSIONS)):
        if name in params and params[name] not in allowed:
            listed = ", ".join(allowed)
            errors[name] = f"value '{params[name]}' does not have a value in the enumeration '{listed}'"
    for name in sorted(NUMBERS & set(params)):
        if not re.fullmatch(r"\d+", str(params[name])):
            errors[name] = f"type check ('integer') failed - got '{params[name]}'"
    if "notes-template" in params and "storage" not in params:
        errors["storage"] = "missing property required by 'notes-template'"
    if errors:
        raise UsageError(errors)


def check_targets(params: dict) -> None:
    """Raise if nothing, or more than can go where it shall, is to be backed up."""
    if not params["vmid"] and not is_set(params, "all"):
        raise UsageError({"vmid": "property is missing"})
    if is_set(params, "stdout"):
        if "storage" in params and "dumpdir" not in params:
            raise PveError("cannot use options 'storage' and 'stdout' at the same time")
        if len(params["vmid"]) != 1:
            raise PveError("you can only backup a single VM with option --stdout")


def is_set(params: dict, name: str, default: str = "0") -> bool:
    """Whether a boolean parameter is true."""
    return str(params.get(name, default)) not in ("0", "")


def shell_quote(word: str) -> str:
    """Quote a word for a shell, as Perl's String::ShellQuote does."""
    if word and re.fullmatch(r"[\w!%+,\-./:@^]+", word, re.ASCII):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def describe(params: dict) -> str:
    """Return the command that the log begins with."""
    words = ["vzdump", *map(str, params["vmid"])]
    for name, value in params.items():
        if name in ("vmid", "stdout", "quiet", "job-id"):
            continue
        for item in value if isinstance(value, list) else [value]:
            words += [f"--{name}", shell_quote(str(item))]
    return " ".join(words)
