"""The reward model: learns from rankings which reply people prefer.

One ranking of K replies is one batch element with all its pairs (InstructGPT, Eq. 1); every
reply is read once. It starts from the SFT model and reads beside the text how surprising each
token is to the frozen base and SFT models (`model.heads.surprise`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from torch import Tensor

from parley.artifacts import Checkpoint, RankingSet, RewardCheckpoint, Snapshot, Workspace
from parley.config import check_bounds
from parley.errors import ConfigError
from parley.evals.reward_accuracy import accuracies
from parley.labels import Demonstration, Ranking
from parley.model.checkpoint import LoadedModel, load_checkpoint
from parley.model.heads import RewardModel
from parley.model.reward_checkpoint import LoadedReward, save_reward
from parley.rlhf.batches import TokenSet, permutation
from parley.rlhf.exchanges import exchange_tokens
from parley.rlhf.forward import reward_scores, score_all
from parley.rlhf.groups import RankedReplies, group_batch, ranked_replies
from parley.rlhf.loop import SavedSteps, adam, descend, scheduled, set_rate
from parley.rlhf.losses import RankingLoss, ranking_loss
from parley.stages.data import demonstrations_of, rankings_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """Training of the reward model."""

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

    def __post_init__(self) -> None:
        check_bounds(self, epochs=(1, inf), batch_rankings=(1, inf), context=(16, inf), rate=(0, inf))
        check_bounds(self, warmup=(0, inf), floor=(0, 1), score_penalty=(0, inf), centring=(0, inf))


def train_reward_model(
    out: Workspace,
    base: Checkpoint,
    sft: Checkpoint,
    told: Snapshot,
    collected: tuple[RankingSet, ...],
    config: RewardConfig,
) -> RewardCheckpoint:
    """A reward model from the SFT weights, trained on what people ranked and what was collected."""
    policy = load_checkpoint(sft.path, out.plan)
    readers = {"base": base, "sft": sft}
    model = _fresh(out, policy, [readers[name] for name in config.readers])
    rankings = [*rankings_of(told), *(ranking for part in collected for ranking in rankings_of(part))]
    groups = ranked_replies([r for r in rankings if r.comparisons()], policy, context=config.context)
    if not len(groups):
        raise ConfigError("there are no rankings with untied pairs to train a reward model on")
    _train(out, model, groups, policy.tokenizer.pad, config)
    loaded = LoadedReward(model, policy.tokenizer, policy.chat_format, config.context)
    _centre(out, loaded, list(demonstrations_of(told)), config.centring)
    save_reward(out.path, loaded)
    return out.seal(RewardCheckpoint, {"rankings": float(len(groups)), **_held_out(loaded, told, collected)})


def _fresh(out: Workspace, policy: LoadedModel, readers: Sequence[Checkpoint]) -> RewardModel:
    """The trunk is the policy's own decoder: the policy itself is not needed afterwards."""
    torch.manual_seed(out.seed_for("head"))
    frozen = [load_checkpoint(reader.path, out.plan).decoder for reader in readers]
    return RewardModel(policy.decoder, frozen).to(out.plan.device)


def _train(out: Workspace, model: RewardModel, groups: RankedReplies, pad: int, config: RewardConfig) -> None:
    batches = list(_batches(out, len(groups), config))
    optimizer = adam(model.parameters(), weight_decay=config.weight_decay)
    state = SavedSteps(out, {"model": model}, {"model": optimizer})
    for step in state.steps(len(batches)):
        share = scheduled("cosine", step, len(batches), warmup=config.warmup, floor=config.floor)
        set_rate(optimizer, config.rate * share)
        result, scores = _loss(model, groups, batches[step], pad, out.plan.device)
        descend(optimizer, result.loss + config.score_penalty * (scores**2).mean(), clip_norm=1.0)
        figures = {"loss": result.loss.item(), "accuracy": result.accuracy.item()}
        state.report(len(batches), figures)


def _batches(out: Workspace, count: int, config: RewardConfig) -> Iterator[list[int]]:
    """Which rankings each step sees; none is split, each is seen once an epoch (rule R3)."""
    for epoch in range(config.epochs):
        order = permutation(count, seed=out.seed_for("order", epoch)).tolist()
        yield from (order[n : n + config.batch_rankings] for n in range(0, count, config.batch_rankings))


def _loss(
    model: RewardModel, groups: RankedReplies, chosen: list[int], pad: int, device: str
) -> tuple[RankingLoss, Tensor]:
    batch, place = group_batch(groups, chosen, pad=pad, device=device)
    pairs = [
        (place[groups.replies[group][pair.better]], place[groups.replies[group][pair.worse]], n)
        for n, group in enumerate(chosen)
        for pair in groups.pairs[group]
    ]
    better, worse, owner = torch.tensor(pairs, device=device).T
    scores = reward_scores(model, batch)
    return ranking_loss(scores, better, worse, owner, num_groups=len(chosen)), scores


def _centre(
    out: Workspace, loaded: LoadedReward, demonstrations: Sequence[Demonstration], count: int
) -> None:
    """Shift the scores so that demonstrations score 0 in the mean (rule R5)."""
    order = permutation(len(demonstrations), seed=out.seed_for("centring"))[:count]
    found = (_last_exchange(demonstrations[i], loaded) for i in order)
    exchanges = [tokens for tokens in found if tokens]
    examples = TokenSet.of((tokens, [False] * len(tokens)) for tokens in exchanges)
    if len(examples):
        loaded.model.shift += score_all(loaded.model, examples, pad=loaded.tokenizer.pad).mean()


def _last_exchange(demonstration: Demonstration, loaded: LoadedReward) -> list[int]:
    """The last imitated reply to a user's turn with its history; nothing where there is none."""
    messages = demonstration.conversation.messages
    answers = [n for n in demonstration.imitate if n and messages[n - 1].role == "user"]
    if not answers:
        return []
    history = demonstration.conversation.before(answers[-1])
    return exchange_tokens(loaded, history, messages[answers[-1]].text, context=loaded.context)


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
