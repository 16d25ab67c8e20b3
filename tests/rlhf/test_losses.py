"""The losses by hand, against float64 brute force, and their gradients. Rule ids: docs/sources.md."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.rlhf.losses import k3, masked_mean, ppo_policy_loss, ppo_value_loss, ranking_loss, sft_loss


def test_sft_loss_by_hand() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -50.0]])
    mask = torch.tensor([[True, True, False]])
    assert sft_loss(logprobs, mask).item() == pytest.approx(1.5)


def test_an_empty_mask_gives_zero() -> None:
    assert masked_mean(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool)).item() == 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 4), min_size=2, max_size=9), min_size=1, max_size=5), st.integers(0, 99)
)
def test_ranking_loss_equals_brute_force_over_pairs(groups: list[list[int]], seed: int) -> None:
    """R1, R2: every ranking weighs the same whatever its K; ties are dropped; all-tied ones do not count."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(sum(map(len, groups)), generator=generator, dtype=torch.float64, requires_grad=True)
    better, worse, owner, means, start = [], [], [], [], 0
    for n, ranks in enumerate(groups):
        losses = []
        for i, j in itertools.combinations(range(len(ranks)), 2):
            if ranks[i] != ranks[j]:
                w, v = (i, j) if ranks[i] < ranks[j] else (j, i)
                better.append(start + w)
                worse.append(start + v)
                owner.append(n)
                losses.append(-torch.log(torch.sigmoid(scores[start + w] - scores[start + v])))
        if losses:
            means.append(torch.stack(losses).mean())
        start += len(ranks)
    expected = torch.stack(means).mean() if means else torch.zeros((), dtype=torch.float64)
    index = [torch.tensor(part, dtype=torch.long) for part in (better, worse, owner)]
    found = ranking_loss(scores, *index, num_groups=len(groups))
    assert found.loss.item() == pytest.approx(expected.item(), abs=1e-6)
    if means:
        (wanted,) = torch.autograd.grad(expected, scores, retain_graph=True)
        (gradient,) = torch.autograd.grad(found.loss, scores)
        torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-5)


def test_ranking_loss_survives_huge_margins() -> None:
    """R9: log σ in a form that does not overflow."""
    pair = (torch.tensor([0]), torch.tensor([1]), torch.tensor([0]))
    assert ranking_loss(torch.tensor([-1e4, 1e4]), *pair, num_groups=1).loss.item() == pytest.approx(2e4)
    assert ranking_loss(torch.tensor([1e4, -1e4]), *pair, num_groups=1).loss.item() == 0.0


def test_ranking_accuracy_counts_equal_scores_half() -> None:
    scores = torch.tensor([1.0, 0.0, 0.0])
    found = ranking_loss(
        scores, torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([0, 0]), num_groups=1
    )
    assert found.accuracy.item() == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient_flows"),
    [
        (1.5, 1.0, -1.2, False),  # too likely already and good: clipped
        (1.5, -1.0, 1.5, True),
        (0.5, 1.0, -0.5, True),
        (0.5, -1.0, 0.8, False),  # too unlikely already and bad: clipped
    ],
)
def test_policy_loss_in_the_four_quadrants(
    ratio: float, advantage: float, loss: float, gradient_flows: bool
) -> None:
    """P10, each case alone on a 1x2 batch whose second token is off the mask."""
    logprobs = torch.tensor([[math.log(ratio), 3.0]], requires_grad=True)
    mask = torch.tensor([[True, False]])
    found = ppo_policy_loss(logprobs, torch.zeros(1, 2), torch.tensor([[advantage, 9.0]]), mask, clip=0.2)
    assert found.loss.item() == pytest.approx(loss, abs=1e-6)
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert (logprobs.grad[0, 0] != 0).item() is gradient_flows
    assert logprobs.grad[0, 1] == 0
    assert found.clip_fraction.item() == (0.0 if gradient_flows else 1.0)


def test_policy_loss_of_the_policy_that_sampled() -> None:
    """P3: ratio 1, KL 0, nothing clipped, loss minus the mean advantage."""
    logprobs, advantages = torch.randn(3, 5), torch.randn(3, 5)
    mask = torch.rand(3, 5) > 0.3
    found = ppo_policy_loss(logprobs, logprobs.clone(), advantages, mask, clip=0.2)
    assert found.approx_kl.item() == found.clip_fraction.item() == found.ratio_gap.item() == 0.0
    assert found.loss.item() == pytest.approx(-advantages[mask].mean().item(), abs=1e-6)


@pytest.mark.parametrize(
    ("value", "old", "target", "loss"),
    [(1.0, 0.0, 2.0, 0.5 * 1.8**2), (1.0, 0.0, 0.0, 0.5), (0.1, 0.0, 0.0, 0.005)],
)
def test_value_loss_takes_the_larger_error(value: float, old: float, target: float, loss: float) -> None:
    """P11 by hand: a value far from the old one is judged as if it had moved 0.2 only."""
    mask = torch.tensor([[True]])
    now, before, wanted = (torch.tensor([[item]]) for item in (value, old, target))
    assert ppo_value_loss(now, before, wanted, mask, clip=0.2).loss.item() == pytest.approx(loss, abs=1e-6)


def test_k3_is_an_unbiased_nonnegative_estimate() -> None:
    """P4: over an enumerated vocabulary of 7, E[k1] = E[k3] = KL."""
    generator = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 7, generator=generator, dtype=torch.float64).softmax(-1)
    log_ratio = p.log() - q.log()
    kl = (p * log_ratio).sum().item()
    assert (p * k3(log_ratio)).sum().item() == pytest.approx(kl, rel=1e-12)
    assert (k3(log_ratio) >= 0).all()


def test_the_parts_of_a_batch_add_up_to_its_means() -> None:
    """P12, S4: with the whole batch's count, losses, figures and gradients of parts are those of the whole."""
    generator = torch.Generator().manual_seed(0)
    now, old, advantages = (torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(3))
    mask = torch.rand(6, 5, generator=generator) > 0.4
    now.requires_grad_()
    count = int(mask.sum())
    rows = [slice(0, 1), slice(1, 4), slice(4, 6)]
    losses: list[Callable[[slice, int | None], torch.Tensor]] = [
        lambda r, n: sft_loss(now[r], mask[r], count=n),
        lambda r, n: ppo_policy_loss(now[r], old[r], advantages[r], mask[r], clip=0.2, count=n).loss,
        lambda r, n: ppo_policy_loss(now[r], old[r], advantages[r], mask[r], clip=0.2, count=n).clip_fraction,
        lambda r, n: ppo_policy_loss(now[r], old[r], advantages[r], mask[r], clip=0.2, count=n).approx_kl,
        lambda r, n: ppo_value_loss(now[r], old[r], advantages[r], mask[r], clip=0.2, count=n).loss,
    ]
    for loss in losses:
        whole, parts = loss(slice(0, 6), None), torch.stack([loss(part, count) for part in rows]).sum()
        torch.testing.assert_close(parts, whole)
        if whole.requires_grad:
            gradients = [torch.autograd.grad(item, now, retain_graph=True)[0] for item in (whole, parts)]
            torch.testing.assert_close(*gradients)


def test_a_margin_moves_where_a_pair_is_at_rest() -> None:
    """-log σ(r_w - r_l - m), by hand; without margins nothing changes."""
    scores = torch.tensor([2.0, 0.5, 0.0])
    pairs = (torch.tensor([0, 0]), torch.tensor([1, 2]), torch.tensor([0, 0]))
    found = ranking_loss(scores, *pairs, num_groups=1, margins=torch.tensor([0.5, 1.0])).loss.item()
    assert found == pytest.approx(sum(math.log1p(math.exp(-gap)) for gap in (1.0, 1.0)) / 2, abs=1e-6)
    plain = ranking_loss(scores, *pairs, num_groups=1).loss
    assert torch.equal(ranking_loss(scores, *pairs, num_groups=1, margins=torch.zeros(2)).loss, plain)
