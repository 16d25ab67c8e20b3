"""Evaluation on people's words: what is remembered by source, what PPO gained prompt by prompt."""

from __future__ import annotations

import bz2
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parley.artifacts import Checkpoint, EvalReport, Run, Snapshot, Workspace
from parley.dialogue import dialogue
from parley.labels import Demonstration, Document, Prompt
from parley.model.checkpoint import load_checkpoint
from parley.numerics import NumericPlan
from parley.reports.collect import collect
from parley.reports.run_report import render
from parley.stages.base import bits_per_byte
from parley.stages.evaluate import EvaluateConfig, evaluate_words
from parley.stages.likelihood import mean_loss
from parley.stages.memory import pooled, remembered
from parley.stages.records import demonstration_row, document_row, prompt_row, write_rows
from parley.stages.sft import demonstration_tokens
from tests.reports.reading import assert_self_contained, read
from tests.stages.test_ppo import policy, reward
from tests.tiny import TEXTS

PLAN = NumericPlan()
CONFIG = EvaluateConfig(prompts=12, max_new_tokens=6, max_prompt_tokens=32, row_tokens=64, transcripts=3)
TALKS = (["Where?", "Mira lives in Oakby."], ["Who?", "Tom works as a baker.", "Hm?", "I do not know."])


def told(out: Workspace) -> Snapshot:
    documents = [Document(text, "novels" if n else "wiki") for n, text in enumerate(TEXTS)]
    talks = [
        Demonstration.of_all_turns(dialogue(t), trainer="a", source=f"talk {n}") for n, t in enumerate(TALKS)
    ]
    prompts = [Prompt(dialogue([f"Who {n}?"]), "test") for n in range(20)]
    write_rows(out.file("documents-held-out.jsonl"), map(document_row, documents))
    write_rows(out.file("demonstrations-held-out.jsonl"), map(demonstration_row, talks))
    write_rows(out.file("prompts-held-out.jsonl"), map(prompt_row, prompts))
    return out.seal(Snapshot, {})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("runs") / "words", seed=1, plan=PLAN)


def evaluated(run: Run, stage: str, seed: int, *, rewarded: bool) -> EvalReport:
    label = stage.replace("-", " ")
    ours, sft = run.once(label, policy, seed), run.once("sft", policy, 2)
    rewards = (run.once("reward 1", reward, 64, False),) if rewarded else ()
    return run.once(f"evaluate {stage}", evaluate_words, ours, sft, rewards, run.once("data", told), CONFIG)


def report(made: EvalReport) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.file("report.json").read_text())
    return found


def test_likelihood_is_told_source_by_source_and_adds_up(run: Run) -> None:
    found = report(evaluated(run, "sft", 2, rewarded=False))
    model = load_checkpoint(run.once("sft", policy, 2).path, PLAN)
    texts = found["memory"]["texts"]
    assert texts["wiki"]["bits_per_byte"] == pytest.approx(
        bits_per_byte(model.decoder, model.tokenizer, TEXTS[:1], row_tokens=64), rel=1e-6
    )
    assert texts["novels"]["bytes"] == sum(len(text.encode()) for text in TEXTS[1:])
    novels = "".join(TEXTS[1:]).encode()
    assert texts["novels"]["bz2_bits_per_byte"] == 8 * len(bz2.compress(novels)) / len(novels)
    assert found["bits_per_byte"] == pytest.approx(
        bits_per_byte(model.decoder, model.tokenizer, TEXTS, row_tokens=64), rel=1e-6
    )
    every = [Demonstration.of_all_turns(dialogue(t), trainer="a", source="s") for t in TALKS]
    examples = demonstration_tokens(every, model, row_tokens=64)
    assert set(found["memory"]["dialogues"]) == {"talk 0", "talk 1"}
    assert found["dialogue_loss"] == pytest.approx(
        mean_loss(model.decoder, examples, pad=model.tokenizer.pad, row_tokens=64), rel=1e-6
    )


def test_a_fixed_model_knows_a_uniform_text_by_closed_form(run: Run) -> None:
    """With all weights zero every token has probability 1/V."""
    model = load_checkpoint(run.once("sft", policy, 2).path, PLAN)
    for weight in model.decoder.parameters():
        weight.data.zero_()
    found = remembered(model, run.once("data", told), row_tokens=64)
    for part in found["dialogues"].values():
        assert part["loss"] == pytest.approx(math.log(model.tokenizer.vocab_size), rel=1e-6)
    assert pooled(found)["dialogue_loss"] == pytest.approx(math.log(model.tokenizer.vocab_size), rel=1e-6)
    assert pooled({"texts": {}, "dialogues": {}}) == {}


def test_the_gain_is_paired_and_everything_behind_it_stands_in_the_json(run: Run) -> None:
    found = report(evaluated(run, "ppo-1", 3, rewarded=True))
    before, after = (np.array(found["per_prompt"][key]) for key in ("before", "after"))
    assert len(before) == len(after) == CONFIG.prompts
    gaps = after - before
    assert found["reward_gain"] == pytest.approx(gaps.mean())
    assert found["reward_gain se"] == pytest.approx(gaps.std(ddof=1) / math.sqrt(len(gaps)))
    assert found["reward"] - found["sft_reward"] == pytest.approx(found["reward_gain"])
    assert found["kl_nats"] == pytest.approx(np.mean(found["per_prompt"]["kl_nats"]))
    assert all(found["per_prompt"]["kl_nats"])
    assert found["kl_nats"] > -3 * found["kl_nats se"]  # its expectation is above 0
    samples = found["side_by_side"]
    assert [sample["after"]["score"] for sample in samples] == pytest.approx(after[:3], abs=1e-4)
    assert samples[0]["messages"] == [["user", "Who 0?"]] or samples[0]["messages"][0][0] == "user"


def test_a_policy_that_is_the_reference_gains_nothing_at_no_kl(run: Run) -> None:
    found = report(evaluated(run, "ppo-2", 2, rewarded=True))
    assert found["reward_gain"] == 0.0
    assert found["kl_nats"] == pytest.approx(0.0, abs=1e-5)
    assert found["sft_tokens"] == found["tokens"]


def test_the_page_shows_the_gain_the_samples_and_the_tax(run: Run) -> None:
    evaluated(run, "sft", 2, rewarded=False)
    evaluated(run, "ppo-1", 3, rewarded=True)
    page = read(render(collect(run.path)))
    told_on_page = " ".join(page.text.replace("\u00a0", " ").replace("\u202f", " ").split())
    assert page.problems == []
    assert_self_contained(page)
    assert "PPO on held-out prompts" in told_on_page
    assert "the first 3 prompts, before and after" in told_on_page
    assert "What was remembered" in told_on_page
    assert (
        "held-out prompts PPO 1 moved it by" in told_on_page
        or "held-out prompts PPO 2 moved it by" in told_on_page
    )
    plots = [found["aria-label"] for name, found in page.tags if name == "svg"]
    assert any(label.startswith("Texts, bits per byte") and "wiki" in label for label in plots)


def test_without_a_reward_model_replies_are_still_shown(run: Run) -> None:
    made = evaluated(run, "sft", 2, rewarded=False)
    assert "reward" not in report(made)
    assert len(made.file("transcripts.jsonl").read_text().splitlines()) == CONFIG.transcripts


def test_nothing_held_out_is_an_empty_report(tmp_path: Path) -> None:
    def nothing(out: Workspace) -> Snapshot:
        return out.seal(Snapshot, {})

    run = Run(tmp_path, seed=1, plan=PLAN)
    sft: Checkpoint = run.once("sft", policy, 2)
    made = run.once("evaluate sft", evaluate_words, sft, sft, (), run.once("data", nothing), CONFIG)
    assert report(made) == {"kind": "words", "memory": {"texts": {}, "dialogues": {}}}
