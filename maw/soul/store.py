"""Writing ψ: its folders, and records that are read back before they count as written."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from maw import files
from maw.errors import DiskFull, FileError, SoulError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

FOLDERS = (
    "memory/learnings",
    "memory/retrospectives",
    "memory/resonance",
    "memory/logs",
    "infrastructure",
    "knowledge",
    "inbox",
)
# Bytes of a slug: file systems allow 255 for the whole name, a Thai letter takes three.
LONGEST_SLUG = 120


def create(soul: Path) -> list[Path]:
    """Given the soul's folder, make the folders that it lacks and return them. Raise SoulError."""
    made = []
    try:
        for name in FOLDERS:
            folder = soul / name
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                made.append(folder)
    except OSError as error:
        raise SoulError(path=soul, reason=error.strerror or str(error)) from error
    return made


def slug(text: str) -> str:
    """Given any text, return a short name for a file: letters and digits of any script, never empty.

    >>> slug("บันทึกไฟดับ: what now?")
    'บันทึกไฟดับ-what-now'
    """
    kept = [
        character if unicodedata.category(character)[0] in "LMN" else "-"
        for character in unicodedata.normalize("NFC", text).lower()
    ]
    name = re.sub("-+", "-", "".join(kept)).strip("-")
    name = name.encode("utf-8", "ignore")[:LONGEST_SLUG].decode("utf-8", "ignore").strip("-")
    return name or "untitled"


def write_log(soul: Path, *, facts: Mapping[str, Any], title: str, body: str, when: datetime) -> Path:
    """Given facts (plain data), a title and a body, write one record to ``memory/logs``.

    The file is new (nothing is ever overwritten), whole or absent, and read back before this
    returns. Raise SoulError or DiskFull.
    """
    text = _document({"title": title, "created": when.isoformat(timespec="seconds"), **facts}, body)
    stem = f"{when:%Y-%m-%d_%H-%M-%S}_{slug(title)}"
    folder = soul / "memory" / "logs"
    number = 1
    try:
        while True:
            path = folder / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
            if files.write_new(path, text):
                break
            number += 1
        written = path.read_text("utf-8")
    except DiskFull:
        raise
    except (FileError, OSError) as error:
        raise SoulError(path=soul, reason=str(error)) from error
    if written != text or read_facts(written).get("title") != title:
        raise SoulError(path=path, reason="what was written does not read back the same")
    return path


def _document(facts: Mapping[str, Any], body: str) -> str:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    front = yaml.dump(dict(facts), Dumper=dumper, allow_unicode=True, sort_keys=False, width=100)
    return f"---\n{front}---\n\n{body.rstrip()}\n"


def read_facts(text: str) -> dict[str, Any]:
    """Given a record's text, return its front matter; an empty one if there is none that reads."""
    import yaml

    match = re.match(r"---\n(.*?)^---$", text, re.DOTALL | re.MULTILINE)
    if match is None:
        return {}
    try:
        # The C loader is the same safe one, ten times as fast.
        facts = yaml.load(match.group(1), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError:
        return {}
    return facts if isinstance(facts, dict) else {}
