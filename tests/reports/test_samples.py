"""Samples of training in a run's report: real files of a real run, words shown as words."""

from __future__ import annotations

from pathlib import Path

from parley.artifacts import Checkpoint, Run, Workspace
from parley.metrics import Sample
from parley.numerics import NumericPlan
from parley.reports.collect import collect
from parley.reports.samples import samples_section, shown_steps

from .synthetic import HOSTILE

STEPS = 30


def train(out: Workspace) -> Checkpoint:
    for step in range(1, STEPS + 1):
        said = f"{HOSTILE} in step {step}"
        out.keep(step, [Sample("Who?", said, {"score": -0.5 + step, "kl_nats": 0.25})] * 2)
        out.measure(step, {"score": float(step)})
    return out.seal(Checkpoint, {})


def test_some_steps_are_shown_with_both_ends(tmp_path: Path) -> None:
    run = Run(tmp_path, seed=1, plan=NumericPlan())
    made = run.once("ppo 1", train)
    section = samples_section(collect(tmp_path))
    assert section is not None
    shown = [step for step in range(1, STEPS + 1) if f"in step {step}<" in section.html]
    assert shown == sorted(shown_steps(range(1, STEPS + 1)))
    assert (len(shown), shown[0], shown[-1]) == (8, 1, STEPS)
    assert section.html.count("in step 30<") == 2
    assert "<script>" not in section.html
    assert "29.50" in section.html
    assert made.path.name in section.html


def test_a_run_without_samples_has_no_section(tmp_path: Path) -> None:
    Run(tmp_path, seed=1, plan=NumericPlan()).once("sft", seal)
    assert samples_section(collect(tmp_path)) is None


def seal(out: Workspace) -> Checkpoint:
    return out.seal(Checkpoint, {})


def test_few_steps_are_all_shown() -> None:
    assert shown_steps([1, 2, 3]) == {1, 2, 3}
    assert len(shown_steps(range(1000))) == 8
