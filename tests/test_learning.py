"""The learning table: its arms are recipes that can be, and its figures are those that stand behind it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from parley.config import plain
from parley.dialogue import Message, dialogue
from parley.labels import Ranking, Ranks
from tests.learning import ARMS, LEVELS, _file, _recipe, in_pairs, learning_table


def test_every_arm_is_a_recipe_held_against_one_that_is_there() -> None:
    baseline = _recipe(1, "baseline")
    for name, arm in ARMS.items():
        assert arm.against in ("", *ARMS)
        assert (_recipe(1, name) == baseline) == (not arm.flags)


def test_a_ranking_in_pairs_has_its_strict_pairs_and_no_tie() -> None:
    replies = tuple(Message("assistant", text, "x") for text in "abc")
    ranking = Ranking(dialogue(["?"]), replies, Ranks((2, 1, 2)), "ana", "sum")
    pairs = in_pairs(ranking)
    assert [[message.text for message in pair.replies] for pair in pairs] == [["b", "a"], ["b", "c"]]
    assert all(len(pair.comparisons()) == 1 and pair.trainer == "ana" for pair in pairs)


def test_differences_are_paired_by_prompt_and_pooled_over_seeds(tmp_path: Path) -> None:
    """By hand: gaps (1, 3) and (0, 0) over two prompts: means 2 and 0, errors 1 and 0."""
    golds = {"sft": {1: [0.0, 0.0], 2: [1.0, 2.0]}, "baseline": {1: [1.0, 3.0], 2: [1.0, 2.0]}}
    for name, by_seed in golds.items():
        for seed, gold in by_seed.items():
            found = {
                "recipe": plain(_recipe(seed, name)),
                "figures": dict.fromkeys(LEVELS, 0.5),
                "per_prompt": {"gold": gold},
            }
            _file(tmp_path, seed, name).write_text(json.dumps(found))
    table = learning_table(tmp_path, (1, 2))
    row = table["arms"]["baseline"]
    assert row["difference"]["1"] == {"value": 2.0, "standard_error": 1.0}
    assert row["pooled"]["value"] == 1.0
    assert row["pooled"]["over_prompts"] == pytest.approx(1.96 * math.sqrt(1.0) / 2)
    assert row["pooled"]["over_seeds"] == pytest.approx(12.706 * math.sqrt(2) / math.sqrt(2))
    assert list(table["arms"]) == ["sft", "baseline"]
    assert "ptx, seed 1" in table["missing"]
    _file(tmp_path, 2, "baseline").write_text("{}")
    assert "baseline, seed 2" in learning_table(tmp_path, (1, 2))["missing"]
