"""The API over HTTPS, through proxmoxer, with a token."""

from __future__ import annotations

import http.client
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw.errors import ProxmoxError, ProxmoxUnreachable
from maw.proxmox import messages, tls
from maw.proxmox.messages import Asked
from maw.proxmox.model import odd_answer
from maw.proxmox.token import split_token_id

if TYPE_CHECKING:
    import requests

    from maw.config import ProxmoxSettings


class HttpsApi:
    """The API of one address. Nothing is sent before its certificate is one to be trusted.

    `name` is the server's in messages; relative files of the settings lie under `root`.
    """

    def __init__(
        self,
        address: str,
        settings: ProxmoxSettings,
        secret: str,
        *,
        name: str | None = None,
        root: Path = Path(),
    ) -> None:
        self.host = name or address
        self.token = settings.token_id
        self._settings = settings
        self._secret = secret
        self._pin = tls.pin_of(settings.fingerprint)
        self._body: bytes | None = None
        ca_file = root / Path(settings.ca_file).expanduser() if settings.ca_file else None
        adapter = tls.adapter(self._pin, tls.context_for(self._pin, ca_file, self.host))
        self._root = self._connect(address, adapter)

    def _connect(self, address: str, adapter: Any) -> Any:
        with warnings.catch_warnings():
            # proxmoxer silences urllib3 for the whole process as it is imported; that is undone here.
            from proxmoxer import ProxmoxResource
            from proxmoxer.backends.https import Backend

        user, name = split_token_id(self.token)
        backend = Backend(
            address,
            user=user,
            token_name=name,
            token_value=self._secret,
            port=self._settings.api_port,
            timeout=(self._settings.connect_seconds, self._settings.answer_seconds),
        )
        session = backend.get_session()
        # No proxy, netrc or list of CAs of the environment comes between us and the server, and the
        # token follows no redirect.
        session.trust_env = False
        session.max_redirects = 0
        session.mount("https://", adapter)
        session.hooks["response"].append(self._keep)
        self._session = session
        return ProxmoxResource(
            base_url=backend.get_base_url(), session=session, serializer=backend.get_serializer()
        )

    def _keep(self, response: requests.Response, **_: Any) -> None:
        self._body = response.content

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, path: str, /, **params: object) -> Any:
        """Given a path, return the data. Raise ProxmoxError."""
        try:
            return self._ask("GET", path, params)
        except ProxmoxUnreachable as error:
            # The server may close a connection kept open just as we take it again.
            if not _is_cut(error.__cause__):
                raise
            return self._ask("GET", path, params)

    def post(self, path: str, /, **params: object) -> Any:
        """Given a path, return the data. Raise ProxmoxError."""
        return self._ask("POST", path, params)

    def delete(self, path: str, /, **params: object) -> Any:
        """Given a path, return the data. Raise ProxmoxError."""
        return self._ask("DELETE", path, params)

    def _ask(self, method: str, path: str, params: dict[str, object]) -> Any:
        import requests
        import urllib3
        from proxmoxer import AuthenticationError, ResourceException

        self._body = None
        asked = Asked(self.host, self.token, method, path)
        words = {key: int(value) if isinstance(value, bool) else value for key, value in params.items()}
        resource = self._root(path.lstrip("/"))
        foreign = (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            ResourceException,
            AuthenticationError,
            OSError,
            # What proxmoxer stumbles over when an answer is no answer of the API.
            LookupError,
            TypeError,
            AttributeError,
            ValueError,
        )
        try:
            data = getattr(resource, method.lower())(**words)
        except foreign as error:
            raise self.translate(error, asked) from error
        if isinstance(data, dict) and isinstance(data.get("errors"), bytes):
            raise odd_answer(self.host, "data", data["errors"].decode("utf-8", "replace"))
        return data

    def translate(self, error: Exception, asked: Asked) -> ProxmoxError:
        """Given an exception of proxmoxer or of what it stands on, return maw's."""
        import requests
        from proxmoxer import AuthenticationError, ResourceException

        if isinstance(error, ResourceException):
            return messages.explain(error.status_code, error.content or "", self._body, asked)
        if isinstance(error, AuthenticationError):
            return messages.explain(401, self._without_secret(error), None, asked)
        if isinstance(error, requests.exceptions.SSLError):
            return tls.explain(self._redacted(str(error)), self.host, self._pin)
        if isinstance(error, requests.exceptions.ReadTimeout):
            reason = f"no answer came within {self._settings.answer_seconds:g} s"
        elif isinstance(error, requests.exceptions.Timeout):
            reason = f"no connection came about within {self._settings.connect_seconds} s"
        elif isinstance(error, requests.exceptions.TooManyRedirects) and error.response is not None:
            return messages.explain(error.response.status_code, error.response.reason, None, asked)
        elif isinstance(error, (LookupError, TypeError, AttributeError)):
            return odd_answer(self.host, "an answer of the API", self._body)
        else:
            reason = self._without_secret(_root_of(error))
        return ProxmoxUnreachable(host=self.host, reason=reason)

    def _without_secret(self, error: BaseException) -> str:
        text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        return " ".join(self._redacted(text).split())[:300].rstrip(". ")

    def _redacted(self, text: str) -> str:
        # A header that cannot be sent is quoted by the library, with escapes.
        return text.replace(self._secret, "…").replace(repr(self._secret)[1:-1], "…")


def _chain(error: BaseException | None) -> list[BaseException]:
    """The exception and what it stands on, through the wrappers of requests and urllib3."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        inner = [error.__cause__, getattr(error, "reason", None), *error.args, error.__context__]
        error = next((one for one in inner if isinstance(one, BaseException) and one not in found), None)
    return found


def _root_of(error: BaseException) -> BaseException:
    chain = _chain(error)
    system = [one for one in chain if isinstance(one, OSError) and one.strerror]
    return (system or chain)[-1]


def _is_cut(error: BaseException | None) -> bool:
    """Whether the other side closed a connection under a request."""
    kinds = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
    return any(isinstance(one, kinds) for one in _chain(error))
