"""Who gets in, with what, from where; and where secrets are not."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from parley.errors import ConfigError
from parley.moderation.rules import shipped_moderator
from parley.service.app import create_app
from parley.service.common.sessions import login_url
from parley.service.common.settings import Settings
from parley.store.database import close_database, database_url, open_database
from parley.store.keys import find_key, revoke_key
from parley.store.logins import create_login_link
from parley.store.users import owner

from .conftest import SFT, Echo, Progress, Service, running
from .talking import begin, say


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, trust_env=False, timeout=10)


def test_without_a_session_the_page_leads_to_the_sign_in_page(service: Service) -> None:
    answer = get(f"{service.url}/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    page = get(f"{service.url}/login")
    assert page.status_code == 200
    assert "parley link" in page.text


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/releases"), ("GET", "/api/run"), ("POST", "/api/conversations"), ("POST", "/logout")],
)
def test_without_a_session_the_api_is_closed(service: Service, method: str, path: str) -> None:
    headers = {"sec-fetch-site": "same-origin", "authorization": f"Bearer {service.key()}"}
    for cookie in ("", f"{service.settings.session_cookie}=guess", f"{service.settings.session_cookie}="):
        answer = httpx.request(
            method, service.url + path, json={}, headers={**headers, "cookie": cookie}, trust_env=False
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_signed_in")
    assert service.echo.asked == []


def test_every_api_route_is_guarded(service: Service) -> None:
    with service.browser() as http:
        paths = http.get("/openapi.json").json()["paths"]
    open_to_all = {"/healthz", "/readyz", "/metrics", "/api/shared/{token}"}
    for path, methods in paths.items():
        for method in methods:
            answer = httpx.request(method, service.url + path, json={}, trust_env=False)
            assert (answer.status_code == 401) != (path in open_to_all), (method, path, answer.status_code)


def test_a_link_signs_in_once_and_leaves_no_token_in_the_address(service: Service) -> None:
    link = service.link()
    answer = get(link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert answer.headers["referrer-policy"] == "no-referrer"
    again = get(link)
    assert again.status_code == 403
    assert "parley link" in again.text
    assert "set-cookie" not in again.headers


def test_the_cookie_is_for_the_server_alone(service: Service) -> None:
    cookie = SimpleCookie(get(service.link()).headers["set-cookie"])[service.settings.session_cookie]
    assert cookie["httponly"]
    assert cookie["samesite"] == "lax"
    assert cookie["path"] == "/"
    assert not cookie["secure"]
    assert not cookie["domain"]


def test_over_https_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Path) -> None:
    settings = Settings(base_url="https://chat.example.org")
    sessions = open_database(database_url(tmp_path))
    app = create_app(
        sessions=sessions,
        responder=Echo(),
        moderator=shipped_moderator(),
        run_view=Progress(),
        settings=settings,
    )
    client = TestClient(app, base_url=settings.base_url, follow_redirects=False)
    answer = client.get(login_url(sessions, settings))
    cookie = SimpleCookie(answer.headers["set-cookie"])["__Host-parley"]
    assert cookie["secure"]
    assert client.get("/").status_code == 200
    ours = {"origin": "https://chat.example.org"}
    assert client.post("/logout", headers={"origin": "http://chat.example.org"}).status_code == 403
    assert client.post("/logout", headers=ours).status_code == 204
    close_database(sessions)


def test_an_expired_link_is_refused(service: Service) -> None:
    with service.sessions.begin() as session:
        token = create_login_link(
            session,
            user_id=owner(session, now=0).id,
            now=int(time.time()) - 301,
            lifetime_seconds=300,
        )
    assert get(f"{service.url}/login?token={token}").status_code == 403


def test_of_two_who_open_a_link_at_once_one_gets_in(service: Service) -> None:
    link = service.link()
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(get(link).status_code)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(statuses) == [303] + [403] * 5


def test_who_is_signed_in_may_open_a_used_link_again(service: Service) -> None:
    with service.browser() as http:
        link = service.link()
        assert [http.get(link).status_code, http.get(link).status_code] == [303, 303]
        assert http.get("/").status_code == 200


def test_signing_in_again_ends_the_old_session(service: Service) -> None:
    with service.browser() as http:
        old = http.cookies[service.settings.session_cookie]
        http.get(service.link())
        assert http.get("/").status_code == 200
    assert get(f"{service.url}/", cookie=f"{service.settings.session_cookie}={old}").status_code == 303


def test_signing_out_ends_the_session_on_the_server(service: Service) -> None:
    with service.browser() as http:
        cookie = http.cookies[service.settings.session_cookie]
        assert http.post("/logout").status_code == 204
        assert not http.cookies
    assert get(f"{service.url}/", cookie=f"{service.settings.session_cookie}={cookie}").status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 201),
        ({"origin": "OURS"}, 201),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "OURS"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_a_change_must_come_from_our_own_page(service: Service, headers: dict[str, str], status: int) -> None:
    cookie = get(service.link()).headers["set-cookie"].partition(";")[0]
    headers = {key: value.replace("OURS", service.url) for key, value in headers.items()}
    answer = httpx.post(
        f"{service.url}/api/conversations", json={}, headers={**headers, "cookie": cookie}, trust_env=False
    )
    assert answer.status_code == status


def test_there_is_no_cors(service: Service) -> None:
    answer = httpx.options(
        f"{service.url}/v1/chat/completions",
        headers={"origin": "https://evil.example", "access-control-request-method": "POST"},
        trust_env=False,
    )
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_session_is_no_key(service: Service) -> None:
    with service.browser() as http:
        assert http.get("/v1/models").status_code == 401


def test_expired_revoked_and_wrong_keys(service: Service) -> None:
    expired = service.key(lifetime_seconds=60, age_seconds=61)
    revoked = service.key()
    with service.sessions.begin() as session:
        found = find_key(session, revoked, now=int(time.time()))
        assert found
        revoke_key(session, found.id, now=int(time.time()))
    other_scope = service.key("moderate")
    statuses = []
    for key in (service.key(), expired, revoked, other_scope, "-", "parley_", f"{revoked} x"):
        statuses.append(get(f"{service.url}/v1/models", authorization=f"Bearer {key}").status_code)
    assert statuses == [200, 401, 401, 403, 401, 401, 401]
    assert get(f"{service.url}/v1/models", authorization=f"Basic {service.key()}").status_code == 401


@pytest.mark.parametrize("path", ["/", "/login", "/assets/app.js", "/v1/models", "/healthz", "/nothing"])
def test_every_answer_is_hardened(service: Service, path: str) -> None:
    headers = get(service.url + path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"].startswith("req_")
    assert "server" not in headers
    assert headers["cache-control"] in ("no-store", "no-cache")


def test_an_answer_to_a_failure_is_hardened_too(service: Service) -> None:
    service.progress.now = RuntimeError("hunter2")
    with service.browser() as http:
        answer = http.get("/api/run")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "content-security-policy" in answer.headers
    assert answer.headers["x-request-id"]


def test_secrets_are_in_no_log_and_no_file_and_words_in_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with running(tmp_path) as service:
        key, link = service.key(), service.link()
        token = link.partition("token=")[2]
        with service.browser() as http, service.program(key) as program:
            cookie = http.cookies[service.settings.session_cookie]
            http.get(link)
            for words in ("my diary", "my diary !break"):
                say(http, begin(http)["id"], words)
            ask = {"model": SFT.name, "messages": [{"role": "user", "content": "my diary"}]}
            assert program.post("/v1/chat/completions", json=ask).status_code == 200
        written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    ours = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore")))
    assert "/turns" in ours
    assert "diary" not in ours
    for secret in (key, token, cookie):
        assert secret not in ours
        assert secret.encode() not in written


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host/path"])
def test_a_base_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        Settings(base_url=url)


def test_hosts_that_the_owner_named_are_ours() -> None:
    settings = replace(Settings(base_url="https://Chat.example.org:8443"), hosts=("Other.example",))
    assert {"chat.example.org", "other.example", "localhost", "[::1]"} <= settings.allowed_hosts
    assert "[::2]" in Settings(base_url="http://[::2]:80").allowed_hosts
