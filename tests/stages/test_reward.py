"""The reward model: head, centring, learning, and what is kept on disk (rules R3, R4, R5, P20)."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from parley.artifacts import Checkpoint, RewardCheckpoint, Run, Snapshot, Workspace
from parley.dialogue import Message, dialogue
from parley.errors import ArtifactError, ConfigError
from parley.evals.reward_accuracy import accuracies
from parley.labels import Demonstration, Prompt, Ranking, Ranks
from parley.metrics import MetricsFile
from parley.model.checkpoint import load_checkpoint, save_checkpoint
from parley.model.heads import RewardModel, ValueModel
from parley.model.render import ChatFormat
from parley.model.reward_checkpoint import load_reward
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.rlhf import loop
from parley.rlhf.batches import TokenSet
from parley.rlhf.forward import score_all
from parley.stages import centring, reward
from parley.stages.centring import last_exchange
from parley.stages.data import demonstrations_of, rankings_of
from parley.stages.records import demonstration_row, prompt_row, ranking_row, write_rows
from parley.stages.reward import RewardConfig, _batches, train_reward_model
from tests.tiny import tiny_decoder, tiny_tokenizer, workspace

PLAN = NumericPlan()
GOOD, BAD = "Mira lives in Oakby.", "I do not know."


def policy(out: Workspace, seed: int) -> Checkpoint:
    save_checkpoint(out.path, tiny_decoder(seed), tiny_tokenizer(), ChatFormat())
    return out.seal(Checkpoint, {})


def told(out: Workspace) -> Snapshot:
    """Forty rankings that prefer one of two answers, ten of them held out, and a few demonstrations."""
    rankings = [
        Ranking(
            dialogue([f"Where does Mira live {n}?"]),
            tuple(Message("assistant", text, "p") for text in ((GOOD, BAD) if n % 2 else (BAD, GOOD))),
            Ranks((1, 2) if n % 2 else (2, 1)),
            "ana",
            "even" if n % 4 < 2 else "odd",
        )
        for n in range(50)
    ]
    talk = dialogue(["Who?", "Tom works as a baker."])
    write_rows(
        out.file("prompts.jsonl"), (prompt_row(Prompt(dialogue([f"Who {n}?"]), "p")) for n in range(4))
    )
    write_rows(out.file("rankings.jsonl"), map(ranking_row, rankings[:40]))
    write_rows(out.file("rankings-held-out.jsonl"), map(ranking_row, rankings[40:]))
    rows = [demonstration_row(Demonstration.of_all_turns(talk, trainer="a", source="s"))] * 5
    write_rows(out.file("demonstrations.jsonl"), rows)
    return out.seal(Snapshot, {})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RewardCheckpoint, Snapshot]:
    run = Run(tmp_path_factory.mktemp("run"), seed=1, plan=PLAN)
    base, sft = (run.once(label, policy, seed) for label, seed in (("base", 1), ("sft", 2)))
    snapshot = run.once("data", told)
    config = RewardConfig(epochs=4, batch_rankings=4, rate=3e-3, warmup=2)
    return run.once("reward 1", train_reward_model, sft, base, sft, snapshot, (), config), snapshot


def test_it_learns_which_answer_people_prefer(trained: tuple[RewardCheckpoint, Snapshot]) -> None:
    figures = trained[0].figures
    assert figures["accuracy"] == 1.0
    assert figures["accuracy n"] == 10
    assert figures["accuracy even n"] + figures["accuracy odd n"] == 10
    assert figures["accuracy low"] < 0.8


def test_demonstrations_score_zero_in_the_mean(trained: tuple[RewardCheckpoint, Snapshot]) -> None:
    """R5, after loading: the shift is part of the artifact."""
    loaded = load_reward(trained[0].path, PLAN)
    shown = [last_exchange(item, loaded) for item in demonstrations_of(trained[1])]
    examples = TokenSet.of(shown)
    assert score_all(loaded.model, examples, pad=loaded.tokenizer.pad).mean().item() == pytest.approx(
        0, abs=1e-5
    )


def test_a_shift_changes_no_comparison(trained: tuple[RewardCheckpoint, Snapshot]) -> None:
    loaded = load_reward(trained[0].path, PLAN)
    rankings = list(rankings_of(trained[1], held_out=True))
    before = accuracies(loaded, rankings)
    (member,) = loaded.members
    member.shift += 7.0
    assert accuracies(loaded, rankings) == before


def test_the_directory_is_self_contained(trained: tuple[RewardCheckpoint, Snapshot]) -> None:
    path = trained[0].path
    about = json.loads((path / "reward.json").read_text())
    assert len(about["readers"]) == 2
    assert all((path / "readers" / str(n) / "model.safetensors").exists() for n in range(2))
    assert all(load_checkpoint(path / "readers" / str(n), PLAN) for n in range(2))


@pytest.mark.parametrize("damage", ["readers/0/model.safetensors", "model.safetensors", "reward.json"])
def test_a_changed_part_is_refused(
    trained: tuple[RewardCheckpoint, Snapshot], tmp_path: Path, damage: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained[0].path, copy)
    file = copy / damage
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match=r"safetensors|reward\.json|readers"):
        load_reward(copy, PLAN)


def test_without_rankings_there_is_nothing_to_learn(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", seed=1, plan=PLAN)
    base = run.once("base", policy, 1)
    with pytest.raises(ConfigError, match="no rankings"):
        run.once(
            "reward", train_reward_model, base, base, base, Snapshot(tmp_path, "x", {}), (), RewardConfig()
        )


def test_heads_start_as_they_should() -> None:
    """R4: standard deviation 1/sqrt(width + 1), bias 0; P20: the critic's head starts at zero."""
    torch.manual_seed(0)
    wide = [RewardModel(tiny_decoder(0, width=64), []).score.weight for _ in range(200)]
    assert torch.cat(wide).std().item() == pytest.approx(65**-0.5, rel=0.05)
    assert RewardModel(tiny_decoder(), []).score.bias.item() == 0.0
    value = ValueModel(tiny_decoder())
    assert not value.head.weight.any()
    assert value.head.bias.item() == 0.0


def test_every_ranking_is_seen_once_an_epoch_and_never_split(tmp_path: Path) -> None:
    """R3."""
    out = workspace(tmp_path)
    batches = list(_batches(out, 23, RewardConfig(epochs=2, batch_rankings=5)))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3] * 2
    assert sorted(chain(*batches[:5])) == sorted(chain(*batches[5:])) == list(range(23))
    assert batches[:5] != batches[5:]
    assert list(_batches(replace(out, seed=9), 23, RewardConfig(batch_rankings=5))) != batches[:5]


LEARNING = RewardConfig(
    epochs=3,
    batch_rankings=4,
    rate=2e-3,
    warmup=2,
    pooling="last+mean",
    language_weight=0.1,
    dropout=0.1,
    frozen_layers=1,
    validation_share=0.3,
    validate_every=4,
)


def learnt(path: Path, config: RewardConfig) -> RewardCheckpoint:
    run = Run(path, seed=1, plan=PLAN)
    base, sft = (run.once(label, policy, seed) for label, seed in (("base", 1), ("sft", 2)))
    return run.once("reward 1", train_reward_model, sft, base, sft, run.once("data", told), (), config)


def test_every_option_at_once_learns_and_survives_a_kill_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1 with pooling, language term, dropout, frozen layers and early stopping."""
    whole = learnt(tmp_path / "whole", LEARNING)
    assert whole.figures["accuracy"] == 1.0
    assert whole.figures["rankings"] < 40, "the part that is watched is not learnt from"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "SAVE_SECONDS", 0.0)
        patch.setattr(loop, "SAVE_SHARE", 1e9)
        step = reward._step

        def killed(*args: Any) -> dict[str, float]:
            if args[-1] == 14:
                raise KeyboardInterrupt
            return step(*args)

        patch.setattr(reward, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            learnt(tmp_path / "cut", LEARNING)
    assert learnt(tmp_path / "cut", LEARNING).digest == whole.digest


def test_the_weights_with_the_lowest_loss_on_the_watched_part_are_kept(tmp_path: Path) -> None:
    done = learnt(tmp_path, replace(LEARNING, validate_every=2))
    rows = MetricsFile(done.path / "metrics.jsonl").rows()
    losses = {row["step"]: row["validation_loss"] for row in rows if "validation_loss" in row}
    assert done.figures["best validation loss"] == min(losses.values())
    assert losses[done.figures["best step"]] == min(losses.values())


def test_frozen_layers_and_embeddings_stay_as_they_were(tmp_path: Path) -> None:
    done = learnt(tmp_path, replace(LEARNING, validation_share=0.0, validate_every=0))
    trunk, before = load_reward(done.path, PLAN).members[0].trunk, tiny_decoder(2)
    same = {
        name: torch.equal(weight, before.state_dict()[name]) for name, weight in trunk.state_dict().items()
    }
    frozen = {name for name in same if name == "embedding" or name.startswith("layers.0.")}
    assert {name for name, equal in same.items() if equal} == frozen


def test_the_watched_part_is_cut_off_by_prompt() -> None:
    rankings = [
        Ranking(
            dialogue([f"Who {n % 20}?", "Mira.", f"And {n}?"]),
            (Message("assistant", "a", "p"), Message("assistant", "b", "p")),
            Ranks((1, 2)),
            "ana",
            "test",
        )
        for n in range(60)
    ]
    seen, unseen = reward._apart(rankings, 3, 0.3)
    first = [{item.prompt.messages[0].text for item in part} for part in (seen, unseen)]
    assert len(seen) + len(unseen) == 60
    assert min(len(seen), len(unseen)) > 0
    assert not first[0] & first[1]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"frozen_layers": 3}, "has 2 layers"),
        ({"validation_share": 1e-9}, "raise it"),
        ({"context": 129}, "reward.context is 129, the model's context has 128"),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        learnt(tmp_path, RewardConfig(**config))
    with pytest.raises(ValueError, match="validation_share"):
        RewardConfig(patience=3)


def test_scores_of_the_policys_own_replies_are_normalised_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R6: mean 0 and deviation 1 on the very replies, twice; the loaded model has them still."""
    seen: list[TokenSet] = []
    scores: list[torch.Tensor] = []
    normalise = centring.normalise

    def spy(loaded: Any, replies: TokenSet) -> None:
        normalise(loaded, replies)
        seen.append(replies)
        scores.append(score_all(loaded.model, replies, pad=loaded.tokenizer.pad))

    monkeypatch.setattr(centring, "normalise", spy)
    monkeypatch.setattr(reward, "normalise", spy)
    done = learnt(tmp_path, RewardConfig(rate=3e-3, normalising_replies=9, context=48))
    assert len(seen) == 2
    assert seen[0] is seen[1]
    for found in scores:
        assert found.mean().item() == pytest.approx(0.0, abs=1e-5)
        assert found.std(unbiased=False).item() == pytest.approx(1.0, abs=1e-4)
    loaded = load_reward(done.path, PLAN)
    torch.testing.assert_close(score_all(loaded.model, seen[0], pad=loaded.tokenizer.pad), scores[1])


def test_a_gain_and_a_bias_by_hand() -> None:
    """R6 in closed form: a score s becomes g s + b, whatever had been subtracted from it."""
    torch.manual_seed(0)
    model = RewardModel(tiny_decoder(), [])
    model.shift += 0.4
    model.score.bias.data += 0.2
    states, last, owners = torch.randn(1, 5, 32), torch.tensor([1, 4]), torch.tensor([[0, 0, 1, 1, 1]])
    before = model.judge(states, last, owners)
    model.rescale(2.5, -0.3)
    torch.testing.assert_close(model.judge(states, last, owners), 2.5 * before - 0.3)


def test_portions_and_recomputed_layers_learn_the_same(tmp_path: Path) -> None:
    config = RewardConfig(batch_rankings=4, rate=1e-3, warmup=2)
    plain, parts = (
        load_reward(learnt(tmp_path / name, one).path, PLAN).model.state_dict()
        for name, one in (("a", config), ("b", replace(config, micro_tokens=1, recompute=True)))
    )
    for name, weight in plain.items():
        torch.testing.assert_close(parts[name], weight, atol=5e-5, rtol=1e-3)


def test_readers_with_another_tokenizer_are_refused(tmp_path: Path) -> None:
    """A reward model from another base, in other tokens."""

    def other(out: Workspace) -> Checkpoint:
        words = Tokenizer.train(["quite other words"] * 3, 300)
        save_checkpoint(out.path, tiny_decoder(1), words, ChatFormat())
        return out.seal(Checkpoint, {})

    run = Run(tmp_path, seed=1, plan=PLAN)
    base, sft = run.once("base", other), run.once("sft", policy, 2)
    with pytest.raises(ConfigError, match="another tokenizer than the policy"):
        run.once("r", train_reward_model, sft, base, sft, run.once("data", told), (), RewardConfig())
