"""The API without a token: `pvesh` as root on the server, over a transport."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from maw.errors import CommandNotFound, ProxmoxError, TaskFailed
from maw.proxmox import messages
from maw.proxmox.messages import Asked
from maw.proxmox.model import odd_answer

if TYPE_CHECKING:
    from maw.transport.base import Result, Transport

_UPID = re.compile(r'^"?(UPID:[^\s"]+:)"?$', re.MULTILINE)
_STATUS = re.compile(r"^(\d{3}) (.+)$", re.MULTILINE)
_NO_HANDLER = re.compile(r"No '\w+' handler defined for")
_NOT_ROOT = ("please run as root", "Unable to load access control list", "ipcc_send_rec")


class ShellApi:
    """The API through `pvesh`. What starts a task there waits for its end, as `pvesh` does.

    `seconds` is the longest wait for an answer to a question.
    """

    def __init__(self, transport: Transport, *, seconds: float = 60.0) -> None:
        self.host = transport.host
        self.token = "root@pam"  # noqa: S105 - a user's name: there is no token on this way
        self._transport = transport
        self._seconds = seconds

    def get(self, path: str, /, **params: object) -> Any:
        """Given a path, return the data. Raise ProxmoxError or TransportError."""
        return self._ask("get", path, params, self._seconds)

    def post(self, path: str, /, **params: object) -> Any:
        """Given a path, return the data, of a task its UPID. Raise ProxmoxError or TransportError."""
        return self._ask("create", path, params, None)

    def delete(self, path: str, /, **params: object) -> Any:
        """Given a path, return the data. Raise ProxmoxError or TransportError."""
        return self._ask("delete", path, params, None)

    def _ask(self, verb: str, path: str, params: dict[str, object], seconds: float | None) -> Any:
        argv = ["pvesh", verb, unquote(path), "--output-format", "json"]
        for key, value in params.items():
            if value is not None:
                argv += [f"--{key}", str(int(value) if isinstance(value, bool) else value)]
        try:
            result = self._transport.run(argv, timeout=seconds)
        except CommandNotFound as error:
            raise not_a_server(self.host) from error
        text = result.stdout.decode("utf-8", "replace")
        if verb != "get" and (match := _UPID.search(text)):
            return match[1]
        if not result.ok:
            raise self._explain(result, text, Asked(self.host, self.token, verb, path))
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise odd_answer(self.host, "the JSON of `pvesh`", text) from error

    def _explain(self, result: Result, stdout: str, asked: Asked) -> ProxmoxError:
        said = result.stderr.decode("utf-8", "replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        if result.ending.code == 127:
            return not_a_server(self.host)
        if any(word in said for word in _NOT_ROOT):
            return ProxmoxError(
                host=self.host,
                reason="only root may ask it (pvesh was not run as root)",
                step="Set ansible_user: root for that host in the inventory",
            )
        if "Parameter verification failed" in said and (found := messages.of_parameters(_from_400(said))):
            return messages.explain(400, "", json.dumps({"errors": found}), asked)
        if match := _STATUS.search(said):
            return messages.explain(int(match[1]), match[2], None, asked)
        if _NO_HANDLER.search(said):
            return messages.explain(501, lines[-1], None, asked)
        if "INFO: " in stdout or "TASK ERROR: " in stdout:
            return self._failed_task(lines, stdout, asked)
        reason = next((line for line in lines if messages.of_text(line, asked)), None)
        last = lines[-1] if lines else f"pvesh ended with {result.ending.code} and said nothing"
        return messages.explain(500, reason or last, None, asked)

    def _failed_task(self, lines: list[str], stdout: str, asked: Asked) -> ProxmoxError:
        log = [line for line in stdout.splitlines() if line.strip()]
        for line in [*reversed(log), *lines]:
            if known := messages.of_text(line, asked):
                return known
        return TaskFailed(
            upid=asked.shown,
            host=self.host,
            reason=(lines or log)[-1].rstrip(". "),
            log=" | ".join(log[-5:]).rstrip(". "),
            step="Look at the whole log on the server (`pvenode task list --errors`)",
        )


def _from_400(said: str) -> str:
    return said[said.index("Parameter verification failed") :]


def not_a_server(host: str) -> ProxmoxError:
    """Given a host where Proxmox VE's programs are missing, return the error that says so."""
    return ProxmoxError(
        host=host,
        reason="it has none of the programs of Proxmox VE (pvesh, pveum)",
        step="Name the server in proxmox.host in maw.toml, or put it into the inventory's group proxmox",
    )
