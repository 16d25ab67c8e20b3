"""PPO: the policy moves towards what the reward model scores high, held near the SFT policy.

The order of events is the paper's, in one loop that anybody can read: sample replies, score them,
shape rewards with the KL to the reference, estimate advantages, update policy and critic
(`stages.ppo_update`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import nn

from parley.artifacts import Checkpoint, RewardCheckpoint, Snapshot, Workspace
from parley.engine.sampler import Completion, sample
from parley.errors import ConfigError
from parley.evals.statistics import standard_error
from parley.labels import Prompt
from parley.model.checkpoint import LoadedModel, save_checkpoint
from parley.model.heads import RewardCritic
from parley.model.language_model import LanguageModel
from parley.rlhf.batches import ReplyBatch, TokenSet
from parley.rlhf.control import adapted_price
from parley.rlhf.copies import WeightCopy
from parley.rlhf.exchanges import history_tokens
from parley.rlhf.forward import over_replies, policy_logprobs, state_and_end_values, state_values
from parley.rlhf.guards import group_means, guard_starts, watch
from parley.rlhf.invariants import (
    FINDINGS,
    TOLERANCE,
    Findings,
    check_rollout,
    check_scores,
    symptoms,
)
from parley.rlhf.loop import SavedSteps, adam
from parley.rlhf.losses import k3
from parley.rlhf.prompts import PromptStream
from parley.rlhf.rollout import RolloutBatch, final_scores, rollout_tokens, sampler_gap
from parley.stages.data import gold_scores, group_of, prompts_of
from parley.stages.ppo_config import PpoConfig
from parley.stages.ppo_models import Models, load_models
from parley.stages.ppo_update import WAITED, update
from parley.stages.samples import kept_samples
from parley.stages.scores import reply_texts

WATCHED: Final = 20  # steps between two comparisons of the sampler's numbers with the learner's
PRICE: Final = "kl_coefficient"  # β, among the saved values


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
    stream = prompt_stream(out, prompts, config)
    models = load_models(out, start, reference, reward, told, config)
    optimizers = {
        "policy": adam(models.policy.decoder.parameters(), eps=1e-5, form=config.adam),
        "value": adam(models.value.parameters(), eps=1e-5, form=config.adam),
    }
    average = WeightCopy(models.policy.decoder) if config.ema_decay else None
    modules: dict[str, nn.Module] = {"policy": models.policy.decoder, "value": models.value}
    modules |= {"average": average} if average else {}
    state = SavedSteps(out, modules, optimizers)
    findings = Findings(out.file(FINDINGS))
    findings.rewind(state.step)
    if "score_mean" not in state.values:
        state.values |= reference_scores(out, models, prompts, config)
        use_units(models, state.values)
    for step in state.steps(config.steps):
        batch_prompts = [prompts[n] for n in stream.at(step)]
        rollout, figures = roll_out(out, models, batch_prompts, state.values, config, step)
        means = group_means([group_of(prompt) for prompt in batch_prompts], rollout.scores.tolist())
        fallen = watch(state.values, means, drop=config.guard_drop)
        figures |= {f"score {name}": value for name, value in means.items()}
        if fallen or (config.kl_budget_nats and figures["kl_nats"] > config.kl_budget_nats):
            state.report(state.step + 1, figures)
            break
        price = state.values.get(PRICE, config.kl_coefficient)
        figures |= update(out, models, rollout, optimizers, state.values, config, step, price)
        if config.kl_target_nats:
            figures["kl_coefficient"] = price
            state.values[PRICE] = _next_price(price, figures["kl_nats"], config)
        for finding in symptoms(state.values, figures, learning=WAITED in state.values):
            findings.tell(step + 1, finding)
        if average:
            average.average(models.policy.decoder, decay=config.ema_decay)
        state.report(config.steps, figures)
    if average:
        average.give(models.policy.decoder)
    save_checkpoint(out.path, models.policy.decoder, models.policy.tokenizer, models.policy.chat_format)
    return out.seal(Checkpoint, headline(out) | {"findings": float(len(findings.rows()))})


def prompt_stream(out: Workspace, prompts: Sequence[Prompt], config: PpoConfig) -> PromptStream:
    """Which prompts each step sees."""
    if not prompts:
        raise ConfigError("the data section gives no prompts to train PPO on")
    return PromptStream.of(
        [group_of(prompt) for prompt in prompts],
        config.balance,
        batch=config.batch,
        steps=config.steps,
        seed=out.seed_for("prompts"),
    )


def use_units(models: Models, values: dict[str, float]) -> None:
    """A critic that starts from the reward model speaks of normalised scores, as PPO does."""
    if isinstance(models.value, RewardCritic):
        models.value.use_units(values["score_mean"], values["score_deviation"])


def _next_price(price: float, kl_nats: float, config: PpoConfig) -> float:
    return adapted_price(
        price, kl_nats, target_nats=config.kl_target_nats, replies=config.batch, horizon=config.kl_horizon
    )


def sample_replies(
    out: Workspace,
    decoder: LanguageModel,
    speaker: LoadedModel,
    prompts: Sequence[Prompt],
    seed: int,
    config: PpoConfig,
    *,
    tells: bool = False,
) -> tuple[TokenSet, list[Completion]]:
    """A reply by `decoder` to each prompt, with the tokens of both, which are `speaker`'s; with their
    log-probabilities if it `tells`."""
    histories = [
        history_tokens(speaker, prompt.conversation, max_tokens=config.max_prompt_tokens)
        for prompt in prompts
    ]
    completions = sample(
        decoder,
        histories,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        end_id=speaker.tokenizer.end,
        generator=torch.Generator(out.plan.device).manual_seed(seed),
        batch_size=len(histories),
        logprobs=tells,
    )
    return rollout_tokens(histories, completions), completions


def reference_scores(
    out: Workspace, models: Models, prompts: Sequence[Prompt], config: PpoConfig
) -> dict[str, float]:
    """Mean and deviation of the raw scores of the reference's own replies."""
    one_step = replace(config, batch=config.normalising_replies, minibatches=1, steps=1)
    stream = prompt_stream(out, prompts, one_step)
    chosen = [prompts[n] for n in stream.at(0)]
    examples, completions = sample_replies(
        out, models.reference, models.policy, chosen, out.seed_for("normaliser"), config
    )
    scores = models.score(chosen, examples, completions)
    check_scores(scores)
    mean = float(scores.mean()) if config.normalise else 0.0
    deviation = max(float(scores.std(unbiased=False)), 1e-6) if config.normalise else 1.0
    starts = group_means([group_of(prompt) for prompt in chosen], ((scores - mean) / deviation).tolist())
    values = {"score_mean": mean, "score_deviation": deviation, "reference_score": float(scores.mean())}
    return values | guard_starts(starts)


@torch.no_grad()
def roll_out(
    out: Workspace,
    models: Models,
    prompts: Sequence[Prompt],
    values: dict[str, float],
    config: PpoConfig,
    step: int,
) -> tuple[RolloutBatch, dict[str, float]]:
    """One batch of replies with everything known about them, and its figures."""
    seed = out.seed_for("rollout", step)
    tells = step % WATCHED == 0
    examples, completions = sample_replies(
        out, models.policy.decoder, models.policy, prompts, seed, config, tells=tells
    )
    everywhere = partial(over_replies, examples, pad=models.policy.tokenizer.pad, device=out.plan.device)
    logprobs = partial(policy_logprobs, temperature=config.temperature)
    raw = models.score(prompts, examples, completions)
    check_scores(raw)
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
        _end_values(models, examples, config),
    )
    figures = {
        "score": float(raw.mean()),
        "kl_nats": float(rollout.kl.mean()),
        "kl_nats se": standard_error(rollout.kl.tolist()),
        "kl_k3_nats": float(k3(rollout.logprobs - rollout.ref_logprobs).sum(1).mean()),
        "length_tokens": float(rollout.mask.sum(1).float().mean()),
        "ended": float(np.mean(ended)),
    }
    if tells:
        figures["sampler_gap"] = sampler_gap(completions, rollout.logprobs, rollout.mask)
    check_rollout(figures, tolerance=TOLERANCE[out.plan.linear], step=step)
    gold = gold_scores(models.told, prompts, reply_texts(models.policy, completions))
    if gold is not None:
        figures |= {"gold": float(np.mean(gold)), "gold se": standard_error(gold)}
    shown = kept_samples(models.policy, prompts, completions, score=raw, kl_nats=rollout.kl, gold=gold)
    out.keep(step + 1, shown)
    return rollout, figures


def _end_values(models: Models, examples: TokenSet, config: PpoConfig) -> torch.Tensor:
    """What the critic says after each reply's last token, where the score is paid there; else 0."""
    device = str(models.policy.decoder.device)
    if config.score_slot == "end":
        return torch.zeros(len(examples), device=device)

    def read(replies: ReplyBatch) -> torch.Tensor:
        return state_and_end_values(models.value, replies)[1][:, None]

    return over_replies(examples, read, pad=models.policy.tokenizer.pad, device=device)[:, 0]


def _no_end_score(values: dict[str, float], config: PpoConfig) -> float:
    """In normalised units."""
    if config.no_end != "replace-raw":
        return config.no_end_score
    return (config.no_end_score - values["score_mean"]) / values["score_deviation"]


def headline(out: Workspace) -> dict[str, float]:
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
