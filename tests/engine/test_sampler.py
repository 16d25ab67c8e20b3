"""Sampling: the uncached loop, teacher forcing, the softmax, the same again from the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from parley.engine.sampler import Choice, Completion, nucleus, sample, stream
from parley.errors import ConfigError
from parley.model.decoder import Decoder, causal_bias
from parley.numerics import NumericPlan

NO_END = -1


def _hidden(decoder: Decoder, tokens: Sequence[int]) -> Tensor:
    row = torch.tensor([tokens])
    with torch.no_grad():
        hidden: Tensor = decoder(row, torch.arange(len(tokens))[None], causal_bias(torch.ones_like(row)))[0]
    return hidden


def _uncached(decoder: Decoder, prompt: Sequence[int], count: int, end_id: int) -> Completion:
    tokens = list(prompt)
    while len(tokens) < len(prompt) + count and (len(tokens) == len(prompt) or tokens[-1] != end_id):
        tokens.append(int(decoder.logits(_hidden(decoder, tokens)[-1]).argmax()))
    return Completion(tuple(tokens[len(prompt) :]), tokens[-1] == end_id)


def _prompts(decoder: Decoder, count: int, longest: int = 20) -> list[list[int]]:
    rng = random.Random(5)
    return [
        [rng.randrange(decoder.config.vocab_size) for _ in range(rng.randrange(1, longest))]
        for _ in range(count)
    ]


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("attention", ["explicit", "fused"])
def test_greedy_equals_the_uncached_loop(decoder: Decoder, attention: str) -> None:
    decoder.use(NumericPlan(attention="fused" if attention == "fused" else "explicit"))
    prompts = _prompts(decoder, 10)
    prompts += [prompts[0]] * 5  # equal prompts are read once
    free = _uncached(decoder, prompts[0], 12, NO_END).tokens
    end_id = max(free, key=free.index)  # six of fifteen rows end early and are dropped on the way
    expected = [_uncached(decoder, prompt, 12, end_id) for prompt in prompts]
    assert 6 <= sum(one.ended for one in expected) < len(prompts)
    found = sample(
        decoder,
        prompts,
        max_new_tokens=12,
        temperature=0.0,
        end_id=end_id,
        generator=_seeded(),
        batch_size=12,
    )
    decoder.use(NumericPlan())
    assert found == expected


def test_drawn_tokens_have_the_logprobs_of_teacher_forcing(decoder: Decoder) -> None:
    """P1: what the sampler drew from is what the learner computes, at the same temperature."""
    drawn: list[Tensor] = []

    class Spy(Choice):
        def tokens(self, logits: Tensor) -> Tensor:
            chosen = super().tokens(logits)
            drawn.append(torch.log_softmax(logits / 0.7, -1).gather(1, chosen[:, None])[:, 0])
            return chosen

    prompts = _prompts(decoder, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parley.engine.sampler.Choice", Spy)
        found = sample(
            decoder, prompts, max_new_tokens=10, temperature=0.7, end_id=NO_END, generator=_seeded()
        )
    logprobs = torch.stack(drawn, 1)
    order = sorted(range(6), key=lambda n: len(prompts[n]))
    for row, index in enumerate(order):
        prompt, tokens = prompts[index], found[index].tokens
        hidden = _hidden(decoder, [*prompt, *tokens])[len(prompt) - 1 : -1]
        forced = decoder.token_logprobs(hidden, torch.tensor(tokens), 0.7)
        torch.testing.assert_close(logprobs[row], forced, atol=1e-4, rtol=0)
        forgotten = decoder.token_logprobs(hidden, torch.tensor(tokens))
        assert (forced - forgotten).abs().max() > 0.05


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.0, 0.8)])
def test_frequencies_follow_the_softmax(decoder: Decoder, temperature: float, top_p: float) -> None:
    prompt, draws = [7, 8, 9], 20_000
    logits = decoder.logits(_hidden(decoder, prompt)[-1]).detach() / 4  # flat enough to draw many tokens
    choice = Choice(temperature, top_p, _seeded(1))
    counts = choice.tokens(logits.expand(draws, -1)).bincount(minlength=len(logits)).double()
    expected = torch.softmax(logits.double() / temperature, -1)
    if top_p < 1:
        kept = nucleus(logits[None] / temperature, top_p)[0].isfinite()
        assert expected[kept].sum() >= top_p
        assert expected[kept].sum() - expected[kept].min() < top_p
        expected = expected * kept / expected[kept].sum()
        assert counts[~kept].sum() == 0
    expected = expected * draws
    large = expected >= 5
    observed = torch.cat([counts[large], counts[~large].sum()[None]])
    wanted = torch.cat([expected[large], expected[~large].sum()[None]]).clamp(min=1e-9)
    square = float(((observed - wanted) ** 2 / wanted).sum())
    freedom = len(wanted) - 1
    assert freedom > 20
    assert square < freedom + 4 * (2 * freedom) ** 0.5  # about four standard deviations


def test_the_same_generator_state_gives_the_same_completions(decoder: Decoder) -> None:
    prompts = _prompts(decoder, 9)
    runs = [
        sample(
            decoder,
            prompts,
            max_new_tokens=8,
            temperature=1.0,
            end_id=3,
            generator=_seeded(seed),
            batch_size=4,
        )
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
    for completion in runs[0]:
        assert completion.ended == (completion.tokens[-1] == 3)
        assert len(completion.tokens) == 8 or completion.ended
        assert 3 not in completion.tokens[:-1]


def test_equal_prompts_are_answered_independently(decoder: Decoder) -> None:
    found = sample(
        decoder, [[5, 6]] * 32, max_new_tokens=6, temperature=1.5, end_id=NO_END, generator=_seeded()
    )
    assert len({completion.tokens for completion in found}) > 20


def test_streaming_gives_the_same_tokens_one_by_one(decoder: Decoder) -> None:
    prompt = [5, 6, 7]
    whole = sample(decoder, [prompt], max_new_tokens=9, temperature=0.9, end_id=3, generator=_seeded(4))[0]
    tokens = stream(decoder, prompt, max_new_tokens=9, temperature=0.9, end_id=3, generator=_seeded(4))
    first = next(tokens)
    assert torch.zeros(1, requires_grad=True).requires_grad  # a paused stream leaves gradients on
    assert (first, *tokens) == whole.tokens


def test_what_does_not_fit_is_refused(decoder: Decoder) -> None:
    with pytest.raises(ConfigError, match="90 tokens and 7 new ones exceed the model's context of 96"):
        sample(decoder, [[5] * 90], max_new_tokens=7, temperature=1.0, end_id=3, generator=_seeded())
    with pytest.raises(ConfigError, match="at least one token"):
        stream(decoder, [], max_new_tokens=7, temperature=1.0, end_id=3, generator=_seeded())
    assert sample(decoder, [], max_new_tokens=7, temperature=1.0, end_id=3, generator=_seeded()) == []
