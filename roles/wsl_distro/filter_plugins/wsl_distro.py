"""What the tasks of wsl_distro make of what they heard. Pure."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _conf() -> Any:
    """The other file of this folder: Ansible loads each on its own, outside any package."""
    spec = importlib.util.spec_from_file_location("wsl_conf", Path(__file__).with_name("wsl_conf.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(said: str | None, schema: str) -> dict[str, Any] | None:
    """Given what a script printed and the schema of its answer, return that answer, None if there is none.

    The noise of a PowerShell profile, or of WSL, may stand around it.
    """
    beginning = f'{{"schema":"{schema}"'
    for line in reversed((said or "").splitlines()):
        if beginning in line:
            try:
                found, _ = json.JSONDecoder().raw_decode(line[line.index(beginning) :])
            except ValueError:
                # Cut off: then the script did not come to its end.
                return None
            return dict(found)
    return None


def line(shown: str, host: str) -> str:
    """Given what `cutter keys show --json` printed, return the line for that host's distro, "" if none."""
    if not shown.strip():
        return ""
    places = json.loads(shown)["places"]
    lines = [
        one
        for place in places
        if place["host"] == host and place["kind"] == "distro"
        for one in place["lines"]
    ]
    return str(lines[0]) if lines else ""


def pinned(known_hosts: str, host: str) -> list[str]:
    """Given the pinned keys and a host, return its keys, each as kind and base64."""
    return [" ".join(words[1:3]) for words in _pins(known_hosts) if words[0] == host]


def cloned(known_hosts: str, host: str, hosts: Sequence[str], key: str) -> bool:
    """Given the pinned keys, a host, all hosts and that host's key, return whether another has the same.

    Then it was imported from an image that has host keys in it, and each of the two may pose as the other.
    """
    others = [words for words in _pins(known_hosts) if words[0] != host and words[0] in hosts]
    return bool(key) and any(" ".join(words[1:3]) == key for words in others)


def _pins(known_hosts: str) -> list[list[str]]:
    listed = [text.split() for text in known_hosts.splitlines() if not text.startswith("#")]
    return [words for words in listed if len(words) >= 3]


def debs(results: Sequence[Mapping[str, Any]]) -> str:
    """Given the results of slurp, return what bootstrap.sh unpacks: a line with name and base64 for each."""
    found = [(str(one["source"]).rpartition("/")[2], one["content"]) for one in results if "content" in one]
    return "\n".join(f"{name} {content}" for name, content in found)


def conf_change(encoded: str, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Given a wsl.conf in base64 ("" if there is none) and the keys wanted, return what to write.

    `content` is its new content in base64, `sum` what the old one is known by; both "" if nothing changes.
    """
    old = base64.b64decode(encoded)
    text = old.decode("utf-8", "surrogateescape")
    new = _conf().merge(text, wanted)
    if new == text:
        return {"content": "", "sum": ""}
    content = base64.b64encode(new.encode("utf-8", "surrogateescape")).decode("ascii")
    return {"content": content, "sum": hashlib.sha256(old).hexdigest() if encoded else "missing"}


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "wsl_distro_answer": answer,
            "wsl_distro_cloned": cloned,
            "wsl_distro_conf_change": conf_change,
            "wsl_distro_debs": debs,
            "wsl_distro_line": line,
            "wsl_distro_pinned": pinned,
        }
