"""Every shipped recipe loads, names its stages, and its files exist where they are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from parley.errors import ConfigError
from parley.stages.pipeline import planned
from parley.stages.recipe import read_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    labels = planned(recipe)
    assert labels[:3] == ("data", "tokenizer", "base")
    assert labels[-1] == f"release ppo-{len(recipe.rounds)}"
    assert set(recipe.expected_seconds) <= set(labels)


def test_rounds_differ_where_they_say_so_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: r\nppo: {steps: 7, batch: 16}\nrounds: [{}, {ppo: {steps: 9}, rank: {replies: 3}}]\n"
    )
    first, second = read_recipe(path, {"ppo.batch": "8"}).rounds
    assert (first.ppo.steps, first.ppo.batch, first.rank.replies) == (7, 8, 6)
    assert (second.ppo.steps, second.ppo.batch, second.rank.replies) == (9, 8, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: r\nppo: {stepps: 3}\n", "ppo: unknown key 'stepps'; did you mean 'steps'"),
        ("name: r\nrounds: [{ppo: {stepps: 3}}]\n", "rounds.*stepps"),
        ("name: r\nrounds: []\n", "one entry a round"),
        ("name: r\ncluster: ray\n", "cluster"),
        ("name: ../r\n", "letters, digits"),
        ("seed: 1\n", "'name' is missing"),
        ("name: r\ndata: {source: microwrld}\n", "not one of microworld, files"),
        ("name: r\nreward: {readers: [ppo]}\n", r"reward\.readers\[0\]"),
    ],
)
def test_a_wrong_recipe_is_answered_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_recipe(path)
