"""The API over HTTPS: whom it trusts, how long it waits, what it makes of what goes wrong."""

from __future__ import annotations

import dataclasses
import inspect
import socket
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import proxmoxer
import pytest
import requests
import urllib3

from maw.config import ProxmoxSettings
from maw.errors import (
    CannotRead,
    InvalidSetting,
    ProxmoxAuthentication,
    ProxmoxCertificate,
    ProxmoxError,
    ProxmoxUnreachable,
)
from maw.proxmox.https import HttpsApi
from maw.proxmox.messages import Asked
from tests.proxmox.replay import SECRET, Certificate, Request, Server, data, hanging, make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    Api = Callable[..., HttpsApi]

VERSION = data({"version": "9.2.11"})


def answering(_: Request) -> Any:
    return VERSION


def test_a_pinned_certificate_needs_no_chain_and_the_token_arrives(
    certificate: Certificate, api_of: Api
) -> None:
    with Server(certificate, answering) as server:
        assert api_of(server).get("/version") == {"version": "9.2.11"}
    assert server.seen == [Request("GET", "/version", {}, f"PVEAPIToken=maw@pve!mirror={SECRET}")]


@pytest.mark.parametrize("form", [str.lower, lambda pin: pin.replace(":", ""), lambda pin: f"SHA256:{pin}"])
def test_a_pin_may_be_written_in_any_usual_way(
    certificate: Certificate, api_of: Api, form: Callable[[str], str]
) -> None:
    with Server(certificate, answering) as server:
        assert api_of(server, fingerprint=form(certificate.fingerprint)).get("/version")


def test_a_wrong_pin_sends_nothing_and_shows_both(certificate: Certificate, api_of: Api) -> None:
    wrong = "AA:" * 31 + "AA"
    with Server(certificate, answering) as server:
        with pytest.raises(ProxmoxCertificate) as caught:
            api_of(server, fingerprint=wrong).get("/version")
        assert server.seen == []
    assert certificate.fingerprint in str(caught.value)
    assert wrong in str(caught.value)


@pytest.mark.parametrize("pin", ["abc", "AA:" * 20, "zz" * 32, "AA" * 20, "SHA256:abc="])
def test_a_pin_that_is_no_sha256_is_refused_at_once(pin: str) -> None:
    with pytest.raises(InvalidSetting, match=r"proxmox\.fingerprint"):
        HttpsApi("127.0.0.1", ProxmoxSettings(fingerprint=pin), SECRET)


@pytest.mark.parametrize("ca", [True, False], ids=["signed by an unknown CA", "signed by itself"])
def test_a_certificate_of_nobody_is_refused_without_a_pin(tmp_path: Path, api_of: Api, ca: bool) -> None:
    with Server(make_certificate(tmp_path, ca=ca), answering) as server:
        with pytest.raises(ProxmoxCertificate, match="nobody whom this machine trusts") as caught:
            api_of(server, fingerprint="").get("/version")
        assert server.seen == []
    assert "proxmox.ca_file" in str(caught.value)


def test_the_clusters_ca_makes_it_trusted(certificate: Certificate, api_of: Api) -> None:
    with Server(certificate, answering) as server:
        assert api_of(server, fingerprint="", ca_file=str(certificate.ca_file)).get("/version")


def test_a_relative_ca_file_lies_in_the_workspace(certificate: Certificate) -> None:
    with Server(certificate, answering) as server:
        settings = ProxmoxSettings(api_port=server.port, ca_file="ca.pem")
        api = HttpsApi("127.0.0.1", settings, SECRET, root=certificate.ca_file.parent)
        assert api.get("/version")
        api.close()


def test_another_clusters_ca_is_not_enough(certificate: Certificate, api_of: Api, tmp_path: Path) -> None:
    other = make_certificate(tmp_path)
    with Server(certificate, answering) as server:
        with pytest.raises(ProxmoxCertificate):
            api_of(server, fingerprint="", ca_file=str(other.ca_file)).get("/version")
        assert server.seen == []


def test_an_expired_certificate_is_refused_by_the_ca_and_taken_by_the_pin(
    tmp_path: Path, api_of: Api
) -> None:
    expired = make_certificate(tmp_path, days=-1)
    with Server(expired, answering) as server:
        with pytest.raises(ProxmoxCertificate, match="it has expired"):
            api_of(server, fingerprint="", ca_file=str(expired.ca_file)).get("/version")
        assert api_of(server).get("/version")


def test_the_certificate_of_another_machine_is_refused(tmp_path: Path, api_of: Api) -> None:
    other = make_certificate(tmp_path, names=("elsewhere",))
    with Server(other, answering) as server:
        with pytest.raises(ProxmoxCertificate, match="another machine's"):
            api_of(server, fingerprint="", ca_file=str(other.ca_file)).get("/version")
        assert server.seen == []


def test_a_ca_file_that_is_none_or_not_there_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ProxmoxCertificate, match="holds no certificate"):
        HttpsApi("h", ProxmoxSettings(ca_file=str(tmp_path / "ca.pem")), SECRET)
    with pytest.raises(CannotRead):
        HttpsApi("h", ProxmoxSettings(ca_file=str(tmp_path / "none.pem")), SECRET)


def test_what_the_environment_says_of_proxies_and_cas_changes_nothing(
    certificate: Certificate, api_of: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "missing.pem")
    with Server(certificate, answering) as server:
        assert api_of(server).get("/version")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.ca_file))
    with Server(certificate, answering) as server, pytest.raises(ProxmoxCertificate):
        api_of(server, fingerprint="").get("/version")


def test_a_server_that_hangs_is_given_up_after_the_settings_time(
    certificate: Certificate, api_of: Api
) -> None:
    with Server(certificate, hanging(3)) as server:
        started = time.monotonic()
        with pytest.raises(ProxmoxUnreachable, match=r"no answer came within 0\.3 s"):
            api_of(server, answer_seconds=0.3).get("/version")
        assert time.monotonic() - started < 2


def test_a_server_that_takes_a_connection_and_says_nothing_is_given_up(
    api_of: Api, certificate: Certificate
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        settings = ProxmoxSettings(
            api_port=listener.getsockname()[1],
            connect_seconds=1,
            answer_seconds=0.3,
            fingerprint=certificate.fingerprint,
        )
        with pytest.raises(ProxmoxUnreachable):
            HttpsApi("127.0.0.1", settings, SECRET).get("/version")


def test_a_closed_port_is_said_in_plain_words(free_port: int) -> None:
    api = HttpsApi("127.0.0.1", ProxmoxSettings(api_port=free_port), SECRET, name="pve")
    with pytest.raises(ProxmoxUnreachable) as caught:
        api.get("/version")
    assert "at pve cannot be reached: Connection refused." in str(caught.value)


def test_a_name_that_nobody_knows_is_said_in_plain_words() -> None:
    with pytest.raises(ProxmoxUnreachable):
        HttpsApi("no-such-host.invalid", ProxmoxSettings(connect_seconds=5), SECRET).get("/version")


def test_a_port_without_tls_is_unreachable(certificate: Certificate, api_of: Api) -> None:
    with Server(certificate, answering, tls=False) as server:
        with pytest.raises(ProxmoxUnreachable, match="does not speak TLS"):
            api_of(server).get("/version")
        assert SECRET not in str(server.seen)


def test_a_kept_connection_that_was_cut_is_taken_up_again_for_a_get_but_not_for_a_post(
    certificate: Certificate, api_of: Api
) -> None:
    answers = iter([None, VERSION, None, VERSION])
    with Server(certificate, lambda _: next(answers)) as server:
        assert api_of(server).get("/version")
        with pytest.raises(ProxmoxUnreachable):
            api_of(server).post("/nodes/pve1/vzdump", vmid=101)
        assert len(server.seen) == 3


def test_the_token_follows_no_redirect(certificate: Certificate, api_of: Api) -> None:
    with Server(certificate, lambda _: (301, "Moved Permanently", b"")) as server:
        with pytest.raises(ProxmoxError, match="points to another place"):
            api_of(server).get("/version")
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>a router</html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"{}"),
        (200, b"\xff\xfe"),
        (200, b""),
        (500, b"[1]"),
        (500, b"<html>"),
        (404, b"null"),
    ],
)
def test_what_is_no_answer_of_proxmox_is_an_error_of_ours(
    certificate: Certificate, api_of: Api, status: int, body: bytes
) -> None:
    with Server(certificate, lambda _: (status, "Odd", body)) as server, pytest.raises(ProxmoxError):
        api_of(server).get("/version")


def _classes(module: Any, base: type[BaseException]) -> list[type[Exception]]:
    found = [one for _, one in inspect.getmembers(module, inspect.isclass) if issubclass(one, base)]
    return [one for one in found if not issubclass(one, Warning)]


FOREIGN = sorted(
    {
        *_classes(requests.exceptions, requests.RequestException),
        *_classes(urllib3.exceptions, urllib3.exceptions.HTTPError),
        *_classes(proxmoxer.core, Exception),
        OSError,
        TimeoutError,
        UnicodeError,
        ConnectionResetError,
    },
    key=lambda one: (one.__module__, one.__name__),
)


def _made(kind: type[Exception]) -> Exception:
    """One of that kind, with the secret in its text: what it is made of does not matter."""
    error = kind.__new__(kind)
    Exception.__init__(error, f"bad header PVEAPIToken={SECRET}")
    for name, value in {
        "status_code": 500,
        "content": "text",
        "response": None,
        "errors": None,
        "length": 1,
        "partial": 0,
        "expected": 1,
    }.items():
        if not hasattr(error, name):
            setattr(error, name, value)
    return error


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_of_the_libraries_becomes_one_of_ours_without_the_secret(
    kind: type[Exception], certificate: Certificate, api_of: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(certificate, answering) as server:
        api = api_of(server)

        def fail(*_: Any, **__: Any) -> Any:
            raise _made(kind)

        monkeypatch.setattr(api._session, "request", fail)
        with pytest.raises(ProxmoxError) as caught:
            api.get("/version")
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    if kind is proxmoxer.AuthenticationError:
        assert isinstance(caught.value, ProxmoxAuthentication)


def test_a_secret_that_is_no_header_is_not_shown(certificate: Certificate, api_of: Api) -> None:
    secret = "abc\r\nX-Evil: 1"
    with Server(certificate, answering) as server:
        settings = dataclasses.replace(api_of(server)._settings)
        with pytest.raises(ProxmoxError) as caught:
            HttpsApi("127.0.0.1", settings, secret).get("/version")
        assert server.seen == []
    assert "X-Evil" not in str(caught.value)


def test_the_secret_stands_in_no_repr_and_no_log(
    certificate: Certificate, api_of: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    with Server(certificate, lambda _: (401, "Authentication failed!", b"")) as server:
        api = api_of(server)
        with pytest.raises(ProxmoxAuthentication) as caught:
            api.post("/nodes/pve1/vzdump", vmid=101)
    assert SECRET not in repr(api) + repr(vars(api)["_root"]) + repr(caught.value) + caplog.text


def test_the_libraries_switching_off_of_warnings_is_undone(certificate: Certificate, api_of: Api) -> None:
    with Server(certificate, answering) as server:
        api_of(server).get("/version")
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        warnings.warn("insecure", urllib3.exceptions.InsecureRequestWarning, stacklevel=1)


@pytest.mark.parametrize("token", ["", "root", "maw@pve", "maw!mirror", "maw@pve!", "maw@pve!a b", "a@b!c\n"])
def test_an_id_that_is_no_tokens_is_refused_at_once(token: str) -> None:
    with pytest.raises(InvalidSetting, match=r"proxmox\.token_id"):
        HttpsApi("h", ProxmoxSettings(token_id=token), SECRET)


def test_the_time_and_the_wait_reach_the_library(certificate: Certificate, api_of: Api) -> None:
    with Server(certificate, answering) as server:
        api = api_of(server, connect_seconds=7, answer_seconds=77.0)
        assert api._session.auth.timeout == (7, 77.0)


def test_asked_shows_a_path_as_a_person_reads_it() -> None:
    assert Asked("p", "t", "GET", "/a/b%3Ac%2Fd").shown == "/a/b:c/d"
