"""Rollouts of PPO: sample replies, score them, shape rewards, estimate advantages.

The order is the paper's: token ids go from the sampler to every model as they are (rule P24);
everything behind the end token is absent, not masked away (rule P17).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from parley.engine.sampler import Completion
from parley.rlhf.advantages import generalised_advantages, score_after_the_end, shaped_rewards, whiten
from parley.rlhf.batches import TokenSet

NoEnd = Literal["replace", "replace-raw", "add"]
ScoreSlot = Literal["end", "after"]


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """Sampled replies with everything known about them before the update.

    `examples` holds prompt and reply of each row; `mask` marks the tokens that the policy chose. Per
    token, 0 off the mask: `logprobs` under the sampling policy, `ref_logprobs` under the reference,
    `values` of the state before the token. `end_values` are those of the states after the last token,
    0 where nobody asks for them.
    """

    examples: TokenSet
    mask: Bool[Tensor, "B T"]
    logprobs: Float[Tensor, "B T"]
    ref_logprobs: Float[Tensor, "B T"]
    values: Float[Tensor, "B T"]
    scores: Float[Tensor, " B"]
    end_values: Float[Tensor, " B"]

    @property
    def kl(self) -> Float[Tensor, " B"]:
        """k1 estimate of KL(policy, reference) of each reply, in nats (rule P4)."""
        return (self.logprobs - self.ref_logprobs).sum(1)


@dataclass(frozen=True, slots=True)
class PpoBatch:
    """A rollout with what the update needs: `advantages`, whitened where that is done over all of it,
    and `returns` in units of score."""

    rollout: RolloutBatch
    advantages: Float[Tensor, "B T"]
    returns: Float[Tensor, "B T"]


def rollout_tokens(prompts: Sequence[Sequence[int]], completions: Sequence[Completion]) -> TokenSet:
    """Prompt and reply of each row; the reply's tokens are the masked ones."""
    return TokenSet.of(
        ([*prompt, *done.tokens], [False] * len(prompt) + [True] * len(done.tokens))
        for prompt, done in zip(prompts, completions, strict=True)
    )


def sampler_gap(
    completions: Sequence[Completion], logprobs: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> float:
    """How far the sampler's own log-probabilities are from the learner's, in nats a token (rule P1): what
    makes a policy learn from replies that it would not have given."""
    told = torch.tensor([own for done in completions for own in done.logprobs], device=logprobs.device)
    return float((told - logprobs[mask]).abs().mean())


def estimate(
    rollout: RolloutBatch,
    *,
    kl_coefficient: float,
    trace_decay: float,
    score_slot: ScoreSlot = "end",
    whiten_rewards: bool = False,
    whiten_advantages: bool = True,
) -> PpoBatch:
    """Shaped rewards → advantages → returns (before whitening, rule P8) → whitened advantages.

    `score_slot` "after" pays the score one place behind the last token (rule P5b). Whitened rewards
    keep their mean (rule P9).
    """
    scores = rollout.scores
    if score_slot == "after":
        scores = score_after_the_end(scores, rollout.end_values, discount=1.0, trace_decay=trace_decay)
    rewards = shaped_rewards(
        scores, rollout.logprobs, rollout.ref_logprobs, rollout.mask, kl_coefficient=kl_coefficient
    )
    if whiten_rewards:
        rewards = whiten(rewards, rollout.mask, shift_mean=False)
    advantages = generalised_advantages(rewards, rollout.values, rollout.mask, trace_decay=trace_decay)
    returns = advantages + rollout.values
    return PpoBatch(rollout, whiten(advantages, rollout.mask) if whiten_advantages else advantages, returns)


def final_scores(
    scores: Float[Tensor, " N"],
    ended: Sequence[bool],
    *,
    no_end_score: float,
    limit: float,
    no_end: NoEnd = "replace",
) -> Float[Tensor, " N"]:
    """Scores clamped to ±`limit`; a reply that never ended gets `no_end_score` instead, or, where
    `no_end` is "add", on top (rule P16)."""
    finished = torch.tensor(list(ended), device=scores.device)
    clamped = scores.clamp(-limit, limit)
    return torch.where(finished, clamped, clamped + no_end_score if no_end == "add" else no_end_score)
