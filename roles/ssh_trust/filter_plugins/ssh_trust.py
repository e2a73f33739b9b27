"""What a file of keys shall hold. Pure: the reading of lines and the rules are maw's own."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _maw() -> tuple[Any, Any, Any]:
    """Return three modules of maw. Ansible must run with the Python that maw is installed in."""
    try:
        from maw.transport import authorized, rights, windows_files
    except ImportError as error:
        from ansible.errors import AnsibleFilterError

        message = (
            f"the Python that runs Ansible has no maw ({error}). Use the ansible-playbook of maw's own venv"
        )
        raise AnsibleFilterError(message) from error
    return authorized, rights, windows_files


def lines(shown: str, host: str) -> list[str]:
    """Given what `cutter keys show --json` printed, return that very host's lines, [] if none."""
    places = json.loads(shown)["places"] if shown.strip() else []
    return [line for place in places if place["host"] == host for line in place["lines"]]


def path(shown: str, host: str) -> str:
    """Given what `cutter keys show --json` printed, return where that host's lines belong."""
    return next((str(place["path"]) for place in json.loads(shown)["places"] if place["host"] == host), "")


def is_pinned(known_hosts: str, host: str) -> bool:
    """Given the pinned keys, return whether that host has one."""
    return any(text.split(None, 1)[:1] == [host] for text in known_hosts.splitlines())


def merged(content: bytes, wanted: Sequence[str]) -> bytes:
    """Given a file's content and our lines, return it with each of our keys exactly once.

    A line of ours that allows the same stays, also behind a from= that lets in all the addresses wanted. A
    wrong one is replaced in its place, a second one goes, and all others stay byte for byte.
    """
    authorized, _, _ = _maw()
    for line in wanted:
        ours = authorized.entries(line.encode())[0]
        found = authorized.of_key(content, ours.key)
        raw = authorized.lines_of(content)
        end = b"\r\n" if content.count(b"\r\n") * 2 > content.count(b"\n") else b"\n"
        if not found:
            if raw and not raw[-1].endswith(b"\n"):
                raw[-1] += end
            raw.append(line.encode() + end)
        elif not _same(found[0], ours):
            raw[found[0].number - 1] = line.encode() + end
        gone = {entry.number for entry in found[1:]}
        content = b"".join(text for number, text in enumerate(raw, 1) if number not in gone)
    return content


def _same(found: Any, ours: Any) -> bool:
    _, rights, _ = _maw()

    def others(entry: Any) -> list[Any]:
        return sorted((one.name, one.value) for one in entry.options if one.name != "from")

    limits, wanted = found.values("from"), ours.values("from")
    if others(found) != others(ours) or bool(limits) != bool(wanted):
        return False
    if not limits or limits == wanted:
        return True
    return len(limits) == 1 and all(rights.from_matches(limits[0], [one]) for one in wanted[0].split(","))


def without(content: bytes, wanted: Sequence[str]) -> bytes:
    """Given a file's content and our lines, return it without our keys, whatever their options."""
    authorized, _, _ = _maw()
    for line in wanted:
        content = authorized.remove(content, authorized.entries(line.encode())[0].key)
    return content


def change(encoded: str, wanted: Sequence[str], remove: bool = False) -> dict[str, Any]:
    """Given a content in base64 and our lines, return what to do: `changed`, and the new content.

    It is there in base64 and as text, with the sha256 of the old one. `empty` says that no line is left.
    """
    old = base64.b64decode(encoded)
    new = without(old, wanted) if remove else merged(old, wanted)
    return {
        "changed": new != old,
        "content": base64.b64encode(new).decode("ascii"),
        "text": new.decode("utf-8", "surrogateescape"),
        "sum": hashlib.sha256(old).hexdigest(),
        "empty": not new.strip(),
    }


def refused(found: Mapping[str, Any]) -> list[str]:
    """Given what authorized_keys.ps1 found, return why Windows' sshd would not read that file."""
    _, _, windows_files = _maw()
    if not found["exists"]:
        return []
    unreadable = windows_files.encoding_problem(base64.b64decode(found["content"]))
    writers = windows_files.others_that_write(found["sddl"], found["sid"])
    return ([unreadable] if unreadable else []) + [f"{who} may write to it" for who in writers]


def problems(checked: str) -> list[str]:
    """Given what `cutter keys check --json` printed, return what must be mended, with where."""
    report = json.loads(checked) if checked.strip() else {"keys": [], "places": [], "problems": []}
    found = list(report["problems"])
    found += [f"{key['path']}: {text}" for key in report["keys"] for text in key["problems"]]
    for place in report["places"]:
        name = f"{place['host']}, {place['path'] or 'its file of keys'}"
        found += [f"{name}: {place['error']}"] if place["error"] else []
        found += [f"{name}: {text}" for text in place["problems"]]
        found += [f"{name}, line {key['line']}: {text}" for key in place["keys"] for text in key["problems"]]
    return found


def others(checked: str, host: str) -> int:
    """Given what `cutter keys check --json` printed and a host, return how many keys there are not ours."""
    places = json.loads(checked)["places"] if checked.strip() else []
    return sum(key["key"] is None for place in places if place["host"] == host for key in place["keys"])


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "ssh_trust_change": change,
            "ssh_trust_is_pinned": is_pinned,
            "ssh_trust_lines": lines,
            "ssh_trust_others": others,
            "ssh_trust_path": path,
            "ssh_trust_problems": problems,
            "ssh_trust_refused": refused,
        }
