"""What is seen of a rootfs, what is to be changed there, and the bench on which edits are put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maw.mirror.mapping_model import Note, safe

if TYPE_CHECKING:
    from collections.abc import Mapping

# A text that a person wrote for the network is never longer.
LARGEST = 2**20
BEGIN, END = "# --- BEGIN PVE ---", "# --- END PVE ---"


@dataclass(frozen=True)
class Seen:
    """What is at a path of the rootfs: kind is file, folder, symlink, missing or other."""

    kind: str
    content: bytes | None = None
    target: str | None = None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Edit:
    """One change: kind is file, symlink (content is its target) or remove."""

    path: str
    kind: str
    content: bytes
    mode: int
    uid: int = 0
    gid: int = 0
    why: str = ""


MISSING = Seen("missing")


@dataclass
class Bench:
    """Edits under way. Whatever the rootfs holds gives an edit or a note, never an error."""

    seen: Mapping[str, Seen]
    edits: list[Edit] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def at(self, path: str) -> Seen:
        """Given a path, return what is there."""
        return self.seen.get(path, MISSING)

    def exists(self, *paths: str) -> bool:
        """Given paths, return whether a file or a link is at one of them."""
        return any(self.at(path).kind in ("file", "symlink") for path in paths)

    def text(self, path: str) -> str | None:
        """Given a path, return its text (bytes that are no UTF-8 survive), or None if it is no such file."""
        one = self.at(path)
        if one.kind != "file" or one.content is None or len(one.content) > LARGEST:
            return None
        return one.content.decode("utf-8", "surrogateescape")

    def note(self, path: str, text: str) -> None:
        """Given a path, put down what is worth saying of it."""
        self.notes.append(Note(safe(path), text))

    def may_write(self, path: str) -> bool:
        """Given a path, return whether a file may be written there, with a note if not."""
        one = self.at(path)
        if self.at(ignore_file(path)).kind == "file":
            self.note(path, f"left as it is: {ignore_file(path)} asks for that")
        elif one.kind == "symlink":
            self.note(path, "left as it is: a symbolic link, which the guest manages itself")
        elif one.kind == "file" and self.text(path) is None:
            self.note(path, "left as it is: too large to be what it should be")
        elif one.kind not in ("file", "missing"):
            self.note(path, f"left as it is: a {one.kind}, where a file should be")
        else:
            return True
        return False

    def write(self, path: str, text: str, why: str, *, mode: int = 0o644) -> None:
        """Given a path and its new text, plan that; an existing file keeps its mode and owner."""
        if not self.may_write(path):
            return
        content = text.encode("utf-8", "surrogateescape")
        one = self.at(path)
        if one.kind == "missing":
            self.edits.append(Edit(path, "file", content, mode, why=why))
        elif content != one.content:
            self.edits.append(Edit(path, "file", content, one.mode, one.uid, one.gid, why))

    def remove(self, path: str, why: str) -> None:
        """Given the path of a file that may be written, plan to remove it."""
        if self.at(path).kind == "file" and self.may_write(path):
            self.edits.append(Edit(path, "remove", b"", 0, why=why))

    def link(self, path: str, target: str, why: str) -> None:
        """Given a path and a target, plan a symbolic link, unless it is there already."""
        one = self.at(path)
        if self.at(ignore_file(path)).kind == "file":
            self.note(path, f"left as it is: {ignore_file(path)} asks for that")
        elif one.kind in ("folder", "other"):
            self.note(path, f"left as it is: a {one.kind}, where a link should be")
        elif one.kind != "symlink" or one.target != target:
            self.edits.append(Edit(path, "symlink", target.encode(), 0o777, why=why))


def ignore_file(path: str) -> str:
    """Given a path, return that of the file by which Proxmox is told to leave it alone."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.pve-ignore.{name}" if folder else f".pve-ignore.{name}"


def with_block(text: str | None, body: str, *, alone: bool = False) -> str:
    """Given a file's text (None: missing) and lines, return it with those in Proxmox's marked block.

    The first block is replaced. Without one, the block follows the text, or with `alone`
    takes its place, as Proxmox does. Empty lines for `body` take the block away.
    """
    block = f"{BEGIN}\n{body}{END}\n" if body else ""
    span = _block(text or "")
    if span is not None and text is not None:
        return text[: span[0]] + block + text[span[1] :]
    if text is None or (alone and body):
        return block
    return (text if not text or text.endswith("\n") or not block else text + "\n") + block


def without_block(text: str) -> str:
    """Given a file's text, return it without Proxmox's marked block."""
    span = _block(text)
    return text if span is None else text[: span[0]] + text[span[1] :]


def _block(text: str) -> tuple[int, int] | None:
    """Return where the first block starts and ends, None if there is no whole one."""
    start = position = 0
    found = False
    for line in text.split("\n"):
        end = min(position + len(line) + 1, len(text))
        if not found and line.startswith(BEGIN):
            start, found = position, True
        elif found and line.startswith(END):
            return start, end
        position += len(line) + 1
    return None
