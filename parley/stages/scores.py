"""Who scores a reply in PPO: the reward model, or the world's exact truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from parley.artifacts import RewardCheckpoint, Snapshot, Workspace
from parley.engine.sampler import Completion
from parley.errors import ConfigError
from parley.labels import Prompt
from parley.model.checkpoint import LoadedModel
from parley.model.reward_checkpoint import load_reward
from parley.rlhf.batches import TokenSet
from parley.rlhf.forward import score_all
from parley.stages.data import gold_scores

ScoreReplies = Callable[[Sequence[Prompt], TokenSet, Sequence[Completion]], Tensor]


def model_score(
    out: Workspace, reward: RewardCheckpoint, policy: LoadedModel, *, num_tokens: int
) -> ScoreReplies:
    """The reward model's own scores of the very tokens that were sampled (rule P24).

    It must be able to read the `num_tokens` that the policy may make, in the same tokens (rule P26).
    """
    loaded = load_reward(reward.path, out.plan)
    if loaded.context < num_tokens:
        raise ConfigError(
            f"the reward model reads {loaded.context} tokens, PPO makes up to {num_tokens}: "
            "raise reward.context, or lower ppo's limits"
        )
    if loaded.tokenizer.digest != policy.tokenizer.digest:
        raise ConfigError(
            "the reward model has another tokenizer than the policy: train it on this run's SFT model"
        )

    def score(prompts: Sequence[Prompt], examples: TokenSet, completions: Sequence[Completion]) -> Tensor:
        del prompts, completions
        return score_all(loaded.model, examples, pad=policy.tokenizer.pad)

    return score


def gold_score(told: Snapshot, policy: LoadedModel) -> ScoreReplies:
    """The world's utility of each reply's text."""

    def score(prompts: Sequence[Prompt], examples: TokenSet, completions: Sequence[Completion]) -> Tensor:
        del examples
        gold = gold_scores(told, prompts, reply_texts(policy, completions))
        if gold is None:
            raise ConfigError("ppo.reward: gold needs a world with exact truth; real data has none")
        return torch.tensor(gold, dtype=torch.float32, device=policy.decoder.device)

    return score


def reply_texts(policy: LoadedModel, completions: Sequence[Completion]) -> list[str]:
    """Each reply as people see it."""
    return [policy.tokenizer.decode(done.tokens) for done in completions]
