"""Every shipped recipe and preset loads, and is run small on a random model of its architecture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import transformers
import yaml

from parley.artifacts import Run, open_artifact
from parley.config import build, canonical
from parley.errors import ConfigError
from parley.model.checkpoint import load_checkpoint
from parley.numerics import NumericPlan
from parley.stages.budget import GIB, memory_plan
from parley.stages.pipeline import planned, run_recipe
from parley.stages.recipe import PRESETS, Recipe, read_recipe

from .model.families import random_peer
from .model.vocabularies import KINDS, save_kind

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
GIVEN = [path for path in RECIPES if yaml.safe_load(path.read_text())["base"].get("from")]
NAMES = sorted(file.stem for file in PRESETS.glob("*.yaml"))
GPU = NumericPlan(device="cuda", linear="bfloat16", attention="fused")
TALK = {"user": "Where does Mira live?", "assistant": "Mira lives in Oakby."}

# What makes any recipe one of seconds: its sections, models and order of events stay.
SMALL: Final = {
    "data.files.root": ".",
    "data.files.texts": "[]",
    "data.files.dialogues": "[{file: talk.jsonl, format: demonstrations}]",
    "data.files.rankings": "[{file: ranked.jsonl, format: rankings}]",
    "data.files.held_out_share": "0.2",
    "sft.max_steps": "1",
    "sft.replay": "0",
    "ppo.steps": "1",
    "ppo.batch": "4",
    "ppo.minibatches": "2",
    "ppo.epochs": "1",
    "ppo.max_new_tokens": "5",
    "ppo.normalising_replies": "4",
    "ppo.value_only_steps": "0",
    "ppo.ptx_coefficient": "0",
    "evaluate.prompts": "2",
    "evaluate.max_new_tokens": "5",
    "evaluate.transcripts": "1",
}

TINY: Final = (
    "vocab_size: 300, width: 32, layers: 2, heads: 2, kv_heads: 2, mlp_width: 48, max_positions: 2112, "
    "max_steps: 1"
)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    labels = planned(recipe)
    assert labels[:3] == ("data", "tokenizer", "base")
    assert labels[-1] == f"release ppo-{len(recipe.rounds)}"
    assert set(recipe.expected_seconds) <= set(labels)
    assert build(Recipe, json.loads(canonical(recipe)), "recipe.json") == recipe, "what a run writes down"


def stand_in(folder: Path, shape: dict[str, Any]) -> Path:
    """A random model of a shape's architecture, tiny, beside a tokenizer that was fitted to three sentences."""
    tokens = KINDS["llama3"]().get_vocab_size(with_added_tokens=True)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    small |= {"intermediate_size": 48, "vocab_size": tokens} | (
        {"head_dim": 16} if "head_dim" in shape else {}
    )
    config = transformers.AutoConfig.for_model(**(shape | small))
    random_peer(config, spread=0.05).save_pretrained(folder)
    save_kind(folder, "llama3")
    return folder


def people(folder: Path) -> None:
    """Twenty dialogues and as many rankings."""
    messages = [{"role": role, "content": text} for role, text in TALK.items()]
    told = [[{**messages[0], "content": f"{TALK['user']} {n}"}, messages[1]] for n in range(20)]
    replies = [{"content": TALK["assistant"], "rank": 1}, {"content": "No.", "rank": 2}]
    talk = [{"messages": item, "trainer": "ana"} for item in told]
    ranked = [{"messages": item[:1], "replies": replies, "trainer": "ana"} for item in told]
    for name, rows in (("talk", talk), ("ranked", ranked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def walk(recipe: Recipe, folder: Path) -> Run:
    run = Run(folder / "run", seed=1, plan=NumericPlan())
    run_recipe(recipe, run)
    assert tuple(run.made) == planned(recipe)
    return run


@pytest.mark.parametrize("path", GIVEN, ids=lambda path: path.stem)
def test_a_recipe_for_a_real_model_runs_on_a_random_one(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    people(tmp_path)
    name = read_recipe(path).base.from_.replace("/", "--")
    shape = json.loads((path.parent / "models" / f"{name}.json").read_text())
    model = stand_in(tmp_path / "model", shape)
    run = walk(read_recipe(path, {**SMALL, "base.from": str(model)}), tmp_path)
    release = run.made["release ppo-1"]
    made = transformers.AutoModelForCausalLM.from_pretrained(release.path)
    assert made.config.architectures == shape["architectures"]
    assert open_artifact(type(release), release.path).figures == release.figures


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_runs_on_a_random_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    people(tmp_path)
    file = tmp_path / "r.yaml"
    file.write_text(
        f"name: r\npreset: {name}\nbase: {{{TINY}}}\n"
        "data: {source: files}\nppo: {ptx_row_tokens: 16, ptx_tokens: 32}\n"
    )
    flags = SMALL | {"data.files.texts": "[{file: text.txt, format: text}]"}
    flags |= {"ppo.ptx_coefficient": "1.0"} if name == "instructgpt" else {}
    (tmp_path / "text.txt").write_text("Mira lives in Oakby. Tom has a goat.\n\n" * 40)
    recipe = read_recipe(file, flags)
    model = load_checkpoint(walk(recipe, tmp_path).made["ppo 1"].path, NumericPlan())
    assert model.decoder.config.max_positions == 2112


def test_presets_hold_the_published_numbers(tmp_path: Path) -> None:
    """Table 1d of InstructGPT, N+ and the 2019 code, by what a recipe comes to."""

    def preset(name: str) -> Recipe:
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"name: r\npreset: {name}\nbase: {{max_positions: 2112}}\n")
        return read_recipe(file)

    instructgpt, nplus, first = (preset(name) for name in ("instructgpt", "nplus", "oai-2019"))
    ppo = instructgpt.rounds[0].ppo
    assert ppo.steps * ppo.batch == 256_000
    assert -(-ppo.batch // ppo.minibatches) == 64
    assert (ppo.epochs, ppo.kl_coefficient, ppo.temperature, ppo.clip) == (1, 0.02, 1.0, 0.2)
    assert (ppo.ema_decay, ppo.ptx_coefficient, ppo.ptx_examples, ppo.schedule) == (
        0.992,
        27.8,
        8,
        "constant",
    )
    assert (ppo.warmup, ppo.warmup_start, ppo.critic, ppo.value_rate) == (10, 0.1, "reward", 9e-6)
    assert (instructgpt.sft.epochs, instructgpt.sft.rate, instructgpt.sft.replay) == (2, 5e-6, 0.1)
    reward = instructgpt.rounds[0].reward
    assert (reward.epochs, reward.batch_rankings, reward.rate, reward.floor) == (1, 64, 9e-6, 0.1)
    ppo = nplus.rounds[0].ppo
    assert (ppo.rate, ppo.value_rate, nplus.sft.rate, nplus.rounds[0].reward.rate) == (3e-6,) * 4
    assert (ppo.epochs, ppo.minibatches, ppo.kl_coefficient, ppo.temperature) == (4, 1, 0.05, 0.7)
    assert (ppo.max_new_tokens, ppo.no_end, ppo.no_end_score, ppo.score_slot) == (
        53,
        "replace-raw",
        -1.0,
        "after",
    )
    assert 0 <= 1_000_000 - ppo.steps * ppo.batch < ppo.batch
    ppo = first.rounds[0].ppo
    assert (ppo.rate, ppo.kl_coefficient, ppo.kl_target_nats, ppo.kl_horizon) == (1e-5, 0.15, 6.0, 10_000.0)
    assert (ppo.max_new_tokens, ppo.temperature, ppo.epochs, ppo.adam) == (24, 0.7, 4, "tensorflow")
    assert (first.rounds[0].reward.rate, first.rounds[0].reward.batch_rankings) == (5e-5, 32)


def test_what_the_recipe_says_counts_over_its_preset(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: r\npreset: tiny-cpu\nppo: {batch: 6}\nrounds: [{ppo: {steps: 7}}]\n")
    ppo = read_recipe(file, {"ppo.rate": "0.5"}).rounds[0].ppo
    assert (ppo.batch, ppo.steps, ppo.rate, ppo.value_rate) == (6, 7, 0.5, 8e-4)
    with pytest.raises(ConfigError, match="preset: there is none named 'nplu'; did you mean 'nplus'"):
        read_recipe(file, {"preset": "nplu"})


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [("qwen3-0.6b-lora", 24), ("qwen3-4b-lora", 80), ("own-model", 16), ("public-data-gpu", 24)],
)
def test_a_recipe_fits_the_card_that_it_names(name: str, gigabytes: int) -> None:
    path = ROOT / "recipes" / f"{name}.yaml"
    assert f"one GPU with {gigabytes} GB" in path.read_text()
    largest = max(stage.total for stage in memory_plan(read_recipe(path), path, GPU))
    assert 0.2 * gigabytes * GIB < largest < 0.95 * gigabytes * GIB


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
        ("name: r\nlog: {to: [tensorbord]}\n", "not one of tensorboard, wandb"),
    ],
)
def test_a_wrong_recipe_is_answered_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_recipe(path)
