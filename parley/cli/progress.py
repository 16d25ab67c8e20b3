"""How far a run is: a line a stage in the terminal, and a status file behind the live page."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TextIO

from parley.artifacts import write_atomically
from parley.cli.run_details import DetailsReader
from parley.metrics import Pace, Sample, Silent, Watcher
from parley.service.common.run_view import RunDetails, RunState, RunStatus, StageState, StageView

STATUS: Final = "status.json"
WRITE_SECONDS: Final = 0.4
BAR: Final = 24
HEADLINE: Final = {
    "data": ("documents", "demonstrations", "rejected"),
    "tokenizer": ("tokens",),
    "base": ("loss", "bits_per_byte", "parameters"),
    "sft": ("loss", "base_loss"),
    "rank": ("rankings", "pairs"),
    "reward": ("loss", "accuracy", "accuracy n"),
    "measure": ("accuracy", "floor", "over_floor", "length_correlation", "flags"),
    "ppo": ("score", "gold", "kl_nats", "length_tokens", "ended"),
    "evaluate": (
        "gold T=0.7", "gold greedy", "mean success T=0.7", "bits_per_byte", "dialogue_loss", "reward", "kl_nats"
    ),
    "release": (),
}  # fmt: skip


def headline(label: str, figures: Mapping[str, float]) -> dict[str, float]:
    """The few figures that people are shown of a stage."""
    names = HEADLINE.get(label.split()[0], tuple(figures))
    return {name: figures[name] for name in names if name in figures}


def seconds_text(seconds: float) -> str:
    """`48 s`, `3 min 12 s`, `1 h 04 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def figure_text(name: str, value: float) -> str:
    """A figure as people read it."""
    number = (
        f"{value:,.0f}"
        if abs(value) >= 1000 or (value == int(value) and abs(value) >= 10)
        else f"{value:.3g}"
    )
    return f"{name} {number}"


@dataclass(slots=True)
class Tracked:
    """One stage as far as it is."""

    label: str
    state: StageState = "waiting"
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    first_done: int = 0
    began: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    def remaining(self) -> float | None:
        """At the pace of this process; None before it has one."""
        return (
            Pace(self.began, self.first_done).remaining_seconds(self.done, self.total) if self.total else None
        )


class Status(Silent):
    """A watcher that keeps every stage's state, and how long the rest will take.

    What is left is taken from the recipe's expected seconds, scaled by how the finished stages of
    this process compare with theirs.
    """

    def __init__(self, recipe: str, labels: Sequence[str], expected: Mapping[str, float]) -> None:
        self.recipe = recipe
        self.expected = expected
        self.stages = {label: Tracked(label) for label in labels}
        self._measured = self._foreseen = 0.0

    def started(self, label: str) -> None:
        """A stage begins or goes on."""
        stage = self._stage(label)
        stage.state, stage.began, stage.first_done, stage.done, stage.total = (
            "running",
            time.monotonic(),
            -1,
            0,
            0,
        )

    def progressed(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """So much of the stage is behind it."""
        stage = self._stage(label)
        if stage.first_done < 0:
            stage.first_done, stage.began = done, time.monotonic()
        stage.done, stage.total, stage.seconds = done, total, time.monotonic() - stage.began
        stage.figures = dict(figures)

    def finished(self, label: str, seconds: float, figures: Mapping[str, float], *, reused: bool) -> None:
        """The stage is sealed."""
        stage = self._stage(label)
        stage.state, stage.seconds, stage.figures = "done", seconds, dict(figures)
        if not reused and label in self.expected:
            self._measured += seconds
            self._foreseen += self.expected[label]

    def remaining_seconds(self) -> float | None:
        """For all that is left; None where the recipe says nothing of it."""
        pace = self._measured / self._foreseen if self._foreseen > 5 else 1.0
        total = 0.0
        for stage in self.stages.values():
            if stage.state == "done":
                continue
            here = stage.remaining() if stage.state == "running" else None
            if here is None and stage.label not in self.expected:
                return None
            total += here if here is not None else self.expected[stage.label] * pace
        return total

    def status(self, state: RunState, message: str = "") -> RunStatus:
        """Everything, as the page is shown it."""
        stages = tuple(
            StageView(
                name=stage.label.replace(" ", "-"),
                label=stage.label,
                state=stage.state,
                done=stage.done,
                total=stage.total,
                seconds=round(stage.seconds, 1),
                remaining_seconds=stage.remaining() if stage.state == "running" else None,
                figures=headline(stage.label, stage.figures),
            )
            for stage in self.stages.values()
        )
        remaining = self.remaining_seconds() if state == "running" else None
        return RunStatus(self.recipe, state, stages, remaining, message)

    def _stage(self, label: str) -> Tracked:
        return self.stages.setdefault(label, Tracked(label))


@dataclass(slots=True)
class StatusFile(Silent):
    """A watcher that writes a status to `status.json` in the run's directory, a few times a second at
    most. The status itself is told by somebody else, before this."""

    path: Path
    status: Status
    _written: float = 0.0

    def started(self, label: str) -> None:
        """Written at once."""
        self.write("running")

    def progressed(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Written when it was not just before."""
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self.write("running")

    def finished(self, label: str, seconds: float, figures: Mapping[str, float], *, reused: bool) -> None:
        """Written at once."""
        self.write("running")

    def write(self, state: RunState, message: str = "") -> None:
        """The whole status, atomically."""
        status = self.status.status(state, message)
        stages = [{**_fields(stage), "figures": dict(stage.figures)} for stage in status.stages]
        write_atomically(
            self.path / STATUS, json.dumps({**_fields(status), "stages": stages, "pid": os.getpid()})
        )
        self._written = time.monotonic()


@dataclass(frozen=True, slots=True)
class Tee:
    """A watcher that tells several others, in order."""

    watchers: Sequence[Watcher]

    def started(self, label: str) -> None:
        """To all."""
        for watcher in self.watchers:
            watcher.started(label)

    def progressed(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """To all."""
        for watcher in self.watchers:
            watcher.progressed(label, done, total, figures)

    def measured(self, label: str, step: int, figures: Mapping[str, float]) -> None:
        """To all."""
        for watcher in self.watchers:
            watcher.measured(label, step, figures)

    def sampled(self, label: str, step: int, samples: Sequence[Sample]) -> None:
        """To all."""
        for watcher in self.watchers:
            watcher.sampled(label, step, samples)

    def finished(self, label: str, seconds: float, figures: Mapping[str, float], *, reused: bool) -> None:
        """To all."""
        for watcher in self.watchers:
            watcher.finished(label, seconds, figures, reused=reused)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


class Terminal(Silent):
    """A watcher that prints: one line a finished stage, and on a terminal a moving bar."""

    def __init__(self, status: Status, stream: TextIO) -> None:
        self.status = status
        self.stream = stream
        self.moving = stream.isatty()

    def started(self, label: str) -> None:
        """Say so where nothing moves."""
        if not self.moving:
            self._line(f"{label:<16} …")

    def progressed(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Move the bar."""
        if not self.moving:
            return
        full = BAR * done // max(1, total)
        bar = f"{'▓' * full}{'░' * (BAR - full)} {100 * done // max(1, total):>3} %"
        left = self.status.remaining_seconds()
        rest = f" · {seconds_text(left)} left in all" if left is not None else ""
        self._over(f"{label:<16} {bar}  {_shown(label, figures)}{rest}")

    def finished(self, label: str, seconds: float, figures: Mapping[str, float], *, reused: bool) -> None:
        """One line that stays."""
        took = "made before" if reused else seconds_text(seconds)
        self._line(f"{label:<16} ✓ {took:<12} {_shown(label, figures)}")

    def _line(self, text: str) -> None:
        self._over(text)
        self.stream.write("\n")
        self.stream.flush()

    def _over(self, text: str) -> None:
        self.stream.write(("\r\x1b[K" if self.moving else "") + text)
        self.stream.flush()


def _shown(label: str, figures: Mapping[str, float]) -> str:
    return "  ".join(figure_text(*item) for item in headline(label, figures).items())


@dataclass(frozen=True, slots=True)
class FileRunView:
    """`RunView` over a run's directory, or the newest run in a directory of runs.

    A run whose process is gone counts as stopped.
    """

    path: Path
    recipe: str
    _reader: DetailsReader = field(default_factory=DetailsReader, repr=False, compare=False)

    def status(self) -> RunStatus:
        """As the training process last wrote it."""
        try:
            found: dict[str, Any] = json.loads((self._run() / STATUS).read_text(encoding="utf-8"))
            pid = found.pop("pid")
            stages = tuple(StageView(**stage) for stage in found.pop("stages"))
            status = RunStatus(**{**found, "stages": stages})
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return RunStatus(self.recipe, "none", (), None, "")
        if status.state == "running" and not _alive(pid):
            return replace(
                status, state="stopped", remaining_seconds=None, message="Training stopped; start it again."
            )
        return status

    def details(self) -> RunDetails:
        """What the run's files tell; those that did not change are not read again."""
        return self._reader.read(self._run(), self.status())

    def _run(self) -> Path:
        if (self.path / STATUS).exists():
            return self.path
        found = [(_written(file), file.parent) for file in self.path.glob(f"*/{STATUS}")]
        return max(found)[1] if found else self.path


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
