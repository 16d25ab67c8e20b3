"""Figures of a running stage: `metrics.jsonl` for machines, a `Watcher` for people.

A metrics file holds one JSON object a line, each with `step`. A stage that resumes from step n
first drops the lines of later steps, so the file reads as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from parley.errors import InvariantError


class Watcher(Protocol):
    """Whoever wants to see a run: the terminal, the status file behind the live page."""

    def started(self, label: str) -> None:
        """A stage begins or goes on."""
        ...

    def progressed(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """`done` of `total` units of the stage's work are behind it."""
        ...

    def finished(self, label: str, seconds: float, figures: Mapping[str, float], *, reused: bool) -> None:
        """The stage is sealed; `reused` when it had been before this run."""
        ...


class Silent:
    """A watcher that looks away."""

    def started(self, label: str) -> None:
        """Nothing."""

    def progressed(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Nothing."""

    def finished(self, label: str, seconds: float, figures: Mapping[str, float], *, reused: bool) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class MetricsFile:
    """An append-only `metrics.jsonl`."""

    path: Path

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Append one line. A figure that is not finite stops the stage: nothing good follows it."""
        for name, value in figures.items():
            if not math.isfinite(value):
                raise InvariantError(
                    f"{name} became {value} at step {step}: lower the learning rate of this stage, "
                    f"or look at the last lines of {self.path}"
                )
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")

    def rewind(self, step: int) -> None:
        """Drop the lines of steps after `step`, and a last line that was cut off."""
        if not self.path.exists():
            return
        kept = [line for line in self._lines() if _step_of(line) <= step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        temporary.replace(self.path)

    def rows(self) -> list[dict[str, float]]:
        """Every line as a mapping."""
        return [json.loads(line) for line in self._lines()] if self.path.exists() else []

    def _lines(self) -> list[str]:
        text = self.path.read_text(encoding="utf-8")
        return text[: text.rfind("\n") + 1].splitlines()


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
