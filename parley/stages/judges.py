"""A round's judge: a reward model, an ensemble of several, from the policy's own base or from a larger
one; or a rule, which nothing is trained for.

    base ─► sft ───────────► reward N ─────────┐
    base larger ─► sft larger ─► reward N larger ┴► measure reward-N ─► ppo

Each of them is a stage of its own, and so is the measuring of all of them on the same pairs.
"""

from __future__ import annotations

from parley.artifacts import Checkpoint, RankingSet, RewardCheckpoint, Run, Snapshot, Vocabulary
from parley.model.hub import find_pretrained
from parley.stages.base import BaseConfig, train_base
from parley.stages.measure import measure_reward
from parley.stages.pretrained import take_base
from parley.stages.recipe import Recipe
from parley.stages.reward import RewardConfig, join_reward_models, train_reward_model
from parley.stages.rules import RuleSource, seal_rule
from parley.stages.sft import train_sft


def train_judges(
    recipe: Recipe,
    run: Run,
    told: Snapshot,
    base: Checkpoint,
    sft: Checkpoint,
    collected: tuple[RankingSet, ...],
    number: int,
) -> RewardCheckpoint:
    """The reward model that this round's PPO obeys; beside it, where the recipe has a `reward_base`, the
    one from the other base. All are measured."""
    config = recipe.rounds[number - 1].reward
    if config.from_ == "rule":
        return run.once(f"reward {number}", seal_rule, RuleSource(config.rule))
    trunks = {"policy": sft}
    if recipe.reward_base:
        trunks["larger"] = _larger(recipe, run, told, recipe.reward_base)
    models: dict[str, RewardCheckpoint] = {}
    for name, trunk in sorted(trunks.items(), key=lambda item: item[0] != config.from_):
        label = _label(number, name)
        arguments = (trunk, base, sft, told, collected, config)
        if config.ensemble == 1:
            models[name] = run.once(label, train_reward_model, *arguments)
            continue
        members = tuple(run.once(part, train_reward_model, *arguments) for part in _members(label, config))
        shared = (trunk,) if config.adapters.rank else ()
        joined = run.once(label, join_reward_models, members, told, collected, *shared)
        models |= {name: joined} | {f"{name}, member {n}": one for n, one in enumerate(members, start=1)}
    run.once(f"measure reward-{number}", measure_reward, tuple(models.items()), told, collected)
    return models[config.from_]


def planned_judges(recipe: Recipe, number: int) -> list[str]:
    """The labels of the stages that `train_judges` passes, in order."""
    config = recipe.rounds[number - 1].reward
    if config.from_ == "rule":
        return [f"reward {number}"]
    names = ["policy", *(["larger"] if recipe.reward_base else [])]
    labels = ["base larger", "sft larger"] if recipe.reward_base and number == 1 else []
    for name in sorted(names, key=lambda name: name != config.from_):
        label = _label(number, name)
        labels += [*(_members(label, config) if config.ensemble > 1 else []), label]
    return [*labels, f"measure reward-{number}"]


def _label(number: int, name: str) -> str:
    return f"reward {number}" if name == "policy" else f"reward {number} {name}"


def _members(label: str, config: RewardConfig) -> list[str]:
    """The seeds of a stage follow from its label, so members differ in head, order and nothing else."""
    return [f"{label} member {n}" for n in range(1, config.ensemble + 1)]


def _larger(recipe: Recipe, run: Run, told: Snapshot, config: BaseConfig) -> Checkpoint:
    """The other base with the policy's tokenizer, fine-tuned as the policy was."""
    vocabulary = run.made["tokenizer"]
    assert isinstance(vocabulary, Vocabulary)
    if config.from_:
        base = run.once("base larger", take_base, told, find_pretrained(config.from_), recipe.chat, config)
    else:
        base = run.once("base larger", train_base, told, vocabulary, recipe.chat, config)
    return run.once("sft larger", train_sft, base, told, recipe.sft)
