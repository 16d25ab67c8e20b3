"""Recipes: the configs of all stages in one file, with flags over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from parley.config import build, overlay, read_yaml
from parley.errors import ConfigError
from parley.model.render import ChatFormat
from parley.stages.base import BaseConfig
from parley.stages.data import DataConfig
from parley.stages.evaluate import EvaluateConfig
from parley.stages.ppo import PpoConfig
from parley.stages.rank import RankConfig
from parley.stages.reward import RewardConfig
from parley.stages.sft import SftConfig

ROUND_SECTIONS: Final = {"rank": RankConfig, "reward": RewardConfig, "ppo": PpoConfig}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of rankings, reward model and PPO."""

    rank: RankConfig = field(default_factory=RankConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    ppo: PpoConfig = field(default_factory=PpoConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that a run depends on. `rounds` holds what each round does, complete."""

    name: str
    seed: int = 0
    cluster: Literal["local"] = "local"
    chat: ChatFormat = field(default_factory=ChatFormat)
    data: DataConfig = field(default_factory=DataConfig)
    base: BaseConfig = field(default_factory=BaseConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    rounds: tuple[Round, ...] = (Round(),)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    expected_seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each stage takes on the hardware that the recipe states, by label; only the
    remaining time that people are shown depends on it."""

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name) or self.name[0] == ".":
            raise ValueError(f"name {self.name!r} must be letters, digits, '-', '_' and '.' alone")


def read_recipe(path: Path, flags: Mapping[str, str] | None = None) -> Recipe:
    """The recipe in a YAML file, with dotted flags over it.

    In the file `rank`, `reward` and `ppo` are sections of their own, and `rounds` is a list with
    one entry a round: what differs in that round, section by section.
    """
    values = overlay(read_yaml(path), flags or {})
    common = {name: values.pop(name, {}) for name in ROUND_SECTIONS}
    given = values.pop("rounds", [{}])
    if not isinstance(given, list) or not given:
        raise ConfigError(f"{path}: rounds: expected a list with one entry a round")
    for name, section in common.items():
        build(ROUND_SECTIONS[name], section, f"{path}: {name}")
    rounds = [_merged(common, entry or {}, f"{path}: rounds[{n}]") for n, entry in enumerate(given)]
    return build(Recipe, {**values, "rounds": rounds}, str(path))


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
