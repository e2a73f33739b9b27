"""Every error that was recorded of a genuine server becomes one of maw's, with the facts that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maw.errors import (
    ContainerLocked,
    NoSuchContainer,
    ProxmoxAuthentication,
    ProxmoxError,
    ProxmoxPermission,
    ProxmoxUnreachable,
)
from maw.proxmox.messages import Asked, explain, of_text
from tests.proxmox.replay import PREFIX, RECORDINGS, SECRET, Server, as_answer, needs, recordings

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.proxmox.https import HttpsApi
    from tests.proxmox.replay import Certificate

ERRORS = [one for one in recordings() if one["status"] >= 400]
each_error = pytest.mark.parametrize("one", ERRORS, ids=lambda one: one["file"])
EXPECTED = {
    401: ProxmoxAuthentication,
    403: ProxmoxPermission,
    595: ProxmoxUnreachable,
}


def asked(one: dict) -> Asked:
    return Asked("pve", "maw@pve!mirror", one["method"], one["path"].removeprefix(PREFIX))


def check(error: ProxmoxError, one: dict) -> None:
    if one["status"] in EXPECTED:
        assert type(error) is EXPECTED[one["status"]]
    text = str(error)
    assert "{" not in text.replace("{{", "")
    assert ".." not in text.replace("...", "").replace("…", "")
    assert "None" not in text
    if "lxc/999" in one["path"] and one["status"] == 500 and "Configuration" in one["reason"]:
        assert isinstance(error, NoSuchContainer)
        assert error.facts["vmid"] == "999"
    if "locked" in one["reason"] or "can't lock" in one["reason"]:
        assert isinstance(error, ContainerLocked)
        assert error.facts["vmid"] in ("101", "104")
    for name in (one["json"] or {}).get("errors") or {}:
        assert name in text or name == "upid"


@needs(RECORDINGS)
@each_error
def test_a_recorded_error_is_explained(one: dict) -> None:
    check(explain(one["status"], one["reason"], one["body"], asked(one)), one)


@needs(RECORDINGS)
def test_every_recorded_error_comes_through_proxmoxer_too(
    certificate: Certificate, api_of: Callable[..., HttpsApi]
) -> None:
    current: list[dict] = []
    with Server(certificate, lambda _: as_answer(current[0])) as server:
        api = api_of(server)
        asks = {"GET": api.get, "POST": api.post, "DELETE": api.delete}
        chosen = [one for one in ERRORS if one["method"] in asks]
        for one in chosen:
            current[:] = [one]
            ask = asks[one["method"]]
            with pytest.raises(ProxmoxError) as caught:
                ask(one["path"].removeprefix(PREFIX))
            direct = explain(one["status"], one["reason"], one["body"], asked(one))
            assert type(caught.value) is type(direct)
            if "/" in one["path"].removeprefix(PREFIX).strip("/"):
                assert str(caught.value) == str(direct).replace("maw@pve!mirror", api.token)
            assert SECRET not in str(caught.value)
        assert len(server.seen) == len(chosen) > 50


@needs(RECORDINGS)
def test_there_are_as_many_recordings_as_the_readme_says() -> None:
    assert len(recordings()) == 257
    assert len(ERRORS) >= 50


PERMISSION = "Permission check failed (/storage/backup, Datastore.Audit|Datastore.AllocateSpace)"


def test_a_missing_privilege_is_named_with_its_path_and_token() -> None:
    error = explain(403, PERMISSION, b"", Asked("pve", "maw@pve!mirror"))
    assert str(error) == (
        "The API token maw@pve!mirror may not do this on pve: it lacks the privilege Datastore.Audit or "
        "Datastore.AllocateSpace on /storage/backup. Grant it with `maw proxmox-token --apply`."
    )


@pytest.mark.parametrize("reason", ["Permission check failed", "Permission denied", "user != root@pam"])
def test_a_refusal_that_names_no_privilege_is_still_one_of_rights(reason: str) -> None:
    error = explain(403, reason, b"", Asked("pve", "t", path="/access/users"))
    assert isinstance(error, ProxmoxPermission)
    assert "/access/users" in str(error)


def test_a_body_is_read_where_a_relay_lost_the_status_lines_text() -> None:
    error = explain(500, "", b'{"data":null,"message":"CT is locked (backup)\\n"}', Asked("p", "t"))
    assert isinstance(error, ContainerLocked)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b'{"errors":[1]}', b'{"errors":null}', None])
@pytest.mark.parametrize("status", [301, 400, 404, 418, 500, 501, 502, 506, 596, 599, 999])
def test_whatever_comes_becomes_an_error_that_can_be_read(status: int, body: bytes | None) -> None:
    error = explain(status, "", body, Asked("pve", "t", "GET", "/nodes/pve1/lxc"))
    assert isinstance(error, ProxmoxError)
    assert str(error)


def test_a_message_of_its_own_kind_is_none_of_the_known() -> None:
    assert of_text("all is well", Asked("pve", "t")) is None


def test_a_hostile_message_cannot_play_tricks_on_the_terminal() -> None:
    assert "\x1b" not in str(explain(500, "\x1b[31mred", b"", Asked("pve", "t")))
