"""Floods, slow readers and sockets that go silent, against real sockets: they get 4xx or 429, and another
client is answered all the while."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from parley.service.common.settings import Settings

from .conftest import wait_until
from .engines import TINY, Tiny, tiny_service

STALL_SECONDS = 5.0  # on a machine that does other work; without the bounds it would be for ever
CHAT = "/v1/chat/completions"
HELLO = {"model": TINY.name, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
LIMITS = Settings(
    max_in_flight=8, max_in_flight_of_key=4, max_connections=1100, receive_seconds=1.0, send_seconds=1.0
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    with tiny_service(
        tmp_path_factory.mktemp("flood"), LIMITS, step_seconds=0.002, send_buffer=2**14
    ) as served:
        with served.service.program() as http:
            assert http.post(CHAT, json=HELLO).status_code == 200
        yield served


def connected(tiny: Tiny) -> socket.socket:
    parts = urlsplit(tiny.service.url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)


def request(tiny: Tiny, key: str, body: bytes, *, announced: int | None = None) -> bytes:
    host = urlsplit(tiny.service.url).netloc
    return (
        f"POST {CHAT} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {announced or len(body)}\r\n\r\n"
    ).encode() + body


def status(raw: socket.socket) -> int:
    """Of the answer; 0 where the connection was closed without one."""
    try:
        head = raw.recv(4096)
    except ConnectionResetError:
        return 0
    return int(head.split(b" ", 2)[1]) if head else 0


@contextmanager
def somebody_else(tiny: Tiny) -> Iterator[list[float]]:
    """Another client with a key of its own asks again and again; how long each answer took."""
    taken: list[float] = []
    over = threading.Event()
    failed: list[object] = []

    def ask() -> None:
        with tiny.service.program() as http:
            while not over.is_set():
                began = time.monotonic()
                answer = http.post(CHAT, json=HELLO, timeout=30)
                taken.append(time.monotonic() - began)
                if answer.status_code != 200:
                    failed.append(answer.text)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield taken
        wait_until(lambda: len(taken) > 1, seconds=30)
    finally:
        over.set()
        thread.join()
    assert not failed
    assert taken
    assert max(taken) < STALL_SECONDS, f"another client waited {max(taken):.1f} s"


def test_a_thousand_connections_at_once(tiny: Tiny) -> None:
    key, body = tiny.service.key(), json.dumps(HELLO | {"max_tokens": 100, "n": 2}).encode()
    with somebody_else(tiny), ExitStack() as stack:
        flood = [stack.enter_context(connected(tiny)) for _ in range(1000)]
        for raw in flood[:200] + flood[-100:]:
            raw.sendall(request(tiny, key, body))
        heard = [status(raw) for raw in flood[:200] + flood[-100:]]
        assert set(heard) <= {200, 429}
        assert heard.count(429) > 200  # of one key two requests of two replies each are written at once
    wait_until(lambda: tiny.load().running == 0)


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    with tiny_service(tmp_path, Settings(max_connections=3)) as few, ExitStack() as stack:
        taken = [stack.enter_context(connected(few)) for _ in range(3)]
        over = stack.enter_context(connected(few))
        over.sendall(request(few, few.service.key(), b"{}"))
        assert status(over) == 429
        taken[0].close()
        wait_until(lambda: _ready(few.service.url) == 200)


def test_connections_that_say_nothing_are_closed(tiny: Tiny) -> None:
    with somebody_else(tiny), ExitStack() as stack:
        silent = [stack.enter_context(connected(tiny)) for _ in range(50)]
        assert {status(raw) for raw in silent} == {408}


def test_half_a_request_is_not_waited_for(tiny: Tiny) -> None:
    key = tiny.service.key()
    with somebody_else(tiny), ExitStack() as stack:
        head = stack.enter_context(connected(tiny))
        head.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: ")
        body = stack.enter_context(connected(tiny))
        body.sendall(request(tiny, key, b'{"model"', announced=1000))
        drip = stack.enter_context(connected(tiny))
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            _drip(drip, request(tiny, key, b"{}"))
        assert time.monotonic() - began < LIMITS.receive_seconds + STALL_SECONDS
        assert status(head) == 408
        assert status(body) == 0


def test_ten_megabytes_are_refused_unread(tiny: Tiny) -> None:
    key = tiny.service.key()
    with somebody_else(tiny), connected(tiny) as raw:
        raw.sendall(request(tiny, key, b'{"model": "', announced=10_000_000))
        assert status(raw) == 413
    with somebody_else(tiny), tiny.service.program() as http:
        prompt = "Mira lives in Oakby. " * 12_000  # below the limit of a request, far beyond the context
        answer = http.post(CHAT, json=HELLO | {"messages": [{"role": "user", "content": prompt}]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 10**6},
        {"n": -1},
        {"temperature": -1},
        {"max_tokens": -5},
        {"logit_bias": {str(n): 1 for n in range(2000)}},
    ],
    ids=["huge n", "negative n", "negative temperature", "negative length", "much bias"],
)
def test_numbers_out_of_range_are_a_400(tiny: Tiny, changes: dict[str, object]) -> None:
    with tiny.service.program() as http:
        assert http.post(CHAT, json=HELLO | changes).status_code == 400


FIELDS = {
    "n": st.integers(-2, 5),
    "temperature": st.floats(-1, 3) | st.none(),
    "top_p": st.floats(-0.5, 1.5),
    "top_k": st.integers(-1, 400),
    "max_tokens": st.integers(-1, 300),
    "presence_penalty": st.floats(-3, 3),
    "frequency_penalty": st.floats(-3, 3),
    "logit_bias": st.dictionaries(st.integers(-1, 400).map(str), st.floats(-110, 110), max_size=4),
    "stop": st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=5),
    "stop_token_ids": st.lists(st.integers(-1, 400), max_size=3),
    "seed": st.integers(-(2**65), 2**65),
    "stream": st.booleans(),
    "truncation": st.sampled_from(["auto", "disabled", ""]),
    "service_tier": st.sampled_from(["flex", "auto", "x"]),
    "return_token_ids": st.booleans(),
}
CHATS = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=200)}), max_size=2
        )
    },
    optional=FIELDS | {"logprobs": st.booleans(), "top_logprobs": st.integers(-1, 22)},
)
TEXTS = st.fixed_dictionaries(
    {"prompt": st.text(max_size=200) | st.lists(st.text(max_size=9) | st.integers(-1, 400), max_size=4)},
    optional=FIELDS | {"logprobs": st.integers(-1, 22), "echo": st.booleans()},
)


def test_whatever_parameters_come_the_engine_goes_on(tiny: Tiny) -> None:
    with tiny.service.program() as http:
        seen: set[int] = set()

        @settings(
            max_examples=40,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(CHATS.map(lambda body: (CHAT, body)) | TEXTS.map(lambda body: ("/v1/completions", body)))
        def fuzz(asked: tuple[str, dict[str, object]]) -> None:
            path, body = asked
            answer = http.post(path, json={"model": TINY.name, **body})
            assert answer.status_code in (200, 400, 429), answer.text
            assert '"error"' not in answer.text or answer.status_code != 200, answer.text
            seen.add(answer.status_code)

        fuzz()
        assert {200, 400} <= seen
        assert http.post(CHAT, json=HELLO).status_code == 200


def test_a_reply_that_is_not_read_is_written_all_the_same(tiny: Tiny) -> None:
    key, body = tiny.service.key(), json.dumps(HELLO | {"max_tokens": 100, "stream": True, "n": 4}).encode()
    with somebody_else(tiny), connected(tiny) as slow:
        before = tiny.load().tokens
        slow.sendall(request(tiny, key, body))
        wait_until(lambda: tiny.load().tokens > before + 20)
        wait_until(lambda: tiny.load().running <= 1, seconds=20)


def test_a_reader_that_takes_nothing_is_dropped(tiny: Tiny) -> None:
    host = urlsplit(tiny.service.url).netloc
    with somebody_else(tiny), socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect((host.partition(":")[0], int(host.partition(":")[2])))
        slow.sendall(f"GET /openapi.json HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 20)
        connections = tiny.service.servers[0].server_state.connections
        wait_until(lambda: len(connections) == 2)
        wait_until(lambda: len(connections) == 1, seconds=20)  # the other client's
        heard = _all_of(slow)
    assert 0 < heard.count(b"HTTP/1.1 200") < 20


def _drip(raw: socket.socket, data: bytes) -> None:
    for letter in data * 20:
        raw.sendall(bytes((letter,)))
        time.sleep(0.05)


def _all_of(raw: socket.socket) -> bytes:
    raw.settimeout(10)
    found = bytearray()
    with suppress(ConnectionResetError):
        while data := raw.recv(2**20):
            found += data
    return bytes(found)


def test_a_stop_waits_for_what_is_being_written(tmp_path: Path) -> None:
    with tiny_service(tmp_path, Settings(drain_seconds=10), step_seconds=0.02) as tiny:
        service = tiny.service
        with service.program() as http:
            asked = HELLO | {"max_tokens": 60, "stream": True, "logit_bias": {"70": 100}}
            with http.stream("POST", CHAT, json=asked) as answer:
                lines = answer.iter_lines()
                next(lines)
                service.stop()
                wait_until(lambda: _ready(service.url) == 503)
                refused = httpx.post(
                    f"{service.url}{CHAT}", json=HELLO, headers=http.headers, trust_env=False, timeout=10
                )
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
                assert [line for line in lines if line][-1] == "data: [DONE]"


def test_what_is_not_written_in_time_is_told_so(tmp_path: Path) -> None:
    with tiny_service(tmp_path, Settings(drain_seconds=0.2), step_seconds=0.1) as tiny:
        with tiny.service.program() as http:
            asked = HELLO | {"max_tokens": 100, "stream": True, "logit_bias": {"70": 100}}
            with http.stream("POST", CHAT, json=asked) as answer:
                lines = answer.iter_lines()
                next(lines)
                tiny.service.stop()
                last = [line for line in lines if line][-1]
        assert "The server was stopped" in json.loads(last.removeprefix("data: "))["error"]["message"]


def _ready(url: str) -> int:
    return httpx.get(f"{url}/readyz", trust_env=False, timeout=10).status_code
