"""The walk on somebody else's model, and what is said of models that cannot be taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from parley.artifacts import Checkpoint, Run, open_artifact, read_manifest
from parley.dialogue import dialogue
from parley.engine.sampler import sample
from parley.errors import ConfigError, ParleyError
from parley.model.adapters import AdaptedModel, AdapterConfig
from parley.model.checkpoint import load_checkpoint
from parley.model.hub import find_pretrained
from parley.model.render import render_prompt
from parley.model.reward_checkpoint import load_reward
from parley.model.weights import read_weights
from parley.numerics import NumericPlan
from parley.rlhf import loop
from parley.stages import likelihood, ppo_models
from parley.stages.pipeline import planned, run_recipe
from parley.stages.recipe import Recipe, read_recipe

from ..model.families import GROUPED, random_peer
from ..model.vocabularies import KINDS, save_kind
from ..tiny import workspace

ROOM = 320
CONFIGS = {
    "gpt2": lambda n: transformers.GPT2Config(
        vocab_size=n, n_embd=32, n_layer=2, n_head=4, n_positions=ROOM, bos_token_id=0, eos_token_id=0
    ),
    "qwen3": lambda n: transformers.Qwen3Config(
        vocab_size=n + 9,
        head_dim=16,
        tie_word_embeddings=True,
        **(GROUPED | {"max_position_embeddings": ROOM}),
    ),
}
VOCABULARIES = {"gpt2": "gpt2", "qwen3": "llama3"}
RECIPE = """
name: own
data:
  source: microworld
  microworld:
    world: {num_unique_people: 20, num_shared_names: 4, num_unknown_people: 12, num_values: 4}
    documents: 100
    demonstrations: 60
    instructions: 10
    prompts: 40
base: {max_positions: 300}
sft: {epochs: 1, replay: 0.2, row_tokens: 256, max_steps: 4}
rank: {rankings: 8, held_out: 4, replies: 3, max_prompt_tokens: 200, max_new_tokens: 12}
reward: {context: 256, batch_rankings: 4, readers: [sft]}
ppo: {steps: 3, batch: 6, epochs: 1, max_prompt_tokens: 200, max_new_tokens: 12, normalising_replies: 6, value_only_steps: 1}
evaluate: {prompts: 8, temperatures: [0.0], max_prompt_tokens: 200, max_new_tokens: 12, transcripts: 2, probed: []}
"""  # noqa: E501


def save_model(directory: Path, family: str, *, seed: int = 0) -> Path:
    kind = VOCABULARIES[family]
    size = KINDS[kind]().get_vocab_size(with_added_tokens=True)
    random_peer(CONFIGS[family](size), seed=seed, spread=0.05).save_pretrained(directory)
    save_kind(directory, kind)
    return directory


def recipe_on(model: str | Path, folder: Path, **flags: str) -> Recipe:
    path = folder / "own.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return read_recipe(path, {"base.from": str(model), **flags})


def walk(recipe: Recipe, folder: Path, *, until: str = "") -> Run:
    folder.mkdir(exist_ok=True)
    run = Run(folder / "run", seed=1, plan=NumericPlan())
    run_recipe(recipe, run, until=until)
    return run


@pytest.mark.parametrize("family", CONFIGS)
def test_the_whole_walk_on_a_model_of_others(tmp_path: Path, family: str) -> None:
    model = save_model(tmp_path / "model", family)
    recipe = recipe_on(model, tmp_path)
    run = walk(recipe, tmp_path)
    assert tuple(run.made) == planned(recipe)
    assert run.made["tokenizer"].figures["added"] == 4  # pad and three roles
    base, policy = (load_checkpoint(run.made[label].path, NumericPlan()) for label in ("base", "ppo 1"))
    assert not torch.equal(base.decoder.input_weight, policy.decoder.input_weight)
    reward = load_reward(run.made["reward 1"].path, NumericPlan())
    assert type(reward.model.trunk) is type(policy.decoder)
    assert_the_same_words(run.made["release ppo-1"].path)


def assert_the_same_words(release: Path) -> None:
    """Here and in transformers, greedily."""
    model = load_checkpoint(release, NumericPlan())
    prompt = render_prompt(dialogue(["Where does Mira live?"]), model.tokenizer, max_tokens=200)
    words = AutoTokenizer.from_pretrained(release)
    told = words.apply_chat_template(
        [{"role": "user", "content": "Where does Mira live?"}], add_generation_prompt=True, return_dict=False
    )
    assert told == prompt
    peer = AutoModelForCausalLM.from_pretrained(release).eval()
    theirs = peer.generate(torch.tensor([told]), do_sample=False, max_new_tokens=30)[0, len(told) :]
    (ours,) = sample(
        model.decoder,
        [prompt],
        max_new_tokens=30,
        temperature=0.0,
        end_id=model.tokenizer.end,
        generator=torch.Generator(),
    )
    assert list(ours.tokens) == theirs.tolist()
    assert model.tokenizer.decode(ours.tokens) == words.decode(theirs, skip_special_tokens=True)


@pytest.mark.parametrize("family", CONFIGS)
def test_the_whole_walk_with_adapters(tmp_path: Path, family: str) -> None:
    model = save_model(tmp_path / "model", family)
    lora = {"sft.adapters.rank": "4", "ppo.adapters.rank": "4", "ppo.value_only_steps": "0"}
    run = walk(recipe_on(model, tmp_path, **lora), tmp_path)
    base, sft, policy = (
        load_checkpoint(run.made[label].path, NumericPlan()).decoder for label in ("base", "sft", "ppo 1")
    )
    for before, after in ((base, sft), (sft, policy)):
        changed = {
            name
            for name, weight in after.state_dict().items()
            if not torch.equal(weight, before.state_dict()[name])
        }
        assert len(changed) == 2 * 4  # of each layer: qkv, out, two of the MLP; nothing else
    assert_the_same_words(run.made["release ppo-1"].path)


def test_policy_reference_and_critic_share_one_trunk(tmp_path: Path) -> None:
    """Where the policy starts from the reference; a later round's policy has a trunk of its own."""
    recipe = recipe_on(save_model(tmp_path / "model", "qwen3"), tmp_path)
    made = walk(recipe, tmp_path, until="sft").made
    base, sft = (open_artifact(Checkpoint, made[label].path) for label in ("base", "sft"))
    out, lora = workspace(tmp_path / "ppo"), AdapterConfig(rank=2)
    policy, reference, critic = ppo_models._learners(out, sft, sft, lora)
    assert isinstance(policy.decoder, AdaptedModel)
    assert isinstance(critic, AdaptedModel)
    assert policy.decoder.trunk is critic.trunk
    assert critic.trunk.model is reference
    later, reference, critic = ppo_models._learners(out, sft, base, lora)
    assert isinstance(later.decoder, AdaptedModel)
    assert isinstance(critic, AdaptedModel)
    assert later.decoder.trunk is not critic.trunk
    assert critic.trunk.model is reference
    assert torch.equal(later.decoder.input_weight, policy.decoder.input_weight)
    assert not torch.equal(later.decoder.input_weight, reference.input_weight)


def test_sft_with_adapters_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    """The saved step holds adapters and their moments, nothing of the trunk; the end is the same, bit for bit."""
    model = save_model(tmp_path / "model", "gpt2")
    recipe = recipe_on(model, tmp_path, **{"sft.adapters.rank": "4"})
    whole = walk(recipe, tmp_path / "whole", until="sft").made["sft"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "SAVE_SECONDS", 0.0)
        patch.setattr(loop, "SAVE_SHARE", 1e9)
        patch.setattr(likelihood, "descend", killed_at(2))
        with pytest.raises(KeyboardInterrupt):
            walk(recipe, tmp_path / "cut", until="sft")
    (saved,) = (tmp_path / "cut" / "run").glob("sft-*/state/0*")
    assert all(name.startswith("adapters") for name in read_weights(saved / "model.safetensors"))
    assert walk(recipe, tmp_path / "cut", until="sft").made["sft"].digest == whole.digest


def killed_at(step: int) -> Any:
    """`descend` until this step, then what Ctrl-C does."""
    calls = iter(range(step))

    def descend(*arguments: Any, **options: Any) -> loop.Descent:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return loop.descend(*arguments, **options)

    return descend


def test_the_base_says_what_the_model_said(tmp_path: Path) -> None:
    """Nothing but rows for new tokens is added: old tokens have the logits that they had."""
    model = save_model(tmp_path / "model", "gpt2")
    run = walk(recipe_on(model, tmp_path), tmp_path, until="base")
    before, after = (AutoModelForCausalLM.from_pretrained(path) for path in (model, run.made["base"].path))
    tokens = torch.randint(before.config.vocab_size, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        known = after(tokens).logits[..., : before.config.vocab_size]
        torch.testing.assert_close(known, before(tokens).logits, atol=1e-5, rtol=1e-5)


def test_another_model_of_the_same_name_is_taken_anew(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", "gpt2")
    recipe = recipe_on(model, tmp_path)
    first = walk(recipe, tmp_path, until="base").made["base"]
    assert walk(recipe, tmp_path, until="base").made["base"].path == first.path
    save_model(tmp_path / "model", "gpt2", seed=1)
    second = walk(recipe, tmp_path, until="base").made["base"]
    assert second.path != first.path
    assert read_manifest(second.path)["digest"] != first.digest


def test_a_hub_name_is_found_in_the_hubs_cache(tmp_path: Path) -> None:
    """By the hub's real client, in a process of its own: it reads its environment when imported."""
    commit, root = "0123456789abcdef0123456789abcdef01234567", tmp_path / "hub" / "models--ada--tiny"
    save_model(root / "snapshots" / commit, "gpt2")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit, encoding="utf-8")
    names = ["ada/tiny", f"ada/tiny@{commit}", "ada/other", "ada/tiny@older"]
    first, second, *refused = found_offline(names, tmp_path)
    assert first == second == [str(root / "snapshots" / commit), "config.json", "model.safetensors"]
    for name, (told,) in zip(names[2:], refused, strict=True):
        assert told.startswith(f"base.from: {name} is no directory here, and the hub did not give it")


def found_offline(names: list[str], home: Path) -> list[list[str]]:
    """For each name its place and two of its files, or what is said instead."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", FIND, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return [list(row) for row in json.loads(done.stdout)]


FIND = """
import json, sys
from parley.errors import ConfigError
from parley.model.hub import find_pretrained

def find(name):
    try:
        found = find_pretrained(name)
    except ConfigError as error:
        return [str(error)]
    return [str(found.path), *(n for n in found.fingerprint() if n in ("config.json", "model.safetensors"))]

print(json.dumps([find(name) for name in sys.argv[1:]]))
"""


def _pickled(path: Path) -> None:
    torch.save({}, path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()


def _edited(name: str, **changes: object) -> Any:
    def edit(path: Path) -> None:
        said = json.loads((path / name).read_text(encoding="utf-8"))
        (path / name).write_text(json.dumps(said | changes), encoding="utf-8")

    return edit


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_pickled, r"holds its weights as pickles \(pytorch_model.bin\), which can run code"),
        (lambda path: (path / "model.safetensors").unlink(), r"has no weights \(\*.safetensors\)"),
        (lambda path: (path / "config.json").unlink(), "has no config.json: not a Hugging Face model"),
        (lambda path: (path / "tokenizer.json").unlink(), "has no tokenizer.json, nor vocab.json"),
        (_edited("config.json", vocab_size=20), "vocab_size 20 is smaller than the tokenizer's"),
        (_edited("config.json", model_type="nonesuch"), "transformers cannot load it"),
        (_edited("config.json", n_layer=3), "weights do not fit config.json: missing keys"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(tmp_path: Path, harm: Any, told: str) -> None:
    model = save_model(tmp_path / "model", "gpt2")
    harm(model)
    with pytest.raises(ParleyError, match=told):
        walk(recipe_on(model, tmp_path), tmp_path, until="base")


def test_a_directory_that_is_not_there_is_not_asked_of_the_hub(tmp_path: Path) -> None:
    for name in (str(tmp_path / "nothing"), "./nothing", "a/b/c"):
        with pytest.raises(ConfigError, match=r"base\.from: there is no directory"):
            find_pretrained(name)


def test_a_context_that_is_too_short_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", "gpt2")
    recipe = recipe_on(model, tmp_path, **{"base.max_positions": "400"})
    with pytest.raises(ConfigError, match="base.max_positions is 400, but .* reads 320 tokens at most"):
        walk(recipe, tmp_path, until="base")
    with pytest.raises(ConfigError, match=r"sft.row_tokens: 256 tokens, base.max_positions is 200"):
        recipe_on(model, tmp_path, **{"base.max_positions": "200"})


def test_keys_that_say_nothing_to_a_loaded_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="base: width says nothing to a model that 'from' loads"):
        recipe_on("x", tmp_path, **{"base.width": "64"})
