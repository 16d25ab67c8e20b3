"""PPO: the policy moves towards what the reward model scores high, held near the SFT policy.

The order of events is the paper's, in one loop that anybody can read: sample replies, score them,
shape rewards with the KL to the reference, estimate advantages, update policy and critic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Final, Literal

import numpy as np
import torch
from torch.optim import AdamW

from parley.artifacts import Checkpoint, RewardCheckpoint, Snapshot, Workspace
from parley.config import check_bounds
from parley.engine.sampler import Completion, sample
from parley.errors import ConfigError, InvariantError
from parley.evals.statistics import standard_error
from parley.labels import Prompt
from parley.model.adapters import AdaptedModel, AdapterConfig, SharedTrunk
from parley.model.checkpoint import LoadedModel, load_checkpoint, save_checkpoint
from parley.model.heads import ValueModel
from parley.model.language_model import LanguageModel
from parley.rlhf.advantages import explained_variance
from parley.rlhf.batches import TokenSet, permutation, reply_batch
from parley.rlhf.control import adapted_price
from parley.rlhf.copies import WeightCopy
from parley.rlhf.exchanges import history_tokens
from parley.rlhf.forward import over_replies, policy_logprobs, state_values
from parley.rlhf.guards import group_means, guard_starts, watch
from parley.rlhf.loop import SavedSteps, adam, descend, scheduled, set_rate
from parley.rlhf.losses import ppo_policy_loss, ppo_value_loss
from parley.rlhf.rollout import NoEnd, PpoBatch, RolloutBatch, estimate, final_scores, rollout_tokens
from parley.stages.data import gold_scores, group_of, prompts_of
from parley.stages.ptx import Pretraining, pretraining
from parley.stages.scores import ScoreReplies, gold_score, model_score, reply_texts

PRICE: Final = "kl_coefficient"  # β, among the saved values
RATIO_TOLERANCE: Final = {"float32": 2e-3, "bfloat16": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoConfig:
    """Reinforcement learning against the reward model."""

    reward: Literal["model", "gold"] = "model"
    """Who scores: the reward model, or the world's exact truth (a diagnosis: it separates a broken
    PPO from a bad reward model)."""
    steps: int = 40
    """Rollout-and-update steps."""
    batch: int = 128
    """Replies a step."""
    epochs: int = 2
    """Passes over each rollout."""
    minibatches: int = 2
    """Optimizer steps a pass."""
    rate: float = 4e-4
    """Peak learning rate of the policy."""
    value_rate: float = 8e-4
    """Peak learning rate of the critic."""
    warmup: int = 5
    """Steps of linear warm-up; then the rates fall linearly to 0."""
    value_only_steps: int = 2
    """First steps in which only the critic learns (rule P20)."""
    kl_coefficient: float = 0.08
    """β: price of one nat of KL to the reference, in units of normalised score."""
    kl_target_nats: float = 0.0
    """KL of a reply that β is adapted to hold, from `kl_coefficient` on (rule P6); 0 keeps β as it is."""
    kl_horizon: float = 10_000.0
    """Replies over which β would change by its own size where the KL is far off its target."""
    kl_budget_nats: float = 0.0
    """Mean KL of a reply at which training stops, with the policy that reached it; 0 is no limit."""
    guard_drop: float = 0.0
    """How far the mean normalised score of any kind of prompt may fall below the reference's, smoothed
    over steps, before training stops; 0 is no guard."""
    clip: float = 0.2
    """Range of the policy's ratio around 1 (rule P10)."""
    value_clip: float = 0.2
    """Range of a value around its old one (rule P11)."""
    trace_decay: float = 0.95
    """λ of generalised advantage estimation (rule P7)."""
    temperature: float = 1.0
    """Of sampling, and of every log-probability (rule P1)."""
    max_new_tokens: int = 32
    """Longest reply."""
    max_prompt_tokens: int = 96
    """Longest history; older turns are dropped."""
    normalise: bool = True
    """Whether scores are brought to mean 0 and deviation 1 on the reference's replies (rule R6)."""
    normalising_replies: int = 256
    """Replies of the reference that this is measured on."""
    score_limit: float = 4.0
    """Scores beyond are cut off, in normalised units."""
    no_end: NoEnd = "replace"
    """What becomes of the score of a reply that never ends (rule P16): it is replaced by `no_end_score`
    in normalised units, or in the reward model's own (`replace-raw`), or that is added to it."""
    no_end_score: float = -2.0
    """Score of a reply that never ends, or what is added to it."""
    ema_decay: float = 0.0
    """Of the moving average of the policy's weights over steps, which is what the stage gives (rule P21;
    InstructGPT: 0.992); 0 gives the last weights."""
    ptx_coefficient: float = 0.0
    """γ: weight of pretraining's gradient in every policy step (rule P22); 0 leaves it out."""
    ptx_examples: int = 8
    """Pieces of documents in a minibatch for each of its replies."""
    ptx_tokens: int = 0
    """Tokens of documents in a minibatch instead, whatever its replies; 0 counts by replies."""
    ptx_row_tokens: int = 128
    """Tokens of a piece at most."""
    adapters: AdapterConfig = field(default_factory=AdapterConfig)
    """Low-rank adapters for policy and critic, on one trunk with the reference; the checkpoint holds the
    policy's merged."""

    def __post_init__(self) -> None:
        check_bounds(self, steps=(1, inf), batch=(2, inf), epochs=(1, inf), minibatches=(1, self.batch // 2))
        check_bounds(self, rate=(0, inf), value_rate=(0, inf), warmup=(0, inf), value_only_steps=(0, inf))
        check_bounds(self, kl_coefficient=(0, inf), kl_budget_nats=(0, inf), guard_drop=(0, inf))
        check_bounds(self, clip=(1e-6, 1), value_clip=(1e-6, inf))
        check_bounds(self, trace_decay=(0, 1), temperature=(1e-3, inf), max_new_tokens=(1, inf))
        check_bounds(self, max_prompt_tokens=(8, inf), normalising_replies=(2, inf), score_limit=(0, inf))
        check_bounds(self, no_end_score=(-inf, inf), kl_target_nats=(0, inf), kl_horizon=(1, inf))
        check_bounds(self, ema_decay=(0, 1), ptx_coefficient=(0, inf), ptx_examples=(1, inf))
        check_bounds(self, ptx_tokens=(0, inf), ptx_row_tokens=(8, inf))
        if self.kl_target_nats and not self.kl_coefficient:
            raise ValueError("kl_target_nats needs a kl_coefficient above 0 to begin with")
        if self.ema_decay == 1:
            raise ValueError("ema_decay 1 would give the policy as it was; it is below 1")

    @property
    def ptx_pieces(self) -> int:
        """Pieces of documents in a minibatch."""
        if self.ptx_tokens:
            return max(1, self.ptx_tokens // self.ptx_row_tokens)
        return self.ptx_examples * -(-self.batch // self.minibatches)


@dataclass(frozen=True, slots=True)
class Models:
    """Everything that a step passes through. Policy and value learn; the reference never does."""

    policy: LoadedModel
    reference: LanguageModel
    value: ValueModel
    score: ScoreReplies
    told: Snapshot
    ptx: Pretraining | None


def train_ppo(
    out: Workspace,
    start: Checkpoint,
    reference: Checkpoint,
    reward: RewardCheckpoint,
    told: Snapshot,
    config: PpoConfig,
) -> Checkpoint:
    """`start` trained against `reward`, with the KL to `reference` (this run's SFT policy) as price."""
    prompts = prompts_of(told)
    if not prompts:
        raise ConfigError("the data section gives no prompts to train PPO on")
    models = _load(out, start, reference, reward, told, config)
    optimizers = {
        "policy": adam(models.policy.decoder.parameters(), eps=1e-5),
        "value": adam(models.value.parameters(), eps=1e-5),
    }
    average = WeightCopy(models.policy.decoder) if config.ema_decay else None
    modules = {"policy": models.policy.decoder, "value": models.value}
    modules |= {"average": average} if average else {}
    state = SavedSteps(out, modules, optimizers)
    if "score_mean" not in state.values:
        state.values |= _reference_scores(out, models, prompts, config)
    for step in state.steps(config.steps):
        batch_prompts = [prompts[(step * config.batch + n) % len(prompts)] for n in range(config.batch)]
        rollout, figures = _roll_out(out, models, batch_prompts, state.values, config, step)
        means = group_means([group_of(prompt) for prompt in batch_prompts], rollout.scores.tolist())
        fallen = watch(state.values, means, drop=config.guard_drop)
        figures |= {f"score {name}": value for name, value in means.items()}
        if fallen or (config.kl_budget_nats and figures["kl_nats"] > config.kl_budget_nats):
            state.report(state.step + 1, figures)
            break
        price = state.values.get(PRICE, config.kl_coefficient)
        figures |= _update(out, models, rollout, optimizers, config, step, price)
        if config.kl_target_nats:
            figures["kl_coefficient"] = price
            state.values[PRICE] = _next_price(price, figures["kl_nats"], config)
        if average:
            average.average(models.policy.decoder, decay=config.ema_decay)
        state.report(config.steps, figures)
    if average:
        average.give(models.policy.decoder)
    save_checkpoint(out.path, models.policy.decoder, models.policy.tokenizer, models.policy.chat_format)
    return out.seal(Checkpoint, _headline(out))


def _load(
    out: Workspace,
    start: Checkpoint,
    reference: Checkpoint,
    reward: RewardCheckpoint,
    told: Snapshot,
    config: PpoConfig,
) -> Models:
    policy, frozen, critic = _learners(out, start, reference, config.adapters)
    _check_room(policy, config)
    value = ValueModel(critic).to(out.plan.device)
    needed = config.max_prompt_tokens + config.max_new_tokens
    score = (
        gold_score(told, policy)
        if config.reward == "gold"
        else model_score(out, reward, policy, num_tokens=needed)
    )
    return Models(policy, frozen, value, score, told, _ptx(out, policy, told, config))


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
    )


def _next_price(price: float, kl_nats: float, config: PpoConfig) -> float:
    return adapted_price(
        price, kl_nats, target_nats=config.kl_target_nats, replies=config.batch, horizon=config.kl_horizon
    )


def _check_room(policy: LoadedModel, config: PpoConfig) -> None:
    needed, room = config.max_prompt_tokens + config.max_new_tokens, policy.decoder.config.max_positions
    if needed > room:
        raise ConfigError(
            f"ppo: max_prompt_tokens and max_new_tokens make {needed} tokens together, the model's context has {room}"
        )
    if config.ptx_coefficient and config.ptx_row_tokens > room:
        raise ConfigError(f"ppo: ptx_row_tokens is {config.ptx_row_tokens}, the model's context has {room}")


def _sampled(
    out: Workspace,
    decoder: LanguageModel,
    models: Models,
    prompts: Sequence[Prompt],
    seed: int,
    config: PpoConfig,
) -> tuple[TokenSet, list[Completion]]:
    histories = [
        history_tokens(models.policy, prompt.conversation, max_tokens=config.max_prompt_tokens)
        for prompt in prompts
    ]
    completions = sample(
        decoder,
        histories,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        end_id=models.policy.tokenizer.end,
        generator=torch.Generator(out.plan.device).manual_seed(seed),
        batch_size=len(histories),
    )
    return rollout_tokens(histories, completions), completions


def _reference_scores(
    out: Workspace, models: Models, prompts: Sequence[Prompt], config: PpoConfig
) -> dict[str, float]:
    """Mean and deviation of the raw scores of the reference's own replies."""
    chosen = [prompts[n % len(prompts)] for n in range(config.normalising_replies)]
    examples, completions = _sampled(
        out, models.reference, models, chosen, out.seed_for("normaliser"), config
    )
    scores = models.score(chosen, examples, completions)
    mean = float(scores.mean()) if config.normalise else 0.0
    deviation = max(float(scores.std(unbiased=False)), 1e-6) if config.normalise else 1.0
    starts = group_means([group_of(prompt) for prompt in chosen], ((scores - mean) / deviation).tolist())
    values = {"score_mean": mean, "score_deviation": deviation, "reference_score": float(scores.mean())}
    return values | guard_starts(starts)


@torch.no_grad()
def _roll_out(
    out: Workspace,
    models: Models,
    prompts: Sequence[Prompt],
    values: dict[str, float],
    config: PpoConfig,
    step: int,
) -> tuple[RolloutBatch, dict[str, float]]:
    """One batch of replies with everything known about them, and its figures."""
    seed = out.seed_for("rollout", step)
    examples, completions = _sampled(out, models.policy.decoder, models, prompts, seed, config)
    everywhere = partial(over_replies, examples, pad=models.policy.tokenizer.pad, device=out.plan.device)
    logprobs = partial(policy_logprobs, temperature=config.temperature)
    raw = models.score(prompts, examples, completions)
    ended = [done.ended for done in completions]
    scores = final_scores(
        (raw - values["score_mean"]) / values["score_deviation"],
        ended,
        no_end_score=_no_end_score(values, config),
        limit=config.score_limit,
        no_end=config.no_end,
    )
    rollout = RolloutBatch(
        examples,
        everywhere(lambda replies: replies.mask),
        everywhere(partial(logprobs, models.policy.decoder)),
        everywhere(partial(logprobs, models.reference)),
        everywhere(partial(state_values, models.value)),
        scores,
    )
    figures = {
        "score": float(raw.mean()),
        "kl_nats": float(rollout.kl.mean()),
        "length_tokens": float(rollout.mask.sum(1).float().mean()),
        "ended": float(np.mean(ended)),
    }
    gold = gold_scores(models.told, prompts, reply_texts(models.policy, completions))
    if gold is not None:
        figures |= {"gold": float(np.mean(gold)), "gold se": standard_error(gold)}
    return rollout, figures


def _no_end_score(values: dict[str, float], config: PpoConfig) -> float:
    """In normalised units."""
    if config.no_end != "replace-raw":
        return config.no_end_score
    return (config.no_end_score - values["score_mean"]) / values["score_deviation"]


def _update(
    out: Workspace,
    models: Models,
    rollout: RolloutBatch,
    optimizers: dict[str, AdamW],
    config: PpoConfig,
    step: int,
    kl_coefficient: float,
) -> dict[str, float]:
    """Policy and critic on one rollout, a fresh order in every pass (rule P23)."""
    share = scheduled("linear", step, config.steps, warmup=config.warmup)
    set_rate(optimizers["policy"], config.rate * share)
    set_rate(optimizers["value"], config.value_rate * share)
    ppo = estimate(rollout, kl_coefficient=kl_coefficient, trace_decay=config.trace_decay)
    seen: list[dict[str, float]] = []
    for epoch in range(config.epochs):
        order = permutation(len(rollout.scores), seed=out.seed_for("minibatches", step * 1000 + epoch))
        for rows in np.array_split(order, config.minibatches):
            first = not seen
            number = step * config.epochs * config.minibatches + len(seen)
            seen.append(_minibatch(models, ppo, rows.tolist(), optimizers, config, step, number))
            if first:
                _check_first_ratio(seen[0]["ratio_gap"], out, step)
    figures = {name: float(np.mean([item[name] for item in seen])) for name in seen[0] if name != "ratio_gap"}
    figures["explained_variance"] = explained_variance(rollout.values, ppo.returns, rollout.mask)
    return figures


def _minibatch(
    models: Models,
    ppo: PpoBatch,
    rows: Sequence[int],
    optimizers: dict[str, AdamW],
    config: PpoConfig,
    step: int,
    number: int,
) -> dict[str, float]:
    device, pad = str(ppo.advantages.device), models.policy.tokenizer.pad
    replies = reply_batch(ppo.rollout.examples, rows, pad=pad, device=device)
    width = replies.mask.shape[1]
    chosen = torch.tensor(rows, device=device)
    old, advantages = ppo.rollout.logprobs[chosen, :width], ppo.advantages[chosen, :width]
    logprobs = policy_logprobs(models.policy.decoder, replies, temperature=config.temperature)
    policy = ppo_policy_loss(logprobs, old, advantages, replies.mask, clip=config.clip)
    if step >= config.value_only_steps:
        ptx = [models.ptx.loss(models.policy, number=number, count=config.ptx_pieces)] if models.ptx else []
        descend(optimizers["policy"], policy.loss, *ptx, clip_norm=1.0)
    value = ppo_value_loss(
        state_values(models.value, replies),
        ppo.rollout.values[chosen, :width],
        ppo.returns[chosen, :width],
        replies.mask,
        clip=config.value_clip,
    )
    descend(optimizers["value"], value.loss, clip_norm=1.0)
    return {
        "policy_loss": policy.loss.item(),
        "value_loss": value.loss.item(),
        "clip_fraction": policy.clip_fraction.item(),
        "approx_kl": policy.approx_kl.item(),
        "ratio_gap": policy.ratio_gap.item(),
    }


def _check_first_ratio(gap: float, out: Workspace, step: int) -> None:
    """Before any update the policy is the one that sampled: every ratio is 1 (rule P3)."""
    if gap > RATIO_TOLERANCE[out.plan.linear]:
        raise InvariantError(
            f"step {step}: before the first update a probability ratio is {1 + gap:.4f} instead of 1, so old "
            "and new log-probabilities are not computed alike: look for dropout, another temperature or "
            "another numeric plan"
        )


def _headline(out: Workspace) -> dict[str, float]:
    """First and last figures of the run, means over up to five steps."""
    rows = out.metrics.rows()
    names = ("score", "gold", "kl_nats", "length_tokens", "ended", "explained_variance")
    figures = {"steps": float(len(rows))}
    for name in names:
        values = [row[name] for row in rows if name in row]
        if values:
            figures[name] = float(np.mean(values[-5:]))
    if rows:
        figures["first_score"] = float(np.mean([row["score"] for row in rows[:5]]))
    return figures
