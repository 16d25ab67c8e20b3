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
    Curve("reward", "validation_loss", "ranking loss, unseen"),
    Curve("reward", "validation_accuracy", "accuracy, unseen"),
    Curve("ppo", "score", "reward model’s score"),
    Curve("ppo", "gold", "gold reward"),
    Curve("ppo", "kl_nats", "KL to SFT, nats"),
    Curve("ppo", "length_tokens", "tokens a reply"),
    Curve("ppo", "ended", "share of replies that end"),
    Curve("ppo", "explained_variance", "explained variance of returns"),
    Curve("ppo", "approx_kl", "KL of an update, nats a token"),
    Curve("ppo", "clip_fraction", "share of tokens clipped"),
    Curve("ppo", "policy_loss", "policy loss"),
    Curve("ppo", "value_loss", "value loss"),
    Curve("ppo", "kl_coefficient", "price of KL"),
)


def curves_section(report: RunReport) -> Section | None:
    """A small plot for every figure that a stage learnt by, round after round."""
    groups: dict[str, list[Html]] = {}
    for record in report.records:
        word, _, place = record.label.partition(" ")
        group = f"Round {place}" if place else "Before the rounds"
        for curve in CURVES:
            if word == curve.word and len(values := record.column(curve.column)) > 1:
                groups.setdefault(group, []).append(_figure(record, curve, values))
    if not groups:
        return None
    lead = tag(
        "p",
        "Faint: as measured, step by step. Strong: a moving mean, its last value beside its end. "
        "The loss of base and SFT is on a logarithmic scale.",
    )
    drawn = [(tag("h3", group), tag("div", plots, class_="plots")) for group, plots in groups.items()]
    used = [record for record in report.records if record.steps]
    return Section("curves", "Learning curves", join(lead, drawn, sources(used)))


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
    judged = any(_against_kl(item, "gold") for item in rounds)
    lead = (
        "Each dot is one step’s sampled replies to training prompts; the line is a moving mean over steps, from the "
        "hollow dot to the full one, with a ring where it is highest. KL is to this run’s SFT policy, on a "
        "square-root scale. Each plot has its own axes. Every round’s reward model scores on a scale of its own, so "
        "two rounds’ proxies are not comparable" + ("; gold is." if judged else ".")
    )
    body = join(tag("p", lead), [_round(item) for item in rounds], sources(rounds))
    return Section("optimisation", "Proxy and gold against KL" if judged else "Proxy against KL", body)


def _round(record: Record) -> Html:
    score, gold = _against_kl(record, "score"), _against_kl(record, "gold")
    plots = [_cloud(record, score, "proxy", "reward model’s score")]
    plots += [_cloud(record, gold, "gold", "gold reward")] if gold else []
    return join(tag("div", plots, class_="plots"), note(_peak(record, gold)) if gold else "")


def _against_kl(record: Record, column: str) -> list[svg.Point]:
    return [(row["kl_nats"], row[column]) for row in record.steps if "kl_nats" in row and column in row]


def _cloud(record: Record, values: Sequence[svg.Point], role: str, y_label: str) -> Html:
    name = f"{record.label}: {role}"
    plot = svg.cloud(name, values, _window(values), x_label="KL to SFT, nats", y_label=y_label)
    caption = (tag("b", origin(record.directory, record.label)), f" · {role}: {y_label}")
    return tag("figure", plot, tag("figcaption", caption))


def _window(values: Sequence[svg.Point]) -> int:
    """Steps in a moving mean: five, and more in a long run."""
    return max(5, len(values) // 6)


def _peak(record: Record, gold: Sequence[svg.Point]) -> str:
    window = _window(gold)
    path = svg.moving_mean(gold, window)
    at = max(range(len(path)), key=lambda n: path[n][1])
    peak, end = path[at], path[-1]
    told = f"{record.label}: gold’s mean over {window} steps is highest"
    if at == len(path) - 1:
        return f"{told} at the end, with {number(end[1])} at {number(end[0])} nats."
    return (
        f"{told} at {number(peak[0])} nats with {number(peak[1])} (a peak picked by looking, so a little flattered), "
        f"and ends at {number(end[0])} nats with {number(end[1])}."
    )
