"""authorized_keys as data."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maw.transport import authorized
from maw.transport.keys import HostKey
from tests.transport.cluster import NEW, OLD, OTHER, key_of

FORCED = 'restrict,command="wsl.exe -d Ubuntu -u root --exec /usr/sbin/sshd -i",from="192.168.1.129"'

options = st.sampled_from(
    [
        "",
        FORCED,
        "restrict,pty,port-forwarding",
        'command="echo \\"a, b\\" # c",no-pty',
        'from="10.0.0.0/8,!10.0.0.7"',
        'environment="A=b c",principals="x y"',
        'RESTRICT,Command="x"',
    ]
)
comments = st.sampled_from(["", "maw-bridge", "a b  c", "ชื่อ", 'he said "x', "# no remark"])
key = st.sampled_from([OLD, NEW, OTHER, key_of(b"4"), HostKey("ssh-rsa", "AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==")])


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """Content: lines of keys, remarks, blank lines and rubbish; ends of both kinds, the last may lack it."""
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["key", "key", "key", "remark", "rubbish", "blank"]))
        if kind == "key":
            lines.append(authorized.line(draw(options), draw(key), draw(comments)).encode())
        elif kind == "remark":
            lines.append(b"# " + authorized.line("", draw(key), "away").encode())
        elif kind == "blank":
            lines.append(draw(st.sampled_from([b"", b"   ", b"\t"])))
        else:
            lines.append(draw(st.binary(max_size=30)).replace(b"\n", b"~"))
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    content = end.join(lines) + (end if draw(st.booleans()) else b"")
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + content


@given(st.binary(max_size=400) | written())
def test_the_lines_joined_are_the_content(content: bytes) -> None:
    assert b"".join(authorized.lines_of(content)) == content
    authorized.entries(content)


@given(written())
def test_a_new_key_gets_the_options_of_the_old_one_and_all_other_bytes_stay(content: bytes) -> None:
    added = authorized.add_beside(content, OLD, NEW)
    had = {entry.options_text for entry in authorized.of_key(content, OLD)}
    before = {entry.options_text for entry in authorized.of_key(content, NEW)}
    assert {entry.options_text for entry in authorized.of_key(added, NEW)} == had | before
    assert authorized.add_beside(added, OLD, NEW) == added

    def others(text: bytes) -> list[bytes]:
        ours = {entry.number for entry in authorized.of_key(text, NEW)}
        return [raw for number, raw in enumerate(authorized.lines_of(text), 1) if number not in ours]

    kept, was = others(added), others(content)
    if kept != was:
        # Only the last line's missing end may have been given to it.
        assert kept[:-1] == was[:-1]
        assert not was[-1].endswith(b"\n")
        assert kept[-1].rstrip(b"\r\n") == was[-1].rstrip(b"\r\n")


@given(written())
def test_removing_a_key_removes_its_lines_and_nothing_else(content: bytes) -> None:
    left = authorized.remove(content, OLD)
    assert authorized.of_key(left, OLD) == ()
    gone = {entry.number for entry in authorized.of_key(content, OLD)}
    kept = b"".join(raw for number, raw in enumerate(authorized.lines_of(content), 1) if number not in gone)
    mark = b"\xef\xbb\xbf"
    assert left.removeprefix(mark) == kept.removeprefix(mark)
    assert left.startswith(mark) == content.startswith(mark)
    if not gone:
        assert left == content


@given(written())
def test_a_whole_rotation_leaves_the_other_lines(content: bytes) -> None:
    others = [
        (e.options_text, e.key, e.comment) for e in authorized.entries(content) if e.key not in (OLD, NEW)
    ]
    after = authorized.remove(authorized.add_beside(content, OLD, NEW), OLD)
    left = [(e.options_text, e.key, e.comment) for e in authorized.entries(after)]
    assert [entry for entry in left if entry[1] not in (OLD, NEW)] == others
    assert bool(authorized.of_key(after, NEW)) == bool(
        authorized.of_key(content, OLD) or authorized.of_key(content, NEW)
    )


@given(options, key, comments)
def test_a_line_that_was_written_is_read_again(text: str, one: HostKey, comment: str) -> None:
    (entry,) = authorized.entries(authorized.line(text, one, comment).encode() + b"\n")
    assert (entry.options_text.decode(), entry.key, entry.comment) == (text, one, comment)


def test_options_are_read_with_their_quotes() -> None:
    found = authorized.options_of(b'restrict,command="echo \\"a, b\\"",from="10.0.0.1,!10.0.0.2",Pty')
    assert [(option.name, option.value) for option in found] == [
        ("restrict", None),
        ("command", 'echo "a, b"'),
        ("from", "10.0.0.1,!10.0.0.2"),
        ("pty", None),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"# ssh-ed25519 " + OLD.base64.encode(),
        b"ssh-ed25519",
        b"ssh-ed25519 not-base64!",
        b"ssh-rsa " + OLD.base64.encode(),
        b'command="never closed ssh-ed25519 ' + OLD.base64.encode(),
        f"ssh-ed25519 {OLD.base64}".encode("utf-16"),
        b"\0" * 100,
    ],
)
def test_what_lets_nobody_in_is_no_entry(raw: bytes) -> None:
    assert authorized.entries(raw) == ()


@pytest.mark.parametrize("raw", [b'a" b', b'"', b"\\", b'\\"', b"=", b",,,", b'x="', b'x="\\'])
def test_odd_options_are_read_without_an_error(raw: bytes) -> None:
    authorized.options_of(raw)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")
@settings(max_examples=30, deadline=None)
@given(content=written())
def test_openssh_finds_the_same_keys(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = Path(tmp_path_factory.mktemp("keys")) / "authorized_keys"
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"~").replace(b"\r", b"")
    path.write_bytes(content)
    answer = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], capture_output=True, check=False)
    shown = [line.split()[1] for line in answer.stdout.decode("utf-8", "replace").splitlines()]
    assert [x for x in shown if x == OLD.fingerprint or x == NEW.fingerprint] == [
        entry.key.fingerprint for entry in authorized.entries(content) if entry.key in (OLD, NEW)
    ]
