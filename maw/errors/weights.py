"""Errors of models' weights: the hub that they come from, and the folder that they lie in."""

from __future__ import annotations

from maw.errors.base import MawError


class WeightsError(MawError):
    """{repo}: {reason}. {step}."""

    exit_code = 110


class LicenceNotAccepted(WeightsError):
    """The hub does not let the account of your token read {repo}: {reason}. Log in with that account in a
    browser, accept the licence on {page}, then run the same command again."""

    exit_code = 111


class TokenNeeded(WeightsError):
    """{repo} may be read only with a token: {reason}. Accept the licence on {page}, make a token that may
    read on {tokens}, put it into {token_file} (mode 0600) or into the variable HF_TOKEN, then run the same
    command again."""

    exit_code = 112


class WeightsDamaged(WeightsError):
    """{path}: {reason}. Nothing damaged was installed or taken for whole; get it anew with
    `maw weights fetch {repo} --revision {revision}`."""

    exit_code = 113


class HubUnreachable(WeightsError):
    """The hub at {endpoint} cannot be reached: {reason}. What has arrived is kept; run the same command again
    when this machine is online."""

    exit_code = 114


class UnknownRevision(WeightsError):
    """{repo} has no revision {revision}. Look up the commit on {page}/commits/main, or leave --revision out
    and use the one that is printed."""

    exit_code = 115


class UnknownRepository(WeightsError):
    """There is no model {repo} on the hub, or {who} may not see it. Check the name on {page}."""

    exit_code = 116


class UnsafeWeights(WeightsError):
    """{repo} is refused: {reason}. {step}."""

    exit_code = 117


class WeightsTooLarge(WeightsError):
    """{repo} needs {needed}: {reason}. {step}."""

    exit_code = 118


class HubTokenUnusable(WeightsError):
    """The file of the hub's token {path} cannot be used: {reason}. {step}."""

    exit_code = 119
