"""Hostile input: whatever is sent, the answer is a refusal in the one shape, never a 5xx."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import SFT, Service

PATHS = ("/v1/chat/completions", "/v1/completions", "/api/conversations", "/api/conversations/none/turns")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe{}",
        b'{"model": "\\ud800", "messages": []}',
        b'{"\\ud800": 1}',
        b'{"messages": [{"role": "user", "content": "\\ud800", "text": "\\ud800"}]}',
        b'{"temperature": NaN, "messages": [{"role": "user", "content": "x"}], "model": "micro-sft"}',
        b'{"temperature": 1e999}',
        b'{"n": ' + b"9" * 5000 + b"}",
        b'{"temperature": ' + b"9" * 4000 + b"}",
        b'{"seed": 99999999999999999999999999}',
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b'{"' + b"k" * 250_000 + b'": 1}',
    ],
)
def test_bad_bodies(service: Service, path: str, body: bytes) -> None:
    with service.browser() as http:
        headers = {"content-type": "application/json", "authorization": f"Bearer {service.key()}"}
        answer = http.post(path, content=body, headers=headers)
    assert answer.status_code in ((400,) if path.startswith("/v1/") else (400, 422))
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert len(answer.content) < 1000


def test_another_content_type_is_no_way_in(service: Service) -> None:
    with service.browser() as http:
        answer = http.post(
            "/api/conversations", content=b'{"kind": "chat"}', headers={"content-type": "text/plain"}
        )
    assert answer.status_code == 422


def test_a_long_body_is_refused_by_its_announcement_and_by_its_length(service: Service) -> None:
    with service.program() as http:
        announced = http.post(PATHS[0], content=b"x" * 300_000)
        streamed = http.post(PATHS[0], content=(b"x" * 100_000 for _ in range(20)))
    assert [announced.status_code, streamed.status_code] == [413, 413]
    assert "262144 bytes" in announced.json()["error"]["message"]
    assert "262144 bytes" in streamed.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/v1/nothing", "GET", 404), ("/v1/models", "DELETE", 405), ("/api/nothing", "GET", 404)],
)
def test_what_is_not_there_is_told_in_the_one_shape(
    service: Service, path: str, method: str, status: int
) -> None:
    with service.program() as http:
        answer = http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "index.html", "", "app.js%00"])
def test_only_the_files_of_the_page_are_served(service: Service, name: str) -> None:
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as raw:
        raw.sendall(
            f"GET /assets/{name} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404")


def send_raw(service: Service, head: bytes) -> bytes:
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as raw:
        raw.sendall(head)
        return b"".join(iter(lambda: raw.recv(65536), b""))


@pytest.mark.parametrize(
    "host",
    [
        b"Host: evil.example",
        b"Host: 127.0.0.1.evil.example",
        b"Host: localhost@evil.example",
        b"Host: localhost/v1",
        b"Host: localhost:80:80",
        b"Host: localhost:http",
        b"Host: \xff",
        b"Host:",
        b"X: y",
        b"Host: localhost\r\nHost: evil.example",
    ],
)
@pytest.mark.parametrize("path", [b"/", b"/healthz", b"/login?token=x", b"/v1/models"])
def test_a_foreign_or_malformed_host_is_refused(service: Service, host: bytes, path: bytes) -> None:
    answer = send_raw(service, b"GET " + path + b" HTTP/1.1\r\n" + host + b"\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:99", "[::1]:8000"])
def test_loopback_names_are_ours_whatever_the_port(service: Service, host: str) -> None:
    head = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert send_raw(service, head.encode()).startswith(b"HTTP/1.1 200")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("model", "messages", "temperature", "top_p", "max_tokens", "stop", "n", "stream", "tools", "seed")
messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool"]) | json_values,
            "content": json_values,
        }
    ),
    max_size=3,
)
bodies = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5).flatmap(
    lambda body: (messages | json_values).map(lambda m: {"model": SFT.name, **body, "messages": m})
)


def test_no_body_at_all_brings_a_5xx(service: Service) -> None:
    with service.program() as http:

        @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(bodies)
        def fuzz(body: object) -> None:
            content = json.dumps(body).encode()
            answer = http.post(PATHS[0], content=content, headers={"content-type": "application/json"})
            assert answer.status_code in (200, 400, 404), answer.text

        fuzz()
