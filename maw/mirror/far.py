"""Calls of the program on the host that has LXD (`far_side`), over a transport that is handed in."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw.errors import DiskFull, LxdError
from maw.transport.base import Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maw.transport.base import Channel, Transport

# In the order in which they import each other.
_MODULES = ("entries", "content", "far_walk", "far_edit", "far_lxd", "far_side")
_LOADER = (
    "import sys,types,zlib,base64,json\n"
    "for n in 'maw','maw.mirror': sys.modules[n]=types.ModuleType(n)\n"
    "for n,s in json.loads(zlib.decompress(base64.b64decode('{packed}'))):\n"
    " m=types.ModuleType('maw.mirror.'+n); sys.modules[m.__name__]=m\n"
    " setattr(sys.modules['maw.mirror'],n,m); exec(compile(s,n,'exec'),m.__dict__)\n"
    "sys.exit(sys.modules['maw.mirror.far_side'].main(*sys.argv[1:3]))\n"
)


@cache
def program() -> str:
    """Return the whole program as one text for `python3 -c`."""
    here = Path(__file__).parent
    sources = [(name, (here / f"{name}.py").read_text("utf-8")) for name in _MODULES]
    packed = base64.b64encode(zlib.compress(json.dumps(sources).encode(), 9)).decode("ascii")
    return _LOADER.format(packed=packed)


class Far:
    """The host that has LXD, as the place where files are."""

    def __init__(self, transport: Transport, python: str = "python3") -> None:
        self.host = transport.host
        self._transport = transport
        self._python = python

    def argv(self, verb: str, facts: dict[str, Any]) -> list[str]:
        """Given a verb and its facts, return the argument list that does it there."""
        return [self._python, "-I", "-c", program(), verb, json.dumps(facts)]

    def call(self, verb: str, facts: dict[str, Any]) -> dict[str, Any]:
        """Given a verb and its facts, do it and return the answer. Raise LxdError or TransportError."""
        return self.send(verb, facts, None)

    def send(self, verb: str, facts: dict[str, Any], data: bytes | None) -> dict[str, Any]:
        """As `call`, with data on standard input."""
        result = self._transport.run(self.argv(verb, facts), stdin=data)
        return self.answer(result.stdout, result.stderr, result.ending)

    def answer(self, stdout: bytes, stderr: bytes, ending: Ending) -> dict[str, Any]:
        """Given what a call said, return its JSON line. Raise LxdError or DiskFull."""
        try:
            answer = json.loads(stdout.partition(b"\n")[0])
        except ValueError:
            said = stderr.decode("utf-8", "replace").strip().splitlines()
            reason = said[-1] if said else f"its program ended with status {ending.code}"
            raise LxdError(
                host=self.host,
                reason=f"the program there gave no answer ({reason})",
                step="Check that python3 is installed there and that it is reached as root",
            ) from None
        if not isinstance(answer, dict):
            raise LxdError(host=self.host, reason="the program there answered nonsense", step="Look there")
        if "error" in answer:
            raise self.failure(answer)
        return answer

    def failure(self, answer: dict[str, Any]) -> LxdError | DiskFull:
        """Given an answer with an error, return it as maw's."""
        if answer.get("errno") in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(path=answer.get("path") or "a mirror", where=self.host)
        where = f" ({answer['path']})" if answer.get("path") else ""
        return LxdError(
            host=self.host, reason=f"{answer['error']}{where}", step="Mend that there and run this again"
        )

    def open(
        self, verb: str, facts: dict[str, Any], on_stderr: Callable[[bytes], None], *, stdin: bool
    ) -> Channel:
        """Given a verb and its facts, start it and return the conversation with it."""
        return self._transport.open(self.argv(verb, facts), on_stderr=on_stderr, stdin=stdin)

    def steps(self, socket: str, steps: list[list[Any]]) -> None:
        """Given LXD's socket there and steps, have them done, also if the link is cut meanwhile."""
        if steps:
            self.call("steps", {"program": program(), "request": {"socket": socket, "steps": steps}})

    @contextlib.contextmanager
    def held(self, lock: str, seconds: float) -> Iterator[bool]:
        """Hold the lock of that name there; yield False if another holds it after so many seconds."""
        stderr: list[bytes] = []
        channel = self.open("hold", {"lock": lock, "seconds": seconds}, stderr.append, stdin=True)
        said = b""
        while not said.endswith(b"\n") and (data := channel.receive()):
            said += data
        try:
            yield bool(self.answer(said, b"".join(stderr), Ending(None)).get("held"))
        finally:
            with contextlib.suppress(BrokenPipeError):
                channel.end_input()
            while channel.receive():
                pass
            channel.finish()
