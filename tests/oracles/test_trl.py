"""Our losses are TRL's, step by step, to 1e-5: as recorded, and live where TRL can be had.

Recorded by `python -m tests.oracles.record --trl PEER/bin/python`; live with trl beside parley, or with
`PARLEY_TRL=PEER/bin/python` in the environment.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parley.rlhf.batches import TokenSet, packed_batch
from parley.rlhf.forward import supervised_logprobs
from parley.rlhf.loop import adam, descend, set_rate
from parley.rlhf.losses import sft_loss
from parley.rlhf.preference import preference_loss
from tests.oracles.record import RATE, RECORD, STEPS, asked, groups, inputs, model, reward_model
from tests.tiny import tiny_tokenizer

PAD = tiny_tokenizer().pad
PEER = os.environ.get("PARLEY_TRL") or (sys.executable if importlib.util.find_spec("trl") else "")


def descended(module: nn.Module, loss: Callable[[], Tensor]) -> list[float]:
    """The losses before each of a few steps, with the optimizer that our stages use."""
    optimizer = adam(module.parameters())
    set_rate(optimizer, RATE)
    found = []
    for _ in range(STEPS):
        value = loss()
        found.append(value.item())
        descend(optimizer, value, clip_norm=1.0)
    return found


def our_sft() -> list[float]:
    decoder, rows = model().decoder, inputs()["sft"]
    examples = TokenSet.of((row["input_ids"], list(map(bool, row["completion_mask"]))) for row in rows)
    batch = packed_batch(examples, [[0, 1], [2]], pad=PAD, device="cpu")

    def loss() -> Tensor:
        logprobs = supervised_logprobs(decoder, batch)
        return sft_loss(logprobs, torch.ones_like(logprobs, dtype=torch.bool))

    return descended(decoder, loss)


def our_reward(replies: int) -> list[float]:
    scorer, ranked = reward_model(), groups(replies)
    every = range(len(ranked))
    return descended(scorer, lambda: preference_loss(scorer, ranked, every, pad=PAD, score_penalty=0.0).total)


def compare(answer: dict[str, Any]) -> None:
    ours = {"sft": our_sft(), "reward-2": our_reward(2), "reward-4": our_reward(4)}
    for name, losses in ours.items():
        assert losses == pytest.approx(answer[name], abs=1e-5), name
        assert losses[-1] < losses[0] - 1e-3, "the steps matter"


def test_losses_are_those_that_trl_was_recorded_with() -> None:
    record = json.loads(RECORD.read_text())
    assert record["inputs"] == inputs(), "the record is of other inputs: record it again"
    assert record["answer"]["trl"] == "1.16.0"
    compare(record["answer"])


@pytest.mark.skipif(not PEER, reason="TRL is not here: PARLEY_TRL may name a Python that has it")
def test_losses_are_those_of_trl_now(tmp_path: Path) -> None:
    compare(asked(PEER, tmp_path))
