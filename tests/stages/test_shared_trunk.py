"""Policy, reference, critic and reward model on one trunk: in memory once, and nobody changes another."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from parley.artifacts import Checkpoint, RewardCheckpoint, Run, Snapshot, Workspace
from parley.dialogue import Message, dialogue
from parley.labels import Prompt, Ranking, Ranks
from parley.model.adapters import AdaptedModel, AdapterConfig, SharedTrunk
from parley.model.checkpoint import load_checkpoint, save_checkpoint
from parley.model.decoder import causal_bias, count_parameters
from parley.model.language_model import LanguageModel
from parley.model.render import ChatFormat
from parley.model.reward_checkpoint import LoadedReward, load_reward
from parley.numerics import NumericPlan
from parley.rlhf.forward import score_all
from parley.rlhf.groups import ranked_replies
from parley.stages import ppo, ppo_models
from parley.stages.data import rankings_of
from parley.stages.ppo import train_ppo
from parley.stages.ppo_config import PpoConfig
from parley.stages.records import prompt_row, ranking_row, write_rows
from parley.stages.reward import RewardConfig, join_reward_models, train_reward_model
from tests.tiny import tiny_decoder, tiny_tokenizer, workspace

PLAN = NumericPlan()
LORA = AdapterConfig(rank=4, alpha=8.0)
REWARD = RewardConfig(epochs=2, batch_rankings=4, rate=3e-2, context=64, adapters=LORA)
PPO = PpoConfig(
    steps=3,
    batch=8,
    value_only_steps=0,
    rate=1e-2,
    max_new_tokens=4,
    max_prompt_tokens=24,
    normalising_replies=8,
    adapters=LORA,
)


def policy(out: Workspace, seed: int) -> Checkpoint:
    save_checkpoint(out.path, tiny_decoder(seed, width=64), tiny_tokenizer(), ChatFormat())
    return out.seal(Checkpoint, {})


def told(out: Workspace) -> Snapshot:
    texts = ("Mira lives in Oakby.", "I do not know.")
    rankings = [
        Ranking(
            dialogue([f"Where does Mira live {n}?"]),
            tuple(Message("assistant", text, "p") for text in texts),
            Ranks((1, 2)),
            "ana",
            "s",
        )
        for n in range(16)
    ]
    write_rows(out.file("rankings.jsonl"), map(ranking_row, rankings))
    write_rows(
        out.file("prompts.jsonl"), (prompt_row(Prompt(dialogue([f"Who {n}?"]), "t")) for n in range(5))
    )
    return out.seal(Snapshot, {})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Base and SFT, and two reward models with adapters on the SFT model, which they read as well."""
    run = Run(tmp_path_factory.mktemp("run"), seed=1, plan=PLAN)
    base, sft = (run.once(label, policy, seed) for label, seed in (("base", 1), ("sft", 2)))
    snapshot = run.once("data", told)
    for label in ("reward 1", "reward 2"):
        run.once(label, train_reward_model, sft, base, sft, snapshot, (), REWARD)
    return run


def made(run: Run, label: str) -> tuple[Checkpoint, RewardCheckpoint, Snapshot]:
    sft, reward, snapshot = (run.made[name] for name in ("sft", label, "data"))
    assert isinstance(sft, Checkpoint)
    assert isinstance(reward, RewardCheckpoint)
    assert isinstance(snapshot, Snapshot)
    return sft, reward, snapshot


def shared_trunk(run: Run) -> SharedTrunk:
    return SharedTrunk(load_checkpoint(made(run, "reward 1")[0].path, PLAN).decoder)


def scores(loaded: LoadedReward, snapshot: Snapshot) -> Tensor:
    replies = ranked_replies(list(rankings_of(snapshot)), loaded, context=64)
    with torch.no_grad():
        return score_all(loaded.model, replies.answers, pad=loaded.tokenizer.pad)


def logits(model: LanguageModel) -> Tensor:
    tokens = torch.randint(250, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.logits(model(tokens, torch.arange(9).expand(2, 9), causal_bias(torch.ones_like(tokens))))


def test_adapters_on_the_trunk_score_as_the_merged_model_does(run: Run) -> None:
    _, reward, snapshot = made(run, "reward 1")
    merged, worn = load_reward(reward.path, PLAN), load_reward(reward.path, PLAN, trunk=shared_trunk(run))
    assert isinstance(worn.members[0].trunk, AdaptedModel)
    assert not isinstance(merged.members[0].trunk, AdaptedModel)
    told = scores(merged, snapshot)
    assert told.std() > 0.05, "it learnt something, so that the comparison says something"
    torch.testing.assert_close(scores(worn, snapshot), told, rtol=1e-5, atol=1e-5)


def test_another_trunk_does_not_get_the_adapters(run: Run) -> None:
    _, reward, snapshot = made(run, "reward 1")
    other = SharedTrunk(load_checkpoint(run.made["base"].path, PLAN).decoder)
    loaded = load_reward(reward.path, PLAN, trunk=other)
    assert not isinstance(loaded.members[0].trunk, AdaptedModel)
    assert torch.equal(scores(loaded, snapshot), scores(load_reward(reward.path, PLAN), snapshot))


def test_an_ensemble_stays_on_one_trunk(run: Run, tmp_path: Path) -> None:
    sft, _, snapshot = made(run, "reward 1")
    members = tuple(made(run, label)[1] for label in ("reward 1", "reward 2"))
    joined = join_reward_models(workspace(tmp_path), members, snapshot, (), sft)
    worn, merged = (load_reward(joined.path, PLAN, trunk=trunk) for trunk in (shared_trunk(run), None))
    assert len(worn.members) == 2
    assert count_parameters(worn.model) < 0.5 * count_parameters(merged.model)
    torch.testing.assert_close(scores(worn, snapshot), scores(merged, snapshot), rtol=1e-5, atol=1e-5)


def weights_in_memory() -> Iterator[Tensor]:
    """Every matrix that anything still holds."""
    found = (item for item in gc.get_objects() if type(item) is torch.nn.Parameter)
    return iter({weight.data_ptr(): weight for weight in found}.values())


def test_ppo_holds_the_trunk_once(run: Run, tmp_path: Path) -> None:
    """Everything that PPO has loaded, counted from all parameters that are alive."""
    sft, reward, snapshot = made(run, "reward 1")
    gc.collect()
    before = {weight.data_ptr() for weight in weights_in_memory()}
    models = ppo_models.load_models(workspace(tmp_path), sft, sft, reward, snapshot, PPO)
    gc.collect()
    loaded = sum(w.numel() for w in weights_in_memory() if w.data_ptr() not in before)
    trunk = count_parameters(models.reference)
    learnt = sum(count_parameters(model) for model in (models.policy.decoder, models.value))
    base_reader = trunk  # the reward model reads the base model's surprise; that of SFT is the trunk's
    heads_and_adapters = count_parameters(load_reward(reward.path, PLAN, trunk=shared_trunk(run)).model)
    assert loaded == trunk + base_reader + learnt + heads_and_adapters
    assert learnt < 0.5 * trunk


def test_the_reference_is_the_trunk_with_adapters_off_bit_for_bit(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sft, reward, snapshot = made(run, "reward 1")
    kept: list[ppo_models.Models] = []
    load = ppo_models.load_models

    def keep(*arguments: object) -> ppo_models.Models:
        kept.append(load(*arguments))  # type: ignore[arg-type]
        return kept[0]

    monkeypatch.setattr(ppo, "load_models", keep)
    done = run.once("ppo 1", train_ppo, sft, sft, reward, snapshot, PPO)
    before = logits(load_checkpoint(sft.path, PLAN).decoder)
    assert torch.equal(logits(kept[0].reference), before)
    learnt = logits(kept[0].policy.decoder)
    assert (learnt - before).abs().max() > 1e-3
    merged = logits(load_checkpoint(done.path, PLAN).decoder)
    torch.testing.assert_close(merged, learnt, rtol=0, atol=1e-5 * float(learnt.abs().max()))


def test_what_does_not_go_with_adapters_is_said() -> None:
    for other in ({"frozen_layers": 1}, {"dropout": 0.1}):
        with pytest.raises(ValueError, match="adapters leave frozen"):
            replace(REWARD, **other)
