"""The loop's plumbing: schedules, Adam's groups, and a resume that is bit for bit the whole run."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from parley.artifacts import STATE
from parley.errors import ArtifactError, ConfigError, InvariantError
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


@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        ("linear", [0.1, 0.55, 1.0, 0.75, 0.5, 0.25]),  # P19: OpenAI's, after a warm-up from a tenth
        ("constant", [0.1, 0.55, 1.0, 1.0, 1.0, 1.0]),  # InstructGPT's
    ],
)
def test_a_warm_up_that_begins_above_nothing(kind: loop.Schedule, shares: list[float]) -> None:
    found = [scheduled(kind, step, 6, warmup=2, start=0.1) for step in range(6)]
    assert found == pytest.approx(shares)


@pytest.mark.parametrize("form", ["torch", "tensorflow"])
def test_both_forms_of_adam_follow_their_formula(form: loop.AdamForm, tmp_path: Path) -> None:
    """P18, in float64 by hand: where ε stands, and what that does to the first steps. A resume in the middle
    changes nothing."""
    rate, (b1, b2), eps, start = 0.01, (0.9, 0.95), 1e-2, [0.5, -2.0]
    gradients = [[0.02, 1.0], [-0.01, 3.0], [0.05, -1.0], [0.0, 0.5]]
    weight = nn.Parameter(torch.tensor(start))
    optimizer = adam([weight], betas=(b1, b2), eps=eps, form=form)
    p, m, v = list(start), [0.0, 0.0], [0.0, 0.0]
    for t, gradient in enumerate(gradients, start=1):
        weight.grad = torch.tensor(gradient)
        set_rate(optimizer, rate)
        if t == 3:
            moments = loop._moments(optimizer)
            optimizer = adam([weight], betas=(b1, b2), eps=eps, form=form)
            loop._set_moments(optimizer, moments)
            set_rate(optimizer, rate)
        optimizer.step()
        for i, g in enumerate(gradient):
            m[i], v[i] = b1 * m[i] + (1 - b1) * g, b2 * v[i] + (1 - b2) * g * g
            if form == "torch":
                p[i] -= rate / (1 - b1**t) * m[i] / ((v[i] / (1 - b2**t)) ** 0.5 + eps)
            else:
                p[i] -= rate * (1 - b2**t) ** 0.5 / (1 - b1**t) * m[i] / (v[i] ** 0.5 + eps)
    assert weight.tolist() == pytest.approx(p, rel=1e-6)


def test_weights_that_are_not_fp32_are_not_trained() -> None:
    """P27: a step of 1e-3 on a weight of 1 is nothing in bfloat16."""
    assert torch.tensor(1.0, dtype=torch.bfloat16) - torch.tensor(1e-3, dtype=torch.bfloat16) == 1
    with pytest.raises(ConfigError, match=r"bfloat16.*keep them in float32"):
        adam(nn.Linear(2, 1).to(torch.bfloat16).parameters())


def test_a_step_without_anything_to_learn_from_is_refused() -> None:
    with pytest.raises(InvariantError, match="empty batch"):
        descend(adam(nn.Linear(2, 1).parameters()), clip_norm=1.0)


def test_a_disk_that_is_full_says_so_and_keeps_the_step_before(tmp_path: Path) -> None:
    """A real limit on file size, below that of the weights."""
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "a", 10, stop_at=4, every_step=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, limits[1]))
    try:
        with pytest.raises((ArtifactError, OSError), match=r"cannot be written|File too large|disk"):
            train(tmp_path / "a", 10, every_step=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "a" / STATE).glob("0*")] == ["000000004"]
    assert torch.equal(train(tmp_path / "a", 10).weight, train(tmp_path / "b", 10).weight)
