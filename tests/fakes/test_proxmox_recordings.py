"""The stand-in's programs say what the genuine ones were recorded to say."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.proxmox import FakeNode, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(recorded.MISSING is not None, reason=recorded.MISSING or ""),
    pytest.mark.skipif(FakeNode.available() is not None, reason=FakeNode.available() or ""),
]
CLI = recorded.FIXTURES / "cli"
NOT_PLAYED = {
    "pct-df": "no file system of its own is mounted",
    "pct-fstrim": "no file system of its own is mounted",
    "pct-mount": "nothing is mounted",
    "pct-mount-ls": "nothing is mounted",
    "pct-mount-twice": "nothing is mounted",
    "pct-pull": "no file goes in or out but by a backup",
    "pct-push": "no file goes in or out but by a backup",
    "pct-unmount": "nothing is mounted",
    "pct-unmount-twice": "nothing is mounted",
    "pvesm-path": "paths are the stand-in's own",
    "usernsexec-signal": "no such program is played",
    "vzdump-after-sigkill": "a test of its own, below",
    "vzdump-sigkill": "a test of its own, below",
}
CASES = sorted({path.stem for path in CLI.glob("*.cmd")} - set(NOT_PLAYED)) if CLI.is_dir() else []
ARCHIVES = [
    "unpriv-stop",
    "unpriv-suspend",
    "unpriv-snapshot-unsupported",
    "priv-stop",
    "priv-suspend-uncompressed",
    "btrfs-snapshot",
    "raw-gzip",
    "raw-lzo",
    "unpriv-stdout-stop",
    "unpriv-stdout-suspend",
    "btrfs-stdout-snapshot",
]
FAULTS = {
    "vzdump-stdout-with-dumpdir": ("dumpdir-filesystem", "tmpfs"),
    "vzdump-unreadable-file": ("unreadable-file", "opt/unmapped-secret"),
}


@pytest.fixture(scope="module")
def template() -> Iterator[FakeNode]:
    """The recorded node, where every user may look: some commands are run as nobody."""
    folder = Path(tempfile.mkdtemp(prefix="maw-recorded-"))
    folder.chmod(0o755)
    yield recorded.recorded_node(folder / "node")
    shutil.rmtree(folder)


@pytest.fixture
def node(template: FakeNode) -> Iterator[FakeNode]:
    """The recorded node; after the test its configs are as before."""
    configs = {path: path.read_bytes() for path in (template.folder / "lxc").iterdir()}
    yield template
    template.mend()
    for path, content in configs.items():
        path.write_bytes(content)
        template.state.set_running(int(path.stem), True)
    for storage in ("local", "backup"):
        for path in template.state.dump_folder(storage).iterdir():
            path.unlink()


def _places(node: FakeNode, scratch: Path) -> dict[str, str]:
    """Where a path of the recorded machine is here."""
    return {
        "/var/lib/vz/images/101/subvol-101-disk-0.subvol": str(node.state.rootfs(101)),
        "/var/run/vzdump.lock": "/var/run/vzdump.lock",
        "./tmp/?*": "./tmp/?*",
        "./var/tmp/?*": "./var/tmp/?*",
        "/var/lib/vz": str(node.folder),
        "/etc/pve/lxc": str(node.folder / "lxc"),
        "/run/vzdump.lock": str(node.folder / "lock"),
        "/mnt/backup": str(node.folder / "storages/backup"),
        "/mnt/vzsnap0": str(node.state.rootfs(103)),
        "/var/tmp": str(node.folder / "var/tmp"),
        "/tmp": str(scratch),
    }


def _here(text: str, places: dict[str, str]) -> str:
    """Return a recorded text with this machine's paths; each place is replaced once."""
    for number, place in enumerate(places):
        text = text.replace(place, f"\0{number}\0")
    for number, here in enumerate(places.values()):
        text = text.replace(f"\0{number}\0", here)
    return text


def _run(node: FakeNode, command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{node.programs}:{os.environ['PATH']}:/usr/sbin", "TZ": "UTC"}
    environment["LC_ALL"] = "C.UTF-8"
    return subprocess.run(
        ["bash", "-c", command],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _prepare(name: str, node: FakeNode, command: str) -> str:
    if name == "pct-mount-locked-vzdump":
        node.state.set_key(104, "lock", "mounted")
    if name.startswith("pvesm-extract") or name == "pvesm-list":
        for compress in ("zstd", "0"):
            _run(node, f"vzdump 101 --storage backup --mode stop --compress {compress}")
    if name == "vzdump-global-lock":
        command = command.replace("sleep 6 & sleep 1", "sleep 2 & sleep 0.3")
    return command


@pytest.mark.parametrize("name", CASES)
def test_a_program_says_what_was_recorded(name: str, node: FakeNode, tmp_path: Path) -> None:
    places = _places(node, tmp_path)
    command = (CLI / f"{name}.cmd").read_text("utf-8").strip()
    if name in FAULTS:
        node.fault(*FAULTS[name])
    answer = _run(node, _prepare(name, node, _here(command, places)))
    expected = {
        "rc": (CLI / f"{name}.rc").read_text("ascii").strip(),
        "stdout": recorded.mask(_here((CLI / f"{name}.stdout").read_text("utf-8"), places)),
        "stderr": recorded.mask(_here((CLI / f"{name}.stderr").read_text("utf-8"), places)),
    }
    found: dict[str, str] = {
        "rc": str(answer.returncode),
        "stdout": recorded.mask(answer.stdout),
        "stderr": recorded.mask(answer.stderr),
    }
    for stream, lines in _comparable(name, found).items():
        assert lines == _comparable(name, expected)[stream], stream


def _comparable(name: str, texts: dict[str, str]) -> dict[str, object]:
    """Some recordings name things that were there by chance: they are compared in their form."""
    if name == "pvesm-list":
        lines = texts["stdout"].splitlines()
        return {**texts, "stdout": [lines[0], sorted({len(line) for line in lines})]}
    if name == "pvesh-lxc-json":
        return {**texts, "stdout": sorted(texts["stdout"].strip("[{}]").split("},{"))}
    if name == "vzdump-sigterm":
        return {**texts, "stdout": texts["stdout"].partition("-rw")[0]}
    if name == "pvesm-status":
        return {**texts, "stdout": [line.split() for line in texts["stdout"].splitlines()]}
    return {stream: text.splitlines() for stream, text in texts.items()}


def test_what_is_not_played_was_recorded_and_has_a_reason() -> None:
    assert set(NOT_PLAYED) < {path.stem for path in CLI.glob("*.cmd")}
    for name, reason in sorted(NOT_PLAYED.items()):
        print(f"not played: {name}: {reason}")
        assert reason


def _members(path: Path) -> list[tarfile.TarInfo]:
    programs = {".zst": ["zstd", "-dc"], ".gz": ["gzip", "-dc"], ".lzo": ["lzop", "-dc"], ".tar": ["cat"]}
    plain = subprocess.run([*programs[path.suffix], str(path)], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        return archive.getmembers()


def _form(member: tarfile.TarInfo) -> tuple[object, ...]:
    """What must be equal of a member: all but its times."""
    headers = member.pax_headers.items()
    # GNU tar 1.34 ends the text of an ACL with a newline, 1.35 does not.
    kept = {k: v.rstrip("\n") for k, v in headers if not k.endswith("time") and k != "path"}
    owner = (member.mode, member.uid, member.gid, member.uname)
    times = {key for key in member.pax_headers if key.endswith("time")}
    return (*owner, member.size, tuple(sorted(kept.items())), tuple(sorted(times)))


def _whole(members: list[tarfile.TarInfo]) -> Counter[tuple[object, ...]]:
    """Which of several hard links comes first is the directory's order: links are counted as one group."""
    files = {member.name: member for member in members if not member.islnk()}
    counted: Counter[tuple[object, ...]] = Counter()
    for member in members:
        if member.islnk():
            continue
        names = sorted({m.name for m in members if m.islnk() and m.linkname == member.name} | {member.name})
        group = names if member.isreg() else [member.name]
        counted[member.type, tuple(group), member.linkname, _form(member)] += 1
    assert all(member.linkname in files for member in members if member.islnk())
    return counted


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_has_the_members_of_the_recorded_one(name: str, node: FakeNode, tmp_path: Path) -> None:
    genuine = recorded.fixture(name)
    command = (recorded.FIXTURES / f"{name}.cmd").read_text("utf-8").strip()
    words = ["'*.txt'" if word == "*.txt" else word for word in command.split()]
    if "--dumpdir" in words:
        words[words.index("--dumpdir") + 1] = str(tmp_path)
    made = tmp_path / f"out{genuine.suffix}"
    line = " ".join(words) + (f" > {made}" if "--stdout" in words else "")
    answer = _run(node, line)
    assert answer.returncode == 0, answer.stderr
    if "--stdout" not in words:
        made = next(path for path in tmp_path.iterdir() if ".tar" in path.name)
        assert sorted(path.suffix for path in tmp_path.iterdir()) == sorted([".log", made.suffix])
    expected, found = _members(genuine), _members(made)
    assert [member.name for member in found[:3]] == [member.name for member in expected[:3]]
    found_whole, expected_whole = _whole(found), _whole(expected)
    assert found_whole - expected_whole == expected_whole - found_whole
    if "suspend" not in name and "unsupported" not in name:
        assert [(m.name, m.type) for m in found[-2:]] == [
            (m.name, m.type) for m in expected[-2:]
        ] or "lzo" in name
    _same_log(name, answer, tmp_path)


def _same_log(name: str, answer: subprocess.CompletedProcess[str], folder: Path) -> None:
    stdout = recorded.FIXTURES / f"{name}.stdout"
    expected = {
        "stdout": stdout.read_text("utf-8") if stdout.exists() else "",
        "stderr": (recorded.FIXTURES / f"{name}.stderr").read_text("utf-8"),
    }
    place = f"/mnt/backup/fx/{name}"
    for stream, text in expected.items():
        lines = recorded.mask(text).replace(place, str(folder)).splitlines()
        found = recorded.mask(getattr(answer, stream)).splitlines()
        assert [_no_folder(line) for line in found] == [_no_folder(line) for line in lines]


def _no_folder(line: str) -> str:
    """Where the temporary copy is, is this machine's own."""
    head, found, rest = line.partition("/root/ to ")
    return f"{head}{found}{Path(rest).name}" if found else line
