"""Curves in other programs, read back by their own readers; and the table of samples that every run keeps."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from parley.artifacts import SAMPLES, Checkpoint, Run, Workspace
from parley.cli.loggers import FOLDER, Loggers, TensorBoard, loggers_of
from parley.errors import ConfigError
from parley.metrics import Sample, SamplesFile
from parley.numerics import NumericPlan
from parley.rlhf.loop import SavedSteps
from parley.stages.recipe import Recipe, read_recipe

SAID = Sample("Where does Mira | live?", "In Oakby.\nI think.", {"score": 0.5, "kl_nats": 0.25})


def stage_of(until: int, *, total: int = 6) -> Callable[[Workspace], Checkpoint]:
    """A stage of six steps that is cut off after some of them."""

    def stage(out: Workspace) -> Checkpoint:
        state = SavedSteps(out, {}, {})
        for step in state.steps(total):
            if step == until:
                raise KeyboardInterrupt
            out.keep(step + 1, [SAID])
            state.report(total, {"loss": 10.0 - step, "score dark horse": float(step)})
            state.step += 1
            state._save()
            state.step -= 1
        return out.seal(Checkpoint, {})

    return stage


def recipe(path: Path, **flags: str) -> Recipe:
    file = path / "r.yaml"
    file.write_text("name: r\n")
    return read_recipe(file, {key.replace("__", "."): value for key, value in flags.items()})


def test_tensorboard_reads_back_what_was_told(tmp_path: Path) -> None:
    """By TensorBoard's own reader; a stage that goes on after a kill leaves one point a step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    chosen = recipe(tmp_path, log__to="[tensorboard]")
    for until in (4, 99):
        loggers = loggers_of(chosen, tmp_path)
        run = Run(tmp_path, seed=1, plan=NumericPlan(), watcher=loggers)
        try:
            run.once("ppo 1", stage_of(until))
        except KeyboardInterrupt:
            assert until == 4
        loggers.close()
    read = EventAccumulator(str(tmp_path / FOLDER / "tensorboard" / "ppo-1"))
    read.Reload()
    points = {point.step: point.value for point in read.Scalars("loss")}
    assert points == {step: 11.0 - step for step in range(1, 7)}
    assert len(read.Scalars("loss")) == 6
    (first, *_) = read.Tensors("samples/text_summary")
    table = first.tensor_proto.string_val[0].decode()
    assert "Where does Mira \\| live?" in table
    assert "In Oakby. I think." in table


def test_samples_are_kept_step_by_step_through_a_kill(tmp_path: Path) -> None:
    run = Run(tmp_path, seed=1, plan=NumericPlan())
    with pytest.raises(KeyboardInterrupt):
        run.once("ppo 1", stage_of(4))
    (folder,) = tmp_path.glob("ppo-1-*")
    SamplesFile(folder / SAMPLES).write(5, [SAID])  # written, and killed before the step was saved
    with (folder / SAMPLES).open("a") as file:
        file.write('{"step": 5, "prompt": "cut o')
    done = run.once("ppo 1", stage_of(99))
    rows = SamplesFile(done.path / SAMPLES).rows()
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0] == {"step": 1, "prompt": SAID.prompt, "reply": SAID.reply, "score": 0.5, "kl_nats": 0.25}


def test_weights_and_biases_is_offline_and_counts_each_stage_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in of the few calls that are made: the package itself is not installed here."""
    told: list[Any] = []
    monkeypatch.setitem(sys.modules, "wandb", stand_in(told))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    loggers = loggers_of(recipe(tmp_path, log__to="[wandb]", log__project="mine"), tmp_path)
    Run(tmp_path / "run", seed=1, plan=NumericPlan(), watcher=loggers).once("ppo 1", stage_of(99))
    loggers.close()
    assert told[0]["mode"] == "offline"
    assert (told[0]["project"], told[0]["name"]) == ("mine", "r")
    losses = [row["ppo 1/loss"] for row in told[1:] if "ppo 1/loss" in row]
    assert losses == [10.0, 9.0, 8.0, 7.0, 6.0, 5.0]
    tables = [name for row in told[1:] for name in row if "samples" in name]
    assert tables == [f"ppo 1/samples-{step}" for step in range(1, 7)]


def stand_in(told: list[Any]) -> ModuleType:
    class Told:
        def log(self, row: dict[str, Any]) -> None:
            told.append(row)

        def define_metric(self, name: str, *, step_metric: str) -> None:
            assert (name, step_metric) == ("ppo 1/*", "ppo 1/step")

        def finish(self) -> None:
            """Nothing."""

    def init(**settings: Any) -> Told:
        told.append(settings)
        return Told()

    module = ModuleType("wandb")
    vars(module).update(init=init, Table=lambda columns, data: (columns, data))
    return module


def test_an_extra_that_is_not_installed_is_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"log\.to: wandb is not installed: .*pip install wandb"):
        loggers_of(recipe(tmp_path, log__to="[wandb]"), tmp_path)
    assert loggers_of(recipe(tmp_path), tmp_path).writers == []


def test_nothing_is_said_of_a_stage_that_was_made_before(tmp_path: Path) -> None:
    run = Run(tmp_path, seed=1, plan=NumericPlan())
    run.once("ppo 1", stage_of(99))
    again = TensorBoard(tmp_path / "tb")
    Run(tmp_path, seed=1, plan=NumericPlan(), watcher=Loggers([again])).once("ppo 1", stage_of(99))
    again.close()
    assert not (tmp_path / "tb").exists()
    assert json.loads((tmp_path / "plan.json").read_text())
