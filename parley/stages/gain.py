"""What PPO did on prompts that nobody learnt from: the reward of replies before and after, prompt by prompt.

Both policies answer the same prompts and the same judge scores both, so the standard error is that
of the difference. On people's words this is all there is: no truth judges the answers, only what PPO was
trained to please.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from parley.engine.sampler import Completion
from parley.evals.statistics import mean, paired_difference, standard_error
from parley.labels import Prompt
from parley.model.checkpoint import LoadedModel
from parley.model.language_model import LanguageModel
from parley.rlhf.batches import TokenSet
from parley.rlhf.exchanges import history_tokens
from parley.rlhf.forward import over_replies, policy_logprobs
from parley.rlhf.rollout import rollout_tokens
from parley.stages.scores import ScoreReplies


@dataclass(frozen=True, slots=True)
class Answered:
    """One policy's replies to the prompts, with the score of each."""

    examples: TokenSet
    completions: Sequence[Completion]
    scores: Sequence[float]


def answered(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    score: ScoreReplies,
    *,
    max_prompt_tokens: int,
) -> Answered:
    """The replies as the judge reads them, in the very tokens that were sampled (rule P24)."""
    histories = [history_tokens(model, p.conversation, max_tokens=max_prompt_tokens) for p in prompts]
    examples = rollout_tokens(histories, completions)
    return Answered(examples, completions, score(prompts, examples, completions).tolist())


def gain_figures(before: Answered, after: Answered, kl: Sequence[float]) -> dict[str, float]:
    """Mean rewards with standard errors, their paired difference, KL in nats a reply, lengths, ends."""
    gap = paired_difference(before.scores, after.scores)
    return {
        "reward": mean(after.scores).value,
        "reward se": standard_error(after.scores),
        "sft_reward": mean(before.scores).value,
        "sft_reward se": standard_error(before.scores),
        "reward_gain": gap.value,
        "reward_gain se": gap.standard_error,
        "reward_gain n": float(gap.n),
        "kl_nats": mean(kl).value,
        "kl_nats se": standard_error(kl),
        **_shape(after, ""),
        **_shape(before, "sft_"),
    }


def _shape(found: Answered, prefix: str) -> dict[str, float]:
    return {
        f"{prefix}tokens": mean([float(len(done.tokens)) for done in found.completions]).value,
        f"{prefix}ended": mean([float(done.ended) for done in found.completions]).value,
    }


@torch.no_grad()
def kl_of_replies(policy: LoadedModel, reference: LanguageModel, examples: TokenSet) -> list[float]:
    """The k1 estimate of KL(policy, reference) of every reply, in nats (rule P4)."""
    pad, device = policy.tokenizer.pad, str(policy.decoder.device)
    ours, theirs = (
        over_replies(
            examples,
            partial(policy_logprobs, model, temperature=1.0),
            pad=pad,
            device=device,
        )
        for model in (policy.decoder, reference)
    )
    found: list[float] = (ours - theirs).sum(1).tolist()
    return found


def side_by_side(
    model: LoadedModel, prompts: Sequence[Prompt], before: Answered, after: Answered, *, count: int
) -> list[dict[str, Any]]:
    """The first prompts with both replies and their scores, to be read."""
    return [
        {
            "messages": [[message.role, message.text] for message in prompts[n].conversation.messages],
            "before": _told(model, before, n),
            "after": _told(model, after, n),
        }
        for n in range(min(count, len(prompts)))
    ]


def _told(model: LoadedModel, found: Answered, n: int) -> dict[str, Any]:
    return {"reply": model.tokenizer.decode(found.completions[n].tokens), "score": round(found.scores[n], 4)}
