"""Every loss and advantage beside a plain loop in Python's float64, value by value and slope by slope.

The loops are written from the papers, token by token; they share no code with what they judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from parley.engine.sampler import Completion
from parley.rlhf.advantages import generalised_advantages, shaped_rewards, whiten
from parley.rlhf.batches import TokenSet
from parley.rlhf.losses import ppo_policy_loss, ppo_value_loss, sft_loss
from parley.rlhf.rollout import RolloutBatch, estimate, rollout_tokens

CLIP, VALUE_CLIP, BETA, LAMBDA = 0.2, 0.3, 0.07, 0.9
shapes = st.tuples(st.integers(1, 4), st.integers(2, 7), st.integers(0, 999))


@dataclass(frozen=True)
class Case:
    """Random figures of a ragged batch: prompts in front, padding behind, some tokens in between left out."""

    mask: Tensor
    figures: tuple[Tensor, ...]
    scores: Tensor

    @property
    def places(self) -> list[list[int]]:
        return [[t for t, on in enumerate(row) if on] for row in self.mask.tolist()]

    @property
    def count(self) -> int:
        return max(1, int(self.mask.sum()))


def case(shape: tuple[int, int, int]) -> Case:
    rows, width, seed = shape
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, width, generator=generator) > 0.4
    figures = torch.randn(4, rows, width, generator=generator, dtype=torch.float64)
    return Case(mask, tuple(figures * 0.5), torch.randn(rows, generator=generator, dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_the_sft_loss_is_the_mean_over_all_supervised_tokens(shape: tuple[int, int, int]) -> None:
    """S1, S4: a long example weighs more than a short one, whatever row it stands in."""
    drawn = case(shape)
    logprobs = drawn.figures[0]
    wanted = -sum(float(logprobs[b, t]) for b, row in enumerate(drawn.places) for t in row) / drawn.count
    assert sft_loss(logprobs, drawn.mask).item() == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_the_policy_loss_and_its_slope_equal_the_loop(shape: tuple[int, int, int]) -> None:
    """P10, P12: the worse of two surrogates at every token, a mean over all tokens of the batch."""
    drawn = case(shape)
    new, old, advantages, _ = drawn.figures
    loss, clipped, kl, slope = 0.0, 0, 0.0, torch.zeros_like(new)
    for b, row in enumerate(drawn.places):
        for t in row:
            gap, advantage = float(new[b, t] - old[b, t]), float(advantages[b, t])
            ratio = math.exp(gap)
            held = min(max(ratio, 1 - CLIP), 1 + CLIP)
            loss += max(-advantage * ratio, -advantage * held)
            clipped += -advantage * held > -advantage * ratio
            kl += math.exp(gap) - 1 - gap
            if -advantage * ratio >= -advantage * held:
                slope[b, t] = -advantage * ratio / drawn.count
    variable = new.clone().requires_grad_()
    found = ppo_policy_loss(variable, old, advantages, drawn.mask, clip=CLIP)
    assert found.loss.item() == pytest.approx(loss / drawn.count, abs=1e-12)
    assert found.clip_fraction.item() == pytest.approx(clipped / drawn.count, abs=1e-6)
    assert found.approx_kl.item() == pytest.approx(kl / drawn.count, abs=1e-12)
    (gradient,) = torch.autograd.grad(found.loss, variable)
    torch.testing.assert_close(gradient, slope, atol=1e-12, rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_the_value_loss_and_its_slope_equal_the_loop(shape: tuple[int, int, int]) -> None:
    """P11, P12."""
    drawn = case(shape)
    new, old, returns, _ = drawn.figures
    loss, clipped, slope = 0.0, 0, torch.zeros_like(new)
    for b, row in enumerate(drawn.places):
        for t in row:
            value, before, target = float(new[b, t]), float(old[b, t]), float(returns[b, t])
            far = abs(value - before) > VALUE_CLIP
            moved = before + math.copysign(VALUE_CLIP, value - before) if far else value
            plain, held = (value - target) ** 2, (moved - target) ** 2
            loss += 0.5 * max(plain, held)
            clipped += held > plain
            if plain >= held:
                slope[b, t] = (value - target) / drawn.count
    variable = new.clone().requires_grad_()
    found = ppo_value_loss(variable, old, returns, drawn.mask, clip=VALUE_CLIP)
    assert found.loss.item() == pytest.approx(loss / drawn.count, abs=1e-12)
    assert found.clip_fraction.item() == pytest.approx(clipped / drawn.count, abs=1e-6)
    (gradient,) = torch.autograd.grad(found.loss, variable)
    torch.testing.assert_close(gradient, slope, atol=1e-12, rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_from_scores_to_advantages_and_returns_as_in_the_loop(shape: tuple[int, int, int]) -> None:
    """P4, P5, P7, P8, P9 in one chain: rewards, the double sum of GAE, returns, then whitening."""
    drawn = case(shape)
    logprobs, reference, values, _ = (figure * drawn.mask for figure in drawn.figures)
    rollout = _rollout(drawn, logprobs, reference, values)
    found = estimate(rollout, kl_coefficient=BETA, trace_decay=LAMBDA)
    advantages = torch.zeros_like(values)
    for b, row in enumerate(drawn.places):
        rewards = [-BETA * float(logprobs[b, t] - reference[b, t]) for t in row]
        if row:
            rewards[-1] += float(drawn.scores[b])
        after = [*(float(values[b, t]) for t in row[1:]), 0.0]
        deltas = [r + v - float(values[b, t]) for r, v, t in zip(rewards, after, row, strict=False)]
        for n, t in enumerate(row):
            advantages[b, t] = sum(LAMBDA**k * delta for k, delta in enumerate(deltas[n:]))
    torch.testing.assert_close(found.returns, advantages + values, atol=1e-12, rtol=1e-9)
    chosen = [float(advantages[b, t]) for b, row in enumerate(drawn.places) for t in row]
    mean = sum(chosen) / drawn.count
    variance = sum((item - mean) ** 2 for item in chosen) / drawn.count
    wanted = (advantages - mean) / math.sqrt(variance + 1e-8) * drawn.mask
    torch.testing.assert_close(found.advantages, wanted, atol=1e-9, rtol=1e-7)


def _rollout(drawn: Case, logprobs: Tensor, reference: Tensor, values: Tensor) -> RolloutBatch:
    nothing = torch.zeros_like(drawn.scores)
    return RolloutBatch(TokenSet.of([]), drawn.mask, logprobs, reference, values, drawn.scores, nothing)


@settings(max_examples=30, deadline=None)
@given(shapes)
def test_whitened_rewards_keep_their_mean(shape: tuple[int, int, int]) -> None:
    """P9: `shift_mean=False`; a constant far from 0 stays where it is."""
    drawn = case(shape)
    values = drawn.figures[0] + 5.0
    chosen = [float(values[b, t]) for b, row in enumerate(drawn.places) for t in row]
    mean = sum(chosen) / drawn.count
    variance = sum((item - mean) ** 2 for item in chosen) / drawn.count
    found = whiten(values, drawn.mask, shift_mean=False)
    wanted = ((values - mean) / math.sqrt(variance + 1e-8) + mean) * drawn.mask
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-7)


def test_the_price_of_kl_is_paid_for_straying_not_for_staying() -> None:
    """P4, the sign: a token that the policy makes likelier than the reference costs."""
    mask = torch.tensor([[True, True]])
    rewards = shaped_rewards(
        torch.zeros(1), torch.tensor([[-1.0, -3.0]]), torch.tensor([[-2.0, -2.0]]), mask, kl_coefficient=0.5
    )
    assert rewards.tolist() == [[-0.5, 0.5]]


def test_discount_and_trace_are_two_numbers() -> None:
    """P7 by hand: γ scales the next value, γλ the next advantage."""
    rewards, values = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 4.0]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    found = generalised_advantages(rewards, values, mask, discount=0.9, trace_decay=0.5)
    assert found.tolist() == [[pytest.approx(1 + 0.9 * 4 - 0.5 + 0.45 * -2), pytest.approx(-2.0)]]


def test_an_example_begins_with_a_token_that_nobody_predicts() -> None:
    """The mask of a first token is never on: there is nothing before it to predict it from."""
    examples = TokenSet.of([([7, 8, 9], [True, True, True]), ([5], [True])])
    assert examples.mask.tolist() == [False, True, True, False]


def test_a_rollout_marks_what_the_policy_chose_and_nothing_else() -> None:
    """P17, P24."""
    examples = rollout_tokens([[1, 2], [3]], [Completion((4, 5), True), Completion((6,), False)])
    assert examples.tokens.tolist() == [1, 2, 4, 5, 3, 6]
    assert examples.mask.tolist() == [False, False, True, True, False, True]
