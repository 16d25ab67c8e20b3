"""Small plots as inline SVG: curves, clouds of steps, and ladders with intervals.

Colours are the page's tokens, so a plot is right in light, dark and print. All plots are drawn on
one size and never shrink below their column: text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from parley.evals.statistics import Estimate
from parley.reports.figures import number, short
from parley.reports.html import Html, join, tag

WIDTH: Final = 360
HEIGHT: Final = 224
LEFT, RIGHT, TOP, BOTTOM = 50, 40, 12, 38
MOST_POINTS: Final = 240

Point = tuple[float, float]
Scaling = Literal["linear", "log", "root"]
Style = Literal["first", "second", "third"]


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values on a side of the plot."""

    low: float
    high: float
    scaling: Scaling = "linear"

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values inside the range."""
        if self.scaling == "log":
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            round_ones = [m * 10.0**d for d in decades for m in (1, 2, 5)]
            inside = [tick for tick in round_ones if self.low <= tick <= self.high]
            if len(inside) >= 2:
                return inside
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _scaled(self, value: float) -> float:
        if self.scaling == "log":
            return math.log(max(value, 1e-12))
        return math.sqrt(max(value, 0.0)) if self.scaling == "root" else value


def axis_of(values: Sequence[float], scaling: Scaling = "linear", *, floor: float | None = None) -> Axis:
    """An axis that holds all finite values, with a little air; `floor` is where it begins."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if scaling == "log" and low > 0:
        return Axis(low / 1.1, high * 1.1, "log")
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    air = 0.06 * (high - low)
    scaling = "linear" if scaling == "log" else scaling
    return Axis(low - air if floor is None else floor, high + air, scaling)


@dataclass(frozen=True, slots=True)
class Rung:
    """One decoding's values over the stages, and how it is drawn."""

    name: str
    style: Style
    estimates: Sequence[Estimate]


@dataclass(frozen=True, slots=True)
class Series:
    """One run's figure over its steps, and how it is drawn."""

    name: str
    style: Style
    points: Sequence[Point]


def curve(name: str, values: Sequence[Point], *, y_label: str, scaling: Scaling = "linear") -> Html:
    """A figure over the steps: faint as it was measured, strong as a moving mean."""
    points = thinned(values)
    smooth = moving_mean(points, max(len(points) // 24, min(5, len(points) // 4)))
    x = axis_of([p[0] for p in values], floor=0.0)
    y = axis_of([p[1] for p in points], scaling)
    place = _placer(x, y)
    drawn = join(
        _frame(x, y, x_label="step", y_label=y_label),
        _path(points, place, "raw"),
        _path(smooth, place, "line"),
        _last(smooth, place),
    )
    first, last = number(smooth[0][1], 3), number(smooth[-1][1], 3)
    return _plot(name, f"{y_label} over {len(values)} steps: from {first} to {last} as a moving mean", drawn)


def runs(name: str, series: Sequence[Sequence[Point]], *, y_label: str) -> Html:
    """One figure of several runs over the same steps: faint each run, strong their mean."""
    everything = [point for values in series for point in values]
    x, y = axis_of([p[0] for p in everything], floor=0.0), axis_of([p[1] for p in everything])
    mean = [_centre(points) for points in zip(*series, strict=True)]
    place = _placer(x, y)
    drawn = join(
        _frame(x, y, x_label="step", y_label=y_label),
        [_path(thinned(values), place, "raw") for values in series],
        _path(thinned(mean), place, "line"),
        _last(mean, place),
    )
    told = f"{y_label} of {len(series)} runs: their mean goes from {number(mean[0][1], 3)} to "
    return _plot(name, f"{told}{number(mean[-1][1], 3)}", drawn)


def compared(name: str, series: Sequence[Series], *, y_label: str) -> Html:
    """Several runs' figure over the steps, each a moving mean."""
    smooth = [(one, moving_mean(one.points, min(5, len(thinned(one.points)) // 4))) for one in series]
    every = [point for _, points in smooth for point in points]
    x = axis_of([max(p[0] for p in every), 0.0], floor=0.0)
    y = axis_of([p[1] for p in every])
    place = _placer(x, y)
    lines = [_path(thinned(points), place, one.style) for one, points in smooth]
    told = "; ".join(f"{one.name} from {number(p[0][1], 3)} to {number(p[-1][1], 3)}" for one, p in smooth)
    return _plot(name, f"{y_label}: {told}", join(_frame(x, y, x_label="step", y_label=y_label), lines))


def cloud(name: str, values: Sequence[Point], window: int, *, x_label: str, y_label: str) -> Html:
    """Steps as dots with the path of their mean over `window` steps; its highest place is ringed.

    The horizontal axis is on a square-root scale.
    """
    path = moving_mean(values, window)
    across = [point[0] for point in values]
    from_zero = min(across) < 0.25 * max(across)
    x, y = axis_of(across, "root", floor=0.0 if from_zero else None), axis_of([point[1] for point in values])
    place = _placer(x, y)
    dots = [tag("circle", class_="dot", cx=place(p)[0], cy=place(p)[1], r=1.8) for p in values]
    peak = max(path, key=lambda point: point[1])
    ring = tag("circle", class_="ring", cx=place(peak)[0], cy=place(peak)[1], r=5.5)
    begin = tag("circle", class_="begin", cx=place(path[0])[0], cy=place(path[0])[1], r=3.2)
    drawn = join(
        _frame(x, y, x_label=x_label, y_label=y_label),
        dots,
        _path(path, place, "line"),
        begin,
        ring,
        _last(path, place),
    )
    told = f"{y_label} against {x_label}: highest {number(peak[1])} at {number(peak[0])}, at the end "
    return _plot(name, f"{told}{number(path[-1][1])} at {number(path[-1][0])}", drawn)


def reliability(name: str, values: Sequence[tuple[float, Estimate]], *, x_label: str, y_label: str) -> Html:
    """What was predicted against what was observed, with 95 % intervals; on the line they are equal."""
    ends = [end for _, observed in values for end in observed.interval]
    x, y = Axis(0.48, 1.02), axis_of([*ends, 0.5, 1.0])
    place = _placer(x, y)
    drawn = join(
        _frame(x, y, x_label=x_label, y_label=y_label),
        _path([(0.5, 0.5), (1.0, 1.0)], place, "rung third"),
        [_whisker(predicted, observed, place, "first") for predicted, observed in values],
    )
    told = ", ".join(f"{number(p)} observed {number(observed.value)}" for p, observed in values)
    return _plot(name, f"{y_label} against {x_label}: {told}", drawn)


def ladder(
    name: str, stages: Sequence[str], rungs: Sequence[Rung], *, y_label: str, joined: bool = True
) -> Html:
    """Means with 95 % intervals, stage by stage, a line for each decoding; not `joined` where the columns
    have no order."""
    ends = [end for rung in rungs for e in rung.estimates for end in e.interval]
    y = axis_of([end for end in ends if math.isfinite(end)])
    x = Axis(-0.35, -0.35 + (len(stages) - 0.65) / 0.92)  # beyond are the names
    place = _placer(x, y)
    columns = [
        tag(
            "text", stage, class_="tick", x=place((n, y.low))[0], y=HEIGHT - BOTTOM + 16, text_anchor="middle"
        )
        for n, stage in enumerate(stages)
    ]
    ends_at = [
        (rung.name, rung.estimates[-1].value) for rung in rungs if math.isfinite(rung.estimates[-1].value)
    ]
    names = _apart([(rung, place((0, value))[1]) for rung, value in ends_at], gap=13)
    drawn = [
        _rung(rung, place, shift=0.07 * (n - (len(rungs) - 1) / 2), joined=joined)
        for n, rung in enumerate(rungs)
    ]
    told = "; ".join(
        f"{rung.name}: "
        + ", ".join(f"{stage} {number(e.value)}" for stage, e in zip(stages, rung.estimates, strict=True))
        for rung in rungs
    )
    end = place((len(stages) - 1, y.low))[0]
    written = [tag("text", rung, class_="name", x=end + 12, y=height + 4) for rung, height in names]
    return _plot(name, f"{y_label}. {told}", join(_grid(y, y_label), columns, drawn, written))


def thinned(values: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Means of neighbours, so that at most `most` points are left."""
    size = math.ceil(len(values) / most) if values else 1
    return [_centre(values[n : n + size]) for n in range(0, len(values), size)]


def moving_mean(values: Sequence[Point], window: int) -> list[Point]:
    """The mean of every `window` points in a row, of both coordinates."""
    window = max(1, min(window, len(values)))
    return [_centre(values[n : n + window]) for n in range(len(values) - window + 1)]


def _centre(points: Sequence[Point]) -> Point:
    return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)


def _round_step(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(m * size for m in (1, 2, 5, 10) if m * size >= step * 0.85)


def _placer(x: Axis, y: Axis) -> Callable[[Point], Point]:
    def place(point: Point) -> Point:
        across = LEFT + x.share(point[0]) * (WIDTH - LEFT - RIGHT)
        down = TOP + (1 - y.share(point[1])) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    return place


def _plot(name: str, told: str, drawn: Html) -> Html:
    described = tag("title", name), tag("desc", told)
    box = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", described, drawn, class_="plot", viewBox=box, role="img", aria_label=f"{name}. {told}")


def _grid(y: Axis, y_label: str) -> Html:
    place = _placer(Axis(0, 1), y)
    rows = []
    for tick in y.ticks():
        height = place((0, tick))[1]
        line = tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height)
        rows += [line, tag("text", short(tick), class_="tick", x=LEFT - 6, y=height + 4, text_anchor="end")]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f"translate(9 {middle:g}) rotate(-90)"
    return join(rows, tag("text", y_label, class_="label", transform=turned, text_anchor="middle"))


def _frame(x: Axis, y: Axis, *, x_label: str, y_label: str) -> Html:
    place = _placer(x, y)
    under = HEIGHT - BOTTOM
    ticks = [
        tag("text", short(tick), class_="tick", x=place((tick, y.low))[0], y=under + 16, text_anchor="middle")
        for tick in x.ticks()
    ]
    label = tag(
        "text", x_label, class_="label", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 5, text_anchor="middle"
    )
    line = tag("line", class_="base", x1=LEFT, x2=WIDTH - RIGHT, y1=under, y2=under)
    return join(_grid(y, y_label), line, ticks, label)


def _path(points: Sequence[Point], place: Callable[[Point], Point], class_: str) -> Html:
    placed = (place(point) for point in points)
    return tag("polyline", class_=class_, points=" ".join(f"{x:g},{y:g}" for x, y in placed))


def _last(points: Sequence[Point], place: Callable[[Point], Point]) -> Html:
    """The end of a line, with its value to the right."""
    x, y = place(points[-1])
    value = tag("text", short(points[-1][1]), class_="value", x=x + 7, y=y + 4)
    return join(tag("circle", class_="end", cx=x, cy=y, r=3.2), value)


def _rung(rung: Rung, place: Callable[[Point], Point], *, shift: float, joined: bool) -> Html:
    known = [(n + shift, e) for n, e in enumerate(rung.estimates) if math.isfinite(e.value)]
    line = _path([(n, e.value) for n, e in known], place, f"rung {rung.style}")
    return join(line if joined else "", [_whisker(n, e, place, rung.style) for n, e in known])


def _whisker(n: float, estimate: Estimate, place: Callable[[Point], Point], style: Style) -> Html:
    (x, y), (_, low), (_, high) = (place((n, v)) for v in (estimate.value, estimate.low, estimate.high))
    whisker = tag("line", class_=f"whisker {style}", x1=x, x2=x, y1=low, y2=high)
    if style == "second":
        return join(whisker, tag("rect", class_="mark second", x=x - 3.2, y=y - 3.2, width=6.4, height=6.4))
    if style == "third":
        return join(
            whisker, tag("path", class_="mark third", d=f"M{x:g} {y - 4.4:g}l4.4 4.4-4.4 4.4-4.4-4.4z")
        )
    return join(whisker, tag("circle", class_="mark first", cx=x, cy=y, r=3.8))


def _apart(names: Sequence[tuple[str, float]], gap: float) -> list[tuple[str, float]]:
    """Heights of labels, pushed down until none lies on another."""
    placed: list[tuple[str, float]] = []
    for name, height in sorted(names, key=lambda item: item[1]):
        least = placed[-1][1] + gap if placed else -math.inf
        placed.append((name, max(height, least)))
    return placed
