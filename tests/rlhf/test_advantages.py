"""Shaped rewards, GAE and whitening against their definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.rlhf.advantages import (
    explained_variance,
    generalised_advantages,
    last_token,
    score_after_the_end,
    shaped_rewards,
    whiten,
)


def test_the_score_falls_on_the_last_response_token() -> None:
    """P5: replies of one token, of a full row, and with a prompt in front."""
    mask = torch.tensor([[0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]], dtype=torch.bool)
    logprobs, ref = torch.full((3, 4), -1.0), torch.full((3, 4), -1.5)
    rewards = shaped_rewards(torch.tensor([10.0, 20.0, 30.0]), logprobs, ref, mask, kl_coefficient=0.1)
    expected = torch.tensor([[0, 9.95, 0, 0], [-0.05, -0.05, -0.05, 19.95], [0, 0, -0.05, 29.95]])
    torch.testing.assert_close(rewards, expected)
    assert last_token(mask).sum(1).tolist() == [1, 1, 1]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4),
    st.floats(0.5, 1.0),
    st.floats(0.0, 1.0),
    st.integers(0, 99),
)
def test_gae_equals_its_definition(rows: list[list[bool]], gamma: float, lam: float, seed: int) -> None:
    """P7 against the double sum in float64, masked tokens in the middle stepped over."""
    mask = torch.tensor(rows)
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, *mask.shape, generator=generator, dtype=torch.float64)
    found = generalised_advantages(rewards * mask, values * mask, mask, discount=gamma, trace_decay=lam)
    for b, row in enumerate(rows):
        places = [t for t, on in enumerate(row) if on]
        deltas = []
        for n, t in enumerate(places):
            after = values[b, places[n + 1]] if n + 1 < len(places) else 0.0
            deltas.append(rewards[b, t] + gamma * after - values[b, t])
        for n, t in enumerate(places):
            exact = sum((gamma * lam) ** k * delta for k, delta in enumerate(deltas[n:]))
            assert found[b, t].item() == pytest.approx(float(exact), abs=1e-9)
        assert all(found[b, t] == 0 for t, on in enumerate(row) if not on)


@pytest.mark.parametrize("shift_mean", [True, False])
def test_whitening_is_blind_to_padding(shift_mean: bool) -> None:
    """P9: biased variance over the mask alone; a wider batch changes nothing."""
    values = torch.tensor([[1.0, 2.0, 4.0, 99.0], [3.0, 5.0, 77.0, 88.0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]], dtype=torch.bool)
    white = whiten(values, mask, shift_mean=shift_mean)
    assert white[mask].mean().item() == pytest.approx(0.0 if shift_mean else 3.0, abs=1e-5)
    assert white[mask].var(unbiased=False).item() == pytest.approx(1.0, abs=1e-5)
    wider = whiten(
        torch.cat([values, torch.full((2, 3), 1e6)], 1),
        torch.cat([mask, torch.zeros(2, 3, dtype=torch.bool)], 1),
        shift_mean=shift_mean,
    )
    torch.testing.assert_close(wider[:, :4], white)
    assert (white[~mask] == 0).all()


def test_explained_variance_of_a_perfect_and_a_constant_critic() -> None:
    returns, mask = torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert explained_variance(returns, returns, mask) == pytest.approx(1.0)
    assert explained_variance(torch.full((1, 3), 5.0), returns, mask) == pytest.approx(0.0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.floats(0.5, 1),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_a_score_behind_the_end_by_its_definition(
    lengths: list[int], gamma: float, lam: float, seed: int
) -> None:
    """P5b: rewards and values with one place more, the score paid there, give the advantages that
    `score_after_the_end` gives at the last token. They are those of P5 exactly where V(end) is the score."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), 7)
    logprobs, ref, values = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    scores, ends = (torch.randn(len(lengths), generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    longer = torch.arange(7) < torch.tensor(lengths)[:, None] + 1
    last = longer & ~mask
    rewards = shaped_rewards(torch.zeros_like(scores), logprobs, ref, mask, kl_coefficient=0.1)
    exact = generalised_advantages(
        rewards + last * scores[:, None],
        torch.where(last, ends[:, None], values),
        longer,
        discount=gamma,
        trace_decay=lam,
    )

    def found(end_values: torch.Tensor) -> torch.Tensor:
        paid = score_after_the_end(scores, end_values, discount=gamma, trace_decay=lam)
        shaped = shaped_rewards(paid, logprobs, ref, mask, kl_coefficient=0.1)
        return generalised_advantages(shaped, values, mask, discount=gamma, trace_decay=lam)

    torch.testing.assert_close(found(ends), exact * mask)
    assert torch.allclose(score_after_the_end(scores, scores, discount=1.0, trace_decay=lam), scores)
    gap = found(ends) - found(scores)
    wanted = gamma * (1 - lam) * (ends - scores)  # what P5 and P5b differ by at the last token
    torch.testing.assert_close(gap[torch.arange(len(lengths)), torch.tensor(lengths) - 1], wanted)
