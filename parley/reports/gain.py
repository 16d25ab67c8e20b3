"""PPO on people's words: rewards of replies to held-out prompts before and after, and the replies themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from parley.evals.statistics import Difference
from parley.reports.figures import many, number, percent, plus_minus, signed
from parley.reports.html import Html, join, origin, tag
from parley.reports.tables import Section, change_cell, note, row, sources, table
from parley.reports.transcripts import said
from parley.reports.values import Evaluation, RunReport

CLEAR: Final = 5.0  # standard errors from which the gain counts as shown


def gain_section(report: RunReport) -> Section | None:
    """For every PPO with a reward model: the paired gain with its KL, then samples side by side."""
    stages = [item for item in report.evaluations if "reward_gain" in item.words]
    if not stages:
        return None
    lead = tag(
        "p",
        "Both policies answer the same held-out prompts, sampled at T=1, and the round’s reward model scores both; the "
        "difference is taken prompt by prompt. It says that PPO did what it was told, not that people like it.",
    )
    body = join(lead, _table(stages), [_verdict(item) for item in stages], sources(stages))
    samples = [_samples(item) for item in stages if item.side_by_side]
    return Section("gain", "PPO on held-out prompts", join(body, samples))


def gained(words: Mapping[str, float]) -> Difference:
    """The paired gain in the reward model's score."""
    return Difference(words["reward_gain"], words["reward_gain se"], int(words["reward_gain n"]))


def _table(stages: list[Evaluation]) -> Html:
    rows = []
    for item in stages:
        words = item.words
        gain = gained(words)
        cells = [
            tag("td", plus_minus(words["sft_reward"], words["sft_reward se"]), class_="n"),
            tag("td", plus_minus(words["reward"], words["reward se"]), class_="n"),
            change_cell(gain.estimate, rate=False),
            tag("td", number(gain.in_errors, 1), class_="n"),
            tag("td", plus_minus(words["kl_nats"], words.get("kl_nats se", math.nan)), class_="n"),
            tag("td", f"{number(words['sft_tokens'], 1)} → {number(words['tokens'], 1)}", class_="n"),
            tag("td", f"{percent(words['sft_ended'])} → {percent(words['ended'])}", class_="n"),
        ]
        rows.append(row(origin(item.directory, item.title), cells))
    heads = [
        "stage",
        "SFT",
        "PPO",
        "gain",
        "in standard errors",
        "KL, nats",
        "tokens a reply",
        "came to an end",
    ]
    caption = (
        "The reward model’s score ",
        tag("small", "mean ± standard error; the gain with 95\u00a0% interval"),
    )
    return table(caption, heads, rows)


def _verdict(stage: Evaluation) -> Html:
    gain = gained(stage.words)
    told = f"{stage.title}: the reward of {many(gain.n, 'held-out prompt')} {_moved(gain)}, at a KL of "
    return note(told, f"{number(stage.words['kl_nats'])} nats a reply to SFT.")


def _moved(gain: Difference) -> str:
    if gain.in_errors > CLEAR:
        return f"rose by more than {CLEAR:g} standard errors"
    return f"rose, by no more than {CLEAR:g} standard errors" if gain.value > 0 else "did not rise"


def _samples(stage: Evaluation) -> Html:
    blocks = [_block(n, sample) for n, sample in enumerate(stage.side_by_side, start=1)]
    title = f"{stage.title}: the first {many(len(blocks), 'prompt')}, before and after"
    return join(tag("h3", title), blocks)


def _block(n: int, sample: Mapping[str, Any]) -> Html:
    asked = [said(str(role), str(words)) for role, words in sample["messages"]]
    replies = [_reply(name, sample[key]) for name, key in (("SFT", "before"), ("PPO", "after"))]
    return tag("article", tag("h3", f"{n}"), asked, tag("div", replies, class_="replies"), class_="exchange")


def _reply(name: str, told: Mapping[str, Any]) -> Html:
    words = str(told["reply"]).strip()
    shown = tag("bdi", words, dir="auto") if words else tag("span", "(no words)", class_="nothing")
    by = tag("div", tag("span", name), tag("span", f"score {signed(float(told['score']))}"), class_="by")
    return tag("div", by, tag("div", shown, class_="words"), class_="reply")
