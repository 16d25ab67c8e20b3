"""Rejection sampling: the policy learns by maximum likelihood from the best of n of its own replies.

PPO's simpler relative, with its prompts, scores and settings, without critic, clipping and price of KL. One
choice of the best of n costs log n - (n-1)/n nats at most; steps add up, so the KL to the reference is
measured as in PPO. What the best of fewer would have scored is kept in `best-of.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW

from parley.artifacts import Checkpoint, RewardCheckpoint, Snapshot, Workspace
from parley.engine.sampler import Completion
from parley.errors import InvariantError
from parley.evals.best_of import best_of_curve, best_of_kl_nats
from parley.evals.statistics import standard_error
from parley.labels import Prompt
from parley.model.checkpoint import LoadedModel, save_checkpoint
from parley.model.language_model import LanguageModel
from parley.rlhf.batches import TokenSet, pack, permutation
from parley.rlhf.forward import over_replies, policy_logprobs
from parley.rlhf.invariants import check_scores
from parley.rlhf.loop import SavedSteps, adam, descend, scheduled, set_rate
from parley.stages.data import gold_scores, prompts_of
from parley.stages.likelihood import likelihood_losses
from parley.stages.ppo import headline, prompt_stream, sample_replies
from parley.stages.ppo_config import PpoConfig
from parley.stages.ppo_models import Judged, load_judged
from parley.stages.scores import reply_texts

CURVE: Final = "best-of.json"


def train_by_rejection(
    out: Workspace,
    start: Checkpoint,
    reference: Checkpoint,
    reward: RewardCheckpoint,
    told: Snapshot,
    config: PpoConfig,
) -> Checkpoint:
    """`start` trained on the replies of its own that `reward` puts first; the KL to `reference` is watched."""
    prompts = prompts_of(told)
    stream = prompt_stream(out, prompts, config)
    models = load_judged(out, start, reference, reward, told, config)
    decoder = models.policy.decoder
    optimizer = adam(decoder.parameters(), eps=1e-5, form=config.adam)
    state = SavedSteps(out, {"policy": decoder}, {"policy": optimizer})
    for step in state.steps(config.steps):
        drawn = _draw(out, models, told, [prompts[n] for n in stream.at(step)], config, step)
        if step == 0:
            _keep_curve(out, drawn)
        figures = _figures(out, models, drawn, config)
        if config.kl_budget_nats and figures["kl_nats"] > config.kl_budget_nats:
            state.report(state.step + 1, figures)
            break
        share = scheduled(
            config.schedule,
            step,
            config.steps,
            warmup=config.warmup,
            floor=config.floor,
            start=config.warmup_start,
        )
        set_rate(optimizer, config.rate * share)
        figures["loss"] = _learn(out, models.policy, drawn, optimizer, config, step)
        state.report(config.steps, figures)
    save_checkpoint(out.path, decoder, models.policy.tokenizer, models.policy.chat_format)
    return out.seal(Checkpoint, headline(out) | {"best_of_kl_nats": best_of_kl_nats(config.best_of)})


@dataclass(frozen=True, slots=True)
class Drawn:
    """n replies to each prompt, prompt by prompt. Replies that never end score minus infinity in `usable`."""

    examples: TokenSet
    completions: Sequence[Completion]
    scores: np.ndarray  # [prompts, n]
    usable: np.ndarray  # [prompts, n]
    gold: np.ndarray | None  # [prompts, n]

    @property
    def best(self) -> list[int]:
        """The best reply to each prompt that has one which ends, as an index of `examples`."""
        n = self.scores.shape[1]
        found = self.usable.argmax(1)
        return [row * n + int(found[row]) for row in range(len(found)) if np.isfinite(self.usable[row]).any()]


def _draw(
    out: Workspace, models: Judged, told: Snapshot, prompts: list[Prompt], config: PpoConfig, step: int
) -> Drawn:
    asked = [prompt for prompt in prompts for _ in range(config.best_of)]
    seed = out.seed_for("rollout", step)
    examples, completions = sample_replies(out, models.policy.decoder, models.policy, asked, seed, config)
    shape = (len(prompts), config.best_of)
    found = models.score(asked, examples, completions)
    check_scores(found)
    scores = found.cpu().numpy().astype(float).reshape(shape)
    ended = np.array([done.ended for done in completions]).reshape(shape)
    gold = gold_scores(told, asked, reply_texts(models.policy, completions))
    known = None if gold is None else np.array(gold).reshape(shape)
    return Drawn(examples, completions, scores, np.where(ended, scores, -np.inf), known)


def _keep_curve(out: Workspace, drawn: Drawn) -> None:
    curve = best_of_curve(drawn.scores, drawn.gold)
    out.file(CURVE).write_text(json.dumps({"prompts": len(drawn.scores), "curve": curve}, indent=1))


@torch.no_grad()
def _figures(out: Workspace, models: Judged, drawn: Drawn, config: PpoConfig) -> dict[str, float]:
    """All n replies are fair draws; the KL is measured on the first to each prompt."""
    first = range(0, len(drawn.examples), config.best_of)
    some = TokenSet.of(drawn.examples.example(n) for n in first)

    def logprobs(decoder: LanguageModel) -> Tensor:
        return over_replies(
            some,
            lambda replies: policy_logprobs(decoder, replies, temperature=config.temperature),
            pad=models.policy.tokenizer.pad,
            device=out.plan.device,
        )

    kl = (logprobs(models.policy.decoder) - logprobs(models.reference)).sum(1)
    figures = {
        "score": float(drawn.scores.mean()),
        "best_score": float(drawn.scores.max(1).mean()),
        "kl_nats": float(kl.mean()),
        "kl_nats se": standard_error(kl.tolist()),
        "length_tokens": float(np.mean([len(done.tokens) for done in drawn.completions])),
        "ended": float(np.mean([done.ended for done in drawn.completions])),
    }
    if drawn.gold is not None:
        figures |= {"gold": float(drawn.gold.mean()), "gold se": standard_error(drawn.gold.mean(1).tolist())}
    return figures


def _learn(
    out: Workspace, policy: LoadedModel, drawn: Drawn, optimizer: AdamW, config: PpoConfig, step: int
) -> float:
    """Maximum likelihood of the best replies, in the passes and minibatches of PPO; the mean loss."""
    best = drawn.best
    if not best:
        raise InvariantError(
            f"step {step}: not one of {len(drawn.completions)} replies ends, so there is none to learn from: raise "
            "ppo.max_new_tokens, or train SFT until replies end"
        )
    losses = []
    for epoch in range(config.epochs):
        order = permutation(len(best), seed=out.seed_for("minibatches", step * 1000 + epoch))
        for rows in np.array_split(order, min(config.minibatches, len(best))):
            parts = _losses(policy, drawn.examples, [best[n] for n in rows], config)
            losses.append(descend(optimizer, *parts, clip_norm=1.0).loss)
    return float(np.mean(losses))


def _losses(
    policy: LoadedModel, examples: TokenSet, chosen: list[int], config: PpoConfig
) -> Iterator[Callable[[], Tensor]]:
    (rows,) = pack(examples.lengths, chosen, row_tokens=config.num_tokens, num_rows=len(chosen))
    return likelihood_losses(
        policy.decoder, examples, rows, pad=policy.tokenizer.pad, micro_tokens=config.micro_tokens
    )
