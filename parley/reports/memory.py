"""What each stage still remembers: likelihood of held-out texts and dialogues, source by source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from parley.evals.statistics import Estimate
from parley.reports import svg
from parley.reports.figures import count, number, signed
from parley.reports.html import Html, join, tag
from parley.reports.tables import Section, row, sources, stage_heads, table
from parley.reports.values import Evaluation, RunReport, spoken

MOST_LINES: Final = 4  # of a plot; more are in the table alone
STYLES: Final[tuple[svg.Style, ...]] = ("first", "second", "third", "third")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of held-out words, and its figure in the JSON."""

    name: str
    key: str
    unit: str
    title: str
    y_label: str


KINDS: Final = (
    Kind("texts", "bits_per_byte", "bytes", "Texts, bits per byte", "bits per byte"),
    Kind("dialogues", "loss", "tokens", "Dialogues, nats a token", "nats a token"),
)


def memory_section(report: RunReport) -> Section | None:
    """Tables over the stages, with the change from the stage before; a plot of each kind."""
    stages = [item for item in report.evaluations if any(item.memory.get(kind.name) for kind in KINDS)]
    if not stages:
        return None
    lead = tag(
        "p",
        "How well each stage predicts words that were kept apart; less is better. A rise is what the later training "
        "cost (the alignment tax). Perplexity is e to the nats a token. Small: the change from the stage before.",
    )
    tables = [_table(kind, stages) for kind in KINDS]
    plots = [_plot(kind, stages) for kind in KINDS] if len(stages) > 1 else []
    body = join(lead, tables, tag("div", plots, class_="plots"), sources(stages))
    return Section("memory", "What was remembered", body)


def _names(kind: Kind, stages: Sequence[Evaluation]) -> list[str]:
    return sorted({name for item in stages for name in item.memory.get(kind.name, {})})


def _value(kind: Kind, stage: Evaluation, source: str) -> float:
    return float(stage.memory.get(kind.name, {}).get(source, {}).get(kind.key, math.nan))


def _table(kind: Kind, stages: Sequence[Evaluation]) -> Html:
    rows = []
    for name in _names(kind, stages):
        values = [_value(kind, item, name) for item in stages]
        size = next(f[name][kind.unit] for item in stages if name in (f := item.memory.get(kind.name, {})))
        title = (spoken(name), tag("small", f" {count(size)} {kind.unit}{_compressed(kind, stages, name)}"))
        cells = [
            _cell(kind, value, before) for before, value in zip([math.nan, *values], values, strict=False)
        ]
        rows.append(row(title, cells))
    return table(kind.title, ["source", *stage_heads(stages)], rows, numeric=True) if rows else join()


def _compressed(kind: Kind, stages: Sequence[Evaluation], source: str) -> str:
    """What a compressor without any learning needs, which a trained model must beat."""
    found = stages[0].memory.get(kind.name, {}).get(source, {}).get("bz2_bits_per_byte")
    return f", bz2 {number(found, 2)}" if found else ""


def _cell(kind: Kind, value: float, before: float) -> Html:
    told = [] if math.isnan(before) or math.isnan(value) else [signed(value - before, 3)]
    told += [f"perplexity {number(math.exp(value), 1)}"] if kind.name == "dialogues" and value < 20 else []
    return tag("td", number(value, 3), tag("small", " ", ", ".join(told)) if told else "", class_="n")


def _plot(kind: Kind, stages: Sequence[Evaluation]) -> Html:
    names = _names(kind, stages)[:MOST_LINES]
    if not names:
        return join()
    rungs = [
        svg.Rung(name, style, [_point(_value(kind, item, name)) for item in stages])
        for name, style in zip(names, STYLES, strict=False)
    ]
    drawn = svg.ladder(kind.title, [item.title for item in stages], rungs, y_label=kind.y_label)
    return tag("figure", drawn, tag("figcaption", f"{kind.title}, over the stages"))


def _point(value: float) -> Estimate:
    return Estimate(value, value, value, 0)
