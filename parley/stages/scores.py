"""Who scores a reply: the reward model, a rule that can be checked, or the world's exact truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from parley.artifacts import RewardCheckpoint, Snapshot, Workspace
from parley.engine.sampler import Completion
from parley.errors import ConfigError
from parley.labels import Prompt
from parley.model.adapters import SharedTrunk
from parley.model.checkpoint import LoadedModel
from parley.model.reward_checkpoint import LoadedReward, load_reward
from parley.rlhf.batches import TokenSet
from parley.rlhf.forward import score_all
from parley.rlhf.rules import Rule
from parley.stages.data import gold_scores
from parley.stages.rules import is_rule, open_rule

ScoreReplies = Callable[[Sequence[Prompt], TokenSet, Sequence[Completion]], Tensor]


def judge_score(
    out: Workspace, reward: RewardCheckpoint, policy: LoadedModel, *, num_tokens: int = 0
) -> ScoreReplies:
    """The scores of a round's judge, learnt or not."""
    if is_rule(reward):
        return rule_score(reward, policy)
    return model_score(readable_reward(out, reward, policy, num_tokens=num_tokens), policy)


def rule_score(reward: RewardCheckpoint, policy: LoadedModel) -> ScoreReplies:
    """How far each reply's text keeps the rule, from 0 to 1."""
    rule = open_rule(reward)

    def score(prompts: Sequence[Prompt], examples: TokenSet, completions: Sequence[Completion]) -> Tensor:
        del examples
        met = checks_met(rule, policy, prompts, completions)
        return torch.tensor([rule.score(row) for row in met], device=policy.decoder.device)

    return score


def checks_met(
    rule: Rule, policy: LoadedModel, prompts: Sequence[Prompt], completions: Sequence[Completion]
) -> list[tuple[float, ...]]:
    """How far each reply meets each check of the rule."""
    texts = reply_texts(policy, completions)
    return [
        rule.met(prompt.conversation, text, ended=done.ended)
        for prompt, text, done in zip(prompts, texts, completions, strict=True)
    ]


def readable_reward(
    out: Workspace,
    reward: RewardCheckpoint,
    policy: LoadedModel,
    *,
    num_tokens: int,
    trunk: SharedTrunk | None = None,
) -> LoadedReward:
    """The reward model, which must be able to read the `num_tokens` that the policy may make, in the same
    tokens (rule P26). On `trunk` it wears its adapters where it was trained on these weights."""
    loaded = load_reward(reward.path, out.plan, trunk=trunk)
    if loaded.context < num_tokens:
        raise ConfigError(
            f"the reward model reads {loaded.context} tokens, PPO makes up to {num_tokens}: "
            "raise reward.context, or lower ppo's limits"
        )
    if loaded.tokenizer.digest != policy.tokenizer.digest:
        raise ConfigError(
            "the reward model has another tokenizer than the policy: train it on this run's SFT model"
        )
    theirs, ours = loaded.chat_format.system_text, policy.chat_format.system_text
    if theirs != ours:
        raise ConfigError(
            f"the reward model was trained under another system prompt ({theirs!r}) than the policy's ({ours!r}): "
            "train it on this run's SFT model"
        )
    return loaded


def model_score(judge: LoadedReward, policy: LoadedModel) -> ScoreReplies:
    """The reward model's own scores of the very tokens that were sampled (rule P24)."""

    def score(prompts: Sequence[Prompt], examples: TokenSet, completions: Sequence[Completion]) -> Tensor:
        del prompts, completions
        return score_all(judge.model, examples, pad=policy.tokenizer.pad)

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
