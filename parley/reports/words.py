"""A run on people's words: likelihood of unseen text, and what the reward model says."""

from __future__ import annotations

import math
from typing import Final

from parley.evals.statistics import Z95, Estimate
from parley.reports.figures import number, percent
from parley.reports.html import Html, join, tag
from parley.reports.tables import Section, mean_cell, row, sources, stage_heads, table
from parley.reports.values import Evaluation, RunReport

ROWS: Final = (
    ("bits_per_byte", "bits per byte of unseen text", 3),
    ("dialogue_loss", "loss on unseen dialogues, nats a token", 3),
    ("reward", "reward model’s mean score of replies to unseen prompts", 2),
    ("kl_nats", "KL of a reply to SFT, nats", 2),
    ("tokens", "tokens a reply", 1),
)


def words_section(report: RunReport) -> Section | None:
    """One column a stage; a figure that was not measured is a dash."""
    stages = [item for item in report.evaluations if item.kind == "words" and item.words]
    if not stages:
        return None
    rows = [
        row(title, [_cell(item, key, digits) for item in stages])
        for key, title, digits in ROWS
        if any(key in item.words for item in stages)
    ]
    if any("ended" in item.words for item in stages):
        rows.append(row("replies that came to an end", [_ended(item) for item in stages]))
    lead = tag(
        "p",
        "Less is better in the first two rows, and a rise there is what the later training cost. A score comes from "
        "the round’s own reward model, so two rounds’ scores are not on one scale.",
    )
    caption = ("On unseen words ", tag("small", "where a standard error is known, with 95\u00a0% interval"))
    body = join(lead, table(caption, ["", *stage_heads(stages)], rows, numeric=True), sources(stages))
    return Section("words", "On people’s words", body)


def _cell(stage: Evaluation, key: str, digits: int) -> Html:
    value = stage.words.get(key, math.nan)
    error = stage.words.get(f"{key} se")
    if error is not None and not math.isnan(value):
        return mean_cell(Estimate(value, value - Z95 * error, value + Z95 * error, 0), digits)
    return tag("td", number(value, digits), class_="n")


def _ended(stage: Evaluation) -> Html:
    return tag("td", percent(stage.words.get("ended", math.nan)), class_="n")
