"""The update of PPO: policy and critic on one rollout, in passes of minibatches.

A minibatch may be read in several portions; every loss is a share of the mean over all of it, so that the
gradients that gather are those of the minibatch at once (rule P12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW

from parley.artifacts import Workspace
from parley.model.language_model import LanguageModel
from parley.rlhf.advantages import explained_variance, whiten
from parley.rlhf.batches import ReplyBatch, permutation, portions, reply_batch
from parley.rlhf.forward import Critic, policy_logprobs, state_and_end_values, state_values
from parley.rlhf.invariants import TOLERANCE, check_first_minibatch
from parley.rlhf.loop import descend, scheduled, set_rate
from parley.rlhf.losses import ppo_policy_loss, ppo_value_loss
from parley.rlhf.rollout import PpoBatch, RolloutBatch, estimate
from parley.stages.ppo_config import PpoConfig
from parley.stages.ppo_models import Models

WAITED: Final = "the policy learns"  # among the saved values, once it does


def update(
    out: Workspace,
    models: Models,
    rollout: RolloutBatch,
    optimizers: dict[str, AdamW],
    values: dict[str, float],
    config: PpoConfig,
    step: int,
    kl_coefficient: float,
) -> dict[str, float]:
    """Policy and critic on one rollout, a fresh order in every pass (rule P23); the step's figures."""
    _set_rates(optimizers, config, step)
    ppo = estimate(
        rollout,
        kl_coefficient=kl_coefficient,
        trace_decay=config.trace_decay,
        score_slot=config.score_slot,
        whiten_rewards=config.whiten_rewards,
        whiten_advantages=config.whiten == "rollout",
    )
    explained = explained_variance(rollout.values, ppo.returns, rollout.mask)
    learns = policy_learns(values, config, step, explained)
    seen: list[dict[str, float]] = []
    for epoch in range(config.epochs):
        order = permutation(len(rollout.scores), seed=out.seed_for("minibatches", step * 1000 + epoch))
        for rows in np.array_split(order, config.minibatches):
            number = step * config.epochs * config.minibatches + len(seen)
            seen.append(_minibatch(models, ppo, rows.tolist(), optimizers, config, number, learns))
            if len(seen) == 1:
                check_first_minibatch(seen[0], tolerance=TOLERANCE[out.plan.linear], step=step)
    figures = {name: float(np.mean([item[name] for item in seen])) for name in seen[0] if name != "ratio_gap"}
    return figures | {"explained_variance": explained}


def _set_rates(optimizers: dict[str, AdamW], config: PpoConfig, step: int) -> None:
    share = scheduled(
        config.schedule,
        step,
        config.steps,
        warmup=config.warmup,
        floor=config.floor,
        start=config.warmup_start,
    )
    set_rate(optimizers["policy"], config.rate * share)
    set_rate(optimizers["value"], config.value_rate * share)


def policy_learns(values: dict[str, float], config: PpoConfig, step: int, explained: float) -> bool:
    """Whether the critic is good enough for the policy to learn (rule P20); once it was, it stays so."""
    ready = step >= config.value_only_steps and (explained > 0 or step >= config.value_only_limit)
    if ready:
        values[WAITED] = 1.0
    return WAITED in values


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a minibatch: as `replies` in one layout, and `chosen` of the rollout, up to `width`.

    `count` is how many response tokens the whole minibatch has, `rows` how many replies.
    """

    replies: ReplyBatch
    chosen: Tensor
    count: int
    rows: int

    def of(self, figures: Tensor) -> Tensor:
        """These rows of a figure of the rollout."""
        return figures[self.chosen, : self.replies.mask.shape[1]]


def _parts(ppo: PpoBatch, rows: Sequence[int], *, pad: int, micro_tokens: int) -> list[Part]:
    device = ppo.advantages.device
    examples = ppo.rollout.examples
    lengths = examples.lengths[list(rows)]
    count = int(ppo.rollout.mask[torch.tensor(rows, device=device)].sum())
    found = []
    for places in portions(lengths, batch_tokens=micro_tokens or int(lengths.sum())):
        some = [rows[n] for n in places]
        replies = reply_batch(examples, some, pad=pad, device=str(device))
        found.append(Part(replies, torch.tensor(some, device=device), count, len(rows)))
    return found


def _minibatch(
    models: Models,
    ppo: PpoBatch,
    rows: Sequence[int],
    optimizers: dict[str, AdamW],
    config: PpoConfig,
    number: int,
    learns: bool,
) -> dict[str, float]:
    """One step of each optimizer, the policy's where it `learns`; `number` counts minibatches of the run."""
    parts = _parts(ppo, rows, pad=models.policy.tokenizer.pad, micro_tokens=config.micro_tokens)
    advantages = _whitened(ppo, rows) if config.whiten == "minibatch" else ppo.advantages
    seen: dict[str, float] = {}
    decoder = models.policy.decoder
    policy = [partial(_policy_part, decoder, ppo, advantages, part, config, seen) for part in parts]
    if learns:
        ptx = models.ptx.losses(models.policy, number=number, count=config.ptx_pieces) if models.ptx else ()
        descend(optimizers["policy"], *policy, *ptx, clip_norm=1.0)
    else:
        with torch.no_grad():
            for loss in policy:
                loss()
    value = [partial(_value_part, models.value, ppo, part, config, seen) for part in parts]
    descend(optimizers["value"], *value, clip_norm=1.0)
    return seen


def _whitened(ppo: PpoBatch, rows: Sequence[int]) -> Tensor:
    """Advantages with mean 0 and deviation 1 over the rows of one minibatch (OpenAI's scope, rule P9)."""
    chosen = torch.zeros_like(ppo.rollout.mask[:, :1])
    chosen[list(rows)] = True
    return whiten(ppo.advantages, ppo.rollout.mask & chosen)


def _policy_part(
    decoder: LanguageModel,
    ppo: PpoBatch,
    advantages: Tensor,
    part: Part,
    config: PpoConfig,
    seen: dict[str, float],
) -> Tensor:
    """The part's share of the policy's loss; its figures join `seen`."""
    logprobs = policy_logprobs(decoder, part.replies, temperature=config.temperature)
    found = ppo_policy_loss(
        logprobs,
        part.of(ppo.rollout.logprobs),
        part.of(advantages),
        part.replies.mask,
        clip=config.clip,
        count=part.count,
    )
    for name, figure in (
        ("policy_loss", found.loss),
        ("clip_fraction", found.clip_fraction),
        ("approx_kl", found.approx_kl),
    ):
        seen[name] = seen.get(name, 0.0) + figure.item()
    seen["ratio_gap"] = max(seen.get("ratio_gap", 0.0), found.ratio_gap.item())
    return found.loss


def _value_part(
    critic: Critic, ppo: PpoBatch, part: Part, config: PpoConfig, seen: dict[str, float]
) -> Tensor:
    """The part's share of the critic's loss; where the score is paid after the end, the state there counts
    like any other, with the score as its return (rule P5b)."""
    old, returns, mask = part.of(ppo.rollout.values), part.of(ppo.returns), part.replies.mask
    count = part.count
    if config.score_slot == "after":
        values, ends = state_and_end_values(critic, part.replies)
        values = _beside(values, ends)
        old = _beside(old, ppo.rollout.end_values[part.chosen])
        returns = _beside(returns, ppo.rollout.scores[part.chosen])
        mask = _beside(mask, torch.ones_like(mask[:, 0]))
        count += part.rows
    else:
        values = state_values(critic, part.replies)
    found = ppo_value_loss(values, old, returns, mask, clip=config.value_clip, count=count)
    seen["value_loss"] = seen.get("value_loss", 0.0) + found.loss.item()
    return found.loss


def _beside(figures: Tensor, ends: Tensor) -> Tensor:
    return torch.cat([figures, ends[:, None]], 1)
