"""The hub, through huggingface_hub: what a repository holds, and the bytes of its files.

huggingface_hub gives the API, the headers, the connection and the errors. Its own downloads begin anew
after a kill (since 2.0 each goes to a file named at random), so the bytes are asked for here, from where
an earlier run stopped. What it raises is translated here and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from maw.errors import (
    HubUnreachable,
    LicenceNotAccepted,
    TokenNeeded,
    UnknownRepository,
    UnknownRevision,
    WeightsError,
)
from maw.models.weights import Listing, RemoteFile, is_commit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ASK_SECONDS = 30
# Tries without a single new byte; each that brought some begins the count anew.
_TRIES = 5
_MAY_PASS = frozenset({408, 429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Hub:
    """A way to the hub: the token (None is without), where it would be put, and how long silence may last."""

    token: str | None
    token_file: Path
    silence_seconds: float = 30.0
    # Between two tries; it doubles.
    pause_seconds: float = 1.0

    @property
    def endpoint(self) -> str:
        """The hub's address: HF_ENDPOINT, or the public one."""
        return str(_library().constants.ENDPOINT)

    def look(self, repo: str, revision: str | None) -> Listing:
        """Given a repository and a commit, branch or tag (None is its head), return what that commit holds.

        Raise HubUnreachable, UnknownRepository, UnknownRevision, LicenceNotAccepted, TokenNeeded or
        WeightsError.
        """
        library = _library()
        self._refuse_open_token()
        with self._translated(repo, revision):
            api = library.HfApi(token=self.token or False)
            found = self._persistently(
                lambda: api.model_info(repo, revision=revision, files_metadata=True, timeout=_ASK_SECONDS)
            )
            return _listing(repo, found)

    def check_access(self, listing: Listing, path: str) -> None:
        """Given a listing and one of its files, raise what `look` raises if this token may not read it.

        The hub lists what it does not hand out.
        """
        library = _library()
        url = library.hf_hub_url(listing.repo, path, revision=listing.commit)
        with self._translated(listing.repo, listing.commit):
            self._persistently(
                lambda: library.get_hf_file_metadata(url, token=self.token or False, timeout=_ASK_SECONDS)
            )

    def read(self, listing: Listing, file: RemoteFile, start: int) -> Iterator[tuple[int, bytes]]:
        """Given a file and the bytes of it that are there, yield (offset, bytes) of the rest.

        The offset is 0 where the hub began anew. A connection that is cut or silent
        is made again, from where it stopped. Raise what `look` raises.
        """
        at, tries = start, 0
        while at < file.size:
            try:
                with self._translated(listing.repo, listing.commit):
                    for offset, chunk in self._stream(listing, file, at):
                        yield offset, chunk
                        at, tries = offset + len(chunk), 0
                trouble = self._trouble(f"it ended {file.path} at byte {at} of {file.size}")
            except HubUnreachable as error:
                trouble = error
            if at < file.size:
                tries += 1
                if tries >= _TRIES:
                    raise trouble
                time.sleep(self.pause_seconds * 2 ** (tries - 1))

    def _stream(self, listing: Listing, file: RemoteFile, start: int) -> Iterator[tuple[int, bytes]]:
        library = _library()
        headers = library.utils.build_hf_headers(token=self.token or False)
        # A compressed answer cannot be gone on with at a byte of the file.
        headers["Accept-Encoding"] = "identity"
        if start:
            headers["Range"] = f"bytes={start}-"
        url = library.hf_hub_url(listing.repo, file.path, revision=listing.commit)
        # Redirects lead to another machine; the client does not send it the token.
        asked = library.get_session().stream("GET", url, headers=headers, timeout=self.silence_seconds)
        with asked as answer:
            library.utils.hf_raise_for_status(answer)
            at = _offset(answer.status_code, answer.headers.get("Content-Range", ""), start)
            if at is None:
                raise self._trouble(f"it answers with another part of {file.path} than was asked for")
            # As they come: of pieces of a given size, what is gathered is lost when the connection is cut.
            for chunk in answer.iter_bytes():
                yield at, chunk
                at += len(chunk)

    def _persistently(self, ask: Any) -> Any:
        """Ask; what may pass (the hub is busy) is asked again a few times."""
        from huggingface_hub.errors import HfHubHTTPError

        for pause in (1, 2, 4):
            try:
                return ask()
            except HfHubHTTPError as error:
                if error.response.status_code not in _MAY_PASS:
                    raise
                time.sleep(self.pause_seconds * pause)
        return ask()

    def _refuse_open_token(self) -> None:
        address = urlsplit(self.endpoint)
        if self.token and address.scheme != "https" and address.hostname not in _LOOPBACK:
            raise WeightsError(
                repo=self.endpoint,
                reason="HF_ENDPOINT is not https, and the token would travel in the clear",
                step="Give an https address, or unset HF_TOKEN and move the token's file away",
            )

    @contextlib.contextmanager
    def _translated(self, repo: str, revision: str | None) -> Iterator[None]:
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        # huggingface_hub 1 stands on httpx, 2 on httpx2; both call the root of their errors so.
        root: type[Exception] = HfHubHTTPError.__bases__[0]
        try:
            yield
        except HfHubHTTPError as error:
            raise self._refusal(repo, revision, error) from error
        except OfflineModeIsEnabled as error:
            raise self._trouble("HF_HUB_OFFLINE is set; unset it") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"the hub's answer is not understood ({type(error).__name__})"
            step = f"Check that {self.endpoint} is a hub (HF_ENDPOINT), and run the same command again later"
            raise WeightsError(repo=repo, reason=reason, step=step) from error
        except root as error:
            reason = " ".join(f"{error}".split()) or type(error).__name__
            raise self._trouble(_short(reason)) from error

    def _trouble(self, reason: str) -> HubUnreachable:
        return HubUnreachable(endpoint=self.endpoint, reason=reason)

    def _refusal(self, repo: str, revision: str | None, error: Any) -> WeightsError:
        from huggingface_hub import errors

        page = f"{self.endpoint}/{repo}"
        said = _short(error.server_message or "")
        status = error.response.status_code
        if isinstance(error, errors.GatedRepoError) and self.token:
            return LicenceNotAccepted(repo=repo, reason=said or "its licence is not accepted", page=page)
        if isinstance(error, errors.GatedRepoError):
            return self._token_needed(repo, "it is gated")
        if isinstance(error, errors.RevisionNotFoundError):
            return UnknownRevision(repo=repo, revision=revision or "main", page=page)
        if isinstance(error, errors.RepositoryNotFoundError):
            who = "the account of your token" if self.token else "somebody without a token"
            return UnknownRepository(repo=repo, who=who, page=page)
        if status == 401:
            return self._token_needed(repo, "the hub does not take the token that you have")
        if status == 403:
            return self._token_needed(repo, said or "the token that you have does not allow it")
        if status in _MAY_PASS:
            return self._trouble(f"it answers {status} {said}".strip())
        return WeightsError(
            repo=repo,
            reason=f"the hub answers {status} {said}".strip().rstrip("."),
            step=f"Look at {page} in a browser, and run the same command again later",
        )

    def _token_needed(self, repo: str, reason: str) -> TokenNeeded:
        return TokenNeeded(
            repo=repo,
            reason=reason,
            page=f"{self.endpoint}/{repo}",
            tokens=f"{self.endpoint}/settings/tokens",
            token_file=self.token_file,
        )


def _library() -> Any:
    """Return huggingface_hub, imported now: it reads the environment when it is. Raise WeightsError."""
    # Whatever else is in the environment, no news of what is done here is sent out.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.utils
    except ImportError as error:
        step = "Install it: pip install 'maw[weights]'"
        raise WeightsError(repo="huggingface_hub", reason="it is not installed", step=step) from error
    return huggingface_hub


def _offset(status: int, content_range: str, start: int) -> int | None:
    """Given an answer, return where in the file it begins, None if that is no place that was asked for.

    A server may ignore the wish for a part.
    """
    if status != 206:
        return 0
    match = re.match(r"bytes (\d+)-", content_range)
    return start if match and int(match[1]) == start else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"


def _listing(repo: str, found: Any) -> Listing:
    commit = str(found.sha or "")
    if not is_commit(commit):
        reason = f"the hub names no commit of it but {commit!r}"
        raise WeightsError(repo=repo, reason=reason, step="Run the same command again later")
    files = tuple(_remote(repo, one) for one in found.siblings or ())
    if len({one.path for one in files}) != len(files):
        reason = "the hub lists a file twice"
        raise WeightsError(repo=repo, reason=reason, step="Run the same command again later")
    card = found.card_data
    licence = card.get("license") if card is not None else None
    name = card.get("license_name") if card is not None else None
    shown = name if licence == "other" and name else licence
    return Listing(repo, commit, str(shown)[:100] if shown else None, files)


def _remote(repo: str, one: Any) -> RemoteFile:
    path, size = one.rfilename, one.lfs.size if one.lfs is not None else one.size
    sha256 = one.lfs.sha256 if one.lfs is not None else None
    blob = one.blob_id if sha256 is None else None
    hashes = ((sha256, 64), (blob, 40))
    wrong = [text for text, length in hashes if text and not re.fullmatch(rf"[0-9a-f]{{{length}}}", text)]
    if not isinstance(path, str) or not isinstance(size, int) or size < 0 or wrong:
        reason = f"the hub lists {path!r} without a size, or with a hash that is none"
        raise WeightsError(repo=repo, reason=reason, step="Run the same command again later")
    return RemoteFile(path, size, sha256, blob)
