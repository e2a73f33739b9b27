"""LXD's API through a unix socket, by pylxd; what LXD refuses becomes an error of maw.

Answers are LXD's own JSON (https://documentation.ubuntu.com/lxd/latest/api/), so that old and new
versions are told apart by `api_extensions` and not by what a class of pylxd expects.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from maw.errors import DiskFull, LxdError, NoLxd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


_FULL = "no space left on device"


class Lxd:
    """One LXD daemon. A context manager. Raise NoLxd if it does not answer, or is another program."""

    def __init__(self, socket: Path, host: str) -> None:
        # pylxd warns of each field that it does not know, which a new LXD has many of.
        os.environ.setdefault("PYLXD_WARNINGS", "none")
        import pylxd

        self.host = host
        with self._translated():
            self._client = pylxd.Client(endpoint=f"http+unix://{quote(str(socket), safe='')}")
        self.info: dict[str, Any] = self._client.host_info
        server = str(self.environment.get("server", "lxd"))
        if server != "lxd":
            self.close()
            step = "Mirrors need LXD 5.0 or newer there: `apt install lxd` or `snap install lxd`"
            raise NoLxd(host=host, reason=f"{server} answers, which maw does not speak", step=step)
        if self.info.get("auth") != "trusted":
            self.close()
            raise NoLxd(host=host, reason="it does not trust us", step="Reach that host as root")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the socket."""
        self._client.api.session.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import pylxd.exceptions
        import requests

        try:
            yield
        except (pylxd.exceptions.ClientConnectionFailed, requests.ConnectionError) as error:
            step = "Look there with `lxc list`; start it with `systemctl start lxd` or `snap start lxd`"
            raise NoLxd(host=self.host, reason=f"its socket gave no answer ({error})", step=step) from error
        except pylxd.exceptions.LXDAPIException as error:
            if _FULL in str(error).lower():
                raise DiskFull(path="what LXD keeps", where=self.host) from error
            raise LxdError(
                host=self.host, reason=str(error), step="Mend that there and run this again"
            ) from error

    @property
    def environment(self) -> dict[str, Any]:
        """What LXD says of its machine and itself."""
        found: dict[str, Any] = self.info["environment"]
        return found

    @property
    def extensions(self) -> frozenset[str]:
        """The extensions of the API that this LXD has."""
        return frozenset(self.info.get("api_extensions") or ())

    def get(self, path: str) -> Any:
        """Given a path below /1.0, return what is there. Raise LxdError."""
        with self._translated():
            return self._node(path).get(params={"recursion": 1}).json()["metadata"]

    def _node(self, path: str) -> Any:
        node = self._client.api
        for part in path.split("/"):
            node = node[part]
        return node

    def _operation(self, answer: Any) -> None:
        body = answer.json()
        if body.get("type") == "async":
            self._client.operations.wait_for_operation(body["operation"])

    def instances(self) -> list[dict[str, Any]]:
        """Return all instances: name, status, config, devices, …"""
        found: list[dict[str, Any]] = self.get("instances")
        return found

    def create_empty(self, name: str, body: Mapping[str, Any]) -> None:
        """Given a name and the rest of a request, make a container without any file. Raise LxdError."""
        request = {**body, "name": name, "type": "container", "source": {"type": "none"}}
        with self._translated():
            self._operation(self._client.api.instances.post(json=request))

    def replace(self, name: str, changes: Mapping[str, Any]) -> None:
        """Given an instance and new values of its fields, set them; a config is set whole.

        LXD's own `volatile.` keys stay. Raise LxdError.
        """
        with self._translated():
            node = self._client.api.instances[name]
            now = node.get().json()["metadata"]
            fields = ("architecture", "config", "devices", "ephemeral", "profiles", "description")
            body = {field: now.get(field) for field in fields} | dict(changes)
            if "config" in changes:
                kept = {key: value for key, value in now["config"].items() if key.startswith("volatile.")}
                body["config"] = {**kept, **changes["config"]}
            self._operation(node.put(json=body))

    def change_config(self, name: str, config: Mapping[str, str]) -> None:
        """Given an instance and keys with values, set these; all else stays. Raise LxdError.

        Not by PATCH: LXD 5.0 then forgets the description.
        """
        with self._translated():
            now = self._client.api.instances[name].get().json()["metadata"]
        self.replace(name, {"config": {**now["config"], **config}})

    def set_state(self, name: str, action: str, *, seconds: int = 30) -> None:
        """Given an instance and start or stop, do it and wait. Raise LxdError with LXD's own words."""
        with self._translated():
            answer = self._client.api.instances[name].state.put(json={"action": action, "timeout": seconds})
            self._operation(answer)

    def state(self, name: str) -> dict[str, Any]:
        """Given an instance, return its status, processes and addresses."""
        found: dict[str, Any] = self.get(f"instances/{name}/state")
        return found
