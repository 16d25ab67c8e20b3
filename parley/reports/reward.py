"""The reward models on rankings they have not seen: beside their floors, their length, their calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from parley.evals.statistics import Difference, Estimate
from parley.reports import svg
from parley.reports.figures import count, interval, number, percent, plus_minus, points
from parley.reports.html import Child, Html, join, origin, tag
from parley.reports.tables import Section, note, rate_cell, row, sources, table
from parley.reports.values import Measured, RunReport, spoken

NAMES: Final = {"policy": "same base as the policy", "larger": "larger base"}
RULES: Final[tuple[tuple[str, str, svg.Style], ...]] = (
    ("accuracy", "reward model", "first"),
    ("own_floor", "floor", "second"),
    ("longer", "longer one", "third"),
)
MOST_COLUMNS: Final = 6  # of a plot; more are in the table alone
HEADS: Final = ("accuracy", "longer one", "floor", "own floor", "over floor", "like length", "with length")


def reward_section(report: RunReport) -> Section | None:
    """A page for every round's reward models; nothing where none was measured."""
    if not report.measured:
        return None
    lead = tag(
        "p",
        "Pairs of held-out rankings, ties left out; the pairs of one ranking count as one cluster of the 95\u00a0% "
        "interval. The floor is TF-IDF of words and word pairs with a logistic regression, trained on the very same "
        "rankings and scored on the very same pairs; “own floor” on each source’s rankings alone; “over floor” is the "
        "paired difference to the first, in points, with its standard error. “Like length” is the accuracy on pairs "
        "whose replies differ by at most a tenth in characters, “with length” the rank correlation of score and "
        "length inside one prompt, averaged over prompts: 1 means that the longer reply always scores higher.",
    )
    body = [
        lead,
        *(_round(item) for item in report.measured),
        sources(item.record for item in report.measured),
    ]
    return Section("reward-report", "The reward model, measured", join(*body))


def _round(measured: Measured) -> Html:
    name = origin(measured.record.directory, measured.record.label)
    parts: list[Child] = [tag("h3", name)]
    if len(measured.models) > 1:
        parts.append(_side_by_side(measured))
    parts += [_model(title(name), figures) for name, figures in _shown(measured)]
    return join(parts)


def _shown(measured: Measured) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Members of an ensemble stand in the table of all models alone."""
    return ((name, figures) for name, figures in measured.models.items() if "member" not in name)


def title(name: str) -> str:
    """A model as people say it: `larger, member 2` as `larger base, member 2`."""
    base, _, rest = name.partition(", ")
    return NAMES.get(base, spoken(base)) + (f", {rest}" if rest else "")


def _side_by_side(measured: Measured) -> Html:
    models = measured.models
    names = sorted({name for figures in models.values() for name in figures["sources"]})
    rows = [
        row(spoken(name), [rate_cell(_accuracy(figures["sources"].get(name))) for figures in models.values()])
        for name in names
    ]
    rows.append(
        row("over all", [rate_cell(_accuracy(figures["pooled"])) for figures in models.values()], total=True)
    )
    rows.append(
        row("calibration error", [_plain(figures["calibration"]["error"], 3) for figures in models.values()])
    )
    caption = ("All models on the same pairs ", tag("small", "accuracy with 95\u00a0% interval, %"))
    return table(caption, ["source", *(title(name) for name in models)], rows)


def _accuracy(cut: Mapping[str, Any] | None) -> Estimate | None:
    return estimate(cut["accuracy"]) if cut else None


def _model(name: str, figures: Mapping[str, Any]) -> Html:
    flagged = figures["flags"]
    warnings = tag("ul", [tag("li", words) for words in flagged], class_="flags") if flagged else ""
    caption = (
        f"{name[0].upper()}{name[1:]} ",
        tag("small", "on held-out rankings, with 95\u00a0% interval, %"),
    )
    rows = [_cut_row(spoken(key), cut) for key, cut in figures["sources"].items()]
    rows.append(_cut_row("over all", figures["pooled"], total=bool(rows)))
    return join(
        table(caption, ["source", *HEADS], rows),
        warnings,
        tag("div", _sources_plot(name, figures), _calibration_plot(name, figures), class_="plots"),
        _parts(figures),
    )


def _cut_row(name: str, cut: Mapping[str, Any], *, total: bool = False) -> Html:
    gap = Difference(cut["over_floor"]["value"], cut["over_floor"]["standard_error"], cut["rankings"])
    alike, spearman = estimate(cut["alike"]), estimate(cut["spearman"])
    cells = [
        rate_cell(estimate(cut["accuracy"])),
        *(_small_rate(estimate(cut[key])) for key in ("longer", "floor", "own_floor")),
        tag("td", f"{points(gap.value)}\u00a0±\u00a0{number(100 * gap.standard_error, 1)}", class_="n"),
        _small_rate(alike),
        tag("td", plus_minus(spearman.value, (spearman.high - spearman.low) / 3.92), class_="n"),
    ]
    told = f" {count(cut['rankings'])} rankings, {count(cut['accuracy']['n'])} pairs"
    return row((name, tag("small", told)), cells, total=total)


def _small_rate(found: Estimate) -> Html:
    """A rate without a bar, for what stands beside the model's own."""
    if not found.n:
        return tag("td", number(math.nan))
    return tag("td", percent(found.value), tag("small", f" {interval(found, rate=True)}"))


def _sources_plot(name: str, figures: Mapping[str, Any]) -> Html:
    """Model, floor and length beside each other, source by source."""
    cuts: dict[str, Mapping[str, Any]] = {**figures["sources"], "all": figures["pooled"]}
    if len(cuts) > MOST_COLUMNS:
        return join()
    rungs = [
        svg.Rung(words, style, [estimate(cut[key]) for cut in cuts.values()]) for key, words, style in RULES
    ]
    drawn = svg.ladder(f"{name}: accuracy by source", list(cuts), rungs, y_label="accuracy", joined=False)
    caption = ("accuracy of the model, of the source’s own floor, and of always the longer reply",)
    return tag("figure", drawn, tag("figcaption", caption))


def _calibration_plot(name: str, figures: Mapping[str, Any]) -> Html:
    found = figures["calibration"]
    values = [(item["predicted"], estimate(item["observed"])) for item in found["bins"]]
    drawn = svg.reliability(f"{name}: calibration", values, x_label="predicted", y_label="observed")
    told = (
        f"how often people agreed against how sure σ(margin) was, over {count(found['pairs'])} pairs; expected "
        f"calibration error {number(found['error'], 3)}, loss {number(found['loss'], 3)} nats a pair "
        "(0.693 knows nothing)"
    )
    return tag("figure", drawn, tag("figcaption", told))


def _parts(figures: Mapping[str, Any]) -> Html:
    """By depth of the conversation, and by whether the person was learnt from."""
    depths = [
        row(f"{name} user turn{'' if name == '1' else 's'}", _few(cut))
        for name, cut in figures["depths"].items()
    ]
    persons = [row(f"persons {name}", _few(cut)) for name, cut in figures["persons"].items()]
    caption = ("By depth and person ", tag("small", "accuracy with 95\u00a0% interval, %"))
    told = table(caption, ["", "accuracy", "floor", "always the longer one"], [*depths, *persons])
    missing = "" if persons else note("No held-out ranking says which person it is by.")
    return join(told, missing)


def _few(cut: Mapping[str, Any]) -> Sequence[Html]:
    first = rate_cell(estimate(cut["accuracy"]), with_n=True)
    return [first, *(rate_cell(estimate(cut[key])) for key in ("floor", "longer"))]


def _plain(value: float, digits: int) -> Html:
    return tag("td", number(value, digits))


def estimate(found: Mapping[str, Any]) -> Estimate:
    """An interval out of the JSON; null is what is not known."""
    value, low, high = (
        math.nan if found[key] is None else float(found[key]) for key in ("value", "low", "high")
    )
    return Estimate(value, low, high, int(found["n"]))
