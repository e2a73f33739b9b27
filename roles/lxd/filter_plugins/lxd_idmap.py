"""The ids that LXD may give to its containers: root's line in /etc/subuid and /etc/subgid. Pure.

LXD takes root's first line of at least 65536 ids, and without one a range of its own from 1000000 on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Ranges = Sequence[tuple[int, int]]
LEAST = 65536
_FIRST = 1_000_000


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"lxd_idmap": idmap, "lxd_idmap_undone": undone}


def idmap(text: str, mapped: Sequence[Sequence[int]], size: int, in_use: bool) -> dict[str, Any]:
    """Given a file's text, the ids that this machine has, how many are wanted and whether instances exist.

    Return the new text, the line that was added, the lines that went because they cannot work, why, and a
    problem with the next step. All other lines keep every byte.

    >>> idmap("you:100000:65536\\n", [[0, 0, 4294967295]], 1000000000, False)["added"]
    'root:1000000:1000000000'
    """
    own = [(first, first + count) for first, _, count in mapped]
    same = {"text": text, "added": "", "dropped": [], "problem": ""}
    roots = [line for line in text.splitlines() if _range(line) and line.split(":")[0] in ("root", "0")]
    useful = [line for line in roots if _count(line) >= LEAST]
    if useful and _fits(useful[0], own):
        return {**same, "why": f"root has {_count(useful[0])} ids already"}
    if useful and in_use:
        problem = (
            f"root's line {useful[0]} is wider than the ids that this machine has, and LXD has instances "
            "already. Correct the line by hand, restart LXD, and run this again."
        )
        return {**same, "why": "", "problem": problem}
    if in_use:
        return {**same, "why": "LXD has instances already and chose its ids itself"}
    dropped = [line for line in useful if not _fits(line, own)]
    others = [_between(line) for line in text.splitlines() if _range(line) and not _ours(line, dropped)]
    place = free(own, others, size)
    if place is None:
        problem = (
            f"this machine has {sum(end - first for first, end in own)} ids, and LXD needs {LEAST} of them "
            f"beside the {LEAST} that the machine uses. It is a container: give it more on its host "
            "(there: root in /etc/subuid and /etc/subgid), and run this again."
        )
        return {**same, "why": "", "problem": problem}
    added = f"root:{place[0]}:{place[1] - place[0]}"
    why = (
        "root's line does not fit the ids that this machine has"
        if dropped
        else "root has no line of enough ids"
    )
    return {
        "text": _edited(text, added, dropped),
        "added": added,
        "dropped": dropped,
        "why": why,
        "problem": "",
    }


def free(own: Ranges, others: Ranges, size: int) -> tuple[int, int] | None:
    """Given the ids that are there and those of others, return the best range of at most `size`, or None.

    The first that is large enough, from 1000000 on; else the largest.
    """
    found: list[tuple[int, int]] = []
    for first, end in own:
        start = max(first, LEAST)
        taken = sorted(one for one in others if one[1] > start and one[0] < end)
        for low, high in [*taken, (end, end)]:
            if low - start >= LEAST:
                found.append((start, min(low, end)))
            start = max(start, high)
    late = [(max(start, _FIRST), end) for start, end in found if end - max(start, _FIRST) >= LEAST]
    enough = [one for one in late if one[1] - one[0] >= size]
    best = enough[0] if enough else max(late or found, key=lambda one: one[1] - one[0], default=None)
    return best and (best[0], min(best[1], best[0] + max(size, LEAST)))


def undone(text: str, made: Mapping[str, Any], before: str | None) -> str:
    """Given a file's text now, what was made of it and its text before, return it without what was made.

    What others wrote since stays; where nobody did, it is as it was, byte for byte.
    """
    added, dropped = str(made.get("added", "")), list(made.get("dropped") or ())
    if before is not None and text == _edited(before, added, dropped):
        return before
    lines = text.splitlines(keepends=True)
    place = next((place for place, line in enumerate(lines) if added and line.strip() == added), None)
    if place is None:
        return text
    lines[place : place + 1] = [f"{line}\n" for line in dropped]
    return "".join(lines)


def _edited(text: str, added: str, dropped: Sequence[str]) -> str:
    lines, done = [], False
    for line in text.splitlines(keepends=True):
        if line.rstrip("\r\n") in dropped:
            lines += [] if done else [f"{added}\n"]
            done = True
        else:
            lines.append(line)
    if not done:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(f"{added}\n")
    return "".join(lines)


def _range(line: str) -> bool:
    words = line.strip().split(":")
    return len(words) == 3 and words[1].isdigit() and words[2].isdigit()


def _ours(line: str, dropped: Sequence[str]) -> bool:
    # Debian's package writes one line for root and the same for the account of LXD's helpers.
    return line in dropped or line.split(":")[0] in ("_lxd", "lxd")


def _between(line: str) -> tuple[int, int]:
    first, count = (int(word) for word in line.strip().split(":")[1:])
    return first, first + count


def _count(line: str) -> int:
    return int(line.strip().split(":")[2])


def _fits(line: str, own: Ranges) -> bool:
    first, end = _between(line)
    return any(low <= first and end <= high for low, high in own)
