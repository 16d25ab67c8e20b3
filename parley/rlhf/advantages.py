"""From scores to advantages: KL-shaped rewards, generalised advantage estimation, whitening.

Pure functions of `[B, T]` tensors; off the mask every result is 0. Rule ids: `docs/sources.md`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def shaped_rewards(
    scores: Float[Tensor, " B"],
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    kl_coefficient: float,
) -> Float[Tensor, "B T"]:
    """Reward per token: -β(log π - log π_ref) everywhere, plus the score at the last response
    token (rules P4, P5; InstructGPT Eq. 2 without its pretraining term)."""
    rewards = (-kl_coefficient * (logprobs - ref_logprobs)).masked_fill(~mask, 0.0)
    return rewards + last_token(mask) * scores[:, None]


def score_after_the_end(
    scores: Float[Tensor, " B"], end_values: Float[Tensor, " B"], *, discount: float, trace_decay: float
) -> Float[Tensor, " B"]:
    """What to pay at the last token so that advantages come out as if the score were paid one place
    behind it, where the state's value is `end_values` (rule P5b; the placement of TRL and of Huang et al.).

    One step further δ is score - V(end), so the last token's advantage gains γ V(end) + γλ (score - V(end)).
    Where V(end) is the score already, this is the score (γ = 1).
    """
    return discount * (trace_decay * scores + (1 - trace_decay) * end_values)


def last_token(mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    """True at the last masked position of each row."""
    later = mask.flip(1).cumsum(1).flip(1)
    return mask & (later == 1)


def generalised_advantages(
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    discount: float = 1.0,
    trace_decay: float = 0.95,
) -> Float[Tensor, "B T"]:
    """GAE (arXiv:1506.02438, Eq. 16; rule P7) with γ = `discount` and λ = `trace_decay`.

    `values[:, t]` is the value of the state before token t; after the last masked token it is 0.
    Positions off the mask inside a reply are stepped over: the next masked token follows.
    """
    advantages = torch.zeros_like(rewards)
    carry = torch.zeros_like(rewards[:, 0])
    next_value = torch.zeros_like(carry)
    for t in range(rewards.shape[1] - 1, -1, -1):
        here = mask[:, t]
        delta = rewards[:, t] + discount * next_value - values[:, t]
        carry = torch.where(here, delta + discount * trace_decay * carry, carry)
        next_value = torch.where(here, values[:, t], next_value)
        advantages[:, t] = torch.where(here, carry, torch.zeros_like(carry))
    return advantages


def whiten(
    values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], *, shift_mean: bool = True
) -> Float[Tensor, "B T"]:
    """Zero mean and unit (biased) variance over the masked positions (rule P9); with
    `shift_mean=False` the mean is put back."""
    count = mask.sum().clamp(min=1)
    mean = values.masked_fill(~mask, 0.0).sum() / count
    variance = ((values - mean) ** 2).masked_fill(~mask, 0.0).sum() / count
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    return (whitened if shift_mean else whitened + mean).masked_fill(~mask, 0.0)


def explained_variance(
    values: Float[Tensor, "B T"], returns: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> float:
    """1 - Var(returns - values) / Var(returns) over the mask: 1 is a perfect critic, 0 a constant."""
    target, error = returns[mask], (returns - values)[mask]
    spread = target.var(unbiased=False)
    return float(1 - error.var(unbiased=False) / spread) if spread > 0 else 0.0
