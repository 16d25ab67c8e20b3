"""Sampling many prompts: the uncached loop, the same again from the same seed, whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from parley.engine.sampler import Completion, sample
from parley.errors import ConfigError
from parley.model.decoder import Decoder
from parley.numerics import NumericPlan
from tests.engine.conftest import hidden, prompts_of

NO_END = -1


def _uncached(decoder: Decoder, prompt: Sequence[int], count: int, end_id: int) -> Completion:
    tokens = list(prompt)
    while len(tokens) < len(prompt) + count and (len(tokens) == len(prompt) or tokens[-1] != end_id):
        tokens.append(int(decoder.logits(hidden(decoder, tokens)[-1]).argmax()))
    return Completion(tuple(tokens[len(prompt) :]), tokens[-1] == end_id)


def _prompts(decoder: Decoder, count: int) -> list[tuple[int, ...]]:
    return prompts_of(count, vocabulary=decoder.config.vocab_size)


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_greedy_equals_the_uncached_loop(decoder: Decoder) -> None:
    prompts = _prompts(decoder, 10)
    prompts += [prompts[0]] * 5
    free = _uncached(decoder, prompts[0], 12, NO_END).tokens
    end_id = max(free, key=free.index)  # six of fifteen end early
    expected = [_uncached(decoder, prompt, 12, end_id) for prompt in prompts]
    assert 6 <= sum(one.ended for one in expected) < len(prompts)
    for batch_size in (1, 12, 64):
        found = sample(
            decoder,
            prompts,
            max_new_tokens=12,
            temperature=0.0,
            end_id=end_id,
            generator=_seeded(),
            batch_size=batch_size,
        )
        assert found == expected


@pytest.mark.parametrize("linear", ["float32", "bfloat16"])
def test_the_same_generator_state_gives_the_same_completions(decoder: Decoder, linear: str) -> None:
    decoder.use(NumericPlan(bfloat16_width=1 if linear == "bfloat16" else 0))
    prompts = _prompts(decoder, 9)

    def drawn(seed: int, batch_size: int) -> list[Completion]:
        return sample(
            decoder,
            prompts,
            max_new_tokens=8,
            temperature=1.0,
            end_id=3,
            generator=_seeded(seed),
            batch_size=batch_size,
        )

    first = drawn(1, 4)
    assert first == drawn(1, 4) != drawn(2, 4)
    if linear == "float32":
        assert first == drawn(1, 2) == drawn(1, 64)
    decoder.use(NumericPlan())
    for completion in first:
        assert completion.ended == (completion.tokens[-1] == 3)
        assert len(completion.tokens) == 8 or completion.ended
        assert 3 not in completion.tokens[:-1]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_logprobs_are_those_of_the_drawn_distribution(decoder: Decoder, temperature: float) -> None:
    decoder.use(NumericPlan())
    prompts = _prompts(decoder, 4)
    found = sample(
        decoder,
        prompts,
        max_new_tokens=9,
        temperature=temperature,
        end_id=NO_END,
        generator=_seeded(),
        logprobs=True,
    )
    for prompt, done in zip(prompts, found, strict=True):
        logits = decoder.logits(hidden(decoder, [*prompt, *done.tokens])[len(prompt) - 1 : -1])
        told = torch.log_softmax(logits / (temperature or 1.0), -1)
        expected = told.gather(1, torch.tensor(done.tokens)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(done.logprobs), expected, atol=1e-4, rtol=0)


def test_the_generator_moves_on(decoder: Decoder) -> None:
    generator = _seeded(1)
    runs = [
        sample(decoder, [[5, 6]], max_new_tokens=8, temperature=1.0, end_id=3, generator=generator)
        for _ in range(2)
    ]
    assert runs[0] != runs[1]


def test_equal_prompts_are_answered_independently(decoder: Decoder) -> None:
    found = sample(
        decoder, [[5, 6]] * 32, max_new_tokens=6, temperature=1.5, end_id=NO_END, generator=_seeded()
    )
    assert len({completion.tokens for completion in found}) > 20


def test_sampling_leaves_gradients_on_and_weights_alone(decoder: Decoder) -> None:
    before = [weight.clone() for weight in decoder.parameters()]
    sample(decoder, [[5, 6]], max_new_tokens=3, temperature=1.0, end_id=3, generator=_seeded())
    assert decoder.logits(decoder.embedding[:1]).requires_grad
    assert all(torch.equal(a, b) for a, b in zip(before, decoder.parameters(), strict=True))


def test_what_does_not_fit_is_refused(decoder: Decoder) -> None:
    with pytest.raises(ConfigError, match="90 tokens and 7 new ones exceed the model's context of 96"):
        sample(decoder, [[5] * 90], max_new_tokens=7, temperature=1.0, end_id=3, generator=_seeded())
    with pytest.raises(ConfigError, match="at least one token"):
        sample(decoder, [[]], max_new_tokens=7, temperature=1.0, end_id=3, generator=_seeded())
    assert sample(decoder, [], max_new_tokens=7, temperature=1.0, end_id=3, generator=_seeded()) == []
