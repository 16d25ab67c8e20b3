"""A server by URL: how it is asked again, what its errors become, how its streams are read and cut."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from parley.dialogue import Conversation
from parley.engine.client import Client, Server, server_at
from parley.engine.engine import Engine
from parley.engine.remote import RemoteEngine, RemoteResponder
from parley.engine.requests import Ended, Request, Token
from parley.errors import Busy, ConfigError, Forbidden, NotFound, ParleyError, Unavailable
from parley.model.decoder import Decoder
from parley.ports import Delta, Finish, Sampling
from tests.engine.conftest import hidden, prompts_of
from tests.engine.contract.conftest import build
from tests.engine.contract.protocol import KEY, MODEL, FakeServer

ASKED = Conversation(()).ask("Where does Mira live?")
REQUEST = Request(prompt=(7, 21, 3), max_new_tokens=8, temperature=0.0)


@pytest.fixture(scope="module")
def engine(grouped: Decoder) -> Iterator[Engine]:
    found = build(grouped)
    yield found
    found.close(timeout_seconds=10)


@pytest.fixture
def server(engine: Engine) -> Iterator[FakeServer]:
    found = FakeServer(engine)
    yield found
    found.close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(server: FakeServer, waits: list[float]) -> Iterator[Client]:
    found = Client(Server(url=server.url, key=KEY, retries=3), pause=waits.append)
    yield found
    found.close()


def fault(status: int, message: str = "no", **headers: str) -> tuple[int, dict[str, str], bytes]:
    content = json.dumps({"error": {"message": message}}).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, content


def test_a_busy_server_is_asked_again_later_and_later(
    server: FakeServer, client: Client, waits: list[float]
) -> None:
    server.faults = [fault(429), fault(503), fault(500)]
    (done,) = RemoteEngine(client, MODEL).complete([REQUEST])
    assert len(done.tokens) == 8
    assert [0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(waits)] == [True] * 3


def test_retry_after_is_believed_within_reason(
    server: FakeServer, client: Client, waits: list[float]
) -> None:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 20))
    server.faults = [
        fault(429, retry_after="3"),
        fault(429, retry_after=date),
        fault(429, retry_after="9999"),
    ]
    client.get("models")
    assert waits[0] == 3
    assert waits[1] == pytest.approx(20, abs=3)
    assert waits[2] == 30


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, Forbidden), (403, Forbidden), (404, NotFound), (400, ConfigError), (422, ConfigError)],
)
def test_what_asking_again_does_not_mend_is_said_at_once(
    server: FakeServer, client: Client, waits: list[float], status: int, error: type[ParleyError]
) -> None:
    server.faults = [fault(status, "this is why")]
    with pytest.raises(error, match="this is why"):
        client.get("models")
    assert not waits


@pytest.mark.parametrize(("status", "error"), [(429, Busy), (503, Unavailable)])
def test_patience_ends(
    server: FakeServer, client: Client, waits: list[float], status: int, error: type[ParleyError]
) -> None:
    server.faults = [fault(status, retry_after="2") for _ in range(4)]
    with pytest.raises(error, match=str(status)) as caught:
        client.get("models")
    assert len(waits) == 3
    if isinstance(caught.value, Busy):
        assert caught.value.retry_after_seconds == 2


def test_a_server_that_is_not_there(waits: list[float]) -> None:
    client = Client(Server(url="http://127.0.0.1:9/v1", retries=2), pause=waits.append)
    with closing(client), pytest.raises(Unavailable, match=r"127\.0\.0\.1:9/v1 does not answer"):
        client.get("models")
    assert len(waits) == 2


def test_silence_is_a_failure(server: FakeServer, engine: Engine) -> None:
    client = Client(Server(url=server.url, key=KEY, retries=0, silence_seconds=0.05))
    long = replace(REQUEST, max_new_tokens=190)
    with closing(client), pytest.raises(Unavailable, match="does not answer"):
        RemoteEngine(client, MODEL).complete([long, long, long])


def test_an_answer_that_breaks_off_is_no_answer(server: FakeServer, client: Client) -> None:
    server.breaks_after = 3
    reply = RemoteEngine(client, MODEL).submit(REQUEST)
    with pytest.raises(Unavailable, match="broke off"):
        list(reply)
    with pytest.raises(Unavailable, match="broke off"):
        list(RemoteResponder(client).stream(ASKED, Sampling(max_tokens=6), release=MODEL))


def test_an_error_within_a_stream(server: FakeServer, client: Client) -> None:
    content = b'data: {"choices": []}\n\ndata: {"error": {"message": "out of memory"}}\n\n'
    server.faults = [(200, {"content-type": "text/event-stream"}, content)]
    with pytest.raises(Unavailable, match="out of memory"):
        list(client.stream("completions", {}))


def test_a_deadline_ends_a_reply(client: Client) -> None:
    late = replace(REQUEST, max_new_tokens=190, deadline=time.monotonic())
    parts = list(RemoteEngine(client, MODEL).submit(late))
    assert isinstance(parts[-1], Ended)
    assert parts[-1].reason == "deadline"
    assert parts[-1].tokens < 190


def test_bulk_work_keeps_its_order_and_tells_how_far_it_is(client: Client, engine: Engine) -> None:
    requests = [
        Request(prompt=prompt, max_new_tokens=5, seed=n, stop_ids=frozenset((3,)))
        for n, prompt in enumerate(prompts_of(9, vocabulary=200) * 2)
    ]
    seen: list[int] = []
    found = RemoteEngine(client, MODEL).complete(requests, at_once=4, seen=seen.append)
    direct = [[part.id for part in engine.submit(request) if isinstance(part, Token)] for request in requests]
    assert [list(done.tokens) for done in found] == direct
    assert [done.ended for done in found] == [3 in tokens for tokens in direct]
    assert seen == list(range(1, 19))


def test_other_weights_show_in_the_log_probabilities(client: Client, grouped: Decoder) -> None:
    def own(prompt: object, reply: object) -> list[float]:
        import torch

        states = hidden(grouped, [*prompt, *reply])  # type: ignore[misc]
        chosen = torch.tensor(reply)
        found: list[float] = grouped.token_logprobs(states[len(prompt) - 1 : -1], chosen).tolist()  # type: ignore[arg-type]
        return found

    engine = RemoteEngine(client, MODEL)
    request = Request(prompt=(7, 21, 3), max_new_tokens=20, seed=1)
    assert engine.logprob_gap(own, request) < 1e-4
    assert engine.logprob_gap(lambda p, r: [x + 0.5 for x in own(p, r)], request) == pytest.approx(
        0.5, abs=1e-3
    )


def test_a_server_that_keeps_token_ids_to_itself_can_only_chat(server: FakeServer, client: Client) -> None:
    server.tells_ids = False
    with pytest.raises(ConfigError, match="return_token_ids"):
        RemoteEngine(client, MODEL).complete([REQUEST])
    assert list(RemoteResponder(client).stream(ASKED, Sampling(max_tokens=3), release=MODEL))


def test_conversations_are_answered_in_pieces(server: FakeServer, client: Client) -> None:
    responder = RemoteResponder(client, system_prompt="Be kind.")
    (release,) = responder.releases()
    assert (release.name, release.run) == (MODEL, "vllm")
    parts = list(
        responder.stream(ASKED, Sampling(max_tokens=6, seed=-1, stop=("x",), top_p=0.9), release=MODEL)
    )
    assert all(isinstance(part, Delta) for part in parts[:-1])
    assert parts[-1] == Finish("length", 3, 6)
    asked = server.asked[-1]
    assert asked["messages"][0] == {"role": "system", "content": "Be kind."}
    assert (asked["seed"], asked["stop"], asked["top_p"]) == (2**63 - 1, ["x"], 0.9)


def test_what_cannot_be_answered_is_said_before_the_first_piece(server: FakeServer, client: Client) -> None:
    responder = RemoteResponder(client)
    with pytest.raises(NotFound, match=f"there are: {MODEL}"):
        responder.stream(ASKED, Sampling(), release="other")
    with pytest.raises(ConfigError, match="end with a user turn"):
        responder.stream(ASKED.reply("Here.", author="x"), Sampling(), release=MODEL)
    with pytest.raises(ConfigError, match="context of 200"):
        responder.stream(ASKED, Sampling(max_tokens=10_000), release=MODEL)


def test_closing_a_stream_hangs_up(client: Client, engine: Engine) -> None:
    parts = RemoteResponder(client).stream(ASKED, Sampling(max_tokens=190), release=MODEL)
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 5
    while engine.stats().running and time.monotonic() < until:
        time.sleep(0.01)
    assert engine.stats().running == 0


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("http://gpu:8000", "http://gpu:8000/v1"),
        ("http://gpu:8000/", "http://gpu:8000/v1"),
        ("https://api.example.org/openai/v1/", "https://api.example.org/openai/v1"),
    ],
)
def test_addresses(said: str, url: str) -> None:
    server = server_at(said, {"PARLEY_ENGINE_KEY": "secret"})
    assert (server.url, server.key) == (url, "secret")
    assert "secret" not in repr(server)


@pytest.mark.parametrize(
    "said", ["gpu:8000", "ftp://gpu", "http://", "http://key@gpu:8000", "http://gpu?x=1"]
)
def test_what_is_no_address(said: str) -> None:
    with pytest.raises(ConfigError):
        server_at(said, {})


def test_a_bad_key_names_the_variable(server: FakeServer) -> None:
    client = Client(Server(url=server.url, key="wrong"))
    with closing(client), pytest.raises(Forbidden, match="PARLEY_ENGINE_KEY"):
        client.get("models")
