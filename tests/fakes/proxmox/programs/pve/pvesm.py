"""The program pvesm: storages, what is on them, and the config that an archive holds."""

from __future__ import annotations

import subprocess
import sys

from .state import Node, PveError

_CONFIG = "./etc/vzdump/pct.conf"


def main(node: Node, _program: str, arguments: list[str]) -> int:
    """Run pvesm; return its exit code."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    try:
        if command == "status":
            _status(node)
        elif command == "list" and rest:
            _list(node, rest[0], _option(rest, "--vmid"), _option(rest, "--content"))
        elif command == "path" and rest:
            print(node.volume_path(rest[0]))
        elif command == "extractconfig" and rest:
            print(extract(node, rest[0]))
        else:
            print(f"ERROR: unknown command 'pvesm {command}'", file=sys.stderr)
            return 255
    except PveError as error:
        print(error.text, file=sys.stderr)
        return error.code
    return 0


def _option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


def extract(node: Node, volid: str) -> str:
    """Return the text of the config that an archive begins with."""
    path = node.volume_path(volid)
    if not path.is_file():
        raise PveError(f"volume '{volid}' does not exist")
    unpack = {".zst": ["--zstd"], ".gz": ["-z"], ".lzo": ["--lzop"]}.get(path.suffix, [])
    argv = ["tar", "xpOf", str(path), *unpack, "--occurrence", _CONFIG]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    if not answer.stdout:
        raise PveError("ERROR: archive contains no configuration file")
    return answer.stdout


def _list(node: Node, storage: str, vmid: str | None, content: str | None) -> None:
    node.storage(storage)
    if content not in (None, "backup"):
        return
    entries = [e for e in node.archives(storage) if vmid is None or str(e["vmid"]) == vmid]
    width = max([len("Volid"), *(len(entry["volid"]) for entry in entries)])
    kind = max([len("Format"), *(len(entry["format"]) for entry in entries)])
    print(f"{'Volid':<{width}} {'Format':<{kind}} {'Type':<6} {'Size':>10} VMID")
    for entry in entries:
        head = f"{entry['volid']:<{width}} {entry['format']:<{kind}} {'backup':<6}"
        print(f"{head} {entry['size']:>10} {entry['vmid']}")


def _status(node: Node) -> None:
    header = ("Name", "Type", "Status", "Total (KiB)", "Used (KiB)", "Available (KiB)", "%")
    rows = []
    for name, storage in sorted(node.info()["storages"].items()):
        total, used, free = (number // 1024 for number in node.free(name))
        share = f"{used / total * 100:.2f}%"
        rows.append((name, storage["type"], "active", str(total), str(used), str(free), share))
    width = max(len(row[0]) for row in [header, *rows])
    for row in [header, *rows]:
        print(
            f"{row[0]:<{width}} {row[1]:>8} {row[2]:>10} {row[3]:>15} {row[4]:>15} {row[5]:>15} {row[6]:>8}"
        )
