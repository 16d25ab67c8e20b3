"""Tables and the small parts that all sections share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from parley.evals.statistics import Estimate
from parley.reports.figures import count, interval, number, percent, points, signed
from parley.reports.html import Child, Html, join, origin, tag
from parley.reports.values import Evaluation, Record


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with its place in the contents."""

    name: str
    title: str
    body: Html

    @property
    def html(self) -> Html:
        """The section as markup."""
        return tag("section", tag("h2", self.title), self.body, id=self.name)


def table(
    caption: Child,
    head: Sequence[Child],
    rows: Iterable[Html],
    *,
    numeric: bool = False,
    class_: str = "pinned",
) -> Html:
    """A table in its own scrolling box; `numeric` sets all columns but the first to the right."""
    first, *others = head
    cells = [
        tag("th", first, scope="col"),
        *(tag("th", cell, scope="col", class_="n" if numeric else None) for cell in others),
    ]
    inside = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", cells)),
        tag("tbody", rows),
        class_=class_,
    )
    return tag(
        "div", inside, class_="scroll", tabindex="0", role="region", aria_label=f"Table: {plain(caption)}"
    )


def plain(caption: Child) -> str:
    """The first words of a caption, for a label."""
    if isinstance(caption, str):
        return caption
    return plain(next(iter(caption), ""))


def row(title: Child, cells: Iterable[Html], *, total: bool = False) -> Html:
    """A row under its own heading."""
    return tag("tr", tag("th", title, scope="row"), cells, class_="total" if total else None)


def stage_heads(evaluations: Sequence[Evaluation]) -> list[Child]:
    """A column head for each stage, which leads to the artifact behind the column."""
    return [origin(item.directory, item.title) for item in evaluations]


def rate_cell(estimate: Estimate | None, *, fell: bool = False, with_n: bool = False) -> Html:
    """A rate over its bar: full up to the interval's low end, soft up to its high one."""
    if estimate is None or math.isnan(estimate.value):
        return tag("td", "–")
    low, high = (f"{100 * min(1.0, max(0.0, end)):.1f}%" for end in estimate.interval)
    mark = [" ", tag("span", "▼", tag("span", " fell", class_="hidden"), class_="fell")] if fell else ""
    n = f" · n {count(estimate.n)}" if with_n else ""
    inside = (tag("b", percent(estimate.value)), tag("small", interval(estimate, rate=True), n), mark)
    return tag(
        "td",
        tag("span", inside, class_="bar counted" if with_n else "bar", style=f"--low:{low};--high:{high}"),
    )


def mean_cell(estimate: Estimate | None, digits: int = 2) -> Html:
    """A mean with its interval."""
    if estimate is None or math.isnan(estimate.value):
        return tag("td", "–")
    ends = tag("small", " ", interval(estimate, rate=False))
    return tag("td", number(estimate.value, digits), ends, class_="n")


def change_cell(change: Estimate, *, rate: bool) -> Html:
    """A difference with its interval, strong where the interval excludes none."""
    if math.isnan(change.value):
        return tag("td", "–")
    show = points if rate else signed
    ends = tag("small", f" {show(change.low)} to {show(change.high)}")
    value = tag("b" if excludes_none(change) else "i", show(change.value))
    return tag("td", value, ends, class_="change")


def excludes_none(change: Estimate) -> bool:
    """Whether the interval of a difference lies on one side of zero."""
    return change.low > 0 or change.high < 0


def note(*children: Child) -> Html:
    """Small print under a figure."""
    return tag("p", children, class_="note")


def sources(records: Iterable[Record | Evaluation]) -> Html:
    """Where the figures above came from."""
    links: list[Child] = []
    for item in records:
        links += [", " if links else "From ", origin(item.directory, tag("code", item.directory))]
    return note(links, ".") if links else join()
