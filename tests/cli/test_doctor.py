"""The doctor finds what was planted: in a sampler, a checkpoint, a run's curves; and is quiet otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from parley.artifacts import Run, write_atomically
from parley.cli import main
from parley.engine.sampler import Completion
from parley.metrics import MetricsFile
from parley.model.checkpoint import save_checkpoint
from parley.model.decoder import Layer
from parley.model.reward_checkpoint import load_reward, save_reward
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.rlhf.checkup import Check
from parley.rlhf.invariants import FINDINGS
from parley.stages import checkup, ppo
from parley.stages.checkup import Taken, curve_checks, rehearsal, replay
from tests.tiny import TEXTS, tiny_model

Sample = Callable[..., list[Completion]]


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    return rehearsal(tmp_path_factory.mktemp("rehearsal"), NumericPlan())


def failing(checks: Sequence[Check]) -> set[str]:
    return {check.name for check in checks if check.holds is False}


def test_everything_holds_in_a_rehearsal(taken: Taken, tmp_path: Path) -> None:
    checks = replay(taken, tmp_path)
    assert not failing(checks)
    assert len(checks) == 14
    assert sum(check.holds is None for check in checks) <= 1


def test_a_sampler_at_another_temperature_is_found(
    taken: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: what a forgotten temperature does; no ratio shows it, since both log-probabilities are the learner's."""
    sample: Sample = vars(ppo)["sample"]

    def forgetful(*arguments: Any, temperature: float, **others: Any) -> list[Completion]:
        return sample(*arguments, temperature=0.5 * temperature, **others)

    monkeypatch.setattr(ppo, "sample", forgetful)
    assert failing(replay(taken, tmp_path / "told")) == {"a batch can be sampled"}
    monkeypatch.setattr(ppo, "sampler_gap", lambda *_: 0.0)  # one that tells the learner's log-probabilities
    found = failing(replay(taken, tmp_path / "hidden"))
    assert "sampler and learner agree" in found
    assert "ratio is 1 at the first minibatch" not in found


def test_a_filter_in_the_sampler_is_found(
    taken: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: top-p at 0.8."""
    sample: Sample = vars(ppo)["sample"]

    def filtered(*arguments: Any, **others: Any) -> list[Completion]:
        return sample(*arguments, **others, top_p=0.8)

    monkeypatch.setattr(ppo, "sample", filtered)
    assert "sampler and learner agree" in failing(replay(taken, tmp_path))


def test_a_sampler_that_goes_on_behind_the_end_is_found(
    taken: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample: Sample = vars(ppo)["sample"]

    def endless(*arguments: Any, end_id: int, **others: Any) -> list[Completion]:
        done = sample(*arguments, end_id=end_id, **others)
        return [replace(one, tokens=(*one.tokens[:2], end_id, *one.tokens[2:])) for one in done]

    monkeypatch.setattr(ppo, "sample", endless)
    monkeypatch.setattr(ppo, "sampler_gap", lambda *_: 0.0)
    assert "replies stop at their end" in failing(replay(taken, tmp_path))


def test_dropout_in_the_policy_is_found(
    taken: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P13, P3: noise between the roll-out and the update."""
    load = vars(checkup)["load_models"]

    def noisy(*arguments: Any) -> Any:
        models = load(*arguments)
        drop = nn.Dropout(0.2).train()
        layer = next(part for part in models.policy.decoder.modules() if isinstance(part, Layer))
        layer.add_module("forgotten", drop)
        layer.register_forward_hook(lambda _, __, out: drop(out))
        return models

    monkeypatch.setattr(checkup, "load_models", noisy)
    torch.manual_seed(0)
    (found,) = [check for check in replay(taken, tmp_path) if check.holds is False]
    assert found.name == "a batch can be sampled"
    assert "the sampler's log-probability of a token is" in found.told


def test_a_reward_model_of_another_tokenizer_is_found(taken: Taken, tmp_path: Path) -> None:
    judge = load_reward(taken.reward.path, NumericPlan())
    other = replace(judge, tokenizer=Tokenizer.train([*TEXTS, "quite other words"] * 3, 400), context=8)
    save_reward(tmp_path / "reward", other)
    found = failing(replay(replace(taken, reward=replace_path(taken, tmp_path / "reward")), tmp_path / "out"))
    assert found == {"reward model and policy share a tokenizer", "the reward model reads whole replies"}


def replace_path(taken: Taken, path: Path) -> Any:
    return replace(taken.reward, path=path)


def test_the_curves_tell_what_went_wrong(tmp_path: Path) -> None:
    stage = tmp_path / "ppo-1-0123456789ab"
    stage.mkdir()
    for step in range(1, 11):
        figures = {"score": 0.1 * step, "gold": -0.2 * step, "gold se": 0.05, "kl_nats": 1.0}
        MetricsFile(stage / "metrics.jsonl").write(step, figures)
    assert failing(curve_checks(tmp_path)) == {"gold does not fall while the proxy rises"}
    write_atomically(
        stage / FINDINGS, json.dumps({"step": 4, "name": "clipping", "sentence": "lower rate"}) + "\n"
    )
    assert "clipping, step 4" in failing(curve_checks(tmp_path))
    assert curve_checks(tmp_path / "nowhere") == []


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose numeric plan is chosen already, so that nothing is measured."""
    monkeypatch.setenv("PARLEY_HOME", str(tmp_path))
    monkeypatch.setattr("parley.cli.doctor.machine_plan", NumericPlan)
    monkeypatch.setattr("parley.cli.plan.machine_plan", NumericPlan)
    return tmp_path


def test_the_command_ends_with_0_where_all_is_well(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] is True
    assert told["subject"] == "rehearsal"
    assert len(told["checks"]["machine"]) == 6
    assert [check["name"] for check in told["checks"]["memory plan"]][:2] == ["base", "sft"]


def test_a_checkpoint_is_examined(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model()
    save_checkpoint(home / "good", model.decoder, model.tokenizer, model.chat_format)
    assert main(["doctor", str(home / "good")]) == 0
    assert "✓ every answer's stop token is trained: 2 of 2" in capsys.readouterr().out
    with torch.no_grad():
        model.decoder.head_weight[3] = float("nan")
    save_checkpoint(home / "bad", model.decoder, model.tokenizer, model.chat_format)
    assert main(["doctor", str(home / "bad")]) == 1
    assert "✗ logits are finite" in capsys.readouterr().out


def test_a_run_that_is_not_far_enough_says_which_stage_is_missing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run(home / "runs" / "r", seed=1, plan=NumericPlan())
    assert main(["doctor", str(home / "runs" / "r")]) == 0
    assert "the stage 'data' is not finished" in capsys.readouterr().out


def test_what_is_nothing_of_these_ends_with_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(home / "nothing")]) == 2
    assert "is no recipe, no run's directory and no checkpoint" in capsys.readouterr().err
