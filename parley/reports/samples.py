"""Replies of single training steps: how they change while the score rises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from parley.reports.figures import many, number
from parley.reports.html import Html, join, origin, tag
from parley.reports.tables import Section, row, sources, table
from parley.reports.values import Record, RunReport, spoken

SHOWN_STEPS: Final = 8  # of a stage, the first and the last among them


def samples_section(report: RunReport) -> Section | None:
    """One table a stage, a row a reply."""
    stages = [record for record in report.records if record.samples]
    if not stages:
        return None
    lead = tag(
        "p",
        "The first replies of a step’s batch, none chosen for what it says; some steps are shown, all are in ",
        tag("code", "samples.jsonl"),
        ".",
    )
    return Section("samples", "Samples of training", join(lead, map(_stage, stages), sources(stages)))


def _stage(record: Record) -> Html:
    steps = sorted({int(line["step"]) for line in record.samples})
    chosen = shown_steps(steps)
    names = [name for name in record.samples[0] if name not in ("step", "prompt", "reply")]
    rows = [_reply(line, names) for line in record.samples if line["step"] in chosen]
    caption = (origin(record.directory, record.label), f" · {many(len(chosen), 'step')} of {len(steps)}")
    return table(caption, ["step", "asked", "reply", *map(spoken, names)], rows)


def shown_steps(steps: Sequence[int], most: int = SHOWN_STEPS) -> set[int]:
    """At most so many of them, evenly, with both ends."""
    if len(steps) <= most:
        return set(steps)
    return {steps[round(n * (len(steps) - 1) / (most - 1))] for n in range(most)}


def _reply(line: Mapping[str, Any], names: Sequence[str]) -> Html:
    words = [tag("td", tag("bdi", str(line[key]).strip(), dir="auto")) for key in ("prompt", "reply")]
    figures = [tag("td", number(float(line[name])) if name in line else "–", class_="n") for name in names]
    return row(str(line["step"]), [*words, *figures])
