"""In what a model of some width is sampled from: by speed and error, measured."""

from __future__ import annotations

import pytest
import torch

from parley.engine import selftest
from parley.engine.packed import PackedRunner
from parley.engine.selftest import choose_bfloat16_width
from parley.model.decoder import Decoder, DecoderConfig
from parley.numerics import NumericPlan

Patch = pytest.MonkeyPatch


def test_bfloat16_is_taken_where_it_pays_from_there_on(monkeypatch: Patch) -> None:
    monkeypatch.setattr(selftest, "WIDTHS", (64, 128, 192))

    def chosen(*gains: float) -> int:
        """With these gains in speed, from the largest width down."""
        seconds = iter([second for gain in gains for second in (gain, 1.0)])
        monkeypatch.setattr(selftest, "shortest_seconds", lambda *_: next(seconds))
        return choose_bfloat16_width()

    assert chosen(1.2, 1.2, 1.0) == 128
    assert chosen(1.2, 1.2, 1.2) == 64
    assert chosen(1.09) == 0  # at smaller ones it is not even asked
    monkeypatch.setattr(selftest, "WORST_GAP", 1e-6)
    assert chosen() == 0  # too wrong to be timed


def test_the_self_test_itself(monkeypatch: Patch) -> None:
    monkeypatch.setattr(selftest, "WIDTHS", (64, 128))
    assert choose_bfloat16_width() in (0, 64, 128)


def test_a_plan_says_by_width_and_the_runner_obeys() -> None:
    plan = NumericPlan(bfloat16_width=96)
    assert [plan.sampling(width) for width in (64, 96, 500)] == ["float32", "bfloat16", "bfloat16"]
    assert NumericPlan().sampling(4096) == "float32"
    shape = DecoderConfig(vocab_size=40, width=96, layers=1, heads=2, kv_heads=2, mlp_width=64)
    decoder = Decoder(shape).use(plan)
    assert (decoder.sampling_dtype, decoder.linear_dtype) == (torch.bfloat16, torch.float32)
    assert PackedRunner(decoder, exact=False).dtype is torch.bfloat16
    assert PackedRunner(decoder, exact=False, dtype=torch.float32).dtype is torch.float32
