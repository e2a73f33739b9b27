"""Errors of keys and of the way to a host."""

from __future__ import annotations

from maw.errors.base import MawError


class KeysError(MawError):
    """{path} {reason}. {step}."""

    exit_code = 60


class KeysWrong(KeysError):
    """{problems} must be mended, first: {first}. The lines above name all; mend them and run
    `cutter keys check` again."""

    exit_code = 61


class RotationUnfinished(KeysError):
    """The key {key} is not changed everywhere: {reasons}. {kept}. Mend that and run
    `cutter keys rotate` again, which goes on where it stopped."""

    exit_code = 62


class TransportError(MawError):
    """{host}: {reason}. Check the link with `cutter nodes`."""

    exit_code = 240


class HostUnreachable(TransportError):
    """{host} cannot be reached at {addresses}: {reason}. Check that it is switched on and on the network,
    then `cutter nodes`."""

    exit_code = 241


class HostSilent(HostUnreachable):
    """{host} did not answer within {seconds} s: {reason}. Run `cutter nodes` again, or give it more time:
    `cutter nodes --limit 30`."""


class HostKeyUnknown(TransportError):
    """The host key of {host} is not pinned yet. Read its fingerprint on its own console, then
    `cutter trust {host} --fingerprint SHA256:…`; that of a WSL is read through its pinned Windows:
    `cutter trust {host}`."""

    exit_code = 242


class HostKeyChanged(TransportError):
    """THE HOST KEY OF {host} CHANGED: it now shows {found}, pinned is {pinned}. Nothing was sent. If you
    reinstalled it and the fingerprint is right: `cutter trust {host} --fingerprint {found}`; if not, stop
    here."""

    exit_code = 243


class AuthenticationRefused(TransportError):
    """{host} refused to log in {user}: {reason}. Put this machine's public key into that user's
    authorized_keys there."""

    exit_code = 244


class LinkLost(TransportError):
    """The link to {host} was lost: {reason}. What ran there is stopped; run the same command again when
    it is back."""

    exit_code = 245


class CommandTimedOut(TransportError):
    """{command} took longer than {seconds} s on {host} and {outcome}. Give it more with
    --timeout."""

    exit_code = 246


class BridgeFailed(TransportError):
    """{host} cannot be reached through {windows}: {cause}. {step}. `cutter doctor {host}` looks at each
    step of the way."""

    exit_code = 248


class CommandNotFound(TransportError):
    """{host} has no command {command}. Install it there or give its whole path."""

    exit_code = 247
