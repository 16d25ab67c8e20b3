"""The seam through which the service sees how far a run is. `cli` reads it from the run's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

StageState = Literal["waiting", "running", "done", "failed"]
RunState = Literal["none", "running", "done", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage: `done` of `total` steps after `seconds`, its last figures, what remains if known."""

    name: str
    label: str
    state: StageState
    done: int
    total: int
    seconds: float
    remaining_seconds: float | None
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The run as a whole; `none` where there is none. `message` is one sentence, or empty."""

    recipe: str
    state: RunState
    stages: tuple[StageView, ...]
    remaining_seconds: float | None
    message: str


class RunView(Protocol):
    """How far the run is."""

    def status(self) -> RunStatus:
        """The status now. Called about once a second by every open page."""
        ...
