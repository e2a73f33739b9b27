"""What the ssh program says when it fails, translated into maw's errors."""

from __future__ import annotations

import re

from maw.errors import (
    AuthenticationRefused,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    LinkLost,
    TransportError,
)

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/=]+")
_UNREACHABLE = re.compile(
    r"Connection refused|timed out|No route to host|Network is unreachable|Could not resolve hostname"
    r"|Name or service not known|Host is down|Connection reset|Connection closed by|banner exchange",
    re.IGNORECASE,
)


def from_ssh(
    said: str, status: int, *, host: str, addresses: tuple[str, ...], user: str, pinned: str
) -> TransportError:
    """Given what ssh wrote to standard error and its exit status, return the error to raise.

    `pinned` is the fingerprint known for the host ("none" if there is none).
    """
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), f"status {status}")
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
        found = _FINGERPRINT.search(said)
        return HostKeyChanged(host=host, found=found.group() if found else "another key", pinned=pinned)
    if "Host key verification failed" in said or "host key is known for" in said:
        if pinned == "none":
            return HostKeyUnknown(host=host)
        return HostKeyChanged(host=host, found="a key of another type", pinned=pinned)
    if "Permission denied" in said or "Too many authentication failures" in said:
        return AuthenticationRefused(host=host, user=user, reason=last)
    if _UNREACHABLE.search(said):
        return HostUnreachable(host=host, addresses=", ".join(addresses), reason=last)
    if re.search("closed by remote host|Broken pipe|not responding", said):
        return LinkLost(host=host, reason=last)
    return TransportError(host=host, reason=f"ssh ended with status {status}: {last}")
