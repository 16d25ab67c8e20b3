"""What a running stage leaves step by step: figures in `metrics.jsonl`, replies in `samples.jsonl`, and a
`Watcher` for people.

Both files hold one JSON object a line, each with `step`. A stage that resumes from step n first drops
the lines of later steps, so they read as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from parley.errors import InvariantError


@dataclass(frozen=True, slots=True)
class Sample:
    """A reply that was made in a step, with what was said of it (score, KL, …)."""

    prompt: str
    """The last turn that was answered."""
    reply: str
    figures: Mapping[str, float]


class Watcher(Protocol):
    """Whoever wants to see a run: the terminal, the status file behind the live page."""

    def started(self, label: str) -> None:
        """A stage begins or goes on."""
        ...

    def progressed(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """`done` of `total` units of the stage's work are behind it."""
        ...

    def measured(self, label: str, step: int, figures: Mapping[str, float]) -> None:
        """A line of `metrics.jsonl` was written."""
        ...

    def sampled(self, label: str, step: int, samples: Sequence[Sample]) -> None:
        """Replies of a step were kept in `samples.jsonl`."""
        ...

    def finished(self, label: str, seconds: float, figures: Mapping[str, float], *, reused: bool) -> None:
        """The stage is sealed; `reused` when it had been before this run."""
        ...


class Silent:
    """A watcher that looks away; others are told of what they look at."""

    def started(self, label: str) -> None:
        """Nothing."""

    def progressed(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Nothing."""

    def measured(self, label: str, step: int, figures: Mapping[str, float]) -> None:
        """Nothing."""

    def sampled(self, label: str, step: int, samples: Sequence[Sample]) -> None:
        """Nothing."""

    def finished(self, label: str, seconds: float, figures: Mapping[str, float], *, reused: bool) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class StepFile:
    """Lines of JSON, each of a step, to which lines are appended."""

    path: Path

    def append(self, step: int, values: Mapping[str, Any]) -> None:
        """Another line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}, ensure_ascii=False) + "\n")

    def rewind(self, step: int) -> None:
        """Drop the lines of steps after `step`, and a last line that was cut off."""
        if not self.path.exists():
            return
        kept = [line for line in self._lines() if _step_of(line) <= step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        temporary.replace(self.path)

    def rows(self) -> list[dict[str, Any]]:
        """Every line as a mapping."""
        return [json.loads(line) for line in self._lines()] if self.path.exists() else []

    def _lines(self) -> list[str]:
        text = self.path.read_text(encoding="utf-8")
        return text[: text.rfind("\n") + 1].split("\n")[:-1]


@dataclass(frozen=True, slots=True)
class SamplesFile(StepFile):
    """A `samples.jsonl`: the table of replies that training made."""

    def write(self, step: int, samples: Sequence[Sample]) -> None:
        """A line for each of a step's samples."""
        for one in samples:
            self.append(step, {"prompt": one.prompt, "reply": one.reply, **one.figures})


@dataclass(frozen=True, slots=True)
class MetricsFile(StepFile):
    """A `metrics.jsonl`."""

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Append one line. A figure that is not finite stops the stage: nothing good follows it."""
        for name, value in figures.items():
            if not math.isfinite(value):
                raise InvariantError(
                    f"{name} became {value} at step {step}: lower the learning rate of this stage, "
                    f"or look at the last lines of {self.path}"
                )
        self.append(step, figures)


def _step_of(line: str) -> int:
    return int(json.loads(line)["step"])


@dataclass(slots=True)
class Pace:
    """Elapsed and remaining seconds of counted work."""

    started: float = field(default_factory=time.monotonic)
    offset: int = 0  # units that were done before this process began

    @property
    def elapsed_seconds(self) -> float:
        """Since this process took the work up."""
        return time.monotonic() - self.started

    def remaining_seconds(self, done: int, total: int) -> float | None:
        """At the mean pace so far; None before the first unit is done."""
        here = done - self.offset
        return self.elapsed_seconds / here * (total - done) if here > 0 else None
