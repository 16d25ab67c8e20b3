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


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value with its 95 % interval, from `n` observations."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A training stage's figures over its steps, a list for each name; None where one was not written.

    All lists are equally long. Long stages are thinned: a point is the mean of `lines_per_point` lines.
    """

    stage: str
    lines_per_point: int
    columns: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a reward model preferred what people preferred, on rankings that it had not seen."""

    stage: str
    overall: Interval
    by_source: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Decoding:
    """What one policy's answers were worth in the micro-world, decoded one way (`T=0.7`, `greedy`)."""

    name: str
    gold: Interval
    mean_success: Interval | None
    """Over behaviours, each weighing the same."""
    behaviours: Mapping[str, Interval]
    """Success rates."""
    rates: Mapping[str, Interval]
    """Shares of answers with something that nobody wants."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question with what came before it as (role, text), and the answer. `gold` where a truth judges it."""

    messages: tuple[tuple[str, str], ...]
    reply: str
    behaviour: str
    gold: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one policy was measured: `decodings` in the micro-world, `figures` on people's words."""

    stage: str
    decodings: tuple[Decoding, ...]
    figures: Mapping[str, float]
    transcribed: str
    """The decoding that the transcripts are of."""
    transcripts: tuple[Exchange, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A finished stage's directory: where its figures come from. `finished` is in seconds since 1970."""

    stage: str
    directory: str
    digest: str
    seconds: float
    finished: int


@dataclass(frozen=True, slots=True)
class RunDetails:
    """What a run has measured so far. Stages are named as in `StageView.name`, policies `base`, `ppo-1` …"""

    revision: str
    """Another one whenever anything else is another one."""
    recipe: str
    run: str
    """As in `ReleaseInfo.run`."""
    seed: int | None
    plan: Mapping[str, str]
    """The numeric plan: device, threads, number formats."""
    policies: tuple[str, ...]
    """Every policy that the run measures, in order, measured or not."""
    curves: tuple[Curve, ...]
    agreements: tuple[Agreement, ...]
    evaluations: tuple[Evaluation, ...]
    sources: tuple[Source, ...]


class RunView(Protocol):
    """How far the run is, and what it has measured."""

    def status(self) -> RunStatus:
        """The status now. Called about once a second by every open page."""
        ...

    def details(self) -> RunDetails:
        """What was measured up to now. Called every two seconds or so by every open page of the run."""
        ...
