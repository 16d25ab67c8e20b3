"""Demonstrations as tokens: what is supervised, what is cut, what is refused (rules S1, S5)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from parley.artifacts import Checkpoint, Run, Snapshot, Workspace
from parley.dialogue import dialogue
from parley.errors import ConfigError, DataError
from parley.labels import Demonstration, Document, Prompt
from parley.metrics import MetricsFile
from parley.model.checkpoint import LoadedModel, load_checkpoint, save_checkpoint
from parley.model.render import ChatFormat
from parley.numerics import NumericPlan
from parley.rlhf.batches import TokenSet
from parley.stages import sft
from parley.stages.baseline import BaselineConfig, EpochChoice, train_baseline
from parley.stages.records import demonstration_row, document_row, prompt_row, write_rows
from parley.stages.sft import SftConfig, check_stop_tokens, demonstration_tokens, train_sft
from tests.stages.test_ppo import reward
from tests.tiny import TEXTS, tiny_model

MODEL = tiny_model()
END = MODEL.tokenizer.end
TALK = dialogue(["Where?", "Mira lives in Oakby.", "Who?", "Tom works as a baker.", "Hm?", "I do not know."])


def supervised(examples: TokenSet, index: int, model: LoadedModel = MODEL) -> str:
    tokens, mask = examples.example(index)
    return model.tokenizer.decode([int(token) for token, on in zip(tokens, mask, strict=True) if on])


def test_only_imitated_turns_and_their_stop_tokens_are_supervised() -> None:
    chosen = Demonstration(TALK, (1, 5), "ana", "test")
    examples = demonstration_tokens([chosen], MODEL, row_tokens=200)
    assert supervised(examples, 0) == "Mira lives in Oakby.I do not know."
    tokens, mask = examples.example(0)
    assert sum(int(token) == END for token, on in zip(tokens, mask, strict=True) if on) == 2
    check_stop_tokens(examples, END)


def test_a_long_dialogue_is_cut_behind_a_whole_imitated_turn() -> None:
    whole = demonstration_tokens([Demonstration(TALK, (1, 3, 5), "a", "t")], MODEL, row_tokens=200)
    size = int(whole.lengths[0])
    cut = demonstration_tokens([Demonstration(TALK, (1, 3, 5), "a", "t")], MODEL, row_tokens=size - 1)
    assert supervised(cut, 0) == "Mira lives in Oakby.Tom works as a baker."
    check_stop_tokens(cut, END)
    assert len(demonstration_tokens([Demonstration(TALK, (5,), "a", "t")], MODEL, row_tokens=10)) == 0


def test_the_system_turn_of_the_chat_format_stands_in_front_and_shifts_nothing() -> None:
    model = LoadedModel(MODEL.decoder, MODEL.tokenizer, ChatFormat(name="Nora", identity="You are {name}."))
    examples = demonstration_tokens([Demonstration(TALK, (3,), "a", "t")], model, row_tokens=300)
    tokens, _ = examples.example(0)
    assert tokens[0] == model.tokenizer.system
    assert model.tokenizer.decode([int(t) for t in tokens]).startswith("You are Nora.Where?")
    assert supervised(examples, 0) == "Tom works as a baker."


def test_a_turn_whose_stop_token_is_not_trained_is_refused() -> None:
    with pytest.raises(DataError, match="record 2.*stop token"):
        check_stop_tokens(
            TokenSet.of([([5, 9, END], [False, True, True]), ([5, 9, END], [False, True, False])]), END
        )


def told(out: Workspace) -> Snapshot:
    talks = [dialogue([f"Where {n}?", "Mira lives in Oakby."]) for n in range(12)]
    shown = [Demonstration.of_all_turns(talk, trainer="a", source="s") for talk in talks]
    write_rows(out.file("demonstrations.jsonl"), map(demonstration_row, shown))
    write_rows(out.file("documents.jsonl"), (document_row(Document(text, "d")) for text in TEXTS * 9))
    write_rows(
        out.file("prompts.jsonl"), (prompt_row(Prompt(dialogue([f"Who {n}?"]), "p")) for n in range(6))
    )
    return out.seal(Snapshot, {})


def base(out: Workspace) -> Checkpoint:
    save_checkpoint(out.path, tiny_model(1).decoder, tiny_model().tokenizer, ChatFormat())
    return out.seal(Checkpoint, {})


def trained(path: Path, config: SftConfig) -> Checkpoint:
    run = Run(path, seed=1, plan=NumericPlan())
    return run.once("sft", train_sft, run.once("base", base), run.once("data", told), config)


SMALL = SftConfig(epochs=3, row_tokens=48, batch_tokens=96, replay=0.0, rate=1e-3, warmup=1)


def test_pretraining_text_is_mixed_in_the_ratio_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S7: ten percent of InstructGPT's RL init is `replay` 1/9; which documents is a function of the seed."""
    seen: list[TokenSet] = []
    monkeypatch.setattr(sft, "maximise_likelihood", lambda out, decoder, examples, **_: seen.append(examples))
    for path, share in (("a", 0.5), ("b", 0.5), ("c", 0.0)):
        trained(tmp_path / path, replace(SMALL, replay=share))
    assert [len(examples) for examples in seen] == [12 + 6, 12 + 6, 12]
    assert seen[0].tokens.tolist() == seen[1].tokens.tolist()
    assert [bool(seen[0].example(n)[1][1:].all()) for n in range(18)] == [False] * 12 + [True] * 6


def test_dropout_belongs_to_training_alone(tmp_path: Path) -> None:
    """S6: it changes what is learnt, from the seed; the checkpoint has none, and a kill changes nothing."""
    found = [
        trained(tmp_path / str(n), replace(SMALL, dropout=share)) for n, share in enumerate((0.2, 0.2, 0.0))
    ]
    assert found[0].digest == found[1].digest != found[2].digest


def test_recomputed_portions_of_one_row_learn_the_same(tmp_path: Path) -> None:
    """S4 over a whole stage: rounding is all that differs."""
    plain, parts = (
        load_checkpoint(trained(tmp_path / name, config).path, NumericPlan()).decoder.state_dict()
        for name, config in (("a", SMALL), ("b", replace(SMALL, micro_tokens=1, recompute=True)))
    )
    for name, weight in plain.items():
        torch.testing.assert_close(parts[name], weight, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            replace(SMALL, row_tokens=400, batch_tokens=400),
            "sft.row_tokens is 400, the model's context has 128",
        ),
        (replace(SMALL, row_tokens=8, batch_tokens=8), "none of 12 demonstrations .* raise it"),
    ],
)
def test_what_leaves_nothing_to_learn_is_refused(tmp_path: Path, config: SftConfig, words: str) -> None:
    """S5."""
    with pytest.raises(ConfigError, match=words):
        trained(tmp_path, config)


def test_the_reward_model_chooses_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S6: the weights after the epoch whose replies score highest, also where a kill came between."""
    marks = [0.1, 0.9, 0.4]
    run = Run(tmp_path / "run", seed=1, plan=NumericPlan())
    start, snapshot = run.once("base", base), run.once("data", told)
    scored = run.once("reward", reward, 128, False)
    config = BaselineConfig(sft=SMALL, prompts=4, max_new_tokens=5, max_prompt_tokens=24)
    kept: list[torch.Tensor] = []

    def score(self: EpochChoice) -> float:
        kept.append(self._model.decoder.head_weight.detach().clone())
        return marks[len(kept) - 1]

    with monkeypatch.context() as patch:
        patch.setattr(EpochChoice, "_score", score)
        done = run.once("sft baseline", train_baseline, start, snapshot, scored, config)
    chosen = load_checkpoint(done.path, NumericPlan()).decoder.head_weight
    assert torch.equal(chosen, kept[1])
    steps = MetricsFile(done.path / "metrics.jsonl").rows()
    assert [row["reward"] for row in steps if "reward" in row] == marks
    fast = replace(config, sft=replace(SMALL, rate=3e-2))
    real = run.once("sft real", train_baseline, start, snapshot, scored, fast)
    found = [row["reward"] for row in MetricsFile(real.path / "metrics.jsonl").rows() if "reward" in row]
    assert len(set(found)) == 3
    assert BaselineConfig().sft == SftConfig(epochs=16, dropout=0.2, warmup=0, floor=0.1, replay=0.0)
