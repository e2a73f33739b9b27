"""What lies on the played hub: repositories, commits, files, as the real API describes them."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from dataclasses import dataclass, field
from typing import Any

# The hub keeps these in Git LFS; the rest is plain git.
LFS = (".safetensors", ".gguf", ".bin", ".pt", ".ckpt", ".model")


def tiny_safetensors(numbers: int = 64, seed: int = 0) -> bytes:
    """Return a real, small safetensors file: one tensor of 32-bit floats."""
    floats = struct.pack(f"<{numbers}f", *(random.Random(seed).random() for _ in range(numbers)))
    header = {"weight": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, len(floats)]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + floats


def commit_of(files: dict[str, bytes]) -> str:
    """Given a commit's files, return its name: 40 hexadecimal digits."""
    told = b"".join(path.encode() + b"\0" + content for path, content in sorted(files.items()))
    return hashlib.sha1(told, usedforsecurity=False).hexdigest()


@dataclass
class Repository:
    """One model. `gated` says whose tokens may read it; None is everybody."""

    name: str
    licence: str = "gemma"
    gated: bool = False
    allowed: set[str] = field(default_factory=set)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Put a commit on a branch; return its name."""
        name = commit_of(files)
        self.commits[name] = dict(files)
        self.branches[branch] = name
        return name

    def resolve(self, revision: str) -> str | None:
        """Given a branch or a commit, return the commit, None if there is none."""
        return self.branches.get(revision, revision if revision in self.commits else None)

    def describe(self, commit: str, *, blobs: bool) -> dict[str, Any]:
        """Return what /api/models says of a commit."""
        return {
            "_id": "0" * 24,
            "id": self.name,
            "modelId": self.name,
            "sha": commit,
            "private": False,
            "disabled": False,
            "gated": "manual" if self.gated else False,
            "tags": [f"license:{self.licence}"],
            "downloads": 1,
            "likes": 0,
            "cardData": {"license": self.licence},
            "siblings": [_sibling(path, data, blobs) for path, data in self.commits[commit].items()],
        }


def _sibling(path: str, content: bytes, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    shown: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_hash(content)}
    if path.endswith(LFS):
        sha256 = hashlib.sha256(content).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n"
        shown["blobId"] = git_hash(pointer.encode())
        shown["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": len(pointer)}
    return shown


def git_hash(content: bytes) -> str:
    """Return what git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def etag(path: str, content: bytes) -> str:
    """Return the hub's ETag: SHA-256 for LFS, git's hash for the rest."""
    return hashlib.sha256(content).hexdigest() if path.endswith(LFS) else git_hash(content)
