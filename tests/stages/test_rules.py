"""A rule as a round's judge: sealed, asked by PPO, known by its content, and no reward model is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parley.artifacts import Run
from parley.engine.sampler import Completion
from parley.errors import ConfigError
from parley.model.checkpoint import load_checkpoint
from parley.rlhf.batches import TokenSet
from parley.rlhf.rules import CheckConfig, RuleConfig
from parley.stages.data import prompts_of
from parley.stages.ppo import train_ppo
from parley.stages.recipe import read_recipe
from parley.stages.rules import RuleSource, open_rule, seal_rule
from parley.stages.scores import judge_score
from tests.stages.test_ppo import CONFIG, PLAN, policy, rows, told
from tests.tiny import tiny_tokenizer, workspace

SHORT = RuleConfig(
    score="mean", checks=(CheckConfig(check="ends"), CheckConfig(check="words", at_least=1, at_most=2))
)


def test_the_score_is_of_the_text_that_was_sampled(tmp_path: Path) -> None:
    run = Run(tmp_path, seed=1, plan=PLAN)
    model = load_checkpoint(run.once("sft", policy, 2).path, PLAN)
    prompts = prompts_of(run.once("data", told))[:3]
    judge = judge_score(workspace(tmp_path / "w"), run.once("reward 1", seal_rule, RuleSource(SHORT)), model)
    words = tiny_tokenizer().encode
    completions = [
        Completion((*words("Mira lives"), model.tokenizer.end), True),
        Completion(tuple(words("Mira lives")), False),
        Completion((*words("Mira lives in Oakby."), model.tokenizer.end), True),
    ]
    assert judge(prompts, TokenSet.of([]), completions).tolist() == [1.0, 0.5, 0.5]


def test_ppo_learns_what_is_checked(tmp_path: Path) -> None:
    """Replies with one of four vowels: some of a random policy's, soon most."""
    run = Run(tmp_path, seed=1, plan=PLAN)
    rule = RuleConfig(checks=(CheckConfig(check="matches", pattern="[aeio]"),))
    sft, judge = run.once("sft", policy, 2), run.once("reward 1", seal_rule, RuleSource(rule))
    config = replace(
        CONFIG,
        steps=16,
        batch=24,
        rate=1e-2,
        warmup=0,
        value_only_steps=0,
        kl_coefficient=0.0,
        normalise=False,
        no_end="add",
        no_end_score=0.0,
    )
    steps = rows(run.once("ppo 1", train_ppo, sft, sft, judge, run.once("data", told), config))
    first, last = (sum(row["score"] for row in part) / 3 for part in (steps[:3], steps[-3:]))
    assert first < 0.6
    assert last > first + 0.25


def test_a_changed_function_is_another_judge(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    source = RuleSource(RuleConfig(checks=(CheckConfig(check="function", function=f"{file}:f"),)))
    run = Run(tmp_path / "run", seed=1, plan=PLAN)
    sealed = {}
    for value in (1, 0):
        file.write_text(f"def f(history, reply): return {value}\n")
        sealed[value] = run.once("reward 1", seal_rule, source)
    assert sealed[1].digest != sealed[0].digest
    file.unlink()
    prompt = prompts_of(run.once("data", told))[0].conversation
    for value, rule in sealed.items():
        assert open_rule(rule).met(prompt, "x", ended=True) == (value,)


def test_a_function_that_is_not_there_stops_before_anything_is_sealed(tmp_path: Path) -> None:
    source = RuleSource(RuleConfig(checks=(CheckConfig(check="function", function="none.py:f"),)))
    with pytest.raises(ConfigError, match="no Python file none.py"):
        Run(tmp_path, seed=1, plan=PLAN).once("reward 1", seal_rule, source)


def test_a_rule_is_no_network_for_a_critic_to_start_from(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: r\nreward: {from: rule, rule: {checks: [{check: ends}]}}\nppo: {critic: reward}\n")
    with pytest.raises(ConfigError, match="round 1: ppo.critic is reward, and a rule is no network"):
        read_recipe(path)


@pytest.mark.parametrize("reward", ["{from: rule}", "{rule: {checks: [{check: ends}]}}"])
def test_a_rule_and_its_checks_need_each_other(tmp_path: Path, reward: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"name: r\nreward: {reward}\n")
    with pytest.raises(ConfigError, match="need each other"):
        read_recipe(path)
