"""A batch of PPO replayed outside training, to say which rule holds and which does not: `parley doctor`.

From a run's directory are taken the policy (the last one, or SFT before PPO is done), the SFT model,
the reward model, the prompts and the numeric plan. Without a run a small rehearsal on random weights
is checked, which judges this machine and this code alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from parley.artifacts import (
    MANIFEST,
    METRICS,
    Checkpoint,
    RewardCheckpoint,
    Run,
    Snapshot,
    Vocabulary,
    Workspace,
    open_artifact,
    read_manifest,
)
from parley.config import build
from parley.errors import ArtifactError, ConfigError, InvariantError
from parley.metrics import MetricsFile, Pace, Silent
from parley.model.checkpoint import load_checkpoint, save_checkpoint
from parley.model.decoder import Decoder, DecoderConfig
from parley.model.heads import RewardModel
from parley.model.render import ChatFormat
from parley.model.reward_checkpoint import REWARD_FILE, LoadedReward, load_reward, save_reward
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.rlhf.advantages import shaped_rewards
from parley.rlhf.batches import TokenSet
from parley.rlhf.checkup import (
    Check,
    advantages_are_whitened,
    first_ratio_is_one,
    kl_estimates_agree,
    no_dropout,
    padding_changes_nothing,
    replies_end_once,
    rewards_add_up,
    sampler_agrees,
    scores_stand_alone,
)
from parley.rlhf.forward import over_replies, policy_logprobs, score_all
from parley.rlhf.invariants import FINDINGS, Findings
from parley.rlhf.rollout import RolloutBatch, estimate
from parley.stages.base import BaseConfig, fit_tokenizer
from parley.stages.data import prompts_of, take_snapshot
from parley.stages.ppo import reference_scores, roll_out, use_units
from parley.stages.ppo_config import PpoConfig
from parley.stages.ppo_models import Models, load_models
from parley.stages.rules import is_rule
from parley.stages.sources import MicroworldData, MicroworldSource

MOST_REPLAYED: Final = 256  # replies; else the run's own batch
REHEARSED: Final = 64
PLAN: Final = "plan.json"
FIFTH: Final = 5
OPINION: Final = 15.0  # times the usual size of the output matrix: logits differ by about 1.7 nats


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run has for a replay."""

    policy: Checkpoint
    sft: Checkpoint
    reward: RewardCheckpoint
    told: Snapshot
    plan: NumericPlan
    config: PpoConfig
    policy_label: str


def take_run(run: Path) -> Taken:
    """The newest sealed artifacts of a run; `ArtifactError` says which stage is not there yet."""
    found = _newest(run)
    policy = next((label for label in sorted(found, reverse=True) if label.startswith("ppo ")), "sft")
    number = policy.partition(" ")[2] or "1"
    for label in ("data", "sft", f"reward {number}"):
        if label not in found:
            raise ArtifactError(
                f"{run}: the stage '{label}' is not finished, so there is no PPO batch to replay"
            )
    return Taken(
        policy=open_artifact(Checkpoint, found[policy]),
        sft=open_artifact(Checkpoint, found["sft"]),
        reward=open_artifact(RewardCheckpoint, _judge(found, policy, found[f"reward {number}"])),
        told=open_artifact(Snapshot, found["data"]),
        plan=build(NumericPlan, json.loads((run / PLAN).read_text(encoding="utf-8")), str(run / PLAN)),
        config=_config(found[policy]),
        policy_label=policy,
    )


def _judge(found: Mapping[str, Path], policy: str, usual: Path) -> Path:
    """The reward model that PPO obeyed, by digest; `usual` before it is done. `ArtifactError` for a rule."""
    inputs = read_manifest(found[policy])["inputs"]
    obeyed = {item["digest"] for item in inputs if item.get("artifact") == "RewardCheckpoint"}
    path = next((path for path in found.values() if read_manifest(path)["digest"] in obeyed), usual)
    if not (path / REWARD_FILE).exists():
        raise ArtifactError(f"{path} is no reward model: there are no scores of one to replay")
    return path


def _newest(run: Path) -> dict[str, Path]:
    manifests = {path.parent: read_manifest(path.parent) for path in run.glob(f"*/{MANIFEST}")}
    ordered = sorted(manifests, key=lambda path: manifests[path]["finished"])
    return {str(manifests[path]["label"]): path for path in ordered}


def _config(policy: Path) -> PpoConfig:
    """That of the policy, where it is PPO's; keys that this version does not know are its own."""
    inputs = read_manifest(policy)["inputs"]
    found: dict[str, Any] = next((item["value"] for item in inputs if item.get("config") == "PpoConfig"), {})
    return build(PpoConfig, found, f"{policy / MANIFEST}: PpoConfig") if found else PpoConfig()


def rehearsal(path: Path, plan: NumericPlan) -> Taken:
    """A tiny policy, reward model and world with random weights."""
    run = Run(path, seed=1, plan=plan)
    data = MicroworldData(documents=60, demonstrations=60, instructions=5, prompts=40)
    told = run.once("data", take_snapshot, MicroworldSource(data, 1))
    words = run.once("tokenizer", fit_tokenizer, told, BaseConfig(vocab_size=400))
    sft, policy = (run.once(label, _random_policy, words, n) for n, label in enumerate(("sft", "ppo 1")))
    reward = run.once("reward 1", _random_reward, words)
    config = PpoConfig(batch=REHEARSED, max_new_tokens=12, normalising_replies=REHEARSED)
    return Taken(policy, sft, reward, told, plan, config, "a rehearsal with random weights")


@torch.no_grad()
def _random(tokenizer: Tokenizer, seed: int) -> Decoder:
    """With an opinion: from even odds any sampler draws alike, and nothing would show."""
    shape = DecoderConfig(
        vocab_size=tokenizer.vocab_size,
        width=32,
        layers=2,
        heads=2,
        kv_heads=2,
        mlp_width=64,
        max_positions=256,
        tied=False,
    )
    decoder = Decoder(shape).initialise(torch.Generator().manual_seed(seed))
    decoder.head_weight.mul_(OPINION)
    return decoder


def _random_policy(out: Workspace, words: Vocabulary, seed: int) -> Checkpoint:
    tokenizer = Tokenizer.load(words.path)
    save_checkpoint(out.path, _random(tokenizer, seed), tokenizer, ChatFormat())
    return out.seal(Checkpoint, {})


def _random_reward(out: Workspace, words: Vocabulary) -> RewardCheckpoint:
    tokenizer = Tokenizer.load(words.path)
    model = RewardModel(_random(tokenizer, 7), [])
    save_reward(out.path, LoadedReward(model, tokenizer, ChatFormat(), 256))
    return out.seal(RewardCheckpoint, {})


def replay(taken: Taken, scratch: Path) -> list[Check]:
    """One batch of the policy's replies, with every check of it."""
    count = min(taken.config.batch, MOST_REPLAYED)
    config = replace(
        taken.config, batch=count, minibatches=2, normalising_replies=count, reward="model", method="ppo"
    )
    if is_rule(taken.reward):
        raise ConfigError("the judge of this run is a rule, and the doctor replays with reward models alone")
    scratch.mkdir(parents=True, exist_ok=True)
    out = Workspace(scratch, "doctor", 1, taken.plan, Silent(), {}, Pace())
    judge = load_reward(taken.reward.path, taken.plan)
    found = _pair(taken, judge)
    if not all(item.holds for item in found):
        return found  # what is sampled with models that do not fit says nothing
    models = load_models(out, taken.policy, taken.sft, taken.reward, taken.told, config)
    return found + _batch_checks(out, models, judge, config)


def _pair(taken: Taken, judge: LoadedReward) -> list[Check]:
    """What must fit before anything is sampled."""
    policy = load_checkpoint(taken.policy.path, taken.plan)
    tokenizer = policy.tokenizer
    needed = taken.config.max_prompt_tokens + taken.config.max_new_tokens
    return [
        Check(
            "pad and end are different tokens",
            tokenizer.pad != tokenizer.end,
            f"pad {tokenizer.pad}, end {tokenizer.end}",
            "give the tokenizer a pad token of its own: with pad = end the end of a reply is masked away",
        ),
        Check(
            "reward model and policy share a tokenizer",
            judge.tokenizer.digest == tokenizer.digest,
            f"{judge.tokenizer.vocab_size} and {tokenizer.vocab_size} tokens",
            "train the reward model on this run's SFT model: scores of other tokens mean nothing",
        ),
        Check(
            "reward model and policy share the chat format",
            judge.chat_format == policy.chat_format,
            f"{judge.chat_format.name or 'default'} and {policy.chat_format.name or 'default'}",
            "train the reward model anew in this format: another template shifts every score",
        ),
        Check(
            "the reward model reads whole replies",
            judge.context >= needed,
            f"context {judge.context}, PPO makes up to {needed} tokens",
            "raise reward.context, or lower ppo.max_prompt_tokens and ppo.max_new_tokens",
        ),
    ]


@torch.no_grad()
def _batch_checks(out: Workspace, models: Models, judge: LoadedReward, config: PpoConfig) -> list[Check]:
    every = prompts_of(models.told)
    prompts = [every[n % len(every)] for n in range(config.batch)]
    values = reference_scores(out, models, prompts, config)
    use_units(models, values)
    try:
        rollout, _ = roll_out(out, models, prompts, values, config, 0)
    except InvariantError as error:
        return [Check("a batch can be sampled", False, str(error), "the sentence says where to look")]
    tokenizer, plan = models.policy.tokenizer, out.plan
    heat, policy = config.temperature, models.policy.decoder

    def logprobs(pad: int) -> Tensor:
        read = partial(policy_logprobs, policy, temperature=heat)
        return over_replies(rollout.examples, read, pad=pad, device=plan.device)

    def score(rows: Sequence[int]) -> Tensor:
        some = TokenSet.of(rollout.examples.example(n) for n in rows)
        return score_all(judge.model, some, pad=tokenizer.pad)

    first = list(range(0, config.batch, 2))
    return [
        sampler_agrees(policy, rollout.examples, pad=tokenizer.pad, temperature=heat),
        first_ratio_is_one(policy, rollout, first, pad=tokenizer.pad, temperature=heat, linear=plan.linear),
        *kl_estimates_agree(rollout),
        replies_end_once(rollout, end=tokenizer.end, limit=config.max_new_tokens),
        padding_changes_nothing(logprobs, (tokenizer.pad, tokenizer.document)),
        *_estimates(rollout, config),
        no_dropout([policy, models.reference, models.value, judge.model]),
        scores_stand_alone(score, config.batch),
    ]


def _estimates(rollout: RolloutBatch, config: PpoConfig) -> list[Check]:
    price = config.kl_coefficient
    rewards = shaped_rewards(
        rollout.scores, rollout.logprobs, rollout.ref_logprobs, rollout.mask, kl_coefficient=price
    )
    batch = estimate(rollout, kl_coefficient=price, trace_decay=config.trace_decay)
    return [rewards_add_up(rollout, rewards, kl_coefficient=price), advantages_are_whitened(batch)]


def curve_checks(run: Path) -> list[Check]:
    """What the steps of a run's newest PPO say, at work or done; nothing where there are none."""
    files = sorted(run.glob(f"ppo-*/{METRICS}"), key=lambda path: path.stat().st_mtime)
    rows = MetricsFile(files[-1]).rows() if files else []
    if not rows:
        return []
    found = Findings(files[-1].with_name(FINDINGS)).rows()
    told = [
        Check(f"{row['name']}, step {row['step']}", False, str(row["sentence"]), "as the run said")
        for row in found
    ]
    quiet = Check("no bad sign while it ran", True, f"{len(rows)} steps", "")
    return [*(told or [quiet]), *_against_gold(rows)]


def _against_gold(rows: Sequence[Mapping[str, float]]) -> list[Check]:
    """The proxy may not rise while the truth falls, from the first fifth of the steps to the last."""
    judged = [row for row in rows if {"score", "gold", "gold se"} <= row.keys()]
    if len(judged) < FIFTH:
        return []
    part = len(judged) // FIFTH
    first, last = judged[:part], judged[-part:]
    proxy, gold = (_mean(last, name) - _mean(first, name) for name in ("score", "gold"))
    error = _mean(judged, "gold se") * (2 / part) ** 0.5
    return [
        Check(
            "gold does not fall while the proxy rises",
            not (proxy > 0 and gold < -2 * error),
            f"score {proxy:+.2f}, gold {gold:+.2f} (± {error:.2f}) from the first fifth of the steps to the last",
            "the reward model is over-optimised: set ppo.kl_budget_nats or kl_target_nats, or collect more rankings",
        )
    ]


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)
