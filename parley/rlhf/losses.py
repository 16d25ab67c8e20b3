"""The losses of the method: supervised fine-tuning, ranking, PPO's policy and value.

Pure functions of tensors. A per-token tensor is `[B, T]` over the whole sequence; index `t`
speaks of the token at `t`, and `mask` says whether it counts.

Sources: InstructGPT (arXiv:2203.02155) Eq. 1; PPO (arXiv:1707.06347) Eq. 7; rule ids (P3,
R1, …) are explained in `docs/sources.md`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def masked_mean(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], *, count: int | None = None
) -> Float[Tensor, ""]:
    """The mean over the positions where `mask` holds; 0 where it holds nowhere.

    Where the tensors are a part of a larger batch, `count` is how many positions hold in all of it: the
    parts' results then add up to the mean over the whole (rules P12, S4).
    """
    total = values.masked_fill(~mask, 0.0).sum()
    return total / mask.sum().clamp(min=1) if count is None else total / max(1, count)


def sft_loss(
    logprobs: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], *, count: int | None = None
) -> Float[Tensor, ""]:
    """Mean negative log-likelihood, in nats, of the supervised tokens (rules S1, S4).

    The mean is over the tokens of the whole batch, whatever rows they stand in; `count` as in
    `masked_mean`.
    """
    return -masked_mean(logprobs, mask, count=count)


class RankingLoss(NamedTuple):
    """`loss` in nats a pair (mean over pairs, then over groups); `accuracy` over the pairs."""

    loss: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]


def ranking_loss(
    scores: Float[Tensor, " N"],
    better: Int[Tensor, " P"],
    worse: Int[Tensor, " P"],
    group: Int[Tensor, " P"],
    *,
    num_groups: int,
    margins: Float[Tensor, " P"] | None = None,
) -> RankingLoss:
    """Eq. 1 of InstructGPT: -log σ(score of better - score of worse), averaged inside each group.

    `better` and `worse` index `scores` (one forward pass a reply, rule R1); `group` names the
    ranking that each pair belongs to, in 0..num_groups-1. Every group with at least one untied
    pair weighs the same whatever its K; groups without any do not count (rule R2). With `margins` a
    pair is at rest only that far beyond equality (Llama 2, arXiv:2307.09288, Eq. 2).
    """
    margin = (scores[better] - scores[worse]).float()
    per_pair = -functional.logsigmoid(margin if margins is None else margin - margins)
    pairs = torch.zeros(num_groups, device=scores.device).index_add_(0, group, torch.ones_like(margin))
    weight = 1.0 / pairs[group]
    counted = (pairs > 0).sum().clamp(min=1)
    correct = (margin > 0).float() + 0.5 * (margin == 0).float()
    accuracy = correct.mean() if margin.numel() else margin.new_tensor(0.0)
    return RankingLoss((per_pair * weight).sum() / counted, accuracy.detach())


class PolicyLoss(NamedTuple):
    """`loss` to minimise; the share of tokens clipped; k3 estimate of KL(old, new) in nats a token;
    the largest distance of a ratio from 1."""

    loss: Float[Tensor, ""]
    clip_fraction: Float[Tensor, ""]
    approx_kl: Float[Tensor, ""]
    ratio_gap: Float[Tensor, ""]


def ppo_policy_loss(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    clip: float,
    count: int | None = None,
) -> PolicyLoss:
    """Clipped surrogate objective, negated to be minimised (PPO, Eq. 7; rule P10).

    Gradients flow through `logprobs` alone. The mean is over the response tokens of the whole
    batch (rule P12), so a long reply weighs more than a short one; `count` as in `masked_mean`, for all
    figures but the largest ratio.
    """
    log_ratio = (logprobs - old_logprobs).masked_fill(~mask, 0.0)
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    with torch.no_grad():
        fraction = masked_mean((clipped > unclipped).float(), mask, count=count)
        approx_kl = masked_mean(k3(-log_ratio), mask, count=count)
        gap = (ratio - 1).abs().max()
    loss = masked_mean(torch.maximum(unclipped, clipped), mask, count=count)
    return PolicyLoss(loss, fraction, approx_kl, gap)


class ValueLoss(NamedTuple):
    """`loss` to minimise, in squared reward; the share of tokens whose clipped error was larger."""

    loss: Float[Tensor, ""]
    clip_fraction: Float[Tensor, ""]


def ppo_value_loss(
    values: Float[Tensor, "B T"],
    old_values: Float[Tensor, "B T"],
    returns: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    clip: float,
    count: int | None = None,
) -> ValueLoss:
    """Half the mean of the larger of two squared errors: as predicted, and moved at most `clip`
    from the old value (rule P11). Gradients flow through `values` alone; `count` as in `masked_mean`."""
    change = values - old_values
    moved = torch.where(change.abs() > clip, old_values + change.clamp(-clip, clip), values)
    plain, clipped = (values - returns) ** 2, (moved - returns) ** 2
    with torch.no_grad():
        fraction = masked_mean((clipped > plain).float(), mask, count=count)
    return ValueLoss(0.5 * masked_mean(torch.maximum(plain, clipped), mask, count=count), fraction)


def k3(log_ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Schulman's low-variance, never negative estimate of KL(p, q) from tokens drawn from p, where
    `log_ratio` is log p - log q (rule P4)."""
    return torch.expm1(-log_ratio) + log_ratio
