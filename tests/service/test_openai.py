"""The API as OpenAI's own client uses it, and as it answers mistakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from parley.service.common.settings import Settings

from .conftest import BASE, SFT, Service, running, wait_until

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
PATH = "/v1/chat/completions"


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key(), max_retries=0) as made:
        yield made


def ask(**changes: Any) -> dict[str, Any]:
    return {"model": SFT.name, "messages": HELLO, **changes}


def test_models_are_the_releases(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [BASE.name, SFT.name]
    one = client.models.retrieve(BASE.name)
    assert (one.created, one.owned_by, one.object) == (BASE.created, BASE.run, "model")


def test_a_whole_reply(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model=SFT.name, messages=HELLO)
    assert reply.choices[0].message.content == "micro-sft: hello there"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == SFT.name
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (3, 3, 6)


def test_a_streamed_reply(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=SFT.name, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == "micro-sft: hello there"
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 6


def test_a_stream_on_the_wire(service: Service) -> None:
    with service.program() as http:
        answer = http.post(PATH, json=ask(stream=True))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    lines = answer.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert all("usage" not in event for event in events)
    assert events[0]["choices"][0] == {
        "index": 0,
        "delta": {"role": "assistant", "content": ""},
        "logprobs": None,
        "finish_reason": None,
    }
    assert events[-1]["choices"][0]["delta"] == {}


def test_the_streaming_helper_of_the_client(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model=SFT.name, messages=HELLO) as stream:
        assert stream.get_final_completion().choices[0].message.content == "micro-sft: hello there"


def test_several_choices(client: openai.OpenAI, service: Service) -> None:
    reply = client.chat.completions.create(model=SFT.name, messages=HELLO, n=2, seed=7)
    assert [(c.index, c.message.content) for c in reply.choices] == [
        (0, "micro-sft: hello there"),
        (1, "micro-sft: hello there"),
    ]
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 6)
    assert sorted(sampling.seed or 0 for _, sampling, _ in service.echo.asked) == [7, 8]


def test_several_streamed_choices(client: openai.OpenAI) -> None:
    texts = ["", "", ""]
    reasons: list[str | None] = [None] * 3
    for chunk in client.chat.completions.create(model=SFT.name, messages=HELLO, n=3, stream=True):
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
        reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == ["micro-sft: hello there"] * 3
    assert reasons == ["stop"] * 3


def test_the_async_client(service: Service) -> None:
    async def talk() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=service.key()) as client:
            whole = await client.chat.completions.create(model=SFT.name, messages=HELLO)
            stream = await client.chat.completions.create(model=SFT.name, messages=HELLO, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return whole.choices[0].message.content, text

    assert asyncio.run(talk()) == ("micro-sft: hello there",) * 2


def test_parameters_reach_the_responder(client: openai.OpenAI, service: Service) -> None:
    client.chat.completions.create(
        model=SFT.name,
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        ],
        temperature=0,
        top_p=0.5,
        max_completion_tokens=9,
        stop="END",
        seed=3,
        user="me",
        tools=[],
        presence_penalty=0,
    )
    conversation, sampling, release = service.echo.asked[0]
    assert [(m.role, m.text) for m in conversation.messages] == [("system", "be brief"), ("user", "one\ntwo")]
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0, 0.5, 9)
    assert (sampling.stop, sampling.seed, release) == (("END",), 3, SFT.name)


def test_absent_parameters_are_the_settings(client: openai.OpenAI, service: Service) -> None:
    client.chat.completions.create(model=SFT.name, messages=HELLO)
    assert service.echo.asked[0][1] == service.settings.sampling


def test_a_reply_may_be_sent_back_as_it_came(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model=SFT.name, messages=HELLO).choices[0].message
    history: list[Any] = [*HELLO, reply, {"role": "user", "content": "and now?"}]
    again = client.chat.completions.create(model=SFT.name, messages=history)
    assert again.choices[0].message.content == "micro-sft: and now?"


def test_max_tokens_ends_with_length_and_is_capped(client: openai.OpenAI, service: Service) -> None:
    reply = client.chat.completions.create(model=SFT.name, messages=HELLO, max_tokens=1)
    assert reply.choices[0].finish_reason == "length"
    client.chat.completions.create(model=SFT.name, messages=HELLO, max_tokens=10**9)
    assert service.echo.asked[-1][1].max_tokens == service.settings.max_reply_tokens


def test_a_bad_key(service: Service) -> None:
    with (
        openai.OpenAI(base_url=f"{service.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model=SFT.name, messages=HELLO)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.headers["www-authenticate"] == "Bearer"
    assert caught.value.request_id


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"micro-base, micro-sft") as caught:
        client.chat.completions.create(model="gpt-99", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-99/x")


@pytest.mark.parametrize(
    ("changes", "param", "says"),
    [
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"temperature": "warm"}, "temperature", "number"),
        ({"n": 17}, "n", "16"),
        ({"top_k": -1}, "top_k", "greater than or equal to 0"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "4"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", "user"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "string"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content", "text"),
        ({"messages": [*HELLO, {"role": "system", "content": "x"}]}, "messages", "first"),
        ({"tools": [{"type": "function"}]}, "tools", "not supported"),
        ({"top_logprobs": 2}, "top_logprobs", "'logprobs': true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "20"),
        ({"presence_penalty": 2.5}, "presence_penalty", "less than or equal to 2"),
        ({"frequency_penalty": -2.5}, "frequency_penalty", "greater than or equal to -2"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5", "less than or equal to 100"),
        ({"logit_bias": {"five": 1}}, "logit_bias.five.[key]", "integer"),
        ({"truncation": "middle"}, "truncation", "'auto' or 'disabled'"),
        ({"service_tier": "priority"}, "service_tier", "flex"),
        ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
        ({"made_up": 1}, "made_up", "not supported"),
        ({"model": None}, "model", "required"),
    ],
)
def test_a_mistake_is_named(service: Service, changes: dict[str, Any], param: str, says: str) -> None:
    with service.program() as http:
        answer = http.post(PATH, json=ask(**changes))
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]


def test_what_cannot_be_answered_is_a_400_also_when_streamed(service: Service) -> None:
    with service.program() as http:
        for stream in (False, True):
            wrong = ask(stream=stream, messages=[{"role": "assistant", "content": "x"}])
            answer = http.post(PATH, json=wrong)
            assert answer.status_code == 400
            assert "must be the user's" in answer.json()["error"]["message"]


def test_an_error_in_mid_stream_is_told_without_its_inside(client: openai.OpenAI, service: Service) -> None:
    seen = ""
    troublesome: list[Any] = [{"role": "user", "content": "a !break hunter2"}]
    chunks = iter(client.chat.completions.create(model=SFT.name, messages=troublesome, stream=True))
    while seen != "micro-sft: a":
        seen += next(chunks).choices[0].delta.content or ""
    with pytest.raises(openai.APIError, match="Something went wrong") as caught:
        next(chunks)
    assert "hunter2" not in str(caught.value)
    assert service.echo.closed == 1


def test_an_error_in_a_whole_reply_is_a_500(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with service.program() as http:
        answer = http.post(PATH, json=ask(messages=[{"role": "user", "content": "a !break hunter2"}]))
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "unexpected RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text + answer.text


@pytest.mark.parametrize("stream", [True, False])
def test_hanging_up_stops_the_work(service: Service, stream: bool) -> None:
    body = ask(stream=stream, messages=[{"role": "user", "content": "go !forever"}])
    with service.program() as http:
        if stream:
            with http.stream("POST", PATH, json=body) as answer:
                next(answer.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                http.post(PATH, json=body, timeout=0.3)
    wait_until(lambda: service.echo.closed == 1)


def test_too_many_requests_are_told_to_wait(tmp_path: Path) -> None:
    endless = ask(stream=True, messages=[{"role": "user", "content": "go !forever"}])
    with running(tmp_path, Settings(max_in_flight=1)) as service, service.program() as http:
        with http.stream("POST", PATH, json=endless) as answer:
            lines = answer.iter_lines()  # to let go of it is to hang up
            next(lines)
            refused = http.post(PATH, json=ask())
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert refused.json()["error"]["type"] == "rate_limit_error"
        wait_until(lambda: service.echo.closed == 1)
        wait_until(lambda: http.post(PATH, json=ask()).status_code == 200)


def test_before_the_first_release(service: Service) -> None:
    service.echo.cut = []
    with service.program() as http:
        assert http.get("/v1/models").json() == {"object": "list", "data": []}
        answer = http.post(PATH, json=ask())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_replies_keep_every_character(client: openai.OpenAI) -> None:
    hostile = "naïve 🦜 \u2028 \r\n data: [DONE] \n\n data: x \x00 <script>"
    for chunk_text in (
        client.chat.completions.create(model=SFT.name, messages=[{"role": "user", "content": hostile}])
        .choices[0]
        .message.content,
        "".join(
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(
                model=SFT.name, messages=[{"role": "user", "content": hostile}], stream=True
            )
        ),
    ):
        assert chunk_text == f"micro-sft: {hostile}"


def test_the_settings_of_sampling_are_the_default(tmp_path: Path) -> None:
    settings = Settings()
    settings = replace(settings, sampling=replace(settings.sampling, seed=5, max_tokens=2))
    with running(tmp_path, settings) as service, service.program() as http:
        answer = http.post(PATH, json=ask(n=2)).json()
        assert answer["choices"][0]["finish_reason"] == "length"
        assert sorted(sampling.seed or 0 for _, sampling, _ in service.echo.asked) == [5, 6]
