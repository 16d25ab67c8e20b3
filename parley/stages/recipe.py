"""Recipes: the configs of all stages in one file, a preset under it and flags over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from parley.config import build, merged, nearest, overlay, read_yaml
from parley.errors import ConfigError
from parley.model.render import ChatFormat
from parley.stages.base import BaseConfig
from parley.stages.baseline import BaselineConfig
from parley.stages.data import DataConfig
from parley.stages.evaluate import EvaluateConfig
from parley.stages.ppo_config import PpoConfig
from parley.stages.rank import RankConfig
from parley.stages.reward import RewardConfig
from parley.stages.sft import SftConfig

PRESETS: Final = Path(__file__).with_name("presets")
ROUND_SECTIONS: Final = {"rank": RankConfig, "reward": RewardConfig, "ppo": PpoConfig}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of rankings, reward model and PPO."""

    rank: RankConfig = field(default_factory=RankConfig)
    """Collection of comparisons."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Training of the reward model."""
    ppo: PpoConfig = field(default_factory=PpoConfig)
    """Reinforcement learning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Where curves and samples go beside `metrics.jsonl`, the run page and the report, which need nothing."""

    to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Programs that are told every step as it is taken; each is an extra that is installed apart. `tensorboard`
    writes into the run's directory, `wandb` too unless WANDB_MODE is online."""
    project: str = "parley"
    """What the run belongs to, in programs that ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that a run depends on. `rounds` holds what each round does, complete."""

    name: str
    """Names the run's directory and its releases: letters, digits, '-', '_' and '.'."""
    preset: str = ""
    """A published recipe whose numbers stand under this one's: `instructgpt`, `nplus`, `oai-2019`, or
    `tiny-cpu`."""
    seed: int = 0
    """What every stream of randomness follows from, the micro-world included."""
    cluster: Literal["local"] = "local"
    """Where stages run: in this process."""
    chat: ChatFormat = field(default_factory=ChatFormat)
    """The assistant's name, identity and the operator's system prompt."""
    data: DataConfig = field(default_factory=DataConfig)
    """What the run learns from."""
    base: BaseConfig = field(default_factory=BaseConfig)
    """Tokenizer and pretraining."""
    sft: SftConfig = field(default_factory=SftConfig)
    """Supervised fine-tuning."""
    reward_base: BaseConfig | None = None
    """Another base, with the policy's tokenizer, for a second reward model in every round; `reward.from`
    says which of the two PPO obeys."""
    baseline: BaselineConfig | None = None
    """An SFT model of many epochs to compare PPO with, whose epoch the first round's reward model chooses."""
    rounds: tuple[Round, ...] = (Round(),)
    """Rankings, reward model and PPO, once a round."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    """Measuring, after every stage."""
    log: LogConfig = field(default_factory=LogConfig)
    """Curves in other programs."""
    expected_seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each stage takes on the hardware that the recipe states, by label; only the
    remaining time that people are shown depends on it."""

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name) or self.name[0] == ".":
            raise ValueError(f"name {self.name!r} must be letters, digits, '-', '_' and '.' alone")
        _check_rounds(self)
        _check_sizes(self)


def _check_sizes(recipe: Recipe) -> None:
    """What would come out only after minutes of training."""
    base, evaluate = recipe.base, recipe.evaluate
    odd = base.width % base.heads or (base.width // base.heads) % 2 or base.heads % base.kv_heads
    if odd and not base.from_:
        raise ValueError("base: width must split into heads of even size, and heads into groups by kv_heads")
    rows = {"sft.row_tokens": recipe.sft.row_tokens}
    if recipe.baseline:
        rows["baseline.sft.row_tokens"] = recipe.baseline.sft.row_tokens
        rows["baseline's max_prompt_tokens and max_new_tokens"] = _tokens(recipe.baseline)
    rows["evaluate's max_prompt_tokens and max_new_tokens"] = (
        evaluate.max_prompt_tokens + evaluate.max_new_tokens
    )
    for number, entry in enumerate(recipe.rounds, start=1):
        rows[f"reward.context of round {number}"] = entry.reward.context
        rows[f"ppo's max_prompt_tokens and max_new_tokens of round {number}"] = _tokens(entry.ppo)
        learnt = entry.ppo.reward == "model" and entry.reward.from_ != "rule"
        if learnt and _tokens(entry.ppo) > entry.reward.context:
            raise ValueError(
                f"round {number}: PPO makes up to {_tokens(entry.ppo)} tokens, reward.context is {entry.reward.context}"
            )
        if recipe.data.source == "microworld":
            rows[f"rank's max_prompt_tokens and max_new_tokens of round {number}"] = _tokens(entry.rank)
    for name, needed in rows.items():
        if needed > base.max_positions:
            raise ValueError(f"{name}: {needed} tokens, base.max_positions is {base.max_positions}")
    _check_reward_base(recipe)
    _check_rule(recipe)


def _check_rule(recipe: Recipe) -> None:
    """What asks for a reward model where there is none."""
    for number, entry in enumerate(recipe.rounds, start=1):
        if entry.reward.from_ == "rule" and entry.ppo.critic == "reward":
            raise ValueError(f"round {number}: ppo.critic is reward, and a rule is no network to start from")
    if recipe.baseline and recipe.rounds[0].reward.from_ == "rule":
        raise ValueError("baseline: its epoch is chosen by a reward model, and the first round has a rule")


def _check_reward_base(recipe: Recipe) -> None:
    """Whoever asks for the larger reward model says how large; it reads as much as the smaller one."""
    other = recipe.reward_base
    for number, entry in enumerate(recipe.rounds, start=1):
        if other is None and entry.reward.from_ == "larger":
            raise ValueError(f"round {number}: reward.from is larger, and there is no section reward_base")
        needed = max(entry.reward.context, recipe.sft.row_tokens)
        if other is not None and needed > other.max_positions:
            raise ValueError(
                f"round {number}: {needed} tokens, reward_base.max_positions is {other.max_positions}"
            )


def _tokens(section: RankConfig | PpoConfig | BaselineConfig) -> int:
    return section.max_prompt_tokens + section.max_new_tokens


def _check_rounds(recipe: Recipe) -> None:
    if recipe.data.source != "microworld" and len(recipe.rounds) > 1:
        raise ValueError(
            f"rounds: the {recipe.data.source} hold nobody who could rank a new policy's replies; give one round"
        )


def read_recipe(path: Path, flags: Mapping[str, str] | None = None) -> Recipe:
    """The recipe in a YAML file, with its preset under it and dotted flags over it.

    In the file `rank`, `reward` and `ppo` are sections of their own, and `rounds` is a list with
    one entry a round: what differs in that round, section by section.
    """
    values = overlay(read_yaml(path), flags or {})
    values = merged(_preset(values, path), values)
    common = {name: values.pop(name, {}) for name in ROUND_SECTIONS}
    given = values.pop("rounds", [{}])
    if not isinstance(given, list) or not given:
        raise ConfigError(f"{path}: rounds: expected a list with one entry a round")
    for name, section in common.items():
        build(ROUND_SECTIONS[name], section, f"{path}: {name}")
    rounds = [_merged(common, entry or {}, f"{path}: rounds[{n}]") for n, entry in enumerate(given)]
    return build(Recipe, {**values, "rounds": rounds}, str(path))


def _preset(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    name = values.get("preset") or ""
    known = {file.stem: file for file in sorted(PRESETS.glob("*.yaml"))}
    if not name:
        return {}
    if name not in known:
        raise ConfigError(f"{path}: preset: there is none named {name!r}{nearest(str(name), list(known))}")
    return read_yaml(known[name])


def _merged(common: Mapping[str, Any], entry: Any, where: str) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: expected sections, got {entry!r}")
    merged = {**common, **entry}
    for name in ROUND_SECTIONS:
        if not isinstance(merged[name], Mapping):
            raise ConfigError(f"{where}.{name}: expected a section with keys, got {merged[name]!r}")
        if isinstance(entry.get(name), Mapping) and isinstance(common[name], Mapping):
            merged[name] = {**common[name], **entry[name]}
    return merged
