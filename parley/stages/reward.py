"""The reward model: learns from rankings which reply people prefer.

One ranking of K replies is one batch element with all its pairs (InstructGPT, Eq. 1); every
reply is read once. It starts from the SFT model and reads beside the text how surprising each
token is to the frozen base and SFT models (`model.heads.surprise`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Literal

import torch
from torch.optim import AdamW

from parley.artifacts import Checkpoint, RankingSet, RewardCheckpoint, Snapshot, Workspace
from parley.config import check_bounds
from parley.errors import ConfigError
from parley.evals.reward_accuracy import accuracies
from parley.labels import Ranking
from parley.model.adapters import AdapterConfig, SharedTrunk, adapted
from parley.model.checkpoint import LoadedModel, load_checkpoint
from parley.model.decoder import Layer
from parley.model.dropout import dropout, residual_parts
from parley.model.heads import Pooling, RewardEnsemble, RewardModel
from parley.model.reward_checkpoint import LoadedReward, load_reward, save_reward
from parley.rlhf.batches import TokenSet, permutation
from parley.rlhf.groups import RankedReplies, ranked_replies
from parley.rlhf.loop import SavedSteps, adam, descend, scheduled, set_rate
from parley.rlhf.preference import STALE, EarlyStopping, PreferenceLoss, preference_losses, unseen_loss
from parley.rlhf.rules import RuleConfig
from parley.stages.centring import normalise, own_replies, place_scores
from parley.stages.data import rankings_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """Training of the reward model."""

    from_: Literal["policy", "larger", "rule"] = "policy"
    """Whose weights the one that PPO obeys starts from: the policy's own SFT model, or that of the
    recipe's `reward_base`. `rule` trains none: PPO obeys what `rule` checks."""
    rule: RuleConfig = field(default_factory=RuleConfig)
    """What is checked where `from` is rule."""
    ensemble: int = 1
    """Models trained alike but for head and order; the score is their mean."""
    readers: tuple[Literal["base", "sft"], ...] = ("base", "sft")
    """Frozen models whose surprise at each token the reward model reads."""
    epochs: int = 1
    """Passes over the rankings; more overfit quickly (rule R3)."""
    batch_rankings: int = 8
    """Rankings an optimizer step."""
    context: int = 128
    """Tokens of history and reply together; longer ones are cut."""
    rate: float = 7e-4
    """Peak learning rate."""
    warmup: int = 10
    """Steps of linear warm-up."""
    floor: float = 0.1
    """Share of the peak rate at the end of the cosine (rule R3)."""
    weight_decay: float = 0.0
    """AdamW's decay of matrices."""
    score_penalty: float = 1e-3
    """Weight of the mean squared score, which keeps scores near 0."""
    centring: int = 256
    """Demonstrations whose mean score becomes 0 (rule R5)."""
    pooling: Pooling = "last"
    """What the head reads: the state at the reply's last token, or the mean over the reply's states
    beside it (`last+mean`)."""
    language_weight: float = 0.0
    """Weight of the negative log-likelihood, in nats a token, of each ranking's best replies."""
    dropout: float = 0.0
    """Share of what attention, MLPs and the head's hidden layer put out that is dropped in training."""
    frozen_layers: int = 0
    """Lowest blocks that keep the SFT model's weights, the embedding with them; 0 lets all learn."""
    validation_share: float = 0.0
    """Share of the training rankings, by prompt, that nothing is learnt from: the weights with the
    lowest loss on it are kept. 0 keeps the last weights."""
    validate_every: int = 0
    """Steps between two looks at it; 0 looks once an epoch."""
    patience: int = 0
    """Looks without a better loss after which training stops; 0 never stops."""
    margin: float = 0.0
    """By how much scores should differ for each rank that lies between two replies; 0 asks for no distance."""
    normalising_replies: int = 0
    """Replies of the SFT model whose scores get mean 0 and deviation 1, before training and again after it,
    in the place of centring (rule R6); 0 centres on demonstrations."""
    micro_tokens: int = 0
    """Tokens in memory at once; a step with more is read in several portions whose gradients gather, with
    the same loss. 0 is no limit."""
    recompute: bool = False
    """Whether layers are computed again on the way back instead of being kept: less memory, more time."""
    adapters: AdapterConfig = field(default_factory=AdapterConfig)
    """Low-rank adapters on the SFT model, which PPO then has in memory once for policy, reference, critic
    and this; the checkpoint holds them merged and apart."""

    def __post_init__(self) -> None:
        check_bounds(
            self,
            ensemble=(1, inf),
            epochs=(1, inf),
            batch_rankings=(1, inf),
            context=(16, inf),
            rate=(0, inf),
        )
        check_bounds(self, warmup=(0, inf), floor=(0, 1), score_penalty=(0, inf), centring=(0, inf))
        check_bounds(self, language_weight=(0, inf), dropout=(0, 0.9), frozen_layers=(0, inf))
        check_bounds(self, validation_share=(0, 0.9), validate_every=(0, inf), patience=(0, inf))
        check_bounds(self, margin=(0, inf), normalising_replies=(0, inf), micro_tokens=(0, inf))
        if self.normalising_replies == 1:
            raise ValueError(
                "normalising_replies 1 has no deviation; give at least 2, or 0 to centre instead"
            )
        if (self.validate_every or self.patience) and not self.validation_share:
            raise ValueError("validate_every and patience need a validation_share to look at")
        if (self.from_ == "rule") != bool(self.rule.checks):
            raise ValueError("'from: rule' and the checks of 'rule' need each other")
        if self.adapters.rank and (self.frozen_layers or self.dropout):
            raise ValueError(
                "frozen_layers and dropout are about layers that adapters leave frozen: give one"
            )


def train_reward_model(
    out: Workspace,
    trunk: Checkpoint,
    base: Checkpoint,
    sft: Checkpoint,
    told: Snapshot,
    collected: tuple[RankingSet, ...],
    config: RewardConfig,
) -> RewardCheckpoint:
    """A reward model from the weights of `trunk` (the SFT model, or a larger one fine-tuned like it),
    trained on what people ranked and what was collected."""
    policy = load_checkpoint(trunk.path, out.plan)
    room = policy.decoder.config.max_positions
    if config.context > room:
        raise ConfigError(f"reward.context is {config.context}, the model's context has {room}: lower it")
    readers = {"base": base, "sft": sft}
    model = _fresh(out, trunk, policy, [readers[name] for name in config.readers], config)
    rankings = [*rankings_of(told), *(ranking for part in collected for ranking in rankings_of(part))]
    seen, unseen = _apart([r for r in rankings if r.comparisons()], out.seed, config.validation_share)
    if not seen:
        raise ConfigError("there are no rankings with untied pairs to train a reward model on")
    if config.validation_share and not unseen:
        raise ConfigError(
            f"reward.validation_share {config.validation_share:g} of {len(seen)} rankings is none: raise it"
        )
    groups, watched = (ranked_replies(part, policy, context=config.context) for part in (seen, unseen))
    loaded = LoadedReward(model, policy.tokenizer, policy.chat_format, config.context)
    replies = _replies_to_normalise(out, policy, told, config)
    for part in replies:
        normalise(loaded, part)
    if config.recompute:
        model.trunk.recompute()
    figures = _train(out, model, groups, watched, policy.tokenizer.pad, config)
    place_scores(out, loaded, told, replies, centring=config.centring)
    save_reward(out.path, loaded)
    return out.seal(
        RewardCheckpoint,
        {"rankings": float(len(groups)), **figures, **_held_out(loaded, told, collected)},
    )


def _replies_to_normalise(
    out: Workspace, policy: LoadedModel, told: Snapshot, config: RewardConfig
) -> tuple[TokenSet, ...]:
    """One set, written before the weights change, or none."""
    if not config.normalising_replies:
        return ()
    return (own_replies(out, policy, told, count=config.normalising_replies, context=config.context),)


def join_reward_models(
    out: Workspace,
    members: tuple[RewardCheckpoint, ...],
    told: Snapshot,
    collected: tuple[RankingSet, ...],
    trunk: Checkpoint | None = None,
) -> RewardCheckpoint:
    """One reward model out of several: its score is the mean of theirs. With the `trunk` that their adapters
    belong on, it stays one trunk."""
    shared = SharedTrunk(load_checkpoint(trunk.path, out.plan).decoder) if trunk else None
    loaded = [load_reward(member.path, out.plan, trunk=shared) for member in members]
    joined = replace(loaded[0], model=RewardEnsemble([one for part in loaded for one in part.members]))
    save_reward(out.path, joined)
    return out.seal(RewardCheckpoint, {"members": float(len(members)), **_held_out(joined, told, collected)})


def _fresh(
    out: Workspace,
    trunk: Checkpoint,
    policy: LoadedModel,
    readers: Sequence[Checkpoint],
    config: RewardConfig,
) -> RewardModel:
    """The trunk is the policy's own decoder: the policy itself is not needed afterwards. With adapters it
    stays frozen, and a reader that has the same weights is that trunk without them."""
    torch.manual_seed(out.seed_for("head"))
    own = trunk.digest if config.adapters.rank else ""
    loaded = [
        policy if reader.digest == own else load_checkpoint(reader.path, out.plan) for reader in readers
    ]
    if any(reader.tokenizer.digest != policy.tokenizer.digest for reader in loaded):
        raise ConfigError(
            "the reward model's base has another tokenizer than the policy: give reward_base the same one"
        )
    frozen = [reader.decoder for reader in loaded]
    generator = torch.Generator().manual_seed(out.seed_for("adapters"))
    body = adapted(policy.decoder, config.adapters, generator)
    model = RewardModel(body, frozen, pooling=config.pooling).to(out.plan.device)
    if config.frozen_layers:
        _freeze(model, config.frozen_layers)
    return model


def _freeze(model: RewardModel, count: int) -> None:
    layers = [module for module in model.trunk.modules() if isinstance(module, Layer)]
    if count > len(layers):
        raise ConfigError(f"reward.frozen_layers is {count}, the model has {len(layers)} layers of our own")
    model.trunk.embedding.requires_grad_(False)
    for layer in layers[:count]:
        layer.requires_grad_(False)


def _apart(rankings: Sequence[Ranking], seed: int, share: float) -> tuple[list[Ranking], list[Ranking]]:
    """Rankings to learn from and those to watch, split by their prompts' first words of a user."""
    seen: list[Ranking] = []
    unseen: list[Ranking] = []
    for ranking in rankings:
        first = next((m.text for m in ranking.prompt.messages if m.role == "user"), "")
        number = int.from_bytes(hashlib.sha256(f"{seed}/validation/{first}".encode()).digest()[:4], "big")
        (unseen if number < share * 2**32 else seen).append(ranking)
    return seen, unseen


def _train(
    out: Workspace,
    model: RewardModel,
    groups: RankedReplies,
    unseen: RankedReplies,
    pad: int,
    config: RewardConfig,
) -> dict[str, float]:
    batches = list(_batches(out, len(groups), config))
    optimizer = adam(model.parameters(), weight_decay=config.weight_decay)
    best = _early_stopping(model, unseen, pad, config, len(batches) // config.epochs)
    kept = {"best": best.copy} if best else {}
    state = SavedSteps(out, {"model": model, **kept}, {"model": optimizer})
    for step in state.steps(len(batches)):
        if best and best.exhausted(state.values):
            break
        share = scheduled("cosine", step, len(batches), warmup=config.warmup, floor=config.floor)
        set_rate(optimizer, config.rate * share)
        figures = _step(out, model, groups, batches[step], optimizer, pad, config, step)
        looked = best.look(step, len(batches), state.values) if best else {}
        state.report(len(batches), figures | looked)
    if best:
        best.finish()
    return {name: value for name, value in state.values.items() if name != STALE}


def _early_stopping(
    model: RewardModel, unseen: RankedReplies, pad: int, config: RewardConfig, steps_an_epoch: int
) -> EarlyStopping | None:
    """None where nothing was kept out: the last weights are taken."""
    if not len(unseen):
        return None
    every = config.validate_every or steps_an_epoch
    measure = partial(unseen_loss, model, unseen, pad=pad)
    return EarlyStopping(model, measure, every=every, patience=config.patience)


def _step(
    out: Workspace,
    model: RewardModel,
    groups: RankedReplies,
    chosen: list[int],
    optimizer: AdamW,
    pad: int,
    config: RewardConfig,
    step: int,
) -> dict[str, float]:
    noisy = [*residual_parts(model.trunk), model.hidden]
    seen: list[PreferenceLoss] = []
    losses = preference_losses(
        model,
        groups,
        chosen,
        pad=pad,
        score_penalty=config.score_penalty,
        language_weight=config.language_weight,
        margin=config.margin,
        micro_tokens=config.micro_tokens,
        seen=seen,
    )
    with dropout(noisy, config.dropout, seed=out.seed_for("dropout", step)):
        descend(optimizer, *losses, clip_norm=1.0)
    figures = {
        "loss": sum(part.ranking.loss.item() for part in seen),
        "accuracy": sum(part.ranking.accuracy.item() for part in seen),
    }
    language = {"language_loss": sum(part.language for part in seen)}
    return figures | (language if config.language_weight else {})


def _batches(out: Workspace, count: int, config: RewardConfig) -> Iterator[list[int]]:
    """Which rankings each step sees; none is split, each is seen once an epoch (rule R3)."""
    for epoch in range(config.epochs):
        order = permutation(count, seed=out.seed_for("order", epoch)).tolist()
        yield from (order[n : n + config.batch_rankings] for n in range(0, count, config.batch_rankings))


def _held_out(loaded: LoadedReward, told: Snapshot, collected: tuple[RankingSet, ...]) -> dict[str, float]:
    """Accuracy on rankings that were kept apart, over all and by source."""
    unseen: list[Ranking] = list(rankings_of(told, held_out=True))
    if collected:
        unseen += rankings_of(collected[-1], held_out=True)
    figures: dict[str, float] = {}
    for name, estimate in accuracies(loaded, unseen).items():
        key = f"accuracy {name}" if name else "accuracy"
        figures |= {key: estimate.value, f"{key} low": estimate.low, f"{key} high": estimate.high}
        figures[f"{key} n"] = float(estimate.n)
    return figures
