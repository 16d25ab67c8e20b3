"""The models of PPO: what learns, what is held fixed, who scores; and what cannot go together."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch

from parley.artifacts import Checkpoint, RewardCheckpoint, Snapshot, Workspace
from parley.errors import ConfigError
from parley.model.adapters import AdaptedModel, AdapterConfig, SharedTrunk
from parley.model.checkpoint import LoadedModel, load_checkpoint
from parley.model.heads import RewardCritic, RewardModel, ValueModel
from parley.model.language_model import LanguageModel
from parley.model.reward_checkpoint import LoadedReward
from parley.rlhf.forward import Critic
from parley.stages.ppo_config import PpoConfig
from parley.stages.ptx import Pretraining, pretraining
from parley.stages.rules import is_rule
from parley.stages.scores import ScoreReplies, gold_score, model_score, readable_reward, rule_score


@dataclass(frozen=True, slots=True)
class Models:
    """Everything that a step passes through. Policy and value learn; the reference never does."""

    policy: LoadedModel
    reference: LanguageModel
    value: Critic
    score: ScoreReplies
    told: Snapshot
    ptx: Pretraining | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A policy that learns, what it is held to, and who scores it: all that learning without a critic needs."""

    policy: LoadedModel
    reference: LanguageModel
    score: ScoreReplies


def load_judged(
    out: Workspace,
    start: Checkpoint,
    reference: Checkpoint,
    reward: RewardCheckpoint,
    told: Snapshot,
    config: PpoConfig,
) -> Judged:
    """All of them on the plan's device; `ConfigError` for what cannot work together."""
    policy, frozen, _ = _learners(out, start, reference, config.adapters)
    _check_room(policy, config)
    if config.recompute:
        policy.decoder.recompute()
    if config.reward == "gold":
        return Judged(policy, frozen, gold_score(told, policy))
    if is_rule(reward):
        return Judged(policy, frozen, rule_score(reward, policy))
    judge = readable_reward(out, reward, policy, num_tokens=config.num_tokens)
    return Judged(policy, frozen, model_score(judge, policy))


def load_models(
    out: Workspace,
    start: Checkpoint,
    reference: Checkpoint,
    reward: RewardCheckpoint,
    told: Snapshot,
    config: PpoConfig,
) -> Models:
    """All of them on the plan's device; `ConfigError` for what cannot work together."""
    policy, frozen, trunk = _learners(out, start, reference, config.adapters)
    _check_room(policy, config)
    if config.reward == "gold":
        return _models(out, policy, frozen, ValueModel(trunk), gold_score(told, policy), told, config)
    if is_rule(reward):
        return _models(out, policy, frozen, ValueModel(trunk), rule_score(reward, policy), told, config)
    shared = trunk.trunk if isinstance(trunk, AdaptedModel) else None
    judge = readable_reward(out, reward, policy, num_tokens=config.num_tokens, trunk=shared)
    value = ValueModel(trunk) if config.critic == "policy" else _reward_critic(out, judge, config)
    return _models(out, policy, frozen, value, model_score(judge, policy), told, config)


def _models(
    out: Workspace,
    policy: LoadedModel,
    reference: LanguageModel,
    value: Critic,
    score: ScoreReplies,
    told: Snapshot,
    config: PpoConfig,
) -> Models:
    value = value.to(out.plan.device)
    if config.recompute:
        trunk = value.trunk if isinstance(value, ValueModel) else value.reward.trunk
        for learner in (policy.decoder, trunk):
            learner.recompute()
    return Models(policy, reference, value, score, told, _ptx(out, policy, told, config))


def _learners(
    out: Workspace, start: Checkpoint, reference: Checkpoint, adapters: AdapterConfig
) -> tuple[LoadedModel, LanguageModel, LanguageModel]:
    """Policy, reference and the critic's trunk: three models, or with adapters one that they share (two
    where the policy does not start from the reference)."""
    policy = load_checkpoint(start.path, out.plan)
    frozen = load_checkpoint(reference.path, out.plan).decoder.requires_grad_(False)
    if not adapters.rank:
        return policy, frozen, load_checkpoint(reference.path, out.plan).decoder
    generator = torch.Generator().manual_seed(out.seed_for("adapters"))
    trunk = SharedTrunk(frozen)
    own = trunk if start.digest == reference.digest else SharedTrunk(policy.decoder)
    policy = replace(policy, decoder=AdaptedModel(own, adapters, generator))
    return policy, frozen, AdaptedModel(trunk, adapters, generator)


def _reward_critic(out: Workspace, judge: LoadedReward, config: PpoConfig) -> RewardCritic:
    """The first of the reward models once more, to be trained; its frozen readers are shared."""
    first = judge.members[0]
    trunk = _critic_trunk(out, first.trunk, config.adapters)
    critic = RewardModel(trunk, first.readers, pooling=first.pooling)
    for name, part in first.named_children():
        if name != "trunk":
            critic.get_submodule(name).load_state_dict(part.state_dict())
    critic.shift.copy_(first.shift)
    return RewardCritic(critic)


def _critic_trunk(out: Workspace, trunk: LanguageModel, adapters: AdapterConfig) -> LanguageModel:
    """A copy of the reward model's; of one that wears adapters on the shared trunk, the adapters alone."""
    if isinstance(trunk, AdaptedModel):
        own = AdaptedModel(trunk.trunk, trunk.adapter_config, torch.Generator())
        own.load_state_dict(trunk.state_dict())
        return own
    trunk = copy.deepcopy(trunk)
    generator = torch.Generator().manual_seed(out.seed_for("critic adapters"))
    return AdaptedModel(SharedTrunk(trunk), adapters, generator) if adapters.rank else trunk


def _ptx(out: Workspace, policy: LoadedModel, told: Snapshot, config: PpoConfig) -> Pretraining | None:
    """Only where it is asked for: without it PPO is plain, bit for bit."""
    if not config.ptx_coefficient:
        return None
    return pretraining(
        told,
        policy,
        coefficient=config.ptx_coefficient,
        row_tokens=config.ptx_row_tokens,
        needed=config.steps * config.epochs * config.minibatches * config.ptx_pieces,
        seed=out.seed_for("pretraining"),
        micro_tokens=config.micro_tokens,
    )


def _check_room(policy: LoadedModel, config: PpoConfig) -> None:
    needed, room = config.num_tokens, policy.decoder.config.max_positions
    if needed > room:
        raise ConfigError(
            f"ppo: max_prompt_tokens and max_new_tokens make {needed} tokens together, the model's context has {room}"
        )
    if config.ptx_coefficient and config.ptx_row_tokens > room:
        raise ConfigError(f"ppo: ptx_row_tokens is {config.ptx_row_tokens}, the model's context has {room}")
