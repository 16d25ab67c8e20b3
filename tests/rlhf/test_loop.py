"""The loop's plumbing: schedules, Adam's groups, and a resume that is bit for bit the whole run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from parley.artifacts import STATE
from parley.errors import ArtifactError, InvariantError
from parley.rlhf import loop
from parley.rlhf.loop import SavedSteps, adam, descend, scheduled, set_rate
from tests.tiny import workspace


@pytest.mark.parametrize(
    ("kind", "step", "share"),
    [
        ("cosine", 0, 1 / 3),
        ("cosine", 1, 2 / 3),
        ("cosine", 2, 1.0),
        ("cosine", 6, 0.55),
        ("linear", 6, 0.55),
        ("linear", 10, 0.1),
        ("constant", 9, 1.0),
    ],
)
def test_schedules(kind: loop.Schedule, step: int, share: float) -> None:
    assert scheduled(kind, step, 10, warmup=2, floor=0.1) == pytest.approx(share)


def test_decay_falls_on_matrices_alone() -> None:
    groups = adam(nn.Linear(3, 2).parameters(), weight_decay=0.3).param_groups
    assert [(group["weight_decay"], group["params"][0].ndim) for group in groups] == [(0.3, 2), (0.0, 1)]


def train(path: Path, steps: int, *, stop_at: int | None = None, every_step: bool = False) -> nn.Linear:
    """A run whose updates depend on weights, moments and a saved value."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = adam(model.parameters(), weight_decay=0.1)
    state = SavedSteps(workspace(path), {"model": model}, {"model": optimizer}, {"scale": 1.0})
    if every_step:
        state._saved_at = -1e9
    for step in state.steps(steps):
        if step == stop_at:
            raise KeyboardInterrupt
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 4, generator=generator)
        set_rate(optimizer, 0.1)
        loss = ((model(x) - x.sum(1, keepdim=True) * state.values["scale"]) ** 2).mean()
        descend(optimizer, loss, clip_norm=1.0)
        state.values["scale"] *= 1.01
        state.report(steps, {"loss": loss.item()})
        if every_step:
            state._saved_at = -1e9
    return model


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_cut_and_resumed_equals_uncut_bit_for_bit(tmp_path: Path, cut: int) -> None:
    whole = train(tmp_path / "whole", 10)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", 10, stop_at=cut, every_step=True)
    assert [path.name for path in (tmp_path / "cut" / STATE).iterdir()] == [f"{cut:09d}"]
    resumed = train(tmp_path / "cut", 10, every_step=True)
    assert torch.equal(whole.weight, resumed.weight)
    assert torch.equal(whole.bias, resumed.bias)
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert metrics[0] == metrics[1]


def test_a_save_that_was_cut_short_is_not_a_saved_step(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "a", 10, stop_at=4, every_step=True)
    half = tmp_path / "a" / STATE / ".fresh"
    half.mkdir()
    (half / "values.json").write_text('{"st')
    assert torch.equal(train(tmp_path / "a", 10).weight, train(tmp_path / "b", 10).weight)


@pytest.mark.parametrize("missing", ["model.safetensors", "model.adam.safetensors", "values.json"])
def test_a_saved_step_with_a_missing_part_is_an_error(tmp_path: Path, missing: str) -> None:
    """C1: nothing is silently begun anew."""
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "a", 10, stop_at=4, every_step=True)
    (tmp_path / "a" / STATE / "000000004" / missing).unlink()
    with pytest.raises(ArtifactError, match="saved step cannot be read"):
        train(tmp_path / "a", 10)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights(bad: float) -> None:
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    optimizer = adam(model.parameters())
    with pytest.raises(InvariantError, match="lower the learning rate"):
        descend(optimizer, (model(torch.ones(1, 2)) * bad).sum(), clip_norm=1.0)
    assert torch.equal(model.weight, before)
