"""The walk: from what trainers and users told us to a release, on one screen.

told ─► base ─► sft ─┬─► rank ─► reward ─► ppo ─┬─► evaluate ─► release
                     └──────── next round ◄─────┘
"""

from __future__ import annotations

from typing import Final

from parley.artifacts import Checkpoint, EvalReport, RankingSet, Release, RewardCheckpoint, Run, Snapshot
from parley.errors import ConfigError
from parley.model.hub import find_pretrained
from parley.stages.base import fit_tokenizer, train_base
from parley.stages.baseline import train_baseline
from parley.stages.data import rankings_of, source_of, take_snapshot, world_of
from parley.stages.evaluate import evaluate_gold, evaluate_words
from parley.stages.judges import planned_judges, train_judges
from parley.stages.ppo import train_ppo
from parley.stages.pretrained import take_base, take_tokenizer
from parley.stages.rank import collect_rankings
from parley.stages.recipe import Recipe
from parley.stages.rejection import train_by_rejection
from parley.stages.release import cut_release
from parley.stages.sft import train_sft

METHODS: Final = {"ppo": train_ppo, "rejection": train_by_rejection}


def run_recipe(recipe: Recipe, run: Run, *, until: str = "") -> Release | None:
    """Everything up to and including the first stage named `until`; the last release of the run.

    Finished stages are opened, not redone.
    """
    told = run.once("data", take_snapshot, source_of(recipe.data, recipe.seed))
    base = _base(recipe, run, told)
    if until == "base":
        return None
    release = _release(recipe, run, told, base, base, (), "base")
    sft = run.once("sft", train_sft, base, told, recipe.sft)
    if until == "sft":
        return release
    release = _release(recipe, run, told, sft, sft, (base,), "sft")
    return _rounds(recipe, run, told, base, sft, until) or release


def _base(recipe: Recipe, run: Run, told: Snapshot) -> Checkpoint:
    """Pretrained here, or taken as somebody else pretrained it."""
    if recipe.base.from_:
        pretrained = find_pretrained(recipe.base.from_)
        run.once("tokenizer", take_tokenizer, pretrained)
        return run.once("base", take_base, told, pretrained, recipe.chat, recipe.base)
    vocabulary = run.once("tokenizer", fit_tokenizer, told, recipe.base)
    return run.once("base", train_base, told, vocabulary, recipe.chat, recipe.base)


def planned(recipe: Recipe, *, until: str = "") -> tuple[str, ...]:
    """The labels of the stages that `run_recipe` passes, in order."""
    labels = ["data", "tokenizer", "base"]
    labels += [] if until == "base" else ["evaluate base", "release base", "sft"]
    if until in ("base", "sft"):
        return tuple(labels)
    labels += ["evaluate sft", "release sft"]
    for number, config in enumerate(recipe.rounds, start=1):
        ranked = config.reward.from_ != "rule" and (recipe.data.source == "microworld" or number > 1)
        labels += [f"rank {number}"] if ranked else []
        labels += planned_judges(recipe, number)
        if recipe.baseline and number == 1 and until != "reward":
            labels += ["sft baseline", "evaluate baseline"]
        labels += [] if until == "reward" else [f"ppo {number}"]
        if until in ("reward", "ppo"):
            return tuple(labels)
        labels += [f"evaluate ppo-{number}", f"release ppo-{number}"]
    return tuple(labels)


def _rounds(
    recipe: Recipe, run: Run, told: Snapshot, base: Checkpoint, sft: Checkpoint, until: str
) -> Release | None:
    """Rank, reward, PPO, again and again: old rankings stay in the mix, the reference stays the SFT
    policy, every policy starts from the one before."""
    policy, release = sft, None
    collected: tuple[RankingSet, ...] = ()
    for number, config in enumerate(recipe.rounds, start=1):
        checked = config.reward.from_ == "rule"
        if not checked and (world_of(told) is not None or number > 1):
            collected += (run.once(f"rank {number}", collect_rankings, policy, told, config.rank),)
        elif not checked and not any(True for _ in rankings_of(told)):
            raise ConfigError("the data section tells no rankings, and there is nobody who could rank")
        reward = train_judges(recipe, run, told, base, sft, collected, number)
        if until == "reward":
            return release
        if recipe.baseline and number == 1:
            baseline = run.once("sft baseline", train_baseline, base, told, reward, recipe.baseline)
            _report(recipe, run, told, baseline, sft, "baseline", (reward,))
        learn = METHODS[config.ppo.method]
        before, policy = policy, run.once(f"ppo {number}", learn, policy, sft, reward, told, config.ppo)
        if until == "ppo":
            return release
        release = _release(recipe, run, told, policy, sft, (before, sft), f"ppo-{number}", (reward,))
    return release


def _release(
    recipe: Recipe,
    run: Run,
    told: Snapshot,
    policy: Checkpoint,
    sft: Checkpoint,
    parents: tuple[Checkpoint, ...],
    stage: str,
    rewards: tuple[RewardCheckpoint, ...] = (),
) -> Release:
    report = _report(recipe, run, told, policy, sft, stage, rewards)
    lineage: tuple[Checkpoint | RewardCheckpoint, ...] = (*parents, *rewards)
    return run.once(f"release {stage}", cut_release, policy, report, told, lineage, stage, recipe.name)


def _report(
    recipe: Recipe,
    run: Run,
    told: Snapshot,
    policy: Checkpoint,
    sft: Checkpoint,
    stage: str,
    rewards: tuple[RewardCheckpoint, ...],
) -> EvalReport:
    label = f"evaluate {stage}"
    if world_of(told) is not None:
        return run.once(label, evaluate_gold, policy, told, recipe.evaluate)
    return run.once(label, evaluate_words, policy, sft, rewards, told, recipe.evaluate)
