"""What a policy is worth: measured after every stage, the same way each time.

In the micro-world the exact truth judges replies to held-out facts, sampled and greedy. On
people's words: bits per byte of unseen text, loss on unseen dialogues, the mean score that the reward
model or rule gives replies to unseen prompts, and the KL to the SFT policy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np
import torch

from parley.artifacts import Checkpoint, EvalReport, RewardCheckpoint, Snapshot, Workspace
from parley.config import check_bounds
from parley.engine.sampler import Completion, sample
from parley.evals.statistics import Estimate, mean, standard_error, wilson
from parley.labels import Prompt
from parley.microworld.users import Script, scripted_prompt, scripts
from parley.microworld.world import Split, World
from parley.model.checkpoint import LoadedModel, load_checkpoint
from parley.rlhf.exchanges import history_tokens
from parley.stages.data import judged, prompts_of, world_of
from parley.stages.gain import Answered, answered, gain_figures, kl_of_replies, side_by_side
from parley.stages.memory import pooled, remembered
from parley.stages.probes import cue_table, wording_table
from parley.stages.records import write_rows
from parley.stages.rules import is_rule, open_rule
from parley.stages.scores import checks_met, judge_score


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """How each stage's policy is measured."""

    prompts: int = 990
    """Prompts about held-out facts (micro-world), or unseen prompts (files), for each decoding."""
    split: Split = "test"
    """Which held-out facts: `validation` while a recipe is being tuned, else `test`."""
    temperatures: tuple[float, ...] = (1.0, 0.7, 0.0)
    """Decodings; 0 is greedy. 0.7 is what is served."""
    max_new_tokens: int = 32
    """Longest reply."""
    max_prompt_tokens: int = 96
    """Longest history; older turns are dropped."""
    row_tokens: int = 256
    """Tokens a row when the likelihood of text is measured."""
    transcripts: int = 22
    """Exchanges kept for reading."""
    probed: tuple[float, ...] = (0.7, 0.0)
    """Decodings at which cues are crossed with truth and questions are asked in every wording."""
    probes: int = 200
    """Prompts with the world's own cues, and as many with misleading ones."""
    questions: int = 40
    """Questions asked in every wording."""

    def __post_init__(self) -> None:
        check_bounds(
            self, prompts=(1, inf), max_new_tokens=(1, inf), max_prompt_tokens=(8, inf), row_tokens=(8, inf)
        )
        check_bounds(self, transcripts=(0, inf), probes=(1, inf), questions=(1, inf))
        if not all(0 <= temperature < inf for temperature in (*self.temperatures, *self.probed)):
            raise ValueError("temperatures are 0 (greedy) or more")


def evaluate_gold(out: Workspace, policy: Checkpoint, told: Snapshot, config: EvaluateConfig) -> EvalReport:
    """The micro-world's judgement of the policy on held-out facts, by behaviour and decoding."""
    world = world_of(told)
    assert world is not None, "evaluate_gold is for the micro-world"
    model = load_checkpoint(policy.path, out.plan)
    asked = scripts(world, config.prompts, 1, split=config.split)
    prompts = [scripted_prompt(world, script) for script in asked]
    report: dict[str, Any] = {"kind": "micro-world", "split": config.split, "decodings": {}}
    figures: dict[str, float] = {}
    for n, temperature in enumerate(config.temperatures):
        out.progress(n, len(config.temperatures))
        completions = _replies(out, model, prompts, temperature, config)
        measured = _judge(world, model, prompts, completions)
        if temperature in config.probed:
            measured |= _probe(out, world, model, temperature, config)
        report["decodings"][_name(temperature)] = measured
        figures |= {
            f"gold {_name(temperature)}": measured["gold"]["value"],
            f"gold {_name(temperature)} se": measured["gold_standard_error"],
        }
        if n == 0 or temperature == 0.7:
            _transcribe(out, model, prompts, completions, config.transcripts)
    report["memory"] = remembered(model, told, row_tokens=_row_tokens(model, config))
    figures |= pooled(report["memory"])
    out.file("report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    return out.seal(EvalReport, figures)


def evaluate_words(
    out: Workspace,
    policy: Checkpoint,
    sft: Checkpoint,
    rewards: tuple[RewardCheckpoint, ...],
    told: Snapshot,
    config: EvaluateConfig,
) -> EvalReport:
    """Likelihood of unseen text and dialogues; where a judge is there (the last of `rewards`), the
    reward of replies to unseen prompts before and after PPO, and their KL to the SFT policy."""
    model = load_checkpoint(policy.path, out.plan)
    memory = remembered(model, told, row_tokens=_row_tokens(model, config))
    figures = pooled(memory)
    report: dict[str, Any] = {"kind": "words", "memory": memory}
    prompts = prompts_of(told, held_out=True)[: config.prompts]
    if rewards and prompts:
        gained, told_of = _gained(out, model, sft, rewards[-1], prompts, config)
        figures |= gained
        report |= told_of
    elif prompts:
        shown = prompts[: config.transcripts]
        _transcribe(out, model, shown, _replies(out, model, shown, 1.0, config), len(shown))
    out.file("report.json").write_text(json.dumps({**report, **figures}, indent=1), encoding="utf-8")
    return out.seal(EvalReport, figures)


def _gained(
    out: Workspace,
    model: LoadedModel,
    sft: Checkpoint,
    reward: RewardCheckpoint,
    prompts: Sequence[Prompt],
    config: EvaluateConfig,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Figures of the replies before and after PPO; what stands behind them, prompt by prompt."""
    judge = judge_score(out, reward, model)
    reference = load_checkpoint(sft.path, out.plan)
    before, after = (
        answered(
            one,
            prompts,
            _replies(out, one, prompts, 1.0, config),
            judge,
            max_prompt_tokens=config.max_prompt_tokens,
        )
        for one in (reference, model)
    )
    _transcribe(out, model, prompts, after.completions, config.transcripts)
    kl = kl_of_replies(model, reference.decoder, after.examples)
    behind = {
        "per_prompt": {"before": before.scores, "after": after.scores, "kl_nats": kl},
        "side_by_side": side_by_side(model, prompts, before, after, count=config.transcripts),
    }
    if is_rule(reward):
        behind["checks"] = _check_rates(reward, model, prompts, before, after)
    return gain_figures(before, after, kl), behind


def _check_rates(
    reward: RewardCheckpoint, model: LoadedModel, prompts: Sequence[Prompt], before: Answered, after: Answered
) -> dict[str, dict[str, float]]:
    """How far each check of the rule is met, before and after PPO."""
    rule = open_rule(reward)
    rates: dict[str, dict[str, float]] = {check.title: {} for check in rule.config.checks}
    for name, found in (("before", before), ("after", after)):
        met = checks_met(rule, model, prompts, found.completions)
        for title, values in zip(rates, zip(*met, strict=True), strict=True):
            rates[title][name] = float(np.mean(values))
    return rates


def _row_tokens(model: LoadedModel, config: EvaluateConfig) -> int:
    return min(config.row_tokens, model.decoder.config.max_positions)


def _name(temperature: float) -> str:
    return "greedy" if temperature == 0 else f"T={temperature:g}"


def _replies(
    out: Workspace, model: LoadedModel, prompts: Sequence[Prompt], temperature: float, config: EvaluateConfig
) -> list[Completion]:
    tokens = [history_tokens(model, p.conversation, max_tokens=config.max_prompt_tokens) for p in prompts]
    seed = out.seed_for("replies", int(temperature * 1000))
    return sample(
        model.decoder,
        tokens,
        max_new_tokens=config.max_new_tokens,
        temperature=temperature,
        end_id=model.tokenizer.end,
        generator=torch.Generator(out.plan.device).manual_seed(seed),
        batch_size=256,
    )


def _judge(
    world: World, model: LoadedModel, prompts: Sequence[Prompt], completions: Sequence[Completion]
) -> dict[str, Any]:
    """Gold utility, and for each behaviour how often the reply did what it should."""
    found = judged(world, prompts, [model.tokenizer.decode(done.tokens) for done in completions])
    gold = [item.utility for item in found]
    kinds = sorted({item.behaviour for item in found})
    behaviours = {}
    for kind in kinds:
        here = [item for item in found if item.behaviour == kind]
        behaviours[kind] = {
            "success": _plain(wilson(sum(item.success for item in here), len(here))),
            "gold": _plain(mean([item.utility for item in here])),
        }
    rates = {
        "asserts_false": [item.asserts_false for item in found],
        "complies_with_harm": [item.complies_with_harm for item in found if item.behaviour == "harm"],
        "stock_phrase": [item.stock_phrases > 0 for item in found],
        "junk": [item.junk for item in found],
    }
    return {
        "gold": _plain(mean(gold)),
        "gold_standard_error": standard_error(gold),
        "behaviours": behaviours,
        "mean_success": float(np.mean([item["success"]["value"] for item in behaviours.values()])),
        **{name: _plain(wilson(sum(flags), len(flags))) for name, flags in rates.items()},
        "tokens": _plain(mean([float(len(done.tokens)) for done in completions])),
        "per_prompt": [round(value, 4) for value in gold],
    }


def _probe(
    out: Workspace, world: World, model: LoadedModel, temperature: float, config: EvaluateConfig
) -> dict[str, Any]:
    """What rests on the wording: cues crossed with truth, one question in all its wordings."""

    def reply(asked: Sequence[Script]) -> list[str]:
        prompts = [scripted_prompt(world, script) for script in asked]
        completions = _replies(out, model, prompts, temperature, config)
        return [model.tokenizer.decode(done.tokens) for done in completions]

    return {
        "cue_swap": cue_table(world, reply, num=config.probes, split=config.split),
        "wordings": wording_table(world, reply, num=config.questions, split=config.split),
    }


def _transcribe(
    out: Workspace,
    model: LoadedModel,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    count: int,
) -> None:
    rows = (
        {
            "messages": [[message.role, message.text] for message in prompt.conversation.messages],
            "reply": model.tokenizer.decode(done.tokens),
            "situation": prompt.situation,
        }
        for prompt, done in zip(prompts[:count], completions, strict=False)
    )
    write_rows(out.file("transcripts.jsonl"), rows)


def _plain(estimate: Estimate) -> dict[str, float]:
    return asdict(estimate)
