"""Learning curves, and proxy and gold against the distance from the SFT policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from parley.reports import svg
from parley.reports.figures import count, number
from parley.reports.html import Html, join, origin, tag
from parley.reports.tables import Section, note, sources
from parley.reports.values import Record, RunReport


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure of a stage that is worth a plot."""

    word: str
    """The stage's label without its number."""
    column: str
    y_label: str
    scaling: svg.Scaling = "linear"


CURVES: Final = (
    Curve("base", "loss", "loss, nats a token", "log"),
    Curve("sft", "loss", "loss, nats a token", "log"),
    Curve("reward", "loss", "ranking loss"),
    Curve("reward", "accuracy", "accuracy on its batch"),
    Curve("ppo", "score", "reward model’s score"),
    Curve("ppo", "gold", "gold reward"),
    Curve("ppo", "kl_nats", "KL to SFT, nats"),
)


def curves_section(report: RunReport) -> Section | None:
    """A small plot for every stage that learnt something."""
    drawn = [
        _figure(record, curve, values)
        for record in report.records
        for curve in CURVES
        if record.label.split(" ")[0] == curve.word and len(values := record.column(curve.column)) > 1
    ]
    if not drawn:
        return None
    lead = tag(
        "p", "Faint: as measured, step by step. Strong: a moving mean, its last value written at its end."
    )
    used = [record for record in report.records if record.steps]
    return Section("curves", "Learning curves", join(lead, tag("div", drawn, class_="plots"), sources(used)))


def _figure(record: Record, curve: Curve, values: Sequence[svg.Point]) -> Html:
    plot = svg.curve(f"{record.label}: {curve.y_label}", values, y_label=curve.y_label, scaling=curve.scaling)
    last = int(values[-1][0])
    caption = (tag("b", origin(record.directory, record.label)), f" · {curve.y_label} · {count(last)} steps")
    return tag("figure", plot, tag("figcaption", caption))


def optimisation_section(report: RunReport) -> Section | None:
    """Proxy and gold against KL: where more optimisation stops being better."""
    rounds = [item for item in report.starting("ppo") if len(_against_kl(item, "score")) > 1]
    if not rounds:
        return None
    kl = [point[0] for item in rounds for point in _against_kl(item, "score")]
    x = svg.axis_of(kl, "root", floor=0.0)
    golds = [point[1] for item in rounds for point in _against_kl(item, "gold")]
    plots = []
    for item in rounds:
        score, gold = _against_kl(item, "score"), _against_kl(item, "gold")
        plots.append(
            _cloud(item, score, x, svg.axis_of([p[1] for p in score]), "proxy", "reward model’s score")
        )
        if gold:
            plots.append(_cloud(item, gold, x, svg.axis_of(golds), "gold", "gold reward"))
    lead = tag(
        "p",
        "Each dot is one step’s sampled replies to training prompts at T=1; the line is a moving mean of five steps, "
        "and the ring is where that mean is highest. KL is to this run’s SFT policy, on a square-root scale. "
        "Every round’s reward model scores on its own scale, so proxies of two rounds are not comparable; gold is.",
    )
    told = [note(_peak(item)) for item in rounds if _against_kl(item, "gold")]
    body = join(lead, tag("div", plots, class_="plots"), told, sources(rounds))
    return Section("optimisation", "Proxy and gold against KL", body)


def _against_kl(record: Record, column: str) -> list[svg.Point]:
    return [(row["kl_nats"], row[column]) for row in record.steps if "kl_nats" in row and column in row]


def _cloud(
    record: Record, values: Sequence[svg.Point], x: svg.Axis, y: svg.Axis, role: str, y_label: str
) -> Html:
    plot = svg.cloud(f"{record.label}: {role}", values, x=x, y=y, x_label="KL to SFT, nats", y_label=y_label)
    caption = (tag("b", origin(record.directory, record.label)), f" · {role}: {y_label}")
    return tag("figure", plot, tag("figcaption", caption))


def _peak(record: Record) -> str:
    path = svg.moving_mean(_against_kl(record, "gold"), 5)
    at = max(range(len(path)), key=lambda n: path[n][1])
    peak, end = path[at], path[-1]
    if at == len(path) - 1:
        return f"{record.label}: gold’s moving mean is highest at the end, {number(end[1])} at {number(end[0])} nats."
    return (
        f"{record.label}: gold’s moving mean is highest at {number(peak[0])} nats with {number(peak[1])} (a peak "
        f"picked by looking, so a little flattered) and ends at {number(end[0])} nats with {number(end[1])}."
    )
