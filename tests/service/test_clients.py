"""Other people's clients, unchanged, against the real engine: `openai`, `langchain-openai`, `llm`. What comes
out is held to transformers on the same checkpoint."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from click.testing import CliRunner, Result
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from langchain_openai import OpenAI as TextOpenAI
from llm.cli import cli
from transformers import AutoModelForCausalLM, AutoTokenizer

from parley.service.common.settings import Settings
from tests.tiny import tiny_tokenizer

from .conftest import wait_until
from .engines import CONTEXT, TINY, Tiny, tiny_service

ENDLESS = {str(token): -100 for token in tiny_tokenizer().special_ids}
HELLO: list[Any] = [{"role": "user", "content": "Where does Mira live?"}]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    with tiny_service(tmp_path_factory.mktemp("tiny")) as served:
        yield served


@pytest.fixture(scope="module")
def transformers_model(tiny: Tiny) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny.checkpoint).eval()


@pytest.fixture(scope="module")
def key(tiny: Tiny) -> str:
    return tiny.service.key()


@pytest.fixture(scope="module")
def client(tiny: Tiny, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=tiny.api, api_key=key, max_retries=0) as made:
        yield made


def chat(client: openai.OpenAI, **changes: Any) -> Any:
    asked = {"model": TINY.name, "messages": HELLO, "max_tokens": 16, "temperature": 1, **changes}
    return client.chat.completions.create(**asked)


def text(client: openai.OpenAI, **changes: Any) -> Any:
    return client.completions.create(**{"model": TINY.name, "prompt": "Mira", "max_tokens": 12, **changes})


# --- openai: what is said is what transformers says ------------------------------------------------------


def test_a_greedy_chat_and_its_logprobs_are_transformers(
    client: openai.OpenAI, tiny: Tiny, transformers_model: Any
) -> None:
    theirs = AutoTokenizer.from_pretrained(tiny.checkpoint)
    prompt = theirs.apply_chat_template(HELLO, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    reply = chat(
        client, temperature=0, logprobs=True, top_logprobs=3, extra_body={"return_token_ids": True}
    ).choices[0]
    assert reply.prompt_token_ids == prompt[0].tolist()
    with torch.inference_mode():
        row = torch.cat((prompt, torch.tensor([reply.token_ids])), 1)
        told = transformers_model(row).logits[0, prompt.shape[1] - 1 : -1].log_softmax(-1)
    assert told.argmax(-1).tolist() == reply.token_ids
    assert len(reply.logprobs.content) == len(reply.token_ids)
    for entry, expected in zip(reply.logprobs.content, told, strict=True):
        values, ids = expected.topk(3)
        assert entry.logprob == pytest.approx(float(values[0]), abs=1e-4)
        assert [one.logprob for one in entry.top_logprobs] == pytest.approx(values.tolist(), abs=1e-4)
        assert bytes(entry.top_logprobs[0].bytes) == tiny_tokenizer().bytes_of(int(ids[0]))


def test_ids_go_in_as_they_stand_and_text_opens_a_document(
    client: openai.OpenAI, transformers_model: Any
) -> None:
    tokenizer = tiny_tokenizer()
    ids = [tokenizer.document, *tokenizer.encode("Mira")]
    with torch.inference_mode():
        whole = transformers_model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
    written = whole[0, len(ids) :].tolist()
    for prompt in ("Mira", ids, [ids]):
        asked = {"prompt": prompt, "temperature": 0, "extra_body": {"return_token_ids": True}}
        choice = text(client, **asked).choices[0]
        assert choice.prompt_token_ids == ids
        assert choice.token_ids == written


# --- openai: parameters ----------------------------------------------------------------------------------


def test_a_seed_gives_one_text_whatever_else_runs(client: openai.OpenAI) -> None:
    alone = [chat(client, seed=seed).choices[0].message.content for seed in (7, 8, 9)]
    assert len(set(alone)) == 3
    together = chat(client, seed=7, n=3)
    assert [choice.message.content for choice in together.choices] == alone
    assert together.system_fingerprint == f"fp_{TINY.digest[:16]}"
    found: dict[int, str] = {}
    threads = [
        threading.Thread(
            target=lambda n=n: found.update({n: chat(client, seed=n).choices[0].message.content})
        )
        for n in (7, 8, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in (7, 8, 9)] == alone


def test_a_stream_says_what_the_whole_reply_says(client: openai.OpenAI) -> None:
    whole = chat(client, seed=3, n=2, logprobs=True, top_logprobs=1)
    stream = chat(
        client,
        seed=3,
        n=2,
        logprobs=True,
        top_logprobs=1,
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, tokens, reasons = ["", ""], [[], []], [None, None]  # type: ignore[var-annotated]
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert tokens == [choice.logprobs.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert chunk.usage.total_tokens == whole.usage.total_tokens
    for said, told in zip(texts, tokens, strict=True):
        assert b"".join(bytes(one.bytes) for one in told).decode("utf-8", "replace").startswith(said)


def test_a_stop_string_is_not_said(client: openai.OpenAI) -> None:
    whole = chat(client, seed=7).choices[0].message.content
    word = whole[4:6]
    cut = chat(client, seed=7, stop=[word], logprobs=True).choices[0]
    assert cut.message.content == whole[: whole.index(word)]
    assert cut.finish_reason == "stop"
    told = b"".join(bytes(one.bytes) for one in cut.logprobs.content).decode("utf-8", "replace")
    assert told.startswith(cut.message.content)
    assert word not in told[: len(cut.message.content)]


def test_bias_and_penalties_reach_the_logits(client: openai.OpenAI) -> None:
    first, second = tiny_tokenizer().encode("a")[0], tiny_tokenizer().encode("b")[0]
    assert chat(client, logit_bias={str(first): 100}, max_tokens=4).choices[0].message.content == "aaaa"
    both = {str(first): 100, str(second): 99}
    words = chat(client, temperature=0, logit_bias=both, max_tokens=6, frequency_penalty=2).choices[0].message
    assert words.content != "aaaaaa"
    assert abs(words.content.count("a") - words.content.count("b")) <= 2
    with pytest.raises(openai.BadRequestError, match=r"token 99999 is not one of the model's"):
        chat(client, logit_bias={"99999": 1})


def test_top_k_of_one_is_greedy(client: openai.OpenAI) -> None:
    greedy = chat(client, temperature=0).choices[0].message.content
    assert chat(client, temperature=2, extra_body={"top_k": 1}).choices[0].message.content == greedy


# --- openai: plain completions ---------------------------------------------------------------------------


def test_several_prompts_several_times(client: openai.OpenAI) -> None:
    found = text(client, prompt=["Mira", "Tom has"], n=2, seed=1)
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    assert found.choices[2].text == text(client, prompt="Tom has", seed=1).choices[0].text
    prompts = sum(len(tiny_tokenizer().encode(one)) + 1 for one in ("Mira", "Tom has"))
    assert found.usage.prompt_tokens == prompts
    streamed = [""] * 4
    for chunk in text(client, prompt=["Mira", "Tom has"], n=2, seed=1, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == [choice.text for choice in found.choices]


def test_logprobs_of_a_text_are_aligned(client: openai.OpenAI) -> None:
    choice = text(client, logprobs=2, seed=4, logit_bias=ENDLESS).choices[0]
    told = choice.logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset)
    assert told.text_offset[0] == 0
    assert told.text_offset == sorted(told.text_offset)
    for token, begins in zip(told.tokens, told.text_offset, strict=True):
        assert "\ufffd" in token or choice.text[begins:].startswith(token)


def test_an_echo_comes_first(client: openai.OpenAI) -> None:
    plain = text(client, seed=2).choices[0].text
    assert text(client, seed=2, echo=True).choices[0].text == f"Mira{plain}"
    ids = tiny_tokenizer().encode("Mira")
    assert text(client, prompt=ids, echo=True).choices[0].text.startswith("Mira")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"suffix": "!"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["x"] * 17}, "prompt"),
        ({"prompt": ["x"] * 16, "n": 16}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"logprobs": 21}, "logprobs"),
    ],
)
def test_what_plain_completions_refuse(client: openai.OpenAI, changes: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        text(client, **changes)
    assert str(caught.value.param).startswith(param)


# --- openai: refusals ------------------------------------------------------------------------------------


def test_too_long_a_prompt_is_a_400_or_is_cut_where_that_is_asked(client: openai.OpenAI) -> None:
    history: list[Any] = [
        {"role": "user", "content": "Where does Mira live? " * 12},
        {"role": "assistant", "content": "In Oakby."},
        *HELLO,
    ]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=r"context is 128") as caught:
            chat(client, messages=history, stream=stream)
        assert caught.value.code == "context_length_exceeded"
    cut = chat(client, messages=history, seed=7, extra_body={"truncation": "auto"})
    assert cut.choices[0].message.content == chat(client, seed=7).choices[0].message.content
    ids = [tiny_tokenizer().document] * CONTEXT
    with pytest.raises(openai.BadRequestError, match=r"128 tokens"):
        text(client, prompt=ids)
    assert text(client, prompt=ids, extra_body={"truncation": "auto"}).usage.prompt_tokens == CONTEXT - 12


def test_an_overload_is_waited_out_by_the_client(tmp_path: Path) -> None:
    with tiny_service(tmp_path, Settings(max_in_flight=1), step_seconds=0.01) as tiny:
        key = tiny.service.key()
        with openai.OpenAI(base_url=tiny.api, api_key=key, max_retries=3) as patient:
            busy = iter(chat(patient, stream=True, max_tokens=60, logit_bias=ENDLESS))
            next(busy)
            with pytest.raises(openai.RateLimitError) as caught:
                chat(patient.with_options(max_retries=0))
            assert caught.value.response.headers["retry-after"] == "1"
            assert caught.value.body["type"] == "rate_limit_error"
            held = threading.Thread(target=lambda: list(busy))
            held.start()
            assert chat(patient).choices[0].finish_reason in ("stop", "length")
            held.join()


def test_one_key_leaves_room_for_another(tmp_path: Path) -> None:
    limits = Settings(max_in_flight=3, max_in_flight_of_key=2)
    with tiny_service(tmp_path, limits, step_seconds=0.01) as tiny:
        greedy, other = (
            openai.OpenAI(base_url=tiny.api, api_key=tiny.service.key(), max_retries=0) for _ in range(2)
        )
        held = chat(greedy, stream=True, n=2, max_tokens=60, logit_bias=ENDLESS)
        next(iter(held))
        with pytest.raises(openai.RateLimitError, match="This key has 2 replies"):
            chat(greedy)
        assert chat(other).choices
        with pytest.raises(openai.RateLimitError, match="Too many replies"):
            chat(other, n=2)
        held.close()
        greedy.close()
        other.close()


@pytest.mark.parametrize("waits", [False, True], ids=["writing", "waiting"])
def test_hanging_up_frees_the_slot_within_two_tokens(tmp_path: Path, waits: bool) -> None:
    step = 0.05
    with tiny_service(tmp_path, step_seconds=step) as tiny, tiny.service.program() as http:
        asked = {"model": TINY.name, "messages": HELLO, "max_tokens": 90, "stream": True, "n": 4}
        forever = asked | {"logit_bias": ENDLESS}
        with http.stream("POST", "/v1/chat/completions", json=forever) as answer:
            lines = answer.iter_lines()  # to let go of it is to hang up
            next(lines)
            wait_until(lambda: tiny.load().running == 4)
            if waits:  # with no slot: it is heard of nothing, and must leave the queue all the same
                with tiny.service.program() as second, pytest.raises(Exception, match="timed out"):
                    second.post("/v1/chat/completions", json=forever, timeout=0.3)
                wait_until(lambda: tiny.load().waiting == 0, seconds=4 * step)
                assert tiny.load().running == 4
            before = tiny.load()
        left = time.monotonic()
        wait_until(lambda: tiny.load().running == 0)
        after = tiny.load()
        assert time.monotonic() - left < 4 * step
        assert after.steps - before.steps <= 2
        assert after.tokens - before.tokens <= 2 * 4


# --- langchain-openai ------------------------------------------------------------------------------------


def test_langchain_chats_and_streams(tiny: Tiny, key: str, client: openai.OpenAI) -> None:
    made: dict[str, Any] = {"base_url": tiny.api, "api_key": key, "model": TINY.name, "max_retries": 0}
    model = ChatOpenAI(**made, seed=7, temperature=1, max_completion_tokens=16)
    whole = model.invoke("Where does Mira live?")
    assert whole.content == chat(client, seed=7).choices[0].message.content
    assert whole.usage_metadata is not None
    streamed = list(model.stream("Where does Mira live?", stream_usage=True))
    assert "".join(str(chunk.content) for chunk in streamed) == whole.content
    several = ChatOpenAI(**made, seed=7, temperature=1, max_completion_tokens=16, n=2)
    replies = several.generate([[HumanMessage("Where does Mira live?")]]).generations[0]
    assert [one.text for one in replies] == [
        choice.message.content for choice in chat(client, seed=7, n=2).choices
    ]
    told = model.bind(logprobs=True, top_logprobs=2).invoke("Where does Mira live?")
    assert len(told.response_metadata["logprobs"]["content"][0]["top_logprobs"]) == 2
    assert model.bind(stop=[str(whole.content)[4:6]]).invoke("Where does Mira live?").content != whole.content
    plain = TextOpenAI(**made, seed=2, temperature=1, max_tokens=12)
    assert plain.invoke("Mira") == text(client, seed=2, temperature=1).choices[0].text
    with pytest.raises(openai.AuthenticationError):
        ChatOpenAI(**made | {"api_key": "parley_wrong"}).invoke("hi")
    with pytest.raises(openai.NotFoundError):
        ChatOpenAI(**made | {"model": "gpt-99"}).invoke("hi")
    with pytest.raises(openai.BadRequestError, match="tools"):
        model.bind_tools([{"type": "function", "function": {"name": "f", "parameters": {}}}]).invoke("hi")


# --- llm -------------------------------------------------------------------------------------------------


def test_llm_talks_through_its_command(
    tiny: Tiny, key: str, client: openai.OpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: parley\n  model_name: {TINY.name}\n  api_base: {tiny.api}\n  api_key_name: parley\n"
    )
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    greedy = chat(client, temperature=0).choices[0].message.content

    def llm(*words: str, given: str = key) -> Result:
        options = ("-m", "parley", "--key", given, "-o", "temperature", "0", "-o", "max_tokens", "16")
        return CliRunner().invoke(cli, ["prompt", *options, *words])

    assert llm("Where does Mira live?").stdout == f"{greedy}\n"
    assert llm("--no-stream", "Where does Mira live?").stdout == f"{greedy}\n"
    refused = llm("Where does Mira live?", given="parley_wrong")
    assert refused.exit_code == 1
    assert "unknown, expired or revoked" in refused.stderr
