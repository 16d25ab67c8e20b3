"""Curves and samples in other programs: TensorBoard, Weights & Biases. Each is an extra, none is needed.

A `Loggers` is a watcher: whatever goes into a stage's `metrics.jsonl` and `samples.jsonl` is told to
these programs in the same moment. Nothing leaves the machine unless its own environment says so
(`WANDB_MODE=online`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from parley.errors import ConfigError
from parley.metrics import Sample, Silent
from parley.stages.recipe import Recipe

FOLDER: Final = "logs"  # inside a run's directory


class CurveWriter(Protocol):
    """Another program that draws curves."""

    def write(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """The figures of a stage's step."""
        ...

    def show(self, stage: str, step: int, samples: Sequence[Sample]) -> None:
        """Replies that were made in it."""
        ...

    def close(self) -> None:
        """Everything is told."""
        ...


class TensorBoard:
    """Event files, a directory a stage: `tensorboard --logdir RUN/logs/tensorboard`.

    A stage that goes on after a kill says from which step on it writes anew.
    """

    def __init__(self, directory: Path) -> None:
        self._module = _imported("torch.utils.tensorboard", "tensorboard")
        self._directory = directory
        self._open: dict[str, Any] = {}

    def write(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """A scalar a figure."""
        for name, value in figures.items():
            self._writer(stage, step).add_scalar(name, value, step)

    def show(self, stage: str, step: int, samples: Sequence[Sample]) -> None:
        """A table in Markdown."""
        self._writer(stage, step).add_text("samples", _markdown(samples), step)

    def close(self) -> None:
        """Flush every file."""
        for writer in self._open.values():
            writer.close()

    def _writer(self, stage: str, step: int) -> Any:
        if stage not in self._open:
            folder = self._directory / stage.replace(" ", "-")
            self._open[stage] = self._module.SummaryWriter(str(folder), purge_step=step)
        return self._open[stage]


class WeightsAndBiases:
    """A run of the `wandb` package, in its offline mode unless `WANDB_MODE` says another."""

    def __init__(self, directory: Path, *, name: str, project: str) -> None:
        module = _imported("wandb", "wandb")
        mode = os.environ.get("WANDB_MODE", "offline")
        directory.mkdir(parents=True, exist_ok=True)
        self._table = module.Table
        self._run = module.init(dir=str(directory), name=name, project=project, mode=mode)

    def write(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Each stage counts steps of its own."""
        self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self._run.log({f"{stage}/step": step} | {f"{stage}/{name}": value for name, value in figures.items()})

    def show(self, stage: str, step: int, samples: Sequence[Sample]) -> None:
        """A table a step: none takes the place of another."""
        names = list(samples[0].figures) if samples else []
        rows = [[one.prompt, one.reply, *(one.figures[name] for name in names)] for one in samples]
        table = self._table(columns=["prompt", "reply", *names], data=rows)
        self._run.log({f"{stage}/step": step, f"{stage}/samples-{step}": table})

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class Loggers(Silent):
    """A watcher that tells these programs."""

    def __init__(self, writers: Sequence[CurveWriter]) -> None:
        self.writers = writers

    def measured(self, label: str, step: int, figures: Mapping[str, float]) -> None:
        """To all."""
        for writer in self.writers:
            writer.write(label, step, figures)

    def sampled(self, label: str, step: int, samples: Sequence[Sample]) -> None:
        """To all."""
        for writer in self.writers:
            writer.show(label, step, samples)

    def close(self) -> None:
        """All files are whole."""
        for writer in self.writers:
            writer.close()


def loggers_of(recipe: Recipe, run_directory: Path) -> Loggers:
    """Those that the recipe names; `ConfigError` where an extra is not installed."""
    return Loggers([_writer(name, recipe, run_directory / FOLDER) for name in recipe.log.to])


def _writer(name: str, recipe: Recipe, folder: Path) -> CurveWriter:
    if name == "tensorboard":
        return TensorBoard(folder / name)
    return WeightsAndBiases(folder, name=recipe.name, project=recipe.log.project)


def _imported(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise ConfigError(
            f"log.to: {extra} is not installed: .venv/bin/pip install {extra}, or leave it out; "
            "the report and the run page draw the same curves"
        ) from None


def _markdown(samples: Sequence[Sample]) -> str:
    names = list(samples[0].figures) if samples else []
    head = ["prompt", "reply", *names]
    rows = [[_cell(one.prompt), _cell(one.reply), *map(str, one.figures.values())] for one in samples]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
