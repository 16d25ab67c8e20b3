"""From base to the last policy: gold reward, every behaviour, and what nobody wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from parley.evals.statistics import Difference, Estimate
from parley.reports import svg
from parley.reports.figures import count, interval, many, number, signed
from parley.reports.html import Child, Html, join, origin, tag
from parley.reports.paired import compared, mean_rate, rate_difference
from parley.reports.tables import (
    Section,
    change_cell,
    mean_cell,
    note,
    rate_cell,
    row,
    sources,
    stage_heads,
    table,
)
from parley.reports.values import GREEDY, SERVED, Decoding, Evaluation, RunReport, spoken

STYLES: Final[tuple[svg.Style, ...]] = ("first", "second", "third")
RATE_NAMES: Final = {
    "asserts_false": "asserts a falsehood",
    "complies_with_harm": "complies with harm",
    "stock_phrase": "uses a stock phrase",
    "junk": "holds junk",
}
CHANGED: Final = "; last, the change in points, bold where its interval excludes zero"
FELL: Final = "▼ marks a fall from the stage before whose 95\u00a0% interval (Newcombe) excludes zero."


def gold_section(report: RunReport) -> Section | None:
    """Gold reward by stage and decoding, drawn and in numbers, with the paired steps."""
    stages = report.golden
    if not stages:
        return None
    shown = [name for name in report.decodings if all(name in item.decodings for item in stages)][:3]
    body = [
        tag(
            "p",
            f"Gold is the micro-world’s exact judgement of an answer’s text, from −2 to 1. {_who_sees_gold(report)}",
        ),
        tag("div", _gold_plot(stages, shown), _gold_table(report), class_="beside")
        if shown
        else _gold_table(report),
    ]
    if len(stages) > 1:
        body.append(_steps_table(report))
    return Section("gold", "Gold reward, step by step", join(body, sources(stages)))


def _who_sees_gold(report: RunReport) -> str:
    if report.trained_on_gold:
        return (
            "In this run PPO was rewarded with it: a diagnosis of PPO, not a result of learning from people."
        )
    return "No model ever sees it."


def behaviours_section(report: RunReport) -> Section | None:
    """How often each behaviour came out right, as served and greedy."""
    stages = report.golden
    decodings = [name for name in (SERVED, GREEDY) if name in report.decodings] or report.decodings[:1]
    if not stages or not decodings:
        return None
    lead = tag(
        "p",
        "The share of answers that did what the prompt calls for, on held-out facts. A bar is full up to the lower "
        "end of the 95\u00a0% interval (Wilson) and pale up to its upper end.",
    )
    tables = [behaviour_table(stages, name) for name in decodings]
    tests = sum(
        len(after.decodings[name].behaviours) for name in decodings for _, after in _pairs(stages, name)
    )
    chance = f" Each of the {many(tests, 'comparison')} stands alone: where nothing changed, one in forty is marked."
    return Section("behaviours", "Every behaviour", join(lead, tables, note(FELL, chance), sources(stages)))


def rates_section(report: RunReport) -> Section | None:
    """Falsehoods, harm, stock phrases, junk and length."""
    stages = report.golden
    decodings = [name for name in (SERVED, GREEDY) if name in report.decodings] or report.decodings[:1]
    if not stages or not decodings:
        return None
    lead = tag(
        "p",
        "Shares of all answers; of prompts that ask for harm in the second row. Less is better in all four.",
    )
    return Section(
        "rates",
        "What nobody wants",
        join(lead, [_rates_table(stages, name) for name in decodings], sources(stages)),
    )


def behaviour_table(stages: Sequence[Evaluation], decoding: str) -> Html:
    """A row for each behaviour, a column for each stage, and the change since SFT."""
    here = [item for item in stages if decoding in item.decodings]
    rates = [item.decodings[decoding].behaviours for item in here]
    keys = sorted({key for found in rates for key in found})
    since = _since(here)
    rows = [_behaviour_row(spoken(key), [found.get(key) for found in rates], since) for key in keys]
    means = [mean_rate(list(found.values())) for found in rates]
    rows.append(_behaviour_row("mean over behaviours", means, since, total=True))
    caption = (f"{_decoded(decoding)} ", tag("small", f"success rate with 95\u00a0% interval, %{CHANGED}"))
    return table(caption, ["behaviour", *stage_heads(here), *_change_head(here, since)], rows)


def _behaviour_row(
    title: str, rates: Sequence[Estimate | None], since: int | None, *, total: bool = False
) -> Html:
    fell = [False, *(_fell(*pair) for pair in pairwise(rates))]
    cells = [rate_cell(rate, fell=mark) for rate, mark in zip(rates, fell, strict=True)]
    n = next((rate.n for rate in reversed(rates) if rate), 0)
    return row(
        (title, tag("small", f" n {count(n)}")), [*cells, *_change(rates, since, rate=True)], total=total
    )


def _fell(before: Estimate | None, after: Estimate | None) -> bool:
    return before is not None and after is not None and rate_difference(before, after).high < 0


def _rates_table(stages: Sequence[Evaluation], decoding: str) -> Html:
    here = [item for item in stages if decoding in item.decodings]
    found = [item.decodings[decoding] for item in here]
    since = _since(here)
    rows = []
    for key, title in RATE_NAMES.items():
        rates = [item.rates.get(key) for item in found]
        if any(rates):
            n = next(rate.n for rate in rates if rate)
            cells = [*map(rate_cell, rates), *_change(rates, since, rate=True)]
            rows.append(row((title, tag("small", f" n {count(n)}")), cells))
    tokens = [item.tokens for item in found]
    if any(tokens):
        rows.append(
            row("tokens per answer", [*map(_tokens_cell, tokens), *_change(tokens, since, rate=False)])
        )
    caption = (
        f"{_decoded(decoding)} ",
        tag("small", f"share of answers with 95\u00a0% interval, %{CHANGED}"),
    )
    return table(caption, ["an answer …", *stage_heads(here), *_change_head(here, since)], rows)


def _tokens_cell(estimate: Estimate | None) -> Html:
    if estimate is None:
        return tag("td", "–")
    ends = f"{number(estimate.low, 1)} to {number(estimate.high, 1)}"
    inside = tag("b", number(estimate.value, 1)), tag("small", ends)
    return tag("td", tag("span", inside, class_="bar", style="--low:0%;--high:0%"))


def _since(stages: Sequence[Evaluation]) -> int | None:
    """The stage that the last one is compared with: SFT, or else the first."""
    if len(stages) < 2:
        return None
    return next((n for n, item in enumerate(stages[:-1]) if item.stage == "sft"), 0)


def _change_head(stages: Sequence[Evaluation], since: int | None) -> list[Child]:
    return [] if since is None else [f"{stages[-1].title} − {stages[since].title}"]


def _change(values: Sequence[Estimate | None], since: int | None, *, rate: bool) -> list[Html]:
    if since is None:
        return []
    before, after = values[since], values[-1]
    if before is None or after is None:
        return [tag("td", "–")]
    return [change_cell(rate_difference(before, after), rate=rate)]


def _gold_plot(stages: Sequence[Evaluation], decodings: Sequence[str]) -> Html:
    rungs = [
        svg.Rung(name, style, [item.decodings[name].gold for item in stages])
        for name, style in zip(decodings, STYLES, strict=False)
    ]
    drawn = svg.ladder(
        "Gold reward by stage", [item.title for item in stages], rungs, y_label="gold reward per answer"
    )
    return tag("figure", drawn)


def _gold_table(report: RunReport) -> Html:
    stages = report.golden
    rows = [
        row(_decoded(name), [mean_cell(_gold(item.decodings.get(name))) for item in stages])
        for name in report.decodings
    ]
    n = max(decoding.gold.n for item in stages for decoding in item.decodings.values())
    caption = ("Gold reward ", tag("small", f"mean of {many(n, 'prompt')} with 95\u00a0% interval"))
    return table(caption, ["answers", *stage_heads(stages)], rows, numeric=True, class_="pinned stacked")


def _gold(decoding: Decoding | None) -> Estimate | None:
    return decoding.gold if decoding else None


def _steps_table(report: RunReport) -> Html:
    stages = report.golden
    pairs = list(pairwise(stages))
    since = _since(stages)
    if since is not None and since < len(stages) - 2:
        pairs.append((stages[since], stages[-1]))
    rows = [_step_row(before, after, report.decodings) for before, after in pairs]
    caption = (
        "Differences between stages ",
        tag(
            "small",
            "gold reward on the same prompts ± one standard error; in standard errors, bold from two on",
        ),
    )
    return table(
        caption, ["step", *map(_decoded, report.decodings)], rows, numeric=True, class_="pinned steps"
    )


def _step_row(before: Evaluation, after: Evaluation, decodings: Sequence[str]) -> Html:
    title = (origin(after.directory, after.title), " − ", origin(before.directory, before.title))
    return row(title, [_step_cell(compared(before, after, name)) for name in decodings])


def _step_cell(step: Difference | None) -> Html:
    if step is None:
        return tag("td", "–")
    plus = f"{signed(step.value)} ± {number(step.standard_error, 3)}"
    distance = f" {signed(step.in_errors, 1)} s.e." + ("" if step.paired else ", unpaired")
    clear = "clear" if abs(step.in_errors) >= 2 else None
    title = f"n {step.n}, 95\u00a0% interval {interval(step.estimate, rate=False)}"
    return tag("td", tag("span", plus, class_=clear, title=title), tag("small", distance), class_="n")


def _pairs(stages: Sequence[Evaluation], decoding: str) -> list[tuple[Evaluation, Evaluation]]:
    return list(pairwise(item for item in stages if decoding in item.decodings))


def _decoded(name: str) -> str:
    return {SERVED: "T=0.7, as served", GREEDY: "greedy"}.get(name, name)


def cells_table(
    caption: Child, first: str, stages: Sequence[Evaluation], columns: Sequence[Mapping[str, Estimate]]
) -> Html:
    """Rates by cell and stage, each with its own n: the cue swap, the wordings."""
    keys = list(dict.fromkeys(key for found in columns for key in found))
    rows = [row(spoken(key), [rate_cell(found.get(key), with_n=True) for found in columns]) for key in keys]
    return table(caption, [first, *stage_heads(stages)], rows)
