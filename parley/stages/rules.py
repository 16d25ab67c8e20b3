"""A rule in the place of a reward model: `reward: {from: rule, rule: …}`.

It is sealed like one, and PPO and the evaluation ask it through the same `ScoreReplies`. The files of its
functions lie inside, so a changed function is another judge, and what was trained on the old one is not
taken for it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from parley.artifacts import RewardCheckpoint, Workspace
from parley.config import build, plain
from parley.model.weights import read_json
from parley.rlhf.rules import CheckConfig, Rule, RuleConfig, find_function, rule_of

RULE_FILE: Final = "rule.json"


@dataclass(frozen=True, slots=True)
class RuleSource:
    """A recipe's rule, as it is now: its checks, and the content of its functions' files."""

    config: RuleConfig

    def fingerprint(self) -> Mapping[str, Any]:
        """Equal for equal rules with equal code."""
        return {"rule": plain(self.config), "files": [_content(check) for check in self.config.checks]}


def seal_rule(out: Workspace, source: RuleSource) -> RewardCheckpoint:
    """The rule as an artifact; its functions are looked up once, so that a wrong name is told at once."""
    checks = tuple(_kept(out, number, check) for number, check in enumerate(source.config.checks))
    config = replace(source.config, checks=checks)
    out.file(RULE_FILE).write_text(json.dumps(plain(config), indent=1, ensure_ascii=False), encoding="utf-8")
    return out.seal(RewardCheckpoint, {"checks": float(len(checks))})


def is_rule(reward: RewardCheckpoint) -> bool:
    """Whether it is checked instead of learnt."""
    return reward.file(RULE_FILE).exists()


def open_rule(reward: RewardCheckpoint) -> Rule:
    """The rule of a sealed directory, its functions taken from there."""
    path = reward.file(RULE_FILE)
    config = build(RuleConfig, read_json(path), str(path))
    inside = tuple(
        replace(check, function=str(reward.path / check.function)) if check.function else check
        for check in config.checks
    )
    return rule_of(replace(config, checks=inside))


def _kept(out: Workspace, number: int, check: CheckConfig) -> CheckConfig:
    """The check with its function's file copied into the artifact."""
    if not check.function:
        return check
    find_function(check.function)
    path, _, attribute = check.function.rpartition(":")
    name = f"{number}-{Path(path).name}"
    shutil.copyfile(path, out.file(name))
    return replace(check, function=f"{name}:{attribute}")


def _content(check: CheckConfig) -> str:
    path = Path(check.function.rpartition(":")[0])
    return hashlib.sha256(path.read_bytes()).hexdigest() if check.function and path.is_file() else ""
