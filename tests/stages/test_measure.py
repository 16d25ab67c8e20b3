"""Measuring reward models: the figures of `parley score`, floors on the same pairs, several models at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parley.artifacts import Checkpoint, EvalReport, RewardCheckpoint, Run, Snapshot, Workspace
from parley.dialects import write
from parley.errors import ConfigError
from parley.evals.reward_accuracy import accuracies, hits_of, ranking_scores
from parley.evals.text_floor import TextFloor
from parley.model.checkpoint import save_checkpoint
from parley.model.heads import RewardEnsemble
from parley.model.render import ChatFormat
from parley.model.reward_checkpoint import load_reward
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.stages.data import rankings_of
from parley.stages.judges import planned_judges
from parley.stages.measure import measure_reward
from parley.stages.recipe import read_recipe
from parley.stages.records import ranking_row, write_rows
from parley.stages.reward import RewardConfig, join_reward_models, train_reward_model
from tests.evals.test_reward_report import rankings
from tests.tiny import TEXTS, tiny_decoder, tiny_tokenizer

PLAN = NumericPlan()
CONFIG = RewardConfig(batch_rankings=8, rate=1e-3, warmup=2, centring=0, context=128)


def policy(out: Workspace, seed: int) -> Checkpoint:
    save_checkpoint(out.path, tiny_decoder(seed), tiny_tokenizer(), ChatFormat())
    return out.seal(Checkpoint, {})


def stranger(out: Workspace) -> Checkpoint:
    tokenizer = Tokenizer.train([*TEXTS, "quite other words"] * 3, 300)
    save_checkpoint(out.path, tiny_decoder(9), tokenizer, ChatFormat())
    return out.seal(Checkpoint, {})


def told(out: Workspace) -> Snapshot:
    """Rankings by persons 0 to 2 to learn from, by persons 0 to 3 to measure on."""
    write_rows(out.file("rankings.jsonl"), map(ranking_row, rankings(24, replies=3, trainers=3)))
    unseen = rankings(12, replies=3, seed=9, trainers=4)
    write_rows(out.file("rankings-held-out.jsonl"), map(ranking_row, unseen))
    return out.seal(Snapshot, {})


class Made:
    """Two members, their ensemble, and the report of all three."""

    def __init__(self, path: Path) -> None:
        self.run = Run(path, seed=1, plan=PLAN)
        self.base, self.sft = (self.run.once(name, policy, seed) for name, seed in (("base", 1), ("sft", 2)))
        self.told = self.run.once("data", told)
        self.members = tuple(self.trained(f"reward 1 member {n}", self.sft) for n in (1, 2))
        self.joined = self.run.once("reward 1", join_reward_models, self.members, self.told, ())
        named = (("policy", self.joined), ("policy, member 1", self.members[0]))
        self.report = self.run.once("measure reward-1", measure_reward, named, self.told, ())

    def trained(self, label: str, trunk: Checkpoint) -> RewardCheckpoint:
        return self.run.once(label, train_reward_model, trunk, self.base, self.sft, self.told, (), CONFIG)

    @property
    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.report.file("report.json").read_text())["models"]
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("run"))


def test_the_accuracy_is_that_of_parley_score(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "unseen.jsonl"
    write("rankings", rankings_of(made.told, held_out=True), file)
    words = ["score", "--checkpoint", str(made.joined.path), "--format", "rankings", str(file), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "parley.cli", *words],
        env={**os.environ, "PARLEY_HOME": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=120,
    )
    scored = json.loads(done.stdout)
    ours = made.figures["policy"]["pooled"]["accuracy"]
    assert ours["n"] == scored["n"]
    assert ours["value"] == pytest.approx(scored["accuracy"])
    assert [ours["low"], ours["high"]] == pytest.approx(scored["interval"])


def test_every_source_has_the_accuracy_that_the_stage_itself_reports(made: Made) -> None:
    for name, figures in (("policy", made.joined.figures), ("policy, member 1", made.members[0].figures)):
        for source in ("even", "odd"):
            assert made.figures[name]["sources"][source]["accuracy"]["value"] == figures[f"accuracy {source}"]


def test_the_floor_is_trained_on_the_training_rankings_and_scored_on_the_same_pairs(made: Made) -> None:
    learnt, unseen = (list(rankings_of(made.told, held_out=held)) for held in (False, True))
    floor = TextFloor(learnt).scores(unseen)
    right = sum(
        scores[pair.better] > scores[pair.worse]
        for ranking, scores in zip(unseen, floor, strict=True)
        for pair in ranking.comparisons()
    )
    pooled = made.figures["policy"]["pooled"]
    assert pooled["floor"]["value"] == pytest.approx(right / pooled["floor"]["n"])
    assert pooled["floor"]["n"] == pooled["accuracy"]["n"] == 36


def test_the_own_floor_of_a_source_is_trained_on_that_source_alone(made: Made) -> None:
    learnt, unseen = (
        [ranking for ranking in rankings_of(made.told, held_out=held) if ranking.source == "odd"]
        for held in (False, True)
    )
    hits, sizes = hits_of(unseen, TextFloor(learnt).scores(unseen))
    found = made.figures["policy"]["sources"]["odd"]
    assert found["own_floor"]["value"] == pytest.approx(hits.sum() / sizes.sum())
    assert found["own_floor"]["value"] != found["floor"]["value"]


def test_persons_that_were_learnt_from_stand_apart_from_others(made: Made) -> None:
    """R8: persons 0 to 2 of 4 were learnt from."""
    persons = made.figures["policy"]["persons"]
    assert {name: cut["rankings"] for name, cut in persons.items()} == {"held out": 3, "learnt from": 9}


def test_an_ensemble_scores_the_mean_of_its_members(made: Made) -> None:
    unseen = list(rankings_of(made.told, held_out=True))
    each = [ranking_scores(load_reward(member.path, PLAN), unseen) for member in made.members]
    loaded = load_reward(made.joined.path, PLAN)
    assert isinstance(loaded.model, RewardEnsemble)
    for joined, first, second in zip(ranking_scores(loaded, unseen), *each, strict=True):
        assert joined == pytest.approx((first + second) / 2, abs=1e-5)
        assert first != pytest.approx(second, abs=1e-4), "members differ in head and order"
    assert len(list((made.joined.path / "readers").iterdir())) == 2
    assert accuracies(loaded, unseen)[""].n == 36


def test_another_tokenizer_is_refused(made: Made) -> None:
    with pytest.raises(ConfigError, match="another tokenizer"):
        made.trained("reward other", made.run.once("stranger", stranger))


def test_without_rankings_there_is_an_empty_report(made: Made) -> None:
    def nothing(out: Workspace) -> Snapshot:
        return out.seal(Snapshot, {})

    empty = made.run.once("empty", nothing)
    report: EvalReport = made.run.once(
        "measure reward-2", measure_reward, (("policy", made.joined),), empty, ()
    )
    assert json.loads(report.file("report.json").read_text()) == {
        "kind": "reward",
        "rankings": 0,
        "models": {},
    }


def recipe_file(path: Path, more: str) -> Path:
    file = path / "r.yaml"
    file.write_text(f"name: r\nbase: {{max_positions: 256}}\n{more}")
    return file


def test_a_recipe_names_the_stages_of_a_larger_ensemble(tmp_path: Path) -> None:
    text = "reward_base: {width: 192, max_positions: 256}\nreward: {from: larger, ensemble: 2}\n"
    recipe = read_recipe(recipe_file(tmp_path, text))
    assert planned_judges(recipe, 1) == [
        *("base larger", "sft larger"),
        *("reward 1 larger member 1", "reward 1 larger member 2", "reward 1 larger"),
        *("reward 1 member 1", "reward 1 member 2", "reward 1"),
        "measure reward-1",
    ]
    plain = replace(recipe, reward_base=None, rounds=(replace(recipe.rounds[0], reward=CONFIG),))
    assert planned_judges(plain, 1) == ["reward 1", "measure reward-1"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("reward: {from: larger}\n", "there is no section reward_base"),
        ("reward_base: {max_positions: 64}\n", "reward_base.max_positions is 64"),
        ("reward_base: {widht: 64}\n", "did you mean 'width'"),
        ("reward: {ensemble: 0}\n", "ensemble must be at least 1"),
        ("reward: {from: bigger}\n", "not one of policy, larger"),
    ],
)
def test_reward_bases_that_cannot_work_are_refused(tmp_path: Path, more: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_recipe(recipe_file(tmp_path, more))
