"""Whoever resumes with changed data, reference, settings or code is told so (rule C1)."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from parley.artifacts import STATE, Checkpoint, Run, Snapshot, Workspace
from parley.numerics import NumericPlan
from parley.stages.base import BaseConfig
from parley.unfinished import BEGUN, CODE


def data(out: Workspace, text: str) -> Snapshot:
    out.file("data.txt").write_text(text)
    return out.seal(Snapshot, {})


def interrupted(
    out: Workspace, told: Snapshot, reference: Snapshot, rates: BaseConfig, stop: bool
) -> Checkpoint:
    """A stage that is killed after its first saved step."""
    del told, reference, rates
    (out.path / STATE / "000000001").mkdir(parents=True, exist_ok=True)
    if stop:
        raise KeyboardInterrupt
    return out.seal(Checkpoint, {})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", seed=1, plan=NumericPlan())


def begin(run: Run, *, told: str = "a", reference: str = "b", rate: float = 0.1, stop: bool = True) -> None:
    snapshot, frozen = (run.once(name, data, text) for name, text in (("data", told), ("frozen", reference)))
    config = BaseConfig(rate=rate)
    try:
        run.once("ppo 1", interrupted, snapshot, frozen, config, stop)
    except KeyboardInterrupt:
        assert stop


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"told": "other"}, "told (other content)"),
        ({"reference": "other"}, "reference (other content)"),
        ({"rate": 0.2}, "rates.rate (0.1 then, 0.2 now)"),
    ],
)
def test_changed_inputs_are_named(
    run: Run, caplog: pytest.LogCaptureFixture, changes: dict[str, object], words: str
) -> None:
    begin(run)
    begin(run)
    assert said(caplog) == [], "going on with the same says nothing"
    begin(run, **changes)  # type: ignore[arg-type]
    (sentence,) = said(caplog)
    assert sentence.startswith("ppo 1 begins anew, not from its saved steps in ")
    assert f"changed since then: {words};" in sentence


def test_changed_code_is_named(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    begin(run)
    (begun,) = run.path.glob(f"ppo-1-*/{STATE}/{BEGUN}")
    found = json.loads(begun.read_text())
    found["versions"] |= {CODE: "another", "torch": "1.0"}
    begun.write_text(json.dumps(found))
    begin(run)
    (sentence,) = said(caplog)
    assert "goes on from its saved steps, with other versions of the code, torch (1.0 then, " in sentence


def test_what_is_finished_or_saved_nothing_is_not_spoken_of(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    begin(run, stop=False)
    begin(run, rate=0.2)
    for saved in run.path.glob(f"ppo-1-*/{STATE}/0*"):
        saved.rmdir()
    begin(run, rate=0.3)
    assert said(caplog) == []
