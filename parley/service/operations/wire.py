"""What operations answer."""

from __future__ import annotations

from typing import Literal

from parley.service.common.run_view import RunState, StageState
from parley.service.common.wire import Answer


class Health(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Answer):
    """Whether replies can be had, and if not, why."""

    ready: bool
    reason: str


class StageAnswer(Answer):
    """One stage of the run."""

    name: str
    label: str
    state: StageState
    done: int
    total: int
    seconds: float
    remaining_seconds: float | None
    figures: dict[str, float | None]


class RunAnswer(Answer):
    """How far the run is."""

    recipe: str
    state: RunState
    stages: tuple[StageAnswer, ...]
    remaining_seconds: float | None
    message: str
