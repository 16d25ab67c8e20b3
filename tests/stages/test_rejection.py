"""Rejection sampling: it learns from the best replies that end, and a kill changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parley.artifacts import Checkpoint, Run
from parley.engine.sampler import Completion
from parley.errors import InvariantError
from parley.metrics import MetricsFile
from parley.rlhf import loop
from parley.rlhf.batches import TokenSet
from parley.stages import ppo_models, rejection
from parley.stages.ppo import sample_replies
from parley.stages.ppo_config import PpoConfig
from parley.stages.rejection import Drawn, train_by_rejection
from tests.stages.test_ppo import CONFIG, PLAN, policy, reward, told

REJECTION = replace(CONFIG, method="rejection", best_of=4, steps=6, rate=1e-2, batch=6, epochs=1, warmup=0)


def trained(path: Path, config: PpoConfig) -> Checkpoint:
    run = Run(path, seed=1, plan=PLAN)
    sft = run.once("sft", policy, 2)
    scored = run.once("reward", reward, 64, False)
    return run.once("ppo 1", train_by_rejection, sft, sft, scored, run.once("data", told), config)


def prefer_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second reply is said to end; a score says how many of its tokens are even."""

    def score(prompts: object, examples: object, completions: list[Completion]) -> torch.Tensor:
        return torch.tensor([float(sum(token % 2 == 0 for token in done.tokens)) for done in completions])

    monkeypatch.setattr(ppo_models, "model_score", lambda *_: score)

    def ending(*arguments: Any) -> tuple[TokenSet, list[Completion]]:
        examples, completions = sample_replies(*arguments)
        return examples, [Completion(done.tokens, n % 2 == 0) for n, done in enumerate(completions)]

    monkeypatch.setattr(rejection, "sample_replies", ending)


def test_it_learns_what_scores_high(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefer_short(monkeypatch)
    done = trained(tmp_path, replace(REJECTION, steps=20, rate=2e-2))
    steps = MetricsFile(done.path / "metrics.jsonl").rows()
    first, last = (sum(step["score"] for step in part) / 4 for part in (steps[:4], steps[-4:]))
    assert last > first + 0.8
    assert steps[-1]["score"] > steps[0]["score"] + 0.8
    assert steps[-1]["kl_nats"] > 0.2 > abs(steps[0]["kl_nats"])
    assert all(step["best_score"] >= step["score"] for step in steps)
    assert done.figures["best_of_kl_nats"] == pytest.approx(log(4) - 3 / 4)
    curve = json.loads((done.path / rejection.CURVE).read_text())["curve"]
    assert [point["n"] for point in curve] == [1, 2, 3, 4]
    assert curve[0]["score"]["value"] == pytest.approx(steps[0]["score"], abs=1e-6)
    assert curve[3]["score"]["value"] == pytest.approx(steps[0]["best_score"], abs=1e-6)


def test_a_kill_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefer_short(monkeypatch)
    whole = trained(tmp_path / "whole", REJECTION)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "SAVE_SECONDS", 0.0)
        patch.setattr(loop, "SAVE_SHARE", 1e9)
        learn = rejection._learn

        def killed(*arguments: Any) -> float:
            if arguments[-1] == 3:
                raise KeyboardInterrupt
            return learn(*arguments)

        patch.setattr(rejection, "_learn", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "cut", REJECTION)
    assert trained(tmp_path / "cut", REJECTION).digest == whole.digest


def test_replies_that_never_end_are_not_learnt_from() -> None:
    nothing = -np.inf
    usable = np.array([[1.0, nothing, 3.0], [nothing, nothing, nothing], [nothing, 0.5, 0.2]])
    drawn = Drawn(TokenSet.of([]), [], np.ones((3, 3)), usable, None)
    assert drawn.best == [2, 7]


def test_where_no_reply_ends_there_is_a_diagnosis(tmp_path: Path) -> None:
    with pytest.raises(InvariantError, match=r"not one of 24 replies ends.*max_new_tokens"):
        trained(tmp_path, replace(REJECTION, max_new_tokens=1))
