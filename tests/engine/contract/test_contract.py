"""What every engine must do, whoever computes: the same tests for all, over HTTP too."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import torch

from parley.engine.engine import Reply
from parley.engine.requests import Ended, Request, Token
from parley.errors import ConfigError
from parley.model.decoder import Decoder
from tests.engine.conftest import hidden, prompts_of
from tests.engine.contract.conftest import Held

PROMPT = (7, 21, 3, 180, 44)


def heard(held: Held, request: Request) -> tuple[list[Token], Ended]:
    return gathered(held.engine.submit(request))


def gathered(reply: Reply) -> tuple[list[Token], Ended]:
    *tokens, ended = reply
    assert isinstance(ended, Ended)
    return [token for token in tokens if isinstance(token, Token)], ended


def ids(tokens: Sequence[Token]) -> list[int]:
    return [token.id for token in tokens]


def own_logits(decoder: Decoder, prompt: Sequence[int], reply: Sequence[int]) -> torch.Tensor:
    states = hidden(decoder, [*prompt, *reply])
    return decoder.logits(states[len(prompt) - 1 : -1]).detach()


def test_greedy_tokens_are_the_models_own_choice(held: Held, decoder: Decoder) -> None:
    for prompt in prompts_of(4, vocabulary=decoder.config.vocab_size, longest=90):
        tokens, ended = heard(held, Request(prompt=prompt, max_new_tokens=24, temperature=0.0))
        assert ended.reason == "length"
        assert (ended.prompt_tokens, ended.tokens) == (len(prompt), 24)
        assert own_logits(decoder, prompt, ids(tokens)).argmax(-1).tolist() == ids(tokens)


def test_a_reply_ends_with_its_stop_token(held: Held) -> None:
    whole, _ = heard(held, Request(prompt=PROMPT, max_new_tokens=30, seed=4))
    stop = ids(whole)[11]
    first = ids(whole).index(stop)
    tokens, ended = heard(
        held, Request(prompt=PROMPT, max_new_tokens=30, seed=4, stop_ids=frozenset((stop,)))
    )
    assert ids(tokens) == ids(whole)[: first + 1]
    assert ended.reason == "stop"


def test_a_seed_gives_the_same_reply_whatever_else_is_written(held: Held) -> None:
    request = Request(prompt=PROMPT, max_new_tokens=25, temperature=0.9, top_p=0.95, top_k=80, seed=11)
    alone = ids(heard(held, request)[0])
    others = [
        held.engine.submit(Request(prompt=prompt, max_new_tokens=30, seed=n))
        for n, prompt in enumerate(prompts_of(6, vocabulary=200, longest=70, seed=2))
    ]
    among = ids(heard(held, request)[0])
    for other in others:
        gathered(other)
    assert among == alone
    assert ids(heard(held, Request(prompt=PROMPT, max_new_tokens=25, seed=12))[0]) != alone


def test_many_replies_to_one_prompt_equal_replies_asked_for_one_by_one(held: Held) -> None:
    prompt = prompts_of(1, vocabulary=200, longest=80, seed=9)[0] * 3
    requests = [Request(prompt=prompt, max_new_tokens=20, seed=seed) for seed in range(6)]
    together = [held.engine.submit(request) for request in requests]
    shared = [ids(gathered(reply)[0]) for reply in together]
    assert shared == [ids(heard(held, request)[0]) for request in requests]
    assert len(set(map(tuple, shared))) == 6


def test_log_probabilities_are_the_trainers(held: Held, decoder: Decoder) -> None:
    request = Request(prompt=PROMPT, max_new_tokens=40, temperature=1.3, seed=3, logprobs=0)
    tokens, _ = heard(held, request)
    logprobs = own_logits(decoder, PROMPT, ids(tokens)).log_softmax(-1)
    own = logprobs.gather(1, torch.tensor(ids(tokens))[:, None])[:, 0].tolist()
    assert max(abs(token.logprob - mine) for token, mine in zip(tokens, own, strict=True)) <= held.gap


def test_draws_follow_the_models_distribution(held: Held, decoder: Decoder) -> None:
    temperature = 0.7
    replies = [
        held.engine.submit(Request(prompt=PROMPT, max_new_tokens=1, temperature=temperature, seed=seed))
        for seed in range(60)
    ]
    drawn = Counter(ids(gathered(reply)[0])[0] for reply in replies)
    chances = (own_logits(decoder, PROMPT, [0])[0] / temperature).softmax(-1)
    likeliest = int(chances.argmax())
    expected, count = float(chances[likeliest]), sum(drawn.values())
    error = (expected * (1 - expected) / count) ** 0.5
    assert abs(drawn[likeliest] / count - expected) < 4 * error


def test_top_k_of_one_is_greedy_and_a_bias_forbids(held: Held) -> None:
    greedy = ids(heard(held, Request(prompt=PROMPT, max_new_tokens=12, temperature=0.0))[0])
    assert ids(heard(held, Request(prompt=PROMPT, max_new_tokens=12, top_k=1, seed=5))[0]) == greedy
    bias = {greedy[0]: -100.0}
    request = Request(prompt=PROMPT, max_new_tokens=1, temperature=0.0, logit_bias=bias)
    assert ids(heard(held, request)[0]) != greedy[:1]


def test_closing_a_reply_stops_the_work(held: Held) -> None:
    replies = [held.engine.submit(Request(prompt=PROMPT, max_new_tokens=190, seed=n)) for n in range(3)]
    for reply in replies:
        next(reply)
        reply.close()
    assert eventually(lambda: held.running() == 0)
    assert heard(held, Request(prompt=PROMPT, max_new_tokens=3, temperature=0.0))[1].reason == "length"


def eventually(true: Callable[[], bool], *, seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(prompt=PROMPT * 50, max_new_tokens=10), "context (of|is) 200"),
        (Request(prompt=(), max_new_tokens=1), "at least one token|prompt"),
        (Request(prompt=(5000,), max_new_tokens=1), "not one of the model's"),
        (Request(prompt=PROMPT, max_new_tokens=1, temperature=-1.0), "temperature"),
    ],
    ids=["too long", "empty", "unknown token", "negative temperature"],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    held: Held, request_: Request, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        held.engine.submit(request_)
